/* SPDX-License-Identifier: MIT
 * tokenizer.c - a vocabulary, checked and indexed. */
#include "data/tokenizer.h"

#include "data/byte_spelling.h"
#include "data/grow.h"
#include "data/tokenizer_priv.h"
#include "core/utf8.h"
#include "formats/checksum.h"

#include <inttypes.h>
#include <math.h>
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

static tn_status check_text(int id, const char *text, size_t len) {
    if (len > TN_SPM_MAX_TOKEN)
        return TN_FAIL(CORRUPT, "vocabulary: token %d has %zu bytes, expected at most %d", id, len, TN_SPM_MAX_TOKEN);
    if (!memchr(text, 0, len) && tn_utf8_valid_prefix(text, len, NULL) == len) return TN_OK;
    return TN_FAIL(CORRUPT, "vocabulary: token %d is not valid UTF-8 text", id);
}

static tn_status check_normal(const tn_vocabulary *v, int id, const char *text, size_t len) {
    if (!len) return TN_FAIL(CORRUPT, "vocabulary: token %d is empty", id);
    if (v->scores && !isfinite(v->scores[id]))
        return TN_FAIL(CORRUPT, "vocabulary: the score of token %d is no finite number", id);
    if (v->kind == TN_TOKENIZER_CHAR) return check_character(id, text, len);
    return v->kind == TN_TOKENIZER_SPM ? check_text(id, text, len) : TN_OK;
}

static tn_status check_token(const tn_vocabulary *v, int id) {
    const char *text = v->texts[id];
    uint32_t len = v->lens[id];
    if (v->types[id] < TN_TOKEN_NORMAL || v->types[id] > TN_TOKEN_BYTE)
        return TN_FAIL(CORRUPT, "vocabulary: token %d has type %d, expected 1..6", id, v->types[id]);
    if (v->types[id] == TN_TOKEN_NORMAL) return check_normal(v, id, text, len);
    if (v->types[id] == TN_TOKEN_BYTE && len == 1) return TN_OK;
    if (v->types[id] == TN_TOKEN_BYTE)
        return TN_FAIL(CORRUPT, "vocabulary: byte token %d has %u bytes, expected one", id, len);
    if (memchr(text, 0, len) || tn_utf8_valid_prefix(text, len, NULL) != len)
        return TN_FAIL(CORRUPT, "vocabulary: special token %d is not valid UTF-8 text", id);
    return TN_OK;
}

static tn_status check_kind(const tn_vocabulary *v) {
    bool spm = v->kind == TN_TOKENIZER_SPM;
    if (v->n_merges < 0 || v->n_merges > TN_MAX_TOKENS)
        return TN_FAIL(CORRUPT, "vocabulary: has %d merges, expected 0..%d", v->n_merges, TN_MAX_TOKENS);
    if (!spm && (v->scores || v->prefix || v->collapse_spaces))
        return TN_FAIL(ARG, "vocabulary: scores and added spaces belong to SentencePiece");
    if (spm && v->scores && v->n_merges) return TN_FAIL(ARG, "vocabulary: has scores and merges, expected one of them");
    if (spm && v->ignore_merges) return TN_FAIL(ARG, "vocabulary: SentencePiece has no whole words to take");
    return TN_OK;
}

static tn_status check(const tn_vocabulary *v) {
    if (v->n_tokens < 1 || v->n_tokens > TN_MAX_TOKENS)
        return TN_FAIL(CORRUPT, "vocabulary: has %d tokens, expected 1..%d", v->n_tokens, TN_MAX_TOKENS);
    TN_TRY(check_kind(v));
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

/* Only NORMAL tokens are merged; what else has a score in some files is 0. */
static tn_status copy_scores(tn_arena *arena, tn_vocabulary *to, const tn_vocabulary *from) {
    float *scores;
    TN_TAKE(scores, arena, from->n_tokens, tag);
    for (int id = 0; id < from->n_tokens; id++)
        scores[id] = from->types[id] == TN_TOKEN_NORMAL ? from->scores[id] : 0.0f;
    to->scores = scores;
    return TN_OK;
}

static tn_status copy(tn_arena *arena, tn_vocabulary *to, const tn_vocabulary *from, int32_t (**merged)[2]) {
    *to = *from;
    TN_TRY(copy_tokens(arena, to, from));
    if (from->kind != TN_TOKENIZER_BPE) to->split = TN_SPLIT_GPT2; /* one spelling: equal tokenizers, equal hashes */
    if (from->kind == TN_TOKENIZER_CHAR) {
        to->ignore_merges = false;
        to->n_merges = 0;
    }
    if (from->scores) TN_TRY(copy_scores(arena, to, from));
    int32_t(*merges)[2];
    TN_TAKE(merges, arena, to->n_merges, tag);
    if (to->n_merges) memcpy(merges, from->merges, (size_t)to->n_merges * sizeof *merges);
    to->merges = (const int32_t(*)[2])merges;
    *merged = merges;
    to->chat_template = tn_arena_strdup(arena, from->chat_template, tag);
    return to->chat_template ? TN_OK : TN_E_NOMEM;
}

/* ---- indices ---- */

static tn_status index_byte(tn_tokenizer *t, int id, unsigned char byte) {
    if (t->byte_ids[byte] >= 0)
        return TN_FAIL(CORRUPT, "vocabulary: tokens %d and %d are the same byte", t->byte_ids[byte], id);
    t->byte_ids[byte] = id;
    return TN_OK;
}

static tn_status index_token(tn_tokenizer *t, int id) {
    const tn_vocabulary *v = &t->vocabulary;
    bool normal = v->types[id] == TN_TOKEN_NORMAL, byte = v->types[id] == TN_TOKEN_BYTE;
    if (!v->lens[id]) return TN_OK;
    unsigned char first = (unsigned char)v->texts[id][0];
    if (byte) return v->kind == TN_TOKENIZER_SPM ? index_byte(t, id, first) : TN_OK;
    tn_text_map *map = normal ? &t->normal : &t->others;
    int32_t other = tn_text_map_find(map, v->texts[id], v->lens[id]);
    if (other >= 0) return TN_FAIL(CORRUPT, "vocabulary: tokens %d and %d are the same text", other, id);
    TN_TRY(tn_text_map_put(map, v->texts[id], v->lens[id], id));
    if (normal && v->lens[id] == 1 && v->kind != TN_TOKENIZER_SPM) t->byte_ids[first] = id;
    return TN_OK;
}

static tn_status index_tokens(tn_tokenizer *t) {
    memset(t->byte_ids, -1, sizeof t->byte_ids);
    for (int id = 0; id < t->vocabulary.n_tokens; id++) TN_TRY(index_token(t, id));
    return TN_OK;
}

/* Whether all three of a merge are NORMAL tokens is `*kept`. */
static tn_status index_merge(tn_tokenizer *t, int place, int rank, tn_buf *bytes, bool *kept) {
    const tn_vocabulary *v = &t->vocabulary;
    tn_buf_reset(bytes);
    *kept = true;
    for (int half = 0; half < 2; half++) {
        int32_t id = v->merges[place][half];
        if (id < 0 || id >= v->n_tokens)
            return TN_FAIL(CORRUPT, "vocabulary: merge %d joins id %d, which is no token", place, id);
        *kept &= v->types[id] == TN_TOKEN_NORMAL;
        TN_TRY(tn_buf_append(bytes, v->texts[id], v->lens[id]));
    }
    if (!*kept) return TN_OK;
    int32_t merged = tn_text_map_find(&t->normal, bytes->data, bytes->len);
    *kept = merged >= 0;
    if (!*kept && tn_text_map_find(&t->others, bytes->data, bytes->len) >= 0) return TN_OK;
    if (!*kept) return TN_FAIL(CORRUPT, "vocabulary: the result of merge %d is no token", place);
    int32_t left = v->merges[place][0], right = v->merges[place][1];
    if (tn_pair_map_find(&t->ranks, left, right) >= 0) return TN_OK; /* listed twice: the first rank counts */
    return tn_pair_map_put(&t->ranks, left, right, rank, merged);
}

static tn_status index_merges(tn_tokenizer *t, int32_t (*merges)[2]) {
    tn_buf bytes = {0};
    tn_status status = TN_OK;
    int n = 0;
    for (int place = 0; place < t->vocabulary.n_merges && !status; place++) {
        bool kept;
        status = index_merge(t, place, n, &bytes, &kept);
        if (!status && kept) memmove(merges[n++], merges[place], sizeof *merges);
    }
    t->vocabulary.n_merges = n;
    tn_buf_release(&bytes);
    return status;
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

/* What is done to text first, and in which order SPM merges; older kinds have none of this. */
static tn_status put_changes(const tn_vocabulary *v, tn_buf *out) {
    TN_TRY(put_number(out, v->prefix));
    TN_TRY(put_number(out, v->collapse_spaces));
    TN_TRY(put_number(out, v->nfc));
    for (int id = 0; id < v->n_tokens && v->scores; id++) {
        uint32_t bits;
        memcpy(&bits, &v->scores[id], sizeof bits);
        TN_TRY(put_number(out, bits));
    }
    return TN_OK;
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
    return v->kind == TN_TOKENIZER_SPM || v->nfc ? put_changes(v, out) : TN_OK;
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
    int32_t(*merges)[2];
    TN_TRY(copy(t->arena, &t->vocabulary, vocabulary, &merges));
    TN_TRY(index_tokens(t));
    TN_TRY(index_merges(t, merges));
    TN_TRY(tn_specials_index(t));
    TN_TRY(compute_hash(t));
    if (vocabulary->kind == TN_TOKENIZER_SPM) return tn_spm_index(t);
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
    tn_text_map_release(&t->lone);
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

const char tn_bitnet_chat_template[] =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | capitalize "
    "+ ': '+ message['content'] | trim + '<|eot_id|>' %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ 'Assistant: ' }}{% endif %}";

tn_status tn_token_spell(const tn_vocabulary *v, int32_t id, tn_buf *out) {
    const char *text = v->texts[id];
    size_t len = v->lens[id];
    if (v->types[id] == TN_TOKEN_NORMAL)
        return v->kind == TN_TOKENIZER_SPM ? tn_spm_mark(text, len, out) : tn_byte_spell(text, len, out);
    if (v->types[id] != TN_TOKEN_BYTE) return tn_buf_append(out, text, len);
    char name[8];
    tn_byte_token_write((unsigned char)*text, name);
    return tn_buf_puts(out, name);
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
