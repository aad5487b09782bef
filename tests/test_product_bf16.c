/* SPDX-License-Identifier: MIT
 * Products of operands rounded to bf16: on every instruction set, exact where every value and sum is, else near the
 * plain product of the rounded operands; the same bits for any number of threads and for an output alone. */
#include "core/half.h"
#include "core/rng.h"
#include "kernels/gemm.h"
#include "tests/kernel_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Number `isa` of the known ones, if this CPU and build have it and it has not the rows of the set before. */
static bool use_new_isa(size_t isa) {
    const tn_kernels before = *tn_k;
    if (!use_isa(isa)) return false;
    if (isa == 0) return true;
    return tn_k->bf16_panel != before.bf16_panel || tn_k->bf16_pair_rows != before.bf16_pair_rows ||
           tn_k->bf16_pair_cols != before.bf16_pair_cols;
}

typedef struct product_case {
    tn_op_of op_a, op_b;
    int m, n, k;
    double alpha, beta;
} product_case;

/* All orientations; sizes that end inside a tile, a panel, a block of rows and a length of k, and one of each that does
 * not.
 */
static const product_case products[] = {
    {TN_AS_IS, TN_AS_IS, 1, 1, 1, 1, 0},           {TN_AS_IS, TN_TRANSPOSED, 6, 64, 512, 1, 0},
    {TN_AS_IS, TN_AS_IS, 7, 65, 33, 1, 1},         {TN_TRANSPOSED, TN_TRANSPOSED, 5, 63, 31, 2, -.5},
    {TN_TRANSPOSED, TN_AS_IS, 97, 130, 513, 1, 1}, {TN_TRANSPOSED, TN_TRANSPOSED, 101, 17, 1100, -1, 0},
    {TN_AS_IS, TN_AS_IS, 400, 270, 70, .5, 2},     {TN_AS_IS, TN_TRANSPOSED, 192, 257, 64, 1, .5},
    {TN_TRANSPOSED, TN_AS_IS, 33, 48, 0, 1, .5},   {TN_AS_IS, TN_TRANSPOSED, 2, 3, 1025, 1, 0},
};

enum { SPARE = 3 }; /* how much longer stored rows are than needed */

typedef struct operands {
    int64_t lda, ldb, ldc;
    tn_real *a, *b, *c;
    float *a_rounded, *b_rounded;
    size_t c_count;
} operands;

/* Whole numbers -limit..limit, or normal ones when limit is 0. */
static tn_real *take_values(size_t count, int limit, uint32_t stream) {
    const tn_rng rng = tn_rng_make(31, TN_PURPOSE_TEST, stream);
    tn_real *x = tn_arena_array(arena, count + 1, sizeof *x, "test");
    assert_non_null(x);
    for (size_t i = 0; i < count; i++)
        x[i] = limit ? (tn_real)((int)tn_rng_below(&rng, i, 2 * (uint64_t)limit + 1) - limit)
                     : (tn_real)tn_rng_normal(&rng, i);
    return x;
}

static float *take_rounded(size_t count, const tn_real *x) {
    float *rounded = tn_arena_array(arena, count + 1, sizeof *rounded, "test");
    assert_non_null(rounded);
    for (size_t i = 0; i < count; i++) rounded[i] = tn_bf16_to_f32(tn_f32_to_bf16((float)x[i]));
    return rounded;
}

static operands take_operands(const product_case *p, int limit) {
    operands o = {.lda = (p->op_a == TN_AS_IS ? p->k : p->m) + SPARE,
                  .ldb = (p->op_b == TN_AS_IS ? p->n : p->k) + SPARE,
                  .ldc = p->n + SPARE};
    const size_t a_count = (size_t)((p->op_a == TN_AS_IS ? p->m : p->k) * o.lda),
                 b_count = (size_t)((p->op_b == TN_AS_IS ? p->k : p->n) * o.ldb);
    o.c_count = (size_t)(p->m * o.ldc);
    o.a = take_values(a_count, limit, 1);
    o.b = take_values(b_count, limit, 2);
    o.a_rounded = take_rounded(a_count, o.a);
    o.b_rounded = take_rounded(b_count, o.b);
    o.c = take_values(o.c_count, limit, 3);
    return o;
}

static tn_real *multiply(const product_case *p, const operands *o) {
    tn_real *c = tn_arena_array(arena, o->c_count, sizeof *c, "test");
    assert_non_null(c);
    memcpy(c, o->c, o->c_count * sizeof *c);
    tn_product_bf16(p->op_a, p->op_b, p->m, p->n, p->k, (tn_real)p->alpha, o->a, o->lda, o->b, o->ldb, (tn_real)p->beta,
                    c, o->ldc);
    return c;
}

static double a_at(const product_case *p, const operands *o, int i, int t) {
    return (double)(p->op_a == TN_AS_IS ? o->a_rounded[i * o->lda + t] : o->a_rounded[t * o->lda + i]);
}
static double b_at(const product_case *p, const operands *o, int t, int j) {
    return (double)(p->op_b == TN_AS_IS ? o->b_rounded[t * o->ldb + j] : o->b_rounded[j * o->ldb + t]);
}

/* Element i, j may be `units` half units of f32 times the sum of all sizes away; between rows nothing is written. */
static void check_product(const product_case *p, const operands *o, const tn_real *c, double units) {
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < o->ldc; j++) {
            const double was = (double)o->c[i * o->ldc + j], is = (double)c[i * o->ldc + j];
            double sum = 0, size = 0;
            for (int t = 0; j < p->n && t < p->k; t++) {
                const double term = a_at(p, o, i, t) * b_at(p, o, t, j);
                sum += term;
                size += fabs(term);
            }
            const double wanted = j < p->n ? p->alpha * sum + p->beta * was : was;
            const double room = j < p->n ? units * 0x1p-24 * (fabs(p->alpha) * size + fabs(p->beta * was)) : 0;
            if (!(fabs(is - wanted) <= room))
                fail_msg("%s [%d,%d,%d] at %d,%d: %.9g, not %.9g", tn_kernels_isa(), p->m, p->n, p->k, i, j, is,
                         wanted);
        }
}

/* 8 bits hold each operand and 24 each sum, so that nothing is rounded. */
static void product_bf16__small_whole_numbers_multiply_exactly(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(products); i++) {
        const operands o = take_operands(&products[i], 100);
        const tn_real *first = NULL;
        for (size_t isa = 0; tn_kernels_known(isa); isa++) {
            if (!use_new_isa(isa)) continue;
            const tn_real *c = multiply(&products[i], &o);
            if (!first) check_product(&products[i], &o, first = c, 0);
            if (memcmp(first, c, o.c_count * sizeof *c)) fail_msg("%s differs", tn_kernels_isa());
        }
        tn_arena_reset(arena);
    }
}

/* Each of k additions rounds by half a unit of a partial sum, as do alpha, beta and the last sum. */
static void product_bf16__equals_the_plain_product_of_rounded_operands(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(products); i++) {
        const operands o = take_operands(&products[i], 0);
        for (size_t isa = 0; tn_kernels_known(isa); isa++)
            if (use_new_isa(isa)) check_product(&products[i], &o, multiply(&products[i], &o), products[i].k + 3);
        tn_arena_reset(arena);
    }
}

static void product_bf16__threads_change_no_bit(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(products); i++) {
        const operands o = take_operands(&products[i], 0);
        for (size_t isa = 0; tn_kernels_known(isa); isa++) {
            if (!use_new_isa(isa)) continue;
            const tn_real *one = multiply(&products[i], &o);
            for (int threads = 2; threads <= 3; threads++) {
                assert_ok(tn_par_set_threads(threads));
                assert_memory_equal(multiply(&products[i], &o), one, o.c_count * sizeof *one);
            }
            assert_ok(tn_par_set_threads(1));
        }
        tn_arena_reset(arena);
    }
}

static void product_bf16__an_output_alone_has_the_bits_it_has_in_the_whole(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_new_isa(isa)) continue;
        for (size_t i = 0; i < TN_COUNT(products); i++) {
            const product_case *p = &products[i];
            const operands o = take_operands(p, 0);
            const tn_real *whole = multiply(p, &o);
            for (int at = 0; at < p->m * p->n; at += 37) {
                const int row = at / p->n, col = at % p->n;
                tn_real alone = o.c[row * o.ldc + col];
                tn_product_bf16(p->op_a, p->op_b, 1, 1, p->k, (tn_real)p->alpha,
                                o.a + (p->op_a == TN_AS_IS ? row * o.lda : row), o.lda,
                                o.b + (p->op_b == TN_AS_IS ? col : col * o.ldb), o.ldb, (tn_real)p->beta, &alone, 1);
                assert_memory_equal(&alone, &whole[row * o.ldc + col], sizeof alone);
            }
            tn_arena_reset(arena);
        }
    }
}

/* core/half.h, but that a subnormal number is 0. */
static uint16_t half_of(tn_real x) {
    const uint16_t half = tn_f32_to_bf16((float)x);
    return half & 0x7f80 ? half : half & 0x8000;
}

/* Bits of every size and kind, by and next to the middle between two bf16; whole blocks and cut ones. */
static void product_bf16__operands_round_half_to_even(void **state) {
    (void)state;
    enum { ROWS = 64, COLS = 128, COUNT = ROWS * COLS };
    tn_real *x = take_values(COUNT, 1, 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint32_t low[] = {0x8000, 0x7fff, 0x8001, 0xffff}, bits = (i * 8 + i / 4 % 2) << 16 | low[i % 4];
        float f;
        memcpy(&f, &bits, sizeof f);
        x[i] = f;
    }
    uint32_t *words = tn_arena_array(arena, COUNT / 2, sizeof *words, "test");
    assert_non_null(words);
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_new_isa(isa)) continue;
        for (int cut = 0; cut < 2; cut++) {
            const int rows = ROWS - cut, cols = COLS - cut;
            tn_k->bf16_pair_rows(rows, cols, x, COLS, words, COLS);
            for (int r = 0; r < rows; r++)
                for (int c = 0; c < cols; c++)
                    assert_int_equal(words[r / 2 * COLS + c] >> 16 * (r % 2) & 0xffff, half_of(x[r * COLS + c]));
            tn_k->bf16_pair_cols(rows, cols, x, COLS, words, ROWS);
            for (int r = 0; r < rows; r++)
                for (int c = 0; c < cols; c++)
                    assert_int_equal(words[c / 2 * ROWS + r] >> 16 * (c % 2) & 0xffff, half_of(x[r * COLS + c]));
        }
    }
}

static void product_bf16__what_c_held_is_not_read_when_beta_is_0(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_new_isa(isa)) continue;
        const product_case p = {TN_AS_IS, TN_AS_IS, 5, 70, 600, 1, 0};
        operands o = take_operands(&p, 9);
        const tn_real *wanted = multiply(&p, &o);
        for (size_t i = 0; i < o.c_count; i++) o.c[i] = NAN;
        const tn_real *c = multiply(&p, &o);
        for (int i = 0; i < p.m; i++) assert_memory_equal(c + i * o.ldc, wanted + i * o.ldc, sizeof *c * (size_t)p.n);
    }
}

static void product_bf16__pays_only_with_instructions_for_it(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++)
        if (use_new_isa(isa) && tn_k->spin_bf16(1) == 0) assert_false(tn_bf16_pays());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(product_bf16__small_whole_numbers_multiply_exactly, clear_arena),
        cmocka_unit_test_setup(product_bf16__equals_the_plain_product_of_rounded_operands, clear_arena),
        cmocka_unit_test_setup(product_bf16__threads_change_no_bit, clear_arena),
        cmocka_unit_test_setup(product_bf16__an_output_alone_has_the_bits_it_has_in_the_whole, clear_arena),
        cmocka_unit_test_setup(product_bf16__operands_round_half_to_even, clear_arena),
        cmocka_unit_test_setup(product_bf16__what_c_held_is_not_read_when_beta_is_0, clear_arena),
        cmocka_unit_test_setup(product_bf16__pays_only_with_instructions_for_it, clear_arena),
    };
    return cmocka_run_group_tests_name("product_bf16", tests, make_arena, free_arena);
}
