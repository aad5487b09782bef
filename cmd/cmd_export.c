/* SPDX-License-Identifier: MIT
 * cmd_export.c - `tern export`: a model to a GGUF file, or a folder for transformers, or an adapter to what other tools
 * read, proven equal before it gets its name. */
#include "cmd/options.h"
#include "cmd/output_guard.h"
#include "models/adapter_export.h"
#include "models/hf_export.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

typedef struct settings {
    const char *output, *base;
    int type;  /* tn_export_type, then tn_hf_type, then tn_adapter_type */
    int table; /* tn_table_type */
    int dtype; /* of floats[] */
    int threads;
    bool json;
} settings;

static const char type_choices[] =
#define EXPORT_TYPE(name, ggml, file_type, help) "|" name
#include "models/export_types.def"
#undef EXPORT_TYPE
#define HF_TYPE(word, name, help) "|" word
#include "models/hf_types.def"
#undef HF_TYPE
#define ADAPTER_TYPE(word, name, help) "|" word
#include "models/adapter_types.def"
#undef ADAPTER_TYPE
    ;

static const tn_table_type floats[] = {TN_TABLE_F32, TN_TABLE_BF16};

static const char table_choices[] =
#define TABLE_TYPE(name, word, values, bytes) "|" word
#include "kernels/table_types.def"
#undef TABLE_TYPE
    ;

static const char about[] =
    "Write a model as a GGUF file, or as a folder for transformers, load it again, and compare token ids and logits\n"
    "with the source's. What differs is deleted.\nTypes:"
#define EXPORT_TYPE(name, ggml, file_type, help) "\n  " name ": " help
#include "models/export_types.def"
#undef EXPORT_TYPE
#define HF_TYPE(word, name, help) "\n  " word ": " help
#include "models/hf_types.def"
#undef HF_TYPE
#define ADAPTER_TYPE(word, name, help) "\n  " word ": " help
#include "models/adapter_types.def"
#undef ADAPTER_TYPE
    "\nAn adapter comes out of a run of `tern finetune` (method lora), a PEFT folder or a GGUF adapter.";

static tn_status print_report(const settings *s, const char *type, const tn_export_report *r) {
    if (s->json)
        return tn_cmd_print_json(json_pack("{s:o, s:o, s:s, s:I, s:i, s:i, s:i, s:f}", "path",
                                           tn_cmd_json_path(s->output), "source", tn_cmd_json_path(r->source), "type",
                                           type, "bytes", (json_int_t)r->bytes, "tensors", r->tensors, "equal_logits",
                                           r->logits, "equal_texts", r->texts, "greatest_difference", r->difference));
    TN_TRY(tn_cmd_print("%s: %s, %d tensors, %lld bytes\n", s->output, type, r->tensors, (long long)r->bytes));
    TN_TRY(tn_cmd_print("proven: loaded again, %d logits equal bit for bit, token ids of %d texts equal\n", r->logits,
                        r->texts));
    if (r->difference == 0) return TN_OK;
    return tn_cmd_print("what the file rounds moves logits by at most %.3g from the source's\n", r->difference);
}

static tn_status print_adapter(const settings *s, const char *type, const tn_adapter_report *r) {
    if (s->json)
        return tn_cmd_print_json(json_pack("{s:o, s:o, s:s, s:I, s:i, s:I, s:f}", "path", tn_cmd_json_path(s->output),
                                           "source", tn_cmd_json_path(r->source), "type", type, "bytes",
                                           (json_int_t)r->bytes, "pairs", r->pairs, "equal_numbers",
                                           (json_int_t)r->numbers, "greatest_difference", r->difference));
    TN_TRY(tn_cmd_print("%s: %s, %d pairs, %lld bytes\n", s->output, type, r->pairs, (long long)r->bytes));
    if (r->difference == 0)
        return tn_cmd_print("proven: loaded again, %lld numbers equal bit for bit\n", (long long)r->numbers);
    return tn_cmd_print("proven: loaded again, %lld numbers equal but for the rounding of B, at most %.3g of a number: "
                        "modules differ in alpha, and the file has one\n",
                        (long long)r->numbers, r->difference);
}

static bool is_adapter(const settings *s) { return s->type >= TN_EXPORT_TYPE_COUNT + TN_HF_TYPE_COUNT; }
static bool is_hf(const settings *s) { return s->type >= TN_EXPORT_TYPE_COUNT && !is_adapter(s); }

static tn_status export_adapter(const settings *s, const char *source) {
    const tn_adapter_type type = (tn_adapter_type)(s->type - TN_EXPORT_TYPE_COUNT - TN_HF_TYPE_COUNT);
    tn_adapter_report report;
    tn_adapter_origin origin;
    TN_TRY(tn_adapter_file_look(source, &origin));
    TN_TRY(tn_output_guard_model(s->output, s->base ? s->base : origin.base));
    TN_TRY(tn_adapter_export(source, s->base, s->output, type, &report));
    return print_adapter(s, tn_adapter_type_name(type), &report);
}

static tn_status run(const settings *s, const char *source) {
    tn_export_report report;
    TN_TRY(tn_output_guard_model(s->output, source));
    TN_TRY(tn_cmd_start_compute(s->threads));
    if (is_adapter(s)) return export_adapter(s, source);
    if (is_hf(s)) {
        const tn_hf_type type = (tn_hf_type)(s->type - TN_EXPORT_TYPE_COUNT);
        TN_TRY(tn_export_hf(source, s->output, (tn_hf_export_options){type, floats[s->dtype]}, &report));
        return print_report(s, tn_hf_type_name(type), &report);
    }
    const tn_export_type type = (tn_export_type)s->type;
    TN_TRY(tn_export(source, s->output, (tn_export_options){type, (tn_table_type)s->table}, &report));
    return print_report(s, tn_export_type_name(type), &report);
}

static int check(const settings *s) {
    if (!s->output) return tn_cmd_usage_error("-o is missing: the GGUF file or folder to write");
    if (s->base && !is_adapter(s)) return tn_cmd_usage_error("--base: is for peft and gguf-lora");
    if (is_adapter(s) && (s->table || s->dtype)) return tn_cmd_usage_error("adapters are written as f32");
    if (is_hf(s) && s->table) return tn_cmd_usage_error("--embedding-type: is for GGUF files, here it is --dtype");
    if (!is_hf(s) && s->dtype) return tn_cmd_usage_error("--dtype: is for hf and hf-packed, here it is --type");
    return TN_OPTIONS_GO;
}

int tn_cmd_export(int argc, char **argv) {
    settings s = {0};
    const tn_option options[] = {
        {"type|q", 0, TN_OPT_CHOICE, &s.type, "T", "one of the types above", 0, 0, type_choices + 1},
        {"output|outfile", 'o', TN_OPT_TEXT, &s.output, "F", "the GGUF file or folder to write", 0, 0, NULL},
        {"embedding-type|embed-type|token-embedding-type", 0, TN_OPT_CHOICE, &s.table, "T",
         "of the embedding; f32 is exact", 0, 0, table_choices + 1},
        {"dtype", 0, TN_OPT_CHOICE, &s.dtype, "T", "of the floats of hf and hf-packed; f32 is exact", 0, 0, "f32|bf16"},
        {"base", 0, TN_OPT_TEXT, &s.base, "M", "the model of an adapter that does not name its own", 0, 0, NULL},
        TN_OPTION_THREADS(&s.threads),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "export",
        .synopsis = "MODEL -o OUT [--type T]",
        .about = about,
        .options = options,
        .min_arguments = 1,
        .max_arguments = 1,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status == TN_OPTIONS_GO) status = check(&s);
    if (status != TN_OPTIONS_GO) return status;
    tn_status done = run(&s, argv[1]);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}
