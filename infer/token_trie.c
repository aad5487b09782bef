/* SPDX-License-Identifier: MIT */
#include "infer/token_trie.h"

#include <stdlib.h>
#include <string.h>

static const char tag[] = "token trie";

enum { LONGEST = 1 << 16, MOST_BYTES = 1 << 30 }; /* of one token, of all */

typedef struct token {
    const char *bytes;
    uint64_t key; /* the first eight bytes, which decide nearly every comparison without a look at `bytes` */
    uint32_t len;
    int32_t id;
} token;

static uint64_t key_of(const char *bytes, size_t len) {
    uint64_t key = 0;
    for (size_t i = 0; i < 8; i++) key = key << 8 | (i < len ? (unsigned char)bytes[i] : 0);
    return key;
}

static int compare(const void *a, const void *b) {
    const token *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    int order = memcmp(x->bytes, y->bytes, TN_MIN(x->len, y->len));
    if (order) return order;
    if (x->len != y->len) return x->len < y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Offsets first: the bytes move while they grow. */
static tn_status gather(tn_token_trie *trie, tn_buf *bytes, token *tokens, size_t *offsets) {
    int n = tn_tokenizer_size(trie->tokenizer);
    for (int32_t id = 0; id < n; id++) {
        if (tn_tokenizer_is_stop(trie->tokenizer, id)) {
            trie->stops[trie->n_stops++] = id;
            continue;
        }
        size_t at = bytes->len;
        TN_TRY(tn_tokenizer_decode(trie->tokenizer, id, false, bytes));
        size_t len = bytes->len - at;
        if (len > LONGEST) return TN_FAIL(RANGE, "token %d has %zu bytes, expected at most %d", id, len, LONGEST);
        if (bytes->len > MOST_BYTES) return TN_FAIL(RANGE, "the tokens have more than %d bytes together", MOST_BYTES);
        if (len == 0) continue;
        offsets[trie->n_ids] = at;
        tokens[trie->n_ids++] = (token){.len = (uint32_t)len, .id = id};
    }
    for (uint32_t i = 0; i < trie->n_ids; i++) {
        tokens[i].bytes = bytes->data + offsets[i];
        tokens[i].key = key_of(tokens[i].bytes, tokens[i].len);
    }
    return TN_OK;
}

static uint32_t common_prefix(const token *a, const token *b) {
    uint32_t n = 0, len = TN_MIN(a->len, b->len);
    while (n < len && a->bytes[n] == b->bytes[n]) n++;
    return n;
}

static uint32_t count_nodes(const token *tokens, uint32_t n) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) count += tokens[i].len - (i ? common_prefix(&tokens[i - 1], &tokens[i]) : 0);
    return count;
}

/* `open` [depth + 1]: the node at each depth of the way to the token before. */
static void plant(tn_token_trie *trie, const token *tokens, uint32_t *open) {
    uint32_t at = 0, deep = 0;
    for (uint32_t i = 0; i < trie->n_ids; i++) {
        uint32_t shared = i ? common_prefix(&tokens[i - 1], &tokens[i]) : 0;
        for (; deep > shared; deep--) trie->nodes[open[deep]].skip = at;
        while (deep < tokens[i].len) {
            uint8_t byte = (uint8_t)tokens[i].bytes[deep++];
            trie->nodes[at] = (tn_trie_node){.first = i, .depth = deep & 0xFFFFFF, .byte = byte};
            open[deep] = at++;
        }
        trie->ids[i] = tokens[i].id;
    }
    for (; deep > 0; deep--) trie->nodes[open[deep]].skip = at;
    trie->nodes[at] = (tn_trie_node){.first = trie->n_ids};
}

static tn_status build(tn_token_trie *trie, tn_arena *scratch, tn_buf *bytes) {
    int n = tn_tokenizer_size(trie->tokenizer);
    token *tokens;
    size_t *offsets;
    uint32_t *open;
    TN_TAKE(trie->stops, trie->arena, n, tag);
    TN_TAKE(tokens, scratch, n, tag);
    TN_TAKE(offsets, scratch, n, tag);
    TN_TRY(gather(trie, bytes, tokens, offsets));
    qsort(tokens, trie->n_ids, sizeof *tokens, compare);
    for (uint32_t i = 0; i < trie->n_ids; i++) trie->depth = TN_MAX(trie->depth, tokens[i].len);
    trie->n_nodes = count_nodes(tokens, trie->n_ids);
    TN_TAKE0(trie->ids, trie->arena, (size_t)trie->n_ids + 1, tag);
    TN_TAKE(trie->nodes, trie->arena, (size_t)trie->n_nodes + 1, tag);
    TN_TAKE(open, scratch, (size_t)trie->depth + 1, tag);
    plant(trie, tokens, open);
    return TN_OK;
}

tn_status tn_token_trie_init(tn_token_trie *trie, const tn_tokenizer *tokenizer) {
    *trie = (tn_token_trie){.tokenizer = tokenizer, .arena = tn_arena_create("token trie")};
    tn_arena *scratch = trie->arena ? tn_arena_create("token trie scratch") : NULL;
    tn_buf bytes = {0};
    tn_status status = scratch ? build(trie, scratch, &bytes) : TN_E_NOMEM;
    tn_buf_release(&bytes);
    tn_arena_free(scratch);
    if (status) tn_token_trie_release(trie);
    return status;
}

void tn_token_trie_release(tn_token_trie *trie) {
    tn_arena_free(trie->arena);
    *trie = (tn_token_trie){0};
}
