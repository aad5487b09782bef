/* SPDX-License-Identifier: MIT
 * Training through a head that is a table, as a file has it: the gradient of what it reads, and none of its own. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { TABLE_N = 530, TABLE_C = 256, TABLE_V = 700 };

/* The loss, and dx, of a head. */
static tn_real *dx_of(tn_graph *g, tn_param *w, const tn_real *x, tn_backward arithmetic, bool final, tn_real *loss) {
    tn_real *kept = tn_arena_array(g->arena, TABLE_N * TABLE_C, sizeof *kept, "test");
    int32_t ids[TABLE_N];
    for (int i = 0; i < TABLE_N; i++) ids[i] = i % 9 == 4 ? -1 : i * 7 % TABLE_V;
    tn_tape_set_backward(g->tape, arithmetic);
    tn_graph_begin(g);
    tn_tensor *x_tensor = tn_tape_real(g->tape, 2, (const int[]){TABLE_N, TABLE_C}, x, true);
    tn_tensor *found = tn_head_loss(g->tape, x_tensor, w, tn_tape_ids(g->tape, 1, (const int[]){TABLE_N}, ids),
                                    (tn_loss_options){.divisor = TABLE_N, .z_loss = (tn_real)0.01, .final = final});
    assert_ok(tn_tape_backward(g->tape, found));
    *loss = found->real[0];
    memcpy(kept, x_tensor->grad, TABLE_N * TABLE_C * sizeof *kept);
    return kept;
}

/* `table` as a file might have it, and a parameter of the numbers that it stands for. */
static void make_table(tn_graph *g, tn_table_type type, int v, tn_param *table, tn_param **plain) {
    const tn_real *values = tn_graph_normal(g, (int64_t)v * TABLE_C, 6);
    const size_t bytes = tn_table_row_bytes(type, TABLE_C);
    unsigned char *data = tn_arena_array(g->arena, (size_t)v, bytes, "test");
    tn_real *rows = tn_arena_array(g->arena, (size_t)v * TABLE_C, sizeof *rows, "test");
    for (int i = 0; i < v; i++)
        assert_ok(tn_table_encode_row(type, TABLE_C, values + i * TABLE_C, data + (size_t)i * bytes));
    *table = (tn_param){.name = "table", .rows = v, .cols = TABLE_C, .product = true, .tabular = true};
    assert_ok(tn_param_init(table, g->arena, TN_PARAM_FROZEN));
    assert_ok(tn_param_put_table(table, (tn_table){type, data}));
    tn_table_rows(&table->table, TABLE_C, 0, v, rows);
    *plain = tn_graph_param(g, v, TABLE_C, rows, false);
}

static void check_table(tn_graph *g, tn_table_type type, const tn_real *x) {
    tn_param table, *plain;
    make_table(g, type, TABLE_V, &table, &plain);
    for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++) {
        if (arithmetic == TN_BACKWARD_BF16) continue; /* tables are decoded to reals, and stay such */
        tn_real losses[2];
        const tn_real *expected = dx_of(g, plain, x, (tn_backward)arithmetic, true, &losses[0]);
        for (int threads = 1; threads <= 3; threads++)
            for (int final = 0; final < 2; final++) {
                assert_ok(tn_par_set_threads(threads));
                const tn_real *found = dx_of(g, &table, x, (tn_backward)arithmetic, final != 0, &losses[1]);
                assert_memory_equal(&losses[0], &losses[1], sizeof losses[0]);
                assert_memory_equal(found, expected, TABLE_N * TABLE_C * sizeof *found);
            }
    }
    assert_ok(tn_par_set_threads(2));
}

static void table_head__gives_the_bits_of_its_numbers(void **state) {
    (void)state;
    for (int type = 0; type < TN_TABLE_TYPES; type++) {
        tn_graph g;
        tn_graph_init(&g);
        tn_real *x = tn_graph_normal(&g, TABLE_N * TABLE_C, 7);
        for (int i = 0; i < TABLE_N * TABLE_C; i++) x[i] /= 16;
        check_table(&g, (tn_table_type)type, x);
        tn_graph_release(&g);
    }
}

/* bf16 rounds neither a table nor what meets it. */
static void table_head__is_not_rounded_to_bf16(void **state) {
    (void)state;
    tn_graph g;
    tn_param table, *plain;
    tn_real losses[2];
    tn_graph_init(&g);
    const tn_real *x = tn_graph_normal(&g, TABLE_N * TABLE_C, 7);
    make_table(&g, TN_TABLE_Q8_0, TABLE_V, &table, &plain);
    const tn_real *exact = dx_of(&g, &table, x, TN_BACKWARD_F32, true, &losses[0]),
                  *found = dx_of(&g, &table, x, TN_BACKWARD_BF16, true, &losses[1]);
    assert_memory_equal(losses, losses + 1, sizeof losses[0]);
    assert_memory_equal(exact, found, TABLE_N * TABLE_C * sizeof *exact);
    tn_graph_release(&g);
}

/* Sums over ids in slices: near the product of one piece. */
static void table_head__has_the_slope_of_a_linear_layer(void **state) {
    (void)state;
    enum { LONG_TABLE_V = 9001 /* more than two slices */ };
    tn_graph g;
    tn_param table, *plain;
    tn_tensor *x[2];
    tn_graph_init(&g);
    const tn_real *values = tn_graph_normal(&g, 3 * TABLE_C, 7), *dy = tn_graph_normal(&g, 3 * LONG_TABLE_V, 8);
    make_table(&g, TN_TABLE_F16, LONG_TABLE_V, &table, &plain);
    for (int i = 0; i < 2; i++) x[i] = tn_tape_real(g.tape, 2, (const int[]){3, TABLE_C}, values, true);
    tn_tensor *a = tn_linear(g.tape, x[0], &table), *b = tn_linear(g.tape, x[1], plain);
    assert_memory_equal(a->real, b->real, 3 * LONG_TABLE_V * sizeof(tn_real));
    assert_ok(tn_tape_backward(g.tape, tn_add(g.tape, tn_graph_dot(&g, a, dy), tn_graph_dot(&g, b, dy))));
    for (int i = 0; i < 3 * TABLE_C; i++) /* 9001 terms of size 1 */
        assert_true(fabs((double)(x[0]->grad[i] - x[1]->grad[i])) < 1e-3);
    assert_null(table.tensor.grad);
    tn_graph_release(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_head__gives_the_bits_of_its_numbers),
        cmocka_unit_test(table_head__is_not_rounded_to_bf16),
        cmocka_unit_test(table_head__has_the_slope_of_a_linear_layer),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("table_head", tests, NULL, NULL);
}
