/* SPDX-License-Identifier: MIT
 * story_priv.h - the grammar of stories.h as tables, and what the writer and the judge both do with them.
 *
 * Facts are sets. A fact starts as every word it may be; a writer narrows it to one word by choice, a judge by reading:
 * a name leaves one word, "she" leaves the girls. Rules between facts narrow further, and a fact without a word left is
 * a contradiction. So no rule is written twice, once for telling and once for judging. */
#ifndef TN_DATA_STORY_PRIV_H
#define TN_DATA_STORY_PRIV_H
#include "core/buf.h"

enum { TN_STORY_STEPS_MAX = 9, TN_STORY_PHRASE_MAX = 40 };

typedef enum tn_story_fact_id {
#define FACT(name, list, which, other) TN_FACT_##name,
#include "data/story_words.def"
    TN_FACTS
} tn_story_fact_id;
_Static_assert(TN_FACTS <= 32, "sets of facts are kept in 32 bits");

typedef enum tn_story_form {
    TN_FORM_TEXT,    /* "apple" */
    TN_FORM_A_TEXT,  /* "an apple" */
    TN_FORM_AT_TEXT, /* "under the bed" */
    TN_FORM_PLURAL,  /* "apples" */
    TN_FORM_HE,      /* "he" or "she"; from here on a form tells a kid's gender, not which kid it is */
    TN_FORM_HIM,
    TN_FORM_HIS,
    TN_FORM_BOY /* "boy" or "girl" */
} tn_story_form;

typedef struct tn_story_slot {
    const char *name;
    tn_story_fact_id fact;
    tn_story_form form;
} tn_story_slot;

/* A piece of a line: plain text, or a slot. */
typedef struct tn_story_piece {
    const char *text; /* not ended by a NUL; NULL when this is a slot */
    size_t len;
    const tn_story_slot *slot;
    bool capital; /* the slot begins with a capital */
} tn_story_piece;

typedef struct tn_story_phrase {
    char text[TN_STORY_PHRASE_MAX];
    size_t len;
} tn_story_phrase;

typedef struct tn_story_step {
    const char *name;
    const char *const *lines; /* NULL at the end */
    int count;
} tn_story_step;

typedef struct tn_story_plot {
    const char *name;
    uint8_t steps[TN_STORY_STEPS_MAX + 1]; /* rows of tn_story_steps, 0 at the end */
} tn_story_plot;

typedef struct tn_story_ask {
    int plot;
    const char *question, *answer;
} tn_story_ask;

typedef struct tn_story_facts {
    uint64_t may[TN_FACTS]; /* bit i: the fact may be word i of its list */
} tn_story_facts;

extern const tn_story_step tn_story_steps[]; /* row 0 is no step */
extern const int tn_story_step_count;
extern const tn_story_plot tn_story_plots[];
extern const int tn_story_plot_count;
extern const tn_story_ask tn_story_asks[];
extern const int tn_story_ask_count;

/* Take the next piece off the front of `line`; false at its end. */
bool tn_story_next(const char **line, tn_story_piece *piece);
/* What the slot `piece` says when its fact is word `word` of its list. */
void tn_story_render(tn_story_phrase *out, const tn_story_piece *piece, int word);
/* The facts that a line names so that one knows which word it is: bit f for fact f. */
uint32_t tn_story_names(const char *line);

int tn_story_set_size(uint64_t set);
/* Every fact may be anything. */
tn_story_facts tn_story_facts_any(void);
/* Narrow the facts by the rules between them; false when they contradict each other. */
bool tn_story_facts_settle(tn_story_facts *facts);

/* How many ways the writer has to arrive at exactly this story: 0 when it is not consistent. */
int64_t tn_story_readings(const char *text, size_t len);

#endif
