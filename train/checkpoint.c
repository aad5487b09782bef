/* SPDX-License-Identifier: MIT */
#include "train/checkpoint.h"

#include "formats/checkpoint_file.h"

#include <string.h>

/* ---- the state: a table like a configuration section, written as JSON, read as the YAML that JSON also is ---- */

static const tn_key state_keys[] = {
#define STATE(type, name, initial, help)                                                                               \
    {#name, TN_KEY_##type, offsetof(tn_train_state, name), initial, -0x1p63, 0x1p63, NULL, help},
#include "train/state.def"
#undef STATE
};

static tn_section state_section(tn_train_state *state) {
    return (tn_section){.name = "", .keys = state_keys, .n_keys = (int)TN_COUNT(state_keys), .values = state};
}

tn_status tn_train_state_init(tn_train_state *state, tn_arena *arena) {
    tn_section section = state_section(state);
    tn_config config = {.arena = arena, .sections = &section, .n_sections = 1};
    return tn_config_defaults(&config);
}

static tn_status put_count(tn_buf *out, int64_t value) { return tn_buf_printf(out, "%lld", (long long)value); }
static tn_status put_real(tn_buf *out, double value) { return tn_buf_printf(out, "%.17g", value); }
static tn_status put_text(tn_buf *out, const char *value) { return tn_buf_printf(out, "\"%s\"", value); }

static tn_status write_state(const tn_train_state *state, tn_buf *out) {
    const char *between = "{";
#define put_COUNT put_count
#define put_REAL  put_real
#define put_TEXT  put_text
#define STATE(type, name, initial, help)                                                                               \
    TN_TRY(tn_buf_printf(out, "%s\"%s\": ", between, #name));                                                          \
    TN_TRY(put_##type(out, state->name));                                                                              \
    between = ", ";
#include "train/state.def"
#undef STATE
    return tn_buf_puts(out, "}\n");
}

static tn_status read_state(tn_train_state *state, tn_arena *arena, const char *path, const tn_buf *text) {
    tn_section section = state_section(state);
    tn_config config = {.arena = arena, .sections = &section, .n_sections = 1};
    TN_TRY(tn_config_defaults(&config));
    return tn_config_load_text(&config, path, tn_buf_text(text), text->len);
}

/* ---- values: files hold f32, whatever tn_real is ---- */

#ifdef TN_F64
static float *to_file(tn_arena *arena, const tn_real *values, int64_t count) {
    float *out = tn_arena_array(arena, (size_t)count, sizeof *out, "checkpoint");
    for (int64_t i = 0; out && i < count; i++) out[i] = (float)values[i];
    return out;
}

static float *from_file(tn_arena *arena, tn_real *values, int64_t count) {
    (void)values;
    return tn_arena_array(arena, (size_t)count, sizeof(float), "checkpoint");
}

static void settle(tn_real *values, const float *read, int64_t count) {
    for (int64_t i = 0; i < count; i++) values[i] = (tn_real)read[i];
}
#else
static const float *to_file(tn_arena *arena, const tn_real *values, int64_t count) {
    (void)arena;
    (void)count;
    return values;
}

static float *from_file(tn_arena *arena, tn_real *values, int64_t count) {
    (void)arena;
    (void)count;
    return values;
}

static void settle(tn_real *values, const float *read, int64_t count) {
    (void)values;
    (void)read;
    (void)count;
}
#endif

/* ---- writing ---- */

static tn_status put_params(tn_ckpt *file, const tn_checkpoint *c, tn_arena *arena) {
    tn_param *const *params = c->trained->list;
    for (int i = 0; i < c->trained->count; i++) {
        const float *values = to_file(arena, params[i]->tensor.real, tn_param_count(params[i]));
        if (!values) return TN_E_NOMEM;
        TN_TRY(tn_ckpt_put_param(file, params[i]->name, params[i]->rows, params[i]->cols, values));
        tn_arena_reset(arena);
    }
    return TN_OK;
}

static tn_status put_slots(tn_ckpt *file, const tn_checkpoint *c, tn_arena *arena) {
    for (int i = 0; i < tn_optimizer_slot_count(c->optimizer); i++) {
        tn_slot slot = tn_optimizer_slot(c->optimizer, i);
        if (slot.type == TN_SLOT_CODE) {
            TN_TRY(tn_ckpt_put_slot(file, slot.name, slot.param->name, TN_CKPT_U8, slot.count, slot.codes));
            continue;
        }
        const float *values = to_file(arena, slot.values, slot.count);
        if (!values) return TN_E_NOMEM;
        TN_TRY(tn_ckpt_put_slot(file, slot.name, slot.param->name, TN_CKPT_F32, slot.count, values));
        tn_arena_reset(arena);
    }
    return TN_OK;
}

static tn_status put_texts(tn_ckpt *file, const tn_checkpoint *c, tn_buf *text) {
    TN_TRY(tn_config_dump(&c->config->config, text));
    TN_TRY(tn_ckpt_put_text(file, TN_CKPT_CONFIG, tn_buf_text(text), text->len));
    tn_buf_reset(text);
    TN_TRY(tn_tokenizer_to_json(c->tokenizer, text));
    TN_TRY(tn_ckpt_put_text(file, TN_CKPT_TOKENIZER, tn_buf_text(text), text->len));
    tn_buf_reset(text);
    TN_TRY(write_state(c->state, text));
    return tn_ckpt_put_text(file, TN_CKPT_STATE, tn_buf_text(text), text->len);
}

static tn_status write_parts(tn_ckpt *file, const tn_checkpoint *c, tn_arena *arena, tn_buf *text) {
    TN_TRY(tn_ckpt_put_int(file, "step", c->state->step));
    TN_TRY(put_params(file, c, arena));
    TN_TRY(put_slots(file, c, arena));
    if (c->references) TN_TRY(tn_ckpt_put_references(file, c->n_references, c->references));
    return put_texts(file, c, text);
}

tn_status tn_checkpoint_save(const tn_checkpoint *c, const char *path) {
    if (!tn_optimizer_params_finite(c->optimizer))
        return TN_FAIL(NAN, "%s: not written, because a weight is not a finite number", path);
    c->state->updates = tn_optimizer_updates(c->optimizer);
    tn_arena *arena = tn_arena_create("checkpoint");
    if (!arena) return TN_E_NOMEM;
    tn_buf text = {0};
    tn_ckpt *file = NULL;
    tn_status status = tn_ckpt_create(&file, path);
    if (!status) status = write_parts(file, c, arena, &text);
    if (!status)
        status = tn_ckpt_commit(file);
    else
        tn_ckpt_close(file);
    tn_buf_release(&text);
    tn_arena_free(arena);
    return status;
}

/* ---- reading ---- */

static tn_status get_params(tn_ckpt *file, const tn_checkpoint *c, tn_arena *arena) {
    tn_param *const *params = c->trained->list;
    for (int i = 0; i < c->trained->count; i++) {
        tn_real *values = params[i]->tensor.real;
        float *read = from_file(arena, values, tn_param_count(params[i]));
        if (!read) return TN_E_NOMEM;
        TN_TRY(tn_ckpt_get_param(file, params[i]->name, params[i]->rows, params[i]->cols, read));
        settle(values, read, tn_param_count(params[i]));
        tn_arena_reset(arena);
    }
    return TN_OK;
}

static tn_status get_slots(tn_ckpt *file, const tn_checkpoint *c, tn_arena *arena) {
    for (int i = 0; i < tn_optimizer_slot_count(c->optimizer); i++) {
        tn_slot slot = tn_optimizer_slot(c->optimizer, i);
        if (slot.type == TN_SLOT_CODE) {
            TN_TRY(tn_ckpt_get_slot(file, slot.name, slot.param->name, TN_CKPT_U8, slot.count, slot.codes));
            continue;
        }
        float *read = from_file(arena, slot.values, slot.count);
        if (!read) return TN_E_NOMEM;
        TN_TRY(tn_ckpt_get_slot(file, slot.name, slot.param->name, TN_CKPT_F32, slot.count, read));
        settle(slot.values, read, slot.count);
        tn_arena_reset(arena);
    }
    return TN_OK;
}

static tn_status compare_data(const char *path, const char *what, const char *theirs, const char *mine) {
    if (strcmp(theirs, mine) == 0) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: the %s data are not those the run began with (fingerprint %s, not %s)", path, what,
                   *mine ? mine : "none", *theirs ? theirs : "none");
}

static tn_status compare_base(const char *path, const char *theirs, const tn_checkpoint *c) {
    if (strcmp(theirs, c->state->base_id) == 0) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: %s is not the base that the run began with (fingerprint %s, not %s)", path,
                   c->config->base ? c->config->based.base : "a new model",
                   *c->state->base_id ? c->state->base_id : "none", *theirs ? theirs : "none");
}

static tn_status compare_teacher(const char *path, const char *theirs, const tn_checkpoint *c) {
    if (strcmp(theirs, c->state->teacher_id) == 0) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: %s is not the teacher that the run began with (fingerprint %s, not %s)", path,
                   c->config->finetune.distill.teacher, c->state->teacher_id, theirs);
}

static tn_status get_state(tn_ckpt *file, const tn_checkpoint *c, const char *path, tn_buf *text) {
    tn_buf_reset(text);
    TN_TRY(tn_ckpt_get_text(file, TN_CKPT_CONFIG, text));
    TN_TRY(tn_run_config_compare(c->config, path, tn_buf_text(text), text->len));
    tn_buf_reset(text);
    TN_TRY(tn_ckpt_get_text(file, TN_CKPT_STATE, text));
    tn_train_state read;
    TN_TRY(read_state(&read, c->arena, path, text));
    TN_TRY(compare_base(path, read.base_id, c));
    TN_TRY(compare_teacher(path, read.teacher_id, c));
    TN_TRY(compare_data(path, "training", read.train_id, c->state->train_id));
    TN_TRY(compare_data(path, "held-out", read.validation_id, c->state->validation_id));
    *c->state = read;
    tn_optimizer_set_updates(c->optimizer, read.updates);
    return TN_OK;
}

tn_status tn_checkpoint_load(const tn_checkpoint *c, const char *path) {
    tn_ckpt *file;
    TN_TRY(tn_ckpt_open(&file, path));
    tn_arena *arena = tn_arena_create("checkpoint");
    tn_buf text = {0};
    tn_status status = arena ? get_state(file, c, path, &text) : TN_E_NOMEM;
    if (!status) status = get_params(file, c, arena);
    if (!status) status = get_slots(file, c, arena);
    if (!status && c->references) status = tn_ckpt_get_references(file, c->n_references, c->references);
    tn_buf_release(&text);
    tn_arena_free(arena);
    tn_ckpt_close(file);
    return status;
}
