/* SPDX-License-Identifier: MIT */
#include "train/engine.h"

static tn_status build(tn_engine *e, const tn_run_config *config, const tn_course *course) {
    int blocks;
    TN_TRY(tn_train_recompute(&config->train, &blocks));
    tn_tape_set_backward(e->tape,
                         tn_train_backward(&config->train, config->model.quantization != TN_QUANTIZATION_NONE));
    TN_TRY(tn_method_make(&e->model, &e->trained, e->arena, config));
    tn_model_recompute(e->model, blocks);
    if (config->train.quant_warmup_tokens) TN_TRY(tn_model_allow_mixing(e->model));
    TN_TRY(tn_stepper_init(&e->stepper, e->arena, e->model, &e->trained, e->tape, config, course));
    return tn_diagnostics_create(&e->diagnostics, e->arena, e->model);
}

/* ---- the rehearsal ---- */

/* The pass of an evaluation: ops that keep something for the way back then take it from scratch. */
static tn_status pass_forward(tn_engine *e, const tn_run_config *config) {
    const int dims[2] = {config->train.batch_size, e->stepper.context};
    tn_tape_begin(e->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *ids = tn_tape_ids(e->tape, 2, dims, e->stepper.batch.tokens);
    tn_tensor *targets = tn_tape_ids(e->tape, 2, dims, e->stepper.batch.targets);
    tn_model_loss(e->model, e->tape, ids, targets, e->stepper.batch.first, (tn_loss_options){.divisor = 1});
    return tn_tape_status(e->tape);
}

/* Every kind of pass that the run will make. */
static tn_status pass_dry(tn_engine *e, const tn_run_config *config) {
    double sum;
    if (config->train.quant_warmup_tokens) {
        tn_model_assume(e->model, 0);
        TN_TRY(tn_stepper_pass(&e->stepper, 0, 0, 1, &sum));
        tn_model_assume(e->model, 1);
    }
    TN_TRY(tn_stepper_pass(&e->stepper, 0, 0, 1, &sum));
    return pass_forward(e, config);
}

static tn_status init_dry(tn_engine *e, const tn_run_config *config, const tn_course *course) {
    e->arena = tn_arena_create_virtual("model");
    e->tape = tn_tape_create_dry();
    if (!e->arena || !e->tape) return TN_E_NOMEM;
    TN_TRY(build(e, config, course));
    return pass_dry(e, config);
}

/* ---- the engine ---- */

static tn_status reserve(tn_engine *e, const tn_run_config *config, const tn_course *course) {
    tn_engine rehearsal = {0};
    tn_status status = init_dry(&rehearsal, config, course);
    if (!status) status = tn_arena_reserve(e->arena, tn_arena_peak(rehearsal.arena));
    if (!status) status = tn_tape_reserve(e->tape, rehearsal.tape);
    tn_engine_release(&rehearsal);
    return status;
}

tn_status tn_engine_init(tn_engine *e, tn_engine_kind kind, const tn_run_config *config, const tn_course *course) {
    if (kind == TN_ENGINE_DRY) return init_dry(e, config, course);
    e->arena = tn_arena_create("model");
    e->tape = tn_tape_create();
    if (!e->arena || !e->tape) return TN_E_NOMEM;
    TN_TRY(reserve(e, config, course));
    return build(e, config, course);
}

void tn_engine_count_memory(const tn_engine *e, tn_memory_table *table) {
    tn_memory_table_add_arena(table, e->arena);
    tn_memory_table_add_arena(table, tn_tape_step(e->tape));
    tn_memory_table_add_arena(table, tn_tape_scratch(e->tape));
    tn_memory_table_add_arena(table, tn_tape_gradients(e->tape));
}

void tn_engine_release(tn_engine *e) {
    tn_tape_free(e->tape);
    tn_arena_free(e->arena);
    *e = (tn_engine){0};
}
