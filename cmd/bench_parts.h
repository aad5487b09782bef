/* SPDX-License-Identifier: MIT
 * bench_parts.h - what the kinds of `tern bench` share. */
#ifndef TN_CMD_BENCH_PARTS_H
#define TN_CMD_BENCH_PARTS_H
#include "bench/peak.h"
#include "cmd/cmd.h"
#include "autograd/tape.h"
#include "train/memory_table.h"

tn_command_run tn_bench_infer, tn_bench_lora;

/* Instruction set, BLAS core, threads, and warnings: of a slow BLAS, and of threads that waited for a core for that
 * share of the time. */
tn_status tn_bench_print_machine(double waited);
void tn_bench_put_machine(struct json_t *object, double waited);
/* "Intel(R) Xeon(R) Processor", or what Linux says instead. */
struct json_t *tn_bench_cpu_json(void);

/* Operations a second, two for each multiply-add; what the instruction set lacks is left out. */
tn_status tn_bench_print_peaks(const double *peaks); /* [TN_PEAK_COUNT] multiply-adds a second */
struct json_t *tn_bench_peaks_json(const double *peaks);
const char *tn_bench_backward_name(tn_backward arithmetic); /* "int16" */

/* Seconds by op [TN_OP_COUNT] of steps that took `step`: those that took time, longest first, under a headline; and one
 * more row. */
tn_status tn_bench_print_ops(const double *forward, const double *backward, double step);
tn_status tn_bench_print_time(const char *name, double forward, double backward, double step);
struct json_t *tn_bench_ops_json(const double *forward, const double *backward, double step);
struct json_t *tn_bench_time_json(double forward, double backward, double step);

/* Rows in MiB, what they are together under the name `all`, and what was resident. */
tn_status tn_bench_print_memory(const tn_memory_table *table, const char *all, int64_t resident);
struct json_t *tn_bench_memory_json(const tn_memory_table *table);

#endif
