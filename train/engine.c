/* SPDX-License-Identifier: MIT */
#include "train/engine.h"

#include "train/teacher.h"

static tn_status make_objective(tn_engine *e, const tn_run_config *config, const tn_course *course) {
    const tn_finetune_config *f = &config->finetune;
    if (config->teacher) TN_TRY(tn_teacher_make(&e->teacher, e->teacher_arena, config));
    const tn_objective_settings settings = {.kind = (tn_objective_kind)f->objective,
                                            .z_loss = config->train.z_loss,
                                            .beta = f->dpo.beta,
                                            .teacher = e->teacher,
                                            .teacher_tape = e->teacher_tape,
                                            .temperature = f->distill.temperature,
                                            .weight = f->distill.weight};
    if (settings.kind == TN_OBJECTIVE_DPO) TN_TAKE0(e->references, e->arena, course->answers, "references");
    return tn_objective_init(&e->objective, e->arena, &settings,
                             (int64_t)config->train.batch_size * tn_run_config_row_length(config));
}

/* The gradient of a preference is a difference of sums over whole answers. The 12 bits of a head that is trained
 * (autograd/head_words.c) are too few for it: 6e-4 from PyTorch's gradients, where f32 is 1e-6 from them. */
static bool suits_integers(const tn_engine *e, const tn_run_config *config) {
    const bool trains_head = tn_model_head(e->model)->tensor.grad;
    const bool prefers = config->finetune.objective == TN_OBJECTIVE_DPO;
    return config->model.quantization != TN_QUANTIZATION_NONE && !(prefers && trains_head);
}

static tn_status build(tn_engine *e, const tn_run_config *config, const tn_course *course) {
    int blocks;
    TN_TRY(tn_train_recompute(&config->train, &blocks));
    TN_TRY(tn_method_make(&e->model, &e->trained, e->arena, config));
    tn_tape_set_backward(e->tape, tn_train_backward(&config->train, suits_integers(e, config)));
    tn_model_recompute(e->model, blocks);
    if (config->train.quant_warmup_tokens) TN_TRY(tn_model_allow_mixing(e->model));
    TN_TRY(make_objective(e, config, course));
    TN_TRY(tn_stepper_init(&e->stepper, e->arena, e->model, &e->trained, e->tape, &e->objective, config, course));
    e->stepper.references = e->references;
    return tn_diagnostics_create(&e->diagnostics, e->arena, e->model);
}

/* ---- the rehearsal ---- */

/* The pass of an evaluation: ops that keep something for the way back then take it from scratch. */
static tn_status pass_forward(tn_engine *e, const tn_run_config *config) {
    tn_objective_tally tally = {0};
    const tn_objective_pass pass = {.rows = config->train.batch_size,
                                    .context = e->stepper.context,
                                    .tokens = e->stepper.batch.tokens,
                                    .targets = e->stepper.batch.targets,
                                    .first = e->stepper.batch.first};
    return tn_objective_measure(&e->objective, e->model, e->tape, &pass, &tally);
}

/* Every kind of pass that the run will make. */
static tn_status pass_dry(tn_engine *e, const tn_run_config *config) {
    tn_objective_tally tally = {0};
    if (config->train.quant_warmup_tokens) {
        tn_model_assume(e->model, 0);
        TN_TRY(tn_stepper_pass(&e->stepper, 0, 0, 1, &tally));
        tn_model_assume(e->model, 1);
    }
    TN_TRY(tn_stepper_pass(&e->stepper, 0, 0, 1, &tally));
    return pass_forward(e, config);
}

static tn_status make_room(tn_arena **arena, tn_tape **tape, const char *name, tn_engine_kind kind) {
    const bool dry = kind == TN_ENGINE_DRY;
    *arena = dry ? tn_arena_create_virtual(name) : tn_arena_create(name);
    *tape = dry ? tn_tape_create_dry() : tn_tape_create();
    return *arena && *tape ? TN_OK : TN_E_NOMEM;
}

static tn_status make_rooms(tn_engine *e, tn_engine_kind kind, const tn_run_config *config) {
    TN_TRY(make_room(&e->arena, &e->tape, "model", kind));
    return config->teacher ? make_room(&e->teacher_arena, &e->teacher_tape, "teacher", kind) : TN_OK;
}

static tn_status init_dry(tn_engine *e, const tn_run_config *config, const tn_course *course) {
    TN_TRY(make_rooms(e, TN_ENGINE_DRY, config));
    TN_TRY(build(e, config, course));
    return pass_dry(e, config);
}

/* ---- the engine ---- */

static tn_status reserve_like(tn_engine *e, const tn_engine *rehearsal) {
    TN_TRY(tn_arena_reserve(e->arena, tn_arena_peak(rehearsal->arena)));
    TN_TRY(tn_tape_reserve(e->tape, rehearsal->tape));
    if (!e->teacher_arena) return TN_OK;
    TN_TRY(tn_arena_reserve(e->teacher_arena, tn_arena_peak(rehearsal->teacher_arena)));
    return tn_tape_reserve(e->teacher_tape, rehearsal->teacher_tape);
}

static tn_status reserve(tn_engine *e, const tn_run_config *config, const tn_course *course) {
    tn_engine rehearsal = {0};
    tn_status status = init_dry(&rehearsal, config, course);
    if (!status) status = reserve_like(e, &rehearsal);
    tn_engine_release(&rehearsal);
    return status;
}

tn_status tn_engine_init(tn_engine *e, tn_engine_kind kind, const tn_run_config *config, const tn_course *course) {
    if (kind == TN_ENGINE_DRY) return init_dry(e, config, course);
    TN_TRY(make_rooms(e, kind, config));
    TN_TRY(reserve(e, config, course));
    return build(e, config, course);
}

/* One line of the table: to its user a teacher is one thing. */
static void count_teacher(const tn_engine *e, tn_memory_table *table) {
    const tn_arena *arenas[] = {e->teacher_arena, tn_tape_step(e->teacher_tape), tn_tape_scratch(e->teacher_tape),
                                tn_tape_gradients(e->teacher_tape)};
    for (size_t i = 0; i < TN_COUNT(arenas); i++)
        tn_memory_table_add(table, "teacher", (int64_t)tn_arena_peak(arenas[i]));
}

void tn_engine_count_memory(const tn_engine *e, tn_memory_table *table) {
    tn_memory_table_add_arena(table, e->arena);
    tn_memory_table_add_arena(table, tn_tape_step(e->tape));
    tn_memory_table_add_arena(table, tn_tape_scratch(e->tape));
    tn_memory_table_add_arena(table, tn_tape_gradients(e->tape));
    if (e->teacher) count_teacher(e, table);
}

void tn_engine_release(tn_engine *e) {
    tn_tape_free(e->teacher_tape);
    tn_arena_free(e->teacher_arena);
    tn_tape_free(e->tape);
    tn_arena_free(e->arena);
    *e = (tn_engine){0};
}
