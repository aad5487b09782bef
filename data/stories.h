/* SPDX-License-Identifier: MIT
 * stories.h - a corpus of our own: short English stories from a grammar, and the judge of stories that a model tells.
 *
 * The grammar is three tables, read by the writer and by the judge alike:
 *   story_words.def  lists of words, the facts a story can have (hero, toy, place, numbers), the slots that name them
 *   story_steps.def  what can happen: each step is a set of sentences with slots, any one of which tells it
 *   story_plots.def  plots, which are sequences of steps; and questions about them with their answers
 * A story is a plot, one sentence for each of its steps, and one set of facts that all the sentences share. So a
 * pronoun fits its name, what was lost is what is found, and 3 apples and 2 apples are 5 apples.
 *
 * Threads: every call is pure but for the buffers it is given. */
#ifndef TN_DATA_STORIES_H
#define TN_DATA_STORIES_H
#include "core/buf.h"

/* How many different stories the grammar can tell, counted from the tables. */
double tn_stories_distinct(void);

/* Append story `index` of `seed`, a function of these two alone: one paragraph of plain ASCII, single spaces between
 * sentences, no newline. Fails: TN_E_NOMEM. */
tn_status tn_story_write(uint64_t seed, uint64_t index, tn_buf *out);

/* Append one JSONL chat row with its newline: {"messages":[{"role":"user",...},{"role":"assistant",...}]}. The user
 * says tn_story_write(seed, index), a newline, and a question about it; the assistant answers in one sentence. Fails:
 * TN_E_NOMEM. */
tn_status tn_story_write_question(uint64_t seed, uint64_t index, tn_buf *out);

typedef struct tn_story_report {
    int64_t stories;
    int64_t consistent; /* stories that tn_story_write could have written for some seed and index, word for word */
    int64_t sentences;
    int64_t accepted; /* sentences that some story could contain, whatever stands around them */
} tn_story_report;

/* Judge a text of stories and add the counts to `report` (clear it first). Stories are separated by "<|endoftext|>" or
 * by blank lines, and a part without a single sentence counts for nothing; sentences by any white space. A sentence
 * that is cut off is a rejected one and its story is not consistent, at the end of the text too: whoever cuts a text at
 * a token limit drops the last story first, or bears the loss. `why` (may be NULL) gets one line for each rejected
 * sentence, and one for each story that is inconsistent although all its sentences are accepted; story and sentence
 * numbers start at 1 with `text`. Any bytes are fine. Fails: TN_E_NOMEM, only when `why` is given. */
tn_status tn_story_check(const char *text, size_t len, tn_story_report *report, tn_buf *why);

#endif
