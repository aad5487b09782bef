/* SPDX-License-Identifier: MIT
 * tokenizer_encode.c - text to ids: special tokens first, then the parts between them; and ids back to text. */
#include "core/utf8.h"
#include "data/normal_form.h"
#include "data/tokenizer_priv.h"

#include <string.h>

typedef struct encoder {
    const tn_tokenizer *tokenizer;
    tn_bpe_scratch scratch;
    tn_buf text, normal; /* a part as SPM merges it; in normal form C */
    tn_ids *ids;
} encoder;

/* ---- a part between special tokens ---- */

static tn_status encode_piece(void *context, const char *piece, size_t len) {
    encoder *e = context;
    return tn_bpe_encode(e->tokenizer, &e->scratch, piece, len, e->ids);
}

static tn_status fail_character(const char *text, size_t len) {
    uint32_t code = 0;
    tn_utf8_decode(text, &code);
    return TN_FAIL(TEXT, "character \"%.*s\" (U+%04X) is not in the vocabulary of this character tokenizer",
                   code < 0x20 || code == 0x7F ? 0 : (int)len, text, code);
}

static tn_status encode_characters(encoder *e, const char *text, size_t len) {
    const tn_tokenizer *t = e->tokenizer;
    for (size_t at = 0; at < len;) {
        uint32_t code;
        size_t n = tn_utf8_decode(text + at, &code);
        int32_t id = n == 1 ? t->byte_ids[code] : tn_text_map_find(&t->normal, text + at, n);
        if (id < 0) id = t->vocabulary.unk;
        if (id < 0) return fail_character(text + at, n);
        TN_TRY(tn_ids_append(e->ids, id));
        at += n;
    }
    return TN_OK;
}

static tn_status encode_valid(encoder *e, const char *text, size_t len) {
    const tn_tokenizer *t = e->tokenizer;
    if (!len) return TN_OK;
    if (t->vocabulary.nfc && !tn_is_plainly_nfc(text, len)) {
        tn_buf_reset(&e->normal);
        TN_TRY(tn_nfc(text, len, &e->normal));
        text = e->normal.data;
        len = e->normal.len;
    }
    switch (t->vocabulary.kind) {
    case TN_TOKENIZER_CHAR: return encode_characters(e, text, len);
    case TN_TOKENIZER_BPE: return tn_splitter_run(t->splitter, text, len, encode_piece, e);
    case TN_TOKENIZER_SPM: return tn_spm_run(t, text, len, encode_piece, e);
    }
    return TN_OK;
}

static size_t invalid_prefix(const char *text, size_t len) {
    size_t n = 0;
    uint32_t code;
    while (n < len && !tn_utf8_read(text + n, len - n, &code)) n++;
    return n;
}

/* Bytes that are no text: one word for BPE, single bytes for SPM, which merges characters only. */
static tn_status encode_invalid(encoder *e, const char *bytes, size_t len) {
    if (e->tokenizer->vocabulary.kind == TN_TOKENIZER_BPE) return encode_piece(e, bytes, len);
    return tn_bpe_spell(e->tokenizer, bytes, len, e->ids);
}

static tn_status encode_part(encoder *e, const char *text, size_t len, bool at_start) {
    const tn_vocabulary *v = &e->tokenizer->vocabulary;
    if (!len) return TN_OK;
    if (v->kind == TN_TOKENIZER_SPM && (v->prefix != TN_PREFIX_NONE || v->collapse_spaces)) {
        tn_buf_reset(&e->text);
        TN_TRY(tn_spm_normalise(e->tokenizer, text, len, at_start, &e->text));
        text = tn_buf_text(&e->text);
        len = e->text.len;
    }
    while (len) {
        size_t valid = tn_utf8_valid_prefix(text, len, NULL);
        TN_TRY(encode_valid(e, text, valid));
        size_t invalid = invalid_prefix(text + valid, len - valid);
        TN_TRY(encode_invalid(e, text + valid, invalid));
        text += valid + invalid;
        len -= valid + invalid;
    }
    return TN_OK;
}

/* ---- the whole ---- */

static tn_status encode_parts(encoder *e, const char *text, size_t len, const tn_special_hit *hits, size_t n_hits) {
    size_t at = 0;
    for (size_t i = 0; i < n_hits; i++) {
        TN_TRY(encode_part(e, text + at, hits[i].at - at, at == 0));
        TN_TRY(tn_ids_append(e->ids, hits[i].id));
        at = hits[i].at + hits[i].len;
    }
    return encode_part(e, text + at, len - at, at == 0);
}

tn_status tn_tokenizer_encode(const tn_tokenizer *tokenizer, const char *text, size_t len, bool specials, tn_ids *ids) {
    if (tokenizer->vocabulary.kind == TN_TOKENIZER_CHAR) TN_TRY(tn_utf8_check("text", 0, text, len));
    encoder e = {.tokenizer = tokenizer, .ids = ids};
    size_t count = ids->count, n_hits;
    tn_special_hit *hits;
    TN_TRY(tn_specials_find(tokenizer, text, len, specials, &hits, &n_hits));
    tn_status status = encode_parts(&e, text, len, hits, n_hits);
    if (status) ids->count = count;
    tn_bpe_scratch_release(&e.scratch);
    tn_buf_release(&e.text);
    tn_buf_release(&e.normal);
    tn_heap_free(hits);
    return status;
}

/* ---- back ---- */

tn_status tn_tokenizer_decode(const tn_tokenizer *t, int32_t id, bool specials, tn_buf *out) {
    const tn_vocabulary *v = &t->vocabulary;
    if (id < 0 || id >= v->n_tokens)
        return TN_FAIL(RANGE, "token id %d is not in the vocabulary, expected 0..%d", id, v->n_tokens - 1);
    if (tn_tokenizer_is_special(t, id) && !specials) return TN_OK;
    return tn_buf_append(out, v->texts[id], v->lens[id]);
}

static bool is_part_of_text(const tn_vocabulary *v, int32_t id) {
    return id >= 0 && id < v->n_tokens && (v->types[id] == TN_TOKEN_NORMAL || v->types[id] == TN_TOKEN_BYTE);
}

tn_status tn_tokenizer_decode_all(const tn_tokenizer *t, const int32_t *ids, size_t count, bool specials, tn_buf *out) {
    const tn_vocabulary *v = &t->vocabulary;
    bool spaced = v->kind == TN_TOKENIZER_SPM && v->prefix != TN_PREFIX_NONE;
    bool fresh = spaced; /* the next token of text begins with a space that encode has put there */
    for (size_t i = 0; i < count; i++) {
        size_t begin = out->len;
        TN_TRY(tn_tokenizer_decode(t, ids[i], specials, out));
        bool text = is_part_of_text(v, ids[i]);
        if (fresh && text && out->len > begin && out->data[begin] == ' ') {
            memmove(out->data + begin, out->data + begin + 1, out->len - begin);
            out->len--;
        }
        fresh = !text && spaced && v->prefix != TN_PREFIX_BARE_START;
    }
    return TN_OK;
}
