/* SPDX-License-Identifier: MIT
 * tokenizer_json_read.c - tokenizer.json (docs/format.md, "tokenizer"): what Hugging Face writes for byte-level BPE and
 * SentencePiece's BPE, and what tokenizer_json_write.c writes. Whatever would change ids and is not understood is
 * refused by name. */
#include "core/log.h"
#include "data/byte_spelling.h"
#include "data/tokenizer_json_steps.h"
#include "data/tokenizer_priv.h"

#include <stdio.h>
#include <string.h>

static const char tag[] = "tokenizer file";

typedef struct reader {
    tn_arena *arena;
    const json_t *root, *model, *vocab, *added, *own; /* own: Tern's object, or NULL */
    tn_json_steps steps;
    tn_vocabulary v;
    const char **texts; /* NULL = no token with this id yet */
    uint32_t *lens;
    int32_t *types;
    tn_buf bytes;
} reader;

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool is_true(const json_t *object, const char *key) { return json_is_true(json_object_get(object, key)); }

static bool is_type(const json_t *object, const char *type) { return strcmp(text_of(object, "type"), type) == 0; }

/* ---- tokens ---- */

static tn_status get_id(const json_t *number, const char *text, int *id) {
    json_int_t value = json_is_integer(number) ? json_integer_value(number) : -1;
    if (value < 0 || value >= TN_MAX_TOKENS)
        return TN_FAIL(CORRUPT, "token \"%.80s\": id is not a number in 0..%d", text, TN_MAX_TOKENS - 1);
    *id = (int)value;
    return TN_OK;
}

static tn_status get_added(const json_t *entry, const char **text, size_t *len, int *id) {
    const json_t *content = json_object_get(entry, "content");
    if (!json_is_string(content)) return TN_FAIL(CORRUPT, "added_tokens: an entry has no \"content\"");
    *text = json_string_value(content);
    *len = json_string_length(content);
    return get_id(json_object_get(entry, "id"), *text, id);
}

/* Ids are 0..largest; a hole becomes an UNUSED token, so the holes are kept in proportion to the entries. */
static tn_status count_tokens(reader *r) {
    const char *key;
    json_t *value;
    size_t i, len, entries = json_object_size(r->vocab) + json_array_size(r->added);
    int largest = -1, id;
    json_object_foreach((json_t *)(uintptr_t)r->vocab, key, value) {
        TN_TRY(get_id(value, key, &id));
        largest = TN_MAX(largest, id);
    }
    json_array_foreach(r->added, i, value) {
        TN_TRY(get_added(value, &key, &len, &id));
        largest = TN_MAX(largest, id);
    }
    if ((size_t)largest + 1 > 2 * entries + 1024)
        return TN_FAIL(CORRUPT, "token ids go up to %d, but there are only %zu tokens", largest, entries);
    r->v.n_tokens = largest + 1;
    return r->v.n_tokens ? TN_OK : TN_FAIL(CORRUPT, "model.vocab: has no tokens");
}

static void set_token(reader *r, int id, const char *text, size_t len, tn_token_type type) {
    r->texts[id] = text;
    r->lens[id] = (uint32_t)len;
    r->types[id] = type;
}

/* What a token of the vocabulary decodes to, into r->bytes. False: no text can lead to it. */
static tn_status unspell(reader *r, const char *text, size_t len, bool *reachable) {
    tn_buf_reset(&r->bytes);
    *reachable = len > 0;
    if (r->v.kind == TN_TOKENIZER_CHAR) return tn_buf_append(&r->bytes, text, len);
    if (r->v.kind == TN_TOKENIZER_BPE) {
        tn_status status;
        *reachable &= tn_byte_unspell(text, len, &r->bytes, &status);
        return status;
    }
    *reachable &= !memchr(text, ' ', len);
    return tn_spm_unmark(text, len, &r->bytes);
}

static tn_status set_bytes(reader *r, int id, const char *bytes, size_t len, tn_token_type type) {
    char *kept;
    TN_TAKE(kept, r->arena, len, tag);
    set_token(r, id, memcpy(kept, bytes, len), len, type);
    return TN_OK;
}

static tn_status add_normal(reader *r, const char *text, int id) {
    size_t len = strlen(text);
    unsigned char byte;
    if (r->texts[id] && (r->types[id] == TN_TOKEN_NORMAL || r->types[id] == TN_TOKEN_BYTE))
        return TN_FAIL(CORRUPT, "model.vocab: id %d belongs to two tokens, the second is \"%.80s\"", id, text);
    if (r->texts[id]) return TN_OK; /* listed among the added tokens, which say more about it */
    if (r->v.kind == TN_TOKENIZER_SPM && strcmp(text, text_of(r->model, "unk_token")) == 0)
        return set_token(r, id, text, len, TN_TOKEN_UNKNOWN), TN_OK;
    if (is_true(r->model, "byte_fallback") && tn_byte_token_read(text, len, &byte))
        return set_bytes(r, id, &(char){(char)byte}, 1, TN_TOKEN_BYTE);
    bool reachable;
    TN_TRY(unspell(r, text, len, &reachable));
    if (reachable) return set_bytes(r, id, r->bytes.data, r->bytes.len, TN_TOKEN_NORMAL);
    return set_token(r, id, text, len, TN_TOKEN_UNUSED), TN_OK;
}

static tn_status add_added(reader *r, const json_t *entry) {
    const char *text;
    size_t len;
    int id;
    TN_TRY(get_added(entry, &text, &len, &id));
    if (r->texts[id])
        return TN_FAIL(CORRUPT, "added_tokens: id %d belongs to two tokens, the second is \"%.80s\"", id, text);
    const json_t *in_vocab = json_object_getn(r->vocab, text, len);
    if (in_vocab && json_integer_value(in_vocab) != id)
        return TN_FAIL(CORRUPT, "added_tokens: \"%.80s\" has id %d here and another in model.vocab", text, id);
    if (is_true(entry, "lstrip") || is_true(entry, "rstrip") || is_true(entry, "single_word"))
        tn_log(TN_LOG_WARN, "data", "token \"%.80s\": lstrip, rstrip and single_word are not applied", text);
    bool control = is_true(entry, "special") || tn_text_looks_special(text, len);
    set_token(r, id, text, len, control ? TN_TOKEN_CONTROL : TN_TOKEN_USER);
    return TN_OK;
}

static tn_status fill_holes(reader *r) {
    for (int id = 0; id < r->v.n_tokens; id++) {
        if (r->texts[id]) continue;
        char text[32];
        int len = snprintf(text, sizeof text, "[PAD%d]", id);
        const char *kept = tn_arena_strdup(r->arena, text, tag);
        if (!kept) return TN_E_NOMEM;
        set_token(r, id, kept, (size_t)len, TN_TOKEN_UNUSED);
    }
    return TN_OK;
}

/* Types that the layout cannot express: [[id, type], ...] in Tern's object. */
static tn_status read_types(reader *r) {
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(r->own, "types"), i, entry) {
        json_int_t id = json_integer_value(json_array_get(entry, 0)),
                   type = json_integer_value(json_array_get(entry, 1));
        bool known = id >= 0 && id < r->v.n_tokens && type > TN_TOKEN_NORMAL && type <= TN_TOKEN_BYTE;
        if (!known || r->types[id] == TN_TOKEN_NORMAL)
            return TN_FAIL(CORRUPT, "tern.types: entry %zu is not [id of an added token, type 2..6]", i);
        r->types[id] = (int32_t)type;
        unsigned char byte;
        if (type == TN_TOKEN_BYTE && tn_byte_token_read(r->texts[id], r->lens[id], &byte))
            TN_TRY(set_bytes(r, (int)id, &(char){(char)byte}, 1, TN_TOKEN_BYTE));
    }
    return TN_OK;
}

static tn_status read_scores(reader *r) {
    const json_t *list = json_object_get(r->own, "scores");
    float *scores;
    if (!list || r->v.kind != TN_TOKENIZER_SPM) return TN_OK;
    if (json_array_size(list) != (size_t)r->v.n_tokens)
        return TN_FAIL(CORRUPT, "tern.scores: has %zu entries for %d tokens", json_array_size(list), r->v.n_tokens);
    TN_TAKE(scores, r->arena, r->v.n_tokens, tag);
    for (int id = 0; id < r->v.n_tokens; id++) {
        const json_t *score = json_array_get(list, (size_t)id);
        if (!json_is_number(score)) return TN_FAIL(CORRUPT, "tern.scores: entry %d is no number", id);
        scores[id] = (float)json_number_value(score);
    }
    r->v.scores = scores;
    return TN_OK;
}

static tn_status read_tokens(reader *r) {
    TN_TRY(count_tokens(r));
    TN_TAKE0(r->texts, r->arena, r->v.n_tokens, tag);
    TN_TAKE0(r->lens, r->arena, r->v.n_tokens, tag);
    TN_TAKE0(r->types, r->arena, r->v.n_tokens, tag);
    size_t i;
    const char *key;
    json_t *value;
    json_array_foreach(r->added, i, value) TN_TRY(add_added(r, value));
    json_object_foreach((json_t *)(uintptr_t)r->vocab, key, value)
        TN_TRY(add_normal(r, key, (int)json_integer_value(value)));
    TN_TRY(fill_holes(r));
    TN_TRY(read_types(r));
    TN_TRY(read_scores(r));
    r->v.texts = r->texts;
    r->v.lens = r->lens;
    r->v.types = r->types;
    return TN_OK;
}

/* ---- merges ---- */

static tn_status merge_half(const reader *r, size_t rank, const char *text, size_t len, int32_t *id) {
    const json_t *number = json_object_getn(r->vocab, text, len);
    if (!number)
        return TN_FAIL(CORRUPT, "model.merges: \"%.*s\" in merge %zu is no token", (int)TN_MIN(len, 80u), text, rank);
    *id = (int32_t)json_integer_value(number);
    return TN_OK;
}

static tn_status read_merge(const reader *r, const json_t *entry, size_t rank, int32_t pair[2]) {
    const json_t *left = json_array_get(entry, 0), *right = json_array_get(entry, 1);
    if (json_is_string(left) && json_is_string(right)) {
        TN_TRY(merge_half(r, rank, json_string_value(left), json_string_length(left), &pair[0]));
        return merge_half(r, rank, json_string_value(right), json_string_length(right), &pair[1]);
    }
    const char *text = json_string_value(entry);
    size_t len = json_string_length(entry), half;
    if (!text || !tn_merge_halves(text, len, &half))
        return TN_FAIL(CORRUPT, "model.merges: merge %zu is neither \"left right\" nor [\"left\", \"right\"]", rank);
    TN_TRY(merge_half(r, rank, text, half, &pair[0]));
    return merge_half(r, rank, text + half + 1, len - half - 1, &pair[1]);
}

static tn_status read_merges(reader *r) {
    const json_t *list = json_object_get(r->model, "merges");
    if (!json_is_array(list)) return TN_FAIL(CORRUPT, "model.merges: expected a list");
    size_t n = json_array_size(list);
    if (n > TN_MAX_TOKENS)
        return TN_FAIL(CORRUPT, "model.merges: has %zu merges, expected at most %d", n, TN_MAX_TOKENS);
    int32_t(*merges)[2];
    TN_TAKE(merges, r->arena, n, tag);
    for (size_t rank = 0; rank < n; rank++) TN_TRY(read_merge(r, json_array_get(list, rank), rank, merges[rank]));
    r->v.merges = (const int32_t(*)[2])merges;
    r->v.n_merges = (int)n;
    return TN_OK;
}

/* ---- how text becomes words ---- */

static tn_status read_split(reader *r) {
    const tn_json_steps *s = &r->steps;
    if (tn_split_from_expressions(s->expressions, s->n_expressions, r->v.ignore_merges, &r->v.split)) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "pre_tokenizer: its %d expressions, the first \"%.120s\", are none that GGUF can name",
                   s->n_expressions, s->n_expressions ? s->expressions[0] : "");
}

static bool has_all_bytes(const reader *r) {
    int n = 0;
    for (int id = 0; id < r->v.n_tokens; id++) n += r->types[id] == TN_TOKEN_BYTE;
    return n == 256;
}

/* A cut at every mark leaves only tokens that begin with theirs. */
static bool is_cut_at_marks(const reader *r, int id) {
    return r->types[id] != TN_TOKEN_NORMAL || r->lens[id] < 2 || !memchr(r->texts[id] + 1, ' ', r->lens[id] - 1);
}

static tn_status check_spm(const reader *r) {
    if (!is_true(r->model, "fuse_unk") && !has_all_bytes(r))
        return TN_FAIL(UNSUPPORTED, "model: fuse_unk is false and not every byte has a token, which is not supported");
    if (r->v.ignore_merges) return TN_FAIL(UNSUPPORTED, "model: ignore_merges with U+2581 for spaces is not supported");
    for (int id = 0; id < r->v.n_tokens && r->steps.cuts_at_marks; id++)
        if (!is_cut_at_marks(r, id))
            return TN_FAIL(UNSUPPORTED, "pre_tokenizer: Metaspace with split, where token %d has a space within", id);
    return TN_OK;
}

/* ---- special ids ---- */

static int own_id(const reader *r, const char *role) {
    const json_t *number = json_object_get(r->own, role);
    json_int_t value = json_is_integer(number) ? json_integer_value(number) : -1;
    return value >= 0 && value < INT32_MAX ? (int)value : -1;
}

static int find_special(const reader *r, const char *text) {
    for (int id = 0; id < r->v.n_tokens; id++)
        if (r->types[id] != TN_TOKEN_NORMAL && r->lens[id] == strlen(text) && !memcmp(r->texts[id], text, r->lens[id]))
            return id;
    return -1;
}

/* A template that begins with a special token: that is BOS, and the tokenizer adds it. */
static void read_template(reader *r, const json_t *processor) {
    const json_t *first = json_array_get(json_object_get(processor, "single"), 0);
    const char *text = text_of(json_object_get(first, "SpecialToken"), "id");
    if (!is_type(processor, "TemplateProcessing") || !text[0]) return;
    r->v.bos = find_special(r, text);
    r->v.add_bos = r->v.bos >= 0;
}

static void read_foreign_roles(reader *r) {
    const json_t *processor = json_object_get(r->root, "post_processor");
    size_t i;
    json_t *step;
    read_template(r, processor);
    json_array_foreach(json_object_get(processor, "processors"), i, step) read_template(r, step);
    r->v.unk = find_special(r, text_of(r->model, "unk_token"));
    tn_vocabulary_guess_roles(&r->v);
}

static tn_status read_roles(reader *r) {
    r->v.bos = own_id(r, "bos");
    r->v.eos = own_id(r, "eos");
    r->v.eot = own_id(r, "eot");
    r->v.unk = own_id(r, "unk");
    r->v.pad = own_id(r, "pad");
    r->v.add_bos = is_true(r->own, "add_bos");
    if (!r->own) read_foreign_roles(r);
    r->v.chat_template = text_of(r->own, "chat_template");
    return TN_OK;
}

/* ---- the whole ---- */

static tn_status check_model(const reader *r) {
    if (text_of(r->model, "continuing_subword_prefix")[0] || text_of(r->model, "end_of_word_suffix")[0])
        return TN_FAIL(UNSUPPORTED, "model: continuing_subword_prefix and end_of_word_suffix are not supported");
    if (json_number_value(json_object_get(r->model, "dropout")) > 0)
        return TN_FAIL(UNSUPPORTED, "model: dropout is not supported");
    if (is_true(r->model, "byte_fallback") && !r->steps.marks)
        return TN_FAIL(UNSUPPORTED, "model: byte_fallback is supported only with U+2581 for spaces");
    return TN_OK;
}

static tn_status read_kind(reader *r) {
    r->v.ignore_merges = is_true(r->model, "ignore_merges");
    bool characters = is_type(r->model, "TernChar");
    if (!characters && !is_type(r->model, "BPE"))
        return TN_FAIL(UNSUPPORTED, "model.type: \"%.40s\", expected \"BPE\" or \"TernChar\"",
                       text_of(r->model, "type"));
    if (!json_is_object(r->vocab)) return TN_FAIL(CORRUPT, "model.vocab: expected an object of token: id");
    if (characters) return r->v.kind = TN_TOKENIZER_CHAR, TN_OK;
    TN_TRY(tn_json_read_steps(r->root, &r->steps));
    r->v.kind = r->steps.marks ? TN_TOKENIZER_SPM : TN_TOKENIZER_BPE;
    r->v.nfc = r->steps.nfc;
    r->v.prefix = r->steps.prefix;
    r->v.collapse_spaces = r->steps.marks && is_true(r->own, "collapse_spaces");
    return check_model(r);
}

static tn_status read_root(reader *r) {
    r->model = json_object_get(r->root, "model");
    r->vocab = json_object_get(r->model, "vocab");
    r->added = json_object_get(r->root, "added_tokens");
    /* Hugging Face's own reader refuses strange keys at the top level but not inside the model. */
    r->own = json_object_get(r->model, "tern");
    if (!r->own) r->own = json_object_get(r->root, "tern");
    TN_TRY(read_kind(r));
    TN_TRY(read_tokens(r));
    TN_TRY(read_roles(r));
    if (r->v.kind == TN_TOKENIZER_CHAR) return TN_OK;
    if (!r->v.scores) TN_TRY(read_merges(r));
    return r->v.kind == TN_TOKENIZER_SPM ? check_spm(r) : read_split(r);
}

static tn_status read_text(reader *r, const char *text, size_t len, json_t **root) {
    json_error_t error;
    *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!*root) return TN_FAIL(FORMAT, "line %d: %s, expected a tokenizer in JSON", error.line, error.text);
    r->root = *root;
    r->arena = tn_arena_create("tokenizer file");
    return r->arena ? read_root(r) : TN_E_NOMEM;
}

tn_status tn_tokenizer_from_json(tn_tokenizer **out, const char *name, const char *text, size_t len) {
    *out = NULL;
    reader r = {.arena = NULL};
    json_t *root;
    tn_status status = read_text(&r, text, len, &root);
    if (!status) status = tn_tokenizer_from_vocabulary(out, &r.v);
    tn_buf_release(&r.bytes);
    tn_arena_free(r.arena);
    json_decref(root);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "%s: %s", name, tn_error_message()) : TN_OK;
}
