/* SPDX-License-Identifier: MIT */
#include "bench/roofline.h"

tn_step_work tn_step_work_of(const tn_model_config *config, double tokens) {
    tn_model_flops flops = tn_model_flops_per_token(config, config->context);
    double ternary = tokens * flops.ternary / 2, head = tokens * flops.head / 2;
    return (tn_step_work){.forward = ternary, .backward = 2 * ternary, .head = 3 * head};
}

typedef struct rate {
    const char *name;
    double speed; /* multiply-adds a second */
} rate;

static rate peak_of(const double peaks[TN_PEAK_COUNT], tn_peak_kind kind) {
    return (rate){tn_peak_name(kind), peaks[kind]};
}

static rate faster(rate a, rate b) { return b.speed > a.speed ? b : a; }

static tn_roofline roofline_at(const tn_step_work *work, rate forward, rate backward, rate head) {
    return (tn_roofline){.forward = work->forward / forward.speed,
                         .backward = work->backward / backward.speed,
                         .head = work->head / head.speed,
                         .rates = {forward.speed, backward.speed, head.speed},
                         .arithmetic = {forward.name, backward.name, head.name}};
}

/* The gradient that meets ternary states or codes is 16 bits wide as an integer: two bytes, or one word. The head's
 * operands are 16 bits wide both. */
tn_roofline tn_roofline_best(const tn_model_config *config, double tokens, const double peaks[TN_PEAK_COUNT]) {
    const tn_step_work work = tn_step_work_of(config, tokens);
    const rate reals = faster(peak_of(peaks, TN_PEAK_REAL), peak_of(peaks, TN_PEAK_BF16));
    if (config->quantization == TN_QUANTIZATION_NONE) return roofline_at(&work, reals, reals, reals);
    const rate halves = {"int8 / 2", peaks[TN_PEAK_BYTES] / 2};
    const rate integers = faster(halves, peak_of(peaks, TN_PEAK_WORDS));
    return roofline_at(&work, peak_of(peaks, TN_PEAK_BYTES), faster(integers, reals),
                       faster(peak_of(peaks, TN_PEAK_WORDS), reals));
}

tn_roofline tn_roofline_bf16(const tn_model_config *config, double tokens, const double peaks[TN_PEAK_COUNT]) {
    const tn_step_work work = tn_step_work_of(config, tokens);
    const rate bf16 = peak_of(peaks, TN_PEAK_BF16);
    if (!(bf16.speed > 0)) return (tn_roofline){0};
    const bool floats = config->quantization == TN_QUANTIZATION_NONE;
    return roofline_at(&work, floats ? bf16 : peak_of(peaks, TN_PEAK_BYTES), bf16, bf16);
}

double tn_roofline_seconds(const tn_roofline *r) { return r->forward + r->backward + r->head; }
