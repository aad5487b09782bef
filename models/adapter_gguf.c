/* SPDX-License-Identifier: MIT */
#include "models/adapter_gguf.h"

#include <math.h>
#include <stdio.h>

const char *tn_adapter_gguf_name(char out[TN_ADAPTER_GGUF_NAME], const char *target, tn_adapter_half half) {
    snprintf(out, TN_ADAPTER_GGUF_NAME, "%s.lora_%c", target, half == TN_ADAPTER_A ? 'a' : 'b');
    return out;
}

double tn_adapter_gguf_alpha(int rank, double alpha, bool rslora) { return rslora ? alpha * sqrt(rank) : alpha; }

double tn_adapter_gguf_factor(double own, double file) {
    const double factor = own / file;
    return fabs(factor - 1) < 0x1p-23 ? 1 : factor;
}
