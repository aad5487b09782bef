/* SPDX-License-Identifier: MIT
 * tokenizer_gguf.c - tokenizers in GGUF (docs/format.md, "tokenizer keys"). */
#include "data/tokenizer_gguf.h"
#include "core/utf8.h"

#include "core/log.h"
#include "data/byte_spelling.h"
#include "data/tokenizer_priv.h"

#include <stdio.h>
#include <string.h>

static const char tag[] = "tokenizer file";

#define KEY(name) "tokenizer.ggml." name
static const char kind_key[] = "tern.tokenizer.kind";
static const char template_key[] = "tokenizer.chat_template";

/* ---- writing ---- */

/* A name in `pre` also says whether whole pieces skip merging. Where the tokenizer differs, the file is right only if
 * it makes no difference: when every token is what merging its own bytes gives. */
static tn_status check_ignore_merges(const tn_tokenizer *t) {
    const tn_vocabulary *v = &t->vocabulary;
    if (v->kind == TN_TOKENIZER_CHAR || v->ignore_merges == tn_split_ignores_merges(v->split)) return TN_OK;
    tn_tokenizer merging = *t;
    merging.vocabulary.ignore_merges = false;
    tn_bpe_scratch scratch = {0};
    tn_ids ids = {0};
    tn_status status = TN_OK;
    for (int32_t id = 0; id < v->n_tokens && !status; id++) {
        if (v->types[id] != TN_TOKEN_NORMAL) continue;
        ids.count = 0;
        status = tn_bpe_encode(&merging, &scratch, v->texts[id], v->lens[id], &ids);
        if (!status && (ids.count != 1 || ids.list[0] != id))
            status = TN_FAIL(
                UNSUPPORTED,
                "tokenizer: ignore_merges is %s, but GGUF's \"%s\" means the opposite and token %d would differ",
                v->ignore_merges ? "on" : "off", tn_split_name(v->split), id);
    }
    tn_bpe_scratch_release(&scratch);
    tn_ids_release(&ids);
    return status;
}

static tn_status put_tokens(const tn_vocabulary *v, tn_gguf_writer *w, tn_buf *text) {
    TN_TRY(tn_gguf_put_array(w, KEY("tokens"), TN_GGUF_STRING, v->n_tokens));
    for (int id = 0; id < v->n_tokens; id++) {
        tn_buf_reset(text);
        if (v->types[id] == TN_TOKEN_NORMAL)
            TN_TRY(tn_byte_spell(v->texts[id], v->lens[id], text));
        else
            TN_TRY(tn_buf_append(text, v->texts[id], v->lens[id]));
        TN_TRY(tn_gguf_put_element_text(w, tn_buf_text(text), text->len));
    }
    TN_TRY(tn_gguf_put_array(w, KEY("token_type"), TN_GGUF_I32, v->n_tokens));
    for (int id = 0; id < v->n_tokens; id++) TN_TRY(tn_gguf_put_element_i32(w, v->types[id]));
    return TN_OK;
}

static tn_status put_merge(tn_gguf_writer *w, tn_buf *text, const char *left, size_t left_len, const char *right,
                           size_t right_len) {
    tn_buf_reset(text);
    TN_TRY(tn_byte_spell(left, left_len, text));
    TN_TRY(tn_buf_putc(text, ' '));
    TN_TRY(tn_byte_spell(right, right_len, text));
    return tn_gguf_put_element_text(w, text->data, text->len);
}

static tn_status put_merges(const tn_vocabulary *v, tn_gguf_writer *w, tn_buf *text) {
    TN_TRY(tn_gguf_put_array(w, KEY("merges"), TN_GGUF_STRING, v->n_merges));
    for (int rank = 0; rank < v->n_merges; rank++) {
        int32_t left = v->merges[rank][0], right = v->merges[rank][1];
        TN_TRY(put_merge(w, text, v->texts[left], v->lens[left], v->texts[right], v->lens[right]));
    }
    return TN_OK;
}

/* Each prefix of two or more bytes of each character, once. A merge joins such a prefix to one continuation byte, and
 * a character never begins with one, so merging rebuilds the characters and nothing that crosses two of them. */
static tn_status list_prefixes(const tn_vocabulary *v, tn_text_map *prefixes) {
    for (int id = 0; id < v->n_tokens; id++)
        for (uint32_t len = 2; len <= v->lens[id] && v->types[id] == TN_TOKEN_NORMAL; len++)
            if (tn_text_map_find(prefixes, v->texts[id], len) < 0)
                TN_TRY(tn_text_map_put(prefixes, v->texts[id], len, (int32_t)prefixes->count));
    return TN_OK;
}

static tn_status put_prefixes(const tn_vocabulary *v, const tn_text_map *prefixes, tn_gguf_writer *w, tn_buf *text) {
    int32_t next = 0; /* the order in which they were listed */
    TN_TRY(tn_gguf_put_array(w, KEY("merges"), TN_GGUF_STRING, (int64_t)prefixes->count));
    for (int id = 0; id < v->n_tokens; id++)
        for (uint32_t len = 2; len <= v->lens[id] && v->types[id] == TN_TOKEN_NORMAL; len++) {
            if (tn_text_map_find(prefixes, v->texts[id], len) != next) continue;
            TN_TRY(put_merge(w, text, v->texts[id], len - 1, v->texts[id] + len - 1, 1));
            next++;
        }
    return TN_OK;
}

static tn_status put_character_merges(const tn_vocabulary *v, tn_gguf_writer *w, tn_buf *text) {
    tn_text_map prefixes = {0};
    tn_status status = list_prefixes(v, &prefixes);
    if (!status) status = put_prefixes(v, &prefixes, w, text);
    tn_text_map_release(&prefixes);
    return status;
}

static tn_status put_id(tn_gguf_writer *w, const char *key, int id) {
    return id < 0 ? TN_OK : tn_gguf_put_u32(w, key, (uint32_t)id);
}

static tn_status put_text(tn_gguf_writer *w, const char *key, const char *text) {
    return tn_gguf_put_text(w, key, text, strlen(text));
}

static tn_status put_roles(const tn_vocabulary *v, tn_gguf_writer *w) {
    TN_TRY(put_id(w, KEY("bos_token_id"), v->bos));
    TN_TRY(put_id(w, KEY("eos_token_id"), v->eos));
    TN_TRY(put_id(w, KEY("eot_token_id"), v->eot));
    TN_TRY(put_id(w, KEY("unknown_token_id"), v->unk));
    TN_TRY(put_id(w, KEY("padding_token_id"), v->pad));
    TN_TRY(tn_gguf_put_bool(w, KEY("add_bos_token"), v->add_bos));
    return v->chat_template[0] ? put_text(w, template_key, v->chat_template) : TN_OK;
}

tn_status tn_tokenizer_put_gguf(const tn_tokenizer *tokenizer, tn_gguf_writer *writer) {
    const tn_vocabulary *v = &tokenizer->vocabulary;
    bool characters = v->kind == TN_TOKENIZER_CHAR;
    TN_TRY(check_ignore_merges(tokenizer));
    TN_TRY(put_text(writer, KEY("model"), "gpt2"));
    TN_TRY(put_text(writer, KEY("pre"), tn_split_name(v->split)));
    tn_buf text = {0};
    tn_status status = put_tokens(v, writer, &text);
    if (!status) status = characters ? put_character_merges(v, writer, &text) : put_merges(v, writer, &text);
    tn_buf_release(&text);
    TN_TRY(status);
    TN_TRY(put_roles(v, writer));
    return put_text(writer, kind_key, characters ? "char" : "bpe");
}

/* ---- reading ---- */

typedef struct reader {
    tn_arena *arena;
    const tn_gguf *file;
    tn_vocabulary v;
    const char **texts;
    uint32_t *lens;
    int32_t *types;
    tn_text_map spelled; /* text in the file -> id */
    tn_buf bytes;
    bool ours; /* written by tn_tokenizer_put_gguf: what is absent is meant to be */
} reader;

static bool text_is(tn_gguf_text text, const char *other) {
    return text.len == strlen(other) && memcmp(text.data, other, text.len) == 0;
}

static tn_status get_text_or(const reader *r, const char *key, const char *absent, tn_gguf_text *value) {
    *value = (tn_gguf_text){absent, strlen(absent)};
    return tn_gguf_has(r->file, key) ? tn_gguf_get_text(r->file, key, value) : TN_OK;
}

static tn_status get_id(const reader *r, const char *key, int *id) {
    int64_t value;
    *id = -1;
    if (!tn_gguf_has(r->file, key)) return TN_OK;
    TN_TRY(tn_gguf_get_int(r->file, key, &value));
    if (value == -1 || value == UINT32_MAX) return TN_OK; /* "none" as some converters say it */
    if (value < 0 || value >= r->v.n_tokens)
        return TN_FAIL(CORRUPT, "%s is %lld, but there are %d tokens", key, (long long)value, r->v.n_tokens);
    *id = (int)value;
    return TN_OK;
}

static tn_status check_array(const reader *r, const char *key, tn_gguf_kind wanted, int64_t least, int64_t most,
                             int64_t *count) {
    tn_gguf_kind element;
    TN_TRY(tn_gguf_array(r->file, key, &element, count));
    bool fits = wanted == TN_GGUF_STRING ? element == TN_GGUF_STRING : element != TN_GGUF_STRING;
    if (!fits) return TN_FAIL(CORRUPT, "%s: is a list of kind %d, expected kind %d", key, (int)element, (int)wanted);
    if (*count < least || *count > most)
        return TN_FAIL(CORRUPT, "%s: has %lld entries, expected %lld..%lld", key, (long long)*count, (long long)least,
                       (long long)most);
    return TN_OK;
}

/* ---- tokens ---- */

static tn_status read_type(reader *r, int id) {
    int64_t type = TN_TOKEN_NORMAL;
    if (tn_gguf_has(r->file, KEY("token_type"))) TN_TRY(tn_gguf_array_int(r->file, KEY("token_type"), id, &type));
    if (type < TN_TOKEN_NORMAL || type > TN_TOKEN_BYTE)
        return TN_FAIL(CORRUPT, KEY("token_type") ": token %d has type %lld, expected 1..6", id, (long long)type);
    r->types[id] = (int32_t)type;
    return TN_OK;
}

static tn_status read_token(reader *r, int id) {
    tn_gguf_text text;
    TN_TRY(tn_gguf_array_text(r->file, KEY("tokens"), id, &text));
    TN_TRY(read_type(r, id));
    if (text.len > INT32_MAX || tn_utf8_valid_prefix(text.data, text.len, NULL) != text.len)
        return TN_FAIL(CORRUPT, KEY("tokens") ": token %d is not valid UTF-8", id);
    r->texts[id] = text.data;
    r->lens[id] = (uint32_t)text.len;
    if (text.len && tn_text_map_find(&r->spelled, text.data, text.len) < 0)
        TN_TRY(tn_text_map_put(&r->spelled, text.data, text.len, id));
    if (r->types[id] != TN_TOKEN_NORMAL) return TN_OK;
    tn_status status;
    tn_buf_reset(&r->bytes);
    bool spelled = tn_byte_unspell(text.data, text.len, &r->bytes, &status);
    TN_TRY(status);
    if (!spelled || !text.len) return r->types[id] = TN_TOKEN_UNUSED, TN_OK; /* no text can lead to it */
    char *bytes;
    TN_TAKE(bytes, r->arena, r->bytes.len, tag);
    r->texts[id] = memcpy(bytes, r->bytes.data, r->bytes.len);
    r->lens[id] = (uint32_t)r->bytes.len;
    return TN_OK;
}

static tn_status read_tokens(reader *r) {
    int64_t n, n_types;
    TN_TRY(check_array(r, KEY("tokens"), TN_GGUF_STRING, 1, TN_MAX_TOKENS, &n));
    if (tn_gguf_has(r->file, KEY("token_type"))) TN_TRY(check_array(r, KEY("token_type"), TN_GGUF_I32, n, n, &n_types));
    r->v.n_tokens = (int)n;
    TN_TAKE(r->texts, r->arena, n, tag);
    TN_TAKE(r->lens, r->arena, n, tag);
    TN_TAKE(r->types, r->arena, n, tag);
    for (int id = 0; id < r->v.n_tokens; id++) TN_TRY(read_token(r, id));
    r->v.texts = r->texts;
    r->v.lens = r->lens;
    r->v.types = r->types;
    return TN_OK;
}

/* ---- merges ---- */

static tn_status read_merge(const reader *r, int64_t rank, int32_t pair[2]) {
    tn_gguf_text text;
    size_t half;
    TN_TRY(tn_gguf_array_text(r->file, KEY("merges"), rank, &text));
    if (!tn_merge_halves(text.data, text.len, &half))
        return TN_FAIL(CORRUPT, KEY("merges") ": merge %lld is not \"left right\"", (long long)rank);
    pair[0] = tn_text_map_find(&r->spelled, text.data, half);
    pair[1] = tn_text_map_find(&r->spelled, text.data + half + 1, text.len - half - 1);
    if (pair[0] >= 0 && pair[1] >= 0) return TN_OK;
    return TN_FAIL(CORRUPT, KEY("merges") ": merge %lld \"%.*s\" joins something that is no token", (long long)rank,
                   (int)TN_MIN(text.len, 80u), text.data);
}

static tn_status read_merges(reader *r) {
    int64_t n;
    TN_TRY(check_array(r, KEY("merges"), TN_GGUF_STRING, 0, TN_MAX_TOKENS, &n));
    int32_t(*merges)[2];
    TN_TAKE(merges, r->arena, n, tag);
    for (int64_t rank = 0; rank < n; rank++) TN_TRY(read_merge(r, rank, merges[rank]));
    r->v.merges = (const int32_t(*)[2])merges;
    r->v.n_merges = (int)n;
    return TN_OK;
}

/* ---- what kind it is, and repairs ---- */

/* The published 2B-4T files name no pre-tokenizer, although theirs is Llama-3's. */
static bool is_unnamed_llama3(const reader *r) {
    tn_gguf_text architecture;
    return r->v.n_tokens == 128256 && !get_text_or(r, "general.architecture", "", &architecture) &&
           architecture.len >= 6 && memcmp(architecture.data, "bitnet", 6) == 0;
}

static tn_status read_split(reader *r) {
    tn_gguf_text pre;
    bool named = tn_gguf_has(r->file, KEY("pre"));
    TN_TRY(get_text_or(r, KEY("pre"), is_unnamed_llama3(r) ? "llama-bpe" : "default", &pre));
    if (!named) tn_log(TN_LOG_WARN, "data", "%s: names no pre-tokenizer, read as %s", tn_gguf_path(r->file), pre.data);
    if (!tn_split_from_name(pre.data, pre.len, &r->v.split)) return tn_split_fail_name(KEY("pre"), pre.data, pre.len);
    r->v.ignore_merges = tn_split_ignores_merges(r->v.split);
    return TN_OK;
}

static tn_status read_model(const reader *r) {
    tn_gguf_text model;
    TN_TRY(tn_gguf_get_text(r->file, KEY("model"), &model));
    if (text_is(model, "gpt2")) return TN_OK;
    if (text_is(model, "llama"))
        return TN_FAIL(UNSUPPORTED, KEY("model") ": is \"llama\" (SentencePiece), expected \"gpt2\" (byte-level BPE)");
    return TN_FAIL(UNSUPPORTED, KEY("model") ": \"%.*s\" is not supported, expected \"gpt2\" (byte-level BPE)",
                   (int)TN_MIN(model.len, 80u), model.data);
}

static tn_status read_kind(reader *r) {
    tn_gguf_text kind;
    r->ours = tn_gguf_has(r->file, kind_key);
    TN_TRY(get_text_or(r, kind_key, "bpe", &kind));
    bool characters = text_is(kind, "char");
    if (!characters && !text_is(kind, "bpe"))
        return TN_FAIL(CORRUPT, "%s: \"%.*s\", expected \"char\" or \"bpe\"", kind_key, (int)TN_MIN(kind.len, 80u),
                       kind.data);
    r->v.kind = characters ? TN_TOKENIZER_CHAR : TN_TOKENIZER_BPE;
    return TN_OK;
}

static tn_status read_roles(reader *r) {
    TN_TRY(get_id(r, KEY("bos_token_id"), &r->v.bos));
    TN_TRY(get_id(r, KEY("eos_token_id"), &r->v.eos));
    TN_TRY(get_id(r, KEY("eot_token_id"), &r->v.eot));
    TN_TRY(get_id(r, KEY("unknown_token_id"), &r->v.unk));
    TN_TRY(get_id(r, KEY("padding_token_id"), &r->v.pad));
    r->v.add_bos = tn_split_adds_bos(r->v.split);
    if (tn_gguf_has(r->file, KEY("add_bos_token")))
        TN_TRY(tn_gguf_get_bool(r->file, KEY("add_bos_token"), &r->v.add_bos));
    if (!r->ours) tn_vocabulary_guess_roles(&r->v);
    return TN_OK;
}

/* The chat template 2B-4T was trained with. The one inside its GGUF is another, made for a different model. */
static const char bitnet_template[] =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | capitalize "
    "+ ': '+ message['content'] | trim + '<|eot_id|>' %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ 'Assistant: ' }}{% endif %}";

static tn_status read_template(reader *r) {
    tn_gguf_text text;
    TN_TRY(get_text_or(r, template_key, "", &text));
    if (memchr(text.data, 0, text.len)) return TN_FAIL(CORRUPT, "%s: holds a NUL byte", template_key);
    if (memmem(text.data, text.len, "BITNETAssistant", 15)) {
        tn_log(TN_LOG_WARN, "data", "%s: its chat template does not match how the model was trained, replaced",
               tn_gguf_path(r->file));
        text = (tn_gguf_text){bitnet_template, strlen(bitnet_template)};
    }
    char *copy;
    TN_TAKE0(copy, r->arena, text.len + 1, tag);
    memcpy(copy, text.data, text.len);
    r->v.chat_template = copy;
    return TN_OK;
}

static tn_status read_all(reader *r) {
    r->arena = tn_arena_create("tokenizer file");
    if (!r->arena) return TN_E_NOMEM;
    TN_TRY(read_model(r));
    TN_TRY(read_kind(r));
    TN_TRY(read_tokens(r));
    TN_TRY(read_split(r));
    if (r->v.kind == TN_TOKENIZER_BPE) TN_TRY(read_merges(r));
    TN_TRY(read_roles(r));
    return read_template(r);
}

tn_status tn_tokenizer_from_gguf(tn_tokenizer **out, const tn_gguf *file) {
    *out = NULL;
    reader r = {.file = file};
    tn_status status = read_all(&r);
    if (!status) status = tn_tokenizer_from_vocabulary(out, &r.v);
    tn_text_map_release(&r.spelled);
    tn_buf_release(&r.bytes);
    tn_arena_free(r.arena);
    const char *path = tn_gguf_path(file), *message = tn_error_message();
    bool named = strncmp(message, path, strlen(path)) == 0; /* by the reader of keys */
    return status && !named ? tn_fail_at(status, __FILE__, __LINE__, "%s: %s", path, message) : status;
}
