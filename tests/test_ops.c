/* SPDX-License-Identifier: MIT
 * Every row of ops.def on every sample of its page; no op is named here. */
#include "tests/op_rig.h"
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { ALL = 7 };

/* Step of the central differences and the bound of their error. In double the table's own tolerance holds. In float a
 * step of 1e-2 leaves a truncation of about 1e-4 and a rounding of 1e-7 / 1e-2 of each value: 1e-2 of the sum of
 * magnitudes still catches a wrong sign or a missing factor in a vector kernel, which is all it is for. */
#ifdef TN_F64
static const double step = 1e-5;
static double tolerance(const tn_op *op) { return op->tolerance; }
static const double rounding = 1e-12;
#else
static const double step = 1e-2;
static double tolerance(const tn_op *op) { return fmax(op->tolerance, 1e-2); }
static const double rounding = 1e-4;
#endif

typedef void visit_case(const tn_op *op, const tn_op_sample *sample);

static void each_case(bool legal, visit_case *visit) {
    for (int i = 0; i < TN_OP_COUNT; i++) {
        const tn_op *op = &tn_ops[i];
        for (const tn_op_sample *s = op->samples; s->ids_below >= 0; s++)
            if ((s->expect == TN_OK) == legal) visit(op, s);
    }
}

static void refuse(const tn_op *op, const tn_op_sample *sample) {
    tn_rig rig;
    tn_rig_init(&rig, op, sample);
    tn_rig_start(&rig, TN_RESIDUAL_OFF, 0, 0, ALL);
    tn_error_clear();
    tn_status status = op->check(&rig.args);
    if (status != sample->expect || !*tn_error_message())
        fail_msg("%s, illegal sample %d: %s (%s), expected %s", op->name, (int)(sample - op->samples),
                 tn_status_name(status), tn_error_message(), tn_status_name(sample->expect));
    tn_rig_release(&rig);
}

static void ops__illegal_inputs_are_refused_with_a_reason(void **state) {
    (void)state;
    each_case(false, refuse);
}

static bool has_gradient(const tn_rig *rig, int input) { return rig->in[input].letter != 'i'; }

/* <J'u, v> over the inputs that move. */
static double backward_slope(const tn_rig *rig, unsigned moved) {
    double sum = 0;
    for (int i = 0; i < rig->n_inputs; i++) {
        if (!(moved >> i & 1) || !has_gradient(rig, i)) continue;
        const tn_rig_input *in = &rig->in[i];
        for (int64_t j = 0; j < in->count; j++) sum += (double)tn_rig_grad(rig, i)[j] * (double)in->direction[j];
    }
    return sum;
}

/* <u, J v> by central differences. `size` receives the sum of magnitudes, and a thousandth of that of the values: where
 * the slope vanishes (the norm of a single number) the rounding of the values is what is left. */
static double forward_slope(tn_rig *rig, tn_residual_mode mode, unsigned moved, double *size) {
    int64_t count;
    tn_rig_start(rig, mode, step, moved, ALL);
    tn_rig_forward(rig);
    const tn_real *above = tn_rig_result(rig, &count);
    tn_rig_start(rig, mode, -step, moved, ALL);
    tn_rig_forward(rig);
    const tn_real *below = tn_rig_result(rig, &count);
    double sum = 0;
    *size = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        double term = (double)tn_rig_seed(i) * ((double)above[i] - (double)below[i]) / (2 * step);
        sum += term;
        *size += fabs(term) + 1e-3 * fabs((double)tn_rig_seed(i) * (double)above[i]);
    }
    return sum;
}

static double slope_error(tn_rig *rig, tn_residual_mode keep, tn_residual_mode replay, unsigned moved) {
    tn_rig_start(rig, keep, 0, 0, ALL);
    tn_rig_forward(rig);
    tn_rig_backward(rig);
    double expected = backward_slope(rig, moved), size;
    double found = forward_slope(rig, replay, moved, &size);
    return fabs(found - expected) / size;
}

static void check_gradient(const tn_op *op, const tn_op_sample *sample) {
    if (op->gradient == TN_GRADIENT_NONE) return;
    bool ste = op->gradient == TN_GRADIENT_STE;
    tn_rig rig;
    tn_rig_init(&rig, op, sample);
    double worst = 0;
    for (unsigned moved = 1; moved < 1u << rig.n_inputs; moved++) {
        bool one = (moved & (moved - 1)) == 0, all = moved + 1 == 1u << rig.n_inputs;
        if (!one && !all) continue;
        double error = slope_error(&rig, ste ? TN_RESIDUAL_KEEP : TN_RESIDUAL_OFF,
                                   ste ? TN_RESIDUAL_REPLAY : TN_RESIDUAL_OFF, moved);
        worst = fmax(worst, error);
        if (!(error <= tolerance(op)))
            fail_msg("%s, sample %d, inputs %u: slope off by %g, tolerance %g", op->name, (int)(sample - op->samples),
                     moved, error, tolerance(op));
    }
    print_message("  %-12s sample %d: slope off by %.1e, tolerance %.0e\n", op->name, (int)(sample - op->samples),
                  worst, tolerance(op));
    tn_rig_release(&rig);
}

static void ops__backward_is_the_slope_of_forward(void **state) {
    (void)state;
    each_case(true, check_gradient);
}

/* The function whose slope a straight-through op borrows must pass through the op's own result, and must have, at that
 * point, the same gradient by its own backward. */
static void check_replay(const tn_op *op, const tn_op_sample *sample) {
    if (op->gradient != TN_GRADIENT_STE) return;
    tn_rig rig;
    tn_rig_init(&rig, op, sample);
    int64_t count, grads[TN_OP_INPUTS];
    tn_real *kept_grads[TN_OP_INPUTS];
    tn_rig_start(&rig, TN_RESIDUAL_KEEP, 0, 0, ALL);
    tn_rig_forward(&rig);
    tn_rig_backward(&rig);
    const tn_real *kept = tn_rig_result(&rig, &count);
    for (int i = 0; i < rig.n_inputs; i++) {
        grads[i] = has_gradient(&rig, i) ? rig.in[i].count : 0;
        kept_grads[i] = tn_arena_array(rig.arena, (size_t)grads[i], sizeof(tn_real), "test");
        memcpy(kept_grads[i], tn_rig_grad(&rig, i), (size_t)grads[i] * sizeof(tn_real));
    }
    tn_rig_start(&rig, TN_RESIDUAL_REPLAY, 0, 0, ALL);
    tn_rig_forward(&rig);
    tn_rig_backward(&rig);
    const tn_real *replayed = tn_rig_result(&rig, &count);
    /* Sums of up to k terms of size 1: rounding grows like sqrt(k). */
    double bound = rounding * sqrt((double)rig.in[0].count);
    for (int64_t i = 0; i < count; i++) assert_true(fabs((double)(replayed[i] - kept[i])) <= bound);
    for (int i = 0; i < rig.n_inputs; i++)
        for (int64_t j = 0; j < grads[i]; j++)
            assert_true(fabs((double)(tn_rig_grad(&rig, i)[j] - kept_grads[i][j])) <= bound);
    tn_rig_release(&rig);
}

static void ops__replay_goes_through_the_kept_point(void **state) {
    (void)state;
    each_case(true, check_replay);
}

/* Everything a forward and a backward pass produce, in one run of numbers. */
typedef struct snapshot {
    tn_real *values;
    int64_t count;
} snapshot;

static void append(tn_rig *rig, snapshot *s, const tn_real *values, int64_t count) {
    tn_real *joined = tn_arena_array(rig->arena, (size_t)(s->count + count), sizeof *joined, "test");
    if (s->count) memcpy(joined, s->values, (size_t)s->count * sizeof *joined);
    memcpy(joined + s->count, values, (size_t)count * sizeof *joined);
    *s = (snapshot){joined, s->count + count};
}

static snapshot run(tn_rig *rig, unsigned wanted) {
    snapshot s = {0};
    int64_t count;
    tn_rig_start(rig, TN_RESIDUAL_OFF, 0, 0, wanted);
    tn_rig_forward(rig);
    const tn_real *result = tn_rig_result(rig, &count);
    append(rig, &s, result, count);
    tn_rig_backward(rig);
    for (int i = 0; i < rig->n_inputs; i++)
        if (has_gradient(rig, i) && wanted >> i & 1) append(rig, &s, tn_rig_grad(rig, i), rig->in[i].count);
    return s;
}

static void assert_same_bits(const tn_op *op, const tn_op_sample *sample, snapshot a, snapshot b) {
    if (a.count != b.count || memcmp(a.values, b.values, (size_t)a.count * sizeof *a.values) != 0)
        fail_msg("%s, sample %d: bits differ", op->name, (int)(sample - op->samples));
}

static void check_finite(const tn_op *op, const tn_op_sample *sample) {
    tn_rig rig;
    tn_rig_init(&rig, op, sample);
    snapshot s = run(&rig, ALL);
    for (int64_t i = 0; i < s.count; i++)
        if (!isfinite(s.values[i])) fail_msg("%s, sample %d: not finite", op->name, (int)(sample - op->samples));
    tn_rig_release(&rig);
}

static void ops__results_are_finite(void **state) {
    (void)state;
    each_case(true, check_finite);
}

static void check_threads(const tn_op *op, const tn_op_sample *sample) {
    tn_rig rig;
    tn_rig_init(&rig, op, sample);
    assert_ok(tn_par_set_threads(1));
    snapshot one = run(&rig, ALL), again = run(&rig, ALL);
    assert_ok(tn_par_set_threads(3));
    snapshot three = run(&rig, ALL);
    assert_ok(tn_par_set_threads(2));
    assert_same_bits(op, sample, one, again);
    assert_same_bits(op, sample, one, three);
    tn_rig_release(&rig);
}

static void ops__bits_do_not_depend_on_threads_or_repetition(void **state) {
    (void)state;
    each_case(true, check_threads);
}

static void check_accumulation(const tn_op *op, const tn_op_sample *sample) {
    tn_rig rig;
    tn_rig_init(&rig, op, sample);
    tn_rig_start(&rig, TN_RESIDUAL_OFF, 0, 0, ALL);
    tn_rig_forward(&rig);
    tn_rig_backward(&rig);
    const tn_real *first[TN_OP_INPUTS] = {0};
    for (int i = 0; i < rig.n_inputs; i++) {
        if (!has_gradient(&rig, i)) continue;
        snapshot copy = {0};
        append(&rig, &copy, tn_rig_grad(&rig, i), rig.in[i].count);
        first[i] = copy.values;
    }
    tn_rig_backward(&rig); /* on top of the first */
    for (int i = 0; i < rig.n_inputs; i++)
        for (int64_t j = 0; first[i] && j < rig.in[i].count; j++) {
            double expected = 2 * (double)first[i][j], found = (double)tn_rig_grad(&rig, i)[j];
            if (!(fabs(found - expected) <= rounding * (1 + fabs(expected))))
                fail_msg("%s, sample %d, input %d: %g after %g", op->name, (int)(sample - op->samples), i, found,
                         expected);
        }
    tn_rig_release(&rig);
}

static void ops__backward_adds_to_gradients(void **state) {
    (void)state;
    each_case(true, check_accumulation);
}

/* A gradient that holds nothing yet may hold anything: NaN must not shine through. Where the result's gradient is
 * handed on, what is found there is the same again. */
static void check_fresh(const tn_op *op, const tn_op_sample *sample) {
    if (op->fresh == TN_FRESH_ADDS) return;
    for (int handed = 0; handed <= (op->fresh == TN_FRESH_HANDS); handed++) {
        tn_rig rig;
        tn_rig_init(&rig, op, sample);
        snapshot added = run(&rig, ALL);
        int64_t at;
        tn_rig_start(&rig, TN_RESIDUAL_OFF, 0, 0, ALL);
        tn_rig_forward(&rig);
        (void)tn_rig_result(&rig, &at);
        for (int i = 0; i < rig.n_inputs; i++) {
            tn_tensor *x = rig.in[i].tensor;
            rig.args.write[i] = TN_WRITE_SET;
            for (int64_t j = 0; j < rig.in[i].count && x->grad; j++) x->grad[j] = (tn_real)NAN;
        }
        if (handed) {
            rig.args.write[0] = TN_WRITE_HANDED;
            rig.in[0].tensor->grad = rig.args.out->grad;
        }
        tn_rig_backward(&rig);
        for (int i = 0; i < rig.n_inputs; i++)
            for (int64_t j = 0; j < rig.in[i].count && has_gradient(&rig, i); j++)
                if (!(tn_rig_grad(&rig, i)[j] == added.values[at++]))
                    fail_msg("%s, sample %d: gradient %d differs when it is set", op->name, (int)(sample - op->samples),
                             i);
        tn_rig_release(&rig);
    }
}

static void ops__a_fresh_gradient_is_set(void **state) {
    (void)state;
    each_case(true, check_fresh);
}

static void check_wanted(const tn_op *op, const tn_op_sample *sample) {
    tn_rig rig;
    tn_rig_init(&rig, op, sample);
    snapshot all = run(&rig, ALL);
    int64_t at;
    (void)tn_rig_result(&rig, &at);
    for (int i = 0; i < rig.n_inputs; i++) {
        if (!has_gradient(&rig, i)) continue;
        snapshot one = run(&rig, 1u << i);
        if (memcmp(one.values + one.count - rig.in[i].count, all.values + at,
                   (size_t)rig.in[i].count * sizeof(tn_real)) != 0)
            fail_msg("%s, sample %d: gradient %d changes when it is the only one", op->name,
                     (int)(sample - op->samples), i);
        at += rig.in[i].count;
    }
    tn_rig_release(&rig);
}

static void ops__each_gradient_can_be_wanted_alone(void **state) {
    (void)state;
    each_case(true, check_wanted);
}

/* Let the first, second, ... allocation of check fail until none is left to fail. */
static void check_memory(const tn_op *op, const tn_op_sample *sample) {
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        int64_t alive = tn_memory_alive();
        tn_rig rig;
        tn_rig_init(&rig, op, sample);
        tn_rig_start(&rig, TN_RESIDUAL_OFF, 0, 0, ALL);
        tn_memory_fail_at(n);
        status = op->check(&rig.args);
        tn_memory_fail_at(0);
        assert_true(status == TN_OK || status == TN_E_NOMEM);
        tn_rig_release(&rig);
        assert_int_equal(tn_memory_alive(), alive);
    }
}

static void ops__running_out_of_memory_is_a_status(void **state) {
    (void)state;
    each_case(true, check_memory);
}

/* What check reserved is enough, already in the first pass. */
static void check_reserve(const tn_op *op, const tn_op_sample *sample) {
    tn_rig rig;
    tn_rig_init(&rig, op, sample);
    tn_rig_start(&rig, TN_RESIDUAL_OFF, 0, 0, ALL);
    tn_rig_forward(&rig);
    tn_memory_fail_at(1);
    tn_rig_backward(&rig);
    tn_memory_fail_at(0);
    tn_rig_release(&rig);
}

static void ops__backward_needs_no_new_memory(void **state) {
    (void)state;
    each_case(true, check_reserve);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops__illegal_inputs_are_refused_with_a_reason),
        cmocka_unit_test(ops__backward_is_the_slope_of_forward),
        cmocka_unit_test(ops__replay_goes_through_the_kept_point),
        cmocka_unit_test(ops__results_are_finite),
        cmocka_unit_test(ops__bits_do_not_depend_on_threads_or_repetition),
        cmocka_unit_test(ops__backward_adds_to_gradients),
        cmocka_unit_test(ops__a_fresh_gradient_is_set),
        cmocka_unit_test(ops__each_gradient_can_be_wanted_alone),
        cmocka_unit_test(ops__running_out_of_memory_is_a_status),
        cmocka_unit_test(ops__backward_needs_no_new_memory),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
