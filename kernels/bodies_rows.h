/* SPDX-License-Identifier: MIT
 * bodies_rows.h - kernels over one row with a meaning: RMSNorm and rotary positions. Included once by every isa_*.c.
 * Contracts: kernels.def. */

/* `ones` stands in where w is NULL. */
VR_INLINE vr load_gain(const tn_real *w, int64_t i, int64_t left) {
    return w ? vr_load_n(w + i, (int)left) : vr_set(1);
}

static tn_real rms_row(int c, const tn_real *x, const tn_real *w, tn_real eps, tn_real *y) {
    vr squares = vr_set(0);
    FOR_RUNS (i, left, c) {
        const vr v = STREAM(x);
        squares = vr_add(squares, vr_mul(v, v));
    }
    const tn_real r = 1 / real_sqrt(vr_sum(squares) / (tn_real)c + eps);
    const vr factor = vr_set(r);
    FOR_RUNS (i, left, c) STORE(y, vr_mul(vr_mul(load_gain(w, i, left), LOAD(x)), factor));
    return r;
}

VR_INLINE void rms_row_pull(int c, const tn_real *x, const tn_real *w, const tn_real *dy, tn_real r, tn_real products,
                            tn_real *dx) {
    const vr pull = vr_set(r * r * (products / (tn_real)c)), factor = vr_set(r);
    FOR_RUNS (i, left, c) {
        const vr slope = vr_mul(load_gain(w, i, left), LOAD(dy));
        STORE(dx, vr_add(LOAD(dx), vr_mul(factor, vr_sub(slope, vr_mul(LOAD(x), pull)))));
    }
}

static void rms_row_dx(int c, const tn_real *x, const tn_real *w, const tn_real *dy, tn_real r, tn_real *dx) {
    vr products = vr_set(0);
    FOR_RUNS (i, left, c) {
        const vr slope = vr_mul(load_gain(w, i, left), LOAD(dy));
        products = vr_add(products, vr_mul(slope, LOAD(x)));
    }
    rms_row_pull(c, x, w, dy, r, vr_sum(products), dx);
}

static void rms_row_dw(int c, const tn_real *x, const tn_real *dy, tn_real r, tn_real *dw) {
    const vr factor = vr_set(r);
    FOR_RUNS (i, left, c) STORE(dw, vr_add(LOAD(dw), vr_mul(vr_mul(STREAM(dy), STREAM(x)), factor)));
}

static void rms_row_back(int c, const tn_real *x, const tn_real *w, const tn_real *dy, tn_real r, tn_real *dx,
                         tn_real *dw) {
    const vr factor = vr_set(r);
    vr products = vr_set(0);
    FOR_RUNS (i, left, c) {
        const vr v = LOAD(x), d = STREAM(dy);
        STORE(dw, vr_add(LOAD(dw), vr_mul(vr_mul(d, v), factor)));
        products = vr_add(products, vr_mul(vr_mul(load_gain(w, i, left), d), v));
    }
    rms_row_pull(c, x, w, dy, r, vr_sum(products), dx);
}

/* The rotated pair (x[i], x[i + d/2]) into y1 and y2. */
#define ROTATE(y1, y2)                                                                                                 \
    const vr x1 = LOAD(x), x2 = LOAD(x + half), c = LOAD(cosine), s = vr_mul(LOAD(sine), vr_set((tn_real)sign));       \
    const vr y1 = vr_sub(vr_mul(x1, c), vr_mul(x2, s)), y2 = vr_add(vr_mul(x2, c), vr_mul(x1, s))

static void rope_row(int d, const tn_real *x, const tn_real *cosine, const tn_real *sine, int sign, tn_real *y) {
    const int half = d / 2;
    FOR_RUNS (i, left, half) {
        ROTATE(y1, y2);
        STORE(y, y1);
        STORE(y + half, y2);
    }
}
static void rope_row_add(int d, const tn_real *x, const tn_real *cosine, const tn_real *sine, int sign, tn_real *y) {
    const int half = d / 2;
    FOR_RUNS (i, left, half) {
        ROTATE(y1, y2);
        STORE(y, vr_add(LOAD(y), y1));
        STORE(y + half, vr_add(LOAD(y + half), y2));
    }
}
