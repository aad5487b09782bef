/* SPDX-License-Identifier: MIT */
#include "models/adapter_writing.h"

#include "models/peft_names.h"

const tn_param *tn_adapter_half_of(const tn_adapter_pair *pair, int half) {
    return half == TN_ADAPTER_A ? &pair->a : &pair->b;
}

int64_t tn_adapter_largest_half(const tn_adapter *adapter) {
    int64_t most = 0;
    for (int i = 0; i < adapter->n_pairs; i++) {
        most = TN_MAX(most, tn_param_count(&adapter->pairs[i].a));
        most = TN_MAX(most, tn_param_count(&adapter->pairs[i].b));
    }
    return most;
}

void tn_adapter_put_floats(const tn_param *p, bool turned, double factor, float *out) {
    for (int64_t row = 0; row < p->rows; row++)
        for (int64_t col = 0; col < p->cols; col++) {
            const float value = (float)p->tensor.real[row * p->cols + col];
            out[turned ? col * p->rows + row : row * p->cols + col] =
                factor == 1 ? value : (float)((double)value * factor);
        }
}
