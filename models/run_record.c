/* SPDX-License-Identifier: MIT */
#include "models/run_record.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/fs.h"
#include "models/stored.h"

/* ---- run folders ---- */

/* The file in `folder` that the first line of a pointer file names. */
static tn_status resolve(const char *pointer, const char *text, const char *folder, char path[TN_RUN_RECORD_PATH]) {
    char name[256];
    size_t len = strcspn(text, "\r\n");
    if (len == 0 || len >= sizeof name || memchr(text, '/', len))
        return TN_FAIL(CORRUPT, "%s: does not name a checkpoint of its folder", pointer);
    memcpy(name, text, len);
    name[len] = 0;
    return tn_path_join(path, TN_RUN_RECORD_PATH, folder, name);
}

/* The file that DIR/checkpoints/<name> names; *found is false when there is no such pointer. */
static tn_status follow(const char *dir, const char *name, char path[TN_RUN_RECORD_PATH], bool *found) {
    char folder[TN_RUN_RECORD_PATH], pointer[TN_RUN_RECORD_PATH];
    TN_TRY(tn_path_join(folder, sizeof folder, dir, "checkpoints"));
    TN_TRY(tn_path_join(pointer, sizeof pointer, folder, name));
    *found = tn_path_exists(pointer);
    if (!*found) return TN_OK;
    tn_buf text = {0};
    tn_status status = tn_file_read(pointer, TN_RUN_RECORD_PATH, &text);
    if (!status) status = resolve(pointer, tn_buf_text(&text), folder, path);
    tn_buf_release(&text);
    return status;
}

tn_status tn_run_record_find(const char *dir, char path[TN_RUN_RECORD_PATH], const char **which) {
    static const char *const pointers[] = {"best", "latest"};
    for (size_t i = 0; i < TN_COUNT(pointers); i++) {
        bool found;
        TN_TRY(follow(dir, pointers[i], path, &found));
        *which = pointers[i];
        if (found) return TN_OK;
    }
    return TN_FAIL(MISSING,
                   "%s: is a folder without checkpoints/best or checkpoints/latest, so no run of Tern, and without "
                   "config.json, so no model of Hugging Face",
                   dir);
}

/* ---- settings and state ---- */

static tn_status read_config(tn_run_record *record, tn_ckpt *ckpt, tn_buf *text) {
    tn_section sections[] = {tn_based_model_section(&record->model), tn_method_section(&record->tuning),
                             tn_lora_section(&record->tuning.lora)};
    tn_config config = {.arena = record->arena,
                        .sections = sections,
                        .n_sections = (int)TN_COUNT(sections),
                        .ignore_other_sections = true};
    TN_TRY(tn_config_defaults(&config));
    TN_TRY(tn_ckpt_get_text(ckpt, TN_CKPT_CONFIG, text));
    return tn_config_load_text(&config, tn_ckpt_path(ckpt), tn_buf_text(text), text->len);
}

static tn_status read_base_id(tn_run_record *record, tn_ckpt *ckpt, tn_buf *text) {
    tn_buf_reset(text);
    TN_TRY(tn_ckpt_get_text(ckpt, TN_CKPT_STATE, text));
    json_t *state = json_loadb(tn_buf_text(text), text->len, 0, NULL);
    const char *id = json_string_value(json_object_get(state, "base_id"));
    const bool known = id && strlen(id) + 1 >= TN_FINGERPRINT && strlen(id) < sizeof record->base_id;
    if (known) memcpy(record->base_id, id, strlen(id) + 1);
    json_decref(state);
    if (known) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: its state has no base_id, the fingerprint of the base %s", tn_ckpt_path(ckpt),
                   record->model.base);
}

tn_status tn_run_record_read(tn_run_record *record, tn_ckpt *ckpt) {
    tn_buf text = {0};
    *record = (tn_run_record){.arena = tn_arena_create("configuration")};
    tn_status status = record->arena ? read_config(record, ckpt, &text) : TN_E_NOMEM;
    if (!status && *record->model.base) status = read_base_id(record, ckpt, &text);
    tn_buf_release(&text);
    if (status) tn_run_record_release(record);
    return status;
}

void tn_run_record_release(tn_run_record *record) {
    tn_arena_free(record->arena);
    *record = (tn_run_record){0};
}

bool tn_run_record_is_part(const tn_run_record *record) {
    return *record->model.base && record->tuning.method != TN_METHOD_FULL;
}

bool tn_run_record_has_adapter(const tn_run_record *record) {
    return tn_run_record_is_part(record) && record->tuning.method != TN_METHOD_NORMS;
}

/* ---- numbers ---- */

tn_status tn_run_record_values(tn_ckpt *ckpt, const tn_param *param, float *room, tn_real *value) {
    TN_TRY(tn_ckpt_get_param(ckpt, param->name, param->rows, param->cols, room));
    bool finite = true;
    for (int64_t i = 0; i < tn_param_count(param); i++) {
        value[i] = (tn_real)room[i];
        finite &= isfinite(value[i]) != 0;
    }
    return finite ? TN_OK : tn_fail_not_finite(tn_ckpt_path(ckpt), param->name, 0, value);
}

static tn_status fill_half(tn_ckpt *ckpt, tn_param *half) {
    float *room = tn_heap_zalloc((size_t)tn_param_count(half), sizeof *room);
    tn_status status = room ? tn_run_record_values(ckpt, half, room, half->tensor.real) : TN_E_NOMEM;
    tn_heap_free(room);
    return status;
}

tn_status tn_run_record_adapter(const tn_run_record *record, tn_ckpt *ckpt, const tn_model_config *model,
                                tn_arena *arena, tn_adapter **out) {
    TN_TRY(tn_tuning_make_adapter(out, arena, model, &record->tuning, TN_PARAM_FIXED));
    for (int i = 0; i < (*out)->n_pairs; i++) {
        TN_TRY(fill_half(ckpt, &(*out)->pairs[i].a));
        TN_TRY(fill_half(ckpt, &(*out)->pairs[i].b));
    }
    return TN_OK;
}
