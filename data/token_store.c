/* SPDX-License-Identifier: MIT
 * token_store.c - a store's tokens, masks and figures, handed out. */
#include "data/token_store.h"

#include "data/token_store_priv.h"
#include "formats/checksum.h"

#include <string.h>

size_t tn_store_width(int vocab_size) { return vocab_size <= 1 << 16 ? 2 : 4; }

uint64_t tn_store_n_blocks(int64_t n_tokens, size_t width) {
    return ((uint64_t)n_tokens * width + TN_STORE_BLOCK - 1) / TN_STORE_BLOCK;
}

uint64_t tn_store_make_fingerprint(const uint64_t *sums, uint64_t n_blocks, tn_row_kind kind, int64_t n_tokens,
                                   const tn_tokenizer *tokenizer) {
    struct {
        uint64_t sums, n_tokens;
        char hash[16];
    } parts = {tn_checksum64(sums, n_blocks * sizeof *sums), (uint64_t)n_tokens, {0}};
    char hash[17];
    tn_tokenizer_hash(tokenizer, hash);
    memcpy(parts.hash, hash, sizeof parts.hash);
    if (kind != TN_ROW_TEXT) parts.n_tokens ^= (uint64_t)(kind + 1) << 56;
    return tn_checksum64(&parts, sizeof parts);
}

void tn_store_free(tn_store *store) {
    if (!store) return;
    tn_map_release(&store->map);
    tn_heap_free(store->heap);
    tn_heap_free(store->mask_heap);
    tn_heap_free(store->prompts);
    tn_heap_free(store->labels);
    tn_heap_free(store->offsets);
    tn_heap_free(store->name);
    tn_tokenizer_free(store->tokenizer);
    tn_heap_free(store);
}

/* ---- questions ---- */

int64_t tn_store_n_tokens(const tn_store *store) { return store->n_tokens; }
int64_t tn_store_n_documents(const tn_store *store) { return store->n_docs; }
int64_t tn_store_n_bytes(const tn_store *store) { return store->n_bytes; }
int tn_store_vocab_size(const tn_store *store) { return tn_tokenizer_size(store->tokenizer); }
const char *tn_store_name(const tn_store *store) { return store->name; }
uint64_t tn_store_fingerprint(const tn_store *store) { return store->fingerprint; }
const tn_tokenizer *tn_store_tokenizer(const tn_store *store) { return store->tokenizer; }

tn_row_kind tn_store_kind(const tn_store *store) { return store->kind; }
const char *tn_store_kind_name(const tn_store *store) {
    return store->kind == TN_ROW_KINDS ? TN_STORE_MIXED : tn_row_kind_names[store->kind];
}

const uint8_t *tn_store_mask(const tn_store *store) { return store->mask; }
const uint32_t *tn_store_prompt_tokens(const tn_store *store) { return store->prompts; }
const int8_t *tn_store_labels(const tn_store *store) { return store->labels; }

static uint32_t token_at(const tn_store *s, int64_t i) {
    uint32_t wide;
    uint16_t narrow;
    if (s->width == 2) return memcpy(&narrow, s->tokens + 2 * i, 2), narrow;
    return memcpy(&wide, s->tokens + 4 * i, 4), wide;
}

static void assert_range(const tn_store *store, int64_t first, int64_t count) {
    TN_ASSERT(first >= 0 && count >= 0 && first <= store->n_tokens && count <= store->n_tokens - first);
}

void tn_store_get(const tn_store *store, int64_t first, int64_t count, int32_t *out) {
    assert_range(store, first, count);
    for (int64_t i = 0; i < count; i++) out[i] = (int32_t)token_at(store, first + i);
}

uint32_t tn_store_largest(const tn_store *store, int64_t first, int64_t count) {
    uint32_t largest = 0;
    for (int64_t i = first; i < first + count; i++) largest = TN_MAX(largest, token_at(store, i));
    return largest;
}

int64_t tn_store_doc_offset(const tn_store *store, int64_t i) {
    TN_ASSERT(i >= 0 && i <= store->n_docs);
    return (int64_t)store->offsets[i];
}

int64_t tn_store_doc_length(const tn_store *store, int64_t i) {
    return tn_store_doc_offset(store, i + 1) - tn_store_doc_offset(store, i);
}

void tn_store_count(const tn_store *store, int64_t first, int64_t count, int64_t *counts) {
    assert_range(store, first, count);
    memset(counts, 0, (size_t)tn_store_vocab_size(store) * sizeof *counts);
    for (int64_t i = first; i < first + count; i++) counts[token_at(store, i)]++;
}
