/* SPDX-License-Identifier: MIT
 * token_store.h - tokenised text in HDF5, memory-mapped (docs/format.md, "Token store"): /tokens u16 or u32,
 * /doc_offsets u64, /loss_mask u8 where not all is learnt, /checksums, /tokenizer_json, root attributes. Any h5py can
 * read it. A store of rows that are no plain texts is one of documents: each stands for itself. */
#ifndef TN_DATA_TOKEN_STORE_H
#define TN_DATA_TOKEN_STORE_H
#include "data/examples.h"

typedef struct tn_store tn_store;

typedef struct tn_store_report {
    int64_t files, documents, tokens, bytes; /* bytes of text */
} tn_store_report;

/* Tokenise all rows of `paths` (data/rows.h), plain texts as running text, into a store at `out`. Each text ends with
 * EOS, except when there is just one and the tokenizer is CHAR (as nanoGPT has it). */
tn_status tn_store_build(const char *out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                         tn_store_report *report);
/* The same without a file: a store in memory, for training straight from text. */
tn_status tn_store_build_memory(tn_store **out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                                tn_store_report *report);
/* The same of rows of any kind as `options` make examples of them (data/examples.h); `report` receives what became of
 * the rows. Where the options name a chat template, it becomes that of the store's tokenizer. Preferences, and rows
 * with labels (KTO), go with no others. Fails also: what tn_read_examples gives. */
tn_status tn_store_build_examples(const char *out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                                  const tn_example_options *options, tn_data_report *report);
tn_status tn_store_build_examples_memory(tn_store **out, const char *const *paths, int n_paths,
                                         const tn_tokenizer *tokenizer, const tn_example_options *options,
                                         tn_data_report *report);
/* Fails: what tn_h5_open gives; TN_E_CORRUPT for offsets out of order, a token >= vocab_size, a checksum that is off;
 * TN_E_EMPTY. Everything is verified before the first token is handed out. */
tn_status tn_store_open(tn_store **out, const char *path);
bool tn_store_is_store(const char *path); /* by content */
void tn_store_free(tn_store *store);

int64_t tn_store_n_tokens(const tn_store *store);
int64_t tn_store_n_documents(const tn_store *store);
int64_t tn_store_n_bytes(const tn_store *store); /* bytes of the text behind all tokens, for bits per byte */
int tn_store_vocab_size(const tn_store *store);
/* Of its rows; TN_ROW_KINDS: of several. */
tn_row_kind tn_store_kind(const tn_store *store);
const char *tn_store_kind_name(const tn_store *store); /* "chat", "mixed" */
const char *tn_store_name(const tn_store *store);
uint64_t
tn_store_fingerprint(const tn_store *store); /* of tokens and tokenizer: a resumed run must see the same data */
const tn_tokenizer *tn_store_tokenizer(const tn_store *store); /* owned by the store */
/* Tokens [first, first+count) as int32. */
void tn_store_get(const tn_store *store, int64_t first, int64_t count, int32_t *out);
/* First token of document i, 0..n_documents (the last value is n_tokens). */
int64_t tn_store_doc_offset(const tn_store *store, int64_t i);
int64_t tn_store_doc_length(const tn_store *store, int64_t i); /* tokens of document i */
/* [n_tokens] 1 = the token is learnt; NULL: all are. The first token of a document never is, whatever stands there. */
const uint8_t *tn_store_mask(const tn_store *store);
/* [n_documents] PREFERENCE, whose documents are in turn chosen and rejected: tokens at the beginning of both. Else
 * NULL.
 */
const uint32_t *tn_store_prompt_tokens(const tn_store *store);
const int8_t *tn_store_labels(const tn_store *store); /* [n_documents] KTO: 1 = wanted; else NULL */
/* How often each id occurs in [first, first+count): counts [vocab_size]. */
void tn_store_count(const tn_store *store, int64_t first, int64_t count, int64_t *counts);

#endif
