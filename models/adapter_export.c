/* SPDX-License-Identifier: MIT
 * adapter_export.c - load, write under a temporary name, load again, compare, rename. */
#include "models/adapter_export.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/fs.h"
#include "models/adapter_writing.h"
#include "models/export.h"
#include "models/model_file.h"

static const char *const words[] = {
#define ADAPTER_TYPE(word, name, help) word,
#include "models/adapter_types.def"
#undef ADAPTER_TYPE
};

const char *tn_adapter_type_name(tn_adapter_type type) { return words[type]; }

typedef struct job {
    const char *source_path, *out_path;
    tn_adapter_type type;
    tn_arena *arena;
    tn_loaded loaded;
    tn_adapter_base base;
    tn_adapter *source, *copy;
    tn_adapter_origin origin, copied;
    tn_atomic file;
    tn_atomic_folder folder;
    tn_adapter_report *report;
} job;

/* ---- before writing ---- */

static tn_status open_base(job *j, const char *path) {
    TN_TRY(tn_adapter_file_look(j->source_path, &j->origin));
    if (!path && *j->origin.base) path = j->origin.base;
    if (!path)
        return TN_FAIL(CONFIG, "%s: does not say which model it was trained beside; give that with --base",
                       j->source_path);
    tn_status status = tn_model_file_load(path, j->arena, TN_MODEL_RUN, &j->loaded);
    if (status && path == j->origin.base)
        return tn_fail_at(status, __FILE__, __LINE__, "%s: its base cannot be read, give it with --base: %s",
                          j->source_path, tn_error_message());
    j->base = (tn_adapter_base){.config = &j->loaded.config, .model = j->loaded.model};
    return status;
}

static tn_status load_source(job *j, const char *base) {
    TN_TRY(tn_adapter_file_load(&j->source, j->arena, j->source_path, &j->base, &j->origin));
    if (!*j->origin.base && base) snprintf(j->origin.base, sizeof j->origin.base, "%s", base);
    if (!*j->base.id) TN_TRY(tn_model_fingerprint(j->base.model, j->base.id));
    memcpy(j->origin.base_id, j->base.id, sizeof j->origin.base_id);
    snprintf(j->report->source, sizeof j->report->source, "%s", j->origin.description);
    return TN_OK;
}

/* ---- writing ---- */

static bool is_folder(const job *j) { return j->type == TN_ADAPTER_TYPE_PEFT; }

/* Begun first: a place that cannot be written is known at once. */
static tn_status begin(job *j) {
    if (is_folder(j)) return tn_atomic_folder_begin(&j->folder, j->out_path, tn_peft_files, TN_PEFT_FILES);
    return tn_atomic_begin(&j->file, j->out_path);
}

static const char *temporary(const job *j) { return is_folder(j) ? j->folder.temp : j->file.temp; }

static tn_status write_gguf(job *j) {
    tn_buf name = {0};
    struct stat info;
    tn_status status = tn_export_name(j->out_path, &name);
    if (!status) status = tn_adapter_write_gguf(j->source, &j->origin, tn_buf_text(&name), j->file.temp);
    tn_buf_release(&name);
    TN_TRY(status);
    if (stat(j->file.temp, &info) != 0) return tn_fail_errno(j->file.temp, "look at");
    j->report->bytes = info.st_size;
    return TN_OK;
}

static tn_status write_it(job *j) {
    if (!is_folder(j)) return write_gguf(j);
    return tn_adapter_write_peft(j->source, &j->origin, j->folder.temp, &j->report->bytes);
}

/* ---- proving ---- */

/* What a file of one alpha rounds: B is multiplied, and divided again by whoever reads it. */
static const double rounded_twice = 0x1.8p-23;

static tn_status compare_half(job *j, const tn_param *a, const tn_param *b, bool rounded) {
    for (int64_t i = 0; i < tn_param_count(a); i++) {
        const double x = (double)a->tensor.real[i], y = (double)b->tensor.real[i];
        const double difference = x == y ? 0 : fabs(x - y) / fmax(fabs(x), 0x1p-126);
        if (difference > (rounded ? rounded_twice : 0))
            return TN_FAIL(MISMATCH, "%s: element %lld of %s is %.9g in the source and %.9g in the file", j->out_path,
                           (long long)i, a->name, x, y);
        j->report->difference = fmax(j->report->difference, difference);
    }
    j->report->numbers += tn_param_count(a);
    return TN_OK;
}

static tn_status compare_pair(job *j, const tn_adapter_pair *a, const tn_adapter_pair *b) {
    if (!b || a->rank != b->rank || a->c != b->c)
        return TN_FAIL(MISMATCH, "%s: the pair of %s is another than in the source", j->out_path, a->target);
    TN_TRY(compare_half(j, &a->a, &b->a, false));
    return compare_half(j, &a->b, &b->b, !is_folder(j));
}

static tn_status prove(job *j) {
    const tn_adapter *source = j->source;
    TN_TRY(tn_adapter_file_load(&j->copy, j->arena, temporary(j), &j->base, &j->copied));
    if (source->n_pairs != j->copy->n_pairs || source->options.input != j->copy->options.input ||
        source->options.dropout != j->copy->options.dropout)
        return TN_FAIL(MISMATCH, "%s: differs from the source in what its pairs are", j->out_path);
    for (int i = 0; i < source->n_pairs; i++)
        TN_TRY(compare_pair(j, &source->pairs[i], tn_adapter_find(j->copy, source->pairs[i].target)));
    j->report->pairs = source->n_pairs;
    return TN_OK;
}

static tn_status write_and_prove(job *j, const char *base) {
    TN_TRY(begin(j));
    TN_TRY(open_base(j, base));
    TN_TRY(load_source(j, base));
    TN_TRY(write_it(j));
    TN_TRY(prove(j));
    return is_folder(j) ? tn_atomic_folder_commit(&j->folder) : tn_atomic_commit(&j->file);
}

tn_status tn_adapter_export(const char *source, const char *base, const char *out, tn_adapter_type type,
                            tn_adapter_report *report) {
    job *j = tn_heap_zalloc(1, sizeof *j);
    if (!j) return TN_E_NOMEM;
    *report = (tn_adapter_report){0};
    *j = (job){.source_path = source, .out_path = out, .type = type, .report = report};
    j->arena = tn_arena_create("adapter");
    tn_status status = j->arena ? write_and_prove(j, base) : TN_E_NOMEM;
    tn_atomic_abort(&j->file);
    tn_atomic_folder_abort(&j->folder);
    tn_loaded_release(&j->loaded);
    tn_arena_free(j->arena);
    tn_heap_free(j);
    return status;
}
