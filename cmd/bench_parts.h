/* SPDX-License-Identifier: MIT
 * bench_parts.h - what the kinds of `tern bench` share. */
#ifndef TN_CMD_BENCH_PARTS_H
#define TN_CMD_BENCH_PARTS_H
#include "cmd/cmd.h"

tn_command_run tn_bench_infer;

/* Instruction set, BLAS core, threads, and warnings: of a slow BLAS, and of threads that waited for a core for that
 * share of the time. */
tn_status tn_bench_print_machine(double waited);
void tn_bench_put_machine(struct json_t *object, double waited);
/* "Intel(R) Xeon(R) Processor", or what Linux says instead. */
struct json_t *tn_bench_cpu_json(void);

#endif
