/* SPDX-License-Identifier: MIT
 * token_store_priv.h - what building and reading a store share. */
#ifndef TN_DATA_TOKEN_STORE_PRIV_H
#define TN_DATA_TOKEN_STORE_PRIV_H
#include "core/arena.h"
#include "core/fs.h"
#include "data/token_store.h"

#define TN_STORE_FORMAT "tern-tokens"
enum { TN_STORE_VERSION = 1, TN_STORE_BLOCK = 1 << 20 }; /* one checksum for that many bytes of tokens */

struct tn_store {
    char *name;
    tn_tokenizer *tokenizer;
    tn_map map;                  /* of the file, when its tokens can be used in place */
    void *heap;                  /* else the tokens themselves */
    const unsigned char *tokens; /* [n_tokens] of `width` bytes, in the map or on the heap */
    size_t width;                /* 2 (u16) or 4 (u32) */
    int64_t n_tokens, n_docs, n_bytes;
    uint64_t *offsets; /* [n_docs + 1] first token of each document */
    uint64_t fingerprint;
};

/* 2 when u16 can hold every id of the vocabulary, else 4. */
size_t tn_store_width(int vocab_size);
uint64_t tn_store_n_blocks(int64_t n_tokens, size_t width);
/* Of the checksums of all blocks and the tokenizer's hash. */
uint64_t tn_store_make_fingerprint(const uint64_t *sums, uint64_t n_blocks, int64_t n_tokens,
                                   const tn_tokenizer *tokenizer);

#endif
