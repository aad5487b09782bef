/* SPDX-License-Identifier: MIT
 * Documents in rows: every one of them once an epoch, in few rows, in an order that (seed, epoch, cursor) alone decide.
 */
#include "core/arena.h"
#include "core/fs.h"
#include "core/rng.h"
#include "data/batches.h"
#include "tests/example_rig.h"

#include <stdio.h>
#include <string.h>

enum { MOST = 4096, T = 32 };

/* Documents by their lengths: rows of tokens, the id of token i of document d is a function of both. The first third of
 * each is not learnt when `masked`. */
static int32_t id_of(int64_t document, int64_t i) { return (int32_t)((document * 31 + i * 7) % 250); }

static tn_store *store_of(void **state, const int *lengths, int count, bool masked) {
    tn_buf rows = {0};
    for (int d = 0; d < count; d++) {
        assert_ok(tn_buf_puts(&rows, "{\"input_ids\": ["));
        for (int i = 0; i < lengths[d]; i++) assert_ok(tn_buf_printf(&rows, "%s%d", i ? "," : "", id_of(d, i)));
        assert_ok(tn_buf_puts(&rows, "], \"labels\": ["));
        for (int i = 0; i < lengths[d]; i++)
            assert_ok(tn_buf_printf(&rows, "%s%d", i ? "," : "", masked && i < lengths[d] / 3 ? -100 : id_of(d, i)));
        assert_ok(tn_buf_puts(&rows, "]}\n"));
    }
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    const char *path = tn_put_rows(*state, rows.data);
    tn_data_report report = {0};
    tn_store *store;
    assert_ok(tn_store_build_examples_memory(&store, &path, 1, t, &(tn_example_options){0}, &report));
    tn_data_report_release(&report);
    tn_tokenizer_free(t);
    tn_buf_release(&rows);
    return store;
}

static void draw_lengths(int *lengths, int count, int most, uint32_t stream) {
    tn_rng rng = tn_rng_make(8, TN_PURPOSE_TEST, stream);
    for (int i = 0; i < count; i++) lengths[i] = 2 + (int)tn_rng_below(&rng, (uint64_t)i, (uint64_t)most - 1);
}

static tn_row_packing *pack(const tn_store *store, int how, int overflow, tn_row_packing_report *report) {
    const tn_row_packing_options options = {.how = how, .context = T, .overflow = overflow};
    tn_row_packing *p;
    assert_ok(tn_row_packing_create(&p, store, 0, tn_store_n_documents(store), &options, report));
    return p;
}

static int32_t tokens[MOST * T], targets[MOST * T], first[MOST * T];
static const tn_batch batch = {tokens, targets, first};

/* ---- what a batch must be ---- */

/* How often each token of each document is a target; and that all else is as it must be. */
static void count_targets(const tn_batches *b, int64_t cursor, int rows, int *seen) {
    const tn_store *s = b->store;
    assert_in_range(rows, 1, MOST);
    tn_batches_get(b, cursor, rows, &batch);
    for (int row = 0; row < rows; row++) {
        const int32_t *at = tokens + row * T, *wanted = targets + row * T, *begins = first + row * T;
        tn_row_packing_cursor c = tn_batches_row(b, cursor + row);
        tn_piece piece;
        int end = 0;
        while (tn_row_packing_next(&c, &piece)) {
            assert_int_equal(piece.begin, end);
            end += piece.inputs;
            int64_t from = tn_store_doc_offset(s, piece.document) + piece.from;
            for (int i = 0; i < piece.inputs; i++) {
                int place = piece.begin + i;
                assert_int_equal(at[place], id_of(piece.document, piece.from + i));
                assert_int_equal(begins[place], piece.begin);
                bool learnt = !tn_store_mask(s) || tn_store_mask(s)[from + i + 1];
                assert_int_equal(wanted[place], learnt ? id_of(piece.document, piece.from + i + 1) : TN_NO_TARGET);
                seen[from + i + 1] += learnt;
            }
        }
        for (int i = end; i < T; i++) {
            assert_int_equal(wanted[i], TN_NO_TARGET);
            assert_in_range(begins[i], end, i);
        }
    }
}

/* Each target of the documents that fit, or of their pieces, once. `most`: tokens of a document that count. */
static void assert_epoch(const tn_batches *b, int64_t epoch, int64_t most) {
    const tn_store *s = b->store;
    static int seen[1 << 17];
    assert_true(tn_store_n_tokens(s) <= 1 << 17);
    memset(seen, 0, sizeof seen);
    int64_t n = tn_batches_per_epoch(b);
    count_targets(b, epoch * n, (int)n, seen);
    for (int64_t d = 0; d < tn_store_n_documents(s); d++)
        for (int64_t begin = tn_store_doc_offset(s, d), i = begin; i < tn_store_doc_offset(s, d + 1); i++) {
            bool learnt = i > begin && i - begin < most && (!tn_store_mask(s) || tn_store_mask(s)[i]);
            assert_int_equal(seen[i], learnt);
        }
}

/* ---- claims ---- */

static void packing__shows_every_target_once_an_epoch(void **state) {
    int lengths[300];
    for (int masked = 0; masked < 2; masked++)
        for (int most = T; most <= 3 * T; most += 2 * T) {
            draw_lengths(lengths, TN_COUNT(lengths), most, (uint32_t)most);
            tn_store *s = store_of(state, lengths, TN_COUNT(lengths), masked);
            for (int how = TN_PACKING_AUTO; how <= TN_PACKING_WRAPPED; how++)
                for (int shuffle = 0; shuffle < 2; shuffle++) {
                    tn_row_packing_report r;
                    tn_row_packing *p = pack(s, how, TN_OVERFLOW_CUT, &r);
                    tn_batches b;
                    bool whole = how == TN_PACKING_BFD_SPLIT || how == TN_PACKING_WRAPPED;
                    tn_batches_init_documents(&b, p, 0, tn_store_n_documents(s), 5, shuffle, true);
                    assert_int_equal(tn_batches_per_epoch(&b), r.rows);
                    for (int64_t epoch = 0; epoch < 3; epoch++) assert_epoch(&b, epoch, whole ? 1 << 20 : T);
                    tn_row_packing_free(p);
                }
            tn_store_free(s);
        }
}

static void best_fit__fills_rows(void **state) {
    int lengths[1000];
    draw_lengths(lengths, TN_COUNT(lengths), T, 1);
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), false);
    tn_row_packing_report r[5];
    for (int how = TN_PACKING_AUTO; how <= TN_PACKING_WRAPPED; how++)
        tn_row_packing_free(pack(s, how, TN_OVERFLOW_CUT, &r[how]));
    assert_int_equal(r[TN_PACKING_OFF].rows, 1000);
    assert_int_equal(r[TN_PACKING_WRAPPED].rows, (r[TN_PACKING_OFF].places + T - 1) / T);
    assert_int_equal(r[TN_PACKING_AUTO].rows, r[TN_PACKING_BFD].rows);
    /* best fit decreasing takes at most 11/9 of the least rows, and one more (Johnson 1973); here nearly none */
    assert_in_range(r[TN_PACKING_BFD].rows, r[TN_PACKING_WRAPPED].rows, r[TN_PACKING_WRAPPED].rows * 102 / 100);
    tn_store_free(s);
}

static void best_fit__takes_the_row_that_is_filled_best(void **state) {
    /* Places: 20, 16, 14, 12, 10, 4, 2. Rows of 32: 20+12, 16+14+2, 10+4. */
    static const int lengths[] = {11, 21, 5, 17, 13, 15, 3};
    static const int64_t expected[][3] = {{1, 4, -1}, {3, 5, 6}, {0, 2, -1}};
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), false);
    tn_row_packing_report r;
    tn_row_packing *p = pack(s, TN_PACKING_BFD, TN_OVERFLOW_CUT, &r);
    assert_int_equal(r.rows, 3);
    assert_int_equal(r.places, 78);
    for (int row = 0; row < 3; row++) {
        tn_row_packing_cursor c = tn_row_packing_begin(p, 0, 0, row, false);
        tn_piece piece;
        for (int i = 0; i < 3; i++) {
            bool more = tn_row_packing_next(&c, &piece);
            assert_int_equal(more ? piece.document : -1, expected[row][i]);
        }
    }
    tn_row_packing_free(p);
    tn_store_free(s);
}

static void order__is_a_function_of_seed_and_cursor(void **state) {
    enum { ROWS = 40 };
    static int32_t again[3][ROWS * T];
    int lengths[400];
    draw_lengths(lengths, TN_COUNT(lengths), T, 2);
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), true);
    for (int how = TN_PACKING_OFF; how <= TN_PACKING_WRAPPED; how++) {
        tn_row_packing_report r;
        tn_row_packing *p = pack(s, how, TN_OVERFLOW_CUT, &r), *same = pack(s, how, TN_OVERFLOW_CUT, &r);
        tn_batches a, b, other;
        tn_batches_init_documents(&a, p, 0, 400, 77, true, true);
        tn_batches_init_documents(&b, same, 0, 400, 77, true, true);
        tn_batches_init_documents(&other, p, 0, 400, 78, true, true);
        int64_t cursor = tn_batches_per_epoch(&a) - 20; /* across the end of an epoch */
        tn_batches_get(&a, cursor, ROWS, &batch);
        for (int row = 0; row < ROWS; row++)
            tn_batches_get(&b, cursor + row, 1,
                           &(tn_batch){again[0] + row * T, again[1] + row * T, again[2] + row * T});
        assert_memory_equal(tokens, again[0], sizeof again[0]);
        assert_memory_equal(targets, again[1], sizeof again[1]);
        assert_memory_equal(first, again[2], sizeof again[2]);
        tn_batches_get(&other, cursor, ROWS, &(tn_batch){again[0], again[1], again[2]});
        assert_memory_not_equal(tokens, again[0], sizeof again[0]);
        tn_row_packing_free(p);
        tn_row_packing_free(same);
    }
    tn_store_free(s);
}

/* Documents of one length change places between epochs, so that a row does not hold the same company every time. */
static void epoch__mixes_company(void **state) {
    int lengths[400], together = 0;
    for (size_t i = 0; i < TN_COUNT(lengths); i++) lengths[i] = i % 2 ? 12 : 21; /* 11 + 20 places: pairs */
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), false);
    tn_row_packing_report r;
    tn_row_packing *p = pack(s, TN_PACKING_BFD, TN_OVERFLOW_CUT, &r);
    assert_int_equal(r.rows, 200);
    int64_t company[2][400];
    for (int64_t epoch = 0; epoch < 2; epoch++)
        for (int64_t row = 0; row < r.rows; row++) {
            tn_row_packing_cursor c = tn_row_packing_begin(p, 3, epoch, row, true);
            tn_piece a, b, none;
            assert_true(tn_row_packing_next(&c, &a) && tn_row_packing_next(&c, &b) && !tn_row_packing_next(&c, &none));
            company[epoch][a.document] = b.document;
        }
    for (int d = 0; d < 400; d += 2) together += company[0][d] == company[1][d];
    assert_in_range(together, 0, 8); /* 1 on average */
    tn_row_packing_free(p);
    tn_store_free(s);
}

static void long_documents__are_cut_split_left_out_or_refused(void **state) {
    static const int lengths[] = {10, 100, 33, 32};
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), true); /* a third of each has no loss: 3, 33, 11, 10 */
    tn_row_packing_report r;
    tn_row_packing_free(pack(s, TN_PACKING_OFF, TN_OVERFLOW_CUT, &r));
    assert_int_equal(r.documents, 3);
    assert_int_equal(r.cut, 2);
    assert_int_equal(r.zero_target, 1); /* what is left of 100 is all prompt */
    assert_int_equal(r.targets, 7 + 21 + 22);
    tn_row_packing_free(pack(s, TN_PACKING_OFF, TN_OVERFLOW_DROP, &r));
    assert_int_equal(r.documents, 2);
    assert_int_equal(r.too_long, 2);
    tn_row_packing_free(pack(s, TN_PACKING_OFF, TN_OVERFLOW_SPLIT, &r));
    assert_int_equal(r.documents, 4);
    assert_int_equal(r.targets, 7 + 67 + 22 + 22);
    const tn_row_packing_options strict = {.how = TN_PACKING_BFD, .context = T, .overflow = TN_OVERFLOW_ERROR};
    tn_row_packing *p;
    assert_int_equal(tn_row_packing_create(&p, s, 0, 4, &strict, &r), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "document 1 has 100 tokens, more than the 32 of data.max_length"));
    const tn_row_packing_options shorter = {
        .how = TN_PACKING_BFD, .context = T, .max_length = 8, .overflow = TN_OVERFLOW_CUT};
    assert_ok(tn_row_packing_create(&p, s, 0, 1, &shorter, &r));
    assert_int_equal(r.places, 7);
    tn_row_packing_free(p);
    assert_int_equal(tn_row_packing_create(&p, s, 1, 1, &shorter, &r), TN_E_EMPTY);
    assert_non_null(strstr(tn_error_message(), "none of its 1 documents has anything to learn"));
    tn_store_free(s);
}

static void wrapped__has_no_row_without_a_target(void **state) {
    static const int lengths[] = {600, 5}; /* 200 tokens of prompt: six rows and a bit */
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), true);
    tn_row_packing_report r;
    tn_row_packing *p = pack(s, TN_PACKING_WRAPPED, TN_OVERFLOW_CUT, &r);
    tn_batches b;
    tn_batches_init_documents(&b, p, 0, 2, 0, false, true);
    assert_int_equal(r.rows, (599 + 4 + T - 1) / T - 6);
    assert_epoch(&b, 0, 1 << 20);
    for (int row = 0; row < r.rows; row++) {
        int n = 0;
        for (int i = 0; i < T; i++) n += targets[row * T + i] >= 0;
        assert_true(n > 0);
    }
    tn_row_packing_free(p);
    tn_store_free(s);
}

static void document_mask__off_lets_documents_see_their_row(void **state) {
    static const int lengths[] = {11, 21};
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), false);
    tn_row_packing_report r;
    tn_row_packing *p = pack(s, TN_PACKING_BFD, TN_OVERFLOW_CUT, &r);
    tn_batches b;
    tn_batches_init_documents(&b, p, 0, 2, 0, false, false);
    tn_batches_get(&b, 0, 1, &batch);
    for (int i = 0; i < T; i++) assert_int_equal(first[i], 0);
    assert_int_equal(targets[20], id_of(0, 1)); /* the last token of a document predicts nothing: it is not there */
    tn_row_packing_free(p);
    tn_store_free(s);
}

static void cover__shows_every_target_once_in_one_order(void **state) {
    int lengths[200];
    draw_lengths(lengths, TN_COUNT(lengths), T, 3);
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), true);
    tn_row_packing_report r;
    tn_row_packing *p = pack(s, TN_PACKING_BFD, TN_OVERFLOW_CUT, &r);
    tn_batches a, b;
    static int32_t again[MOST * T];
    tn_batches_init_documents(&a, p, 0, 200, 1, false, true);
    tn_batches_init_documents(&b, p, 0, 200, 2, true, true);
    int64_t rows = tn_batches_cover_count(&a), n = 0;
    tn_batches_cover(&a, 0, (int)rows + 2, &batch);
    memcpy(again, tokens, sizeof again);
    for (int64_t i = 0; i < (rows + 2) * T; i++) n += targets[i] >= 0;
    assert_int_equal(n, r.targets);
    tn_batches_cover(&b, 0, (int)rows + 2, &batch);
    assert_memory_equal(again, tokens, (size_t)(rows + 2) * T * sizeof *tokens);
    tn_row_packing_free(p);
    tn_store_free(s);
}

static void preferences__share_a_row(void **state) {
    tn_buf rows = {0};
    for (int i = 0; i < 60; i++)
        assert_ok(tn_buf_printf(&rows, "{\"prompt\": \"%.*s\", \"chosen\": \"%.*sc\", \"rejected\": \"%.*sr\"}\n",
                                1 + i % 5, "abcde", i % 7, "ghijklm", i % 3, "opq"));
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    const char *path = tn_put_rows(*state, rows.data);
    tn_data_report report = {0};
    tn_store *s;
    assert_ok(tn_store_build_examples_memory(&s, &path, 1, t, &(tn_example_options){0}, &report));
    for (int how = TN_PACKING_OFF; how <= TN_PACKING_BFD; how++) {
        tn_row_packing_report r;
        tn_row_packing *p = pack(s, how, TN_OVERFLOW_CUT, &r);
        tn_batches b;
        tn_batches_init_documents(&b, p, 0, 120, 1, true, true);
        assert_int_equal(r.documents, 120);
        assert_int_equal(r.cut, 0);
        assert_true(how == TN_PACKING_OFF ? r.rows == 60 : r.rows < 40);
        for (int64_t row = 0; row < r.rows; row++) {
            tn_row_packing_cursor c = tn_batches_row(&b, row);
            tn_piece chosen, rejected;
            while (tn_row_packing_next(&c, &chosen)) {
                assert_true(tn_row_packing_next(&c, &rejected));
                assert_int_equal(chosen.document % 2, 0);
                assert_int_equal(rejected.document, chosen.document + 1);
                assert_int_equal(rejected.begin, chosen.begin + chosen.inputs);
            }
        }
        tn_row_packing_free(p);
    }
    const tn_row_packing_options split = {.how = TN_PACKING_BFD_SPLIT, .context = T};
    const tn_row_packing_options narrow = {.how = TN_PACKING_BFD, .context = 10};
    tn_row_packing_report r;
    tn_row_packing *p;
    assert_int_equal(tn_row_packing_create(&p, s, 0, 120, &split, &r), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "has preferences, which cannot be split"));
    assert_ok(
        tn_row_packing_create(&p, s, 0, 120, &narrow, &r)); /* 5 places each, or more where the other takes fewer */
    assert_true(r.cut > 0 && r.places <= r.rows * 10);
    tn_row_packing_free(p);
    tn_store_free(s);
    tn_data_report_release(&report);
    tn_tokenizer_free(t);
    tn_buf_release(&rows);
}

static void packing__any_allocation_may_fail_and_nothing_leaks(void **state) {
    int lengths[50];
    draw_lengths(lengths, TN_COUNT(lengths), 2 * T, 4);
    tn_store *s = store_of(state, lengths, TN_COUNT(lengths), true);
    int64_t alive = tn_memory_alive();
    for (int how = TN_PACKING_OFF; how <= TN_PACKING_WRAPPED; how++)
        for (uint64_t n = 1;; n++) {
            const tn_row_packing_options options = {.how = how, .context = T};
            tn_row_packing_report r;
            tn_row_packing *p;
            tn_memory_fail_at(n);
            tn_status status = tn_row_packing_create(&p, s, 0, 50, &options, &r);
            tn_memory_fail_at(0);
            tn_row_packing_free(p);
            assert_int_equal(tn_memory_alive(), alive);
            if (!status) break;
            assert_int_equal(status, TN_E_NOMEM);
        }
    tn_store_free(s);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(packing__shows_every_target_once_an_epoch),
        TEST(best_fit__fills_rows),
        TEST(best_fit__takes_the_row_that_is_filled_best),
        TEST(order__is_a_function_of_seed_and_cursor),
        TEST(epoch__mixes_company),
        TEST(long_documents__are_cut_split_left_out_or_refused),
        TEST(wrapped__has_no_row_without_a_target),
        TEST(document_mask__off_lets_documents_see_their_row),
        TEST(cover__shows_every_target_once_in_one_order),
        TEST(preferences__share_a_row),
        TEST(packing__any_allocation_may_fail_and_nothing_leaks),
    };
    return cmocka_run_group_tests_name("row_packing", tests, NULL, NULL);
}
