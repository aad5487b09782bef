/* SPDX-License-Identifier: MIT
 * cmd_bench_infer.c - `tern bench infer`: prompts and generation, with the flags, test names and fields of llama-bench.
 */
#include "bench/crowd.h"
#include "bench/infer_bench.h"
#include "bench/memory_rate.h"
#include "cmd/bench_parts.h"
#include "cmd/options.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/par.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"
#include "infer/batch.h"
#include "train/process.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <time.h>

enum { LIST = 32, TESTS = 256 };
enum { FORMAT_MD, FORMAT_CSV, FORMAT_JSON, FORMAT_JSONL };

typedef struct int_list {
    int values[LIST];
    int count;
} int_list;

typedef struct settings {
    const char *model;
    tn_option_list prompts, generated, both, depths, batches, threads;
    int repeats, format, chunk, context, key_type, value_type;
    bool json, no_warmup, progress;
} settings;

typedef struct bench {
    const settings *s;
    tn_arena *arena;
    tn_loaded loaded;
    tn_infer_work work;
    tn_infer_test tests[TESTS];
    int n_tests;
    int_list threads;
    double load_seconds, waited, memory, int8; /* bytes and multiply-adds a second */
    int64_t rss;
    char started[32];
} bench;

/* ---- the grid of tests ---- */

static tn_status read_list(const char *flag, const tn_option_list *list, int min, int max, int fallback,
                           int_list *out) {
    for (int i = 0; i < list->count; i++)
        for (const char *at = list->items[i]; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
            char one[32];
            const size_t len = strcspn(at, ",");
            if (out->count == LIST || len >= sizeof one)
                return TN_FAIL(RANGE, "%s: more than %d numbers, or one too long", flag, LIST);
            memcpy(one, at, len);
            one[len] = '\0';
            TN_TRY(tn_parse_int(flag, one, min, max, &out->values[out->count++]));
        }
    if (!list->count && fallback >= 0) out->values[out->count++] = fallback;
    return TN_OK;
}

static tn_status add_test(bench *b, int prompt, int generate, int depth, int batch) {
    if (prompt + generate == 0) return TN_OK; /* -p 0 and -n 0 leave a kind of test out */
    if (b->n_tests == TESTS) return TN_FAIL(RANGE, "more than %d tests", TESTS);
    b->tests[b->n_tests++] = (tn_infer_test){.prompt = prompt, .generate = generate, .depth = depth, .batch = batch};
    return TN_OK;
}

/* -pg takes pairs P,G. */
static tn_status add_pairs(bench *b, int depth, int batch) {
    for (int i = 0; i < b->s->both.count; i++) {
        int_list pair = {0};
        const tn_option_list one = {.items = {b->s->both.items[i]}, .count = 1};
        TN_TRY(read_list("-pg", &one, 1, 1 << 20, -1, &pair));
        if (pair.count != 2) return TN_FAIL(ARG, "-pg %s: expected two numbers P,G", b->s->both.items[i]);
        TN_TRY(add_test(b, pair.values[0], pair.values[1], depth, batch));
    }
    return TN_OK;
}

static tn_status make_tests(bench *b) {
    const settings *s = b->s;
    int_list prompts = {0}, generated = {0}, depths = {0}, batches = {0};
    TN_TRY(read_list("-p", &s->prompts, 0, 1 << 20, 512, &prompts));
    TN_TRY(read_list("-n", &s->generated, 0, 1 << 20, 128, &generated));
    TN_TRY(read_list("-d", &s->depths, 0, 1 << 20, 0, &depths));
    TN_TRY(read_list("--parallel", &s->batches, 1, TN_BATCH_SLOTS, 1, &batches));
    TN_TRY(read_list("-t", &s->threads, 0, 256, 0, &b->threads));
    for (int k = 0; k < batches.count; k++)
        for (int d = 0; d < depths.count; d++) {
            const int depth = depths.values[d], batch = batches.values[k];
            for (int i = 0; i < prompts.count; i++) TN_TRY(add_test(b, prompts.values[i], 0, depth, batch));
            for (int i = 0; i < generated.count; i++) TN_TRY(add_test(b, 0, generated.values[i], depth, batch));
            TN_TRY(add_pairs(b, depth, batch));
        }
    return b->n_tests ? TN_OK : TN_FAIL(ARG, "there is nothing to measure: -p, -n and -pg are all 0");
}

static int longest(const bench *b) {
    int tokens = 0;
    for (int i = 0; i < b->n_tests; i++)
        tokens = TN_MAX(tokens, b->tests[i].depth + b->tests[i].prompt + b->tests[i].generate + 2);
    return tokens;
}

/* ---- measuring ---- */

/* Between the tests, so that what a token is held against saw the same neighbours. */
static void try_peaks(tn_peaks *peaks, tn_memory_rate *memory, tn_samples *reads) {
    tn_peaks_try(peaks, TN_PEAK_BYTES);
    tn_samples_add(reads, tn_memory_rate_try(memory));
}

static void say_progress(const bench *b, const tn_infer_test *test, int run) {
    char name[64];
    tn_infer_test_name(test, name);
    if (b->s->progress) tn_log(TN_LOG_INFO, "bench", "%s, run %d of %d", name, run + 1, b->s->repeats);
}

/* Runs of all tests in turn: what disturbs the machine for a while disturbs a run of each. */
static tn_status run_tests(bench *b, tn_infer_bench *infer, tn_peaks *peaks, tn_memory_rate *memory,
                           tn_samples *reads) {
    for (int run = b->s->no_warmup ? 0 : -1; run < b->s->repeats; run++)
        for (int i = 0; i < b->n_tests; i++) {
            tn_infer_test *test = &b->tests[i], warmup = *test;
            if (run >= 0) say_progress(b, test, run);
            warmup.generate = TN_MIN(warmup.generate, 2);
            TN_TRY(tn_infer_bench_run(infer, run < 0 ? &warmup : test));
            try_peaks(peaks, memory, reads);
        }
    return TN_OK;
}

static tn_status measure(bench *b) {
    tn_infer_bench *infer;
    tn_memory_rate *memory;
    tn_peaks peaks = {0};
    tn_samples reads = {0};
    const int context = b->s->context ? b->s->context : longest(b);
    tn_session_options options = {.context = context, .chunk = b->s->chunk};
    TN_TRY(tn_cmd_cache_type(b->s->key_type, b->s->value_type, &options.kv));
    TN_TRY(tn_infer_bench_create(&infer, &b->loaded, options));
    const tn_crowd crowd = tn_crowd_begin();
    /* what measuring takes is no part of what the runtime takes */
    const int64_t before = tn_process_resident_bytes();
    tn_status status = tn_memory_rate_create(&memory, b->arena);
    const int64_t own = tn_process_resident_bytes() - before;
    tn_process_reset_peak();
    if (!status) status = run_tests(b, infer, &peaks, memory, &reads);
    b->rss = tn_process_peak_bytes() - own;
    b->waited = tn_crowd_end(&crowd);
    b->int8 = tn_peaks_get(&peaks, TN_PEAK_BYTES);
    b->memory = tn_samples_upper_quartile(&reads);
    tn_infer_bench_free(infer);
    return status;
}

static tn_status load(bench *b) {
    const double begin = tn_clock_seconds();
    b->arena = tn_arena_create("model");
    if (!b->arena) return TN_E_NOMEM;
    TN_TRY(tn_model_file_load(b->s->model, b->arena, TN_MODEL_RUN, &b->loaded));
    b->load_seconds = tn_clock_seconds() - begin;
    b->work = tn_infer_work_of(b->loaded.model);
    const time_t now = (time_t)tn_clock_unix();
    struct tm utc;
    strftime(b->started, sizeof b->started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return TN_OK;
}

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

static const tn_infer_test *first_test(const bench *b, bool prompt) {
    for (int i = 0; i < b->n_tests; i++)
        if (b->tests[i].batch == 1 && (prompt ? !b->tests[i].generate : !b->tests[i].prompt)) return &b->tests[i];
    return NULL;
}

/* Of reading every weight once a token at the speed of memory; of the int8 peak. 0 without such a test. */
static double bandwidth_share(const bench *b) {
    const tn_infer_test *t = first_test(b, false);
    return t && b->memory > 0 ? b->work.bytes * median_rate(t) / b->memory : 0;
}

static double int8_share(const bench *b) {
    const tn_infer_test *t = first_test(b, true);
    return t && b->int8 > 0 ? b->work.macs * median_rate(t) / b->int8 : 0;
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
static json_t *test_json(const bench *b, const tn_infer_test *t) {
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

static tn_status print_markdown(const bench *b) {
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

static tn_status print_csv(const bench *b) {
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

static tn_status print_rows(const bench *b) {
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

static tn_status print_tests(const bench *b) {
    switch (b->s->format) {
    case FORMAT_MD: return print_markdown(b);
    case FORMAT_CSV: return print_csv(b);
    default: return print_rows(b);
    }
}

/* What the table leaves open. */
static tn_status print_shares(const bench *b) {
    TN_TRY(tn_bench_print_machine(b->waited));
    TN_TRY(tn_cmd_print("loaded in %.2f s; resident %.0f MiB at the most\n", b->load_seconds, (double)b->rss / 0x1p20));
    TN_TRY(tn_cmd_print("weights read for a token: %.0f MiB; memory read: %.1f GB/s; generation uses %.0f%% of that\n",
                        b->work.bytes / 0x1p20, b->memory / 1e9, 100 * bandwidth_share(b)));
    return tn_cmd_print("ternary products of a token: %.2f Gop; int8 peak: %.0f Gop/s; prompts use %.0f%% of that\n",
                        2e-9 * b->work.macs, 2e-9 * b->int8, 100 * int8_share(b));
}

static tn_status print_summary(const bench *b) {
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
    tn_bench_put_machine(object, b->waited);
    json_object_set_new(object, "tests", tests);
    return tn_cmd_print_json(object);
}

/* ---- the command ---- */

static void forget_times(bench *b) {
    for (int i = 0; i < b->n_tests; i++) {
        b->tests[i].seconds = (tn_samples){0};
        b->tests[i].runs = 0;
    }
}

static tn_status run_all(bench *b) {
    TN_TRY(make_tests(b));
    TN_TRY(tn_cmd_start_compute(b->threads.values[0]));
    TN_TRY(load(b));
    for (int i = 0; i < b->threads.count; i++) {
        TN_TRY(tn_par_set_threads(b->threads.values[i]));
        forget_times(b);
        TN_TRY(measure(b));
        TN_TRY(b->s->json ? print_summary(b) : print_tests(b));
        if (!b->s->json && b->s->format == FORMAT_MD) TN_TRY(print_shares(b));
    }
    return TN_OK;
}

static int run_bench(const settings *s) {
    bench *b = tn_heap_zalloc(1, sizeof *b);
    if (!b) return tn_cmd_fail(TN_E_NOMEM);
    b->s = s;
    const tn_status status = run_all(b);
    tn_loaded_release(&b->loaded);
    tn_arena_free(b->arena);
    tn_heap_free(b);
    return status ? tn_cmd_fail(status) : TN_EXIT_DONE;
}

int tn_bench_infer(int argc, char **argv) {
    settings s = {.repeats = 5, .chunk = 512, .key_type = TN_KV_F16, .value_type = TN_KV_F16};
    const tn_option options[] = {
        {"model", 'm', TN_OPT_TEXT, &s.model, "F", "run folder, checkpoint or GGUF file", 0, 0, NULL},
        {"n-prompt", 'p', TN_OPT_LIST, &s.prompts, "N,..", "tokens of a prompt, 512; 0: no such test", 0, 0, NULL},
        {"n-gen", 'n', TN_OPT_LIST, &s.generated, "N,..", "tokens to write, 128; 0: no such test", 0, 0, NULL},
        {"pg", 0, TN_OPT_LIST, &s.both, "P,G", "a prompt and what follows it, as one test", 0, 0, NULL},
        {"n-depth", 'd', TN_OPT_LIST, &s.depths, "N,..", "tokens before a test that are not timed, 0", 0, 0, NULL},
        {"parallel|np", 0, TN_OPT_LIST, &s.batches, "N,..", "texts at once, 1", 0, 0, NULL},
        {"threads", 't', TN_OPT_LIST, &s.threads, "N,..", "worker threads, 0 = all cores", 0, 0, NULL},
        {"repetitions", 'r', TN_OPT_INT, &s.repeats, "N", "runs of each test", 1, TN_SAMPLES_MAX, NULL},
        TN_OPTION_CACHE_TYPES(&s.key_type, &s.value_type),
        {"ubatch-size|ub", 0, TN_OPT_INT, &s.chunk, "N", "tokens of a prompt in one pass", 1, 1 << 20, NULL},
        {"ctx-size", 'c', TN_OPT_INT, &s.context, "N", "context in tokens; 0: what the tests need", 0, 1 << 20, NULL},
        {"output", 'o', TN_OPT_CHOICE, &s.format, "FORMAT", "how to print the tests", 0, 0, "md|csv|json|jsonl"},
        {"no-warmup", 0, TN_OPT_ON, &s.no_warmup, NULL, "begin without a run that does not count", 0, 0, NULL},
        {"progress", 0, TN_OPT_ON, &s.progress, NULL, "say which run is under way", 0, 0, NULL},
        TN_OPTION_JSON(&s.json),
        {"batch-size|b", 0, TN_OPT_IGNORED, NULL, "N", "no effect here", 0, 0, NULL},
        {"flash-attn|fa", 0, TN_OPT_IGNORED, NULL, "V", "no effect here", 0, 0, NULL},
        {"n-gpu-layers|ngl", 0, TN_OPT_IGNORED, NULL, "N", "no effect here", 0, 0, NULL},
        {"mmap|mmp", 0, TN_OPT_IGNORED, NULL, "N", "no effect here", 0, 0, NULL},
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "bench infer",
        .synopsis = "-m MODEL [-p N] [-n N] [-r N]",
        .about = "Time prompts (pp) and generation (tg) of a model, as llama-bench does, and tell what share of the\n"
                 "memory's speed and of the int8 peak that is, both measured between the runs. --json gives medians.",
        .options = options,
    };
    const int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (!s.model) return tn_cmd_usage_error("-m is missing: a run folder, checkpoint or GGUF file");
    return run_bench(&s);
}
