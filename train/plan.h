/* SPDX-License-Identifier: MIT
 * plan.h - what a run will take, known before it starts: parameters, memory by purpose, arithmetic, time.
 * Memory is counted by building the run's own engine (engine.h) on addresses that are never touched. Time is measured:
 * a few optimizer steps of this model on this machine, on about a thousand tokens of the run's data. */
#ifndef TN_TRAIN_PLAN_H
#define TN_TRAIN_PLAN_H
#include "layers/model.h"
#include "train/memory_table.h"
#include "train/run_config.h"

enum { TN_PLAN_TEXT = 200 };

typedef struct tn_plan {
    tn_model_counts parameters;
    int64_t trained;               /* numbers that the optimizer moves; all parameters of a new model */
    tn_memory_table memory;        /* largest first */
    char chosen[TN_PLAN_TEXT];     /* settings that a limit of memory has changed (fit.h); "" = none */
    int64_t least;                 /* what the smallest settings would take when none fit; 0 = they do */
    char least_with[TN_PLAN_TEXT]; /* and these settings; "" = those of the plan */
    tn_model_flops flops;          /* of the forward pass, a token */
    int64_t steps, tokens;         /* of the run; 0 when only train.max_time ends it */
    int64_t tokens_per_step, train_tokens, validation_tokens;
    double tokens_per_second; /* while training; 0 = not measured */
    double seconds;           /* of the whole run with its evaluations; 0 = not known */
    char how[TN_PLAN_TEXT];   /* a sentence: where the time comes from, or why there is none */
} tn_plan;

/* `config` is completed, and changed when it takes more than `max_ram` bytes (0 = no limit) and other settings do not
 * (fit.h); a measurement that would not fit is left out. `tokenizer_file`: as for tn_train_data_open. Fails: what
 * opening the data gives; TN_E_CONFIG. */
tn_status tn_plan_make(tn_plan *plan, tn_run_config *config, const char *tokenizer_file, int64_t max_ram);
/* The memory alone, added to a zeroed plan, of a run whose data are open and whose `config` is complete. */
tn_status tn_plan_count_memory(tn_plan *plan, const tn_run_config *config, const tn_course *course);
/* Fails: TN_E_RANGE naming the figures when the plan takes more than `max_ram` bytes; 0 = no limit. */
tn_status tn_plan_check_ram(const tn_plan *plan, int64_t max_ram);

#endif
