/* SPDX-License-Identifier: MIT
 * token_store_priv.h - what building and reading a store share. */
#ifndef TN_DATA_TOKEN_STORE_PRIV_H
#define TN_DATA_TOKEN_STORE_PRIV_H
#include "core/arena.h"
#include "core/fs.h"
#include "data/spool.h"
#include "data/token_store.h"

#define TN_STORE_FORMAT "tern-tokens"
#define TN_STORE_MIXED  "mixed"                                 /* kind */
enum { TN_STORE_VERSION = 1, TN_STORE_BLOCK = TN_SPOOL_BLOCK }; /* one checksum for that many bytes */

struct tn_store {
    char *name;
    tn_tokenizer *tokenizer;
    tn_row_kind kind;            /* TN_ROW_KINDS: several */
    tn_map map;                  /* of the file, when something in it can be used in place */
    void *heap, *mask_heap;      /* what cannot be */
    const unsigned char *tokens; /* [n_tokens] of `width` bytes, in the map or on the heap */
    const uint8_t *mask;         /* [n_tokens] or NULL */
    size_t width;                /* 2 (u16) or 4 (u32) */
    int64_t n_tokens, n_docs, n_bytes;
    uint64_t *offsets; /* [n_docs + 1] first token of each document */
    uint32_t *prompts; /* [n_docs] or NULL */
    int8_t *labels;    /* [n_docs] or NULL */
    uint64_t fingerprint;
};

/* 2 when u16 can hold every id of the vocabulary, else 4. */
size_t tn_store_width(int vocab_size);
uint64_t tn_store_n_blocks(int64_t n_tokens, size_t width);
/* The largest id of tokens [first, first+count). */
uint32_t tn_store_largest(const tn_store *store, int64_t first, int64_t count);
/* Of the checksums of all blocks, of the tokens and then of the mask, of the kind unless it is text, and of the
 * tokenizer's hash. */
uint64_t tn_store_make_fingerprint(const uint64_t *sums, uint64_t n_blocks, tn_row_kind kind, int64_t n_tokens,
                                   const tn_tokenizer *tokenizer);

#endif
