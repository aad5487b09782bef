/* SPDX-License-Identifier: MIT */
#include "autograd/tensor.h"

#include <stdio.h>

int64_t tn_tensor_count(const tn_tensor *x) {
    int64_t count = x->n_dims > 0;
    for (int i = 0; i < x->n_dims; i++) count *= x->dims[i];
    return count;
}

int tn_tensor_cols(const tn_tensor *x) { return x->n_dims ? x->dims[x->n_dims - 1] : 0; }

int64_t tn_tensor_rows(const tn_tensor *x) {
    int cols = tn_tensor_cols(x);
    return cols ? tn_tensor_count(x) / cols : 0;
}

bool tn_tensor_same_shape(const tn_tensor *a, const tn_tensor *b) {
    if (a->n_dims != b->n_dims) return false;
    for (int i = 0; i < a->n_dims; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

const char *tn_tensor_shape(const tn_tensor *x, char out[64]) {
    int used = snprintf(out, 64, "[");
    for (int i = 0; i < x->n_dims; i++) used += snprintf(out + used, 64 - (size_t)used, i ? ",%d" : "%d", x->dims[i]);
    snprintf(out + used, 64 - (size_t)used, "]");
    return out;
}
