/* SPDX-License-Identifier: MIT
 * tokenizer_spm_file.c - a reader of the protobuf wire format, and of the three messages a model consists of. Fields
 * that decide nothing here are skipped; numbers of fields are those of sentencepiece_model.proto. */
#include "data/tokenizer_spm_file.h"

#include "core/utf8.h"
#include "data/tokenizer_priv.h"

#include <string.h>

static const char tag[] = "tokenizer file";

/* ---- the wire format ---- */

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5, MAX_VARINT = 10 };

typedef struct message {
    const unsigned char *at, *end;
} message;

typedef struct field {
    uint32_t number, wire;
    uint64_t value;  /* of a number */
    message payload; /* of BYTES */
} field;

static size_t left(const message *m) { return (size_t)(m->end - m->at); }

static tn_status read_varint(message *m, uint64_t *value) {
    *value = 0;
    for (int i = 0; i < MAX_VARINT; i++) {
        if (!left(m)) return TN_FAIL(CORRUPT, "is cut short within a number");
        unsigned char byte = *m->at++;
        *value |= (uint64_t)(byte & 0x7F) << 7 * i;
        if (byte < 0x80) return TN_OK;
    }
    return TN_FAIL(CORRUPT, "holds a number of more than %d bytes", MAX_VARINT);
}

static tn_status read_fixed(message *m, size_t bytes, uint64_t *value) {
    if (left(m) < bytes) return TN_FAIL(CORRUPT, "is cut short within a number");
    *value = 0;
    for (size_t i = 0; i < bytes; i++) *value |= (uint64_t)m->at[i] << 8 * i;
    m->at += bytes;
    return TN_OK;
}

static tn_status read_payload(message *m, message *payload) {
    uint64_t len;
    TN_TRY(read_varint(m, &len));
    if (len > left(m))
        return TN_FAIL(CORRUPT, "is cut short: a field of %llu bytes, %zu are left", (unsigned long long)len, left(m));
    *payload = (message){m->at, m->at + len};
    m->at += len;
    return TN_OK;
}

/* The next field; there is one. */
static tn_status read_field(message *m, field *f) {
    uint64_t key;
    TN_TRY(read_varint(m, &key));
    *f = (field){.number = (uint32_t)(key >> 3), .wire = key & 7};
    if (!f->number || key >> 32)
        return TN_FAIL(CORRUPT, "holds a field with the number %llu", (unsigned long long)key >> 3);
    switch (f->wire) {
    case VARINT: return read_varint(m, &f->value);
    case FIXED64: return read_fixed(m, 8, &f->value);
    case BYTES: return read_payload(m, &f->payload);
    case FIXED32: return read_fixed(m, 4, &f->value);
    }
    return TN_FAIL(CORRUPT, "holds a field of wire type %u, expected 0, 1, 2 or 5", f->wire);
}

typedef tn_status read_one(void *context, const field *f);

static tn_status read_each(message m, read_one *read, void *context) {
    while (left(&m)) {
        field f;
        TN_TRY(read_field(&m, &f));
        TN_TRY(read(context, &f));
    }
    return TN_OK;
}

/* ---- pieces ---- */

enum { MODEL_PIECE = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3, MODEL_DENORMALIZER = 5 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { UNIGRAM = 1, BPE = 2, WORD = 3, CHAR = 4 };

typedef struct reader {
    tn_arena *arena;
    tn_vocabulary v;
    const char **texts;
    uint32_t *lens;
    int32_t *types;
    float *scores;
    tn_text_map pieces; /* texts in the file */
    int n_pieces, next;
    uint64_t model_type;
    tn_buf bytes;
} reader;

typedef struct piece {
    message text;
    float score;
    uint64_t type;
} piece;

static tn_status read_piece_field(void *context, const field *f) {
    piece *p = context;
    if (f->number == PIECE_TEXT && f->wire == BYTES) p->text = f->payload;
    if (f->number == PIECE_TYPE && f->wire == VARINT) p->type = f->value;
    if (f->number != PIECE_SCORE || f->wire != FIXED32) return TN_OK;
    uint32_t bits = (uint32_t)f->value;
    memcpy(&p->score, &bits, sizeof p->score);
    return TN_OK;
}

/* What the piece decodes to, into r->bytes. */
static tn_status decode_piece(reader *r, const char *text, size_t len, uint64_t *type) {
    unsigned char byte;
    tn_buf_reset(&r->bytes);
    if (*type == TN_TOKEN_NORMAL && tn_byte_token_read(text, len, &byte)) *type = TN_TOKEN_BYTE; /* found by its text */
    if (*type == TN_TOKEN_BYTE) {
        if (tn_byte_token_read(text, len, &byte)) return tn_buf_putc(&r->bytes, (char)byte);
        return TN_FAIL(CORRUPT, "piece %d: is \"%.*s\", expected <0x00> to <0xFF>", r->next, (int)TN_MIN(len, 80u),
                       text);
    }
    bool marked = *type == TN_TOKEN_NORMAL || *type == TN_TOKEN_USER;
    bool unreachable = *type == TN_TOKEN_NORMAL && memchr(text, ' ', len); /* text has marks for its spaces */
    if (unreachable) *type = TN_TOKEN_UNUSED;
    return marked && !unreachable ? tn_spm_unmark(text, len, &r->bytes) : tn_buf_append(&r->bytes, text, len);
}

static tn_status add_piece(reader *r, message m) {
    piece p = {.text = m, .type = TN_TOKEN_NORMAL};
    p.text.end = m.at;
    TN_TRY(read_each(m, read_piece_field, &p));
    const char *text = (const char *)p.text.at;
    size_t len = left(&p.text);
    if (p.type < TN_TOKEN_NORMAL || p.type > TN_TOKEN_BYTE)
        return TN_FAIL(CORRUPT, "piece %d: has type %llu, expected 1..6", r->next, (unsigned long long)p.type);
    if (!len || len > TN_SPM_MAX_TOKEN || tn_utf8_valid_prefix(text, len, NULL) != len)
        return TN_FAIL(CORRUPT, "piece %d: %zu bytes, expected 1 to %d of valid UTF-8", r->next, len, TN_SPM_MAX_TOKEN);
    if (tn_text_map_find(&r->pieces, text, len) >= 0)
        return TN_FAIL(CORRUPT, "piece %d: \"%.*s\" is piece %d too", r->next, (int)TN_MIN(len, 80u), text,
                       tn_text_map_find(&r->pieces, text, len));
    TN_TRY(tn_text_map_put(&r->pieces, text, len, r->next));
    TN_TRY(decode_piece(r, text, len, &p.type));
    char *kept;
    TN_TAKE(kept, r->arena, r->bytes.len, tag);
    r->texts[r->next] = memcpy(kept, r->bytes.data, r->bytes.len);
    r->lens[r->next] = (uint32_t)r->bytes.len;
    r->types[r->next] = (int32_t)p.type;
    r->scores[r->next] = p.score;
    if (p.type == TN_TOKEN_UNKNOWN) r->v.unk = r->next;
    r->next++;
    return TN_OK;
}

/* ---- settings ---- */

static tn_status read_trainer_field(void *context, const field *f) {
    enum { MODEL_TYPE = 3, SPACES_LAST = 24, BOS_ID = 41, EOS_ID = 42, PAD_ID = 43 };
    reader *r = context;
    if (f->wire != VARINT) return TN_OK;
    int id = f->value < (uint64_t)r->n_pieces ? (int)f->value : -1;
    switch (f->number) {
    case MODEL_TYPE: r->model_type = f->value; break;
    case BOS_ID: r->v.bos = id; break;
    case EOS_ID: r->v.eos = id; break;
    case PAD_ID: r->v.pad = id; break;
    case SPACES_LAST:
        if (f->value) return TN_FAIL(UNSUPPORTED, "treat_whitespace_as_suffix is not supported");
    }
    return TN_OK;
}

typedef struct normalizer {
    message name;
    size_t map_bytes;
    bool prefix, collapse, marks;
} normalizer;

static tn_status read_normalizer_field(void *context, const field *f) {
    enum { NAME = 1, MAP = 2, PREFIX = 3, COLLAPSE = 4, MARKS = 5 };
    normalizer *n = context;
    switch (f->number) {
    case NAME: n->name = f->payload; break;
    case MAP: n->map_bytes = left(&f->payload); break;
    case PREFIX: n->prefix = f->value; break;
    case COLLAPSE: n->collapse = f->value; break;
    case MARKS: n->marks = f->value; break;
    }
    return TN_OK;
}

static tn_status read_normalizer(message m, normalizer *n) {
    TN_TRY(read_each(m, read_normalizer_field, n));
    if (n->map_bytes)
        return TN_FAIL(UNSUPPORTED, "normalizer \"%.*s\" is not supported, expected \"identity\"",
                       (int)TN_MIN(left(&n->name), 40u), (const char *)n->name.at);
    return n->marks ? TN_OK : TN_FAIL(UNSUPPORTED, "escape_whitespaces off is not supported");
}

/* ---- the model ---- */

static tn_status count_piece(void *context, const field *f) {
    reader *r = context;
    r->n_pieces += f->number == MODEL_PIECE && f->wire == BYTES;
    return r->n_pieces <= TN_MAX_TOKENS ? TN_OK : TN_FAIL(CORRUPT, "has more than %d pieces", TN_MAX_TOKENS);
}

static tn_status read_model_field(void *context, const field *f) {
    reader *r = context;
    if (f->wire != BYTES) return TN_OK;
    normalizer n = {.prefix = true, .collapse = true, .marks = true}, back = n;
    switch (f->number) {
    case MODEL_PIECE: return add_piece(r, f->payload);
    case MODEL_TRAINER: return read_each(f->payload, read_trainer_field, r);
    case MODEL_DENORMALIZER: return read_normalizer(f->payload, &back);
    case MODEL_NORMALIZER:
        TN_TRY(read_normalizer(f->payload, &n));
        r->v.prefix = n.prefix ? TN_PREFIX_PARTS : TN_PREFIX_NONE;
        r->v.collapse_spaces = n.collapse;
    }
    return TN_OK;
}

static tn_status check_type(const reader *r) {
    static const char *const names[] = {"type 0", "unigram", "bpe", "word", "char"};
    if (r->model_type == BPE) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "model type %s is not supported, expected bpe",
                   r->model_type < TN_COUNT(names) ? names[r->model_type] : "beyond 4");
}

/* Special tokens are CONTROL pieces; a number that leads to another piece means that there is none. */
static int control_or_none(const reader *r, int id) {
    return id >= 0 && id < r->next && r->types[id] == TN_TOKEN_CONTROL ? id : -1;
}

static tn_status read_model(reader *r, message m) {
    r->arena = tn_arena_create("tokenizer file");
    if (!r->arena) return TN_E_NOMEM;
    TN_TRY(read_each(m, count_piece, r));
    if (!r->n_pieces) return TN_FAIL(CORRUPT, "has no pieces");
    TN_TAKE(r->texts, r->arena, r->n_pieces, tag);
    TN_TAKE(r->lens, r->arena, r->n_pieces, tag);
    TN_TAKE(r->types, r->arena, r->n_pieces, tag);
    TN_TAKE(r->scores, r->arena, r->n_pieces, tag);
    TN_TRY(read_each(m, read_model_field, r));
    TN_TRY(check_type(r));
    r->v.n_tokens = r->n_pieces;
    r->v.texts = r->texts;
    r->v.lens = r->lens;
    r->v.types = r->types;
    r->v.scores = r->scores;
    r->v.bos = control_or_none(r, r->v.bos);
    r->v.eos = control_or_none(r, r->v.eos);
    r->v.pad = control_or_none(r, r->v.pad);
    r->v.add_bos = r->v.bos >= 0;
    tn_vocabulary_guess_roles(&r->v);
    return TN_OK;
}

bool tn_tokenizer_looks_spm(const unsigned char *data, size_t size) {
    message m = {data, data + size};
    field f, inner;
    if (size < 4 || data[0] != (MODEL_PIECE << 3 | BYTES) || read_field(&m, &f)) return false;
    return left(&f.payload) && *f.payload.at == (PIECE_TEXT << 3 | BYTES) && !read_field(&f.payload, &inner);
}

tn_status tn_tokenizer_from_spm(tn_tokenizer **out, const char *name, const unsigned char *data, size_t size) {
    *out = NULL;
    reader r = {.model_type = UNIGRAM};
    r.v = (tn_vocabulary){
        .kind = TN_TOKENIZER_SPM, .prefix = TN_PREFIX_PARTS, .collapse_spaces = true, .chat_template = ""};
    r.v.bos = 1;
    r.v.eos = 2;
    r.v.eot = r.v.unk = r.v.pad = -1;
    tn_status status = read_model(&r, (message){data, data + size});
    if (!status) status = tn_tokenizer_from_vocabulary(out, &r.v);
    tn_text_map_release(&r.pieces);
    tn_buf_release(&r.bytes);
    tn_arena_free(r.arena);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "%s: %s", name, tn_error_message()) : TN_OK;
}
