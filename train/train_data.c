/* SPDX-License-Identifier: MIT */
#include "train/train_data.h"

#include "core/arena.h"
#include "core/fs.h"
#include "core/log.h"
#include "data/tokenizer_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the tokenizer ---- */

static tn_status learn_tokenizer(tn_tokenizer **out, const tn_data_config *c, tn_tokenizer_kind kind) {
    const tn_tokenizer_options options = {.kind = kind, .split = (tn_split)c->split, .vocab_size = c->vocab_size};
    return tn_tokenizer_learn(out, &options, NULL, c->train.items, c->train.count);
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

/* One store, or texts tokenised with `tokenizer`. */
static tn_status open_paths(tn_store **out, const char *key, const tn_text_list *paths, const tn_tokenizer *tokenizer) {
    if (any_store(paths)) {
        if (paths->count > 1)
            return TN_FAIL(CONFIG, "%s: a token store stands alone in its list; join the texts into one store", key);
        return tn_store_open(out, paths->items[0]);
    }
    tn_store_report report;
    TN_TRY(tn_store_build_memory(out, paths->items, paths->count, tokenizer, &report));
    tn_log(TN_LOG_INFO, "train", "%s: %lld documents, %lld bytes, %lld tokens", key, (long long)report.documents,
           (long long)report.bytes, (long long)report.tokens);
    return TN_OK;
}

/* How to learn a tokenizer is advice for texts, which a configuration may give without knowing what it is used on; a
 * file that has one contradicts the store. */
static tn_status leave_to_store(const tn_data_config *c) {
    if (!tn_tokenizer_is_learnt(c->tokenizer))
        return TN_FAIL(CONFIG, "data.tokenizer is \"%.200s\", but a token store brings its own tokenizer; leave it out",
                       c->tokenizer);
    tn_log(TN_LOG_INFO, "train", "%s is a token store and has its tokenizer; data.tokenizer is for texts",
           c->train.items[0]);
    return TN_OK;
}

static tn_status open_train(tn_train_data *data, const tn_data_config *c, const char *tokenizer_file) {
    if (!c->train.count) return TN_FAIL(CONFIG, "data.train names no file to learn from");
    for (int i = 0; i < c->train.count; i++)
        if (!tn_path_exists(c->train.items[i]))
            return TN_FAIL(MISSING, "%s: cannot open: there is no such file or folder (data.train)", c->train.items[i]);
    bool store = any_store(&c->train);
    if (store && *c->tokenizer) TN_TRY(leave_to_store(c));
    if (!store) TN_TRY(make_tokenizer(&data->own, c, tokenizer_file));
    TN_TRY(open_paths(&data->store, "data.train", &c->train, data->own));
    data->tokenizer = data->own ? data->own : tn_store_tokenizer(data->store);
    return TN_OK;
}

static tn_status open_held_out(tn_train_data *data, const tn_data_config *c) {
    TN_TRY(open_paths(&data->held_out, "data.validation", &c->validation, data->tokenizer));
    char mine[17], theirs[17];
    tn_tokenizer_hash(data->tokenizer, mine);
    tn_tokenizer_hash(tn_store_tokenizer(data->held_out), theirs);
    if (strcmp(mine, theirs) != 0)
        return TN_FAIL(MISMATCH, "%s was made with another tokenizer than %s (%s, not %s)",
                       tn_store_name(data->held_out), tn_store_name(data->store), theirs, mine);
    return TN_OK;
}

/* ---- ranges ---- */

static tn_status cover(tn_batches *batches, const char *what, const tn_store *store, int64_t first, int64_t count,
                       int context, uint64_t seed, bool shuffle) {
    if (count < context + 1)
        return TN_FAIL(RANGE, "the %s data has %lld tokens, but one window takes model.context + 1 = %d", what,
                       (long long)count, context + 1);
    return tn_batches_init(batches, store, first, count, context, seed, shuffle);
}

static tn_status split(tn_train_data *data, const tn_data_config *c, int context, uint64_t seed) {
    int64_t all = tn_store_n_tokens(data->store), train = all;
    data->validates = data->held_out || c->validation_fraction > 0;
    if (data->held_out)
        TN_TRY(cover(&data->validation, "held-out", data->held_out, 0, tn_store_n_tokens(data->held_out), context, seed,
                     false));
    else if (data->validates) {
        train = (int64_t)((double)all * (1 - c->validation_fraction));
        TN_TRY(cover(&data->validation, "held-out", data->store, train, all - train, context, seed, false));
    }
    return cover(&data->train, "training", data->store, 0, train, context, seed, c->shuffle);
}

static void fill_id(char id[TN_DATA_ID], const tn_batches *range) {
    snprintf(id, TN_DATA_ID, "%016" PRIx64 ":%lld+%lld", tn_store_fingerprint(range->store), (long long)range->first,
             (long long)range->count);
}

static void fill_ids(tn_train_data *data) {
    fill_id(data->train_id, &data->train);
    if (data->validates) fill_id(data->validation_id, &data->validation);
}

/* ---- special tokens without examples ---- */

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
    warn_unused(data, counts);
    tn_heap_free(counts);
    return TN_OK;
}

tn_status tn_train_data_open(tn_train_data *data, const tn_data_config *config, const char *tokenizer_file, int context,
                             uint64_t seed) {
    *data = (tn_train_data){0};
    tn_status status = open_train(data, config, tokenizer_file);
    if (!status && config->validation.count) status = open_held_out(data, config);
    if (!status) status = split(data, config, context, seed);
    if (!status) status = check_use(data);
    if (!status)
        fill_ids(data);
    else
        tn_train_data_release(data);
    return status;
}

void tn_train_data_release(tn_train_data *data) {
    tn_store_free(data->store);
    tn_store_free(data->held_out);
    tn_tokenizer_free(data->own);
    *data = (tn_train_data){0};
}
