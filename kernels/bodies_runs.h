/* SPDX-License-Identifier: MIT
 * bodies_runs.h - kernels over runs of elements: sums, quantisers, activations, softmax pieces, optimizer steps.
 * Included once by every isa_*.c, after kernels/simd.h. Contracts: kernels.def. */
#include "kernels/steps.h"

/* ---- element by element ---- */
#define LOAD(p)         vr_load_n((p) + i, (int)left)
#define STORE(p, value) vr_store_n((p) + i, (int)left, (value))
/* Runs that come from memory: asking for what is 512 elements ahead makes one core a quarter faster at them. */
enum { AHEAD = 512 };
#define STREAM(p) (__builtin_prefetch((p) + i + AHEAD), LOAD(p))

static void add(int64_t n, const tn_real *a, const tn_real *b, tn_real *y) {
    FOR_RUNS (i, left, n) STORE(y, vr_add(LOAD(a), LOAD(b)));
}
static void accumulate(int64_t n, const tn_real *b, tn_real *y) {
    FOR_RUNS (i, left, n) STORE(y, vr_add(LOAD(y), LOAD(b)));
}
static void mul(int64_t n, const tn_real *a, const tn_real *b, tn_real *y) {
    FOR_RUNS (i, left, n) STORE(y, vr_mul(LOAD(a), LOAD(b)));
}
static void mul_accumulate(int64_t n, const tn_real *a, const tn_real *b, tn_real *y) {
    FOR_RUNS (i, left, n) STORE(y, vr_add(LOAD(y), vr_mul(LOAD(a), LOAD(b))));
}
static void scale(int64_t n, tn_real s, const tn_real *x, tn_real *y) {
    const vr factor = vr_set(s);
    FOR_RUNS (i, left, n) STORE(y, vr_mul(factor, LOAD(x)));
}
static void axpy(int64_t n, tn_real s, const tn_real *x, tn_real *y) {
    const vr factor = vr_set(s);
    FOR_RUNS (i, left, n) STORE(y, vr_add(LOAD(y), vr_mul(factor, LOAD(x))));
}

/* ---- sums in double ---- */
#define SUM_OF(expression)                                                                                             \
    vd total = {0};                                                                                                    \
    FOR_RUNS (run, left, n) {                                                                                          \
        __builtin_prefetch(x + run + AHEAD);                                                                           \
        const vd x16 = vd_load_n(x + run, (int)left);                                                                  \
        EACH_DOUBLE_PART(const vpd v = x16.p[i]; total.p[i] += (expression));                                          \
    }                                                                                                                  \
    return vd_sum(total)

static double sum(int64_t n, const tn_real *x) { SUM_OF(v); }
static double sum_abs(int64_t n, const tn_real *x) { SUM_OF(vpd_abs(v)); }
static double sum_squares(int64_t n, const tn_real *x) { SUM_OF(v * v); }

static tn_real dot(int64_t n, const tn_real *a, const tn_real *b) {
    vr total = vr_set(0);
    FOR_RUNS (i, left, n) total = vr_add(total, vr_mul(LOAD(a), LOAD(b)));
    return vr_sum(total);
}

/* ---- quantisers ---- */
static tn_real quantize_row(int k, const tn_real *x, int8_t *q) {
    vr sizes = vr_set(0);
    FOR_RUNS (i, left, k) sizes = vr_max_bits(sizes, vr_abs(LOAD(x)));
    if (vr_any_above(sizes, sizeof(tn_real) == 4 ? (tn_real)FLT_MAX : (tn_real)DBL_MAX)) {
        memset(q, 0, (size_t)k);
        return (tn_real)NAN;
    }
    const tn_real s = (tn_real)127 / TN_MAX(vr_reduce_max(sizes), (tn_real)1e-5);
    const vr factor = vr_set(s); /* |x s| < 127.5, so that the clamp of the formula never acts */
    FOR_RUNS (i, left, k) vr_to_int8_n(q + i, (int)left, vr_rint(vr_mul(LOAD(x), factor)));
    return s;
}

static void dequantize_row(int k, const int8_t *q, tn_real s, tn_real *y) {
    const vr divisor = vr_set(s);
    FOR_RUNS (i, left, k) STORE(y, vr_div(vr_from_int8_n(q + i, (int)left), divisor));
}

/* x / d, d in the middle of the range of exponents: x times the rounded reciprocal, corrected twice by what is left
 * over in a fused multiply-add, is the correctly rounded quotient (Markstein 1990) in a fifth of the time. */
VR_INLINE vr quotient(vr x, vr d, vr reciprocal) {
#ifdef VR_FUSED
    const vr zero = vr_set(0);
    vr q = vr_mul(x, reciprocal);
    q = vr_mul_add(vr_mul_add(vr_sub(zero, q), d, x), reciprocal, q);
    return vr_mul_add(vr_mul_add(vr_sub(zero, q), d, x), reciprocal, q);
#else
    (void)reciprocal;
    return vr_div(x, d);
#endif
}

static void rescale(int64_t n, const int32_t *acc, tn_real s, tn_real a, tn_real *y) {
    const vr divisor = vr_set(s), factor = vr_set(a);
    if (TN_LIKELY(s > (tn_real)1e-20 && s < (tn_real)1e20)) { /* else a quotient may overflow; a NaN comes out below */
        const vr reciprocal = vr_set(1 / s);
        FOR_RUNS (i, left, n)
            STORE(y, vr_mul(quotient(vr_from_int32_n(acc + i, (int)left), divisor, reciprocal), factor));
        return;
    }
    FOR_RUNS (i, left, n) STORE(y, vr_mul(vr_div(vr_from_int32_n(acc + i, (int)left), divisor), factor));
}

/* Half to even sends both ties, 0.5 and -0.5, to 0. */
static void ternarize(int64_t n, const tn_real *w, tn_real inverse, int8_t *states) {
    const vr factor = vr_set(inverse), one = vr_set(1), half = vr_set((tn_real)0.5), minus_half = vr_set((tn_real)-0.5);
    FOR_RUNS (i, left, n) {
        const vr x = vr_mul(STREAM(w), factor);
        vr_to_int8_n(states + i, (int)left, vr_sub(vr_if_less(half, x, one), vr_if_less(x, minus_half, one)));
    }
}

static void binarize(int64_t n, const tn_real *w, tn_real mean, int8_t *states) {
    const vr threshold = vr_set(mean), two = vr_set(2), one = vr_set(1);
    FOR_RUNS (i, left, n) vr_to_int8_n(states + i, (int)left, vr_sub(vr_if_less(threshold, STREAM(w), two), one));
}

static void expand_states(int64_t n, const int8_t *states, tn_real s, tn_real *y) {
    const vr factor = vr_set(s);
    FOR_RUNS (i, left, n) STORE(y, vr_mul(factor, vr_from_int8_n(states + i, (int)left)));
}

/* ---- activations ---- */
VR_INLINE vr relu(vr u) { return vr_max(vr_set(0), u); } /* in this order a NaN stays one */
VR_INLINE vr sigmoid(vr u) { return vr_div(vr_set(1), vr_add(vr_set(1), vr_exp(vr_sub(vr_set(0), u)))); }
/* d(u s)/du = s + u s (1 - s), s = sigmoid(u) */
VR_INLINE vr silu_slope(vr u, vr s) { return vr_add(s, vr_mul(vr_mul(u, s), vr_sub(vr_set(1), s))); }

static void relu2(int64_t n, const tn_real *u, tn_real *y) {
    FOR_RUNS (i, left, n) {
        const vr r = relu(LOAD(u));
        STORE(y, vr_mul(r, r));
    }
}
static void relu2_du(int64_t n, const tn_real *u, const tn_real *dy, tn_real *du) {
    FOR_RUNS (i, left, n) STORE(du, vr_add(LOAD(du), vr_mul(vr_mul(vr_set(2), relu(LOAD(u))), LOAD(dy))));
}
static void silu(int64_t n, const tn_real *u, tn_real *y) {
    FOR_RUNS (i, left, n) {
        const vr x = LOAD(u);
        STORE(y, vr_mul(x, sigmoid(x)));
    }
}
static void silu_du(int64_t n, const tn_real *u, const tn_real *dy, tn_real *du) {
    FOR_RUNS (i, left, n) {
        const vr x = LOAD(u);
        STORE(du, vr_add(LOAD(du), vr_mul(LOAD(dy), silu_slope(x, sigmoid(x)))));
    }
}
static void relu2_gate(int64_t n, const tn_real *u, const tn_real *v, tn_real *h) {
    FOR_RUNS (i, left, n) {
        const vr r = relu(STREAM(u));
        STORE(h, vr_mul(vr_mul(r, r), STREAM(v)));
    }
}
static void relu2_gate_back(int64_t n, const tn_real *u, const tn_real *v, const tn_real *dh, tn_real *du,
                            tn_real *dv) {
    FOR_RUNS (i, left, n) {
        const vr r = relu(STREAM(u)), d = LOAD(dh);
        STORE(du, vr_add(LOAD(du), vr_mul(vr_mul(vr_mul(vr_set(2), r), LOAD(v)), d)));
        STORE(dv, vr_add(LOAD(dv), vr_mul(vr_mul(r, r), d)));
    }
}
static void silu_gate(int64_t n, const tn_real *u, const tn_real *v, tn_real *h) {
    FOR_RUNS (i, left, n) {
        const vr x = STREAM(u);
        STORE(h, vr_mul(vr_mul(x, sigmoid(x)), STREAM(v)));
    }
}
static void silu_gate_back(int64_t n, const tn_real *u, const tn_real *v, const tn_real *dh, tn_real *du, tn_real *dv) {
    FOR_RUNS (i, left, n) {
        const vr x = STREAM(u), s = sigmoid(x), d = LOAD(dh);
        STORE(du, vr_add(LOAD(du), vr_mul(vr_mul(silu_slope(x, s), LOAD(v)), d)));
        STORE(dv, vr_add(LOAD(dv), vr_mul(vr_mul(x, s), d)));
    }
}

/* ---- softmax pieces ---- */
static tn_real row_max(int64_t n, const tn_real *x) {
    vr max = vr_set(-(tn_real)INFINITY);
    FOR_RUNS (i, left, n) max = vr_max(max, vr_load_fill(x + i, (int)left, -(tn_real)INFINITY));
    return vr_reduce_max(max);
}
static tn_real exp_sum(int64_t n, const tn_real *x, tn_real max) {
    const vr top = vr_set(max);
    vr total = vr_set(0);
    FOR_RUNS (i, left, n)
        total = vr_add(total, vr_exp(vr_sub(vr_load_fill(x + i, (int)left, -(tn_real)INFINITY), top)));
    return vr_sum(total);
}
static void exp_scaled(int64_t n, const tn_real *x, tn_real lse, tn_real w, tn_real *y) {
    const vr shift = vr_set(lse), factor = vr_set(w);
    FOR_RUNS (i, left, n) STORE(y, vr_mul(factor, vr_exp(vr_sub(LOAD(x), shift))));
}
/* Sixteen columns at a time; two maxima, so that one is not waited for. */
static void exp_columns(int rows, int cols, tn_real *z, int64_t stride, tn_real *max, tn_real *sum) {
    FOR_RUNS (i, left, cols) {
        tn_real *at = z + i;
        vr top = vr_load_n(at, (int)left), other = top, total = vr_set(0);
        for (int r = 1; r < rows; r += 2) {
            top = vr_max(top, vr_load_n(at + r * stride, (int)left));
            if (r + 1 < rows) other = vr_max(other, vr_load_n(at + (r + 1) * stride, (int)left));
        }
        top = vr_max(top, other);
        for (int r = 0; r < rows; r++, at += stride) {
            const vr e = vr_exp(vr_sub(vr_load_n(at, (int)left), top));
            vr_store_n(at, (int)left, e);
            total = vr_add(total, e);
        }
        STORE(max, top);
        STORE(sum, total);
    }
}

/* ---- optimizer steps ---- */
/* A moving average: keep old + take new, keep + take = 1. Two numbers in registers: `o` may lie where a step writes. */
typedef struct average {
    vr keep, take;
} average;
VR_INLINE average average_of(tn_real beta) { return (average){vr_set(beta), vr_set(1 - beta)}; }
VR_INLINE vr blend(average a, vr old, vr new) { return vr_add(vr_mul(a.keep, old), vr_mul(a.take, new)); }

/* total += |x| in the lanes of sum_abs; lanes beyond a tail are 0. */
VR_INLINE vd add_abs(vd total, vr x) {
    const vd x16 = vd_of(x);
    EACH_DOUBLE_PART(total.p[i] += vpd_abs(x16.p[i]));
    return total;
}

typedef struct adamw_rates {
    vr rate, floor, shrink, clip; /* lr sqrt(c2) / c1, eps sqrt(c2), lr decay, grad_scale */
    average average1, average2;
} adamw_rates;

VR_INLINE adamw_rates adamw_rates_of(const tn_adamw *o) {
    const double root = sqrt((double)o->correction2);
    return (adamw_rates){.rate = vr_set((tn_real)((double)o->lr * root / (double)o->correction1)),
                         .floor = vr_set((tn_real)((double)o->epsilon * root)),
                         .shrink = vr_set(o->lr * o->decay),
                         .clip = vr_set(o->grad_scale),
                         .average1 = average_of(o->beta1),
                         .average2 = average_of(o->beta2)};
}
/* The new weight; m and v become the new moments. */
VR_INLINE vr adamw_move(const adamw_rates *r, vr weight, vr grad, vr *m, vr *v) {
    grad = vr_mul(r->clip, grad);
    *m = blend(r->average1, *m, grad);
    *v = blend(r->average2, *v, vr_mul(grad, grad));
    const vr step = vr_mul(r->rate, vr_div(*m, vr_add(vr_sqrt(*v), r->floor)));
    return vr_sub(weight, vr_add(step, vr_mul(r->shrink, weight)));
}

static double adamw_step(int64_t n, const tn_adamw *o, const tn_real *g, tn_real *w, tn_real *m, tn_real *v) {
    const adamw_rates rates = adamw_rates_of(o);
    vd total = {0};
    FOR_RUNS (i, left, n) {
        vr moment = STREAM(m), square = STREAM(v);
        const vr moved = adamw_move(&rates, STREAM(w), STREAM(g), &moment, &square);
        STORE(m, moment);
        STORE(v, square);
        STORE(w, moved);
        total = add_abs(total, moved);
    }
    return vd_sum(total);
}

static double lion_step(int64_t n, const tn_lion *o, const tn_real *g, tn_real *w, tn_real *m) {
    const vr clip = vr_set(o->grad_scale), lr = vr_set(o->lr), decay = vr_set(o->decay), zero = vr_set(0),
             one = vr_set(1);
    const average average1 = average_of(o->beta1), average2 = average_of(o->beta2);
    vd total = {0};
    FOR_RUNS (i, left, n) {
        const vr grad = vr_mul(clip, STREAM(g)), momentum = STREAM(m), weight = STREAM(w);
        const vr u = blend(average1, momentum, grad);
        const vr sign = vr_sub(vr_if_less(zero, u, one), vr_if_less(u, zero, one));
        const vr moved = vr_sub(weight, vr_mul(lr, vr_add(sign, vr_mul(decay, weight))));
        STORE(m, blend(average2, momentum, grad));
        STORE(w, moved);
        total = add_abs(total, moved);
    }
    return vd_sum(total);
}

static double sgd_step(int64_t n, const tn_sgd *o, const tn_real *g, tn_real *w, tn_real *m) {
    const vr clip = vr_set(o->grad_scale), lr = vr_set(o->lr), decay = vr_set(o->decay), keep = vr_set(o->momentum);
    vd total = {0};
    FOR_RUNS (i, left, n) {
        const vr weight = STREAM(w), grad = vr_add(vr_mul(clip, STREAM(g)), vr_mul(decay, weight));
        const vr momentum = vr_add(vr_mul(keep, STREAM(m)), grad), moved = vr_sub(weight, vr_mul(lr, momentum));
        STORE(m, momentum);
        STORE(w, moved);
        total = add_abs(total, moved);
    }
    return vd_sum(total);
}
