/* SPDX-License-Identifier: MIT
 * adapter_priv.h - a pair at its place in a model, for forward.c. */
#ifndef TN_LAYERS_ADAPTER_PRIV_H
#define TN_LAYERS_ADAPTER_PRIV_H
#include "layers/adapter.h"

/* An embedding is read by ids: k counts its rows, m its columns. */
bool tn_adapter_is_embedding(const char *target);
bool tn_adapter_is_head(const char *target);

/* In the list of its parameter, tn_param.beside, or of the model's head. */
typedef struct tn_beside {
    tn_adapter *adapter;
    tn_adapter_pair *pair;
    uint32_t site; /* of its dropout */
    struct tn_beside *next;
} tn_beside;

/* Whether one of the list reads x before its quantiser. */
bool tn_beside_reads_raw(const tn_beside *list);
/* What the list makes of x (`raw`: before its quantiser, NULL when nobody reads that): x A of each. */
typedef struct tn_beside_made tn_beside_made;
const tn_beside_made *tn_beside_read(const tn_beside *list, tn_tape *t, tn_tensor *x, tn_tensor *raw);
/* y + s c (x A) B' of each, over the numbers of y. */
tn_tensor *tn_beside_add(const tn_beside_made *made, tn_tape *t, tn_tensor *y);
/* Both, of the rows of an embedding. */
tn_tensor *tn_beside_embed(const tn_beside *list, tn_tape *t, tn_tensor *y, tn_tensor *ids);

#endif
