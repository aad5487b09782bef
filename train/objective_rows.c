/* SPDX-License-Identifier: MIT */
#include "train/objective_rows.h"

static bool compares(const tn_batches *b) {
    const tn_row_kind kind = tn_store_kind(b->store);
    return kind == TN_ROW_PREFERENCE || kind == TN_ROW_KTO;
}

tn_status tn_objective_check_rows(tn_objective_kind objective, const tn_batches *b) {
    const char *name = tn_store_name(b->store), *kind = tn_store_kind_name(b->store);
    if (objective != TN_OBJECTIVE_DPO) {
        if (!compares(b)) return TN_OK;
        return TN_FAIL(CONFIG,
                       "%s has rows of kind %s, which compare answers; training on all of them would learn the bad "
                       "ones too",
                       name, kind);
    }
    if (tn_store_kind(b->store) != TN_ROW_PREFERENCE)
        return TN_FAIL(CONFIG, "%s has rows of kind %s; dpo learns from rows with prompt, chosen and rejected", name,
                       kind);
    if (!b->packing || !b->document_mask)
        return TN_FAIL(CONFIG, "data.document_mask is false, but to dpo each answer must stand for itself");
    return TN_OK;
}

/* ---- rows in the order of validation ---- */

typedef struct walk {
    tn_objective *objective;
    tn_model *model;
    tn_tape *tape;
    const tn_batches *batches;
    const double *references; /* or NULL */
    tn_batch batch;
    tn_objective_pass pass;
} walk;

typedef tn_status visit_pass(void *context, const walk *w);

static tn_status take_room(walk *w, tn_arena *arena, int rows) {
    const int64_t places = (int64_t)rows * w->batches->context;
    TN_TAKE(w->batch.tokens, arena, places, "batch");
    TN_TAKE(w->batch.targets, arena, places, "batch");
    if (w->batches->packing) TN_TAKE(w->batch.first, arena, places, "batch");
    if (w->objective->settings.kind == TN_OBJECTIVE_DPO) TN_TAKE(w->pass.pairs, arena, places / 2, "batch");
    return TN_OK;
}

static void lay_out(walk *w, int64_t row, int rows) {
    tn_objective_pass *pass = &w->pass;
    tn_batches_cover(w->batches, row, rows, &w->batch);
    pass->rows = rows;
    pass->context = w->batches->context;
    pass->tokens = w->batch.tokens;
    pass->targets = w->batch.targets;
    pass->first = w->batch.first;
    pass->n_pairs = 0;
    for (int i = 0; i < rows && pass->pairs; i++)
        tn_pairs_of_row(pass->pairs, &pass->n_pairs, tn_batches_cover_row(w->batches, row + i),
                        (int64_t)i * pass->context, w->references);
}

static tn_status visit_rows(walk *w, int rows, int64_t max_batches, visit_pass *visit, void *context) {
    int64_t count = tn_batches_cover_count(w->batches);
    if (max_batches) count = TN_MIN(count, max_batches * rows);
    for (int64_t row = 0; row < count; row += rows) {
        lay_out(w, row, (int)TN_MIN(count - row, (int64_t)rows));
        TN_TRY(visit(context, w));
    }
    return TN_OK;
}

static tn_status run(walk *w, int rows, int64_t max_batches, visit_pass *visit, void *context) {
    tn_arena *arena = tn_arena_create("evaluation");
    if (!arena) return TN_E_NOMEM;
    tn_status status = take_room(w, arena, rows);
    if (!status) status = visit_rows(w, rows, max_batches, visit, context);
    tn_arena_free(arena);
    return status;
}

/* ---- what is done with them ---- */

typedef struct measure {
    tn_objective_tally tally;
    int64_t counted;
} measure;

static tn_status measure_pass(void *context, const walk *w) {
    measure *m = context;
    m->counted += tn_objective_count(w->objective, &w->pass);
    return tn_objective_measure(w->objective, w->model, w->tape, &w->pass, &m->tally);
}

tn_status tn_objective_evaluate(tn_objective_tally *tally, int64_t *counted, tn_objective *objective, tn_model *model,
                                tn_tape *tape, const tn_batches *batches, const double *references, int rows,
                                int64_t max_batches) {
    walk w = {.objective = objective, .model = model, .tape = tape, .batches = batches, .references = references};
    measure m = {0};
    TN_TRY(run(&w, rows, max_batches, measure_pass, &m));
    *tally = m.tally;
    *counted = m.counted;
    return TN_OK;
}

static tn_status refer_pass(void *context, const walk *w) {
    double *references = context;
    TN_TRY(tn_objective_refer(w->objective, w->model, w->tape, &w->pass));
    for (int i = 0; i < w->pass.n_pairs; i++) {
        const tn_pair *pair = &w->pass.pairs[i];
        references[pair->chosen.document] = pair->chosen.reference;
        references[pair->rejected.document] = pair->rejected.reference;
    }
    return TN_OK;
}

tn_status tn_objective_refer_rows(double *references, tn_objective *objective, tn_model *model, tn_tape *tape,
                                  const tn_batches *batches, int rows) {
    walk w = {.objective = objective, .model = model, .tape = tape, .batches = batches};
    return run(&w, rows, 0, refer_pass, references);
}
