/* SPDX-License-Identifier: MIT
 * cmd_bench.c - `tern bench`: how fast training and its kernels are, against what this CPU can do at the same time. */
#include "bench/kernel_rates.h"
#include "bench/preset.h"
#include "bench/train_bench.h"
#include "cmd/bench_parts.h"
#include "cmd/options.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"

#include <jansson.h>

typedef struct kernel_settings {
    int tokens, threads;
    double seconds;
    bool json;
} kernel_settings;

typedef struct train_settings {
    int preset, steps, warmup, threads;
    tn_option_list sets;
    bool json;
} train_settings;

/* Multiply-adds a second as GFLOP/s or int-Gop/s: two operations each. */
static double giga_ops(double multiply_adds) { return 2e-9 * multiply_adds; }
static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

/* ---- bench kernels ---- */

static tn_status print_rates(const tn_kernel_rates *r) {
    double peaks[TN_PEAK_COUNT];
    for (int kind = 0; kind < TN_PEAK_COUNT; kind++) peaks[kind] = tn_peaks_get(&r->peaks, (tn_peak_kind)kind);
    TN_TRY(tn_bench_print_machine(r->waited));
    TN_TRY(tn_bench_print_peaks(peaks));
    TN_TRY(tn_cmd_print("memory: %.1f GB/s read and written\ntokens: %d\n", r->memory / 1e9, r->tokens));
    TN_TRY(tn_cmd_print("\n%-30s %-12s %8s %8s %7s\n", "product", "m x k", "Gop/s", "limit", "share"));
    for (int i = 0; i < r->n_products; i++) {
        const tn_rate *p = &r->products[i];
        TN_TRY(tn_cmd_print("%-30s %-12s %8.0f %8.0f %6.1f%%\n", p->name, p->shape, giga_ops(p->rate),
                            giga_ops(p->limit), 100 * share(p->rate, p->limit)));
    }
    TN_TRY(tn_cmd_print("\n%-30s %-12s %8s\n", "row kernel", "elements", "GB/s"));
    for (int i = 0; i < r->n_rows; i++)
        TN_TRY(tn_cmd_print("%-30s %-12s %8.1f\n", r->rows[i].name, r->rows[i].shape, r->rows[i].rate / 1e9));
    return TN_OK;
}

static tn_status print_rates_json(const tn_kernel_rates *r) {
    double peaks[TN_PEAK_COUNT];
    for (int kind = 0; kind < TN_PEAK_COUNT; kind++) peaks[kind] = tn_peaks_get(&r->peaks, (tn_peak_kind)kind);
    json_t *object = json_object(), *products = json_array(), *rows = json_array();
    for (int i = 0; i < r->n_products; i++) {
        const tn_rate *p = &r->products[i];
        json_array_append_new(products, json_pack("{s:s, s:s, s:f, s:f, s:s, s:f}", "name", p->name, "shape", p->shape,
                                                  "ops_per_second", 2 * p->rate, "limit", 2 * p->limit, "limit_name",
                                                  p->limit_name, "share", share(p->rate, p->limit)));
    }
    for (int i = 0; i < r->n_rows; i++)
        json_array_append_new(rows, json_pack("{s:s, s:s, s:f}", "name", r->rows[i].name, "shape", r->rows[i].shape,
                                              "bytes_per_second", r->rows[i].rate));
    tn_bench_put_machine(object, r->waited);
    json_object_set_new(object, "tokens", json_integer(r->tokens));
    json_object_set_new(object, "peaks", tn_bench_peaks_json(peaks));
    json_object_set_new(object, "memory_bytes_per_second", json_real(r->memory));
    json_object_set_new(object, "products", products);
    json_object_set_new(object, "rows", rows);
    return tn_cmd_print_json(object);
}

static tn_status bench_kernels(const kernel_settings *s) {
    TN_TRY(tn_cmd_start_compute(s->threads));
    tn_kernel_rates *rates = tn_heap_zalloc(1, sizeof *rates);
    if (!rates) return TN_E_NOMEM;
    rates->tokens = s->tokens;
    rates->seconds = s->seconds;
    tn_status status = tn_kernel_rates_measure(rates);
    if (!status) status = s->json ? print_rates_json(rates) : print_rates(rates);
    tn_heap_free(rates);
    return status;
}

static int run_kernels(int argc, char **argv) {
    kernel_settings s = {.tokens = 2048, .seconds = 0.15};
    const tn_option options[] = {
        {"tokens", 'n', TN_OPT_INT, &s.tokens, "N", "rows of activations in a product", 1, 1 << 20, NULL},
        {"seconds", 's', TN_OPT_REAL, &s.seconds, "S", "how long to measure each row", 1e-3, 60, NULL},
        TN_OPTION_THREADS(&s.threads),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "bench kernels",
        .synopsis = "",
        .about = "Tell how fast the products and row kernels of training are. Products stand beside the peak of this\n"
                 "CPU for their arithmetic, measured in turn with them.",
        .options = options,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    tn_status done = bench_kernels(&s);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}

/* ---- bench train ---- */

static tn_status print_speed(const train_settings *s, const tn_run_config *config, const tn_train_bench *b) {
    const tn_roofline *r = &b->best;
    TN_TRY(tn_cmd_print("preset %s: %.1f million parameters, steps of %lld tokens (context %d), %d measured after %d\n",
                        tn_preset_name(s->preset), (double)b->parameters.total / 1e6, (long long)b->tokens,
                        config->model.context, b->steps, b->warmup));
    TN_TRY(tn_bench_print_machine(b->waited));
    TN_TRY(tn_bench_print_peaks(b->peaks));
    TN_TRY(tn_cmd_print("speed: %.0f tokens/s, %.1f ms a step; backward in %s, loss %.4f\n",
                        (double)b->tokens / b->seconds, 1e3 * b->seconds, tn_bench_backward_name(b->arithmetic),
                        b->loss));
    TN_TRY(tn_cmd_print("roofline: %.1f%%; ideal %.1f ms = blocks forward %.1f (%s) + blocks backward %.1f (%s) + head "
                        "%.1f (%s)\n",
                        100 * tn_train_bench_share(b, r), 1e3 * tn_roofline_seconds(r), 1e3 * r->forward,
                        r->arithmetic[0], 1e3 * r->backward, r->arithmetic[1], 1e3 * r->head, r->arithmetic[2]));
    r = &b->bf16;
    if (!(tn_roofline_seconds(r) > 0)) return TN_OK;
    return tn_cmd_print("with backward and head at the bf16 peak: %.1f%%; ideal %.1f ms = %.1f + %.1f + %.1f\n",
                        100 * tn_train_bench_share(b, r), 1e3 * tn_roofline_seconds(r), 1e3 * r->forward,
                        1e3 * r->backward, 1e3 * r->head);
}

static tn_status print_products(const tn_train_bench *b) {
    tn_bench_product products[TN_BENCH_PRODUCTS];
    tn_train_bench_products(b, products);
    TN_TRY(tn_cmd_print("\n%-18s %9s %9s %9s %9s %7s\n", "product", "Gop", "ms", "Gop/s", "peak", "share"));
    for (int i = 0; i < TN_BENCH_PRODUCTS; i++) {
        const tn_bench_product *p = &products[i];
        double rate = share(p->work, p->seconds);
        TN_TRY(tn_cmd_print("%-18s %9.1f %9.1f %9.0f %9.0f %6.1f%%  of %s\n", p->name, giga_ops(p->work),
                            1e3 * p->seconds, giga_ops(rate), giga_ops(p->peak), 100 * share(rate, p->peak),
                            p->arithmetic));
    }
    return TN_OK;
}

static tn_status print_times(const tn_train_bench *b) {
    TN_TRY(tn_bench_print_ops(b->forward, b->backward, b->seconds));
    for (int part = 0; part < TN_BENCH_PARTS; part++)
        TN_TRY(tn_bench_print_time(tn_bench_part_name((tn_bench_part)part), b->parts[part], 0, b->seconds));
    return tn_bench_print_time("other", b->other, 0, b->seconds);
}

static tn_status print_memory(const tn_train_bench *b) {
    TN_TRY(tn_cmd_print("\n%-22s %9s\n", "peak memory", "MiB"));
    return tn_bench_print_memory(&b->memory, "all of these", b->peak_rss);
}

static tn_status print_train(const train_settings *s, const tn_run_config *config, const tn_train_bench *b) {
    TN_TRY(print_speed(s, config, b));
    TN_TRY(print_products(b));
    TN_TRY(print_times(b));
    return print_memory(b);
}

static json_t *products_json(const tn_train_bench *b) {
    tn_bench_product products[TN_BENCH_PRODUCTS];
    json_t *list = json_array();
    tn_train_bench_products(b, products);
    for (int i = 0; i < TN_BENCH_PRODUCTS; i++) {
        const tn_bench_product *p = &products[i];
        double rate = share(p->work, p->seconds);
        json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f, s:f, s:s, s:f}", "name", p->name, "ops",
                                              2 * p->work, "seconds", p->seconds, "ops_per_second", 2 * rate, "peak",
                                              2 * p->peak, "arithmetic", p->arithmetic, "share", share(rate, p->peak)));
    }
    return list;
}

static json_t *times_json(const tn_train_bench *b) {
    json_t *object = tn_bench_ops_json(b->forward, b->backward, b->seconds);
    for (int part = 0; part < TN_BENCH_PARTS; part++)
        json_object_set_new(object, tn_bench_part_name((tn_bench_part)part),
                            tn_bench_time_json(b->parts[part], 0, b->seconds));
    json_object_set_new(object, "other", tn_bench_time_json(b->other, 0, b->seconds));
    return object;
}

static json_t *roofline_json(const tn_roofline *r) {
    return json_pack("{s:f, s:f, s:f}", "blocks_forward", r->forward, "blocks_backward", r->backward, "head", r->head);
}

static tn_status print_train_json(const train_settings *s, const tn_run_config *config, const tn_train_bench *b) {
    const tn_model_config *m = &config->model;
    json_t *memory = tn_bench_memory_json(&b->memory);
    json_t *model = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "d_model", m->d_model, "n_layer", m->n_layer,
                              "n_head", m->n_head, "n_kv_head", m->n_kv_head, "d_ff", m->d_ff, "vocab_size",
                              m->vocab_size, "context", m->context);
    json_t *object = json_pack(
        "{s:s, s:o, s:I, s:I, s:i, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:I, s:I, s:f}", "preset",
        tn_preset_name(s->preset), "model", model, "parameters", (json_int_t)b->parameters.total, "tokens_per_step",
        (json_int_t)b->tokens, "steps", b->steps, "step_seconds", b->seconds, "tokens_per_second",
        (double)b->tokens / b->seconds, "roofline_share", tn_train_bench_share(b, &b->best), "ideal_step_seconds",
        tn_roofline_seconds(&b->best), "ideal_seconds", roofline_json(&b->best), "products", products_json(b),
        "time_by_op", times_json(b), "memory", memory, "memory_bytes", (json_int_t)b->memory.total, "peak_rss_bytes",
        (json_int_t)b->peak_rss, "loss", b->loss);
    if (!object) return TN_FAIL(NOMEM, "no memory for the summary");
    if (tn_roofline_seconds(&b->bf16) > 0) {
        json_object_set_new(object, "roofline_share_bf16", json_real(tn_train_bench_share(b, &b->bf16)));
        json_object_set_new(object, "ideal_seconds_bf16", roofline_json(&b->bf16));
    }
    json_object_set_new(object, "backward", json_string(tn_bench_backward_name(b->arithmetic)));
    json_object_set_new(object, "peaks", tn_bench_peaks_json(b->peaks));
    tn_bench_put_machine(object, b->waited);
    return tn_cmd_print_json(object);
}

static tn_status load_preset(tn_run_config *config, const train_settings *s, tn_arena *arena) {
    TN_TRY(tn_run_config_init(config, arena));
    tn_preset_apply(s->preset, config);
    config->train.max_steps = s->warmup + s->steps;
    for (int i = 0; i < s->sets.count; i++) TN_TRY(tn_config_set(&config->config, s->sets.items[i]));
    return tn_model_config_complete(&config->model);
}

static tn_status bench_train(const train_settings *s, tn_arena *arena) {
    tn_run_config config;
    tn_train_bench *bench;
    TN_TRY(tn_cmd_start_compute(s->threads));
    tn_cmd_warn_of_slow_blas();
    TN_TRY(load_preset(&config, s, arena));
    TN_TAKE0(bench, arena, 1, "bench");
    bench->steps = s->steps;
    bench->warmup = s->warmup;
    TN_TRY(tn_train_bench_run(bench, &config));
    return s->json ? print_train_json(s, &config, bench) : print_train(s, &config, bench);
}

static int run_train(int argc, char **argv) {
    train_settings s = {.preset = 1, .steps = 10, .warmup = 2};
    const tn_option options[] = {
        {"preset", 'p', TN_OPT_CHOICE, &s.preset, "NAME", "the model, its context and batch", 0, 0, tn_preset_names},
        {"steps", 'n', TN_OPT_INT, &s.steps, "N", "optimizer steps to measure", 1, 100000, NULL},
        {"warmup", 0, TN_OPT_INT, &s.warmup, "N", "steps before them", 0, 100000, NULL},
        {"set", 0, TN_OPT_LIST, &s.sets, "KEY=VALUE", "change a setting of the model or of training; may be repeated",
         0, 0, NULL},
        TN_OPTION_THREADS(&s.threads),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "bench train",
        .synopsis = "[--preset NAME]",
        .about = "Train a model of the preset on random tokens for a few steps, and tell how fast that is, where the\n"
                 "time and the memory go, and how near the products come to the peaks of this CPU. All are medians.",
        .options = options,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    tn_arena *arena = tn_arena_create("bench");
    tn_status done = arena ? bench_train(&s, arena) : TN_E_NOMEM;
    tn_arena_free(arena);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}

int tn_cmd_bench(int argc, char **argv) {
    static const tn_command list[] = {
        {"train", "steps of training: tokens a second, time by op, memory", run_train},
        {"infer", "prompts and generation of a model: tokens a second, share of the memory's speed", tn_bench_infer},
        {"lora", "steps of an adapter over a frozen model: tokens a second, time by op, memory", tn_bench_lora},
        {"kernels", "single products and row kernels", run_kernels},
    };
    const tn_command_set set = {"tern bench", "How fast this machine trains and runs models.", list, TN_COUNT(list)};
    return tn_cmd_dispatch(&set, argc, argv);
}
