/* SPDX-License-Identifier: MIT
 * cmd_make_dummy.c - `tern make-dummy`: a model of random weights to measure with. */
#include "cmd/options.h"
#include "core/fs.h"
#include "models/make_dummy.h"
#include "train/run_config.h"

#include <jansson.h>
#include <string.h>

typedef struct settings {
    const char *config, *output;
    tn_option_list sets;
    int type, table, threads;
    int64_t seed;
    bool size_only, json;
} settings;

static const char type_choices[] =
#define EXPORT_TYPE(name, ggml, file_type, help) "|" name
#include "models/export_types.def"
#undef EXPORT_TYPE
    ;

static const char table_choices[] =
#define TABLE_TYPE(name, word, values, bytes) "|" word
#include "kernels/table_types.def"
#undef TABLE_TYPE
    ;

static tn_status load_config(tn_run_config *config, const settings *s, tn_arena *arena) {
    TN_TRY(tn_run_config_init(config, arena));
    if (s->config) TN_TRY(tn_config_load_file(&config->config, s->config));
    for (int i = 0; i < s->sets.count; i++) TN_TRY(tn_config_set(&config->config, s->sets.items[i]));
    return tn_model_config_complete(&config->model);
}

static tn_status report(const settings *s, const tn_model_config *model, int64_t bytes) {
    const int64_t parameters = tn_model_config_counts(model).total;
    if (s->json)
        return tn_cmd_print_json(json_pack("{s:o, s:I, s:I}", "path",
                                           s->size_only ? json_null() : tn_cmd_json_path(s->output), "bytes",
                                           (json_int_t)bytes, "parameters", (json_int_t)parameters));
    return tn_cmd_print("%s: %.1f million parameters, %lld bytes\n", s->size_only ? "no file" : s->output,
                        (double)parameters / 1e6, (long long)bytes);
}

static tn_status run(const settings *s, tn_arena *arena) {
    tn_run_config config;
    const tn_dummy_options options = {
        .type = (tn_export_type)s->type, .table = (tn_table_type)s->table, .seed = (uint64_t)s->seed};
    int64_t bytes;
    TN_TRY(tn_cmd_start_compute(s->threads));
    TN_TRY(load_config(&config, s, arena));
    TN_TRY(tn_dummy_bytes(&config.model, options, &bytes));
    if (!s->size_only) TN_TRY(tn_make_dummy(&config.model, options, s->output));
    return report(s, &config.model, bytes);
}

int tn_cmd_make_dummy(int argc, char **argv) {
    settings s = {.type = TN_EXPORT_I2_S, .table = TN_TABLE_Q6_K};
    const tn_option options[] = {
        {"config", 0, TN_OPT_TEXT, &s.config, "F", "its model section gives the shape", 0, 0, NULL},
        {"set", 0, TN_OPT_LIST, &s.sets, "KEY=VALUE", "change a setting of the model; may be repeated", 0, 0, NULL},
        {"output|outfile", 'o', TN_OPT_TEXT, &s.output, "F", "the GGUF file to write", 0, 0, NULL},
        {"type|q", 0, TN_OPT_CHOICE, &s.type, "T", "of the ternary matrices", 0, 0, type_choices + 1},
        {"embedding-type|embed-type|token-embedding-type", 0, TN_OPT_CHOICE, &s.table, "T", "of the embedding", 0, 0,
         table_choices + 1},
        {"seed", 's', TN_OPT_COUNT, &s.seed, "S", "same seed, same file", 0, 9e15, NULL},
        {"size-only", 0, TN_OPT_ON, &s.size_only, NULL, "write nothing, tell how large it would be", 0, 0, NULL},
        TN_OPTION_THREADS(&s.threads),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "make-dummy",
        .synopsis = "--config F -o OUT.gguf",
        .about = "Write a model of random ternary weights, of any shape, to measure with.",
        .options = options,
    };
    const int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (!s.output && !s.size_only) return tn_cmd_usage_error("-o is missing: the GGUF file to write");
    if (s.output && strcmp(s.output, "-") == 0) return tn_cmd_usage_error("-o -: a model is written to a file");
    tn_arena *arena = tn_arena_create("dummy");
    const tn_status done = arena ? run(&s, arena) : TN_E_NOMEM;
    tn_arena_free(arena);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}
