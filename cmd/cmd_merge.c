/* SPDX-License-Identifier: MIT
 * cmd_merge.c - `tern merge`: adapters added to the weights of their base, and what of that a ternary base would lose.
 */
#include "cmd/lora_options.h"
#include "cmd/output_guard.h"
#include "models/adapter_file.h"
#include "models/hf_export.h"
#include "models/lora_merge_file.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

typedef struct settings {
    const char *model, *output;
    tn_lora_options lora;
    int type; /* 0 = auto, then tn_export_type, then tn_hf_type */
    int threads;
    double max_loss;
    bool force, json;
} settings;

enum { AUTO, FIRST_EXPORT, FIRST_HF = FIRST_EXPORT + TN_EXPORT_TYPE_COUNT };

static const char type_choices[] = "auto"
#define EXPORT_TYPE(name, ggml, file_type, help) "|" name
#include "models/export_types.def"
#undef EXPORT_TYPE
#define HF_TYPE(word, name, help) "|" word
#include "models/hf_types.def"
#undef HF_TYPE
    ;

static const char about[] =
    "Add adapters to the weights of their base, and write the model that this gives, proven as by tern export.\n"
    "A float twin takes the change as it is, and so do latents, which are written as a folder of type hf; the model\n"
    "that runs is their rounding, so compare it with the adapter beside its base (tern eval). A ternary base without\n"
    "latents takes the states nearest to the sum and keeps its scales: nearly all of a small change is rounded away,\n"
    "what is lost is told for each kind of matrix, and above --max-loss nothing is written.\n"
    "--lora alone merges into the base that the adapter names.";

/* One merge under way. */
typedef struct job {
    const settings *s;
    tn_arena *arena;
    char model[4096];
    bool ternary, latents;
    int type;
    tn_merge_job merge;
    tn_export_report report;
} job;

/* ---- what is merged into what ---- */

static tn_status find_model(job *j) {
    tn_adapter_origin origin;
    if (j->s->model) return snprintf(j->model, sizeof j->model, "%s", j->s->model), TN_OK;
    TN_TRY(tn_adapter_file_look(j->s->lora.list[0].path, &origin));
    if (!*origin.base)
        return TN_FAIL(CONFIG, "%s: does not say which model it was trained beside; give that with -m",
                       j->s->lora.list[0].path);
    snprintf(j->model, sizeof j->model, "%s", origin.base);
    return TN_OK;
}

static tn_status list_files(job *j) {
    tn_merge_file *files;
    TN_TAKE(files, j->arena, j->s->lora.count, "adapter");
    for (int i = 0; i < j->s->lora.count; i++)
        files[i] = (tn_merge_file){j->s->lora.list[i].path, j->s->lora.list[i].scale};
    j->merge.files = files;
    j->merge.n_files = j->s->lora.count;
    j->merge.max_loss = j->s->force ? (double)INFINITY : j->s->max_loss;
    return TN_OK;
}

static tn_status guard(const job *j) {
    for (int i = 0; i < j->s->lora.count; i++) TN_TRY(tn_output_guard_model(j->s->output, j->s->lora.list[i].path));
    return tn_output_guard_model(j->s->output, j->model);
}

static tn_status look_at_model(job *j) {
    tn_loaded loaded;
    TN_TRY(tn_model_file_open(j->model, &loaded));
    j->ternary = loaded.config.quantization != TN_QUANTIZATION_NONE;
    j->latents = j->ternary && loaded.has_latents;
    const bool folder = loaded.source == TN_SOURCE_HF;
    tn_loaded_release(&loaded);
    j->type = j->s->type;
    const int hf = FIRST_HF + TN_HF_TYPE_LATENTS;
    if (j->type == AUTO)
        j->type = j->latents || (!j->ternary && folder) ? hf
                  : j->ternary                          ? FIRST_EXPORT + TN_EXPORT_I2_S
                                                        : FIRST_EXPORT + TN_EXPORT_F32;
    if (j->latents && j->type != hf)
        return TN_FAIL(CONFIG,
                       "%s: has latents, into which adapters are merged whole: they are written with --type hf, "
                       "and tern export makes other files of that",
                       j->model);
    if (j->ternary && !j->latents && j->type == hf)
        return TN_FAIL(CONFIG, "%s: holds ternary weights, not the latents that --type hf writes; give hf-packed",
                       j->model);
    j->merge.keeps_latents = j->latents;
    return TN_OK;
}

/* ---- what is said ---- */

static tn_status print_sum(const job *j, const tn_merge_sum *sum) {
    if (!j->ternary) return tn_cmd_print("%-14s %5d matrices changed\n", sum->module, sum->matrices);
    return tn_cmd_print("%-14s %5d matrices  %8.4f %% of states flip  %6.2f %% %s\n", sum->module, sum->matrices,
                        sum->states ? 100.0 * (double)sum->flipped / (double)sum->states : 0.0,
                        100 * tn_merge_share_lost(sum),
                        j->latents ? "off the change, which the latents hold" : "of the change is lost");
}

static tn_status print_sums(const job *j) {
    const tn_merge_report *r = &j->merge.report;
    if (!r->all.matrices || j->s->json) return TN_OK;
    for (int i = 0; i < r->n_modules; i++) TN_TRY(print_sum(j, &r->modules[i]));
    return print_sum(j, &r->all);
}

static json_t *json_of(const tn_merge_sum *sum) {
    return json_pack("{s:s, s:i, s:I, s:I, s:f}", "module", sum->module, "matrices", sum->matrices, "states",
                     (json_int_t)sum->states, "flipped", (json_int_t)sum->flipped, "lost", tn_merge_share_lost(sum));
}

static const char *type_name(const job *j) {
    return j->type >= FIRST_HF ? tn_hf_type_name((tn_hf_type)(j->type - FIRST_HF))
                               : tn_export_type_name((tn_export_type)(j->type - FIRST_EXPORT));
}

static tn_status print_done(const job *j) {
    const tn_merge_report *r = &j->merge.report;
    if (!j->s->json) {
        TN_TRY(tn_cmd_print("%s: %s, %d tensors, %lld bytes\n", j->s->output, type_name(j), j->report.tensors,
                            (long long)j->report.bytes));
        TN_TRY(tn_cmd_print("proven: loaded again, %d logits equal bit for bit, token ids of %d texts equal\n",
                            j->report.logits, j->report.texts));
        if (j->report.difference == 0) return TN_OK;
        return tn_cmd_print("what the file rounds moves logits by at most %.3g from the merged model's\n",
                            j->report.difference);
    }
    json_t *modules = json_array();
    for (int i = 0; i < r->n_modules; i++) json_array_append_new(modules, json_of(&r->modules[i]));
    return tn_cmd_print_json(json_pack("{s:o, s:o, s:s, s:I, s:i, s:o, s:o}", "path", tn_cmd_json_path(j->s->output),
                                       "source", tn_cmd_json_path(j->report.source), "type", type_name(j), "bytes",
                                       (json_int_t)j->report.bytes, "equal_logits", j->report.logits, "all",
                                       json_of(&r->all), "modules", modules));
}

/* ---- all of it ---- */

static tn_status write_model(job *j) {
    const tn_model_use use = j->latents || !j->ternary ? TN_MODEL_EVAL : TN_MODEL_EXPORT;
    const tn_export_edit edit = {use, tn_merge_apply, &j->merge};
    if (j->type >= FIRST_HF) {
        const tn_hf_export_options options = {(tn_hf_type)(j->type - FIRST_HF), TN_TABLE_F32};
        return tn_export_hf_edited(j->model, j->s->output, options, &edit, &j->report);
    }
    const tn_export_options options = {(tn_export_type)(j->type - FIRST_EXPORT), TN_TABLE_F32};
    return tn_export_edited(j->model, j->s->output, options, &edit, &j->report);
}

static tn_status merge(job *j) {
    TN_TRY(find_model(j));
    TN_TRY(list_files(j));
    TN_TRY(guard(j));
    TN_TRY(look_at_model(j));
    TN_TRY(tn_cmd_start_compute(j->s->threads));
    tn_status status = write_model(j);
    TN_TRY(print_sums(j)); /* what is refused too: it says why */
    return status ? status : print_done(j);
}

static tn_status run(settings *s) {
    job *j = tn_heap_zalloc(1, sizeof *j);
    if (!j) return TN_E_NOMEM;
    j->s = s;
    j->arena = tn_arena_create("adapter");
    tn_status status = j->arena ? tn_lora_open(&s->lora, j->arena) : TN_E_NOMEM;
    if (!status) status = merge(j);
    tn_arena_free(j->arena);
    tn_heap_free(j);
    return status;
}

static int check(const settings *s) {
    if (!s->lora.given.count) return tn_cmd_usage_error("--lora is missing: the adapter to merge");
    if (!s->output) return tn_cmd_usage_error("-o is missing: the GGUF file or folder to write");
    return TN_OPTIONS_GO;
}

int tn_cmd_merge(int argc, char **argv) {
    settings s = {.max_loss = 0.05};
    const tn_option options[] = {
        {"model", 'm', TN_OPT_TEXT, &s.model, "M", "the base; as the adapter names it", 0, 0, NULL},
        {"lora|lora-scaled", 0, TN_OPT_LIST, &s.lora.given, "F[:SCALE]",
         "an adapter, for 1 or SCALE of what it says; repeatable", 0, 0, NULL},
        {"output|outfile", 'o', TN_OPT_TEXT, &s.output, "F", "the GGUF file or folder to write", 0, 0, NULL},
        {"type", 0, TN_OPT_CHOICE, &s.type, "T", "as for tern export; auto: one that keeps what the base has", 0, 0,
         type_choices},
        {"max-loss", 0, TN_OPT_REAL, &s.max_loss, "X", "share of the change that a ternary base may lose", 0, 1, NULL},
        {"force", 0, TN_OPT_ON, &s.force, NULL, "write it, whatever is lost", 0, 0, NULL},
        TN_OPTION_THREADS(&s.threads),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "merge",
        .synopsis = "[-m MODEL] --lora F[:SCALE] -o OUT",
        .about = about,
        .options = options,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status == TN_OPTIONS_GO) status = check(&s);
    if (status != TN_OPTIONS_GO) return status;
    tn_status done = run(&s);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}
