/* SPDX-License-Identifier: MIT
 * Documents that share rows: each sees itself alone, so packing changes nothing but the order of sums over tokens. */
#include "core/par.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#include "layers/model.h"
#include "tests/network_rig.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { T = 96, ROWS = 3, DOCUMENTS = 9, SLOTS = DOCUMENTS * T };

/* Where each document lies in the rows; between them is padding, which is a document of its own. */
static const struct {
    int row, begin, length;
} places[DOCUMENTS] = {{0, 0, 96}, {1, 0, 70}, {1, 70, 1},  {1, 71, 20}, {2, 0, 5},
                       {2, 5, 9},  {2, 14, 3}, {2, 17, 66}, {2, 83, 4}};

typedef struct network {
    tn_arena *arena;
    tn_tape *tape;
    tn_model *model;
    tn_param **params;
    int n_params;
} network;

static void init(network *n) {
    tn_model_config config = tn_network_small;
    config.context = T;
    assert_non_null(n->arena = tn_arena_create("test"));
    assert_non_null(n->tape = tn_tape_create());
    n->model = tn_network_make(n->arena, &config, TN_MODEL_TRAIN, 1);
    n->params = tn_model_params(n->model, &n->n_params);
}

static void release(network *n) {
    tn_tape_free(n->tape);
    tn_arena_free(n->arena);
}

/* ---- rows ---- */

typedef struct rows {
    int count;
    int32_t tokens[SLOTS], targets[SLOTS], first[SLOTS];
} rows;

static int32_t token_of(int document, int i) {
    tn_rng rng = tn_rng_make(3, TN_PURPOSE_TEST, (uint32_t)document);
    return (int32_t)tn_rng_below(&rng, (uint64_t)i, (uint64_t)tn_network_small.vocab_size);
}

/* Document `d` from `begin` of a row on. Every third token has no loss. */
static void put(rows *r, int row, int begin, int d) {
    for (int i = 0; i < places[d].length; i++) {
        int at = row * T + begin + i;
        r->tokens[at] = token_of(d, i);
        r->targets[at] = i % 3 == 1 ? -100 : token_of(d, i + 1);
        r->first[at] = begin;
    }
}

static void clear(rows *r, int count) {
    r->count = count;
    for (int i = 0; i < count * T; i++) {
        r->tokens[i] = 0;
        r->targets[i] = -100;
        r->first[i] = i % T;
    }
}

static void pack(rows *r) {
    clear(r, ROWS);
    for (int d = 0; d < DOCUMENTS; d++) put(r, places[d].row, places[d].begin, d);
}

static void spread(rows *r) {
    clear(r, DOCUMENTS);
    for (int d = 0; d < DOCUMENTS; d++) put(r, d, 0, d);
}

static int count_targets(const rows *r) {
    int n = 0;
    for (int i = 0; i < r->count * T; i++) n += r->targets[i] >= 0;
    return n;
}

static tn_tensor *ids_of(const network *n, int count, int time, const int32_t *ids) {
    return tn_tape_ids(n->tape, 2, (const int[]){count, time}, ids);
}

/* Sum of the losses; gradients, cleared before, receive those of their mean. */
static double learn_from(network *n, const rows *r, bool documents) {
    double sum = 0;
    const tn_loss_options options = {.divisor = count_targets(r), .sum = &sum};
    tn_network_forget(n->model);
    tn_tape_begin(n->tape, TN_TAPE_RECORD, NULL);
    tn_tensor *loss = tn_model_loss(n->model, n->tape, ids_of(n, r->count, T, r->tokens),
                                    ids_of(n, r->count, T, r->targets), documents ? r->first : NULL, options);
    assert_ok(tn_tape_backward(n->tape, loss));
    return sum;
}

static tn_real *hidden_of(network *n, int count, int time, const int32_t *ids, const int32_t *first) {
    tn_tape_begin(n->tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *x = tn_model_hidden_documents(n->model, n->tape, ids_of(n, count, time, ids), first);
    assert_ok(tn_tape_status(n->tape));
    return x->real;
}

/* ---- claims ---- */

static rows packed, apart;

static void documents__get_the_bits_they_get_alone(void **state) {
    (void)state;
    network n;
    static tn_real together[ROWS * T * 32];
    init(&n);
    pack(&packed);
    memcpy(together, hidden_of(&n, ROWS, T, packed.tokens, packed.first), sizeof together);
    for (int d = 0; d < DOCUMENTS; d++) {
        int at = places[d].row * T + places[d].begin;
        const tn_real *alone = hidden_of(&n, 1, places[d].length, packed.tokens + at, NULL);
        assert_memory_equal(together + at * 32, alone, (size_t)places[d].length * 32 * sizeof(tn_real));
    }
    const tn_real *seen =
        hidden_of(&n, ROWS, T, packed.tokens, NULL); /* the same rows, where documents see each other */
    assert_memory_equal(together, seen, (size_t)T * 32 * sizeof(tn_real));
    assert_memory_not_equal(together + (T + 70) * 32, seen + (T + 70) * 32, 32 * sizeof(tn_real));
    release(&n);
}

/* The largest difference of two gradients, relative to the largest number of the first. */
static double distance(const tn_real *a, const tn_real *b, int64_t count) {
    double most = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)(a[i] - b[i])));
        size = fmax(size, fabs((double)a[i]));
    }
    assert_true(size > 0);
    return most / size;
}

static void documents__packed_loss_and_gradient_equal_unpacked(void **state) {
    (void)state;
    /* Gradients are sums over 274 tokens in another order; int16 besides rounds dY by rows, dW by blocks of them. */
    static const struct {
        tn_backward arithmetic;
        double tolerance;
    } cases[] = {{TN_BACKWARD_F32, sizeof(tn_real) == 4 ? 2e-6 : 1e-13},
                 {TN_BACKWARD_INT16, sizeof(tn_real) == 4 ? 2e-4 : 1e-13}};
    pack(&packed);
    spread(&apart);
    assert_int_equal(count_targets(&packed), count_targets(&apart));
    for (size_t c = 0; c < TN_COUNT(cases); c++) {
        network a, b;
        double worst = 0;
        init(&a);
        init(&b);
        tn_tape_set_backward(a.tape, cases[c].arithmetic);
        tn_tape_set_backward(b.tape, cases[c].arithmetic);
        double together = learn_from(&a, &packed, true), alone = learn_from(&b, &apart, true);
        for (int p = 0; p < a.n_params; p++)
            worst =
                fmax(worst, distance(a.params[p]->tensor.grad, b.params[p]->tensor.grad, tn_param_count(a.params[p])));
        print_message("  loss off by %.1e, gradients by at most %.1e, tolerance %.0e\n", fabs(together / alone - 1),
                      worst, cases[c].tolerance);
        assert_true(fabs(together / alone - 1) < (sizeof(tn_real) == 4 ? 1e-6 : 1e-13));
        assert_true(worst < cases[c].tolerance);
        release(&a);
        release(&b);
    }
}

static void documents__loss_and_gradient_do_not_depend_on_threads_or_recompute(void **state) {
    (void)state;
    network one, other;
    pack(&packed);
    init(&one);
    init(&other);
    assert_ok(tn_par_set_threads(1));
    double a = learn_from(&one, &packed, true);
    for (int blocks = 0; blocks < 2; blocks++) {
        assert_ok(tn_par_set_threads(3 - blocks));
        tn_model_recompute(other.model, blocks);
        assert_true(learn_from(&other, &packed, true) == a);
        tn_network_assert_same_gradients(one.model, other.model);
    }
    release(&one);
    release(&other);
}

static void documents__of_whole_rows_are_rows(void **state) {
    (void)state;
    network a, b;
    spread(&apart);
    for (int i = 0; i < apart.count * T; i++) apart.first[i] = 0;
    init(&a);
    init(&b);
    assert_true(learn_from(&a, &apart, true) == learn_from(&b, &apart, false));
    tn_network_assert_same_gradients(a.model, b.model);
    release(&a);
    release(&b);
}

static void documents__that_begin_nowhere_are_refused(void **state) {
    (void)state;
    static const int32_t wrong[][4] = {{1, 1, 1, 1}, {0, 0, 1, 1}, {0, 2, 2, 2}, {0, 0, 0, -1}};
    network n;
    init(&n);
    for (size_t i = 0; i < TN_COUNT(wrong); i++) {
        tn_tape_begin(n.tape, TN_TAPE_FORWARD, NULL);
        (void)tn_model_hidden_documents(n.model, n.tape, ids_of(&n, 1, 4, (const int32_t[]){1, 2, 3, 4}), wrong[i]);
        assert_int_equal(tn_tape_status(n.tape), TN_E_RANGE);
    }
    assert_string_equal(
        tn_error_message(),
        "the token at place 3 of row 0 belongs to a document that begins at -1, expected 0 or its own place");
    release(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents__get_the_bits_they_get_alone),
        cmocka_unit_test(documents__packed_loss_and_gradient_equal_unpacked),
        cmocka_unit_test(documents__loss_and_gradient_do_not_depend_on_threads_or_recompute),
        cmocka_unit_test(documents__of_whole_rows_are_rows),
        cmocka_unit_test(documents__that_begin_nowhere_are_refused),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("documents", tests, NULL, NULL);
}
