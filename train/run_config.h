/* SPDX-License-Identifier: MIT
 * run_config.h - the whole configuration of a training run behind one tn_config: sections model, data and train; for
 * fine-tuning also method and objective, model.base, sections lora, dpo and distill. */
#ifndef TN_TRAIN_RUN_CONFIG_H
#define TN_TRAIN_RUN_CONFIG_H
#include "data/tokenizer.h"
#include "layers/model_config.h"
#include "train/finetune_config.h"
#include "train/train_config.h"

enum { TN_RUN_SECTIONS = 4 + TN_FINETUNE_SECTIONS };

struct tn_base;
struct tn_teacher_file;

typedef struct tn_run_config {
    bool finetunes; /* the model comes out of another; else it is new, and what is for fine-tuning stands unused */
    union {
        tn_model_config model;
        tn_based_model_config based;
    };
    tn_data_config data;
    tn_train_config train;
    tn_finetune_config finetune;
    struct tn_base *base;            /* that other model, once it is open (base.h); borrowed */
    struct tn_teacher_file *teacher; /* of distillation, once it is open (teacher.h); borrowed */
    tn_section sections[TN_RUN_SECTIONS];
    tn_config config; /* for tn_config_load_file, tn_config_set, tn_config_dump */
} tn_run_config;

/* Defaults everywhere; `arena` keeps texts. The struct must not move afterwards. */
tn_status tn_run_config_init(tn_run_config *run, tn_arena *arena);
/* The same for fine-tuning, with the defaults of finetune_defaults.def. */
tn_status tn_run_config_init_finetune(tn_run_config *run, tn_arena *arena);
/* Let the model be that of `base`, but for what is this run's own (dropout). Fails: TN_E_CONFIG naming a setting that
 * was given and contradicts it. */
tn_status tn_run_config_take_model(tn_run_config *run, const char *base, const tn_model_config *model);
/* Tokens of a row in training: model.context, or in fine-tuning data.max_length where that is less. */
int tn_run_config_row_length(const tn_run_config *run);
/* Take the vocabulary's size from the tokenizer when it is not set, complete the model, and check what no section can
 * check by itself; settings that are known to train badly together are warnings. Fails: TN_E_CONFIG naming the keys. */
tn_status tn_run_config_complete(tn_run_config *run, const tn_tokenizer *tokenizer);
/* Give every path of the configuration from the root, so that a stored configuration means the same files in whatever
 * folder it is read. What cannot be resolved stays as it is. Fails: TN_E_NOMEM. */
tn_status tn_run_config_make_absolute(tn_run_config *run);
/* What a resumed run may not change - the model, the optimizer, the seed, the tokenizer, the order and the held-out
 * share of the data, what fine-tuning trains and for what - compared with the text of a checkpoint's configuration, or
 * with a file of it. `name` stands for the checkpoint. Fails: TN_E_MISMATCH naming the first key that differs, and both
 * values. */
tn_status tn_run_config_compare(const tn_run_config *run, const char *name, const char *text, size_t len);
tn_status tn_run_config_compare_file(const tn_run_config *run, const char *path);

#endif
