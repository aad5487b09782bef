/* SPDX-License-Identifier: MIT
 * Parameters that only run: packed states, and tables used as a file has them, against those that have values. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <string.h>

enum { N = 70, K = 256, M = 150 }; /* two pieces of rows, and a tail */

static int set_up(void **state) {
    (void)state;
    return tn_kernels_init(NULL);
}

/* ---- packed states ---- */

static void param__states_put_by_rows_run_as_the_latent_does(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    const tn_real *x = tn_graph_normal(&g, N * K, 1);
    tn_param *latent = tn_graph_latent(&g, M, K, tn_graph_normal(&g, M * K, 0), 1);
    tn_tape_begin(g.tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *codes = tn_act_quant(g.tape, tn_tape_real(g.tape, 2, (const int[]){N, K}, x, false), 1);
    tn_tensor *expected = tn_bitlinear(g.tape, codes, latent);
    for (int kept = 0; kept < 2; kept++) {
        tn_param frozen = {
            .name = "frozen", .rows = M, .cols = K, .quantizer = TN_QUANT_ABSMEAN_TERNARY, .product = true};
        assert_ok(tn_param_init(&frozen, g.arena, kept ? TN_PARAM_KEPT : TN_PARAM_FROZEN));
        frozen.scale = latent->scale;
        tn_param_put_states(&frozen, 128, M - 128, latent->states + 128 * K);
        tn_param_put_states(&frozen, 0, 128, latent->states);
        tn_param_refresh(&frozen, 1);
        tn_tensor *found = tn_bitlinear(g.tape, codes, &frozen);
        assert_ok(tn_tape_status(g.tape));
        assert_memory_equal(found->real, expected->real, N * M * sizeof(tn_real));
        assert_null(frozen.tensor.real);
        if (kept)
            assert_memory_equal(frozen.states, latent->states, M * K);
        else
            assert_null(frozen.states);
    }
    tn_graph_release(&g);
}

/* ---- tables ---- */

/* A table of that type, and a parameter whose value is what its rows decode to. */
static void make_table(tn_graph *g, tn_table_type type, tn_param *table, tn_param **values) {
    const size_t bytes = tn_table_row_bytes(type, K);
    tn_real *x = tn_graph_normal(g, M * K, 7);
    unsigned char *data = tn_arena_alloc(g->arena, M * bytes + 1, "test");
    assert_non_null(data++); /* at an odd address */
    for (int i = 0; i < M; i++) {
        assert_ok(tn_table_encode_row(type, K, x + i * K, data + (size_t)i * bytes));
        tn_table_row(type, K, data + (size_t)i * bytes, x + i * K);
    }
    *table = (tn_param){.name = "token_embd.weight", .rows = M, .cols = K, .product = true, .tabular = true};
    assert_ok(tn_param_init(table, g->arena, TN_PARAM_FROZEN));
    assert_ok(tn_param_put_table(table, (tn_table){type, data}));
    tn_param_refresh(table, 1);
    assert_null(table->tensor.real);
    *values = tn_graph_param(g, M, K, x, false);
}

static void assert_same(const tn_tensor *a, const tn_tensor *b) {
    assert_true(tn_tensor_same_shape(a, b));
    assert_memory_equal(a->real, b->real, (size_t)tn_tensor_count(a) * sizeof(tn_real));
}

static void param__tables_give_the_bits_of_their_values(void **state) {
    (void)state;
    int32_t ids[N], targets[N];
    for (int i = 0; i < N; i++) ids[i] = 41 * i % M, targets[i] = i % 5 ? 17 * i % M : -1;
    for (int type = 0; type < TN_TABLE_TYPES; type++)
        for (int threads = 1; threads <= 3; threads += 2) {
            tn_graph g;
            tn_param table, *values, *w[2] = {&table};
            tn_tensor *rows[2], *logits[2], *loss[2];
            double sums[2];
            assert_ok(tn_par_set_threads(threads));
            tn_graph_init(&g);
            make_table(&g, (tn_table_type)type, &table, &values);
            w[1] = values;
            tn_tape_begin(g.tape, TN_TAPE_FORWARD, NULL);
            tn_tensor *in = tn_tape_ids(g.tape, 2, (const int[]){1, N}, ids);
            tn_tensor *out = tn_tape_ids(g.tape, 2, (const int[]){1, N}, targets);
            for (int i = 0; i < 2; i++) {
                rows[i] = tn_embedding(g.tape, in, w[i]);
                logits[i] = tn_linear(g.tape, rows[i], w[i]);
                loss[i] = tn_head_loss(g.tape, rows[i], w[i], out, (tn_loss_options){.divisor = 3, .sum = &sums[i]});
            }
            assert_ok(tn_tape_status(g.tape));
            assert_same(rows[0], rows[1]);
            assert_same(logits[0], logits[1]);
            assert_same(loss[0], loss[1]);
            assert_true(sums[0] == sums[1] && sums[0] > 0);
            tn_graph_release(&g);
        }
}

static void param__tables_must_fit(void **state) {
    tn_graph g;
    (void)state;
    tn_graph_init(&g);
    tn_param table = {.name = "token_embd.weight", .rows = 3, .cols = 48, .product = true, .tabular = true};
    assert_ok(tn_param_init(&table, g.arena, TN_PARAM_FROZEN));
    assert_int_equal(tn_param_put_table(&table, (tn_table){TN_TABLE_Q8_0, "no"}), TN_E_SHAPE);
    assert_ok(tn_param_take_value(&table, g.arena));
    assert_non_null(table.tensor.real);
    tn_param_refresh(&table, 1);
    tn_graph_release(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(param__states_put_by_rows_run_as_the_latent_does, set_up),
        cmocka_unit_test_setup(param__tables_give_the_bits_of_their_values, set_up),
        cmocka_unit_test_setup(param__tables_must_fit, set_up),
    };
    return cmocka_run_group_tests_name("param", tests, NULL, NULL);
}
