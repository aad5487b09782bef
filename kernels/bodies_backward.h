/* SPDX-License-Identifier: MIT
 * bodies_backward.h - kernels that turn gradients into 16-bit fixed point, and sums of such back into gradients
 * (backward.h). Included once by every isa_*.c, after kernels/bodies_runs.h. Contracts: kernels.def.
 * No value is converted to an integer that it may not fit: NaN and infinity show in the unit alone. */
#include "kernels/backward.h"

/* What one of the fixed point stands for: max becomes TN_FIXED_TOP. max * 0 is NaN unless max is finite. */
VR_INLINE vr unit_of(vr max) {
    const vr least = vr_max(max, vr_set(TN_FIXED_TINY));
    return vr_add(vr_div(least, vr_set(TN_FIXED_TOP)), vr_mul(max, vr_set(0)));
}

/* max |x|, or a NaN. Four at a time, so that none waits for the one before. */
static tn_real largest(int64_t n, const tn_real *x) {
    vr a = vr_set(0), b = a, c = a, d = a;
    int64_t whole = n - n % (4 * LANES);
    for (int64_t i = 0; i < whole; i += 4 * LANES) {
        a = vr_max_bits(a, vr_abs(vr_load(x + i)));
        b = vr_max_bits(b, vr_abs(vr_load(x + i + LANES)));
        c = vr_max_bits(c, vr_abs(vr_load(x + i + 2 * LANES)));
        d = vr_max_bits(d, vr_abs(vr_load(x + i + 3 * LANES)));
    }
    FOR_RUNS (i, left, n - whole) a = vr_max_bits(a, vr_abs(LOAD(x + whole)));
    return vr_reduce_max_bits(vr_max_bits(vr_max_bits(a, b), vr_max_bits(c, d)));
}

static tn_real digit_row(int m, const tn_real *dy, int8_t *high, int8_t *low) {
    const vr unit = unit_of(vr_set(largest(m, dy))), inverse = vr_div(vr_set(1), unit);
    FOR_RUNS (i, left, m) vr_to_digits_n(high + i, low + i, (int)left, vr_mul(LOAD(dy), inverse));
    return unit.p[0][0];
}

/* For rows of sums `step` sums apart. */
#define EACH_ROW_OF_SUMS(step, value)                                                                                  \
    for (int r = 0; r < rows; r++, sums += (step), y += y_stride) {                                                    \
        const vr unit = vr_set(units[r]);                                                                              \
        FOR_RUNS (i, left, n) STORE(y, value);                                                                         \
    }
#define JOINED vr_mul(unit, vr_from_digits_n(sums + i, sums + stride + i, (int)left))
#define SCALED vr_mul(unit, vr_from_int32_n(sums + i, (int)left))

static void join_digits(int rows, int n, const int32_t *sums, int64_t stride, const tn_real *units, tn_real *y,
                        int64_t y_stride) {
    EACH_ROW_OF_SUMS(2 * stride, JOINED)
}

static void join_digits_add(int rows, int n, const int32_t *sums, int64_t stride, const tn_real *units, tn_real *y,
                            int64_t y_stride) {
    EACH_ROW_OF_SUMS(2 * stride, vr_add(LOAD(y), JOINED))
}

static void scale_sums(int rows, int n, const int32_t *sums, int64_t stride, const tn_real *units, tn_real *y,
                       int64_t y_stride) {
    EACH_ROW_OF_SUMS(stride, SCALED)
}

static void scale_sums_add(int rows, int n, const int32_t *sums, int64_t stride, const tn_real *units, tn_real *y,
                           int64_t y_stride) {
    EACH_ROW_OF_SUMS(stride, vr_add(LOAD(y), SCALED))
}

/* Four rows a visit, so that the maxima, which live in memory, are not waited for; the last row fills up. */
static void column_units(int rows, int cols, const tn_real *x, int64_t stride, const tn_real *factor, tn_real *unit,
                         tn_real *inverse) {
    memset(unit, 0, sizeof *unit * (size_t)cols);
    for (int row = 0; row < rows; row += 4) {
        const tn_real *from[4];
        vr by[4];
        for (int r = 0; r < 4; r++) {
            const int at = TN_MIN(row + r, rows - 1);
            from[r] = x + at * stride;
            by[r] = vr_set(factor[at]);
        }
        FOR_RUNS (i, left, cols) {
            vr max = LOAD(unit);
            for (int r = 0; r < 4; r++) max = vr_max_bits(max, vr_abs(vr_mul(LOAD(from[r]), by[r])));
            STORE(unit, max);
        }
    }
    FOR_RUNS (i, left, cols) {
        const vr u = unit_of(LOAD(unit));
        STORE(unit, u);
        STORE(inverse, vr_div(vr_set(1), u));
    }
}

/* The partner that an odd last row lacks is that row times 0. */
static void pair_rows(int rows, int cols, const tn_real *x, int64_t stride, const tn_real *factor,
                      const tn_real *inverse, uint32_t *words, int64_t word_stride) {
    for (int row = 0; row < rows; row += 2, words += word_stride) {
        const bool whole = row + 1 < rows;
        const tn_real *first = x + row * stride, *second = whole ? first + stride : first;
        const vr by_first = vr_set(factor[row]), by_second = vr_set(whole ? factor[row + 1] : 0);
        FOR_RUNS (i, left, cols) {
            const vr by = LOAD(inverse);
            vr_to_pairs_n(words + i, (int)left, vr_mul(vr_mul(LOAD(first), by_first), by),
                          vr_mul(vr_mul(LOAD(second), by_second), by));
        }
    }
}

static void pair_codes(int rows, int cols, const int8_t *q, int64_t stride, uint32_t *words, int64_t word_stride) {
    for (int row = 0; row < rows; row += 2, words += word_stride) {
        const int8_t *restrict first = q + row * stride, *restrict second = row + 1 < rows ? first + stride : first;
        for (int j = 0; j < cols; j++) words[j] = (uint16_t)first[j] | (uint32_t)second[j] << 16;
    }
}
