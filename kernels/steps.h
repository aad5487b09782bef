/* SPDX-License-Identifier: MIT
 * steps.h - arguments of the fused optimizer steps. Gradients are read as grad_scale * g. */
#ifndef TN_KERNELS_STEPS_H
#define TN_KERNELS_STEPS_H
#include "core/compiler.h"

/* m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= lr (m/c1 / (sqrt(v/c2) + eps) + decay w)   (Loshchilov 2019)
 * computed as  w -= (lr sqrt(c2)/c1) (m / (sqrt(v) + eps sqrt(c2))) + lr decay w, with one division, not three. */
typedef struct tn_adamw {
    tn_real lr, beta1, beta2, epsilon, decay, grad_scale;
    tn_real correction1, correction2; /* 1 - beta^step */
} tn_adamw;

/* u = sign(b1 m + (1-b1) g); w -= lr (u + decay w); m = b2 m + (1-b2) g   (Chen 2023) */
typedef struct tn_lion {
    tn_real lr, beta1, beta2, decay, grad_scale;
} tn_lion;

/* g += decay w; m = momentum m + g; w -= lr m   (PyTorch's SGD, no dampening) */
typedef struct tn_sgd {
    tn_real lr, momentum, decay, grad_scale;
} tn_sgd;

#endif
