/* SPDX-License-Identifier: MIT */
#include "autograd/tape.h"
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

typedef struct fixture {
    char dir[TN_TEST_PATH], checkpoint[TN_TEST_PATH + 16];
    tn_arena *arena;
    tn_loaded loaded; /* to run */
} fixture;

static int set_up(void **state) {
    static fixture f;
    f = (fixture){0};
    assert_ok(tn_kernels_init(NULL));
    tn_test_dir_make(f.dir);
    snprintf(f.checkpoint, sizeof f.checkpoint, "%s/step.h5", f.dir);
    tn_test_tiny_checkpoint(f.checkpoint, TN_TOKENIZER_CHAR, NULL);
    f.arena = tn_arena_create("test");
    assert_ok(tn_model_file_load(f.checkpoint, f.arena, TN_MODEL_RUN, &f.loaded));
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tn_loaded_release(&f->loaded);
    tn_arena_free(f->arena);
    tn_test_dir_remove(f->dir);
    assert_ok(tn_par_set_threads(0));
    return 0;
}

/* ---- several sequences in one pass of the model ---- */

enum { SEQUENCES = 3, TOKENS = 30 };

static int32_t token(const fixture *f, int sequence, int at) {
    return (at * 37 + sequence * 101 + 11) % tn_tokenizer_size(f->loaded.tokenizer);
}

/* Feed `rows` more tokens of each sequence in one pass (0: it rests) and compare the logits with `truth`. */
static void check_pass(const fixture *f, tn_tape *tape, tn_cache *caches, const int *rows,
                       const tn_real *const *truth) {
    int vocab = tn_model_get_config(f->loaded.model)->vocab_size, n = 0, n_ids = 0;
    int32_t ids[SEQUENCES * TOKENS];
    const tn_real *expected[SEQUENCES * TOKENS];
    tn_stretch stretches[SEQUENCES];
    for (int s = 0; s < SEQUENCES; s++) {
        if (rows[s]) stretches[n++] = (tn_stretch){&caches[s], rows[s]};
        for (int i = 0; i < rows[s]; i++) {
            int at = caches[s].length + i;
            expected[n_ids] = truth[s] + (int64_t)at * vocab;
            ids[n_ids++] = token(f, s, at);
        }
    }
    tn_tape_begin(tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *in = tn_tape_ids(tape, 2, (const int[]){1, n_ids}, ids);
    tn_tensor *hidden = tn_model_hidden_batch(f->loaded.model, tape, in, stretches, n);
    tn_tensor *logits = tn_model_logits(f->loaded.model, tape, hidden);
    assert_ok(tn_tape_status(tape));
    for (int i = 0; i < n_ids; i++)
        assert_memory_equal(logits->real + (int64_t)i * vocab, expected[i], (size_t)vocab * sizeof(tn_real));
}

static void stretches__give_each_sequence_the_bits_it_has_alone(void **state) {
    fixture *f = *state;
    static const int passes[][SEQUENCES] = {{7, 0, 0}, {1, 12, 0}, {1, 1, 5}, {1, 1, 1}, {0, 9, 13}, {1, 1, 1}};
    const tn_real *truth[SEQUENCES];
    for (int s = 0; s < SEQUENCES; s++) {
        int32_t ids[TOKENS];
        for (int i = 0; i < TOKENS; i++) ids[i] = token(f, s, i);
        truth[s] = tn_test_logits(f->loaded.model, ids, TOKENS, f->arena);
    }
    for (int threads = 1; threads <= 2; threads++) {
        tn_cache caches[SEQUENCES];
        tn_tape *tape = tn_tape_create();
        assert_non_null(tape);
        assert_ok(tn_par_set_threads(threads));
        tn_model_refresh(f->loaded.model, 1);
        for (int s = 0; s < SEQUENCES; s++)
            assert_ok(tn_cache_init(&caches[s], f->arena, tn_model_get_config(f->loaded.model), TOKENS));
        for (size_t i = 0; i < TN_COUNT(passes); i++) check_pass(f, tape, caches, passes[i], truth);
        assert_int_equal(caches[1].length, 24);
        tn_tape_free(tape);
    }
}

static void stretches__that_do_not_fit_are_refused(void **state) {
    fixture *f = *state;
    static const struct {
        int capacity, rows, ids;
        tn_status expect;
    } cases[] = {{8, 9, 9, TN_E_RANGE}, {100, 49, 49, TN_E_RANGE}, {8, 3, 4, TN_E_SHAPE}};
    static const int32_t ids[64] = {0};
    tn_tape *tape = tn_tape_create();
    assert_non_null(tape);
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_cache cache;
        assert_ok(tn_cache_init(&cache, f->arena, tn_model_get_config(f->loaded.model), cases[i].capacity));
        tn_tape_begin(tape, TN_TAPE_FORWARD, NULL);
        tn_tensor *in = tn_tape_ids(tape, 2, (const int[]){1, cases[i].ids}, ids);
        (void)tn_model_hidden_batch(f->loaded.model, tape, in, &(tn_stretch){&cache, cases[i].rows}, 1);
        assert_int_equal(tn_tape_status(tape), cases[i].expect);
        assert_int_equal(cache.length, 0);
    }
    tn_tape_free(tape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stretches__give_each_sequence_the_bits_it_has_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stretches__that_do_not_fit_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
