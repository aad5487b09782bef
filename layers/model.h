/* SPDX-License-Identifier: MIT
 * model.h - the only model: a BitNet b1.58 of the 2B-4T kind (pre-norms, attn_sub_norm, ffn_sub_norm,
 * gated ReLU^2 MLP, grouped query attention, RoPE, no biases) or of Llama's (no sub-norms, SiLU), or its float twin.
 * Training, evaluation, generation and
 * serving all call these functions; the tape records or does not, and the kind of a parameter picks the arithmetic.
 * Life: create, fill (tn_model_init, or load values and states), tn_model_refresh, then any number of passes. */
#ifndef TN_LAYERS_MODEL_H
#define TN_LAYERS_MODEL_H
#include "autograd/ops.h"
#include "layers/model_config.h"

typedef struct tn_model tn_model;

typedef enum tn_model_use {
    TN_MODEL_TRAIN, /* values and gradients; ternary weights are latents */
    TN_MODEL_EVAL,  /* values, no gradients; ternary weights are latents (loaded from a checkpoint) */
    TN_MODEL_RUN,   /* ternary weights are packed states and scales, no latents; tables are made by the loader. The base
                       of adapters, too: gradients flow through it (adapter.h) */
    TN_MODEL_EXPORT /* the same, and the states beside the packed ones, to be written */
} tn_model_use;

/* `config` is completed (tn_model_config_complete) and copied. Everything lives in `arena`. */
tn_status tn_model_create(tn_model **out, tn_arena *arena, const tn_model_config *config, tn_model_use use);
/* Normal(0, init_std) for matrices, ones for gains: a function of (seed, parameter number, element). */
void tn_model_init(tn_model *model, uint64_t seed);
/* Turn pair i of every head `slowdown[i]` times slower [head_dim / 2], whatever the config says of it, before the first
 * pass: for files that carry these numbers. */
void tn_model_set_slowdown(tn_model *model, const float *slowdown);
const float *tn_model_slowdown(const tn_model *model); /* [head_dim / 2] */
/* Derive states and packing after the values changed, once per optimizer step. lambda: see tn_param_refresh. */
void tn_model_refresh(tn_model *model, tn_real lambda);
/* The same where nothing but `params` has changed, of this model and its adapters. */
void tn_model_refresh_params(tn_model *model, tn_param *const *params, int n_params, tn_real lambda);
/* For dry passes alone: let them take the memory they would after a refresh with `lambda`; nothing is derived. */
void tn_model_assume(tn_model *model, tn_real lambda);
/* Memory for lambda < 1, before the first such refresh. */
tn_status tn_model_allow_mixing(tn_model *model);

/* Every parameter that a model of this config has, in the same order, before there is one: name, sizes, quantizer,
 * product and tabular are set. Stops at the first failure of `visit` and returns it. */
typedef tn_status tn_param_visit(void *context, const tn_param *param);
tn_status tn_model_each_param(const tn_model_config *config, tn_param_visit *visit, void *context);

const tn_model_config *tn_model_get_config(const tn_model *model);
tn_param **tn_model_params(tn_model *model, int *count);    /* in the order of params.def, blocks ascending */
tn_param *tn_model_find(tn_model *model, const char *name); /* NULL when absent */
/* Let the gains of all norms be trained, over weights that are not. Memory from the model's arena. */
tn_status tn_model_train_gains(tn_model *model);
/* What a step moves: the parameters that have a gradient, those of the model and then those of its adapters. `out` has
 * room for all, or is NULL to count them. */
int tn_model_trained(const tn_model *model, tn_param **out);

/* Keys and values of all layers of one sequence. */
typedef struct tn_cache {
    tn_kv *layers; /* [n_layer], equal lengths */
    int n_layers, capacity, length;
} tn_cache;
tn_status tn_cache_init(tn_cache *cache, tn_arena *arena, const tn_model_config *config, tn_kv_type type, int capacity);
void tn_cache_truncate(tn_cache *cache, int length); /* forget positions from `length` on */

/* ids [B,T] -> hidden states after output_norm [B,T,C]. Without a cache positions are 0..T-1; with one (B = 1) they
 * follow what it holds, and it grows by T. Fails (sticky): TN_E_RANGE when positions exceed `context` or the cache. */
tn_tensor *tn_model_hidden(tn_model *model, tn_tape *t, tn_tensor *ids, tn_cache *cache);

/* A run of rows of one pass that belongs to one sequence. */
typedef struct tn_stretch {
    tn_cache *cache; /* of no other stretch */
    int rows;        /* > 0 */
} tn_stretch;
/* The same for `n` > 0 sequences in one pass: ids [1,T] are the stretches end to end. A row gets the bits that it gets
 * alone. */
tn_tensor *tn_model_hidden_batch(tn_model *model, tn_tape *t, tn_tensor *ids, const tn_stretch *stretches, int n);
/* The same for documents that share rows: first [B,T] is the place in its row where the document of a token begins, and
 * is read during the call alone. A document sees itself, its positions count from there, and it gets the bits that it
 * gets in a row of its own. NULL: every row is one document. Fails (sticky): TN_E_RANGE for a `first` that is neither
 * the token's own place nor that of the token before. */
tn_tensor *tn_model_hidden_documents(tn_model *model, tn_tape *t, tn_tensor *ids, const int32_t *first);
/* Passes that train keep the input of every `blocks` blocks alone and run them again in backward; 0: keep all. */
void tn_model_recompute(tn_model *model, int blocks);
tn_param *tn_model_head(tn_model *model); /* [V,C]: the embedding table where they are tied */
tn_tensor *tn_model_logits(tn_model *model, tn_tape *t, tn_tensor *hidden); /* [..,C] -> [..,V] */
/* Of tn_model_hidden_documents. */
tn_tensor *tn_model_loss(tn_model *model, tn_tape *t, tn_tensor *ids, tn_tensor *targets, const int32_t *first,
                         tn_loss_options options);

/* Called with the input codes of every BitLinear of a pass (q/k/v share one, gate/up too), for diagnostics. */
typedef void tn_observer(void *context, int layer, const char *site, const tn_tensor *codes);
void tn_model_observe(tn_model *model, tn_observer *observer, void *context); /* NULL: stop */

/* Multiply-adds x 2 of a forward pass for one token at position T/2, split by kind; backward costs twice that. */
typedef struct tn_model_flops {
    double ternary, attention, head;
} tn_model_flops;
tn_model_flops tn_model_flops_per_token(const tn_model_config *config, int context);

#endif
