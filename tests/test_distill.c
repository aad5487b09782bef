/* SPDX-License-Identifier: MIT
 * A model that learns from another one. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "optim/optimizer.h"
#include "tests/network_rig.h"
#include "tests/pair_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

/* A student as pair_rig has it, and a teacher of another shape. */
typedef struct school {
    tn_pair_rig student;
    tn_model *teacher;
    tn_tape *teacher_tape;
    tn_pair_rows rows;
} school;

static void make_teacher(school *s, int vocabulary) {
    const tn_model_config config = {.vocab_size = vocabulary,
                                    .d_model = 48,
                                    .n_layer = 1,
                                    .n_head = 2,
                                    .n_kv_head = 2,
                                    .d_ff = 64,
                                    .context = TN_PAIR_TIME,
                                    .activation = TN_ACTIVATION_SILU,
                                    .norm_eps = 1e-5,
                                    .rope_theta = 10000,
                                    .rope_factor = 1,
                                    .init_std = 0.1};
    s->teacher = tn_network_make(s->student.arena, &config, TN_MODEL_EVAL, 5);
}

static tn_objective_settings settings_of(const school *s) {
    return (tn_objective_settings){.kind = TN_OBJECTIVE_DISTILL,
                                   .teacher = s->teacher,
                                   .teacher_tape = s->teacher_tape,
                                   .temperature = 2,
                                   .weight = 3};
}

static void init(school *s) {
    tn_pair_rig_init(&s->student);
    assert_non_null(s->teacher_tape = tn_tape_create());
    make_teacher(s, tn_model_get_config(s->student.model)->vocab_size);
    tn_pair_rows_pack(&s->rows, &s->student);
    const tn_objective_settings settings = settings_of(s);
    assert_ok(tn_objective_init(&s->student.objective, s->student.arena, &settings, TN_PAIR_SLOTS));
}

static void release(school *s) {
    tn_tape_free(s->teacher_tape);
    tn_pair_rig_release(&s->student);
}

static tn_objective_tally learn(school *s, double divisor, tn_real **gradients, int64_t *count) {
    tn_pair_rig *r = &s->student;
    tn_objective_tally tally = {0};
    tn_network_forget(r->model);
    assert_ok(tn_objective_train(&r->objective, r->model, r->tape, NULL, &s->rows.pass, divisor, &tally));
    *gradients = tn_pair_rig_gradients(r, count);
    return tally;
}

/* What the objective makes of the two models, by hand. */
static void distill__adds_what_the_teacher_says(void **state) {
    school s;
    tn_real *found, *expected;
    int64_t count;
    double sum, divergence;
    (void)state;
    init(&s);
    tn_pair_rig *r = &s.student;
    const int64_t targets = tn_objective_count(&r->objective, &s.rows.pass);
    const tn_objective_tally tally = learn(&s, (double)targets, &found, &count);
    const int dims[2] = {s.rows.pass.rows, s.rows.pass.context};
    tn_tape_begin(s.teacher_tape, TN_TAPE_FORWARD, NULL);
    const tn_tensor *hidden = tn_model_hidden_documents(
        s.teacher, s.teacher_tape, tn_tape_ids(s.teacher_tape, 2, dims, s.rows.tokens), s.rows.first);
    const tn_loss_options options = {.divisor = (double)targets,
                                     .sum = &sum,
                                     .teacher = {tn_model_head(s.teacher), hidden->real, 2, 3, &divergence}};
    tn_network_forget(r->model);
    tn_tape_begin(r->tape, TN_TAPE_RECORD, NULL);
    tn_tensor *loss = tn_model_loss(r->model, r->tape, tn_tape_ids(r->tape, 2, dims, s.rows.tokens),
                                    tn_tape_ids(r->tape, 2, dims, s.rows.targets), s.rows.first, options);
    assert_ok(tn_tape_backward(r->tape, loss));
    expected = tn_pair_rig_gradients(r, &count);
    assert_true(divergence > 1 && tally.divergence == divergence);
    assert_true(tally.loss == sum + 3.0 * 2 * 2 * divergence);
    assert_true(fabs(tally.loss / (double)targets - (double)loss->real[0]) < 1e-6 * (double)loss->real[0]);
    assert_memory_equal(found, expected, (size_t)count * sizeof *found);
    release(&s);
}

static void distill__packed_equals_spread(void **state) {
    school s;
    tn_real *gradients[2];
    tn_objective_tally tallies[2];
    int64_t count;
    double difference = 0, norm = 0;
    (void)state;
    init(&s);
    tallies[0] = learn(&s, 50, &gradients[0], &count);
    tn_pair_rows_spread(&s.rows, &s.student, 0, TN_PAIRS);
    tallies[1] = learn(&s, 50, &gradients[1], &count);
    assert_memory_equal(&tallies[0], &tallies[1], sizeof tallies[0]);
    for (int64_t i = 0; i < count; i++) {
        difference += pow((double)gradients[0][i] - (double)gradients[1][i], 2);
        norm += pow((double)gradients[1][i], 2);
    }
    assert_true(norm > 0 && sqrt(difference / norm) < 1e-6);
    release(&s);
}

static void distill__measures_what_it_trains_on(void **state) {
    school s;
    tn_real *gradients;
    int64_t count;
    tn_objective_tally measured = {0};
    (void)state;
    init(&s);
    tn_pair_rig *r = &s.student;
    const tn_objective_tally trained = learn(&s, 50, &gradients, &count);
    assert_ok(tn_objective_measure(&r->objective, r->model, r->tape, &s.rows.pass, &measured));
    assert_memory_equal(&measured, &trained, sizeof trained);
    release(&s);
}

static void distill__comes_nearer_to_the_teacher(void **state) {
    school s;
    tn_real *gradients;
    int64_t count;
    tn_param_blocks blocks;
    tn_optimizer *optimizer;
    const tn_optimizer_settings settings = {.kind = TN_OPTIMIZER_adamw, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8};
    const tn_optimizer_rates rates = {.learning_rate = 3e-3, .table_learning_rate = 3e-3, .grad_scale = 1};
    (void)state;
    init(&s);
    tn_pair_rig *r = &s.student;
    tn_tape_set_backward(r->tape, TN_BACKWARD_INT16);
    r->objective.settings.weight = 30; /* so that it does not learn the targets by heart */
    assert_ok(tn_param_blocks_init(&blocks, r->arena, r->params, r->n_params));
    assert_ok(tn_optimizer_create(&optimizer, r->arena, &blocks, &settings));
    const double before = learn(&s, 130, &gradients, &count).divergence;
    for (int step = 0; step < 60; step++) {
        (void)learn(&s, 130, &gradients, &count);
        tn_optimizer_step(optimizer, &rates);
        tn_model_refresh(r->model, 1);
    }
    const double after = learn(&s, 130, &gradients, &count).divergence;
    print_message("  divergence %.3f, then %.3f\n", before, after);
    assert_true(after < before / 3);
    release(&s);
}

static void distill__needs_one_vocabulary(void **state) {
    school s;
    tn_objective_tally tally = {0};
    (void)state;
    init(&s);
    tn_pair_rig *r = &s.student;
    make_teacher(&s, 64);
    r->objective.settings.teacher = s.teacher;
    assert_int_equal(tn_objective_train(&r->objective, r->model, r->tape, NULL, &s.rows.pass, 1, &tally), TN_E_SHAPE);
    assert_non_null(strstr(tn_error_message(), "the teacher's head has 64 ids, the student's 40"));
    assert_true(tally.loss == 0);
    release(&s);
}

static void distill__settings_out_of_range_are_refused(void **state) {
    school s;
    tn_objective objective;
    (void)state;
    init(&s);
    tn_objective_settings wrong = settings_of(&s);
    wrong.temperature = 0;
    assert_int_equal(tn_objective_init(&objective, s.student.arena, &wrong, 64), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "distill.temperature is 0"));
    wrong = settings_of(&s);
    wrong.weight = -1;
    assert_int_equal(tn_objective_init(&objective, s.student.arena, &wrong, 64), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "distill.weight is -1"));
    release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distill__adds_what_the_teacher_says),
        cmocka_unit_test(distill__packed_equals_spread),
        cmocka_unit_test(distill__measures_what_it_trains_on),
        cmocka_unit_test(distill__comes_nearer_to_the_teacher),
        cmocka_unit_test(distill__needs_one_vocabulary),
        cmocka_unit_test(distill__settings_out_of_range_are_refused),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("distill", tests, NULL, NULL);
}
