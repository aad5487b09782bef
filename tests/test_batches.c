/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "data/batches.h"
#include "core/utf8.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

/* A store whose token at place i is i: a text of characters that all differ and rise. */
enum { N = 900, MAX_CONTEXT = 64, MAX_ROWS = N };

static int make_store(void **state) {
    static tn_store *store;
    char dir[TN_TEST_PATH], path[TN_TEST_PATH + 16];
    tn_buf text = {0};
    for (uint32_t i = 0; i < N; i++) {
        char character[4];
        assert_ok(tn_buf_append(&text, character, tn_utf8_encode(0x4E00 + i, character)));
    }
    tn_test_dir_make(dir);
    snprintf(path, sizeof path, "%s/text.txt", dir);
    assert_ok(tn_file_write(path, text.data, text.len));
    tn_tokenizer_options options = {.kind = TN_TOKENIZER_CHAR};
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *tokenizer;
    assert_ok(tn_tokenizer_trainer_create(&trainer, &options));
    assert_ok(tn_tokenizer_trainer_add(trainer, text.data, text.len));
    assert_ok(tn_tokenizer_trainer_finish(trainer, &tokenizer));
    const char *paths[] = {path};
    assert_ok(tn_store_build_memory(&store, paths, 1, tokenizer, &(tn_store_report){0}));
    tn_tokenizer_free(tokenizer);
    tn_buf_release(&text);
    tn_test_dir_remove(dir);
    *state = store;
    return 0;
}

static int free_store(void **state) {
    tn_store_free(*state);
    return 0;
}

static int32_t tokens[MAX_ROWS * MAX_CONTEXT], targets[MAX_ROWS * MAX_CONTEXT];
static const tn_batch batch = {tokens, targets, NULL};

static void assert_window(const int32_t *row_tokens, const int32_t *row_targets, int context, int64_t first,
                          int64_t end) {
    assert_in_range(row_tokens[0], first, end - context - 1);
    for (int i = 0; i < context; i++) {
        assert_int_equal(row_tokens[i], row_tokens[0] + i);
        assert_int_equal(row_targets[i], row_tokens[i] + 1);
    }
}

/* All windows of one epoch lie on one grid, inside the range, and no two are the same. */
static void assert_epoch_is_a_grid(const tn_batches *b, int64_t epoch) {
    static bool seen[N];
    int64_t n = tn_batches_per_epoch(b);
    memset(seen, 0, sizeof seen);
    tn_batches_get(b, epoch * n, (int)n, &batch);
    for (int64_t row = 0; row < n; row++) {
        const int32_t *at = tokens + row * b->context;
        assert_window(at, targets + row * b->context, b->context, b->first, b->first + b->count);
        assert_int_equal((at[0] - tokens[0]) % b->context, 0);
        assert_false(seen[at[0]]);
        seen[at[0]] = true;
    }
}

static void epoch__visits_every_window_once(void **state) {
    static const int contexts[] = {1, 2, 3, 7, 16, 64};
    for (size_t c = 0; c < TN_COUNT(contexts); c++)
        for (int64_t count = contexts[c] + 1; count <= N - 5; count += 1 + count / 9)
            for (int shuffle = 0; shuffle < 2; shuffle++) {
                tn_batches b;
                assert_ok(tn_batches_init(&b, *state, 5, count, contexts[c], 3, shuffle));
                int64_t n = tn_batches_per_epoch(&b), most = (count - 1) / contexts[c];
                assert_in_range(n, most > 1 ? most - 1 : 1, most); /* a shifted grid may lose one window */
                for (int64_t epoch = 0; epoch < 3; epoch++) assert_epoch_is_a_grid(&b, epoch);
            }
}

static void epoch__has_its_own_order_and_offset(void **state) {
    tn_batches b;
    assert_ok(tn_batches_init(&b, *state, 0, N, 16, 1, true));
    int64_t n = tn_batches_per_epoch(&b);
    int same_place = 0, offsets[16] = {0}, n_offsets = 0;
    for (int64_t epoch = 0; epoch < 40; epoch++) {
        tn_batches_get(&b, epoch * n, (int)n, &batch);
        int32_t offset = tokens[0] % 16;
        n_offsets += !offsets[offset]++;
        for (int64_t row = 0; row < n; row++) same_place += tokens[row * 16] / 16 == row;
    }
    assert_true(n_offsets > 10);         /* of 16; 40 draws miss more than 5 once in a million */
    assert_in_range(same_place, 10, 90); /* 40 random orders leave 40 windows in their place on average */
}

static void epoch__order_is_a_function_of_seed_and_cursor(void **state) {
    enum { T = 8, ROWS = 60 };
    int32_t again[ROWS * T], unused[ROWS * T];
    tn_batches a, b, other;
    assert_ok(tn_batches_init(&a, *state, 0, N, T, 77, true));
    assert_ok(tn_batches_init(&b, *state, 0, N, T, 77, true));
    assert_ok(tn_batches_init(&other, *state, 0, N, T, 78, true));
    int64_t cursor = tn_batches_per_epoch(&a) - 20; /* across the end of an epoch */
    tn_batches_get(&a, cursor, ROWS, &batch);
    for (int row = 0; row < ROWS; row++)
        tn_batches_get(&b, cursor + row, 1, &(tn_batch){again + row * T, unused + row * T, NULL});
    assert_memory_equal(tokens, again, sizeof again);
    assert_memory_equal(targets, unused, sizeof unused);
    tn_batches_get(&other, cursor, ROWS, &(tn_batch){again, unused, NULL});
    assert_memory_not_equal(tokens, again, sizeof again);
}

static void epoch__without_shuffle_walks_in_order(void **state) {
    tn_batches b;
    assert_ok(tn_batches_init(&b, *state, 10, 101, 10, 0, false));
    assert_int_equal(tn_batches_per_epoch(&b), 10);
    tn_batches_get(&b, 0, 12, &batch);
    for (int row = 0; row < 12; row++) assert_int_equal(tokens[row * 10], 10 + row % 10 * 10);
}

static void cover__every_token_but_the_first_is_a_target_once(void **state) {
    static const int contexts[] = {1, 3, 16, 64};
    for (size_t c = 0; c < TN_COUNT(contexts); c++)
        for (int64_t count = contexts[c] + 1; count < 200; count += 7) {
            int context = contexts[c];
            tn_batches b;
            assert_ok(tn_batches_init(&b, *state, 3, count, context, 0, false));
            int64_t windows = tn_batches_cover_count(&b), next = 3;
            tn_batches_cover(&b, 0, (int)windows + 1, &batch); /* one row too many is all empty */
            for (int64_t i = 0; i < (windows + 1) * context; i++) {
                bool filled = next + 1 < 3 + count;
                assert_int_equal(tokens[i], filled ? next : 0);
                assert_int_equal(targets[i], filled ? next + 1 : TN_NO_TARGET);
                next += filled;
            }
            assert_int_equal(next, 3 + count - 1);
            assert_true((windows - 1) * context < count - 1); /* no window is empty */
        }
}

static void init__context_longer_than_the_data_is_refused(void **state) {
    tn_batches b;
    assert_int_equal(tn_batches_init(&b, *state, 0, 16, 16, 0, true), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "context longer than the data: 16 tokens, expected at least 17"));
    assert_ok(tn_batches_init(&b, *state, 0, 17, 16, 0, true));
    assert_int_equal(tn_batches_per_epoch(&b), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epoch__visits_every_window_once),
        cmocka_unit_test(epoch__has_its_own_order_and_offset),
        cmocka_unit_test(epoch__order_is_a_function_of_seed_and_cursor),
        cmocka_unit_test(epoch__without_shuffle_walks_in_order),
        cmocka_unit_test(cover__every_token_but_the_first_is_a_target_once),
        cmocka_unit_test(init__context_longer_than_the_data_is_refused),
    };
    return cmocka_run_group_tests_name("batches", tests, make_store, free_store);
}
