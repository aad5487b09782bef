/* SPDX-License-Identifier: MIT */
#include "cmd/lora_options.h"

#include "core/fs.h"
#include "core/log.h"
#include "models/adapter_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const double MOST_SCALE = 1e4;

/* ---- what was given ---- */

static tn_status read_scale(const char *path, const char *text, double *out) {
    char what[128];
    snprintf(what, sizeof what, "--lora %.100s, its scale", path);
    return tn_parse_real(what, text, -MOST_SCALE, MOST_SCALE, out);
}

static bool is_same_file(const struct stat *a, const char *path) {
    struct stat b;
    return stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

static tn_status add(tn_lora_options *o, const char *path, double scale) {
    struct stat info;
    if (!*path) return TN_FAIL(CONFIG, "--lora: there is no name of a file at one side of a comma or colon");
    if (o->count == TN_LORA_MOST) return TN_FAIL(RANGE, "--lora: at most %d adapters can be given", TN_LORA_MOST);
    tn_lora *l = &o->list[o->count];
    if (snprintf(l->path, sizeof l->path, "%s", path) >= (int)sizeof l->path)
        return TN_FAIL(RANGE, "--lora %.60s...: the path is too long", path);
    if (stat(path, &info) != 0) return tn_fail_errno(path, "open");
    for (int i = 0; i < o->count; i++)
        if (is_same_file(&info, o->list[i].path))
            return TN_FAIL(ARG, "--lora %s: is given twice; give it once, with the scale that it is to have", path);
    l->scale = scale;
    o->count++;
    return TN_OK;
}

static tn_status add_scaled(tn_lora_options *o, char *text, char *colon) {
    double scale;
    *colon = '\0';
    TN_TRY(read_scale(text, colon + 1, &scale));
    return add(o, text, scale);
}

static bool is_number(const char *text) {
    char *end;
    (void)strtod(text, &end);
    return end != text && *end == '\0';
}

static bool leads_to_file(char *text, char *end) {
    const char kept = *end;
    *end = '\0';
    const bool is = tn_path_exists(text);
    *end = kept;
    return is;
}

/* What is there as a whole is a path, whatever characters it has; then FILE:SCALE of a file that is there; then a list.
 */
static tn_status add_each(tn_lora_options *o, char *text) {
    for (char *comma;; text = comma + 1) {
        char *colon = strrchr(text, ':');
        if (tn_path_exists(text)) return add(o, text, 1);
        if (colon && !strchr(colon, ',') && leads_to_file(text, colon)) return add_scaled(o, text, colon);
        comma = strchr(text, ',');
        if (comma) *comma = '\0';
        colon = strrchr(text, ':');
        const bool scaled = colon && !tn_path_exists(text) && (leads_to_file(text, colon) || is_number(colon + 1));
        TN_TRY(scaled ? add_scaled(o, text, colon) : add(o, text, 1));
        if (!comma) return TN_OK;
    }
}

tn_status tn_lora_open(tn_lora_options *o, tn_arena *arena) {
    TN_TAKE0(o->list, arena, TN_LORA_MOST, "adapter");
    for (int i = 0; i < o->given.count; i++) {
        tn_buf text = {0};
        tn_status status = tn_buf_puts(&text, o->given.items[i]);
        if (!status) status = add_each(o, text.data);
        tn_buf_release(&text);
        TN_TRY(status);
    }
    for (int i = 0; i < o->count && o->idle; i++) o->list[i].scale = 0;
    return TN_OK;
}

/* ---- beside a model ---- */

static void describe(const tn_lora *l) {
    tn_log(TN_LOG_INFO, "lora", "%s: %s, scale %g", l->path, l->description, l->scale);
}

/* A run of `tern finetune` brings an adapter of its own, and so may its base. */
static void list_own(tn_lora_options *o, const tn_loaded *loaded, tn_adapter *adapter) {
    tn_lora *l = &o->list[o->count++];
    *l = (tn_lora){.scale = (double)adapter->scale, .adapter = adapter};
    snprintf(l->path, sizeof l->path, "%s", loaded->path);
    snprintf(l->description, sizeof l->description, "an adapter of the model itself");
}

/* All of them before the first is attached: they are compared with the model as it is. */
tn_status tn_lora_load(tn_lora_options *o, tn_arena *arena, const tn_loaded *loaded) {
    tn_adapter_base base = {.config = tn_model_get_config(loaded->model), .model = loaded->model};
    for (int i = 0; i < o->count; i++) {
        tn_adapter_origin origin;
        tn_lora *l = &o->list[i];
        TN_TRY(tn_adapter_file_load(&l->adapter, arena, l->path, &base, &origin));
        memcpy(l->description, origin.description, sizeof l->description);
        describe(l);
    }
    const int given = o->count;
    for (tn_adapter *a = tn_model_adapters(loaded->model); a && o->count < TN_LORA_MOST; a = a->next)
        list_own(o, loaded, a);
    for (int i = 0; i < given; i++) TN_TRY(tn_model_attach(loaded->model, o->list[i].adapter, o->list[i].scale));
    return TN_OK;
}

/* ---- by name ---- */

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static bool is_called(const tn_lora_options *o, int i, const char *name) {
    char number[16];
    snprintf(number, sizeof number, "%d", i);
    const tn_lora *l = &o->list[i];
    return strcmp(number, name) == 0 || strcmp(l->path, name) == 0 || strcmp(last_part(l->path), name) == 0;
}

tn_status tn_lora_find(const tn_lora_options *o, const char *name, tn_lora **out) {
    *out = NULL;
    for (int i = 0; i < o->count; i++) {
        if (!is_called(o, i, name)) continue;
        if (*out) return TN_FAIL(ARG, "more than one adapter is called %.60s; its number tells which", name);
        *out = &o->list[i];
    }
    if (*out) return TN_OK;
    if (!o->count) return TN_FAIL(MISSING, "there are no adapters; --lora FILE brings one");
    return TN_FAIL(MISSING, "there is no adapter %.60s, expected 0 to %d or the name of a file", name, o->count - 1);
}

tn_status tn_lora_set_scale(tn_lora *lora, tn_model *model, const char *scale) {
    TN_TRY(read_scale(lora->path, scale, &lora->scale));
    return tn_model_attach(model, lora->adapter, lora->scale);
}
