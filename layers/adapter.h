/* SPDX-License-Identifier: MIT
 * adapter.h - an adapter of low rank beside a model (Hu 2021 in docs/math.md): pairs A, B, each for one matrix, that
 * add s c (x A) B' to what the matrix makes of x. The model is not changed: it may be packed and frozen, and without an
 * adapter it runs the very ops that it ran before. c = alpha / r, or alpha / sqrt r; s is the scale of attaching.
 *
 * x is what the layer reads: the normed numbers before their quantiser, as other libraries' adapters read, or what its
 * codes stand for. An adapter of the embedding reads ids, one of the head the hidden state.
 *
 * A merged adapter has no part of its own in a pass: it changes the states of the matrices, T' = clamp(rint(T + s c B
 * A'), -1, 1), which tn_model_refresh derives once a step into panels that take the place of T's while it is attached;
 * the scale a stays. Its gradient is that of a latent in units of states: straight through, without a mask, which
 * leaves it its low rank: dB = s c a dY' (x A), dA = s c a x' (dY B), x what the codes stand for. What it comes to is
 * ternary weights like any others.
 *
 * Life: create, add pairs, init or fill, attach, any number of passes, detach. Owns: its pairs, in the arena it was
 * made with, which outlives its being attached; belongs to one model at a time. */
#ifndef TN_LAYERS_ADAPTER_H
#define TN_LAYERS_ADAPTER_H
#include "autograd/param_merge.h"
#include "layers/model.h"

typedef enum tn_adapter_input {
    TN_ADAPTER_RAW,      /* the normed numbers */
    TN_ADAPTER_QUANTIZED /* what the codes stand for */
} tn_adapter_input;

typedef struct tn_adapter_options {
    tn_adapter_input input;
    bool merged;    /* inside the quantiser, see below */
    bool rslora;    /* c = alpha / sqrt r (Kalajdzievski 2023) */
    double dropout; /* of x, in passes that train; [0,1) */
    bool trains;    /* pairs have gradients */
} tn_adapter_options;

typedef struct tn_adapter_pair {
    char target[64]; /* the matrix [m,k] by its GGUF name, "blk.0.attn_q.weight"; "output.weight" is the head, tied or
                        not; of the embedding k is the vocabulary and m the width */
    tn_param a, b;   /* A [k,r], which is lora_A of PEFT turned, named "<target>.lora_a"; B [m,r], "<target>.lora_b" */
    int rank;
    double alpha;
    tn_real c;
    tn_param_merge merge; /* of a merged one that is attached: how many states flip */
} tn_adapter_pair;

typedef struct tn_adapter {
    tn_arena *arena; /* borrowed */
    tn_model_config config;
    tn_adapter_options options;
    tn_adapter_pair *pairs; /* in the order of adding */
    int n_pairs;
    /* while attached: */
    tn_model *model;          /* NULL: it is not */
    tn_real scale;            /* s */
    struct tn_beside *places; /* [n_pairs] adapter_priv.h */
    tn_real *room;            /* of a merged one, to derive states in */
    bool stale;               /* of a merged one: T' is still to be derived */
    struct tn_adapter *next;  /* attached after this one */
} tn_adapter;

/* For models of this config, which is complete and copied. Fails: TN_E_RANGE for a dropout outside [0,1), or for any of
 * a merged one. */
tn_status tn_adapter_create(tn_adapter **out, tn_arena *arena, const tn_model_config *config,
                            const tn_adapter_options *options);
/* One more pair, not filled; rank 1..TN_ADAPTER_RANK_MAX, alpha > 0. Fails: TN_E_MISSING when a model of this config
 * has no such matrix, TN_E_ARG for a second pair of one, TN_E_RANGE. */
enum { TN_ADAPTER_RANK_MAX = 4096 };
tn_status tn_adapter_add(tn_adapter *adapter, const char *target, int rank, double alpha);

/* Another rank, alpha, or both for one module; 0: that of the rest. */
typedef struct tn_adapter_module {
    const char *name; /* "q_proj" */
    int rank;
    double alpha;
} tn_adapter_module;
/* Pairs for all matrices of `modules`: names of adapter_modules.def ("q_proj", or "attn_q" after the parameter) with
 * commas or blanks between, "all-linear" (or "all") for every matrix inside the blocks. Fails as tn_adapter_add;
 * TN_E_ARG names an unknown module, or one in `others` [n_others] that is not in `modules`. */
tn_status tn_adapter_add_modules(tn_adapter *adapter, const char *modules, int rank, double alpha,
                                 const tn_adapter_module *others, int n_others);
/* Every matrix that an adapter may stand beside in a model of this config, with the module it is of, in the order in
 * which pairs are made. Stops at the first failure of `visit` and returns it. */
typedef tn_status tn_adapter_visit(void *context, const char *target, const char *module);
tn_status tn_adapter_each_target(const tn_model_config *config, tn_adapter_visit *visit, void *context);
/* An embedding is read by ids: k counts its rows, m its columns. */
bool tn_adapter_is_embedding(const char *target);
bool tn_adapter_is_head(const char *target);
tn_adapter_pair *tn_adapter_find(const tn_adapter *adapter, const char *target); /* NULL when absent */

/* As PEFT begins: A uniform in +-1 / sqrt k and B zero; of the embedding, A zero and B normal. A function of (seed,
 * target, element). */
void tn_adapter_init(tn_adapter *adapter, uint64_t seed);

/* Let passes of the model add what the adapter makes; adapters add up in the order of attaching. An attached one gets
 * another scale and keeps its place; with scale 0 it is there and runs nothing. Fails: TN_E_MISMATCH when the model is
 * of another shape, TN_E_ARG when it is attached to another model, TN_E_RANGE for a scale that is not finite. A merged
 * one: TN_E_UNSUPPORTED beside embedding or head, and for a matrix without frozen states of its own; TN_E_ARG for a
 * second one over a matrix; memory for T' comes from the adapter's arena, once. */
tn_status tn_model_attach(tn_model *model, tn_adapter *adapter, double scale);
void tn_model_detach(tn_model *model, tn_adapter *adapter); /* one that is not attached: fine */
/* The states that a merged adapter, which is attached, makes are the model's own from now on; it is detached. */
void tn_model_settle(tn_model *model, tn_adapter *adapter);
tn_adapter *tn_model_adapters(const tn_model *model); /* the first attached, ->next; NULL = none */
/* Grows whenever passes are to add something else: an adapter with a scale other than 0 comes or goes, or a scale
 * changes. Keys and values are good for as long as it stays. */
uint64_t tn_model_adapter_changes(const tn_model *model);
/* Whether an adapter changes the head: then logits are those of tn_model_logits and of nothing faster. */
bool tn_model_head_adapted(const tn_model *model);

/* What a merged adapter changes, over all its matrices. */
typedef struct tn_adapter_flips {
    int64_t flipped, states;
    double largest; /* as of a pair */
} tn_adapter_flips;
tn_adapter_flips tn_adapter_count_flips(const tn_adapter *adapter);

#endif
