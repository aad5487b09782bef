/* SPDX-License-Identifier: MIT
 * trainer.h - the loop: steps, evaluations, rows of metrics, checkpoints, samples, until a limit, a signal or a guard
 * ends it. One number, the step, decides what happens when, so a run that is killed at any instant and resumed ends
 * with the bits of one that was left alone (weights, slots and all that metrics.def does not call time). Evaluations
 * and samples are of the model quantised in full, as it is exported, also during train.quant_warmup_tokens. Never
 * prints: progress goes to a callback, warnings and samples to the log. Life: create, run, (run again does nothing
 * more,) free. */
#ifndef TN_TRAIN_TRAINER_H
#define TN_TRAIN_TRAINER_H
#include "layers/model.h"
#include "train/checkpoint.h"
#include "train/objective.h"
#include "train/run_config.h"

#include <signal.h>

typedef struct tn_trainer tn_trainer;

/* Where the run stands after a step. NAN = not known yet. */
typedef struct tn_progress {
    int64_t step, total;           /* total: 0 when only train.max_time ends the run */
    tn_objective_means train, val; /* of this step, of the last evaluation */
    double learning_rate, grad_norm;
    double tokens_per_second; /* moving average */
    double seconds_left;
    int64_t skipped, rss_bytes;
    bool row; /* this step was written to the metrics files */
} tn_progress;

typedef struct tn_trainer_hooks {
    void *context;
    void (*progress)(void *context, const tn_progress *progress); /* after every step; or NULL */
    /* Append a text of `n_tokens` tokens that begins with `prompt`; or NULL, then train.sample_steps has no effect. The
     * model is refreshed and may be run, not changed. `seed` belongs to this step. A failure is a warning. */
    tn_status (*sample)(void *context, tn_model *model, const tn_tokenizer *tokenizer, const char *prompt, int n_tokens,
                        uint64_t seed, tn_buf *out);
    const volatile sig_atomic_t *stop; /* when it becomes non-zero: finish the step, save, end; or NULL */
} tn_trainer_hooks;

typedef struct tn_trainer_options {
    const char *run_dir;
    bool resume;     /* go on with the run in run_dir; else the folder must be new or empty */
    int64_t max_ram; /* bytes; a run that plans to take more gets settings that do not (fit.h), which config.yaml then
                        has, or is refused (TN_E_RANGE); 0 = no limit */
    tn_trainer_hooks hooks;
} tn_trainer_options;

typedef enum tn_run_end {
    TN_END_STEPS,    /* max_steps, epochs or max_tokens reached */
    TN_END_TIME,     /* max_time reached */
    TN_END_PATIENCE, /* no better evaluation for too long */
    TN_END_STOPPED   /* hooks.stop */
} tn_run_end;

typedef struct tn_run_summary {
    tn_run_end end;
    int64_t step, total, tokens, skipped;
    double train_loss, val_loss, val_bits_per_byte; /* the last ones; NAN = none */
    double val_kl, val_accuracy;                    /* the same of distillation, of preferences */
    double best_loss;
    int64_t best_step;     /* -1 = none */
    double flipped_share;  /* states that lora_merged has changed, of those it may; NAN for other methods */
    double seconds;        /* of this part of the run */
    tn_file_report rows;   /* what became of those of data.train */
    char checkpoint[4096]; /* the newest one, "" when there is none */
} tn_run_summary;

/* Opens the data, makes or restores everything, takes the folder's lock, writes config.yaml. `config` is completed
 * (vocabulary size, derived sizes, settings that fit) and must outlive the trainer. A damaged newest checkpoint is
 * passed over for the one before it, with a warning; a folder without any starts at step 0. A train.sample_prompt that
 * no sample could begin with is refused here, not hours later.
 * Fails: what its parts give; the sentence says what to do. */
tn_status tn_trainer_create(tn_trainer **out, tn_run_config *config, const tn_trainer_options *options);
/* Fails: TN_E_NAN after train.guard_patience steps without a finite loss and gradient (the newest checkpoint is from
 * before them); TN_E_IO when a file cannot be written; what a pass gives. */
tn_status tn_trainer_run(tn_trainer *trainer, tn_run_summary *summary);
void tn_trainer_free(tn_trainer *trainer); /* NULL is fine */

tn_model *tn_trainer_model(tn_trainer *trainer);
tn_optimizer *tn_trainer_optimizer(tn_trainer *trainer);
const tn_tokenizer *tn_trainer_tokenizer(const tn_trainer *trainer);

#endif
