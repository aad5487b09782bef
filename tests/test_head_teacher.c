/* SPDX-License-Identifier: MIT
 * A head that learns from a teacher beside its targets. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/head_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { N = TN_HEAD_N, C = TN_HEAD_C, V = TN_HEAD_V };

static void init(tn_head_rig *c) {
    tn_head_rig_init(c);
    tn_head_rig_teach(c);
}

static void head_teacher__gives_the_loss_written_out(void **state) {
    tn_head_rig c;
    (void)state;
    init(&c);
    for (int k = 0; k < 4; k++) {
        c.options.row_weight = k / 2 ? tn_head_rig_weights(&c) : NULL;
        const tn_head_naive n = tn_head_rig_naive(&c);
        const tn_head_result found = tn_head_rig_run(&c, k % 2, 2);
        assert_true(fabs(c.sum - n.nll) < 1e-6 * n.nll);
        assert_true(n.divergence > 100 && fabs(c.divergence - n.divergence) < 1e-6 * n.divergence);
        assert_true(fabs((double)found.loss - n.total) < 1e-5 * fabs(n.total));
        tn_head_assert_close(found.dx, n.dx, N * C);
        tn_head_assert_close(found.dw, n.dw, V * C);
    }
    tn_head_rig_release(&c);
}

/* A KL of 0 is a difference of logarithms of size 10, and what it adds to G one of probabilities. */
static void head_teacher__that_is_the_student_adds_nothing(void **state) {
    tn_head_rig c;
    (void)state;
    tn_head_rig_init(&c);
    const tn_head_result alone = tn_head_rig_run(&c, true, 2);
    c.options.teacher =
        (tn_teacher){.head = c.w, .hidden = c.x, .temperature = 5, .weight = 10, .divergence = &c.divergence};
    const tn_head_result taught = tn_head_rig_run(&c, true, 2);
    assert_true(fabs(c.divergence) < 1e-6 * N);
    assert_true(fabs((double)(taught.loss - alone.loss)) < 1e-4 * (double)alone.loss);
    assert_true(tn_head_difference(taught.dx, alone.dx, N * C) < 1e-5);
    assert_true(tn_head_difference(taught.dw, alone.dw, V * C) < 1e-5);
    tn_head_rig_release(&c);
}

/* Products of codes are for passes without a teacher; those of bf16 keep 8 bits. */
static void head_teacher__gives_the_same_bits_in_any_pass(void **state) {
    tn_head_rig c;
    (void)state;
    init(&c);
    const tn_head_result exact = tn_head_rig_run(&c, false, 1);
    for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++) {
        tn_tape_set_backward(c.g.tape, (tn_backward)arithmetic);
        const tn_head_result first = tn_head_rig_run(&c, false, 1);
        for (int threads = 1; threads <= 3; threads++)
            for (int final = 0; final < 2; final++) {
                const tn_head_result other = tn_head_rig_run(&c, final, threads);
                tn_head_assert_same(&first, &other);
            }
        if (arithmetic != TN_BACKWARD_BF16) tn_head_assert_same(&exact, &first);
        assert_true(tn_head_difference(first.dx, exact.dx, N * C) <= 0x1p-7);
        assert_true(tn_head_difference(first.dw, exact.dw, V * C) <= 0x1p-7);
    }
    assert_ok(tn_par_set_threads(2));
    tn_head_rig_release(&c);
}

/* Without a pass backwards the loss has the same bits. */
static void head_teacher__can_be_asked_without_learning(void **state) {
    tn_head_rig c;
    (void)state;
    init(&c);
    const tn_head_result recorded = tn_head_rig_run(&c, true, 2);
    const double divergence = c.divergence;
    c.divergence = -1;
    tn_tape_begin(c.g.tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *x = tn_tape_real(c.g.tape, 2, (const int[]){N, C}, c.x, false);
    tn_tensor *loss = tn_head_loss(c.g.tape, x, c.w, tn_tape_ids(c.g.tape, 1, (const int[]){N}, c.targets), c.options);
    assert_ok(tn_tape_status(c.g.tape));
    assert_true(loss->real[0] == recorded.loss && c.divergence == divergence);
    tn_head_rig_release(&c);
}

/* The numbers of w as a table of f16 has them, and that table. */
static tn_param *make_table(tn_head_rig *c, tn_param *w) {
    const size_t bytes = tn_table_row_bytes(TN_TABLE_F16, w->cols);
    unsigned char *data = tn_arena_array(c->g.arena, (size_t)w->rows, bytes, "test");
    tn_param *table = tn_arena_zalloc(c->g.arena, 1, sizeof *table, "test");
    for (int i = 0; i < w->rows; i++)
        assert_ok(tn_table_encode_row(TN_TABLE_F16, w->cols, w->tensor.real + i * w->cols, data + (size_t)i * bytes));
    *table = (tn_param){.name = "table", .rows = w->rows, .cols = w->cols, .product = true, .tabular = true};
    assert_ok(tn_param_init(table, c->g.arena, TN_PARAM_FROZEN));
    assert_ok(tn_param_put_table(table, (tn_table){TN_TABLE_F16, data}));
    tn_table_rows(&table->table, w->cols, 0, w->rows, w->tensor.real);
    return table;
}

static void head_teacher__may_be_a_table_before_a_table(void **state) {
    tn_head_rig c;
    (void)state;
    init(&c);
    tn_param *w = c.w, *head = tn_graph_param(&c.g, V, TN_HEAD_TEACHER_C, c.options.teacher.head->tensor.real, false);
    tn_param *tables[2] = {make_table(&c, w), make_table(&c, head)};
    tn_head_rig_freeze(&c);
    c.options.teacher.head = head;
    for (int final = 0; final < 2; final++) {
        const tn_head_result expected = tn_head_rig_run(&c, final, 2);
        const double divergence = c.divergence;
        c.w = tables[0];
        c.options.teacher.head = tables[1];
        const tn_head_result found = tn_head_rig_run(&c, final, 3);
        tn_head_assert_same(&expected, &found);
        assert_true(c.divergence == divergence);
        c.w = w;
        c.options.teacher.head = head;
    }
    assert_ok(tn_par_set_threads(2));
    tn_head_rig_release(&c);
}

static void head_teacher__a_number_that_is_none_travels_on(void **state) {
    tn_head_rig c;
    (void)state;
    init(&c);
    const tn_head_result good = tn_head_rig_run(&c, true, 2);
    tn_real *hidden = tn_graph_normal(&c.g, N * TN_HEAD_TEACHER_C, 3);
    hidden[1 * TN_HEAD_TEACHER_C] = (tn_real)NAN; /* of a row without a target */
    c.options.teacher.hidden = hidden;
    const tn_head_result same = tn_head_rig_run(&c, true, 2);
    tn_head_assert_same(&good, &same);
    hidden[65 * TN_HEAD_TEACHER_C + 3] = (tn_real)NAN;
    assert_true(c.targets[65] >= 0);
    const tn_head_result bad = tn_head_rig_run(&c, true, 2);
    assert_true(isnan(bad.loss) && isnan(c.divergence) && isfinite(c.sum));
    for (int i = 0; i < N * C; i++) assert_true(i / C == 65 ? isnan(bad.dx[i]) : bad.dx[i] == good.dx[i]);
    tn_head_rig_release(&c);
}

static void head_teacher__survives_large_logits(void **state) {
    tn_head_rig c;
    (void)state;
    init(&c);
    for (int i = 0; i < N * C; i++) c.x[i] *= 1000;
    tn_real *hidden = tn_graph_normal(&c.g, N * TN_HEAD_TEACHER_C, 3);
    for (int i = 0; i < N * TN_HEAD_TEACHER_C; i++) hidden[i] *= 1000;
    c.options.teacher.hidden = hidden;
    c.options.teacher.temperature = (tn_real)0.5;
    const tn_head_result found = tn_head_rig_run(&c, true, 2);
    assert_true(isfinite(found.loss) && c.divergence > 1000);
    for (int i = 0; i < N * C; i++) assert_true(isfinite(found.dx[i]));
    tn_head_rig_release(&c);
}

static void head_teacher__of_another_vocabulary_is_refused(void **state) {
    tn_head_rig c;
    (void)state;
    init(&c);
    c.options.teacher.head = tn_graph_param(&c.g, V + 64, C, tn_graph_normal(&c.g, (V + 64) * C, 4), false);
    (void)tn_head_rig_loss(&c);
    assert_int_equal(tn_tape_status(c.g.tape), TN_E_SHAPE);
    assert_string_equal(strstr(tn_error_message(), "the teacher"),
                        "the teacher's head has 1564 ids, the student's 1500: both need one vocabulary");
    tn_head_rig_release(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_teacher__gives_the_loss_written_out),
        cmocka_unit_test(head_teacher__that_is_the_student_adds_nothing),
        cmocka_unit_test(head_teacher__gives_the_same_bits_in_any_pass),
        cmocka_unit_test(head_teacher__can_be_asked_without_learning),
        cmocka_unit_test(head_teacher__may_be_a_table_before_a_table),
        cmocka_unit_test(head_teacher__a_number_that_is_none_travels_on),
        cmocka_unit_test(head_teacher__survives_large_logits),
        cmocka_unit_test(head_teacher__of_another_vocabulary_is_refused),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("head_teacher", tests, NULL, NULL);
}
