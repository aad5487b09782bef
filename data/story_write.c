/* SPDX-License-Identifier: MIT
 * story_write.c - tells story number `index`: draws a plot, the facts, and a line for each step. */
#include "data/stories.h"

#include "core/rng.h"
#include "data/story_priv.h"

/* Places in the random stream of one story. */
enum { DRAW_PLOT, DRAW_QUESTION, DRAW_FACTS, DRAW_LINES = DRAW_FACTS + TN_FACTS, DRAWS = 64 };
_Static_assert(DRAW_LINES + TN_STORY_STEPS_MAX <= DRAWS, "a story draws more numbers than its stream holds");

typedef struct tale {
    uint64_t seed, index;
    const tn_story_plot *plot;
    tn_story_facts facts; /* one word each */
    uint32_t named;       /* facts that the told sentences name */
} tale;

static int draw(const tale *t, int place, int n) {
    tn_rng rng = tn_rng_make(t->seed, TN_PURPOSE_STORIES, (uint32_t)t->index);
    return (int)tn_rng_below(&rng, (t->index >> 32) * DRAWS + (uint64_t)place, (uint64_t)n);
}

static int index_of(uint64_t single) {
    int i = 0;
    while (single >>= 1) i++;
    return i;
}

static uint64_t draw_one_of(const tale *t, int place, uint64_t set) {
    for (int skip = draw(t, place, tn_story_set_size(set)); skip > 0; skip--) set &= set - 1;
    return set & (~set + 1);
}

static tale imagine(uint64_t seed, uint64_t index) {
    tale t = {.seed = seed, .index = index, .facts = tn_story_facts_any()};
    t.plot = &tn_story_plots[draw(&t, DRAW_PLOT, tn_story_plot_count)];
    for (int f = 0; f < TN_FACTS; f++) {
        t.facts.may[f] = draw_one_of(&t, DRAW_FACTS + f, t.facts.may[f]);
        bool settled = tn_story_facts_settle(&t.facts);
        TN_ASSERT(settled);
    }
    return t;
}

static tn_status tell_line(tn_buf *out, const tale *t, const char *line) {
    tn_story_piece piece;
    while (tn_story_next(&line, &piece)) {
        if (!piece.slot) {
            TN_TRY(tn_buf_append(out, piece.text, piece.len));
            continue;
        }
        tn_story_phrase phrase;
        tn_story_render(&phrase, &piece, index_of(t->facts.may[piece.slot->fact]));
        TN_TRY(tn_buf_append(out, phrase.text, phrase.len));
    }
    return TN_OK;
}

static tn_status tell(tn_buf *out, tale *t) {
    for (int i = 0; t->plot->steps[i]; i++) {
        const tn_story_step *step = &tn_story_steps[t->plot->steps[i]];
        const char *line = step->lines[draw(t, DRAW_LINES + i, step->count)];
        if (i) TN_TRY(tn_buf_putc(out, ' '));
        TN_TRY(tell_line(out, t, line));
        t->named |= tn_story_names(line);
    }
    return TN_OK;
}

tn_status tn_story_write(uint64_t seed, uint64_t index, tn_buf *out) {
    tale t = imagine(seed, index);
    return tell(out, &t);
}

static bool can_ask(const tale *t, const tn_story_ask *ask) {
    uint32_t needs = tn_story_names(ask->question) | tn_story_names(ask->answer);
    return t->plot == &tn_story_plots[ask->plot] && !(needs & ~t->named);
}

static const tn_story_ask *choose_question(const tale *t) {
    int count = 0;
    for (int i = 0; i < tn_story_ask_count; i++) count += can_ask(t, &tn_story_asks[i]);
    TN_ASSERT(count > 0);
    int skip = draw(t, DRAW_QUESTION, count);
    const tn_story_ask *ask = tn_story_asks;
    while (!can_ask(t, ask) || skip-- > 0) ask++;
    return ask;
}

/* Stories are ASCII without control characters, so the quote and the newline are all that JSON wants escaped. */
static tn_status put_json_text(tn_buf *out, const tn_buf *text) {
    for (size_t i = 0; i < text->len; i++) {
        char c = text->data[i];
        if (c == '"' || c == '\n') TN_TRY(tn_buf_putc(out, '\\'));
        TN_TRY(tn_buf_putc(out, c == '\n' ? 'n' : c));
    }
    return TN_OK;
}

static tn_status write_row(tn_buf *out, tn_buf *said, tale *t) {
    TN_TRY(tell(said, t));
    const tn_story_ask *ask = choose_question(t);
    TN_TRY(tn_buf_putc(said, '\n'));
    TN_TRY(tell_line(said, t, ask->question));
    TN_TRY(tn_buf_puts(out, "{\"messages\":[{\"role\":\"user\",\"content\":\""));
    TN_TRY(put_json_text(out, said));
    TN_TRY(tn_buf_puts(out, "\"},{\"role\":\"assistant\",\"content\":\""));
    tn_buf_reset(said);
    TN_TRY(tell_line(said, t, ask->answer));
    TN_TRY(put_json_text(out, said));
    return tn_buf_puts(out, "\"}]}\n");
}

tn_status tn_story_write_question(uint64_t seed, uint64_t index, tn_buf *out) {
    tale t = imagine(seed, index);
    tn_buf said = {0};
    tn_status status = write_row(out, &said, &t);
    tn_buf_release(&said);
    return status;
}
