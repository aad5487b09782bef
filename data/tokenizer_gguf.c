/* SPDX-License-Identifier: MIT
 * tokenizer_gguf.c - tokenizers out of GGUF keys (docs/format.md, "tokenizer keys"). */
#include "core/log.h"
#include "core/utf8.h"
#include "data/byte_spelling.h"
#include "data/tokenizer_gguf_priv.h"

#include <stdio.h>
#include <string.h>

static const char tag[] = "tokenizer file";

const char tn_tokenizer_kind_key[] = "tern.tokenizer.kind";
const char tn_tokenizer_prefix_key[] = "tern.tokenizer.prefix";
const char tn_tokenizer_nfc_key[] = "tern.tokenizer.nfc";
const char tn_tokenizer_template_key[] = "tokenizer.chat_template";
const char *const tn_tokenizer_kind_names[] = {"char", "bpe", "spm"};

enum { SPM_UNK, SPM_BOS, SPM_EOS };

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

/* Files without types: SentencePiece's byte tokens are known by their shape, its first three by their place. */
static int64_t guess_type(const reader *r, int id, tn_gguf_text text) {
    unsigned char byte;
    if (r->v.kind != TN_TOKENIZER_SPM) return TN_TOKEN_NORMAL;
    if (tn_byte_token_read(text.data, text.len, &byte)) return TN_TOKEN_BYTE;
    return id == SPM_UNK ? TN_TOKEN_UNKNOWN : id == SPM_BOS || id == SPM_EOS ? TN_TOKEN_CONTROL : TN_TOKEN_NORMAL;
}

static tn_status read_type(reader *r, int id, tn_gguf_text text) {
    int64_t type = guess_type(r, id, text);
    if (tn_gguf_has(r->file, KEY("token_type"))) TN_TRY(tn_gguf_array_int(r->file, KEY("token_type"), id, &type));
    if (type < TN_TOKEN_NORMAL || type > TN_TOKEN_BYTE)
        return TN_FAIL(CORRUPT, KEY("token_type") ": token %d has type %lld, expected 1..6", id, (long long)type);
    if (type == TN_TOKEN_NORMAL && guess_type(r, id, text) == TN_TOKEN_BYTE)
        type = TN_TOKEN_BYTE; /* found by its text */
    r->types[id] = (int32_t)type;
    return TN_OK;
}

/* What a NORMAL token decodes to, into r->bytes. False: no text can lead to it. */
static tn_status unspell(reader *r, tn_gguf_text text, bool *reachable) {
    tn_buf_reset(&r->bytes);
    *reachable = text.len > 0;
    if (r->v.kind != TN_TOKENIZER_SPM) {
        tn_status status;
        *reachable &= tn_byte_unspell(text.data, text.len, &r->bytes, &status);
        return status;
    }
    *reachable &= !memchr(text.data, ' ', text.len); /* spaces are marks there */
    return tn_spm_unmark(text.data, text.len, &r->bytes);
}

static tn_status set_bytes(reader *r, int id, const char *bytes, size_t len) {
    char *kept;
    TN_TAKE(kept, r->arena, len, tag);
    memcpy(kept, bytes, len);
    r->texts[id] = kept;
    r->lens[id] = (uint32_t)len;
    return TN_OK;
}

static tn_status read_byte(reader *r, int id, tn_gguf_text text) {
    unsigned char byte;
    if (tn_byte_token_read(text.data, text.len, &byte)) return set_bytes(r, id, &(char){(char)byte}, 1);
    return TN_FAIL(CORRUPT, KEY("tokens") ": byte token %d is \"%.*s\", expected <0x00> to <0xFF>", id,
                   (int)TN_MIN(text.len, 80u), text.data);
}

static tn_status list_spelling(reader *r, int id, tn_gguf_text text) {
    if (!text.len) return TN_OK;
    int32_t other = tn_text_map_find(&r->spelled, text.data, text.len);
    if (other < 0) return tn_text_map_put(&r->spelled, text.data, text.len, id);
    return TN_FAIL(CORRUPT, KEY("tokens") ": tokens %d and %d are both \"%.*s\"", other, id, (int)TN_MIN(text.len, 80u),
                   text.data);
}

static tn_status read_token(reader *r, int id) {
    tn_gguf_text text;
    TN_TRY(tn_gguf_array_text(r->file, KEY("tokens"), id, &text));
    TN_TRY(read_type(r, id, text));
    if (text.len > INT32_MAX || tn_utf8_valid_prefix(text.data, text.len, NULL) != text.len)
        return TN_FAIL(CORRUPT, KEY("tokens") ": token %d is not valid UTF-8", id);
    r->texts[id] = text.data;
    r->lens[id] = (uint32_t)text.len;
    TN_TRY(list_spelling(r, id, text));
    if (r->types[id] == TN_TOKEN_BYTE) return read_byte(r, id, text);
    if (r->types[id] != TN_TOKEN_NORMAL) return TN_OK;
    bool reachable;
    TN_TRY(unspell(r, text, &reachable));
    if (reachable) return set_bytes(r, id, r->bytes.data, r->bytes.len);
    r->types[id] = TN_TOKEN_UNUSED;
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

/* ---- SentencePiece ---- */

static tn_status read_scores(reader *r) {
    int64_t n;
    float *scores;
    TN_TRY(check_array(r, KEY("scores"), TN_GGUF_F32, r->v.n_tokens, r->v.n_tokens, &n));
    TN_TAKE(scores, r->arena, n, tag);
    for (int64_t id = 0; id < n; id++) {
        double score;
        TN_TRY(tn_gguf_array_real(r->file, KEY("scores"), id, &score));
        scores[id] = (float)score;
    }
    r->v.scores = scores;
    return TN_OK;
}

static tn_status get_bool_or(const reader *r, const char *key, bool absent, bool *value) {
    *value = absent;
    return tn_gguf_has(r->file, key) ? tn_gguf_get_bool(r->file, key, value) : TN_OK;
}

static tn_status read_spaces(reader *r) {
    bool prefix;
    int64_t own = 0;
    TN_TRY(get_bool_or(r, KEY("add_space_prefix"), true, &prefix));
    TN_TRY(get_bool_or(r, KEY("remove_extra_whitespaces"), false, &r->v.collapse_spaces));
    r->v.prefix = prefix ? TN_PREFIX_PARTS : TN_PREFIX_NONE;
    if (!tn_gguf_has(r->file, tn_tokenizer_prefix_key)) return TN_OK;
    TN_TRY(tn_gguf_get_int(r->file, tn_tokenizer_prefix_key, &own));
    if (own < 0 || own >= TN_N_PREFIXES)
        return TN_FAIL(CORRUPT, "%s: is %lld, expected 0..%d", tn_tokenizer_prefix_key, (long long)own,
                       TN_N_PREFIXES - 1);
    r->v.prefix = (tn_prefix)own;
    return TN_OK;
}

/* Tern's own files may bring the merges that their scores were made of. */
static tn_status read_spm(reader *r) {
    bool by_merges = r->ours && tn_gguf_has(r->file, KEY("merges"));
    TN_TRY(by_merges ? read_merges(r) : read_scores(r));
    return read_spaces(r);
}

/* ---- kinds and roles ---- */

static tn_status read_model(reader *r) {
    tn_gguf_text model;
    TN_TRY(tn_gguf_get_text(r->file, KEY("model"), &model));
    r->v.kind = text_is(model, "llama") ? TN_TOKENIZER_SPM : TN_TOKENIZER_BPE;
    if (text_is(model, "gpt2") || text_is(model, "llama")) return TN_OK;
    return TN_FAIL(UNSUPPORTED,
                   KEY("model") ": \"%.*s\" is not supported, expected \"gpt2\" (byte-level BPE) or \"llama\" "
                                "(SentencePiece)",
                   (int)TN_MIN(model.len, 80u), model.data);
}

static tn_status read_kind(reader *r) {
    tn_gguf_text kind;
    bool spm = r->v.kind == TN_TOKENIZER_SPM;
    r->ours = tn_gguf_has(r->file, tn_tokenizer_kind_key);
    TN_TRY(get_text_or(r, tn_tokenizer_kind_key, tn_tokenizer_kind_names[r->v.kind], &kind));
    if (!spm && text_is(kind, tn_tokenizer_kind_names[TN_TOKENIZER_CHAR])) r->v.kind = TN_TOKENIZER_CHAR;
    if (text_is(kind, tn_tokenizer_kind_names[r->v.kind])) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: \"%.*s\", expected %s", tn_tokenizer_kind_key, (int)TN_MIN(kind.len, 80u), kind.data,
                   spm ? "\"spm\"" : "\"char\" or \"bpe\"");
}

/* What the converters of SentencePiece files leave unsaid. */
static void fill_spm_roles(reader *r) {
    if (r->v.bos < 0 && SPM_BOS < r->v.n_tokens) r->v.bos = SPM_BOS;
    if (r->v.eos < 0 && SPM_EOS < r->v.n_tokens) r->v.eos = SPM_EOS;
    if (r->v.unk < 0) r->v.unk = SPM_UNK;
}

static tn_status read_roles(reader *r) {
    bool spm = r->v.kind == TN_TOKENIZER_SPM;
    TN_TRY(get_id(r, KEY("bos_token_id"), &r->v.bos));
    TN_TRY(get_id(r, KEY("eos_token_id"), &r->v.eos));
    TN_TRY(get_id(r, KEY("eot_token_id"), &r->v.eot));
    TN_TRY(get_id(r, KEY("unknown_token_id"), &r->v.unk));
    TN_TRY(get_id(r, KEY("padding_token_id"), &r->v.pad));
    TN_TRY(get_bool_or(r, KEY("add_bos_token"), spm || tn_split_adds_bos(r->v.split), &r->v.add_bos));
    TN_TRY(get_bool_or(r, tn_tokenizer_nfc_key, false, &r->v.nfc));
    if (spm && !r->ours) fill_spm_roles(r);
    if (!r->ours) tn_vocabulary_guess_roles(&r->v);
    return TN_OK;
}

static tn_status read_template(reader *r) {
    tn_gguf_text text;
    TN_TRY(get_text_or(r, tn_tokenizer_template_key, "", &text));
    if (memchr(text.data, 0, text.len)) return TN_FAIL(CORRUPT, "%s: holds a NUL byte", tn_tokenizer_template_key);
    if (memmem(text.data, text.len, "BITNETAssistant", 15)) {
        tn_log(TN_LOG_WARN, "data", "%s: its chat template does not match how the model was trained, replaced",
               tn_gguf_path(r->file));
        text = (tn_gguf_text){tn_bitnet_chat_template, strlen(tn_bitnet_chat_template)};
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
    if (r->v.kind == TN_TOKENIZER_SPM) TN_TRY(read_spm(r));
    if (r->v.kind != TN_TOKENIZER_SPM) TN_TRY(read_split(r));
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
