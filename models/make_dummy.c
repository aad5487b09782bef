/* SPDX-License-Identifier: MIT
 * make_dummy.c - tensors are made a piece of rows at a time, by all threads, and written as they come. */
#include "models/make_dummy.h"

#include "core/half.h"
#include "core/log.h"
#include "core/par.h"
#include "core/rng.h"
#include "data/tokenizer_gguf.h"
#include "formats/ternary_block.h"
#include "models/gguf_config.h"
#include "models/gguf_weights.h"
#include "layers/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 24, DRAW_BYTES = 16 /* bytes that one index of the generator gives */ };

typedef struct job {
    const tn_model_config *config;
    tn_dummy_options options;
    tn_arena *arena;
    tn_param *params; /* [n_params] shapes alone */
    int n_params, most;
    tn_gguf_writer *writer;
    unsigned char *piece;
    tn_real *rows;   /* [threads][the longest row] */
    int8_t *states;  /* the same */
    int64_t longest; /* numbers, rounded up to whole draws */
} job;

/* ---- the tensors of a shape ---- */

static tn_status count_param(void *context, const tn_param *param) {
    (void)param;
    ((job *)context)->most++;
    return TN_OK;
}

static tn_status add_param(void *context, const tn_param *param) {
    job *j = context;
    j->params[j->n_params++] = *param;
    j->longest = TN_MAX(j->longest, TN_ROUND_UP((int64_t)param->cols, DRAW_BYTES));
    return TN_OK;
}

static tn_status list_params(job *j) {
    TN_TRY(tn_model_each_param(j->config, count_param, j));
    TN_TAKE(j->params, j->arena, j->most, "dummy");
    return tn_model_each_param(j->config, add_param, j);
}

static bool is_ternary(const tn_param *p) { return p->quantizer != TN_QUANT_NONE; }
static bool is_gain(const tn_param *p) { return !is_ternary(p) && !p->tabular; }

typedef struct type_row {
    int ggml;
    uint32_t file_type;
} type_row;

static const type_row type_rows[] = {
#define EXPORT_TYPE(name, ggml, file_type, help) {TN_GGML_##ggml, file_type},
#include "models/export_types.def"
#undef EXPORT_TYPE
};

static int type_of(const job *j, const tn_param *s) {
    if (is_gain(s)) return TN_GGML_F32;
    return is_ternary(s) ? type_rows[j->options.type].ggml : tn_gguf_type_of_table(j->options.table);
}

static tn_status announce(const job *j, const tn_param *s) {
    const int type = type_of(j, s), block = (int)tn_ggml_type_block(type);
    const int64_t ne[2] = {s->cols, s->rows};
    if (s->cols % block)
        return TN_FAIL(SHAPE, "%s has rows of %lld numbers, %s needs a multiple of %d", s->name, (long long)s->cols,
                       tn_ggml_type_name(type), block);
    return tn_gguf_announce(j->writer, s->name, type, is_gain(s) ? 1 : 2, ne);
}

/* ---- numbers ---- */

/* A product of a normed row, whose numbers are of size 1, keeps that size; f16 holds the scale as it is. */
static float scale_of(const tn_param *s) {
    return tn_f16_to_f32(tn_f32_to_f16((float)(1 / sqrt((double)s->cols * 2 / 3))));
}

static void draw_states(const tn_rng *rng, int64_t row, int64_t cols, int8_t *states) {
    const int64_t draws = (cols + DRAW_BYTES - 1) / DRAW_BYTES;
    for (int64_t i = 0; i < draws; i++, states += DRAW_BYTES) {
        uint8_t bytes[DRAW_BYTES];
        uint32_t words[4];
        tn_rng_words(rng, (uint64_t)(row * draws + i), words);
        memcpy(bytes, words, sizeof bytes);
        for (int k = 0; k < DRAW_BYTES; k++) states[k] = (int8_t)((bytes[k] * 3 >> 8) - 1);
    }
}

/* About normal, by the sum of four bytes, with deviation `size`. */
static void draw_row(const tn_rng *rng, int64_t row, int64_t cols, double size, tn_real *x) {
    const double factor = size / sqrt((256 * 256 - 1) / 3.0), mean = 4 * 127.5;
    const int64_t draws = (cols + 3) / 4;
    for (int64_t i = 0; i < draws; i++, x += 4) {
        uint32_t words[4];
        tn_rng_words(rng, (uint64_t)(row * draws + i), words);
        for (int k = 0; k < 4; k++) {
            const uint32_t w = words[k];
            x[k] = (tn_real)(factor * ((double)((w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24)) - mean));
        }
    }
}

/* ---- pieces ---- */

typedef struct piece {
    const job *job;
    const tn_param *param;
    tn_rng rng;
    int type;
    tn_table_type table; /* of numbers written one by one */
    int64_t first;
    size_t row_bytes;
    bool failed;
} piece;

/* Logits of a normed row then differ by about 2. */
static double table_size(const tn_param *s) { return 2 / sqrt((double)s->cols); }

static tn_status make_row(const piece *p, int64_t row, unsigned char *out) {
    const tn_param *s = p->param;
    const job *j = p->job;
    tn_real *x = j->rows + tn_par_worker() * j->longest;
    int8_t *states = j->states + tn_par_worker() * j->longest;
    if (s->tabular) {
        draw_row(&p->rng, row, s->cols, table_size(s), x);
    } else {
        draw_states(&p->rng, row, s->cols, states);
        if (tn_ternary_type(p->type)) return tn_ternary_pack_rows(p->type, states, 1, s->cols, scale_of(s), out);
        for (int64_t i = 0; i < s->cols; i++) x[i] = (tn_real)scale_of(s) * (tn_real)states[i];
    }
    return tn_table_encode_row(p->table, s->cols, x, out);
}

static void make_rows(void *context, int64_t begin, int64_t end) {
    piece *p = context;
    for (int64_t i = begin; i < end; i++)
        if (make_row(p, p->first + i, p->job->piece + (size_t)i * p->row_bytes)) p->failed = true;
}

static tn_status write_matrix(const job *j, int number) {
    const tn_param *s = &j->params[number];
    piece p = {.job = j, .param = s, .type = type_of(j, s)};
    unsigned char tail[TN_TERNARY_TAIL_MAX];
    size_t tail_bytes = 0;
    p.rng = tn_rng_make(j->options.seed, TN_PURPOSE_INIT, (uint32_t)number);
    if (tn_ternary_type(p.type)) {
        TN_TRY(tn_ggml_type_bytes(p.type, s->cols, 1, &p.row_bytes));
        tail_bytes = tn_ternary_tail(p.type, scale_of(s), tail);
        p.row_bytes -= tail_bytes;
    } else {
        TN_ASSERT(tn_gguf_table_type(p.type, &p.table));
        p.row_bytes = tn_table_row_bytes(p.table, s->cols);
    }
    const int64_t rows = TN_MAX((int64_t)(PIECE_BYTES / p.row_bytes), (int64_t)1);
    for (; p.first < s->rows; p.first += rows) {
        const int64_t count = TN_MIN(rows, s->rows - p.first);
        tn_par_for(count, 1, make_rows, &p);
        if (p.failed) return TN_FAIL(RANGE, "%s does not hold the numbers of %s", tn_ggml_type_name(p.type), s->name);
        TN_TRY(tn_gguf_put_piece(j->writer, j->piece, (size_t)count * p.row_bytes));
    }
    return tail_bytes ? tn_gguf_put_piece(j->writer, tail, tail_bytes) : TN_OK;
}

static tn_status write_gain(const job *j, const tn_param *s) {
    float *ones = (float *)j->piece;
    for (int64_t i = 0; i < s->cols; i++) ones[i] = 1;
    return tn_gguf_put_data(j->writer, ones, sizeof *ones * (size_t)s->cols);
}

/* How many numbers say how much slower pairs turn. */
static int64_t slowdowns(const job *j) {
    return j->config->rope_scaling == TN_ROPE_LLAMA3 ? j->config->head_dim / 2 : 0;
}

static tn_status write_slowdown(const job *j) {
    const int64_t n = slowdowns(j);
    float *slowdown = (float *)j->piece;
    for (int i = 0; i < n; i++) slowdown[i] = tn_model_config_slowdown(j->config, i);
    return n ? tn_gguf_put_data(j->writer, slowdown, sizeof *slowdown * (size_t)n) : TN_OK;
}

/* ---- the tokenizer ---- */

static const char turns[] =
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}";

typedef struct words {
    const char **texts;
    uint32_t *lens;
    int32_t *types;
    int32_t (*merges)[2];
    int count, merged;
} words;

static tn_status add_word(words *w, tn_arena *arena, const char *text, size_t len, tn_token_type type) {
    char *kept;
    TN_TAKE(kept, arena, len + 1, "dummy");
    memcpy(kept, text, len);
    kept[len] = '\0';
    w->texts[w->count] = kept;
    w->lens[w->count] = (uint32_t)len;
    w->types[w->count++] = (int32_t)type;
    return TN_OK;
}

/* Every word is an older one and a letter, so that merges build all of them: a to z, then aa, ab, ... */
static tn_status add_words(words *w, tn_arena *arena, int most) {
    char text[64];
    for (int parent = 'a'; w->count < most; parent = parent == 'z' ? 256 : parent + 1)
        for (int letter = 'a'; letter <= 'z' && w->count < most; letter++) {
            const uint32_t len = w->lens[parent];
            memcpy(text, w->texts[parent], len);
            text[len] = (char)letter;
            w->merges[w->merged][0] = parent;
            w->merges[w->merged++][1] = letter;
            TN_TRY(add_word(w, arena, text, len + 1, TN_TOKEN_NORMAL));
        }
    return TN_OK;
}

/* Bytes have the ids of their values. */
static tn_status make_words(words *w, tn_arena *arena, int n) {
    static const char *const specials[] = {"<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"};
    TN_TAKE(w->texts, arena, n, "dummy");
    TN_TAKE(w->lens, arena, n, "dummy");
    TN_TAKE(w->types, arena, n, "dummy");
    TN_TAKE(w->merges, arena, n, "dummy");
    for (int byte = 0; byte < 256; byte++) TN_TRY(add_word(w, arena, &(char){(char)byte}, 1, TN_TOKEN_NORMAL));
    TN_TRY(add_words(w, arena, n - (int)TN_COUNT(specials)));
    for (size_t i = 0; i < TN_COUNT(specials); i++)
        TN_TRY(add_word(w, arena, specials[i], strlen(specials[i]), TN_TOKEN_CONTROL));
    return TN_OK;
}

static tn_status put_tokenizer(const job *j) {
    const int n = j->config->vocab_size;
    words w = {0};
    tn_tokenizer *tokenizer;
    TN_TRY(make_words(&w, j->arena, n));
    const tn_vocabulary v = {.kind = TN_TOKENIZER_BPE,
                             .split = TN_SPLIT_LLAMA3,
                             .ignore_merges = true,
                             .add_bos = true,
                             .n_tokens = n,
                             .texts = w.texts,
                             .lens = w.lens,
                             .types = w.types,
                             .n_merges = w.merged,
                             .merges = (const int32_t(*)[2])w.merges,
                             .bos = n - 3,
                             .eos = n - 2,
                             .eot = n - 1,
                             .unk = -1,
                             .pad = -1,
                             .chat_template = turns};
    TN_TRY(tn_tokenizer_from_vocabulary(&tokenizer, &v));
    const tn_status status = tn_tokenizer_put_gguf(tokenizer, j->writer);
    tn_tokenizer_free(tokenizer);
    return status;
}

/* ---- the file ---- */

static tn_status check(const job *j) {
    const tn_model_config *c = j->config;
    if (c->quantization == TN_QUANTIZATION_NONE)
        return TN_FAIL(UNSUPPORTED, "model.quantization is none: only ternary models are made");
    if (c->vocab_size < TN_DUMMY_VOCABULARY)
        return TN_FAIL(RANGE, "model.vocab_size is %d, expected at least %d: all bytes and three special tokens",
                       c->vocab_size, TN_DUMMY_VOCABULARY);
    return TN_OK;
}

static tn_status begin(job *j, const char *path) {
    TN_TRY(check(j));
    TN_TRY(list_params(j));
    TN_TRY(tn_gguf_create(&j->writer, path));
    TN_TRY(tn_gguf_put_config(j->writer, j->config, "dummy"));
    TN_TRY(tn_gguf_put_u32(j->writer, "general.file_type", type_rows[j->options.type].file_type));
    TN_TRY(put_tokenizer(j));
    TN_TRY(tn_gguf_put_u32(j->writer, "general.quantization_version", 2));
    for (int i = 0; i < j->n_params; i++) TN_TRY(announce(j, &j->params[i]));
    const int64_t n = slowdowns(j);
    return n ? tn_gguf_announce(j->writer, tn_gguf_slowdown_tensor, TN_GGML_F32, 1, &n) : TN_OK;
}

static tn_status write_tensors(job *j) {
    const int64_t row_bytes = (int64_t)sizeof(tn_real) * j->longest;
    j->piece = tn_arena_alloc(j->arena, (size_t)(PIECE_BYTES + row_bytes), "dummy");
    if (!j->piece) return TN_E_NOMEM;
    TN_TAKE(j->rows, j->arena, tn_par_threads() * j->longest, "dummy");
    TN_TAKE(j->states, j->arena, tn_par_threads() * j->longest, "dummy");
    for (int i = 0; i < j->n_params; i++)
        TN_TRY(is_gain(&j->params[i]) ? write_gain(j, &j->params[i]) : write_matrix(j, i));
    return write_slowdown(j);
}

/* With `bytes`: only how large the file would be. */
static tn_status run(const tn_model_config *config, tn_dummy_options options, const char *path, int64_t *bytes) {
    job j = {.config = config, .options = options, .arena = tn_arena_create("dummy")};
    tn_status status = j.arena ? begin(&j, path) : TN_E_NOMEM;
    if (!status) status = bytes ? tn_gguf_file_bytes(j.writer, bytes) : write_tensors(&j);
    if (!status && !bytes)
        status = tn_gguf_commit(j.writer);
    else if (j.writer)
        tn_gguf_discard(j.writer);
    tn_arena_free(j.arena);
    return status;
}

tn_status tn_dummy_bytes(const tn_model_config *config, tn_dummy_options options, int64_t *bytes) {
    return run(config, options, NULL, bytes);
}

tn_status tn_make_dummy(const tn_model_config *config, tn_dummy_options options, const char *path) {
    return run(config, options, path, NULL);
}
