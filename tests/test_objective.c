/* SPDX-License-Identifier: MIT
 * What a pass is after, through a whole model. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "optim/optimizer.h"
#include "tests/network_rig.h"
#include "tests/pair_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

/* What a pass of pairs gives. */
typedef struct result {
    tn_objective_tally tally;
    tn_real *gradients;
    int64_t count;
} result;

static void add_pass(tn_pair_rig *rig, const tn_pair_rows *rows, double divisor, result *r) {
    assert_ok(tn_objective_train(&rig->objective, rig->model, rig->tape, NULL, &rows->pass, divisor, &r->tally));
}

static result learn_from(tn_pair_rig *rig, const tn_pair_rows *rows, double divisor) {
    result r = {0};
    tn_network_forget(rig->model);
    add_pass(rig, rows, divisor, &r);
    r.gradients = tn_pair_rig_gradients(rig, &r.count);
    return r;
}

/* Of norms: |a - b| / |b|. */
static double distance(const result *a, const result *b) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < a->count; i++) {
        const double d = (double)a->gradients[i] - (double)b->gradients[i];
        difference += d * d;
        norm += (double)b->gradients[i] * (double)b->gradients[i];
    }
    assert_true(norm > 0);
    return sqrt(difference / norm);
}

static void assert_same_tally(const tn_objective_tally *a, const tn_objective_tally *b) {
    assert_memory_equal(a, b, sizeof *a);
}

static void objective__dpo_starts_at_log_two(void **state) {
    tn_pair_rig rig;
    tn_pair_rows rows;
    (void)state;
    tn_pair_rig_init(&rig);
    for (int packed = 0; packed < 2; packed++)
        for (int arithmetic = TN_BACKWARD_F32; arithmetic <= TN_BACKWARD_INT16; arithmetic++) {
            tn_tape_set_backward(rig.tape, (tn_backward)arithmetic);
            if (packed)
                tn_pair_rows_pack(&rows, &rig);
            else
                tn_pair_rows_spread(&rows, &rig, 0, TN_PAIRS);
            assert_ok(tn_objective_refer(&rig.objective, rig.model, rig.tape, &rows.pass));
            result r = learn_from(&rig, &rows, TN_PAIRS);
            assert_true(r.tally.loss == TN_PAIRS * log(2) && r.tally.pairs.margin == 0);
            assert_int_equal(r.tally.pairs.pairs, TN_PAIRS);
            tn_objective_tally measured = {0};
            assert_ok(tn_objective_measure(&rig.objective, rig.model, rig.tape, &rows.pass, &measured));
            assert_same_tally(&measured, &r.tally);
            const double chosen = rows.pairs[0].chosen.reference, rejected = rows.pairs[0].rejected.reference;
            assert_true(chosen < -10 && fabs(chosen / rejected - 20.0 / 9) < 0.5);
        }
    tn_pair_rig_release(&rig);
}

/* A document has the bits that it has alone, and so have its likelihood and its weight; gradients are sums over tokens
 * in another order. */
static void objective__dpo_packed_equals_spread(void **state) {
    tn_pair_rig rig;
    tn_pair_rows rows;
    (void)state;
    tn_pair_rig_init(&rig);
    tn_pair_rows_spread(&rows, &rig, 0, TN_PAIRS);
    const result spread = learn_from(&rig, &rows, TN_PAIRS);
    tn_pair_rows_pack(&rows, &rig);
    const result packed = learn_from(&rig, &rows, TN_PAIRS);
    assert_same_tally(&packed.tally, &spread.tally);
    assert_true(spread.tally.pairs.right > 0 && spread.tally.pairs.right < TN_PAIRS);
    assert_true(distance(&packed, &spread) < 1e-6);
    tn_pair_rig_release(&rig);
}

static void objective__dpo_halves_under_one_divisor_make_the_whole(void **state) {
    tn_pair_rig rig;
    tn_pair_rows rows;
    int64_t pairs;
    (void)state;
    tn_pair_rig_init(&rig);
    tn_pair_rows_spread(&rows, &rig, 0, TN_PAIRS);
    const result whole = learn_from(&rig, &rows, TN_PAIRS);
    pairs = tn_objective_count(&rig.objective, &rows.pass);
    assert_int_equal(pairs, TN_PAIRS);
    result halves = {0};
    tn_network_forget(rig.model);
    for (int half = 0; half < 2; half++) {
        tn_pair_rows_spread(&rows, &rig, half * TN_PAIRS / 2, TN_PAIRS / 2);
        add_pass(&rig, &rows, TN_PAIRS, &halves);
        pairs += tn_objective_count(&rig.objective, &rows.pass);
    }
    halves.gradients = tn_pair_rig_gradients(&rig, &halves.count);
    assert_int_equal(pairs, 2 * TN_PAIRS);
    assert_same_tally(&halves.tally, &whole.tally);
    assert_true(distance(&halves, &whole) < 1e-6);
    tn_pair_rig_release(&rig);
}

static void objective__does_not_depend_on_threads_or_recompute(void **state) {
    tn_pair_rig rig;
    tn_pair_rows rows;
    (void)state;
    tn_pair_rig_init(&rig);
    tn_tape_set_backward(rig.tape, TN_BACKWARD_INT16);
    tn_pair_rows_pack(&rows, &rig);
    const result one = learn_from(&rig, &rows, TN_PAIRS);
    for (int threads = 1; threads <= 3; threads++) {
        assert_ok(tn_par_set_threads(threads));
        tn_model_recompute(rig.model, threads - 1);
        const result other = learn_from(&rig, &rows, TN_PAIRS);
        assert_same_tally(&other.tally, &one.tally);
        assert_memory_equal(other.gradients, one.gradients, (size_t)one.count * sizeof *one.gradients);
    }
    assert_ok(tn_par_set_threads(2));
    tn_pair_rig_release(&rig);
}

static void objective__dpo_learns_to_prefer(void **state) {
    tn_pair_rig rig;
    tn_pair_rows rows;
    tn_param_blocks blocks;
    tn_optimizer *optimizer;
    const tn_optimizer_settings settings = {.kind = TN_OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
    const tn_optimizer_rates rates = {.learning_rate = 3e-3, .table_learning_rate = 3e-3, .grad_scale = 1};
    result r = {0};
    (void)state;
    tn_pair_rig_init(&rig);
    tn_tape_set_backward(rig.tape, TN_BACKWARD_INT16);
    assert_ok(tn_param_blocks_init(&blocks, rig.arena, rig.params, rig.n_params));
    assert_ok(tn_optimizer_create(&optimizer, rig.arena, &blocks, &settings));
    tn_pair_rows_pack(&rows, &rig);
    assert_ok(tn_objective_refer(&rig.objective, rig.model, rig.tape, &rows.pass));
    for (int step = 0; step < 30; step++) {
        r = learn_from(&rig, &rows, TN_PAIRS);
        tn_optimizer_step(optimizer, &rates);
        tn_model_refresh(rig.model, 1);
    }
    print_message("  loss %.4f, margin %.2f, right %d of %d\n", r.tally.loss / TN_PAIRS,
                  r.tally.pairs.margin / TN_PAIRS, (int)r.tally.pairs.right, TN_PAIRS);
    assert_true(r.tally.loss / TN_PAIRS < 0.05 && r.tally.pairs.right == TN_PAIRS);
    assert_true(fabs(r.tally.pairs.chosen - r.tally.pairs.rejected - r.tally.pairs.margin) < 1e-9);
    tn_pair_rig_release(&rig);
}

static void objective__a_number_that_is_none_makes_no_gradient(void **state) {
    tn_pair_rig rig;
    tn_pair_rows rows;
    tn_objective_tally tally = {0}, zero = {0};
    int64_t count;
    (void)state;
    tn_pair_rig_init(&rig);
    rig.references[3] = (double)NAN;
    tn_pair_rows_pack(&rows, &rig);
    tn_network_forget(rig.model);
    assert_int_equal(tn_objective_train(&rig.objective, rig.model, rig.tape, NULL, &rows.pass, 1, &tally), TN_E_NAN);
    assert_non_null(strstr(tn_error_message(), "the rejected answer of pair 1"));
    assert_same_tally(&tally, &zero);
    const tn_real *gradients = tn_pair_rig_gradients(&rig, &count);
    for (int64_t i = 0; i < count; i++) assert_true(gradients[i] == 0);
    tn_pair_rig_release(&rig);
}

/* What a dry pass takes is enough for the real one. */
static void objective__dpo_can_be_rehearsed(void **state) {
    tn_pair_rig rig, real;
    tn_pair_rows rows;
    tn_objective_tally tally = {0};
    (void)state;
    tn_pair_rig_init(&rig);
    tn_pair_rig_init(&real);
    tn_tape *dry = tn_tape_create_dry();
    assert_non_null(dry);
    tn_tape_set_backward(dry, TN_BACKWARD_INT16);
    tn_tape_set_backward(real.tape, TN_BACKWARD_INT16);
    tn_pair_rows_pack(&rows, &rig);
    assert_ok(tn_objective_train(&rig.objective, rig.model, dry, NULL, &rows.pass, 1, &tally));
    assert_ok(tn_objective_train(&real.objective, real.model, real.tape, NULL, &rows.pass, 1, &tally));
    assert_int_equal(tn_arena_peak(tn_tape_step(real.tape)), tn_arena_peak(tn_tape_step(dry)));
    assert_int_equal(tn_arena_peak(tn_tape_scratch(real.tape)), tn_arena_peak(tn_tape_scratch(dry)));
    tn_tape_free(dry);
    tn_pair_rig_release(&real);
    tn_pair_rig_release(&rig);
}

static void objective__sft_is_the_loss_of_the_model(void **state) {
    tn_pair_rig rig;
    tn_pair_rows rows;
    double sum;
    (void)state;
    tn_pair_rig_init(&rig);
    const tn_objective_settings settings = {.kind = TN_OBJECTIVE_SFT, .z_loss = 0.01};
    assert_ok(tn_objective_init(&rig.objective, rig.arena, &settings, TN_PAIR_SLOTS));
    tn_pair_rows_pack(&rows, &rig);
    assert_int_equal(tn_objective_count(&rig.objective, &rows.pass), 20 + 9 + 3 + 17 + 30 + 30 + 11 + 2);
    const result found = learn_from(&rig, &rows, 50);
    tn_network_forget(rig.model);
    const int dims[2] = {rows.pass.rows, rows.pass.context};
    tn_tape_begin(rig.tape, TN_TAPE_RECORD, NULL);
    tn_tensor *loss = tn_model_loss(rig.model, rig.tape, tn_tape_ids(rig.tape, 2, dims, rows.tokens),
                                    tn_tape_ids(rig.tape, 2, dims, rows.targets), rows.first,
                                    (tn_loss_options){.divisor = 50, .z_loss = (tn_real)0.01, .sum = &sum});
    assert_ok(tn_tape_backward(rig.tape, loss));
    result expected = {.tally = {.loss = sum}};
    expected.gradients = tn_pair_rig_gradients(&rig, &expected.count);
    assert_same_tally(&found.tally, &expected.tally);
    assert_memory_equal(found.gradients, expected.gradients, (size_t)found.count * sizeof *found.gradients);
    tn_objective_tally measured = {0};
    assert_ok(tn_objective_measure(&rig.objective, rig.model, rig.tape, &rows.pass, &measured));
    assert_same_tally(&measured, &expected.tally);
    tn_pair_rig_release(&rig);
}

static void objective__settings_out_of_range_are_refused(void **state) {
    static const struct {
        tn_objective_settings settings;
        const char *says;
    } wrong[] = {{{.kind = TN_OBJECTIVE_DPO, .beta = 0}, "dpo.beta is 0"},
                 {{.kind = TN_OBJECTIVE_DPO, .beta = (double)NAN}, "dpo.beta is nan"},
                 {{.kind = TN_OBJECTIVE_DPO, .beta = 0.1, .z_loss = 0.5}, "train.z_loss is 0.5"}};
    (void)state;
    tn_arena *arena = tn_arena_create("test");
    for (size_t i = 0; i < TN_COUNT(wrong); i++) {
        tn_objective objective;
        assert_int_equal(tn_objective_init(&objective, arena, &wrong[i].settings, 64), TN_E_CONFIG);
        assert_non_null(strstr(tn_error_message(), wrong[i].says));
    }
    tn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objective__dpo_starts_at_log_two),
        cmocka_unit_test(objective__dpo_packed_equals_spread),
        cmocka_unit_test(objective__dpo_halves_under_one_divisor_make_the_whole),
        cmocka_unit_test(objective__does_not_depend_on_threads_or_recompute),
        cmocka_unit_test(objective__dpo_learns_to_prefer),
        cmocka_unit_test(objective__a_number_that_is_none_makes_no_gradient),
        cmocka_unit_test(objective__dpo_can_be_rehearsed),
        cmocka_unit_test(objective__sft_is_the_loss_of_the_model),
        cmocka_unit_test(objective__settings_out_of_range_are_refused),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("objective", tests, NULL, NULL);
}
