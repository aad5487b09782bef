/* SPDX-License-Identifier: MIT
 * Products on packed panels: one chain of multiply-adds an output, however the product is cut or turned. */
#include "core/arena.h"
#include "core/rng.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/panels.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { GUARD = 3 }; /* numbers between the rows of stored matrices */

static tn_arena *arena;

static int make_arena(void **state) {
    (void)state;
    arena = tn_arena_create("test");
    return arena ? 0 : -1;
}
static int free_arena(void **state) {
    (void)state;
    tn_arena_free(arena);
    return tn_kernels_init(NULL);
}

static bool use_isa(size_t isa) {
    const tn_status status = tn_kernels_init(tn_kernels_known(isa));
    if (status) print_message("skipping %s\n", tn_error_message());
    tn_arena_reset(arena);
    return status == TN_OK;
}

static tn_real *take(int64_t count) {
    tn_real *x = tn_arena_array(arena, (size_t)count + 1, sizeof *x, "test");
    assert_non_null(x);
    return x;
}

static tn_real *take_normal(int64_t count, uint32_t stream) {
    const tn_rng rng = tn_rng_make(21, TN_PURPOSE_TEST, stream);
    tn_real *x = take(count);
    for (int64_t i = 0; i < count; i++) x[i] = (tn_real)tn_rng_normal(&rng, (uint64_t)i);
    return x;
}

/* Edges of panels and tiles each way; k below, at and above the depth that is worked on at once. */
static const struct { int n, m, k; } shapes[] = {{1, 1, 1}, {7, 64, 33}, {13, 70, 768}, {66, 17, 769}, {20, 130, 1700}};

static tn_real *pack(int k, int m, const tn_real *b, int64_t stride) {
    tn_real *panels = take(tn_panels_count(k, m));
    tn_panels_pack(k, m, b, stride, panels);
    return panels;
}

static tn_real *pack_turned(int k, int m, const tn_real *b, int64_t stride) {
    tn_real *panels = take(tn_panels_count(k, m));
    tn_panels_pack_turned(k, m, b, stride, panels);
    return panels;
}

static void panels__either_packing_of_a_matrix_is_the_same(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t i = 0; i < TN_COUNT(shapes); i++) {
            const int m = shapes[i].m, k = shapes[i].k;
            const tn_real *b = take_normal((int64_t)k * (m + GUARD), 1);
            tn_real *turned = take((int64_t)m * (k + GUARD));
            for (int j = 0; j < m; j++)
                for (int t = 0; t < k; t++) turned[j * (k + GUARD) + t] = b[t * (m + GUARD) + j];
            const size_t size = sizeof *b * (size_t)tn_panels_count(k, m);
            assert_memory_equal(pack(k, m, b, m + GUARD), pack_turned(k, m, turned, k + GUARD), size);
            const tn_real *packed = pack_turned(k, m, turned, k + GUARD);
            for (int64_t at = 0; at < tn_panels_count(k, m); at++) {
                const int width = tn_k->real_panel_width, t = (int)(at / width % k);
                const int64_t j = at / width / k * width + at % width;
                assert_true(packed[at] == (j < m ? b[t * (m + GUARD) + j] : 0));
            }
        }
    }
}

/* The trainer's head makes logits with the factors swapped; they must be the runtime's. */
static void panels__swapped_factors_give_the_bits_of_the_product(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t i = 0; i < TN_COUNT(shapes); i++) {
            const int n = shapes[i].n, m = shapes[i].m, k = shapes[i].k;
            const tn_real *x = take_normal((int64_t)n * k, 2), *w = take_normal((int64_t)m * k, 3);
            tn_real *y = take((int64_t)n * m), *swapped = take((int64_t)n * m);
            void *packed = tn_arena_alloc(arena, tn_pack_real_bytes(m, k), "test");
            tn_pack_real(m, k, w, packed);
            tn_gemm_real(n, m, k, x, packed, y);
            tn_panels_multiply(m, n, k, w, k, pack_turned(k, n, x, k), TN_SUM_SET, swapped, n);
            for (int r = 0; r < n; r++)
                for (int j = 0; j < m; j++) assert_true(y[r * m + j] == swapped[j * n + r]);
        }
    }
}

/* Also: what is set may hold anything before, and nothing is written between rows. */
static void panels__adding_goes_on_with_the_chain(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t i = 0; i < TN_COUNT(shapes); i++) {
            const int n = shapes[i].n, m = shapes[i].m, k = shapes[i].k, stride = m + GUARD, part = k / 3;
            const tn_real *x = take_normal((int64_t)n * k, 4), *b = take_normal((int64_t)k * m, 5);
            tn_real *whole = take((int64_t)n * stride), *parts = take((int64_t)n * stride);
            for (int64_t at = 0; at < (int64_t)n * stride; at++) whole[at] = parts[at] = (tn_real)NAN;
            tn_panels_multiply(n, m, k, x, k, pack(k, m, b, m), TN_SUM_SET, whole, stride);
            if (part) tn_panels_multiply(n, m, part, x, k, pack(part, m, b, m), TN_SUM_SET, parts, stride);
            tn_panels_multiply(n, m, k - part, x + part, k, pack(k - part, m, b + part * m, m),
                               part ? TN_SUM_ADD : TN_SUM_SET, parts, stride);
            for (int r = 0; r < n; r++)
                for (int j = 0; j < stride; j++) {
                    const tn_real one = whole[r * stride + j], two = parts[r * stride + j];
                    assert_true(j < m ? one == two : isnan(one) && isnan(two));
                }
        }
    }
}

static void panels__products_are_near_those_in_double(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        const int n = 13, m = 70, k = 768;
        const tn_real *x = take_normal(n * k, 6), *b = take_normal(k * m, 7);
        tn_real *y = take(n * m);
        tn_panels_multiply(n, m, k, x, k, pack(k, m, b, m), TN_SUM_SET, y, m);
        for (int r = 0; r < n; r++)
            for (int j = 0; j < m; j++) {
                double sum = 0, size = 0, unit = sizeof(tn_real) == 4 ? 0x1p-24 : 0x1p-53;
                for (int t = 0; t < k; t++) {
                    const double term = (double)x[r * k + t] * (double)b[t * m + j];
                    sum += term;
                    size += fabs(term);
                }
                assert_true(fabs((double)y[r * m + j] - sum) <= 2 * k * unit * size);
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels__either_packing_of_a_matrix_is_the_same),
        cmocka_unit_test(panels__swapped_factors_give_the_bits_of_the_product),
        cmocka_unit_test(panels__adding_goes_on_with_the_chain),
        cmocka_unit_test(panels__products_are_near_those_in_double),
    };
    return cmocka_run_group_tests_name("panels", tests, make_arena, free_arena);
}
