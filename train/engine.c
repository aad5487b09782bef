/* SPDX-License-Identifier: MIT */
#include "train/engine.h"

tn_status tn_engine_init(tn_engine *e, tn_engine_kind kind, const tn_run_config *config, const tn_course *course) {
    bool dry = kind == TN_ENGINE_DRY;
    e->arena = dry ? tn_arena_create_virtual("model") : tn_arena_create("model");
    e->tape = dry ? tn_tape_create_dry() : tn_tape_create();
    if (!e->arena || !e->tape) return TN_E_NOMEM;
    TN_TRY(tn_model_create(&e->model, e->arena, &config->model, TN_MODEL_TRAIN));
    if (config->train.quant_warmup_tokens) TN_TRY(tn_model_allow_mixing(e->model));
    TN_TRY(tn_stepper_init(&e->stepper, e->arena, e->model, e->tape, &config->train, course));
    return tn_diagnostics_create(&e->diagnostics, e->arena, e->model);
}

void tn_engine_release(tn_engine *e) {
    tn_tape_free(e->tape);
    tn_arena_free(e->arena);
    *e = (tn_engine){0};
}
