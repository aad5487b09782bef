/* SPDX-License-Identifier: MIT
 * bench_infer_priv.h - what cmd_bench_infer.c measures and bench_infer_print.c prints. */
#ifndef TN_CMD_BENCH_INFER_PRIV_H
#define TN_CMD_BENCH_INFER_PRIV_H
#include "bench/infer_bench.h"
#include "cmd/lora_options.h"

enum { BENCH_LIST = 32, BENCH_TESTS = 256 };
enum { FORMAT_MD, FORMAT_CSV, FORMAT_JSON, FORMAT_JSONL };

typedef struct tn_bench_list {
    int values[BENCH_LIST];
    int count;
} tn_bench_list;

typedef struct tn_bench_settings {
    const char *model, *prompts_file;
    tn_option_list prompts, generated, both, depths, batches, threads;
    int repeats, format, chunk, context, head;
    int preset, key_type, value_type; /* as on the command line: TN_OPTION_PRESET, TN_OPTION_CACHE_TYPES */
    bool json, no_warmup, progress, levels;
    tn_lora_options lora;
} tn_bench_settings;

typedef struct tn_bench_infer_job {
    const tn_bench_settings *s;
    tn_arena *arena;
    tn_loaded loaded;
    tn_lora_options lora;
    tn_infer_work work;
    tn_infer_test tests[BENCH_TESTS];
    int n_tests;
    tn_bench_list threads;
    tn_session_options session;
    int64_t limit;                             /* bytes that a preset allows; 0 = any */
    double load_seconds, waited, memory, int8; /* bytes and multiply-adds a second */
    int64_t rss;
    char started[32];
} tn_bench_infer_job;

/* As the settings say: a table, rows or one object. */
tn_status tn_bench_infer_print(const tn_bench_infer_job *job);
/* Instead of the tests: continue each line of s->prompts_file by at most `generate` tokens, the most likely ones, and
 * print how that went. A prompt that fails counts as such. */
tn_status tn_bench_prompts(const tn_bench_infer_job *job, int generate);
/* Median tokens a second of the first test that is a prompt alone, or generation alone; 0 when there is none. */
double tn_bench_infer_prompt_rate(const tn_bench_infer_job *job);
double tn_bench_infer_text_rate(const tn_bench_infer_job *job);

#endif
