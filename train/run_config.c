/* SPDX-License-Identifier: MIT */
#include "train/run_config.h"
#include "data/chat_prompt.h"
#include "data/tokenizer_file.h"

#include "core/fs.h"
#include "core/log.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

tn_status tn_run_config_init(tn_run_config *run, tn_arena *arena) {
    *run = (tn_run_config){0};
    run->sections[0] = tn_model_section(&run->model);
    run->sections[1] = tn_data_section(&run->data);
    run->sections[2] = tn_train_section(&run->train);
    run->config = (tn_config){.arena = arena, .sections = run->sections, .n_sections = TN_RUN_SECTIONS};
    return tn_config_defaults(&run->config);
}

static tn_status check_patience(const tn_run_config *run) {
    if (!run->train.patience) return TN_OK;
    if (!run->train.eval_steps)
        return TN_FAIL(CONFIG,
                       "train.patience counts evaluations, but train.eval_steps is 0: there is only one, at the "
                       "end of the run");
    if (!run->data.validation.count && !(run->data.validation_fraction > 0))
        return TN_FAIL(CONFIG, "train.patience waits for a better held-out loss, but no data is held out "
                               "(data.validation, data.validation_fraction)");
    return TN_OK;
}

/* Muon's updates have a length of their own, so the defaults, which are AdamW's, hold it back. */
static void warn_of_muon(const tn_train_config *c) {
    if (c->optimizer != TN_OPTIMIZER_muon) return;
    if (c->max_grad_norm > 0)
        tn_log(TN_LOG_WARN, "train", "train.optimizer is muon, which stalls under train.max_grad_norm %g; 0 is advised",
               c->max_grad_norm);
    if (c->weight_decay > 0)
        tn_log(TN_LOG_WARN, "train",
               "train.optimizer is muon, which learns less under train.weight_decay %g; 0 is advised", c->weight_decay);
    if (c->learning_rate < 0.005)
        tn_log(TN_LOG_WARN, "train",
               "train.optimizer is muon, which is slow at train.learning_rate %g; 0.02 to 0.04 is advised",
               c->learning_rate);
}

tn_status tn_run_config_complete(tn_run_config *run, const tn_tokenizer *tokenizer) {
    tn_model_config *model = &run->model;
    int size = tn_tokenizer_size(tokenizer);
    if (!model->vocab_size) model->vocab_size = size;
    if (model->vocab_size < size)
        return TN_FAIL(CONFIG, "model.vocab_size is %d, but the tokenizer has %d ids", model->vocab_size, size);
    TN_TRY(check_patience(run));
    int blocks;
    TN_TRY(tn_train_recompute(&run->train, &blocks));
    warn_of_muon(&run->train);
    if (run->train.quant_warmup_tokens && model->quantization == TN_QUANTIZATION_NONE)
        return TN_FAIL(CONFIG, "train.quant_warmup_tokens has nothing to warm up: model.quantization is none");
    return tn_model_config_complete(model);
}

/* ---- paths ---- */

static tn_status make_absolute(const char **path, tn_arena *arena) {
    char whole[PATH_MAX];
    if (!realpath(*path, whole)) return TN_OK;
    *path = tn_arena_strdup(arena, whole, "configuration");
    return *path ? TN_OK : TN_E_NOMEM;
}

static tn_status make_list_absolute(tn_text_list *list, tn_arena *arena) {
    const char **items = tn_arena_array(arena, (size_t)list->count, sizeof *items, "configuration");
    if (!items) return TN_E_NOMEM;
    for (int i = 0; i < list->count; i++) {
        items[i] = list->items[i];
        TN_TRY(make_absolute(&items[i], arena));
    }
    list->items = items;
    return TN_OK;
}

tn_status tn_run_config_make_absolute(tn_run_config *run) {
    tn_arena *arena = run->config.arena;
    const char **tokenizer = &run->data.tokenizer, **chat_template = &run->data.chat_template;
    TN_TRY(make_list_absolute(&run->data.train, arena));
    TN_TRY(make_list_absolute(&run->data.validation, arena));
    if (!tn_chat_template_is_name(*chat_template)) TN_TRY(make_absolute(chat_template, arena));
    return tn_tokenizer_is_learnt(*tokenizer) || !**tokenizer ? TN_OK : make_absolute(tokenizer, arena);
}

/* ---- what a resumed run may not change ---- */

/* Keys of other sections that decide what the stored state means. */
static const char *const fixed_keys[] = {
    "train.seed",      "train.optimizer", "data.shuffle",      "data.validation_fraction",
    "data.tokenizer",  "data.vocab_size", "data.split",        "data.packing",
    "data.max_length", "data.overflow",   "data.document_mask"};

static bool is_fixed(const char *section, const char *key) {
    if (strcmp(section, "model") == 0) return true;
    for (size_t i = 0; i < TN_COUNT(fixed_keys); i++) {
        size_t n = strlen(section);
        if (strncmp(fixed_keys[i], section, n) == 0 && fixed_keys[i][n] == '.' &&
            strcmp(fixed_keys[i] + n + 1, key) == 0)
            return true;
    }
    return false;
}

/* The value of one key as text: the dump of a section that has just this key, behind "name:\n  key: ". */
static tn_status value_text(const tn_section *section, const tn_key *key, tn_buf *out) {
    tn_section one = {.name = "", .keys = key, .n_keys = 1, .values = section->values};
    tn_config config = {.sections = &one, .n_sections = 1};
    tn_buf_reset(out);
    TN_TRY(tn_config_dump(&config, out));
    if (out->len) out->data[--out->len] = '\0';
    return TN_OK;
}

static tn_status compare_keys(const tn_section *mine, const tn_section *theirs, const char *name, tn_buf *a,
                              tn_buf *b) {
    for (int k = 0; k < mine->n_keys; k++) {
        if (!is_fixed(mine->name, mine->keys[k].name)) continue;
        TN_TRY(value_text(mine, &mine->keys[k], a));
        TN_TRY(value_text(theirs, &theirs->keys[k], b));
        if (strcmp(tn_buf_text(a), tn_buf_text(b)) != 0)
            return TN_FAIL(MISMATCH, "%s: was trained with %s.%s, but this run has %s.%s", name, mine->name,
                           tn_buf_text(b), mine->name, tn_buf_text(a));
    }
    return TN_OK;
}

static tn_status compare_with(const tn_run_config *run, tn_arena *arena, const char *name, const char *text,
                              size_t len) {
    tn_run_config other;
    TN_TRY(tn_run_config_init(&other, arena));
    other.config.ignore_other_sections = true;
    TN_TRY(tn_config_load_text(&other.config, name, text, len));
    TN_TRY(tn_run_config_make_absolute(&other));
    TN_TRY(tn_model_config_complete(&other.model));
    tn_buf a = {0}, b = {0};
    tn_status status = TN_OK;
    for (int s = 0; s < TN_RUN_SECTIONS && !status; s++)
        status = compare_keys(&run->sections[s], &other.sections[s], name, &a, &b);
    tn_buf_release(&a);
    tn_buf_release(&b);
    return status;
}

tn_status tn_run_config_compare(const tn_run_config *run, const char *name, const char *text, size_t len) {
    tn_arena *arena = tn_arena_create("stored configuration");
    if (!arena) return TN_E_NOMEM;
    tn_status status = compare_with(run, arena, name, text, len);
    tn_arena_free(arena);
    return status;
}

tn_status tn_run_config_compare_file(const tn_run_config *run, const char *path) {
    tn_buf text = {0};
    tn_status status = tn_file_read(path, (size_t)1 << 20, &text);
    if (!status) status = tn_run_config_compare(run, path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}
