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

/* The same with m and v as 8-bit codes, TN_CODE_BLOCK of them to a scale (docs/math.md, "8-bit moments"). All bytes 0
 * mean moments of 0. */
enum { TN_CODE_BLOCK = 256 };
typedef struct tn_adamw_codes {
    uint8_t *m, *v;             /* [n] */
    tn_real *m_scale, *v_scale; /* a block each */
    uint32_t key;               /* of the dither that rounds; another one for every run of elements and every step */
} tn_adamw_codes;

/* u = sign(b1 m + (1-b1) g); w -= lr (u + decay w); m = b2 m + (1-b2) g   (Chen 2023) */
typedef struct tn_lion {
    tn_real lr, beta1, beta2, decay, grad_scale;
} tn_lion;

/* g += decay w; m = momentum m + g; w -= lr m   (PyTorch's SGD, no dampening) */
typedef struct tn_sgd {
    tn_real lr, momentum, decay, grad_scale;
} tn_sgd;

#endif
