/* SPDX-License-Identifier: MIT
 * token_store.h - tokenised text in HDF5, memory-mapped (docs/format.md, "token store"): /tokens u16 or u32,
 * /doc_offsets u64, /checksums, /tokenizer_json, root attributes. Any h5py can read it. */
#ifndef TN_DATA_TOKEN_STORE_H
#define TN_DATA_TOKEN_STORE_H
#include "data/tokenizer.h"

typedef struct tn_store tn_store;

typedef struct tn_store_report {
    int64_t files, documents, tokens, bytes; /* bytes of text */
} tn_store_report;

/* Tokenise all documents of `paths` (text_reader.h) into a store at `out`. Each document ends with EOS, except when
 * there is just one document and the tokenizer is CHAR (one running text, as nanoGPT has it). */
tn_status tn_store_build(const char *out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                         tn_store_report *report);
/* The same without a file: a store in memory, for training straight from text. */
tn_status tn_store_build_memory(tn_store **out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                                tn_store_report *report);
/* Fails: what tn_h5_open gives; TN_E_CORRUPT for offsets out of order, a token >= vocab_size, a checksum that is off;
 * TN_E_EMPTY. Everything is verified before the first token is handed out. */
tn_status tn_store_open(tn_store **out, const char *path);
bool tn_store_is_store(const char *path); /* by content */
void tn_store_free(tn_store *store);

int64_t tn_store_n_tokens(const tn_store *store);
int64_t tn_store_n_documents(const tn_store *store);
int64_t tn_store_n_bytes(const tn_store *store); /* bytes of the text behind all tokens, for bits per byte */
int tn_store_vocab_size(const tn_store *store);
const char *tn_store_name(const tn_store *store);
uint64_t
tn_store_fingerprint(const tn_store *store); /* of tokens and tokenizer: a resumed run must see the same data */
const tn_tokenizer *tn_store_tokenizer(const tn_store *store); /* owned by the store */
/* Tokens [first, first+count) as int32. */
void tn_store_get(const tn_store *store, int64_t first, int64_t count, int32_t *out);
/* First token of document i, 0..n_documents (the last value is n_tokens). */
int64_t tn_store_doc_offset(const tn_store *store, int64_t i);
/* How often each id occurs in [first, first+count): counts [vocab_size]. */
void tn_store_count(const tn_store *store, int64_t first, int64_t count, int64_t *counts);

#endif
