/* SPDX-License-Identifier: MIT
 * batch.c - texts that share each forward pass. A slot knows `known` tokens of its text and its cache has seen the
 * first of them; what is missing are rows of the next pass. A slot whose cache has caught up is due: it chooses a
 * token. */
#include "infer/batch.h"

#include <string.h>

#include "autograd/tape.h"
#include "core/clock.h"
#include "infer/writer.h"
#include "layers/adapter.h"

enum { DEFAULT_SLOTS = 8, DEFAULT_CHUNK = 512 };

typedef struct slot {
    bool busy;
    tn_cache cache;           /* memory is taken at the slot's first text */
    int32_t *history;         /* [context] */
    int known;                /* of the history; cache.length of them were fed */
    int rows;                 /* in the pass under way */
    int64_t arrival;          /* requests before this one */
    tn_batch_request request; /* its ids are in the history */
    tn_sampler *sampler;
    tn_writer writer;
} slot;

struct tn_batch {
    const tn_loaded *loaded;
    tn_arena *arena;
    tn_tape *tape;
    int n_slots, context, chunk;
    tn_kv_type kv;
    slot *slots;
    uint64_t adapter_changes; /* of the model when the caches were filled */
    tn_batch_counts counts;
    int64_t arrivals;
    /* ---- the pass under way ---- */
    int32_t *ids; /* [n_rows] */
    int n_rows, n_fed, n_due;
    tn_stretch *stretches; /* [n_fed] */
    slot **fed;            /* [n_fed] their slots, the n_due that are due first */
};

/* ---- life ---- */

static tn_status take_memory(tn_batch *b) {
    b->arena = tn_arena_create("batch");
    b->tape = tn_tape_create();
    if (!b->arena || !b->tape) return TN_E_NOMEM;
    TN_TAKE0(b->slots, b->arena, b->n_slots, "batch");
    TN_TAKE(b->ids, b->arena, b->chunk + b->n_slots, "batch");
    TN_TAKE(b->stretches, b->arena, b->n_slots, "batch");
    TN_TAKE(b->fed, b->arena, b->n_slots, "batch");
    return TN_OK;
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
    b->adapter_changes = tn_model_adapter_changes(loaded->model);
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

static tn_status vacate(slot *s, tn_status status) {
    tn_sampler_free(s->sampler);
    s->sampler = NULL;
    s->busy = false;
    return tn_writer_end(&s->writer, status);
}

void tn_batch_free(tn_batch *batch) {
    if (!batch) return;
    for (int i = 0; batch->slots && i < batch->n_slots; i++)
        if (batch->slots[i].busy) (void)vacate(&batch->slots[i], TN_E_STOPPED);
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

/* What the caches hold is of no use under other adapters: it goes, and texts under way are read again. */
static void forget_stale(tn_batch *b) {
    const uint64_t now = tn_model_adapter_changes(b->loaded->model);
    if (b->adapter_changes == now) return;
    b->adapter_changes = now;
    for (int i = 0; i < b->n_slots; i++)
        if (b->slots[i].history) tn_cache_truncate(&b->slots[i].cache, 0);
}

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
    if (!s->history) {
        TN_TRY(tn_cache_init(&s->cache, b->arena, config, b->kv, b->context));
        TN_TAKE(s->history, b->arena, b->context, "history");
    }
    return tn_sampler_create(&s->sampler, config->vocab_size, request->sampler);
}

tn_status tn_batch_add(tn_batch *batch, const tn_batch_request *request) {
    TN_TRY(check_prompt(batch, request));
    forget_stale(batch);
    slot *s = choose_slot(batch, request);
    TN_TRY(prepare_slot(batch, s, request));
    s->request = *request;
    tn_status status = tn_writer_begin(&s->writer, batch->loaded, &s->request.generate);
    if (status) return vacate(s, status);
    tn_cache_truncate(&s->cache, common_tokens(s, request));
    memcpy(s->history, request->ids, (size_t)request->n_ids * sizeof *s->history);
    s->known = request->n_ids;
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

/* ---- tokens ---- */

/* The token that follows a text that is due. */
static tn_status write_token(tn_batch *b, slot *s, const tn_real *logits) {
    tn_place at = {.history = s->history, .n = s->known, .position = s->known};
    int32_t id = 0;
    if (!s->writer.out.tokens) s->writer.start = tn_clock_seconds();
    if (!s->writer.ended) TN_TRY(tn_writer_allowed(&s->writer, &at.allowed));
    if (s->writer.ended) return TN_OK;
    TN_TRY(tn_sampler_pick(s->sampler, logits, &at, &id));
    TN_TRY(tn_writer_take(&s->writer, id, logits));
    if (!s->writer.ended && s->known == b->context) tn_writer_stop(&s->writer);
    if (!s->writer.ended) s->history[s->known++] = id;
    return TN_OK;
}

static tn_status finish(tn_batch *b, slot *s, tn_status status) {
    b->counts.text += s->writer.out.tokens;
    status = vacate(s, status);
    return s->request.done(s->request.context, status, &s->writer.out);
}

tn_status tn_batch_step(tn_batch *batch) {
    int vocab = tn_model_get_config(batch->loaded->model)->vocab_size;
    const tn_real *logits = NULL;
    forget_stale(batch);
    plan_pass(batch);
    if (!batch->n_fed) return TN_OK;
    TN_TRY(run_pass(batch, &logits));
    for (int i = 0; i < batch->n_due; i++) {
        slot *s = batch->fed[i];
        tn_status status = write_token(batch, s, logits + (int64_t)i * vocab);
        if (status || s->writer.ended) TN_TRY(finish(batch, s, status));
    }
    return TN_OK;
}
