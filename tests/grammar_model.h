/* SPDX-License-Identifier: MIT
 * grammar_model.h - random grammars and a naive judge of them, to hold the runtime's recogniser against: rules are
 * matched by recursion over whole strings of characters, which shares no idea with stacks, bytes and tables. */
#ifndef TN_TESTS_GRAMMAR_MODEL_H
#define TN_TESTS_GRAMMAR_MODEL_H
#include "core/buf.h"
#include "core/rng.h"

enum { TN_MODEL_RULES = 4, TN_MODEL_NODES = 200, TN_MODEL_TEXT = 24, TN_MODEL_ALPHABET = 7 };
extern const uint32_t tn_model_alphabet[TN_MODEL_ALPHABET]; /* of one to four bytes */

typedef enum tn_model_kind {
    TN_MODEL_CHARS,
    TN_MODEL_SET,
    TN_MODEL_REF,
    TN_MODEL_CHOICE,
    TN_MODEL_SEQ,
    TN_MODEL_REP
} tn_model_kind;

typedef struct tn_model_node {
    tn_model_kind kind;
    int n, children[3]; /* CHOICE, SEQ, REP: nodes; REF: children[0] is the rule */
    uint32_t chars[3];  /* CHARS [n] */
    uint32_t low, high; /* SET */
    bool negated;       /* SET */
    int min, max;       /* REP; max -1 = no end */
} tn_model_node;

typedef struct tn_model {
    tn_model_node nodes[TN_MODEL_NODES];
    int n_nodes, n_rules, bodies[TN_MODEL_RULES];
    tn_rng rng;
    uint64_t drawn;
} tn_model;

uint32_t tn_model_draw(tn_model *model, uint32_t n); /* 0..n-1 */
void tn_model_make(tn_model *model, uint32_t number);
void tn_model_write(tn_model *model, tn_buf *out); /* as GBNF; rule 0 is root */
/* Whether a rule may call itself before it takes a character; whether every rule can end. */
bool tn_model_is_left_recursive(const tn_model *model);
bool tn_model_has_ends(const tn_model *model);

/* Whether the text [n] is whole, and whether something may follow it. Neither: it is the beginning of nothing. */
typedef struct tn_verdict {
    bool whole, more;
} tn_verdict;
tn_verdict tn_model_judge(const tn_model *model, const uint32_t *text, int n);

#endif
