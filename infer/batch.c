/* SPDX-License-Identifier: MIT
 * batch.c - texts that share each forward pass. A slot knows `known` tokens of its text and its cache has seen the
 * first of them; what is missing are rows of the next pass. A slot whose cache has caught up is due: it chooses a
 * token. */
#include "infer/batch.h"

#include <string.h>

#include "autograd/tape.h"
#include "core/clock.h"

enum { DEFAULT_SLOTS = 8, DEFAULT_CHUNK = 512 };

typedef struct slot {
    bool busy;
    tn_cache cache;   /* memory is taken at the slot's first text */
    int32_t *history; /* [context] */
    int known;        /* of the history; cache.length of them were fed */
    int rows;         /* in the pass under way */
    int64_t arrival;  /* requests before this one */
    double start;
    tn_batch_request request; /* its ids are in the history */
    tn_sampler *sampler;
    tn_text_stream stream;
    tn_generated generated;
} slot;

struct tn_batch {
    const tn_loaded *loaded;
    tn_arena *arena;
    tn_tape *tape;
    int n_slots, context, chunk;
    tn_kv_type kv;
    slot *slots;
    uint64_t *allowed[2]; /* ids that may be chosen; [1]: without those that end a text */
    tn_buf bytes;         /* of one token */
    tn_batch_counts counts;
    int64_t arrivals;
    /* ---- the pass under way ---- */
    int32_t *ids; /* [n_rows] */
    int n_rows, n_fed, n_due;
    tn_stretch *stretches; /* [n_fed] */
    slot **fed;            /* [n_fed] their slots, the n_due that are due first */
};

/* ---- life ---- */

/* Rows of the model without a token behind them, and tokens that were never used, have no text. */
static tn_status allow_tokens(tn_batch *b) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(b->loaded->tokenizer);
    for (int i = 0; i < 2; i++)
        TN_TAKE0(b->allowed[i], b->arena, tn_model_get_config(b->loaded->model)->vocab_size / 64 + 1, "batch");
    for (int id = 0; id < v->n_tokens; id++) {
        if (v->types[id] == TN_TOKEN_UNUSED) continue;
        b->allowed[0][id / 64] |= 1ULL << id % 64;
        if (!tn_tokenizer_is_stop(b->loaded->tokenizer, id)) b->allowed[1][id / 64] |= 1ULL << id % 64;
    }
    return TN_OK;
}

static tn_status take_memory(tn_batch *b) {
    b->arena = tn_arena_create("batch");
    b->tape = tn_tape_create();
    if (!b->arena || !b->tape) return TN_E_NOMEM;
    TN_TAKE0(b->slots, b->arena, b->n_slots, "batch");
    TN_TAKE(b->ids, b->arena, b->chunk + b->n_slots, "batch");
    TN_TAKE(b->stretches, b->arena, b->n_slots, "batch");
    TN_TAKE(b->fed, b->arena, b->n_slots, "batch");
    return allow_tokens(b);
}

tn_status tn_batch_create(tn_batch **out, const tn_loaded *loaded, tn_batch_options options) {
    int most = tn_model_get_config(loaded->model)->context;
    *out = NULL;
    if (options.slots < 0 || options.slots > TN_BATCH_SLOTS)
        return TN_FAIL(RANGE, "%d texts at once are asked for, expected 1 to %d", options.slots, TN_BATCH_SLOTS);
    if (options.context < 0 || options.context == 1 || options.context > most)
        return TN_FAIL(RANGE, "a context of %d tokens is asked for, the model was trained for 2 to %d", options.context,
                       most);
    if (options.chunk < 0) return TN_FAIL(RANGE, "a prompt cannot be read in chunks of %d tokens", options.chunk);
    tn_batch *b = tn_heap_zalloc(1, sizeof *b);
    if (!b) return TN_E_NOMEM;
    b->loaded = loaded;
    b->n_slots = options.slots ? options.slots : DEFAULT_SLOTS;
    b->context = options.context ? options.context : most;
    b->kv = options.kv;
    b->chunk = options.chunk ? options.chunk : DEFAULT_CHUNK;
    tn_status status = take_memory(b);
    if (status)
        tn_batch_free(b);
    else
        *out = b;
    return status;
}

static void vacate(slot *s) {
    tn_sampler_free(s->sampler);
    tn_text_stream_release(&s->stream);
    s->sampler = NULL;
    s->stream = (tn_text_stream){0};
    s->busy = false;
}

void tn_batch_free(tn_batch *batch) {
    if (!batch) return;
    for (int i = 0; batch->slots && i < batch->n_slots; i++) vacate(&batch->slots[i]);
    tn_buf_release(&batch->bytes);
    tn_tape_free(batch->tape);
    tn_arena_free(batch->arena);
    tn_heap_free(batch);
}

int tn_batch_context(const tn_batch *batch) { return batch->context; }
tn_batch_counts tn_batch_get_counts(const tn_batch *batch) { return batch->counts; }

int tn_batch_under_way(const tn_batch *batch) {
    int n = 0;
    for (int i = 0; i < batch->n_slots; i++) n += batch->slots[i].busy;
    return n;
}

int tn_batch_free_slots(const tn_batch *batch) { return batch->n_slots - tn_batch_under_way(batch); }

/* ---- a request takes a slot ---- */

/* Tokens of the prompt that the slot's cache has already, the last one excepted: its logits are wanted. */
static int common_tokens(const slot *s, const tn_batch_request *request) {
    int n = 0, most = TN_MIN(s->cache.length, request->n_ids - 1);
    while (n < most && s->history[n] == request->ids[n]) n++;
    return n;
}

static slot *choose_slot(tn_batch *b, const tn_batch_request *request) {
    slot *best = NULL;
    for (int i = 0; i < b->n_slots; i++) {
        slot *s = &b->slots[i];
        if (!s->busy && (!best || common_tokens(s, request) > common_tokens(best, request))) best = s;
    }
    TN_ASSERT(best);
    return best;
}

static tn_status check_prompt(const tn_batch *b, const tn_batch_request *request) {
    int vocab = tn_model_get_config(b->loaded->model)->vocab_size;
    TN_ASSERT(request->n_ids > 0);
    if (request->n_ids > b->context)
        return TN_FAIL(RANGE, "the prompt has %d tokens, the context holds %d", request->n_ids, b->context);
    for (int i = 0; i < request->n_ids; i++)
        if (request->ids[i] < 0 || request->ids[i] >= vocab)
            return TN_FAIL(RANGE, "token %d of the prompt is %d, the model knows 0 to %d", i, request->ids[i],
                           vocab - 1);
    return TN_OK;
}

static tn_status prepare_slot(tn_batch *b, slot *s, const tn_batch_request *request) {
    const tn_model_config *config = tn_model_get_config(b->loaded->model);
    const tn_generate_options *o = &request->generate;
    if (!s->history) {
        TN_TRY(tn_cache_init(&s->cache, b->arena, config, b->kv, b->context));
        TN_TAKE(s->history, b->arena, b->context, "history");
    }
    TN_TRY(tn_text_stream_init(&s->stream, o->stops, o->n_stops, o->piece, o->context));
    return tn_sampler_create(&s->sampler, config->vocab_size, request->sampler);
}

tn_status tn_batch_add(tn_batch *batch, const tn_batch_request *request) {
    TN_TRY(check_prompt(batch, request));
    slot *s = choose_slot(batch, request);
    tn_status status = prepare_slot(batch, s, request);
    if (status) {
        vacate(s);
        return status;
    }
    tn_cache_truncate(&s->cache, common_tokens(s, request));
    memcpy(s->history, request->ids, (size_t)request->n_ids * sizeof *s->history);
    s->known = request->n_ids;
    s->request = *request;
    s->generated = (tn_generated){0};
    s->arrival = batch->arrivals++;
    s->busy = true;
    batch->counts.reused += s->cache.length;
    batch->counts.prompt += s->known - s->cache.length;
    return TN_OK;
}

/* ---- one pass ---- */

static slot *next_arrival(tn_batch *b, const slot *after) {
    slot *next = NULL;
    for (int i = 0; i < b->n_slots; i++) {
        slot *s = &b->slots[i];
        if (s->busy && (!after || s->arrival > after->arrival) && (!next || s->arrival < next->arrival)) next = s;
    }
    return next;
}

static int missing(const slot *s) { return s->known - s->cache.length; }

static void put_rows(tn_batch *b, slot *s) {
    b->fed[b->n_fed] = s;
    b->stretches[b->n_fed++] = (tn_stretch){&s->cache, s->rows};
    memcpy(b->ids + b->n_rows, s->history + s->cache.length, (size_t)s->rows * sizeof *b->ids);
    b->n_rows += s->rows;
}

/* One row for every text, and what is left of the chunk for prompts, first come first served. Texts that will be due
 * stand first. */
static void plan_pass(tn_batch *b) {
    int spare = TN_MAX(b->chunk - tn_batch_under_way(b), 0);
    b->n_fed = b->n_due = b->n_rows = 0;
    for (slot *s = next_arrival(b, NULL); s; s = next_arrival(b, s)) {
        s->rows = TN_MIN(missing(s), 1 + spare);
        spare -= s->rows - 1;
        if (s->rows == missing(s)) put_rows(b, s);
    }
    b->n_due = b->n_fed;
    for (slot *s = next_arrival(b, NULL); s; s = next_arrival(b, s))
        if (s->rows < missing(s)) put_rows(b, s);
}

/* The last rows of the stretches that are due: [1, n_due, C]. */
static tn_tensor *last_rows(tn_batch *b, const tn_tensor *hidden) {
    int c = tn_tensor_cols(hidden), row = -1;
    tn_real *last = tn_arena_array(tn_tape_step(b->tape), (size_t)(b->n_due * c), sizeof *last, "activations");
    if (!last) {
        tn_tape_fail(b->tape, TN_E_NOMEM);
        return tn_tape_empty(b->tape);
    }
    for (int i = 0; i < b->n_due; i++) {
        row += b->stretches[i].rows;
        memcpy(last + (int64_t)i * c, hidden->real + (int64_t)row * c, (size_t)c * sizeof *last);
    }
    return tn_tape_real(b->tape, 3, (const int[]){1, b->n_due, c}, last, false);
}

static tn_status run_pass(tn_batch *b, const tn_real **logits) {
    tn_model *model = b->loaded->model;
    tn_tape_begin(b->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *ids = tn_tape_ids(b->tape, 2, (const int[]){1, b->n_rows}, b->ids);
    tn_tensor *hidden = tn_model_hidden_batch(model, b->tape, ids, b->stretches, b->n_fed);
    TN_TRY(tn_tape_status(b->tape));
    b->counts.passes++;
    if (!b->n_due) return TN_OK;
    *logits = tn_model_logits(model, b->tape, last_rows(b, hidden))->real;
    return tn_tape_status(b->tape);
}

/* ---- the token that follows ---- */

static tn_status show(tn_batch *b, slot *s, int32_t id) {
    tn_buf_reset(&b->bytes);
    TN_TRY(tn_tokenizer_decode(b->loaded->tokenizer, id, false, &b->bytes));
    return tn_text_stream_put(&s->stream, tn_buf_text(&b->bytes), b->bytes.len);
}

/* Choose a token as tn_generate does; `ended` when the text has found its end. */
static tn_status write_token(tn_batch *b, slot *s, const tn_real *logits, bool *ended) {
    const tn_generate_options *o = &s->request.generate;
    const tn_place at = {s->history, s->known, s->known, b->allowed[o->ignore_eos]};
    tn_generated *g = &s->generated;
    int32_t id;
    *ended = true;
    g->reason = TN_STOP_LENGTH;
    if (g->tokens == o->max_tokens) return TN_OK;
    TN_TRY(tn_sampler_pick(s->sampler, logits, &at, &id));
    g->reason = TN_STOP_EOS;
    if (tn_tokenizer_is_stop(b->loaded->tokenizer, id)) return TN_OK;
    g->tokens++;
    b->counts.text++;
    TN_TRY(show(b, s, id));
    g->reason = TN_STOP_STRING;
    if (s->stream.stopped) return TN_OK;
    g->reason = TN_STOP_CONTEXT;
    if (s->known == b->context) return TN_OK;
    g->reason = TN_STOP_LENGTH;
    if (g->tokens == o->max_tokens) return TN_OK;
    s->history[s->known++] = id;
    *ended = false;
    return TN_OK;
}

static tn_status finish(slot *s, tn_status status) {
    if (!status) status = tn_text_stream_end(&s->stream);
    if (!status && s->stream.stopped) s->generated.reason = TN_STOP_STRING;
    s->generated.seconds = tn_clock_seconds() - s->start;
    vacate(s);
    return s->request.done(s->request.context, status, &s->generated);
}

tn_status tn_batch_step(tn_batch *batch) {
    int vocab = tn_model_get_config(batch->loaded->model)->vocab_size;
    const tn_real *logits = NULL;
    plan_pass(batch);
    if (!batch->n_fed) return TN_OK;
    TN_TRY(run_pass(batch, &logits));
    for (int i = 0; i < batch->n_due; i++) {
        slot *s = batch->fed[i];
        bool ended;
        if (!s->generated.tokens) s->start = tn_clock_seconds();
        tn_status status = write_token(batch, s, logits + (int64_t)i * vocab, &ended);
        if (status || ended) TN_TRY(finish(s, status));
    }
    return TN_OK;
}
