/* SPDX-License-Identifier: MIT
 * story_grammar.c - the tables of the grammar, slots, facts and their rules. */
#include "data/stories.h"
#include "data/story_priv.h"

#include <string.h>

typedef struct word {
    const char *text, *extra;
} word;

enum list_id {
#define LIST(name, ...) LIST_##name,
#include "data/story_words.def"
    LISTS
};

#define W(text, extra)                                                                                                 \
    { text, extra }
#define LIST(name, ...) static const word words_##name[] = {__VA_ARGS__};
#include "data/story_words.def"
#undef W

static const struct {
    const word *words;
    int count;
} lists[LISTS] = {
#define LIST(name, ...) {words_##name, TN_COUNT(words_##name)},
#include "data/story_words.def"
};

static const struct {
    int list;
    uint64_t which; /* words of the list, the bits beyond its end not cleared */
    int other;
} facts_of[TN_FACTS] = {
#define ALL                            UINT64_MAX
#define BETWEEN(first, last)           ((UINT64_C(2) << (last)) - (UINT64_C(1) << (first)))
#define FACT(name, list, which, other) {LIST_##list, which, TN_FACT_##other},
#include "data/story_words.def"
#undef ALL
#undef BETWEEN
};

static const tn_story_slot slots[] = {
#define SLOT(text, fact, form) {text, TN_FACT_##fact, TN_FORM_##form},
#include "data/story_words.def"
};

enum step_id {
    STEP_none,
#define STEP(name, ...) STEP_##name,
#include "data/story_steps.def"
    STEPS
};

#define STEP(name, ...) static const char *const lines_##name[] = {__VA_ARGS__, NULL};
#include "data/story_steps.def"

const tn_story_step tn_story_steps[STEPS] = {
    {"", NULL, 0},
#define STEP(name, ...) {#name, lines_##name, TN_COUNT(lines_##name) - 1},
#include "data/story_steps.def"
};
const int tn_story_step_count = STEPS;

enum plot_id {
#define PLOT(name, ...) PLOT_##name,
#include "data/story_plots.def"
    PLOTS
};

const tn_story_plot tn_story_plots[PLOTS] = {
#define S(name)         STEP_##name
#define PLOT(name, ...) {#name, {__VA_ARGS__, STEP_none}},
#include "data/story_plots.def"
#undef S
};
const int tn_story_plot_count = PLOTS;

const tn_story_ask tn_story_asks[] = {
#define ASK(plot, question, answer) {PLOT_##plot, question, answer},
#include "data/story_plots.def"
};
const int tn_story_ask_count = TN_COUNT(tn_story_asks);

/* ---- lines and slots ---- */

static char lower(char c) { return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c); }
static char upper(char c) { return (char)(c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c); }

static const tn_story_slot *find_slot(const char *name, size_t len) {
    for (size_t i = 0; i < TN_COUNT(slots); i++) {
        const char *want = slots[i].name;
        if (strlen(want) == len && want[0] == lower(name[0]) && !memcmp(want + 1, name + 1, len - 1)) return &slots[i];
    }
    return NULL;
}

bool tn_story_next(const char **line, tn_story_piece *piece) {
    const char *at = *line;
    if (!*at) return false;
    if (*at != '{') {
        size_t len = strcspn(at, "{");
        *piece = (tn_story_piece){.text = at, .len = len};
        *line = at + len;
        return true;
    }
    size_t len = strcspn(at + 1, "}");
    *piece = (tn_story_piece){.slot = find_slot(at + 1, len), .capital = at[1] != lower(at[1])};
    TN_ASSERT(piece->slot && at[len + 1] == '}');
    *line = at + len + 2;
    return true;
}

static void add(tn_story_phrase *out, const char *text) {
    size_t len = strlen(text);
    TN_ASSERT(out->len + len <= sizeof out->text);
    memcpy(out->text + out->len, text, len);
    out->len += len;
}

void tn_story_render(tn_story_phrase *out, const tn_story_piece *piece, int index) {
    const word *w = &lists[facts_of[piece->slot->fact].list].words[index];
    bool girl = w->extra[0] == 'g';
    out->len = 0;
    switch (piece->slot->form) {
    case TN_FORM_TEXT: add(out, w->text); break;
    case TN_FORM_A_TEXT:
        add(out, strchr("aeiou", w->text[0]) ? "an " : "a ");
        add(out, w->text);
        break;
    case TN_FORM_AT_TEXT:
        add(out, w->extra);
        add(out, " the ");
        add(out, w->text);
        break;
    case TN_FORM_PLURAL:
    case TN_FORM_BOY: add(out, w->extra); break;
    case TN_FORM_HE: add(out, girl ? "she" : "he"); break;
    case TN_FORM_HIM: add(out, girl ? "her" : "him"); break;
    case TN_FORM_HIS: add(out, girl ? "her" : "his"); break;
    }
    if (piece->capital) out->text[0] = upper(out->text[0]);
}

uint32_t tn_story_names(const char *line) {
    uint32_t named = 0;
    tn_story_piece piece;
    while (tn_story_next(&line, &piece))
        if (piece.slot && piece.slot->form < TN_FORM_HE) named |= UINT32_C(1) << piece.slot->fact;
    return named;
}

/* ---- facts ---- */

static uint64_t bit(int i) { return UINT64_C(1) << i; }
static bool is_single(uint64_t set) { return set && !(set & (set - 1)); }

int tn_story_set_size(uint64_t set) {
    int n = 0;
    for (; set; set &= set - 1) n++;
    return n;
}

static uint64_t domain(int fact) {
    int count = lists[facts_of[fact].list].count;
    return facts_of[fact].which & (count < 64 ? bit(count) - 1 : UINT64_MAX);
}

tn_story_facts tn_story_facts_any(void) {
    tn_story_facts facts;
    for (int f = 0; f < TN_FACTS; f++) facts.may[f] = domain(f);
    return facts;
}

static void settle_others(uint64_t *may) {
    for (int f = 0; f < TN_FACTS; f++) {
        int other = facts_of[f].other;
        if (other == f) continue;
        if (is_single(may[other])) may[f] &= ~may[other];
        if (is_single(may[f])) may[other] &= ~may[f];
    }
}

/* A + B = SUM: keep of each what some choice of the other two completes. A number is its place in the list. */
static void settle_sum(uint64_t *may) {
    uint64_t a = 0, b = 0, sum = 0;
    int count = lists[LIST_NUMBERS].count;
    for (int i = 0; i < count; i++)
        for (int j = 0; i + j < count; j++)
            if (may[TN_FACT_A] & bit(i) && may[TN_FACT_B] & bit(j) && may[TN_FACT_SUM] & bit(i + j))
                a |= bit(i), b |= bit(j), sum |= bit(i + j);
    may[TN_FACT_A] = a, may[TN_FACT_B] = b, may[TN_FACT_SUM] = sum;
}

bool tn_story_facts_settle(tn_story_facts *facts) {
    settle_others(facts->may);
    settle_sum(facts->may);
    for (int f = 0; f < TN_FACTS; f++)
        if (!facts->may[f]) return false;
    return true;
}

/* ---- how many stories ---- */

/* How many choices of words there are for the facts that a story names. Any two of A, B and SUM make the third, and of
 * one of them alone only its own values show. */
static double choices(uint32_t named) {
    const uint32_t a = 1u << TN_FACT_A, b = 1u << TN_FACT_B, sum = 1u << TN_FACT_SUM;
    if (tn_story_set_size(named & (a | b | sum)) >= 2) named = (named | a | b) & ~sum;
    double n = 1;
    for (int f = 0; f < TN_FACTS; f++) {
        if (!(named >> f & 1)) continue;
        int other = facts_of[f].other;
        n *= tn_story_set_size(domain(f)) - (other != f && (named >> other & 1));
    }
    return n;
}

static double count_from(const tn_story_plot *plot, int i, uint32_t named) {
    const tn_story_step *step = &tn_story_steps[plot->steps[i]];
    if (!step->count) return choices(named);
    double n = 0;
    for (int k = 0; k < step->count; k++) n += count_from(plot, i + 1, named | tn_story_names(step->lines[k]));
    return n;
}

double tn_stories_distinct(void) {
    double n = 0;
    for (int p = 0; p < PLOTS; p++) n += count_from(&tn_story_plots[p], 0, 0);
    return n;
}
