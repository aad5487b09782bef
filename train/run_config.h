/* SPDX-License-Identifier: MIT
 * run_config.h - the whole configuration of a training run: sections model, data and train behind one tn_config. */
#ifndef TN_TRAIN_RUN_CONFIG_H
#define TN_TRAIN_RUN_CONFIG_H
#include "data/tokenizer.h"
#include "layers/model_config.h"
#include "train/train_config.h"

enum { TN_RUN_SECTIONS = 3 };

typedef struct tn_run_config {
    tn_model_config model;
    tn_data_config data;
    tn_train_config train;
    tn_section sections[TN_RUN_SECTIONS];
    tn_config config; /* for tn_config_load_file, tn_config_set, tn_config_dump */
} tn_run_config;

/* Defaults everywhere; `arena` keeps texts. The struct must not move afterwards. */
tn_status tn_run_config_init(tn_run_config *run, tn_arena *arena);
/* Take the vocabulary's size from the tokenizer when it is not set, complete the model, and check what no section can
 * check by itself; settings that are known to train badly together are warnings. Fails: TN_E_CONFIG naming the keys. */
tn_status tn_run_config_complete(tn_run_config *run, const tn_tokenizer *tokenizer);
/* Give every path of the data section from the root, so that a stored configuration means the same files in whatever
 * folder it is read. What cannot be resolved stays as it is. Fails: TN_E_NOMEM. */
tn_status tn_run_config_make_absolute(tn_run_config *run);
/* What a resumed run may not change - the model, the optimizer, the seed, the tokenizer, the order and the held-out
 * share of the data - compared with the text of a checkpoint's configuration, or with a file of it. `name` stands for
 * the checkpoint. Fails: TN_E_MISMATCH naming the first key that differs, and both values. */
tn_status tn_run_config_compare(const tn_run_config *run, const char *name, const char *text, size_t len);
tn_status tn_run_config_compare_file(const tn_run_config *run, const char *path);

#endif
