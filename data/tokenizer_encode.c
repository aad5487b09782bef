/* SPDX-License-Identifier: MIT
 * tokenizer_encode.c - text to ids: special tokens first, longest text first, then what lies between them. */
#include "data/tokenizer_priv.h"

#include "data/grow.h"
#include "core/utf8.h"

#include <string.h>

typedef struct encoder {
    const tn_tokenizer *tokenizer;
    tn_bpe_scratch scratch;
    int32_t *present; /* special tokens that occur in the text, longest first */
    size_t n_present, present_cap;
    tn_ids *ids;
} encoder;

/* ---- text without special tokens ---- */

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

static tn_status encode_plain(encoder *e, const char *text, size_t len) {
    if (!len) return TN_OK;
    if (e->tokenizer->vocabulary.kind == TN_TOKENIZER_CHAR) return encode_characters(e, text, len);
    return tn_splitter_run(e->tokenizer->splitter, text, len, encode_piece, e);
}

/* ---- special tokens ---- */

/* USER tokens are always read as themselves; CONTROL and UNKNOWN only when asked for. */
static tn_status find_present(encoder *e, const char *text, size_t len, bool specials) {
    const tn_vocabulary *v = &e->tokenizer->vocabulary;
    for (int i = 0; i < e->tokenizer->n_specials; i++) {
        int32_t id = e->tokenizer->specials[i];
        if (v->types[id] != TN_TOKEN_USER && !specials) continue;
        if (!memmem(text, len, v->texts[id], v->lens[id])) continue;
        TN_GROW(e->present, &e->present_cap, e->n_present + 1);
        e->present[e->n_present++] = id;
    }
    return TN_OK;
}

/* Cut text at the special tokens e->present[from..]: at all occurrences of the longest, then within the rest. */
static tn_status encode_fragment(encoder *e, size_t from, const char *text, size_t len) {
    if (from == e->n_present) return encode_plain(e, text, len);
    int32_t id = e->present[from];
    const char *special = e->tokenizer->vocabulary.texts[id];
    size_t special_len = e->tokenizer->vocabulary.lens[id];
    for (const char *hit; (hit = memmem(text, len, special, special_len));) {
        size_t before = (size_t)(hit - text);
        TN_TRY(encode_fragment(e, from + 1, text, before));
        TN_TRY(tn_ids_append(e->ids, id));
        text = hit + special_len;
        len -= before + special_len;
    }
    return encode_fragment(e, from + 1, text, len);
}

tn_status tn_tokenizer_encode(const tn_tokenizer *tokenizer, const char *text, size_t len, bool specials, tn_ids *ids) {
    TN_TRY(tn_utf8_check("text", 0, text, len));
    encoder e = {.tokenizer = tokenizer, .ids = ids};
    size_t count = ids->count;
    tn_status status = find_present(&e, text, len, specials);
    if (!status) status = encode_fragment(&e, 0, text, len);
    if (status) ids->count = count;
    tn_bpe_scratch_release(&e.scratch);
    tn_heap_free(e.present);
    return status;
}
