/* SPDX-License-Identifier: MIT
 * token_trie.h - the tokens of a vocabulary as a tree of bytes, so that one walk decides about all that begin alike.
 * Tokens that print nothing are not in it, nor are those that end a text. Read-only after creation. */
#ifndef TN_INFER_TOKEN_TRIE_H
#define TN_INFER_TOKEN_TRIE_H
#include "core/arena.h"
#include "data/tokenizer.h"

/* Nodes in the order of a walk that visits a node before what is below it, children by byte; the root is not there. */
typedef struct tn_trie_node {
    uint32_t skip;       /* the first node that is not below this one */
    uint32_t first;      /* in ids: tokens that end here come from `first` to the next node's */
    uint32_t depth : 24; /* bytes on the way here, this one included */
    uint32_t byte : 8;
} tn_trie_node;

typedef struct tn_token_trie {
    const tn_tokenizer *tokenizer;
    tn_trie_node *nodes;            /* [n_nodes + 1]; the last only bounds the tokens of the one before */
    int32_t *ids;                   /* [n_ids], by bytes */
    uint32_t n_nodes, n_ids, depth; /* depth: of the deepest node */
    int32_t *stops;                 /* [n_stops] ids that end a text */
    int n_stops;
    tn_arena *arena;
} tn_token_trie;

tn_status tn_token_trie_init(tn_token_trie *trie, const tn_tokenizer *tokenizer);
void tn_token_trie_release(tn_token_trie *trie);

#endif
