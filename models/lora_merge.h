/* SPDX-License-Identifier: MIT
 * lora_merge.h - adapters added to the weights of a model, W + sum of s c B A', and what of that comes to nothing.
 *
 * Floats and latents take the sum as it is. A ternary matrix without latents takes the states nearest to it, T' =
 * clamp(rint(T + sum / a), -1, 1), and keeps its scale a: the mean of ternary weights says nothing of a. A change
 * smaller than a / 2 is rounded away, and most are: what of it is lost is told as |W' - W - sum| / |sum|, Frobenius
 * norms over the weights that the model computes with. So it is for latents, which keep the sum for training to go on
 * with, while the model computes with states. */
#ifndef TN_MODELS_LORA_MERGE_H
#define TN_MODELS_LORA_MERGE_H
#include "layers/adapter.h"

typedef struct tn_merge_part {
    const tn_adapter *adapter; /* for models of this shape */
    double scale;
} tn_merge_part;

typedef struct tn_merge_sum {
    char module[16]; /* "q_proj"; "all" */
    int matrices;
    int64_t states, flipped; /* of ternary matrices */
    double change, lost;     /* squares of the norms */
} tn_merge_sum;

/* 0 where nothing changes. */
double tn_merge_share_lost(const tn_merge_sum *sum);

enum { TN_MERGE_MODULES = 16 };
typedef struct tn_merge_report {
    tn_merge_sum modules[TN_MERGE_MODULES]; /* [n_modules] those that are adapted, in the order of adapters */
    int n_modules;
    tn_merge_sum all;
} tn_merge_report;

/* Add the parts up, in their order, and into the model, which holds values (TN_MODEL_EVAL) or states that are kept
 * (TN_MODEL_EXPORT) and is refreshed. Memory for a table that becomes a value comes from `arena`. The numbers do not
 * depend on the threads. Fails: TN_E_UNSUPPORTED for the embedding or head of a model where they are one, and for
 * binary states without latents; TN_E_NAN for a sum that is not finite. The model is of no use after a failure. */
tn_status tn_merge_adapters(tn_model *model, const tn_merge_part *parts, int n_parts, tn_arena *arena,
                            tn_merge_report *report);

#endif
