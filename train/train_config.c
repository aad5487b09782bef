/* SPDX-License-Identifier: MIT */
#include "train/train_config.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum { MOST_BLOCKS = 512 };
static const int64_t ENDLESS = 1000000000000; /* steps of a run that only the clock ends */

static const tn_key keys[] = {
#define KEY(type, field, initial, min, max, choices, help)                                                             \
    {#field, TN_KEY_##type, offsetof(tn_train_config, field), initial, min, max, choices, help},
#include "train/train_keys.def"
#undef KEY
};

tn_section tn_train_section(tn_train_config *values) {
    return (tn_section){.name = "train", .keys = keys, .n_keys = (int)TN_COUNT(keys), .values = values};
}

tn_optimizer_settings tn_train_optimizer(const tn_train_config *c) {
    return (tn_optimizer_settings){.kind = (tn_optimizer_kind)c->optimizer,
                                   .beta1 = c->beta1,
                                   .beta2 = c->beta2,
                                   .epsilon = c->epsilon,
                                   .momentum = c->momentum};
}

tn_status tn_train_recompute(const tn_train_config *c, int *blocks) {
    static const char every[] = "every ";
    const char *text = c->checkpoint_activations, *number = text;
    *blocks = strcmp(text, "block") == 0;
    if (*blocks || strcmp(text, "none") == 0) return TN_OK;
    if (strncmp(text, every, strlen(every)) == 0) number += strlen(every);
    if (tn_parse_int("train.checkpoint_activations", number, 1, MOST_BLOCKS, blocks) == TN_OK) return TN_OK;
    return TN_FAIL(CONFIG,
                   "train.checkpoint_activations is \"%.40s\", expected none, block or a number of blocks from 1 to %d",
                   text, MOST_BLOCKS);
}

tn_backward tn_train_backward(const tn_train_config *c, bool integers) {
    enum { AUTO, INT16, BF16, F32 }; /* as train_keys.def has them */
    static const tn_backward arithmetic[] = {
        [AUTO] = TN_BACKWARD_INT16, [INT16] = TN_BACKWARD_INT16, [BF16] = TN_BACKWARD_BF16, [F32] = TN_BACKWARD_F32};
    return c->backward == AUTO && !integers ? TN_BACKWARD_F32 : arithmetic[c->backward];
}

static tn_status fill_batch(tn_course *out, const tn_train_config *c, int context) {
    int64_t pass = (int64_t)c->batch_size * context;
    out->accumulation = c->grad_accumulation;
    if (c->batch_tokens) {
        if (c->grad_accumulation > 1)
            return TN_FAIL(CONFIG,
                           "train.batch_tokens and train.grad_accumulation both set the size of a step; keep one");
        int64_t passes = (c->batch_tokens + pass - 1) / pass;
        if (passes > 65536)
            return TN_FAIL(CONFIG, "train.batch_tokens %lld takes %lld passes of %lld tokens; raise train.batch_size",
                           (long long)c->batch_tokens, (long long)passes, (long long)pass);
        out->accumulation = (int)passes;
    }
    out->rows_per_step = (int64_t)c->batch_size * out->accumulation;
    out->tokens_per_step = pass * out->accumulation;
    if (out->tokens_per_step <= INT_MAX) return TN_OK;
    return TN_FAIL(CONFIG,
                   "one optimizer step of %lld tokens is more than %d; lower train.batch_size, train.grad_accumulation "
                   "or train.batch_tokens",
                   (long long)out->tokens_per_step, INT_MAX);
}

static int64_t tighter(int64_t limit, double other) {
    int64_t steps = (int64_t)ceil(fmin(fmax(other, 1), (double)ENDLESS));
    return limit ? TN_MIN(limit, steps) : steps;
}

static tn_status fill_total(tn_course *out, const tn_train_config *c, int64_t windows) {
    if (*c->max_time) {
        TN_TRY(tn_parse_seconds("train.max_time", c->max_time, &out->max_seconds));
        if (!(out->max_seconds > 0))
            return TN_FAIL(CONFIG, "train.max_time is \"%.40s\", no time at all; leave it empty for no limit",
                           c->max_time);
    }
    if (c->max_steps) out->total = c->max_steps;
    if (c->epochs > 0) out->total = tighter(out->total, c->epochs * (double)windows / (double)out->rows_per_step);
    if (c->max_tokens) out->total = tighter(out->total, (double)c->max_tokens / (double)out->tokens_per_step);
    if (out->total) return TN_OK;
    if (!(out->max_seconds > 0))
        return TN_FAIL(CONFIG,
                       "the run has no end: set train.max_steps, train.epochs, train.max_tokens or train.max_time");
    if (c->schedule != TN_SCHEDULE_CONSTANT)
        return TN_FAIL(CONFIG,
                       "a schedule counts steps, so besides train.max_time it needs train.max_steps, train.epochs "
                       "or train.max_tokens (or train.schedule constant)");
    out->total = ENDLESS;
    out->endless = true;
    return TN_OK;
}

static tn_status fill_schedule(tn_course *out, const tn_train_config *c) {
    if (c->warmup_steps >= 0 && c->warmup_ratio >= 0)
        return TN_FAIL(CONFIG, "train.warmup_steps and train.warmup_ratio say the same; keep one");
    if (!(c->learning_rate > 0)) return TN_FAIL(CONFIG, "train.learning_rate must be above 0");
    double second = c->stage2_learning_rate > 0 ? c->stage2_learning_rate / c->learning_rate : 2.0 / 3;
    out->schedule = (tn_schedule){.kind = (tn_schedule_kind)c->schedule,
                                  .min_ratio = c->min_lr_ratio,
                                  .stage2_start = c->stage2_start,
                                  .stage2_ratio = second,
                                  .weight_decay = c->weight_decay,
                                  .stage2_weight_decay = c->stage2_weight_decay};
    int64_t warmup = tn_schedule_default_warmup(out->schedule.kind, out->total);
    if (c->warmup_steps >= 0) warmup = c->warmup_steps;
    if (c->warmup_ratio >= 0) warmup = (int64_t)(c->warmup_ratio * (double)out->total);
    out->schedule.warmup = TN_MIN(warmup, out->total);
    return TN_OK;
}

tn_status tn_train_course(tn_course *out, const tn_train_config *config, int context, tn_epoch epoch) {
    *out = (tn_course){.documents = epoch.documents, .answers = epoch.answers};
    TN_TRY(fill_batch(out, config, context));
    TN_TRY(fill_total(out, config, epoch.rows));
    return fill_schedule(out, config);
}
