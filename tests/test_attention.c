/* SPDX-License-Identifier: MIT
 * The attention kernels: against a naive softmax in double, causal to the bit, the same bits however queries are cut,
 * and a backward pass that is the slope of the forward one. */
#include "core/rng.h"
#include "core/arena.h"
#include "kernels/kernels.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

/* False, said aloud, where the CPU or the build lacks it; false too where it has the rows of the set before. */
static bool use_isa(size_t isa) {
    const tn_kernels before = *tn_k;
    const tn_status status = tn_kernels_init(tn_kernels_known(isa));
    if (status) print_message("skipping %s\n", tn_error_message());
    if (status || isa == 0) return status == TN_OK;
    return tn_k->attention_rows != before.attention_rows || tn_k->attention_rows_back != before.attention_rows_back;
}

enum { T_MAX = 150, D_MAX = 256, PITCH = D_MAX + 3 };

/* One head: T positions, rows PITCH apart as inside a larger tensor. */
typedef struct head {
    tn_real q[T_MAX * PITCH], k[T_MAX * PITCH], v[T_MAX * PITCH], o[T_MAX * PITCH], lse[T_MAX];
} head;

static head one, two, gradient;
static tn_real d_o[T_MAX * PITCH];

static const struct {
    int t, d;
} sizes[] = {{1, 1}, {2, 16}, {5, 7}, {63, 64}, {64, 32}, {65, 48}, {129, 80}, {150, 64}, {70, 256}, {100, 33}};

static void fill(tn_real *x, int count, uint32_t stream) {
    const tn_rng rng = tn_rng_make(21, TN_PURPOSE_TEST, stream);
    for (int i = 0; i < count; i++) x[i] = (tn_real)tn_rng_normal(&rng, (uint64_t)i);
}

static void fill_head(head *h) {
    static head filled; /* once: an emulated machine takes long to draw so many numbers */
    if (filled.q[0] == 0) {
        fill(filled.q, T_MAX * PITCH, 1);
        fill(filled.k, T_MAX * PITCH, 2);
        fill(filled.v, T_MAX * PITCH, 3);
    }
    *h = filled;
}

/* Queries first .. first + n - 1 of the head. */
static tn_attention_rows rows_of(head *h, int first, int n, int d) {
    return (tn_attention_rows){.n_queries = n,
                               .first = first,
                               .d = d,
                               .scale = (tn_real)(1 / sqrt(d)),
                               .q = h->q + first * PITCH,
                               .q_stride = PITCH,
                               .k = h->k,
                               .v = h->v,
                               .kv_stride = PITCH,
                               .o = h->o + first * PITCH,
                               .o_stride = PITCH,
                               .lse = h->lse + first};
}

static void attend(head *h, int first, int n, int d) {
    const tn_attention_rows a = rows_of(h, first, n, d);
    tn_k->attention_rows(&a);
}

/* ---- naive, in double ---- */
static double score(const head *h, int d, int query, int key) {
    double sum = 0;
    for (int i = 0; i < d; i++) sum += (double)h->q[query * PITCH + i] * (double)h->k[key * PITCH + i];
    return sum / sqrt(d);
}

static double naive_lse(const head *h, int d, int query) {
    double max = -INFINITY, total = 0;
    for (int key = 0; key <= query; key++) max = fmax(max, score(h, d, query, key));
    for (int key = 0; key <= query; key++) total += exp(score(h, d, query, key) - max);
    return max + log(total);
}

static void naive_output(const head *h, int d, int query, double *o) {
    const double lse = naive_lse(h, d, query);
    for (int i = 0; i < d; i++) o[i] = 0;
    for (int key = 0; key <= query; key++) {
        const double p = exp(score(h, d, query, key) - lse);
        for (int i = 0; i < d; i++) o[i] += p * (double)h->v[key * PITCH + i];
    }
}

static void attention__forward_is_the_softmax_average(void **state) {
    (void)state;
    const double tolerance = sizeof(tn_real) == 4 ? 5e-6 : 1e-13;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t s = 0; s < TN_COUNT(sizes); s++) {
            const int t = sizes[s].t, d = sizes[s].d;
            double o[D_MAX];
            fill_head(&one);
            attend(&one, 0, t, d);
            for (int query = 0; query < t; query++) {
                naive_output(&one, d, query, o);
                assert_true(fabs((double)one.lse[query] - naive_lse(&one, d, query)) < tolerance);
                for (int i = 0; i < PITCH; i++)
                    assert_true(fabs((double)one.o[query * PITCH + i] - (i < d ? o[i] : 0)) <
                                (i < d ? tolerance : 1e-300));
            }
        }
    }
}

static void attention__fused_instruction_sets_agree_to_the_bit(void **state) {
    (void)state;
    for (size_t s = 0; s < TN_COUNT(sizes); s++) {
        bool have_first = false;
        for (size_t isa = 1; tn_kernels_known(isa); isa++) { /* 0, portable C, does not fuse */
            if (!use_isa(isa)) continue;
            head *h = have_first ? &two : &one;
            fill_head(h);
            attend(h, 0, sizes[s].t, sizes[s].d);
            if (have_first) assert_memory_equal(&one, &two, sizeof one);
            have_first = true;
        }
    }
}

/* A prompt at once, token by token (decoding), and cut in three. */
static void attention__cuts_between_queries_change_no_bit(void **state) {
    (void)state;
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t s = 0; s < TN_COUNT(sizes); s++) {
            const int t = sizes[s].t, d = sizes[s].d;
            fill_head(&one);
            fill_head(&two);
            attend(&one, 0, t, d);
            for (int query = 0; query < t; query++) attend(&two, query, 1, d);
            assert_memory_equal(&one, &two, sizeof one);
            fill_head(&two);
            attend(&two, 0, t / 3, d);
            attend(&two, t / 3, t / 2 - t / 3, d);
            attend(&two, t / 2, t - t / 2, d);
            assert_memory_equal(&one, &two, sizeof one);
        }
    }
}

static void attention__the_future_changes_no_bit(void **state) {
    (void)state;
    enum { T = 100, D = 32 };
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        fill_head(&one);
        attend(&one, 0, T, D);
        for (int now = 0; now < T; now += 7) {
            fill_head(&two);
            for (int i = (now + 1) * PITCH; i < T_MAX * PITCH; i++) two.k[i] = two.v[i] = (tn_real)NAN;
            attend(&two, 0, T, D);
            for (int query = 0; query <= now; query++)
                assert_memory_equal(two.o + query * PITCH, one.o + query * PITCH, D * sizeof(tn_real));
            assert_memory_equal(two.lse, one.lse, (size_t)(now + 1) * sizeof(tn_real));
            assert_true(isnan(two.o[(now + 1) * PITCH]) || now + 1 == T);
        }
    }
}

/* A heap piece ends with the last key: the address sanitizer and valgrind see any read past it. */
static void attention__reads_no_key_past_the_last_query(void **state) {
    (void)state;
    enum { D = 24 };
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (int t = 1; t < 80; t += 13) {
            tn_real *k = tn_heap_zalloc((size_t)t * D, sizeof *k), *v = tn_heap_zalloc((size_t)t * D, sizeof *v);
            assert_true(k && v);
            for (int i = 0; i < t * D; i++) v[i] = 1;
            tn_attention_rows a = rows_of(&one, 0, t, D);
            a.k = k, a.v = v, a.kv_stride = D;
            tn_k->attention_rows(&a);
            assert_true(fabs((double)one.o[(t - 1) * PITCH + D - 1] - 1) < 1e-6);
            tn_heap_free(k);
            tn_heap_free(v);
        }
    }
}

/* ---- backward ---- */
static void backward(head *h, head *grad, int t, int d) {
    const tn_attention_back b = {
        .forward = rows_of(h, 0, t, d), .d_o = d_o, .dq = grad->q, .dk = grad->k, .dv = grad->v};
    tn_k->attention_rows_back(&b);
}

/* sum of d_o o after moving q, k, v by h times the direction */
static double loss_at(const head *direction, double h, int t, int d) {
    fill_head(&two);
    for (int i = 0; i < T_MAX * PITCH; i++) {
        two.q[i] += (tn_real)h * direction->q[i];
        two.k[i] += (tn_real)h * direction->k[i];
        two.v[i] += (tn_real)h * direction->v[i];
    }
    attend(&two, 0, t, d);
    double loss = 0;
    for (int query = 0; query < t; query++)
        for (int i = 0; i < d; i++) loss += (double)d_o[query * PITCH + i] * (double)two.o[query * PITCH + i];
    return loss;
}

static double slope_along(const head *direction, const head *grad, int t, int d) {
    double sum = 0;
    for (int row = 0; row < t; row++)
        for (int i = row * PITCH; i < row * PITCH + d; i++)
            sum += (double)(grad->q[i] * direction->q[i]) + (double)(grad->k[i] * direction->k[i]) +
                   (double)(grad->v[i] * direction->v[i]);
    return sum;
}

/* Central differences along one random direction, in q, k and v at once. */
static void attention__backward_is_the_slope_of_forward(void **state) {
    (void)state;
    static head direction;
    const double h = sizeof(tn_real) == 4 ? 1e-2 : 1e-5, tolerance = sizeof(tn_real) == 4 ? 5e-3 : 1e-8;
    fill(d_o, T_MAX * PITCH, 4);
    fill(direction.q, T_MAX * PITCH, 5);
    fill(direction.k, T_MAX * PITCH, 6);
    fill(direction.v, T_MAX * PITCH, 7);
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        for (size_t s = 0; s < TN_COUNT(sizes); s++) {
            const int t = sizes[s].t, d = sizes[s].d;
            fill_head(&one);
            memset(&gradient, 0, sizeof gradient);
            attend(&one, 0, t, d);
            backward(&one, &gradient, t, d);
            const double slope = slope_along(&direction, &gradient, t, d);
            const double found = (loss_at(&direction, h, t, d) - loss_at(&direction, -h, t, d)) / (2 * h);
            if (!(fabs(slope - found) <= tolerance * (sqrt(t * d) + fabs(slope))))
                fail_msg("%s [%d,%d]: slope %.9g, differences %.9g", tn_kernels_isa(), t, d, slope, found);
        }
    }
}

static void attention__backward_adds_and_stays_in_its_rows(void **state) {
    (void)state;
    enum { T = 90, D = 40 };
    static head twice;
    fill(d_o, T_MAX * PITCH, 4);
    for (size_t isa = 0; tn_kernels_known(isa); isa++) {
        if (!use_isa(isa)) continue;
        fill_head(&one);
        attend(&one, 0, T, D);
        memset(&gradient, 0, sizeof gradient);
        backward(&one, &gradient, T, D);
        twice = gradient;
        backward(&one, &twice, T, D);
        const tn_real *a = gradient.q, *b = twice.q; /* q, k and v follow each other */
        for (int i = 0; i < 3 * T_MAX * PITCH; i++)
            assert_true(fabs((double)(b[i] - 2 * a[i])) < (sizeof(tn_real) == 4 ? 1e-4 : 1e-12));
        for (int i = 0; i < 3 * T_MAX * PITCH; i++)
            if (i % PITCH >= D || i / PITCH % T_MAX >= T) assert_true(a[i] == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention__forward_is_the_softmax_average),
        cmocka_unit_test(attention__fused_instruction_sets_agree_to_the_bit),
        cmocka_unit_test(attention__cuts_between_queries_change_no_bit),
        cmocka_unit_test(attention__the_future_changes_no_bit),
        cmocka_unit_test(attention__reads_no_key_past_the_last_query),
        cmocka_unit_test(attention__backward_is_the_slope_of_forward),
        cmocka_unit_test(attention__backward_adds_and_stays_in_its_rows),
    };
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
