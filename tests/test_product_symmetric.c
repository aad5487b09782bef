/* SPDX-License-Identifier: MIT
 * Products of a matrix with itself turned: half of them computed, the whole of them right. */
#include "core/rng.h"
#include "kernels/gemm.h"
#include "tests/kernel_rig.h"

#include <math.h>
#include <string.h>

enum { LARGEST = 300, SPARE = 3 };
static const struct {
    tn_op_of op;
    int n, k;
    double alpha, beta;
} cases[] = {
    {TN_AS_IS, 1, 1, 1, 0},         {TN_AS_IS, 70, 129, 1, 0},     {TN_TRANSPOSED, 128, 40, 2, 1},
    {TN_TRANSPOSED, 129, 33, 1, 0}, {TN_AS_IS, 300, 300, 2, -4.5}, {TN_TRANSPOSED, 257, 7, 1, 1},
};

typedef void symmetric(tn_op_of op, int n, int k, tn_real alpha, const tn_real *a, int64_t lda, tn_real beta,
                       tn_real *c, int64_t ldc);
typedef void plain(tn_op_of op_a, tn_op_of op_b, int m, int n, int k, tn_real alpha, const tn_real *a, int64_t lda,
                   const tn_real *b, int64_t ldb, tn_real beta, tn_real *c, int64_t ldc);

/* What is above the diagonal of `c` must be within `tolerance` of the plain product, what is below its mirror. */
static void check_case(size_t number, symmetric *half, plain *whole, double tolerance) {
    const int n = cases[number].n, k = cases[number].k, lda = (cases[number].op == TN_AS_IS ? k : n) + SPARE;
    const int64_t ldc = n + SPARE;
    const size_t a_count = (size_t)(LARGEST * (LARGEST + SPARE)), c_count = (size_t)(n * ldc);
    const tn_op_of op = cases[number].op, other = op == TN_AS_IS ? TN_TRANSPOSED : TN_AS_IS;
    const tn_real alpha = (tn_real)cases[number].alpha, beta = (tn_real)cases[number].beta;
    tn_real *a = take(a_count, sizeof *a), *old = take(c_count, sizeof *a), *wanted = take(c_count, sizeof *a),
            *one = take(c_count, sizeof *a), *c = take(c_count, sizeof *a);
    const tn_rng rng = tn_rng_make(41, TN_PURPOSE_TEST, (uint32_t)number);
    for (size_t i = 0; i < a_count; i++) a[i] = (tn_real)tn_rng_normal(&rng, i);
    for (int i = 0; i < n; i++) /* spare elements are told apart from written ones by NaN, so is an old C */
        for (int64_t j = 0; j < ldc; j++)
            old[i * ldc + j] = j < n && beta != 0 ? (tn_real)cos((double)((i + 1) * (j + 1))) : (tn_real)NAN;
    memcpy(wanted, old, c_count * sizeof *c);
    whole(op, other, n, n, k, alpha, a, lda, a, lda, beta, wanted, ldc);
    for (int threads = 1; threads <= 3; threads++) {
        assert_ok(tn_par_set_threads(threads));
        memcpy(c, old, c_count * sizeof *c);
        half(op, n, k, alpha, a, lda, beta, c, ldc);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                assert_true(c[i * ldc + j] == c[j * ldc + i]);
                assert_true(fabs((double)(c[i * ldc + j] - wanted[TN_MIN(i, j) * ldc + TN_MAX(i, j)])) <=
                            tolerance * k);
            }
            for (int64_t j = n; j < ldc; j++) assert_true(isnan(c[i * ldc + j]));
        }
        if (threads == 1) memcpy(one, c, c_count * sizeof *c);
        assert_memory_equal(c, one, c_count * sizeof *c);
    }
}

static void product_symmetric__is_the_plain_one_in_reals(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        check_case(i, tn_product_symmetric, tn_product, sizeof(tn_real) == 4 ? 4e-6 : 1e-14);
}

static void product_symmetric__has_the_bits_of_the_plain_one_in_bf16(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++)
        for (size_t i = 0; i < TN_COUNT(cases) && use_isa(isa); i++)
            check_case(i, tn_product_symmetric_bf16, tn_product_bf16, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(product_symmetric__is_the_plain_one_in_reals, clear_arena),
        cmocka_unit_test_setup(product_symmetric__has_the_bits_of_the_plain_one_in_bf16, clear_arena),
    };
    return cmocka_run_group_tests_name("product_symmetric", tests, make_arena, free_arena);
}
