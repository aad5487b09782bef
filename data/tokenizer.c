/* SPDX-License-Identifier: MIT
 * tokenizer.c - a vocabulary, checked and indexed. */
#include "data/tokenizer.h"

#include "data/grow.h"
#include "data/tokenizer_priv.h"
#include "core/utf8.h"
#include "formats/checksum.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char tag[] = "tokenizer";

tn_status tn_ids_append(tn_ids *ids, int32_t id) {
    TN_GROW(ids->list, &ids->cap, ids->count + 1);
    ids->list[ids->count++] = id;
    return TN_OK;
}

void tn_ids_release(tn_ids *ids) {
    tn_heap_free(ids->list);
    *ids = (tn_ids){0};
}

/* ---- checks ---- */

static tn_status check_id(const tn_vocabulary *v, const char *role, int id) {
    if (id >= -1 && id < v->n_tokens) return TN_OK;
    return TN_FAIL(CORRUPT, "vocabulary: %s id %d is not one of the %d tokens", role, id, v->n_tokens);
}

static tn_status check_character(int id, const char *text, size_t len) {
    size_t valid = tn_utf8_valid_prefix(text, len, NULL);
    uint32_t code = 0;
    if (len && valid == len && tn_utf8_decode(text, &code) == len && code) return TN_OK;
    return TN_FAIL(CORRUPT, "vocabulary: token %d has %zu bytes, expected one character", id, len);
}

static tn_status check_token(const tn_vocabulary *v, int id) {
    const char *text = v->texts[id];
    uint32_t len = v->lens[id];
    if (v->types[id] < TN_TOKEN_NORMAL || v->types[id] > TN_TOKEN_BYTE)
        return TN_FAIL(CORRUPT, "vocabulary: token %d has type %d, expected 1..6", id, v->types[id]);
    if (v->types[id] == TN_TOKEN_NORMAL) {
        if (!len) return TN_FAIL(CORRUPT, "vocabulary: token %d is empty", id);
        return v->kind == TN_TOKENIZER_CHAR ? check_character(id, text, len) : TN_OK;
    }
    if (memchr(text, 0, len) || tn_utf8_valid_prefix(text, len, NULL) != len)
        return TN_FAIL(CORRUPT, "vocabulary: special token %d is not valid UTF-8 text", id);
    return TN_OK;
}

static tn_status check(const tn_vocabulary *v) {
    if (v->n_tokens < 1 || v->n_tokens > TN_MAX_TOKENS)
        return TN_FAIL(CORRUPT, "vocabulary: has %d tokens, expected 1..%d", v->n_tokens, TN_MAX_TOKENS);
    if (v->n_merges < 0 || v->n_merges > TN_MAX_TOKENS)
        return TN_FAIL(CORRUPT, "vocabulary: has %d merges, expected 0..%d", v->n_merges, TN_MAX_TOKENS);
    for (int id = 0; id < v->n_tokens; id++) TN_TRY(check_token(v, id));
    TN_TRY(check_id(v, "bos", v->bos));
    TN_TRY(check_id(v, "eos", v->eos));
    TN_TRY(check_id(v, "eot", v->eot));
    TN_TRY(check_id(v, "unknown", v->unk));
    TN_TRY(check_id(v, "padding", v->pad));
    return tn_utf8_check("chat template", 0, v->chat_template, strlen(v->chat_template));
}

/* ---- copying ---- */

static tn_status copy_tokens(tn_arena *arena, tn_vocabulary *to, const tn_vocabulary *from) {
    size_t n = (size_t)from->n_tokens, total = 0, at = 0;
    for (size_t i = 0; i < n; i++) total += (size_t)from->lens[i] + 1;
    const char **texts;
    uint32_t *lens;
    int32_t *types;
    char *block;
    TN_TAKE(texts, arena, n, tag);
    TN_TAKE(lens, arena, n, tag);
    TN_TAKE(types, arena, n, tag);
    TN_TAKE(block, arena, total, tag);
    memcpy(lens, from->lens, n * sizeof *lens);
    memcpy(types, from->types, n * sizeof *types);
    for (size_t i = 0; i < n; i++) {
        texts[i] = memcpy(block + at, from->texts[i], lens[i]);
        block[at + lens[i]] = '\0';
        at += (size_t)lens[i] + 1;
    }
    to->texts = texts;
    to->lens = lens;
    to->types = types;
    return TN_OK;
}

static tn_status copy(tn_arena *arena, tn_vocabulary *to, const tn_vocabulary *from) {
    *to = *from;
    TN_TRY(copy_tokens(arena, to, from));
    if (from->kind == TN_TOKENIZER_CHAR) { /* one spelling, so that equal tokenizers have equal hashes */
        to->split = TN_SPLIT_GPT2;
        to->ignore_merges = false;
        to->n_merges = 0;
    }
    int32_t(*merges)[2];
    TN_TAKE(merges, arena, to->n_merges, tag);
    if (to->n_merges) memcpy(merges, from->merges, (size_t)to->n_merges * sizeof *merges);
    to->merges = (const int32_t(*)[2])merges;
    to->chat_template = tn_arena_strdup(arena, from->chat_template, tag);
    return to->chat_template ? TN_OK : TN_E_NOMEM;
}

/* ---- indices ---- */

static tn_status index_tokens(tn_tokenizer *t) {
    const tn_vocabulary *v = &t->vocabulary;
    memset(t->byte_ids, -1, sizeof t->byte_ids);
    for (int id = 0; id < v->n_tokens; id++) {
        bool normal = v->types[id] == TN_TOKEN_NORMAL;
        tn_text_map *map = normal ? &t->normal : &t->others;
        if (!v->lens[id]) continue;
        int32_t other = tn_text_map_find(map, v->texts[id], v->lens[id]);
        if (other >= 0) return TN_FAIL(CORRUPT, "vocabulary: tokens %d and %d are the same text", other, id);
        TN_TRY(tn_text_map_put(map, v->texts[id], v->lens[id], id));
        if (normal && v->lens[id] == 1) t->byte_ids[(unsigned char)v->texts[id][0]] = id;
    }
    return TN_OK;
}

static tn_status index_merge(tn_tokenizer *t, int rank, tn_buf *bytes) {
    const tn_vocabulary *v = &t->vocabulary;
    tn_buf_reset(bytes);
    for (int half = 0; half < 2; half++) {
        int32_t id = v->merges[rank][half];
        if (id < 0 || id >= v->n_tokens || v->types[id] != TN_TOKEN_NORMAL)
            return TN_FAIL(CORRUPT, "vocabulary: merge %d joins id %d, which is no normal token", rank, id);
        TN_TRY(tn_buf_append(bytes, v->texts[id], v->lens[id]));
    }
    t->merged[rank] = tn_text_map_find(&t->normal, bytes->data, bytes->len);
    if (t->merged[rank] < 0) return TN_FAIL(CORRUPT, "vocabulary: the result of merge %d is no token", rank);
    int32_t left = v->merges[rank][0], right = v->merges[rank][1];
    if (tn_pair_map_find(&t->ranks, left, right) >= 0) return TN_OK; /* listed twice: the first rank counts */
    return tn_pair_map_put(&t->ranks, left, right, rank);
}

static tn_status index_merges(tn_tokenizer *t) {
    tn_buf bytes = {0};
    tn_status status = TN_OK;
    TN_TAKE(t->merged, t->arena, t->vocabulary.n_merges, tag);
    for (int rank = 0; rank < t->vocabulary.n_merges && !status; rank++) status = index_merge(t, rank, &bytes);
    tn_buf_release(&bytes);
    return status;
}

typedef struct by_length {
    uint32_t len;
    int32_t id;
} by_length;

static int compare_by_length(const void *a, const void *b) {
    const by_length *x = a, *y = b;
    if (x->len != y->len) return x->len > y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_matched(int32_t type) {
    return type == TN_TOKEN_CONTROL || type == TN_TOKEN_USER || type == TN_TOKEN_UNKNOWN;
}

static tn_status index_specials(tn_tokenizer *t) {
    const tn_vocabulary *v = &t->vocabulary;
    by_length *list;
    size_t n = 0;
    TN_TAKE(list, t->arena, v->n_tokens, tag);
    for (int id = 0; id < v->n_tokens; id++)
        if (is_matched(v->types[id]) && v->lens[id]) list[n++] = (by_length){v->lens[id], id};
    qsort(list, n, sizeof *list, compare_by_length);
    TN_TAKE(t->specials, t->arena, n, tag);
    for (size_t i = 0; i < n; i++) t->specials[i] = list[i].id;
    t->n_specials = (int)n;
    return TN_OK;
}

/* ---- hash ---- */

/* Little-endian on every machine, so that a hash means the same everywhere. */
static tn_status put_number(tn_buf *out, int64_t number) {
    char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (char)((uint64_t)number >> 8 * i);
    return tn_buf_append(out, bytes, sizeof bytes);
}

static tn_status put_text(tn_buf *out, const char *text, size_t len) {
    TN_TRY(put_number(out, (int64_t)len));
    return tn_buf_append(out, text, len);
}

/* All that decides about ids, in one fixed order. */
static tn_status put_identity(const tn_vocabulary *v, tn_buf *out) {
    const int numbers[] = {(int)v->kind, v->ignore_merges, v->bos,      v->eos,     v->eot,
                           v->unk,       v->pad,           v->n_tokens, v->n_merges};
    for (size_t i = 0; i < TN_COUNT(numbers); i++) TN_TRY(put_number(out, numbers[i]));
    TN_TRY(put_text(out, tn_split_name(v->split), strlen(tn_split_name(v->split))));
    for (int id = 0; id < v->n_tokens; id++) {
        TN_TRY(put_number(out, v->types[id]));
        TN_TRY(put_text(out, v->texts[id], v->lens[id]));
    }
    for (int rank = 0; rank < v->n_merges; rank++)
        for (int half = 0; half < 2; half++) TN_TRY(put_number(out, v->merges[rank][half]));
    return TN_OK;
}

static tn_status compute_hash(tn_tokenizer *t) {
    tn_buf identity = {0};
    tn_status status = put_identity(&t->vocabulary, &identity);
    if (!status) snprintf(t->hash, sizeof t->hash, "%016" PRIx64, tn_checksum64(identity.data, identity.len));
    tn_buf_release(&identity);
    return status;
}

/* ---- life ---- */

static tn_status fill(tn_tokenizer *t, const tn_vocabulary *vocabulary) {
    t->arena = tn_arena_create("tokenizer");
    if (!t->arena) return TN_E_NOMEM;
    TN_TRY(check(vocabulary));
    TN_TRY(copy(t->arena, &t->vocabulary, vocabulary));
    TN_TRY(index_tokens(t));
    TN_TRY(index_merges(t));
    TN_TRY(index_specials(t));
    TN_TRY(compute_hash(t));
    return vocabulary->kind == TN_TOKENIZER_BPE ? tn_splitter_create(&t->splitter, vocabulary->split) : TN_OK;
}

tn_status tn_tokenizer_from_vocabulary(tn_tokenizer **out, const tn_vocabulary *vocabulary) {
    *out = NULL;
    tn_tokenizer *t = tn_heap_zalloc(1, sizeof *t);
    if (!t) return TN_E_NOMEM;
    tn_status status = fill(t, vocabulary);
    if (status)
        tn_tokenizer_free(t);
    else
        *out = t;
    return status;
}

void tn_tokenizer_free(tn_tokenizer *t) {
    if (!t) return;
    tn_text_map_release(&t->normal);
    tn_text_map_release(&t->others);
    tn_pair_map_release(&t->ranks);
    tn_splitter_free(t->splitter);
    tn_arena_free(t->arena);
    tn_heap_free(t);
}

/* ---- special tokens by name ---- */

typedef enum role { BOS, EOS, EOT, EOM } role;

static const struct {
    role role;
    const char *text;
} names[] = {
#define ROLE(role, text) {role, text},
#include "data/special_names.def"
#undef ROLE
};

static bool token_is(const tn_vocabulary *v, int id, const char *text) {
    return v->lens[id] == strlen(text) && memcmp(v->texts[id], text, v->lens[id]) == 0;
}

static void guess_role(const tn_vocabulary *v, role wanted, int *id) {
    for (size_t i = 0; i < TN_COUNT(names) && *id < 0; i++)
        for (int k = 0; k < v->n_tokens && *id < 0 && names[i].role == wanted; k++)
            if (v->types[k] != TN_TOKEN_NORMAL && token_is(v, k, names[i].text)) *id = k;
}

void tn_vocabulary_guess_roles(tn_vocabulary *v) {
    guess_role(v, BOS, &v->bos);
    guess_role(v, EOS, &v->eos);
    guess_role(v, EOT, &v->eot);
}

bool tn_tokenizer_is_stop(const tn_tokenizer *t, int32_t id) {
    const tn_vocabulary *v = &t->vocabulary;
    if (id < 0 || id >= v->n_tokens) return false;
    if (id == v->eos || id == v->eot) return true;
    for (size_t i = 0; i < TN_COUNT(names) && v->types[id] == TN_TOKEN_CONTROL; i++)
        if (names[i].role != BOS && token_is(v, id, names[i].text)) return true;
    return false;
}

bool tn_text_looks_special(const char *text, size_t len) {
    return len > 4 && memcmp(text, "<|", 2) == 0 && memcmp(text + len - 2, "|>", 2) == 0;
}

bool tn_merge_halves(const char *text, size_t len, size_t *left_len) {
    const char *space = len > 1 ? memchr(text + 1, ' ', len - 1) : NULL;
    if (!space) return false;
    *left_len = (size_t)(space - text);
    return true;
}

/* ---- questions ---- */

const tn_vocabulary *tn_tokenizer_vocabulary(const tn_tokenizer *t) { return &t->vocabulary; }
int tn_tokenizer_size(const tn_tokenizer *t) { return t->vocabulary.n_tokens; }
int tn_tokenizer_eos(const tn_tokenizer *t) { return t->vocabulary.eos; }
void tn_tokenizer_hash(const tn_tokenizer *t, char out[17]) { memcpy(out, t->hash, sizeof t->hash); }

bool tn_tokenizer_is_special(const tn_tokenizer *t, int32_t id) {
    if (id < 0 || id >= t->vocabulary.n_tokens) return false;
    int32_t type = t->vocabulary.types[id];
    return type == TN_TOKEN_CONTROL || type == TN_TOKEN_UNKNOWN || type == TN_TOKEN_UNUSED;
}

int32_t tn_tokenizer_find(const tn_tokenizer *t, const char *text, size_t len) {
    int32_t id = tn_text_map_find(&t->others, text, len);
    return id >= 0 ? id : tn_text_map_find(&t->normal, text, len);
}

tn_status tn_tokenizer_decode(const tn_tokenizer *t, int32_t id, bool specials, tn_buf *out) {
    const tn_vocabulary *v = &t->vocabulary;
    if (id < 0 || id >= v->n_tokens)
        return TN_FAIL(RANGE, "token id %d is not in the vocabulary, expected 0..%d", id, v->n_tokens - 1);
    if (tn_tokenizer_is_special(t, id) && !specials) return TN_OK;
    return tn_buf_append(out, v->texts[id], v->lens[id]);
}
