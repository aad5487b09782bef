/* SPDX-License-Identifier: MIT
 * story_check.c - judges stories: cuts a text into stories and sentences, reads each sentence as any line of the
 * grammar could have written it, and each story as any plot could have, keeping the facts that all its sentences leave.
 */
#include "data/stories.h"

#include "data/story_priv.h"

#include <string.h>

static const char story_end[] = "<|endoftext|>";

typedef struct span {
    const char *text;
    size_t len;
} span;

typedef enum verdict { OUT_OF_PLACE, ENDS_EARLY, GOES_ON, CONTRADICTS } verdict;

/* One story being read; `sentences` holds as many as the longest plot and one more. */
typedef struct reading {
    span sentences[TN_STORY_STEPS_MAX + 1];
    int count;
    int furthest; /* the sentence at which the best attempt ended, */
    verdict why;  /* and how */
} reading;

/* ---- a sentence and a line ---- */

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static bool eat(span *s, const char *text, size_t len) {
    if (s->len < len || memcmp(s->text, text, len)) return false;
    s->text += len;
    s->len -= len;
    return true;
}

/* Keep the words that can stand here; several can, as "she" is every girl. All of them are the same text, because no
 * word of a list begins another. */
static bool eat_slot(span *s, const tn_story_piece *piece, tn_story_facts *facts) {
    uint64_t may = facts->may[piece->slot->fact], kept = 0;
    span rest = *s;
    for (int i = 0; may >> i; i++) {
        if (!(may >> i & 1)) continue;
        tn_story_phrase phrase;
        tn_story_render(&phrase, piece, i);
        span at = *s;
        if (!eat(&at, phrase.text, phrase.len) || (at.len && is_letter(*at.text))) continue;
        kept |= UINT64_C(1) << i;
        rest = at;
    }
    *s = rest;
    facts->may[piece->slot->fact] = kept;
    return kept != 0;
}

static bool matches(span sentence, const char *line, tn_story_facts *facts) {
    tn_story_piece piece;
    while (tn_story_next(&line, &piece))
        if (piece.slot ? !eat_slot(&sentence, &piece, facts) : !eat(&sentence, piece.text, piece.len)) return false;
    return sentence.len == 0 && tn_story_facts_settle(facts);
}

static bool step_could_say(const tn_story_step *step, span sentence) {
    for (int k = 0; k < step->count; k++) {
        tn_story_facts facts = tn_story_facts_any();
        if (matches(sentence, step->lines[k], &facts)) return true;
    }
    return false;
}

static bool is_accepted(span sentence) {
    for (int i = 1; i < tn_story_step_count; i++)
        if (step_could_say(&tn_story_steps[i], sentence)) return true;
    return false;
}

/* ---- a story and a plot ---- */

static void note(reading *r, int i, verdict why) {
    if (i < r->furthest || (i == r->furthest && why < r->why)) return;
    r->furthest = i;
    r->why = why;
}

/* In how many ways the sentences from the i-th on are the plot's steps from the i-th on, under `facts`. */
static int64_t read_from(reading *r, const tn_story_plot *plot, int i, const tn_story_facts *facts) {
    const tn_story_step *step = &tn_story_steps[plot->steps[i]];
    if (!step->count && i == r->count) return 1;
    if (!step->count || i == r->count) {
        note(r, i, step->count ? ENDS_EARLY : GOES_ON);
        return 0;
    }
    int64_t ways = 0;
    bool fits = false;
    for (int k = 0; k < step->count; k++) {
        tn_story_facts known = *facts;
        if (!matches(r->sentences[i], step->lines[k], &known)) continue;
        fits = true;
        ways += read_from(r, plot, i + 1, &known);
    }
    if (!fits) note(r, i, step_could_say(step, r->sentences[i]) ? CONTRADICTS : OUT_OF_PLACE);
    return ways;
}

static int64_t read_story(reading *r) {
    tn_story_facts any = tn_story_facts_any();
    int64_t ways = 0;
    for (int p = 0; p < tn_story_plot_count; p++) ways += read_from(r, &tn_story_plots[p], 0, &any);
    return ways;
}

/* ---- cutting ---- */

static void skip_space(span *s) {
    while (s->len && is_space(*s->text)) s->text++, s->len--;
}

static bool is_sentence_end(const char *text, size_t len, size_t i) {
    if (i == len) return true;
    if (!is_space(text[i])) return false;
    while (i < len && is_space(text[i])) i++;
    return i == len || !(text[i] >= 'a' && text[i] <= 'z');
}

/* A sentence ends at . ! or ? with or without a closing quote, unless the text goes on in lower case, as in
 * "Thank you!" said Tim. What is left without such an end is a sentence too, which no line matches. */
static bool next_sentence(span *rest, span *sentence) {
    skip_space(rest);
    if (!rest->len) return false;
    size_t end = rest->len;
    for (size_t i = 0; i < rest->len; i++) {
        if (!memchr(".!?", rest->text[i], 3)) continue;
        size_t after = i + 1 + (i + 1 < rest->len && rest->text[i + 1] == '"');
        if (!is_sentence_end(rest->text, rest->len, after)) continue;
        end = after;
        break;
    }
    *sentence = (span){rest->text, end};
    rest->text += end;
    rest->len -= end;
    return true;
}

/* The length of a separator of stories that begins here, or 0. */
static size_t separator(span s) {
    span at = s;
    if (eat(&at, story_end, sizeof story_end - 1)) return sizeof story_end - 1;
    if (!eat(&at, "\n", 1)) return 0;
    while (at.len && (*at.text == ' ' || *at.text == '\t' || *at.text == '\r')) at.text++, at.len--;
    return eat(&at, "\n", 1) ? (size_t)(at.text - s.text) : 0;
}

static bool next_story(span *rest, span *story) {
    if (!rest->len) return false;
    size_t len = 0, cut = 0;
    for (; len < rest->len; len++)
        if ((cut = separator((span){rest->text + len, rest->len - len})) != 0) break;
    *story = (span){rest->text, len};
    rest->text += len + cut;
    rest->len -= len + cut;
    return true;
}

/* ---- the report ---- */

/* A sentence on one line, shortened. */
static tn_status put_quoted(tn_buf *why, span s) {
    enum { SHOWN = 160 };
    TN_TRY(tn_buf_puts(why, ": "));
    for (size_t i = 0; i < s.len && i < SHOWN; i++)
        TN_TRY(tn_buf_putc(why, (unsigned char)s.text[i] < ' ' ? ' ' : s.text[i]));
    return tn_buf_puts(why, s.len > SHOWN ? "...\n" : "\n");
}

static tn_status explain_sentence(tn_buf *why, int64_t story, int64_t number, span sentence) {
    if (!why) return TN_OK;
    TN_TRY(tn_buf_printf(why, "story %lld, sentence %lld is not in the grammar", (long long)story, (long long)number));
    return put_quoted(why, sentence);
}

static tn_status explain_story(tn_buf *why, int64_t story, const reading *r) {
    static const char *const texts[] = {
        [OUT_OF_PLACE] = "does not belong here",
        [ENDS_EARLY] = "is missing, the story has not come to its end",
        [GOES_ON] = "comes after the end of the story",
        [CONTRADICTS] = "contradicts what was said before",
    };
    if (!why) return TN_OK;
    TN_TRY(tn_buf_printf(why, "story %lld, sentence %d %s", (long long)story, r->furthest + 1, texts[r->why]));
    return put_quoted(why, r->furthest < r->count ? r->sentences[r->furthest] : (span){"", 0});
}

/* One story. A plot looks at no more sentences than it has steps and one, so `reading` keeps no more either. */
static tn_status judge(span story, tn_story_report *report, tn_buf *why) {
    reading r = {0};
    int64_t count = 0, accepted = 0;
    span sentence;
    while (next_sentence(&story, &sentence)) {
        if (r.count <= TN_STORY_STEPS_MAX) r.sentences[r.count++] = sentence;
        count++;
        if (is_accepted(sentence))
            accepted++;
        else
            TN_TRY(explain_sentence(why, report->stories + 1, count, sentence));
    }
    if (!count) return TN_OK;
    report->stories++;
    report->sentences += count;
    report->accepted += accepted;
    if (accepted < count) return TN_OK;
    if (!read_story(&r)) return explain_story(why, report->stories, &r);
    report->consistent++;
    return TN_OK;
}

tn_status tn_story_check(const char *text, size_t len, tn_story_report *report, tn_buf *why) {
    tn_story_report found = {0};
    span rest = {text, len}, story;
    tn_status status = TN_OK;
    while (!status && next_story(&rest, &story)) status = judge(story, &found, why);
    report->stories += found.stories;
    report->consistent += found.consistent;
    report->sentences += found.sentences;
    report->accepted += found.accepted;
    return status;
}

int64_t tn_story_readings(const char *text, size_t len) {
    reading r = {0};
    span rest = {text, len}, sentence;
    while (r.count <= TN_STORY_STEPS_MAX && next_sentence(&rest, &sentence)) r.sentences[r.count++] = sentence;
    return read_story(&r);
}
