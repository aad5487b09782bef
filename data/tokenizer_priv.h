/* SPDX-License-Identifier: MIT
 * tokenizer_priv.h - what the tokenizer's own files share. */
#ifndef TN_DATA_TOKENIZER_PRIV_H
#define TN_DATA_TOKENIZER_PRIV_H
#include "core/arena.h"
#include "data/split.h"
#include "data/text_map.h"
#include "data/tokenizer.h"

enum { TN_MAX_TOKENS = 1 << 22, TN_TRAINED_TOKENS = 1 << 20 };

struct tn_tokenizer {
    tn_arena *arena; /* all that `vocabulary` points at */
    tn_vocabulary vocabulary;
    tn_text_map normal;    /* bytes of NORMAL tokens -> id */
    tn_text_map others;    /* texts of all other tokens -> id */
    tn_pair_map ranks;     /* pair of ids -> rank of the merge */
    int32_t *merged;       /* [n_merges] the id a merge gives, by rank */
    int32_t byte_ids[256]; /* NORMAL tokens of one byte; -1 = none */
    tn_splitter *splitter; /* BPE only */
    int32_t *specials;     /* [n_specials] CONTROL, USER and UNKNOWN tokens, longest text first */
    int n_specials;
    char hash[17];
};

/* What the merging of one piece needs; reused from piece to piece. */
typedef struct tn_bpe_queue_entry {
    int32_t rank;
    uint32_t at;         /* the left symbol */
    int32_t left, right; /* ids when the entry was made; other ids now = stale */
} tn_bpe_queue_entry;

typedef struct tn_bpe_symbol {
    int32_t id;          /* -1 = a byte without a token, or swallowed by a merge */
    uint32_t prev, next; /* TN_BPE_END at either end */
} tn_bpe_symbol;

typedef struct tn_bpe_scratch {
    tn_bpe_symbol *symbols;
    tn_bpe_queue_entry *queue; /* binary heap: lowest rank, then leftmost, on top */
    size_t symbols_cap, queue_cap, queue_len;
} tn_bpe_scratch;

/* Append the ids of one piece. */
tn_status tn_bpe_encode(const tn_tokenizer *tokenizer, tn_bpe_scratch *scratch, const char *piece, size_t len,
                        tn_ids *ids);
void tn_bpe_scratch_release(tn_bpe_scratch *scratch);

/* Distinct pieces of the training text and how often each occurs. */
typedef struct tn_bpe_word {
    const char *text;
    uint32_t len;
    int64_t count;
} tn_bpe_word;

/* What training finds: tokens 0..255 are the bytes in GPT-2's order, the others follow by rank. In the caller's arena.
 */
typedef struct tn_bpe_model {
    const char **texts; /* [n_tokens] */
    uint32_t *lens;
    int n_tokens;
    int32_t (*merges)[2]; /* [n_merges]; two merges may give one token, so there can be more than n_tokens - 256 */
    int n_merges;
} tn_bpe_model;

/* Merge the most frequent pair until there are `max_tokens` tokens or no pair occurs twice. */
tn_status tn_bpe_learn(tn_arena *arena, const tn_bpe_word *words, size_t n_words, int max_tokens, tn_bpe_model *out);

/* Fill bos, eos and eot that are -1 from the texts of special tokens (special_names.def). */
void tn_vocabulary_guess_roles(tn_vocabulary *vocabulary);
/* Sort out the two halves of "left right" (split at the first space at or after byte 1). False: there is no such space.
 */
bool tn_merge_halves(const char *text, size_t len, size_t *left_len);
/* "<|...|>": special by its shape. */
bool tn_text_looks_special(const char *text, size_t len);

#endif
