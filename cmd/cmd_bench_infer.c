/* SPDX-License-Identifier: MIT
 * cmd_bench_infer.c - `tern bench infer`: prompts and generation, with the flags, test names and fields of llama-bench.
 */
#include "bench/crowd.h"
#include "bench/memory_rate.h"
#include "cmd/bench_infer_priv.h"
#include "cmd/bench_parts.h"
#include "cmd/run_presets.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/par.h"
#include "infer/batch.h"
#include "train/process.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- the grid of tests ---- */

static tn_status read_list(const char *flag, const tn_option_list *list, int min, int max, int fallback,
                           tn_bench_list *out) {
    for (int i = 0; i < list->count; i++)
        for (const char *at = list->items[i]; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
            char one[32];
            const size_t len = strcspn(at, ",");
            if (out->count == BENCH_LIST || len >= sizeof one)
                return TN_FAIL(RANGE, "%s: more than %d numbers, or one too long", flag, BENCH_LIST);
            memcpy(one, at, len);
            one[len] = '\0';
            TN_TRY(tn_parse_int(flag, one, min, max, &out->values[out->count++]));
        }
    if (!list->count && fallback >= 0) out->values[out->count++] = fallback;
    return TN_OK;
}

static tn_status add_test(tn_bench_infer_job *b, int prompt, int generate, int depth, int batch) {
    if (prompt + generate == 0) return TN_OK; /* -p 0 and -n 0 leave a kind of test out */
    if (b->n_tests == BENCH_TESTS) return TN_FAIL(RANGE, "more than %d tests", BENCH_TESTS);
    b->tests[b->n_tests++] = (tn_infer_test){.prompt = prompt, .generate = generate, .depth = depth, .batch = batch};
    return TN_OK;
}

/* -pg takes pairs P,G. */
static tn_status add_pairs(tn_bench_infer_job *b, int depth, int batch) {
    for (int i = 0; i < b->s->both.count; i++) {
        tn_bench_list pair = {0};
        const tn_option_list one = {.items = {b->s->both.items[i]}, .count = 1};
        TN_TRY(read_list("-pg", &one, 1, 1 << 20, -1, &pair));
        if (pair.count != 2) return TN_FAIL(ARG, "-pg %s: expected two numbers P,G", b->s->both.items[i]);
        TN_TRY(add_test(b, pair.values[0], pair.values[1], depth, batch));
    }
    return TN_OK;
}

static tn_status make_tests(tn_bench_infer_job *b) {
    const tn_bench_settings *s = b->s;
    tn_bench_list prompts = {0}, generated = {0}, depths = {0}, batches = {0};
    TN_TRY(read_list("-p", &s->prompts, 0, 1 << 20, 512, &prompts));
    TN_TRY(read_list("-n", &s->generated, 0, 1 << 20, 128, &generated));
    TN_TRY(read_list("-d", &s->depths, 0, 1 << 20, 0, &depths));
    TN_TRY(read_list("--parallel", &s->batches, 1, TN_BATCH_SLOTS, 1, &batches));
    TN_TRY(read_list("-t", &s->threads, 0, 256, tn_run_preset_threads(tn_run_preset_at(s->preset), 0), &b->threads));
    for (int k = 0; k < batches.count; k++)
        for (int d = 0; d < depths.count; d++) {
            const int depth = depths.values[d], batch = batches.values[k];
            for (int i = 0; i < prompts.count; i++) TN_TRY(add_test(b, prompts.values[i], 0, depth, batch));
            for (int i = 0; i < generated.count; i++) TN_TRY(add_test(b, 0, generated.values[i], depth, batch));
            TN_TRY(add_pairs(b, depth, batch));
        }
    return b->n_tests ? TN_OK : TN_FAIL(ARG, "there is nothing to measure: -p, -n and -pg are all 0");
}

static int longest(const tn_bench_infer_job *b) {
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

static void say_progress(const tn_bench_infer_job *b, const tn_infer_test *test, int run) {
    char name[64];
    tn_infer_test_name(test, name);
    if (b->s->progress) tn_log(TN_LOG_INFO, "bench", "%s, run %d of %d", name, run + 1, b->s->repeats);
}

/* Runs of all tests in turn: what disturbs the machine for a while disturbs a run of each. */
static tn_status run_tests(tn_bench_infer_job *b, tn_infer_bench *infer, tn_peaks *peaks, tn_memory_rate *memory,
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

static tn_status measure(tn_bench_infer_job *b) {
    tn_infer_bench *infer;
    tn_memory_rate *memory;
    tn_peaks peaks = {0};
    tn_samples reads = {0};
    tn_arena *arena = tn_arena_create("bench");
    tn_status status = arena ? tn_infer_bench_create(&infer, &b->loaded, b->session) : TN_E_NOMEM;
    if (status) {
        tn_arena_free(arena);
        return status;
    }
    const tn_crowd crowd = tn_crowd_begin();
    /* what measuring takes is no part of what the runtime takes */
    const int64_t before = tn_process_resident_bytes();
    status = tn_memory_rate_create(&memory, arena);
    const int64_t own = tn_process_resident_bytes() - before;
    tn_process_reset_peak();
    if (!status) status = run_tests(b, infer, &peaks, memory, &reads);
    b->rss = tn_process_peak_bytes() - own;
    b->waited = tn_crowd_end(&crowd);
    b->int8 = tn_peaks_get(&peaks, TN_PEAK_BYTES);
    b->memory = tn_samples_upper_quartile(&reads);
    tn_infer_bench_free(infer);
    tn_arena_free(arena);
    return status;
}

static tn_status load(tn_bench_infer_job *b) {
    const double begin = tn_clock_seconds();
    b->arena = tn_arena_create("model");
    if (!b->arena) return TN_E_NOMEM;
    TN_TRY(tn_lora_open(&b->lora, b->arena));
    TN_TRY(tn_model_file_load(b->s->model, b->arena, TN_MODEL_RUN, &b->loaded));
    TN_TRY(tn_lora_load(&b->lora, b->arena, &b->loaded));
    b->load_seconds = tn_clock_seconds() - begin;
    b->work = tn_infer_work_of(b->loaded.model);
    const time_t now = (time_t)tn_clock_unix();
    struct tm utc;
    strftime(b->started, sizeof b->started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return TN_OK;
}

/* ---- the command ---- */

static void forget_times(tn_bench_infer_job *b) {
    for (int i = 0; i < b->n_tests; i++) {
        b->tests[i].seconds = (tn_samples){0};
        b->tests[i].runs = 0;
    }
}

static tn_status measure_afresh(tn_bench_infer_job *b, int threads) {
    TN_TRY(tn_par_set_threads(threads));
    forget_times(b);
    return measure(b);
}

/* What goes for all tests. */
static tn_status settle(tn_bench_infer_job *b) {
    const tn_bench_settings *s = b->s;
    const tn_run_preset *preset = tn_run_preset_at(s->preset);
    const int most = tn_model_get_config(b->loaded.model)->context;
    const bool said = s->context || preset->context;
    b->session = (tn_session_options){.context = said ? tn_run_preset_context(preset, s->context, most) : longest(b),
                                      .chunk = s->chunk,
                                      .head = (tn_head_kind)s->head};
    b->limit = preset->limit;
    if (!b->s->prompts_file && longest(b) > most)
        return TN_FAIL(RANGE,
                       "%s was trained for texts of %d tokens, a test takes %d and two more: give smaller -p, -n, -d",
                       b->loaded.path, most, longest(b) - 2);
    return tn_run_preset_cache(preset, s->key_type, s->value_type, &b->session.kv);
}

/* ---- levels ---- */

typedef struct level {
    const char *name;
    int threads; /* at most */
    tn_head_kind head;
    tn_kv_type kv;
} level;

static tn_status print_level(tn_bench_infer_job *b, const level *l) {
    const double prompt = tn_bench_infer_prompt_rate(b), text = tn_bench_infer_text_rate(b);
    double seconds = 0;
    for (int i = 0; i < b->n_tests; i++) seconds += tn_samples_median(&b->tests[i].seconds);
    return tn_cmd_print("| %s | %d | %s | %s | %.2f | %.2f | %.0f | %.0f | %.2f |\n", l->name, tn_par_threads(),
                        l->head == TN_HEAD_EXACT ? "exact" : "screened", tn_kv_type_name(l->kv), prompt, text,
                        (double)b->rss / 0x1p20, 1e3 * seconds, 60 / seconds);
}

/* A request is one prompt and one answer of the sizes asked for. */
static tn_status run_levels(tn_bench_infer_job *b) {
    static const level levels[] = {{"baseline", 1, TN_HEAD_EXACT, TN_KV_F32},
                                   {"optimized", 4, TN_HEAD_EXACT, TN_KV_F16},
                                   {"aggressive", 8, TN_HEAD_SCREENED, TN_KV_Q8_0}};
    if (b->n_tests != 2) return TN_FAIL(ARG, "--levels takes one size of prompt and one of text");
    TN_TRY(tn_cmd_print("| level | threads | head | kv | pp%d t/s | tg%d t/s | MiB | latency ms | requests/min |\n"
                        "|---|---|---|---|---|---|---|---|---|\n",
                        b->tests[0].prompt, b->tests[1].generate));
    for (size_t i = 0; i < TN_COUNT(levels); i++) {
        b->session.head = levels[i].head;
        b->session.kv = levels[i].kv;
        TN_TRY(measure_afresh(b, TN_MIN(levels[i].threads, tn_par_cores())));
        TN_TRY(print_level(b, &levels[i]));
    }
    return TN_OK;
}

/* -n says how long the answers may be; a prompt may take the rest of the model's context. */
static tn_status run_prompts(tn_bench_infer_job *b) {
    tn_bench_list generated = {0};
    TN_TRY(read_list("-n", &b->s->generated, 1, 1 << 20, 100, &generated));
    if (!b->s->context) b->session.context = 0;
    return tn_bench_prompts(b, generated.values[0]);
}

static tn_status run_all(tn_bench_infer_job *b) {
    TN_TRY(make_tests(b));
    TN_TRY(tn_cmd_start_compute(b->threads.values[0]));
    TN_TRY(load(b));
    TN_TRY(settle(b));
    if (b->s->prompts_file) return run_prompts(b);
    if (b->s->levels) return run_levels(b);
    for (int i = 0; i < b->threads.count; i++) {
        TN_TRY(measure_afresh(b, b->threads.values[i]));
        TN_TRY(tn_bench_infer_print(b));
    }
    return TN_OK;
}

static int run_bench(const tn_bench_settings *s) {
    tn_bench_infer_job *b = tn_heap_zalloc(1, sizeof *b);
    if (!b) return tn_cmd_fail(TN_E_NOMEM);
    b->s = s;
    b->lora = s->lora;
    const tn_status status = run_all(b);
    tn_loaded_release(&b->loaded);
    tn_arena_free(b->arena);
    tn_heap_free(b);
    return status ? tn_cmd_fail(status) : TN_EXIT_DONE;
}

int tn_bench_infer(int argc, char **argv) {
    tn_bench_settings s = {.repeats = 5, .chunk = 512};
    const tn_option options[] = {
        {"model", 'm', TN_OPT_TEXT, &s.model, "F", "run folder, checkpoint, GGUF file, Hugging Face folder", 0, 0,
         NULL},
        {"n-prompt", 'p', TN_OPT_LIST, &s.prompts, "N,..", "tokens of a prompt, 512; 0: no such test", 0, 0, NULL},
        {"n-gen", 'n', TN_OPT_LIST, &s.generated, "N,..", "tokens to write, 128; 0: no such test", 0, 0, NULL},
        {"pg", 0, TN_OPT_LIST, &s.both, "P,G", "a prompt and what follows it, as one test", 0, 0, NULL},
        {"prompts", 0, TN_OPT_TEXT, &s.prompts_file, "F",
         "continue each line of F by -n tokens, 100, in place of the tests", 0, 0, NULL},
        {"n-depth", 'd', TN_OPT_LIST, &s.depths, "N,..", "tokens before a test that are not timed, 0", 0, 0, NULL},
        {"parallel|np", 0, TN_OPT_LIST, &s.batches, "N,..", "texts at once, 1", 0, 0, NULL},
        {"threads", 't', TN_OPT_LIST, &s.threads, "N,..", "worker threads, 0 = all cores", 0, 0, NULL},
        {"repetitions", 'r', TN_OPT_INT, &s.repeats, "N", "runs of each test", 1, TN_SAMPLES_MAX, NULL},
        TN_OPTION_CACHE_TYPES(&s.key_type, &s.value_type),
        {"ubatch-size|ub", 0, TN_OPT_INT, &s.chunk, "N", "tokens of a prompt in one pass", 1, 1 << 20, NULL},
        {"ctx-size", 'c', TN_OPT_INT, &s.context, "N", "context in tokens; 0: what the tests need", 0, 1 << 20, NULL},
        {"head", 0, TN_OPT_CHOICE, &s.head, "KIND", "how the most likely token is found; same tokens", 0, 0,
         "screened|exact"},
        TN_OPTION_PRESET(&s.preset),
        TN_OPTIONS_LORA(&s.lora),
        {"levels", 0, TN_OPT_ON, &s.levels, NULL, "baseline, optimized and aggressive settings in one table", 0, 0,
         NULL},
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
        .more = tn_run_presets_list,
        .options = options,
    };
    const int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    if (!s.model)
        return tn_cmd_usage_error("-m is missing: a run folder, checkpoint, GGUF file or Hugging Face folder");
    return run_bench(&s);
}
