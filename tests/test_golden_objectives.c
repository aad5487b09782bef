/* SPDX-License-Identifier: MIT
 * The objectives of fine-tuning, on the real model, against what PyTorch found (golden/make_golden.py). There, answers
 * go through the network one by one; here, as rows of a pass and packed. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/golden_rig.h"
#include "tests/testing.h"
#include "train/objective.h"

#include <math.h>
#include <string.h>

enum { PAIRS = 4, TIME = 16, SLOTS = 2 * PAIRS * TIME };

static tn_golden g;
static tn_h5 *file;

static int open_golden(void **state) {
    (void)state;
    if (tn_golden_open(&g)) return -1;
    assert_ok(tn_h5_open(&file, "tests/golden/golden_objectives.h5", "tern-golden"));
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    tn_h5_close(file);
    tn_golden_close(&g);
    return 0;
}

/* ---- preferences ---- */

typedef struct answers {
    int32_t tokens[SLOTS], targets[SLOTS], first[SLOTS];
    tn_pair pairs[PAIRS];
    tn_objective_pass pass;
    tn_objective objective;
} answers;

/* A document in `row` from `begin` on; its last token is a target alone. Returns where it ends. */
static int put(answers *a, int row, int begin, const int32_t *tokens, int length, int prompt) {
    for (int i = 0; i + 1 < length; i++) {
        const int at = row * TIME + begin + i;
        assert_true(begin + i < TIME);
        a->tokens[at] = tokens[i];
        a->targets[at] = i + 1 < prompt ? -100 : tokens[i + 1];
        a->first[at] = begin;
    }
    return begin + length - 1;
}

static tn_answer *answer_of(answers *a, int i) { return i % 2 ? &a->pairs[i / 2].rejected : &a->pairs[i / 2].chosen; }

/* `each` answers in a row. */
static void lay_out(answers *a, int each) {
    const int32_t *lengths = tn_golden_read(&g, file, "dpo/lengths", TN_H5_I32, 2 * PAIRS),
                  *prompts = tn_golden_read(&g, file, "dpo/prompts", TN_H5_I32, 2 * PAIRS);
    int64_t total = 0;
    for (int i = 0; i < 2 * PAIRS; i++) total += lengths[i];
    const int32_t *tokens = tn_golden_read(&g, file, "dpo/tokens", TN_H5_I32, total);
    const tn_objective_settings settings = {.kind = TN_OBJECTIVE_DPO, .beta = tn_golden_real(file, "beta")};
    int ends[2 * PAIRS] = {0};
    assert_int_equal(tn_golden_int(file, "pairs"), PAIRS);
    assert_int_equal(g.time, TIME);
    assert_ok(tn_objective_init(&a->objective, g.arena, &settings, SLOTS));
    a->pass = (tn_objective_pass){.rows = 2 * PAIRS / each,
                                  .context = TIME,
                                  .tokens = a->tokens,
                                  .targets = a->targets,
                                  .first = each > 1 ? a->first : NULL,
                                  .pairs = a->pairs,
                                  .n_pairs = PAIRS};
    for (int i = 0; i < SLOTS; i++) {
        a->tokens[i] = 0;
        a->targets[i] = -100;
        a->first[i] = i % TIME;
    }
    for (int i = 0; i < 2 * PAIRS; i++) { /* chosen and rejected in turn */
        const int row = i / each, begin = ends[row];
        ends[row] = put(a, row, begin, tokens, lengths[i], prompts[i]);
        *answer_of(a, i) = (tn_answer){.begin = row * TIME + begin, .end = row * TIME + ends[row], .document = i};
        tokens += lengths[i];
    }
}

static void check_preferences(answers *a) {
    const double *log_probs = tn_golden_read(&g, file, "dpo/log_probs", TN_H5_F64, 2 * PAIRS),
                 *references = tn_golden_read(&g, file, "dpo/references", TN_H5_F64, 2 * PAIRS),
                 *losses = tn_golden_read(&g, file, "dpo/losses", TN_H5_F64, PAIRS);
    double loss = 0;
    tn_golden_load(&g);
    assert_ok(tn_objective_refer(&a->objective, g.model, g.tape, &a->pass));
    for (int i = 0; i < 2 * PAIRS; i++) {
        tn_golden_assert_loss("log-probability", answer_of(a, i)->reference, log_probs[i]);
        answer_of(a, i)->reference = references[i];
    }
    tn_objective_tally tally = {0};
    assert_ok(tn_objective_train(&a->objective, g.model, g.tape, NULL, &a->pass, PAIRS, &tally));
    for (int i = 0; i < PAIRS; i++) loss += losses[i] / PAIRS;
    tn_golden_assert_loss("loss", tally.loss / PAIRS, loss);
    tn_golden_assert_gradients(&g, file, "dpo/grad");
}

/* Of the gradient from what PyTorch has, over the norm of that. */
static double distance_of(const tn_param *p, const char *group) {
    const int64_t count = tn_param_count(p);
    const float *expected = tn_golden_read_of(&g, file, group, p, TN_H5_F32, count);
    double distance = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        distance += pow((double)p->tensor.grad[i] - (double)expected[i], 2);
        norm += pow((double)expected[i], 2);
    }
    return sqrt(distance / norm);
}

static void golden_dpo__of_a_row_an_answer_agrees(void **state) {
    answers a;
    (void)state;
    lay_out(&a, 1);
    check_preferences(&a);
}

static void golden_dpo__of_packed_answers_agrees(void **state) {
    answers a;
    (void)state;
    lay_out(&a, 2);
    check_preferences(&a);
}

/* The arithmetic that a run takes, over a head that is not trained, as methods lora and norms have it. */
static void golden_dpo__agrees_in_the_arithmetic_of_a_run(void **state) {
    answers a;
    tn_objective_tally tally = {0};
    tn_param *head = tn_model_head(g.model);
    tn_real *kept = head->tensor.grad;
    double worst = 0;
    (void)state;
    lay_out(&a, 2);
    const double *references = tn_golden_read(&g, file, "dpo/references", TN_H5_F64, 2 * PAIRS),
                 *losses = tn_golden_read(&g, file, "dpo/losses", TN_H5_F64, PAIRS);
    for (int i = 0; i < 2 * PAIRS; i++) answer_of(&a, i)->reference = references[i];
    tn_golden_load(&g);
    head->tensor.grad = NULL;
    tn_tape_set_backward(g.tape, TN_BACKWARD_INT16);
    assert_ok(tn_objective_train(&a.objective, g.model, g.tape, NULL, &a.pass, PAIRS, &tally));
    tn_tape_set_backward(g.tape, TN_BACKWARD_F32);
    head->tensor.grad = kept;
    const double loss = (losses[0] + losses[1] + losses[2] + losses[3]) / PAIRS;
    assert_true(fabs(tally.loss / PAIRS / loss - 1) < 1e-4);
    for (int i = 0; i < g.n_params; i++)
        if (g.params[i] != head) worst = fmax(worst, distance_of(g.params[i], "dpo/grad"));
    print_message("  loss off by %.1e, gradients by at most %.1e in norm, tolerance 1e-04\n",
                  fabs(tally.loss / PAIRS / loss - 1), worst);
    assert_true(worst < 1e-4);
}

/* ---- distillation ---- */

static void golden_distill__loss_and_gradients_agree(void **state) {
    (void)state;
    const int c = tn_golden_int(file, "teacher_width"), n = g.batch * g.time, dims[2] = {g.batch, g.time};
    const float *hidden = tn_golden_read(&g, file, "distill/hidden", TN_H5_F32, n * c),
                *numbers = tn_golden_read(&g, file, "distill/head", TN_H5_F32, g.vocab * c);
    tn_real *x = tn_arena_array(g.arena, (size_t)(n * c), sizeof *x, "test");
    tn_param head = {.name = "teacher", .rows = g.vocab, .cols = c, .product = true};
    assert_ok(tn_param_init(&head, g.arena, TN_PARAM_FIXED));
    for (int i = 0; i < n * c; i++) x[i] = (tn_real)hidden[i];
    for (int i = 0; i < g.vocab * c; i++) head.tensor.real[i] = (tn_real)numbers[i];
    for (int final = 0; final < 2; final++) {
        double divergence;
        const tn_loss_options options = {.divisor = g.divisor,
                                         .final = final != 0,
                                         .teacher = {.head = &head,
                                                     .hidden = x,
                                                     .temperature = (tn_real)tn_golden_real(file, "temperature"),
                                                     .weight = (tn_real)tn_golden_real(file, "weight"),
                                                     .divergence = &divergence}};
        tn_golden_load(&g);
        tn_tape_begin(g.tape, TN_TAPE_RECORD, NULL);
        tn_tensor *loss = tn_model_loss(g.model, g.tape, tn_tape_ids(g.tape, 2, dims, g.tokens),
                                        tn_tape_ids(g.tape, 2, dims, g.targets), NULL, options);
        assert_ok(tn_tape_backward(g.tape, loss));
        tn_golden_assert_loss("loss", (double)loss->real[0], tn_golden_real(file, "distill_loss"));
        tn_golden_assert_loss("divergence", divergence / g.divisor, tn_golden_real(file, "divergence"));
        tn_golden_assert_gradients(&g, file, "distill/grad");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_dpo__of_a_row_an_answer_agrees),
        cmocka_unit_test(golden_dpo__of_packed_answers_agrees),
        cmocka_unit_test(golden_dpo__agrees_in_the_arithmetic_of_a_run),
        cmocka_unit_test(golden_distill__loss_and_gradients_agree),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("golden_objectives", tests, open_golden, close_golden);
}
