/* SPDX-License-Identifier: MIT
 * cmd_bench_lora.c - `tern bench lora`: an adapter trained over a frozen model. */
#include "bench/lora_bench.h"
#include "cmd/bench_parts.h"
#include "cmd/options.h"

#include <jansson.h>

typedef struct settings {
    tn_lora_bench bench;
    int threads, input;
    bool keeps, json;
} settings;

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

static tn_status print_table(const tn_lora_bench *b) {
    TN_TRY(tn_cmd_print("%s\nrank %d on %s: %.1f million parameters; steps of %d tokens, %d measured after %d\n",
                        b->description, b->rank, b->modules, (double)b->parameters / 1e6, b->tokens, b->steps,
                        b->warmup));
    TN_TRY(tn_bench_print_machine(b->waited));
    TN_TRY(tn_bench_print_peaks(b->peaks));
    TN_TRY(tn_cmd_print("speed: %.1f tokens/s, %.2f s a step; backward in %s, loss %.4f\n", b->tokens / b->seconds,
                        b->seconds, tn_bench_backward_name(b->arithmetic), b->loss));
    TN_TRY(tn_cmd_print("roofline: %.1f%%; ideal %.2f s without recompute\n", 100 * share(b->work.ideal, b->seconds),
                        b->work.ideal));
    TN_TRY(tn_bench_print_ops(b->forward, b->backward, b->seconds));
    TN_TRY(tn_bench_print_time("optimizer", b->optimizer, 0, b->seconds));
    TN_TRY(tn_bench_print_time("other", b->other, 0, b->seconds));
    TN_TRY(tn_cmd_print("\n%-22s %9s\n", "planned memory", "MiB"));
    return tn_bench_print_memory(&b->planned, "all of these", b->peak_rss);
}

static tn_status print_json(const tn_lora_bench *b) {
    json_t *times = tn_bench_ops_json(b->forward, b->backward, b->seconds);
    json_object_set_new(times, "optimizer", tn_bench_time_json(b->optimizer, 0, b->seconds));
    json_object_set_new(times, "other", tn_bench_time_json(b->other, 0, b->seconds));
    json_t *object =
        json_pack("{s:s, s:i, s:s, s:I, s:i, s:i, s:f, s:f, s:f, s:f, s:o, s:o, s:I, s:I, s:f, s:s, s:o}", "model",
                  b->description, "rank", b->rank, "modules", b->modules, "parameters", (json_int_t)b->parameters,
                  "tokens_per_step", b->tokens, "steps", b->steps, "step_seconds", b->seconds, "tokens_per_second",
                  b->tokens / b->seconds, "roofline_share", share(b->work.ideal, b->seconds), "ideal_step_seconds",
                  b->work.ideal, "time_by_op", times, "memory", tn_bench_memory_json(&b->planned), "planned_bytes",
                  (json_int_t)b->planned.total, "peak_rss_bytes", (json_int_t)b->peak_rss, "loss", b->loss, "backward",
                  tn_bench_backward_name(b->arithmetic), "peaks", tn_bench_peaks_json(b->peaks));
    if (!object) return TN_FAIL(NOMEM, "no memory for the summary");
    tn_bench_put_machine(object, b->waited);
    return tn_cmd_print_json(object);
}

static tn_status run(settings *s) {
    tn_lora_bench *b = &s->bench;
    b->options.input = s->input ? TN_ADAPTER_QUANTIZED : TN_ADAPTER_RAW;
    b->options.trains = true;
    b->recompute = s->keeps ? 0 : 1;
    if (!(b->alpha > 0)) b->alpha = 2 * b->rank;
    TN_TRY(tn_cmd_start_compute(s->threads));
    TN_TRY(tn_lora_bench_run(b));
    return s->json ? print_json(b) : print_table(b);
}

int tn_bench_lora(int argc, char **argv) {
    settings s = {.bench = {.modules = "all-linear", .rank = 16, .steps = 3, .warmup = 1}};
    tn_lora_bench *b = &s.bench;
    const tn_option options[] = {
        {"model", 'm', TN_OPT_TEXT, &b->model, "F", "GGUF file, Hugging Face folder, run folder or checkpoint", 0, 0,
         NULL},
        {"rank|lora-rank", 'r', TN_OPT_INT, &b->rank, "N", "of the adapter, 16", 1, TN_ADAPTER_RANK_MAX, NULL},
        {"alpha|lora-alpha", 0, TN_OPT_REAL, &b->alpha, "A", "twice the rank", 0, 1e6, NULL},
        {"modules|lora-modules", 0, TN_OPT_TEXT, &b->modules, "LIST",
         "q_proj,k_proj,.. by the names of Hugging Face; all-linear", 0, 0, NULL},
        {"input", 0, TN_OPT_CHOICE, &s.input, "KIND", "what the adapter reads", 0, 0, "raw|quantized"},
        {"merged", 0, TN_OPT_ON, &b->options.merged, NULL, "inside the quantiser, in place of beside", 0, 0, NULL},
        {"dropout", 0, TN_OPT_REAL, &b->options.dropout, "P", "of what it reads, 0", 0, 0.99, NULL},
        {"tokens", 'n', TN_OPT_INT, &b->tokens, "N", "of a step, 512 where the context has room", 0, 1 << 20, NULL},
        {"steps", 's', TN_OPT_INT, &b->steps, "N", "optimizer steps to measure, 3", 1, 100000, NULL},
        {"warmup", 0, TN_OPT_INT, &b->warmup, "N", "steps before them, 1", 0, 100000, NULL},
        {"no-recompute", 0, TN_OPT_ON, &s.keeps, NULL, "keep the inside of blocks for backward", 0, 0, NULL},
        TN_OPTION_THREADS(&s.threads),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "bench lora",
        .synopsis = "-m MODEL [--rank N] [--tokens N]",
        .about = "Train an adapter over a frozen model on random tokens for a few steps, and tell how fast that is,\n"
                 "where the time goes, and the memory that was planned and taken. Times are medians.",
        .options = options,
    };
    const int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (!b->model) return tn_cmd_usage_error("-m is missing: a GGUF file, a folder or a checkpoint");
    const tn_status done = run(&s);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}
