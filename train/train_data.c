/* SPDX-License-Identifier: MIT */
#include "train/train_data.h"

#include "core/arena.h"
#include "core/fs.h"
#include "core/log.h"
#include "data/tokenizer_file.h"
#include "formats/checksum.h"
#include "train/objective_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tokenizer ---- */

static tn_status learn_tokenizer(tn_tokenizer **out, const tn_data_config *c, tn_tokenizer_kind kind) {
    const tn_tokenizer_options options = {.kind = kind, .split = (tn_split)c->split, .vocab_size = c->vocab_size};
    const tn_example_options examples = tn_data_examples(c, 0);
    return tn_tokenizer_learn(out, &options, &examples.rows, c->train.items, c->train.count);
}

static tn_status make_tokenizer(tn_tokenizer **out, const tn_data_config *c, const char *file) {
    if (file && tn_path_exists(file)) return tn_tokenizer_load(out, file);
    if (strcmp(c->tokenizer, "char") == 0) return learn_tokenizer(out, c, TN_TOKENIZER_CHAR);
    if (strcmp(c->tokenizer, "bpe") == 0) return learn_tokenizer(out, c, TN_TOKENIZER_BPE);
    if (*c->tokenizer) return tn_tokenizer_load(out, c->tokenizer);
    return TN_FAIL(CONFIG, "data.train is text, so data.tokenizer is needed: char, bpe or a file that has one");
}

/* ---- stores ---- */

static bool any_store(const tn_text_list *paths) {
    for (int i = 0; i < paths->count; i++)
        if (tn_store_is_store(paths->items[i])) return true;
    return false;
}

static tn_status tell(const char *key, const tn_file_report *r) {
    tn_buf dropped = {0};
    tn_status status = tn_data_report_put_dropped(r, &dropped);
    tn_log(TN_LOG_INFO, "train", "%s: %lld documents, %lld bytes, %lld tokens", key, (long long)r->documents,
           (long long)r->bytes, (long long)r->tokens);
    if (r->targets + r->documents < r->tokens || r->rows != r->kept)
        tn_log(TN_LOG_INFO, "train",
               "%s: of %lld rows %lld are used, %lld of them cut%s; %lld of the tokens are learnt", key,
               (long long)r->rows, (long long)r->kept, (long long)r->cut, tn_buf_text(&dropped), (long long)r->targets);
    tn_buf_release(&dropped);
    return status;
}

/* What makes rows into documents has been decided for a store. */
static void warn_of_settings(const char *store, const tn_data_config *c) {
    const struct {
        const char *key;
        bool given;
    } settings[] = {{"data.max_samples", c->max_samples != 0},
                    {"data.dedup", c->dedup},
                    {"data.chat_template", strcmp(c->chat_template, "model") != 0},
                    {"data.loss_on", c->loss_on != TN_LOSS_AUTO},
                    {"data.train_on_eos", c->train_on_eos != TN_EOS_TURN},
                    {"data.eot_tokens", c->eot_tokens.count != 0}};
    for (size_t i = 0; i < TN_COUNT(settings); i++)
        if (settings[i].given)
            tn_log(TN_LOG_WARN, "train", "%s is not used: %s is a token store, for which tern data prepare takes it",
                   settings[i].key, store);
}

/* One store, or texts and rows made into documents with `tokenizer`; `rows` receives what became of these. */
static tn_status open_paths(tn_store **out, const char *key, const tn_text_list *paths, const tn_tokenizer *tokenizer,
                            const tn_example_options *options, tn_file_report *rows) {
    if (any_store(paths)) {
        if (paths->count > 1)
            return TN_FAIL(CONFIG, "%s: a token store stands alone in its list; join the texts into one store", key);
        return tn_store_open(out, paths->items[0]);
    }
    tn_data_report report = {0};
    tn_status status = tn_store_build_examples_memory(out, paths->items, paths->count, tokenizer, options, &report);
    *rows = tn_data_report_total(&report);
    if (!status) status = tell(key, rows);
    tn_data_report_release(&report);
    return status;
}

/* Longer rows are split when they are packed: until then a row is one document, on one side of what is held out. */
static tn_example_options whole_rows(const tn_data_config *c, int context) {
    tn_example_options options = tn_data_examples(c, context);
    if (options.overflow == TN_OVERFLOW_SPLIT) options.max_length = 0;
    return options;
}

/* How to learn a tokenizer is advice for texts, which a configuration may give without knowing what it is used on; a
 * file that has one contradicts what brings its own. */
static tn_status leave_to(const char *owner, const tn_data_config *c) {
    if (!*c->tokenizer) return TN_OK;
    if (!tn_tokenizer_is_learnt(c->tokenizer))
        return TN_FAIL(CONFIG, "data.tokenizer is \"%.200s\", but %s brings its own tokenizer; leave it out",
                       c->tokenizer, owner);
    tn_log(TN_LOG_INFO, "train", "%s has its own tokenizer; data.tokenizer is not used", owner);
    return TN_OK;
}

static tn_status check_tokenizer(const tn_store *store, const char *whose, const tn_tokenizer *tokenizer) {
    char mine[17], theirs[17];
    tn_tokenizer_hash(tokenizer, mine);
    tn_tokenizer_hash(tn_store_tokenizer(store), theirs);
    if (strcmp(mine, theirs) == 0) return TN_OK;
    return TN_FAIL(MISMATCH, "%s was made with another tokenizer than %s (%s, not %s)", tn_store_name(store), whose,
                   theirs, mine);
}

/* Whose tokenizer it is: the base's, the store's, or one that is made for this run. */
static tn_status open_train(tn_train_data *data, const tn_data_config *c, const tn_tokenizer *base,
                            const char *tokenizer_file, int context) {
    const tn_example_options options = whole_rows(c, context);
    bool store = any_store(&c->train);
    if (base || store) TN_TRY(leave_to(base ? "the base" : "a token store", c));
    if (store) warn_of_settings(c->train.items[0], c);
    if (!base && !store) TN_TRY(make_tokenizer(&data->own, c, tokenizer_file));
    TN_TRY(open_paths(&data->store, "data.train", &c->train, base ? base : data->own, &options, &data->rows));
    data->tokenizer = tn_store_tokenizer(data->store); /* with the template that its conversations went through */
    return base ? check_tokenizer(data->store, "the base", base) : TN_OK;
}

static tn_status check_each(const char *key, const tn_text_list *paths) {
    for (int i = 0; i < paths->count; i++)
        if (!tn_path_exists(paths->items[i]))
            return TN_FAIL(MISSING, "%s: cannot open: there is no such file or folder (%s)", paths->items[i], key);
    return TN_OK;
}

static tn_status check_paths(const tn_data_config *c) {
    if (!c->train.count) return TN_FAIL(CONFIG, "data.train names no file to learn from");
    TN_TRY(check_each("data.train", &c->train));
    return check_each("data.validation", &c->validation);
}

static tn_status open_held_out(tn_train_data *data, const tn_data_config *c, int context) {
    tn_example_options options = whole_rows(c, context);
    tn_file_report rows;
    options.max_samples = 0;
    TN_TRY(open_paths(&data->held_out, "data.validation", &c->validation, data->tokenizer, &options, &rows));
    return check_tokenizer(data->held_out, tn_store_name(data->store), data->tokenizer);
}

/* ---- ranges of running text ---- */

typedef struct ranges {
    tn_train_data *data;
    const tn_data_config *config;
    int context;
    uint64_t seed;
} ranges;

static tn_status cover(const ranges *r, tn_batches *batches, const char *what, const tn_store *store, int64_t first,
                       int64_t count, bool shuffle) {
    if (count < r->context + 1)
        return TN_FAIL(RANGE, "the %s data has %lld tokens, but one row takes %d and one more (model.context)", what,
                       (long long)count, r->context);
    return tn_batches_init(batches, store, first, count, r->context, r->seed, shuffle);
}

static tn_status split_text(const ranges *r) {
    tn_train_data *data = r->data;
    int64_t all = tn_store_n_tokens(data->store), train = all;
    if (data->held_out) {
        TN_TRY(cover(r, &data->validation, "held-out", data->held_out, 0, tn_store_n_tokens(data->held_out), false));
    } else if (data->validates) {
        train = (int64_t)((double)all * (1 - r->config->validation_fraction));
        TN_TRY(cover(r, &data->validation, "held-out", data->store, train, all - train, false));
    }
    return cover(r, &data->train, "training", data->store, 0, train, r->config->shuffle);
}

/* ---- ranges of documents ---- */

bool tn_train_data_has_documents(const tn_data_config *config, const tn_store *store) {
    return config->packing != TN_PACKING_AUTO || tn_store_kind(store) != TN_ROW_TEXT || tn_store_mask(store);
}

static void tell_packing(const char *what, const tn_row_packing_report *p, int context) {
    double full = 100 * (double)p->places / ((double)p->rows * context);
    tn_log(TN_LOG_INFO, "train", "%s data: %lld documents in %lld rows of %d, %.1f %% full, %.1f %% of that is learnt",
           what, (long long)p->documents, (long long)p->rows, context, full,
           100 * (double)p->targets / (double)p->places);
    if (p->cut + p->too_long + p->zero_target)
        tn_log(TN_LOG_WARN, "train",
               "%s data: %lld documents are longer than a row and cut, %lld left out; %lld have nothing to learn", what,
               (long long)p->cut, (long long)p->too_long, (long long)p->zero_target);
}

static tn_status pack(const ranges *r, tn_row_packing **packing, tn_batches *batches, const char *what,
                      const tn_store *store, int64_t first, int64_t count, bool shuffle) {
    const tn_data_config *c = r->config;
    const tn_row_packing_options options = {
        .how = c->packing, .context = r->context, .max_length = c->max_length, .overflow = c->overflow};
    tn_row_packing_report report;
    TN_TRY(tn_row_packing_create(packing, store, first, count, &options, &report));
    tell_packing(what, &report, r->context);
    tn_batches_init_documents(batches, *packing, first, count, r->seed, shuffle, c->document_mask);
    return TN_OK;
}

/* Documents for training of `count`, whole pairs of preferences, at least one on either side. */
static int64_t share_of(const ranges *r, int64_t count) {
    int64_t unit = tn_store_kind(r->data->store) == TN_ROW_PREFERENCE ? 2 : 1, units = count / unit;
    int64_t train = (int64_t)((double)units * (1 - r->config->validation_fraction));
    return TN_MIN(TN_MAX(train, (int64_t)1), units - 1) * unit;
}

/* ---- documents on both sides ---- */

static int compare_sums(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* A sum of the tokens of each document [first, first + count); heap. */
static tn_status sum_documents(const tn_store *store, int64_t first, int64_t count, uint64_t **sums) {
    int64_t longest = 0;
    for (int64_t i = first; i < first + count; i++) longest = TN_MAX(longest, tn_store_doc_length(store, i));
    int32_t *ids = tn_heap_zalloc((size_t)longest, sizeof *ids);
    *sums = tn_heap_zalloc((size_t)count, sizeof **sums);
    for (int64_t i = 0; i < count && ids && *sums; i++) {
        int64_t n = tn_store_doc_length(store, first + i);
        tn_store_get(store, tn_store_doc_offset(store, first + i), n, ids);
        (*sums)[i] = tn_checksum64(ids, (size_t)n * sizeof *ids);
    }
    tn_status status = ids && *sums ? TN_OK : TN_E_NOMEM;
    tn_heap_free(ids);
    return status;
}

static int64_t count_shared(uint64_t *train, int64_t n_train, const uint64_t *held, int64_t n_held) {
    int64_t shared = 0;
    qsort(train, (size_t)n_train, sizeof *train, compare_sums);
    for (int64_t i = 0; i < n_held; i++)
        shared += bsearch(&held[i], train, (size_t)n_train, sizeof *train, compare_sums) != NULL;
    return shared;
}

/* A model that has seen what it is judged by is judged too well. The first `train` documents are learnt from. */
static tn_status warn_of_shared(const tn_train_data *data, int64_t train) {
    const tn_store *judge = data->held_out ? data->held_out : data->store;
    int64_t first = data->held_out ? 0 : train, count = tn_store_n_documents(judge) - first, shared = 0;
    uint64_t *learnt = NULL, *held = NULL;
    tn_status status = sum_documents(data->store, 0, train, &learnt);
    if (!status) status = sum_documents(judge, first, count, &held);
    if (!status) shared = count_shared(learnt, train, held, count);
    if (shared)
        tn_log(TN_LOG_WARN, "train",
               "%lld of the %lld held-out documents stand in the training data too, so the held-out loss flatters "
               "(data.dedup leaves copies out)",
               (long long)shared, (long long)count);
    tn_heap_free(learnt);
    tn_heap_free(held);
    return status;
}

static tn_status split_documents(const ranges *r) {
    tn_train_data *data = r->data;
    int64_t all = tn_store_n_documents(data->store), train = all;
    if (data->held_out) {
        TN_TRY(pack(r, &data->held_out_packing, &data->validation, "held-out", data->held_out, 0,
                    tn_store_n_documents(data->held_out), false));
    } else if (data->validates) {
        train = share_of(r, all);
        if (train < 1)
            return TN_FAIL(
                RANGE, "data.train has one document, of which none can be held out; set data.validation_fraction 0");
        TN_TRY(pack(r, &data->held_out_packing, &data->validation, "held-out", data->store, train, all - train, false));
    }
    if (data->validates) TN_TRY(warn_of_shared(data, train));
    return pack(r, &data->packing, &data->train, "training", data->store, 0, train, r->config->shuffle);
}

static tn_status split(const ranges *r) {
    tn_train_data *data = r->data;
    bool documents = tn_train_data_has_documents(r->config, data->store);
    data->validates = data->held_out || r->config->validation_fraction > 0;
    if (data->held_out && tn_train_data_has_documents(r->config, data->held_out) != documents)
        return TN_FAIL(CONFIG, "%s is %s and %s is %s; set data.packing for both to be documents",
                       tn_store_name(data->store), documents ? "of documents" : "running text",
                       tn_store_name(data->held_out), documents ? "running text" : "of documents");
    return documents ? split_documents(r) : split_text(r);
}

tn_epoch tn_train_data_epoch(const tn_train_data *data) {
    tn_epoch epoch = tn_batches_epoch(&data->train);
    if (data->held_out) epoch.answers += tn_batches_epoch(&data->validation).answers;
    return epoch;
}

int64_t tn_train_data_held_out_answer(const tn_train_data *data) {
    return data->held_out ? tn_batches_epoch(&data->train).answers : 0;
}

static void fill_id(char id[TN_DATA_ID], const tn_batches *range) {
    snprintf(id, TN_DATA_ID, "%016" PRIx64 ":%lld+%lld", tn_store_fingerprint(range->store), (long long)range->first,
             (long long)range->count);
}

static void fill_ids(tn_train_data *data) {
    fill_id(data->train_id, &data->train);
    if (data->validates) fill_id(data->validation_id, &data->validation);
}

/* ---- tokens without examples ---- */

/* A model that never learns to end an answer does not end one. */
static void warn_of_ends(const tn_train_data *data) {
    const uint8_t *mask = tn_store_mask(data->store);
    int64_t end = data->train.first + data->train.count;
    if (!mask || tn_tokenizer_eos(data->tokenizer) < 0) return;
    for (int64_t i = data->train.first; i < end; i++) {
        int32_t id;
        tn_store_get(data->store, i, 1, &id);
        if (mask[i] && tn_tokenizer_is_stop(data->tokenizer, id)) return;
    }
    tn_log(TN_LOG_WARN, "train",
           "no token that ends a turn is learnt, so the model will not learn to stop; tern data inspect shows what is "
           "learnt (data.train_on_eos, data.eot_tokens, data.chat_template)");
}

/* Bytes that a text does not use are no loss; a special token that is never seen is one the model will be asked for. */
static void warn_unused(const tn_train_data *data, const int64_t *counts) {
    int unused = 0, size = tn_tokenizer_size(data->tokenizer), vocab = tn_store_vocab_size(data->store);
    tn_buf names = {0};
    for (int32_t id = 0; id < TN_MIN(size, vocab); id++) {
        if (counts[id] || !tn_tokenizer_is_special(data->tokenizer, id)) continue;
        tn_buf name = {0};
        if (++unused <= 5 && !tn_tokenizer_decode(data->tokenizer, id, true, &name))
            (void)tn_buf_printf(&names, "%s%s", unused > 1 ? ", " : "", tn_buf_text(&name));
        tn_buf_release(&name);
    }
    if (unused)
        tn_log(TN_LOG_WARN, "train", "the training data never shows %s%s, so the model cannot learn to use %s",
               tn_buf_text(&names), unused > 5 ? ", ..." : "", unused > 1 ? "them" : "it");
    tn_buf_release(&names);
}

static tn_status check_use(const tn_train_data *data) {
    int64_t *counts = tn_heap_zalloc((size_t)tn_store_vocab_size(data->store), sizeof *counts);
    if (!counts) return TN_E_NOMEM;
    tn_store_count(data->store, data->train.first, data->train.count, counts);
    if (data->packing)
        warn_of_ends(data);
    else
        warn_unused(data, counts);
    tn_heap_free(counts);
    return TN_OK;
}

tn_status tn_train_data_open(tn_train_data *data, const tn_data_config *config, const tn_tokenizer *tokenizer,
                             const char *tokenizer_file, int context, uint64_t seed) {
    *data = (tn_train_data){0};
    tn_status status = check_paths(config);
    if (!status) status = open_train(data, config, tokenizer, tokenizer_file, context);
    if (!status && config->validation.count) status = open_held_out(data, config, context);
    if (!status) status = split(&(ranges){data, config, context, seed});
    if (!status) status = check_use(data);
    if (!status)
        fill_ids(data);
    else
        tn_train_data_release(data);
    return status;
}

tn_status tn_train_data_check(const tn_train_data *data, tn_objective_kind objective) {
    TN_TRY(tn_objective_check_rows(objective, &data->train));
    return data->validates ? tn_objective_check_rows(objective, &data->validation) : TN_OK;
}

void tn_train_data_release(tn_train_data *data) {
    tn_row_packing_free(data->packing);
    tn_row_packing_free(data->held_out_packing);
    tn_store_free(data->store);
    tn_store_free(data->held_out);
    tn_tokenizer_free(data->own);
    *data = (tn_train_data){0};
}
