/* SPDX-License-Identifier: MIT */
#include "cmd/bench_infer_priv.h"
#include "cmd/bench_parts.h"
#include "cmd/run_presets.h"
#include "core/par.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"

#include <jansson.h>
#include <math.h>

/* ---- figures ---- */

static double rate_of(const tn_infer_test *t, double seconds) { return (double)tn_infer_test_tokens(t) / seconds; }

typedef struct spread {
    double seconds, seconds_deviation, rate, rate_deviation; /* means, as llama-bench prints them */
} spread;

static spread spread_of(const tn_infer_test *t) {
    spread s = {0};
    const int n = TN_MIN(t->runs, (int)TN_SAMPLES_MAX);
    for (int i = 0; i < n; i++) {
        s.seconds += t->first[i] / n;
        s.rate += rate_of(t, t->first[i]) / n;
    }
    for (int i = 0; i < n && n > 1; i++) {
        s.seconds_deviation += pow(t->first[i] - s.seconds, 2) / (n - 1);
        s.rate_deviation += pow(rate_of(t, t->first[i]) - s.rate, 2) / (n - 1);
    }
    s.seconds_deviation = sqrt(s.seconds_deviation);
    s.rate_deviation = sqrt(s.rate_deviation);
    return s;
}

static double median_rate(const tn_infer_test *t) { return rate_of(t, tn_samples_median(&t->seconds)); }

static const tn_infer_test *first_test(const tn_bench_infer_job *b, bool prompt) {
    for (int i = 0; i < b->n_tests; i++)
        if (b->tests[i].batch == 1 && (prompt ? !b->tests[i].generate : !b->tests[i].prompt)) return &b->tests[i];
    return NULL;
}

double tn_bench_infer_prompt_rate(const tn_bench_infer_job *b) {
    const tn_infer_test *t = first_test(b, true);
    return t ? median_rate(t) : 0;
}

double tn_bench_infer_text_rate(const tn_bench_infer_job *b) {
    const tn_infer_test *t = first_test(b, false);
    return t ? median_rate(t) : 0;
}

/* Of reading every weight once a token at the speed of memory; of the int8 peak. 0 without such a test. */
static double bandwidth_share(const tn_bench_infer_job *b) {
    return b->memory > 0 ? b->work.bytes * tn_bench_infer_text_rate(b) / b->memory : 0;
}

static double int8_share(const tn_bench_infer_job *b) {
    return b->int8 > 0 ? b->work.macs * tn_bench_infer_prompt_rate(b) / b->int8 : 0;
}

/* ---- printing ---- */

static json_t *samples_json(const tn_infer_test *t, bool rates) {
    json_t *list = json_array();
    for (int i = 0; i < TN_MIN(t->runs, (int)TN_SAMPLES_MAX); i++)
        json_array_append_new(list, rates ? json_real(rate_of(t, t->first[i]))
                                          : json_integer((json_int_t)(1e9 * t->first[i])));
    return list;
}

/* One row, in the order in which llama-bench has its fields. */
static json_t *test_json(const tn_bench_infer_job *b, const tn_infer_test *t) {
    const spread s = spread_of(t);
    char name[64];
    tn_infer_test_name(t, name);
    return json_pack("{s:s, s:o, s:o, s:s, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:I, s:I, s:f, s:f, s:o, "
                     "s:o, s:s, s:s, "
                     "s:s, s:f}",
                     "build_commit", tn_cmd_commit(), "cpu_info", tn_bench_cpu_json(), "model_filename",
                     tn_cmd_json_path(b->loaded.path), "model_type", b->loaded.description, "model_size",
                     (json_int_t)b->work.bytes, "model_n_params", (json_int_t)b->work.parameters, "n_batch",
                     b->s->chunk, "n_ubatch", b->s->chunk, "n_threads", tn_par_threads(), "n_prompt", t->prompt,
                     "n_gen", t->generate, "n_depth", t->depth, "n_parallel", t->batch, "test_time", b->started,
                     "avg_ns", (json_int_t)(1e9 * s.seconds), "stddev_ns", (json_int_t)(1e9 * s.seconds_deviation),
                     "avg_ts", s.rate, "stddev_ts", s.rate_deviation, "samples_ns", samples_json(t, false),
                     "samples_ts", samples_json(t, true), "isa", tn_kernels_isa(), "blas_core", tn_blas_core(), "test",
                     name, "median_ts", median_rate(t));
}

static tn_status print_markdown(const tn_bench_infer_job *b) {
    TN_TRY(tn_cmd_print("| model | size | params | isa | threads | test | t/s |\n|---|---|---|---|---|---|---|\n"));
    for (int i = 0; i < b->n_tests; i++) {
        const spread s = spread_of(&b->tests[i]);
        char name[64];
        tn_infer_test_name(&b->tests[i], name);
        TN_TRY(tn_cmd_print("| %s | %.2f MiB | %.2f M | %s | %d | %s | %.2f ± %.2f |\n", b->loaded.description,
                            b->work.bytes / 0x1p20, (double)b->work.parameters / 1e6, tn_kernels_isa(),
                            tn_par_threads(), name, s.rate, s.rate_deviation));
    }
    return TN_OK;
}

static tn_status print_csv_value(const json_t *value) {
    if (json_is_integer(value)) return tn_cmd_print("\"%lld\"", (long long)json_integer_value(value));
    if (json_is_real(value)) return tn_cmd_print("\"%.6f\"", json_real_value(value));
    TN_TRY(tn_cmd_print("\""));
    for (const char *at = json_string_value(value); *at; at++) TN_TRY(tn_cmd_print(*at == '"' ? "\"\"" : "%c", *at));
    return tn_cmd_print("\"");
}

/* The lists of samples have no place in a table. */
static tn_status print_csv_row(json_t *row, bool names) {
    const char *key, *before = "";
    json_t *value;
    json_object_foreach(row, key, value) {
        if (json_is_array(value)) continue;
        TN_TRY(tn_cmd_print("%s", before));
        TN_TRY(names ? tn_cmd_print("%s", key) : print_csv_value(value));
        before = ",";
    }
    return tn_cmd_print("\n");
}

static tn_status print_csv(const tn_bench_infer_job *b) {
    tn_status status = TN_OK;
    for (int i = 0; i < b->n_tests && !status; i++) {
        json_t *row = test_json(b, &b->tests[i]);
        if (!row) return TN_FAIL(NOMEM, "no memory for a row");
        if (i == 0) status = print_csv_row(row, true);
        if (!status) status = print_csv_row(row, false);
        json_decref(row);
    }
    return status;
}

static tn_status print_rows(const tn_bench_infer_job *b) {
    json_t *list = json_array();
    for (int i = 0; i < b->n_tests; i++) {
        json_t *row = test_json(b, &b->tests[i]);
        if (b->s->format == FORMAT_JSON)
            json_array_append_new(list, row);
        else
            TN_TRY(tn_cmd_print_json(row));
    }
    if (b->s->format == FORMAT_JSON) return tn_cmd_print_json(list);
    json_decref(list);
    return TN_OK;
}

static tn_status print_tests(const tn_bench_infer_job *b) {
    switch (b->s->format) {
    case FORMAT_MD: return print_markdown(b);
    case FORMAT_CSV: return print_csv(b);
    default: return print_rows(b);
    }
}

/* What the table leaves open. */
static tn_status print_shares(const tn_bench_infer_job *b) {
    TN_TRY(tn_bench_print_machine(b->waited));
    if (b->limit)
        TN_TRY(tn_cmd_print("preset %s: %lld MiB are allowed, which this %s\n", tn_run_preset_at(b->s->preset)->name,
                            (long long)(b->limit >> 20), b->rss <= b->limit ? "fits" : "does NOT fit"));
    TN_TRY(tn_cmd_print("loaded in %.2f s; resident %.0f MiB at the most\n", b->load_seconds, (double)b->rss / 0x1p20));
    TN_TRY(tn_cmd_print("weights read for a token: %.0f MiB; memory read: %.1f GB/s; generation uses %.0f%% of that\n",
                        b->work.bytes / 0x1p20, b->memory / 1e9, 100 * bandwidth_share(b)));
    return tn_cmd_print("ternary products of a token: %.2f Gop; int8 peak: %.0f Gop/s; prompts use %.0f%% of that\n",
                        2e-9 * b->work.macs, 2e-9 * b->int8, 100 * int8_share(b));
}

static tn_status print_summary(const tn_bench_infer_job *b) {
    json_t *object = json_object(), *tests = json_array();
    for (int i = 0; i < b->n_tests; i++) {
        char name[64];
        tn_infer_test_name(&b->tests[i], name);
        json_object_set_new(object, name, json_real(median_rate(&b->tests[i])));
        json_array_append_new(tests, test_json(b, &b->tests[i]));
    }
    json_object_set_new(object, "model", tn_cmd_json_path(b->loaded.path));
    json_object_set_new(object, "rss_bytes", json_integer((json_int_t)b->rss));
    json_object_set_new(object, "load_seconds", json_real(b->load_seconds));
    json_object_set_new(object, "bytes_per_token", json_real(b->work.bytes));
    json_object_set_new(object, "memory_bytes_per_second", json_real(b->memory));
    json_object_set_new(object, "bandwidth_share", json_real(bandwidth_share(b)));
    json_object_set_new(object, "int8_ops_per_second", json_real(2 * b->int8));
    json_object_set_new(object, "int8_share", json_real(int8_share(b)));
    json_object_set_new(object, "kv", json_string(tn_kv_type_name(b->session.kv)));
    json_object_set_new(object, "head", json_string(b->session.head == TN_HEAD_EXACT ? "exact" : "screened"));
    if (b->limit) {
        json_object_set_new(object, "preset", json_string(tn_run_preset_at(b->s->preset)->name));
        json_object_set_new(object, "memory_limit_bytes", json_integer((json_int_t)b->limit));
        json_object_set_new(object, "fits", json_boolean(b->rss <= b->limit));
    }
    tn_bench_put_machine(object, b->waited);
    json_object_set_new(object, "tests", tests);
    return tn_cmd_print_json(object);
}

tn_status tn_bench_infer_print(const tn_bench_infer_job *b) {
    if (b->s->json) return print_summary(b);
    TN_TRY(print_tests(b));
    return b->s->format == FORMAT_MD ? print_shares(b) : TN_OK;
}
