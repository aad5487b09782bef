/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { T = 150, D = 8, HEADS = 4, KV_HEADS = 2, Q_WIDTH = HEADS * D, KV_WIDTH = KV_HEADS * D };

typedef struct operands {
    tn_real *q, *k, *v;
} operands;

static operands make(tn_graph *g) {
    return (operands){tn_graph_normal(g, T * Q_WIDTH, 0), tn_graph_normal(g, T * KV_WIDTH, 1),
                      tn_graph_normal(g, T * KV_WIDTH, 2)};
}

/* Positions [first, first + n). */
static tn_tensor *attend(tn_graph *g, operands o, int first, int n, tn_kv *kv) {
    const int q_dims[] = {1, n, Q_WIDTH}, kv_dims[] = {1, n, KV_WIDTH};
    tn_tensor *q = tn_tape_real(g->tape, 3, q_dims, o.q + first * Q_WIDTH, false);
    tn_tensor *k = tn_tape_real(g->tape, 3, kv_dims, o.k + first * KV_WIDTH, false);
    tn_tensor *v = tn_tape_real(g->tape, 3, kv_dims, o.v + first * KV_WIDTH, false);
    tn_tensor *y = tn_attention(g->tape, q, k, v, HEADS, KV_HEADS, &(tn_kv_rows){kv, n}, kv != NULL);
    assert_ok(tn_tape_status(g->tape));
    return y;
}

static tn_kv make_cache_of(tn_graph *g, tn_kv_type type, int capacity) {
    tn_kv kv = {.type = type, .n_head = KV_HEADS, .d = D, .capacity = capacity};
    kv.tiles = tn_arena_zalloc(g->arena, 1, tn_kv_bytes(type, KV_HEADS, D, capacity), "test");
    assert_non_null(kv.tiles);
    return kv;
}

static tn_kv make_cache(tn_graph *g, int capacity) { return make_cache_of(g, TN_KV_F32, capacity); }

static void attention__equals_softmax_written_out(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    operands o = make(&g);
    const tn_tensor *y = attend(&g, o, 0, T, NULL);
    for (int t = 0; t < T; t++)
        for (int h = 0; h < HEADS; h++) {
            double p[T], sum = 0, expected[D] = {0};
            int at = h * KV_HEADS / HEADS * D;
            for (int s = 0; s <= t; s++) {
                double score = 0;
                for (int i = 0; i < D; i++)
                    score += (double)o.q[t * Q_WIDTH + h * D + i] * (double)o.k[s * KV_WIDTH + at + i];
                sum += p[s] = exp(score / sqrt(D));
            }
            for (int s = 0; s <= t; s++)
                for (int i = 0; i < D; i++) expected[i] += p[s] / sum * (double)o.v[s * KV_WIDTH + at + i];
            /* float: 150 terms of size 1 with rounded weights */
            for (int i = 0; i < D; i++)
                assert_true(fabs((double)y->real[t * Q_WIDTH + h * D + i] - expected[i]) < 5e-6);
        }
    tn_graph_release(&g);
}

static void attention__future_changes_nothing(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    operands o = make(&g);
    const tn_tensor *before = attend(&g, o, 0, T, NULL);
    const int cuts[] = {1, 63, 64, 65, T - 1};
    for (size_t i = 0; i < TN_COUNT(cuts); i++) {
        operands other = make(&g);
        int cut = cuts[i];
        for (int j = cut * Q_WIDTH; j < T * Q_WIDTH; j++) other.q[j] = 3 - other.q[j];
        for (int j = cut * KV_WIDTH; j < T * KV_WIDTH; j++) other.k[j] = other.v[j] = 100;
        const tn_tensor *after = attend(&g, other, 0, T, NULL);
        assert_memory_equal(before->real, after->real, (size_t)(cut * Q_WIDTH) * sizeof(tn_real));
        assert_true(memcmp(before->real + cut * Q_WIDTH, after->real + cut * Q_WIDTH, Q_WIDTH * sizeof(tn_real)) != 0);
    }
    tn_graph_release(&g);
}

static void attention__cached_chunks_equal_one_pass(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    operands o = make(&g);
    const tn_tensor *full = attend(&g, o, 0, T, NULL);
    const int chunks[] = {1, 7, 64, 100, T};
    for (size_t i = 0; i < TN_COUNT(chunks); i++) {
        tn_kv kv = make_cache(&g, T);
        while (kv.length < T) {
            int n = TN_MIN(chunks[i], T - kv.length);
            const tn_tensor *part = attend(&g, o, kv.length, n, &kv);
            assert_memory_equal(part->real, full->real + kv.length * Q_WIDTH, (size_t)(n * Q_WIDTH) * sizeof(tn_real));
            kv.length += n;
        }
    }
    tn_graph_release(&g);
}

/* Numbers are rounded position by position: every cut gives the same bits, near those of the truth. */
static void attention__small_caches_are_near_and_do_not_know_how_they_were_filled(void **state) {
    static const struct {
        tn_kv_type type;
        double error;
    } types[] = {{TN_KV_F16, 4e-3}, {TN_KV_Q8_0, 4e-2}}; /* of numbers up to 4: 2^-11 and 1 / 254 of them, twice */
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    operands o = make(&g);
    const tn_tensor *full = attend(&g, o, 0, T, NULL);
    const int chunks[] = {T, 1, 7, 64, 100};
    for (size_t t = 0; t < TN_COUNT(types); t++) {
        tn_real first[T * Q_WIDTH];
        for (size_t i = 0; i < TN_COUNT(chunks); i++) {
            tn_kv kv = make_cache_of(&g, types[t].type, T);
            while (kv.length < T) {
                const int n = TN_MIN(chunks[i], T - kv.length), at = kv.length * Q_WIDTH;
                const tn_tensor *part = attend(&g, o, kv.length, n, &kv);
                if (i == 0) memcpy(first, part->real, sizeof first);
                assert_memory_equal(part->real, first + at, (size_t)(n * Q_WIDTH) * sizeof(tn_real));
                kv.length += n;
            }
        }
        for (int i = 0; i < T * Q_WIDTH; i++)
            assert_true(fabs((double)first[i] - (double)full->real[i]) < types[t].error);
        assert_true(memcmp(first, full->real, sizeof first) != 0);
    }
    tn_graph_release(&g);
}

/* Three sequences that are at different places go on in one pass. */
static void attention__runs_of_one_pass_do_not_see_each_other(void **state) {
    enum { RUNS = 3, ROWS = 72 };
    static const int held[RUNS] = {0, 40, 149}, rows[RUNS] = {70, 1, 1};
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    operands o = make(&g);
    tn_real *q = tn_graph_normal(&g, ROWS * Q_WIDTH, 3), *k = tn_graph_normal(&g, ROWS * KV_WIDTH, 4),
            *v = tn_graph_normal(&g, ROWS * KV_WIDTH, 5), alone[ROWS * Q_WIDTH];
    tn_kv caches[2][RUNS];
    tn_kv_rows runs[RUNS];
    operands part = {q, k, v};
    for (int i = 0, row = 0; i < RUNS; row += rows[i++]) {
        for (int j = 0; j < 2; j++) {
            caches[j][i] = make_cache(&g, T);
            if (held[i]) (void)attend(&g, o, 0, held[i], &caches[j][i]);
            caches[j][i].length = held[i];
        }
        const tn_tensor *y = attend(&g, part, row, rows[i], &caches[0][i]);
        memcpy(alone + row * Q_WIDTH, y->real, (size_t)(rows[i] * Q_WIDTH) * sizeof *alone);
        runs[i] = (tn_kv_rows){&caches[1][i], rows[i]};
    }
    const int q_dims[] = {1, ROWS, Q_WIDTH}, kv_dims[] = {1, ROWS, KV_WIDTH};
    const tn_tensor *together =
        tn_attention(g.tape, tn_tape_real(g.tape, 3, q_dims, q, false), tn_tape_real(g.tape, 3, kv_dims, k, false),
                     tn_tape_real(g.tape, 3, kv_dims, v, false), HEADS, KV_HEADS, runs, RUNS);
    assert_ok(tn_tape_status(g.tape));
    assert_memory_equal(together->real, alone, sizeof alone);
    runs[0].rows = 69;
    (void)tn_attention(g.tape, tn_tape_real(g.tape, 3, q_dims, q, false), tn_tape_real(g.tape, 3, kv_dims, k, false),
                       tn_tape_real(g.tape, 3, kv_dims, v, false), HEADS, KV_HEADS, runs, RUNS);
    assert_int_equal(tn_tape_status(g.tape), TN_E_SHAPE);
    tn_graph_release(&g);
}

static void attention__full_cache_and_gradient_through_it_are_refused(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    operands o = make(&g);
    tn_kv kv = make_cache(&g, 4);
    (void)attend(&g, o, 0, 3, &kv);
    kv.length = 3;
    const int q_dims[] = {1, 2, Q_WIDTH}, kv_dims[] = {1, 2, KV_WIDTH};
    for (int trained = 0; trained < 2; trained++) {
        tn_graph_begin(&g);
        kv.length = trained ? 0 : 3;
        tn_tensor *q = tn_tape_real(g.tape, 3, q_dims, o.q, trained);
        tn_tensor *k = tn_tape_real(g.tape, 3, kv_dims, o.k, false), *v = tn_tape_real(g.tape, 3, kv_dims, o.v, false);
        (void)tn_attention(g.tape, q, k, v, HEADS, KV_HEADS, &(tn_kv_rows){&kv, 2}, 1);
        assert_int_equal(tn_tape_status(g.tape), trained ? TN_E_NOGRAD : TN_E_RANGE);
    }
    tn_graph_release(&g);
}

/* Keys and values repeated for every query head: grouped attention written out as plain attention. */
static void attention__groups_equal_repeated_heads(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    operands o = make(&g);
    const tn_tensor *grouped = attend(&g, o, 0, T, NULL);
    tn_real *k = tn_graph_normal(&g, T * Q_WIDTH, 3), *v = tn_graph_normal(&g, T * Q_WIDTH, 3);
    for (int t = 0; t < T; t++)
        for (int h = 0; h < HEADS; h++) {
            int from = t * KV_WIDTH + h * KV_HEADS / HEADS * D, to = t * Q_WIDTH + h * D;
            memcpy(k + to, o.k + from, D * sizeof *k);
            memcpy(v + to, o.v + from, D * sizeof *v);
        }
    const int dims[] = {1, T, Q_WIDTH};
    const tn_tensor *plain =
        tn_attention(g.tape, tn_tape_real(g.tape, 3, dims, o.q, false), tn_tape_real(g.tape, 3, dims, k, false),
                     tn_tape_real(g.tape, 3, dims, v, false), HEADS, HEADS, NULL, 0);
    assert_memory_equal(grouped->real, plain->real, T * Q_WIDTH * sizeof(tn_real));
    tn_graph_release(&g);
}

/* ---- RoPE ---- */

static void rope__turn_back_is_the_identity(void **state) {
    tn_graph g;
    tn_rope_table table;
    (void)state;
    tn_graph_init(&g);
    assert_ok(tn_rope_table_init(&table, g.arena, T, D));
    tn_rope_table_fill(&table, 10000, NULL);
    const tn_real *x = tn_graph_normal(&g, T * Q_WIDTH, 0);
    tn_tensor *y = tn_rope(g.tape, tn_tape_real(g.tape, 3, (const int[]){1, T, Q_WIDTH}, x, false), &table, NULL);
    for (int row = 0; row < T * HEADS; row++) {
        int64_t angle = row / HEADS * (D / 2);
        tn_real back[D];
        tn_k->rope_row(D, y->real + row * D, table.cosine + angle, table.sine + angle, -1, back);
        for (int i = 0; i < D; i++) assert_true(fabs((double)(back[i] - x[row * D + i])) < 1e-6);
    }
    tn_graph_release(&g);
}

static double score(const tn_graph *g, const tn_rope_table *table, const tn_real *q, int at, const tn_real *k,
                    int from) {
    const int dims[] = {1, 1, D};
    const tn_tensor *a = tn_rope(g->tape, tn_tape_real(g->tape, 3, dims, q, false), table, &at);
    const tn_tensor *b = tn_rope(g->tape, tn_tape_real(g->tape, 3, dims, k, false), table, &from);
    double sum = 0;
    for (int i = 0; i < D; i++) sum += (double)a->real[i] * (double)b->real[i];
    return sum;
}

static void rope__scores_depend_on_distance_alone(void **state) {
    tn_graph g;
    tn_rope_table table;
    (void)state;
    tn_graph_init(&g);
    assert_ok(tn_rope_table_init(&table, g.arena, T, D));
    tn_rope_table_fill(&table, 10000, NULL);
    const tn_real *q = tn_graph_normal(&g, D, 0), *k = tn_graph_normal(&g, D, 1);
    double near = score(&g, &table, q, 12, k, 5);
    /* angles of 150 radians in a float table: 1e-5 */
    assert_true(fabs(score(&g, &table, q, 112, k, 105) - near) < 1e-4);
    assert_true(fabs(score(&g, &table, q, 112, k, 5) - near) > 1e-2);
    tn_graph_release(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention__equals_softmax_written_out),
        cmocka_unit_test(attention__future_changes_nothing),
        cmocka_unit_test(attention__cached_chunks_equal_one_pass),
        cmocka_unit_test(attention__small_caches_are_near_and_do_not_know_how_they_were_filled),
        cmocka_unit_test(attention__runs_of_one_pass_do_not_see_each_other),
        cmocka_unit_test(attention__full_cache_and_gradient_through_it_are_refused),
        cmocka_unit_test(attention__groups_equal_repeated_heads),
        cmocka_unit_test(rope__turn_back_is_the_identity),
        cmocka_unit_test(rope__scores_depend_on_distance_alone),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("op_attention", tests, NULL, NULL);
}
