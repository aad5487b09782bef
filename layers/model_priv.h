/* SPDX-License-Identifier: MIT
 * model_priv.h - the inside of a model: its parameters by name (params.def), for model.c and forward.c. */
#ifndef TN_LAYERS_MODEL_PRIV_H
#define TN_LAYERS_MODEL_PRIV_H
#include "layers/model.h"

typedef struct tn_block {
#define BLOCK_PARAM(field, name, rows, cols, init, kind) tn_param *field; /* NULL when the config leaves it out */
#include "layers/params.def"
} tn_block;

struct tn_model {
    tn_model_config config;
    tn_arena *arena;
#define MODEL_PARAM(field, name, rows, cols, init, kind) tn_param *field;
#include "layers/params.def"
    tn_block *blocks; /* [n_layer] */
    tn_param **params;
    int n_params;
    tn_rope_table rope;
    float *slowdown;               /* [head_dim / 2] */
    tn_real lambda;                /* of the last refresh */
    int recompute;                 /* blocks of a segment; 0 = nothing is run again */
    struct tn_adapter *adapters;   /* attached, in their order */
    uint64_t adapter_changes;      /* of what they add to passes */
    struct tn_beside *beside_head; /* as tn_param.beside, of the head, tied or not */
    tn_observer *observer;
    void *observer_context;
};

#endif
