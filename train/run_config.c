/* SPDX-License-Identifier: MIT */
#include "train/run_config.h"
#include "data/chat_prompt.h"
#include "data/tokenizer_file.h"

#include "core/fs.h"
#include "core/log.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static tn_section *add_section(tn_run_config *run, tn_section section) {
    run->sections[run->config.n_sections] = section;
    return &run->sections[run->config.n_sections++];
}

static tn_section *start(tn_run_config *run, tn_arena *arena, bool finetunes) {
    *run = (tn_run_config){.finetunes = finetunes, .config = {.arena = arena, .sections = run->sections}};
    if (finetunes) add_section(run, tn_method_section(&run->finetune.tuning));
    tn_section *model =
        add_section(run, finetunes ? tn_based_model_section(&run->based) : tn_model_section(&run->model));
    add_section(run, tn_data_section(&run->data));
    add_section(run, tn_train_section(&run->train));
    return model;
}

tn_status tn_run_config_init(tn_run_config *run, tn_arena *arena) {
    start(run, arena, false);
    return tn_config_defaults(&run->config);
}

/* ---- fine-tuning ---- */

static tn_section *section_named(tn_run_config *run, const char *name) {
    tn_section *section = run->sections;
    while (strcmp(section->name, name) != 0) section++;
    return section;
}

static tn_key *key_named(tn_key *keys, const char *name) {
    while (strcmp(keys->name, name) != 0) keys++;
    return keys;
}

/* Sections whose defaults change get keys of their own. */
static tn_status change_defaults(tn_run_config *run) {
    static const struct {
        const char *section, *key, *value;
    } changes[] = {
#define DEFAULT(section, key, value) {section, key, value},
#include "train/finetune_defaults.def"
#undef DEFAULT
    };
    tn_key *keys = NULL;
    for (size_t i = 0; i < TN_COUNT(changes); i++) {
        tn_section *section = section_named(run, changes[i].section);
        if (section->keys != keys) {
            TN_TAKE(keys, run->config.arena, section->n_keys, "configuration");
            memcpy(keys, section->keys, sizeof *keys * (size_t)section->n_keys);
            section->keys = keys;
        }
        key_named(keys, changes[i].key)->initial = changes[i].value;
    }
    return TN_OK;
}

tn_status tn_run_config_init_finetune(tn_run_config *run, tn_arena *arena) {
    tn_section own[TN_FINETUNE_SECTIONS], *model = start(run, arena, true);
    tn_section *train = section_named(run, "train");
    TN_TAKE0(model->given, arena, model->n_keys, "configuration");
    TN_TAKE0(train->given, arena, train->n_keys, "configuration");
    tn_finetune_sections(&run->finetune, own);
    for (int i = 0; i < TN_FINETUNE_SECTIONS; i++) add_section(run, own[i]);
    tn_section *lora = section_named(run, "lora");
    TN_TAKE0(lora->given, arena, lora->n_keys, "configuration");
    TN_TRY(change_defaults(run));
    return tn_config_defaults(&run->config);
}

static bool is_given(const tn_section *section, const char *key) {
    int k = 0;
    while (strcmp(section->keys[k].name, key) != 0) k++;
    return section->given[k];
}

/* What a run may have besides, or in place of, what its base has. */
static bool is_own(const tn_key *key) { return strcmp(key->name, "base") == 0 || strcmp(key->name, "dropout") == 0; }

static tn_status compare_model(const tn_section *mine, const tn_section *theirs, const char *base, tn_buf *a,
                               tn_buf *b) {
    for (int k = 0; k < mine->n_keys; k++) {
        if (!mine->given[k] || is_own(&mine->keys[k])) continue;
        TN_TRY(tn_config_value_text(mine, &mine->keys[k], a));
        TN_TRY(tn_config_value_text(theirs, &theirs->keys[k], b));
        if (strcmp(tn_buf_text(a), tn_buf_text(b)) != 0)
            return TN_FAIL(CONFIG, "the configuration has model.%s, but the base %s has model.%s; leave it out",
                           tn_buf_text(a), base, tn_buf_text(b));
    }
    return TN_OK;
}

tn_status tn_run_config_take_model(tn_run_config *run, const char *base, const tn_model_config *model) {
    const tn_section *mine = section_named(run, "model");
    tn_based_model_config taken = {*model, run->based.base};
    const tn_section theirs = tn_based_model_section(&taken);
    tn_buf a = {0}, b = {0};
    if (is_given(mine, "dropout")) taken.model.dropout = run->model.dropout;
    tn_status status = compare_model(mine, &theirs, base, &a, &b);
    tn_buf_release(&a);
    tn_buf_release(&b);
    if (!status) run->based = taken;
    return status;
}

/* ---- what no section can check by itself ---- */

/* A default does not contradict what was asked for. */
static void leave_to_batch_tokens(tn_run_config *run) {
    const tn_section *train = section_named(run, "train");
    if (train->given && run->train.batch_tokens && !is_given(train, "grad_accumulation"))
        run->train.grad_accumulation = 1;
}

/* References have no dropout, so that of a pass would be a reward for chance: there is none but by wish. */
static void settle_dropout(tn_run_config *run) {
    tn_lora_config *lora = &run->finetune.lora;
    if (!run->finetunes || run->finetune.objective != TN_OBJECTIVE_DPO) return;
    if (!is_given(section_named(run, "lora"), "dropout")) lora->dropout = 0;
    const bool adapts = run->finetune.method == TN_METHOD_LORA && lora->dropout > 0;
    if (adapts || run->model.dropout > 0)
        tn_log(TN_LOG_WARN, "train",
               "%s.dropout is %g, but what the base makes of the answers is computed without; to dpo 0 is advised",
               adapts ? "lora" : "model", adapts ? lora->dropout : run->model.dropout);
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

static tn_status check_quant_warmup(const tn_run_config *run) {
    char name[16];
    if (!run->train.quant_warmup_tokens) return TN_OK;
    if (run->model.quantization == TN_QUANTIZATION_NONE)
        return TN_FAIL(CONFIG, "train.quant_warmup_tokens has nothing to warm up: model.quantization is none");
    if (run->finetunes && tn_tuning_needs_base(&run->finetune.tuning))
        return TN_FAIL(CONFIG,
                       "train.quant_warmup_tokens has nothing to warm up: method %s trains beside quantised weights",
                       tn_method_name((tn_method)run->finetune.method, name));
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
    TN_TRY(check_quant_warmup(run));
    leave_to_batch_tokens(run);
    settle_dropout(run);
    int blocks;
    TN_TRY(tn_train_recompute(&run->train, &blocks));
    warn_of_muon(&run->train);
    return tn_model_config_complete(model);
}

int tn_run_config_row_length(const tn_run_config *run) {
    int most = run->data.max_length;
    return run->finetunes && most ? TN_MIN(most, run->model.context) : run->model.context;
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
    if (run->finetunes) {
        TN_TRY(make_absolute(&run->based.base, arena));
        TN_TRY(make_absolute(&run->finetune.distill.teacher, arena));
    }
    return tn_tokenizer_is_learnt(*tokenizer) || !**tokenizer ? TN_OK : make_absolute(tokenizer, arena);
}

/* ---- what a resumed run may not change ---- */

/* Keys of other sections that decide what the stored state means. */
static const struct {
    const char *section, *key;
} fixed_keys[] = {{"train", "seed"},
                  {"train", "optimizer"},
                  {"data", "shuffle"},
                  {"data", "validation_fraction"},
                  {"data", "tokenizer"},
                  {"data", "vocab_size"},
                  {"data", "split"},
                  {"data", "packing"},
                  {"data", "max_length"},
                  {"data", "overflow"},
                  {"data", "document_mask"},
                  {"", "method"},
                  {"", "objective"},
                  {"", "relative_learning_rate"},
                  {"lora", "rank"},
                  {"lora", "alpha"},
                  {"lora", "rslora"},
                  {"lora", "target_modules"},
                  {"lora", "modules_to_save"},
                  {"lora", "input"}};

/* A base may have moved; what it holds is compared by its fingerprint. */
static bool is_fixed(const char *section, const char *key) {
    if (strcmp(section, "model") == 0) return strcmp(key, "base") != 0;
    for (size_t i = 0; i < TN_COUNT(fixed_keys); i++)
        if (strcmp(section, fixed_keys[i].section) == 0 && strcmp(key, fixed_keys[i].key) == 0) return true;
    return false;
}

static tn_status compare_keys(const tn_section *mine, const tn_section *theirs, const char *name, tn_buf *a,
                              tn_buf *b) {
    for (int k = 0; k < mine->n_keys; k++) {
        if (!is_fixed(mine->name, mine->keys[k].name)) continue;
        TN_TRY(tn_config_value_text(mine, &mine->keys[k], a));
        TN_TRY(tn_config_value_text(theirs, &theirs->keys[k], b));
        const char *dot = *mine->name ? "." : "";
        if (strcmp(tn_buf_text(a), tn_buf_text(b)) != 0)
            return TN_FAIL(MISMATCH, "%s: was trained with %s%s%s, but this run has %s%s%s", name, mine->name, dot,
                           tn_buf_text(b), mine->name, dot, tn_buf_text(a));
    }
    return TN_OK;
}

static tn_status compare_with(const tn_run_config *run, tn_arena *arena, const char *name, const char *text,
                              size_t len) {
    tn_run_config other;
    TN_TRY(run->finetunes ? tn_run_config_init_finetune(&other, arena) : tn_run_config_init(&other, arena));
    other.config.ignore_other_sections = true;
    TN_TRY(tn_config_load_text(&other.config, name, text, len));
    TN_TRY(tn_run_config_make_absolute(&other));
    TN_TRY(tn_model_config_complete(&other.model));
    tn_buf a = {0}, b = {0};
    tn_status status = TN_OK;
    for (int s = 0; s < run->config.n_sections && !status; s++)
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
