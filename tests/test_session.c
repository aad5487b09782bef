/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "models/export.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "tests/session_rig.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

static void session__runs_a_checkpoint_with_the_trainers_bits(void **state) {
    tn_test_model *f = *state;
    tn_loaded trained;
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_EVAL, &trained));
    const tn_real *a = tn_test_logits(trained.model, f->ids, TN_TEST_IDS, f->arena);
    const tn_real *b = tn_test_logits(f->loaded.model, f->ids, TN_TEST_IDS, f->arena);
    tn_test_assert_same(a, b, (int64_t)TN_TEST_IDS * tn_test_vocab(&f->loaded));
    tn_loaded_release(&trained);
}

static void session__runs_an_exported_file_with_the_trainers_bits(void **state) {
    tn_test_model *f = *state;
    tn_loaded trained, exported;
    tn_export_report report;
    assert_ok(tn_export(f->checkpoint, f->gguf, (tn_export_options){.type = TN_EXPORT_I2_S}, &report));
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_EVAL, &trained));
    assert_ok(tn_model_file_load(f->gguf, f->arena, TN_MODEL_RUN, &exported));
    const tn_real *rows = tn_test_logits(trained.model, f->ids, TN_TEST_IDS, f->arena);
    tn_session *session = tn_test_session(&exported, 0, 0);
    for (int i = 0; i < TN_TEST_IDS; i++) {
        assert_ok(tn_session_feed(session, &f->ids[i], 1));
        tn_test_assert_same(rows + (int64_t)i * tn_test_vocab(&f->loaded), tn_session_logits(session),
                            tn_test_vocab(&f->loaded));
    }
    tn_session_free(session);
    tn_loaded_release(&trained);
    tn_loaded_release(&exported);
}

static void session__logits_do_not_depend_on_how_a_prompt_is_cut(void **state) {
    tn_test_model *f = *state;
    static const int chunks[] = {1, 2, 3, 7, TN_TEST_IDS, 512};
    const tn_real *rows = tn_test_logits(f->loaded.model, f->ids, TN_TEST_IDS, f->arena);
    for (size_t i = 0; i < TN_COUNT(chunks); i++) {
        tn_session *session = tn_test_session(&f->loaded, 0, chunks[i]);
        assert_ok(tn_session_feed(session, f->ids, TN_TEST_IDS));
        assert_int_equal(tn_session_length(session), TN_TEST_IDS);
        tn_test_assert_same(rows + (int64_t)(TN_TEST_IDS - 1) * tn_test_vocab(&f->loaded), tn_session_logits(session),
                            tn_test_vocab(&f->loaded));
        tn_session_free(session);
    }
}

static void session__logits_do_not_depend_on_the_number_of_threads(void **state) {
    tn_test_model *f = *state;
    assert_ok(tn_par_set_threads(1));
    const tn_real *one = tn_test_logits(f->loaded.model, f->ids, TN_TEST_IDS, f->arena);
    assert_ok(tn_par_set_threads(2));
    tn_model_refresh(f->loaded.model, 1);
    const tn_real *two = tn_test_logits(f->loaded.model, f->ids, TN_TEST_IDS, f->arena);
    tn_test_assert_same(one, two, (int64_t)TN_TEST_IDS * tn_test_vocab(&f->loaded));
}

static void session__ternary_products_are_the_same_integers_on_every_instruction_set(void **state) {
    tn_test_model *f = *state;
    tn_loaded kept;
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_EXPORT, &kept));
    const tn_param *w = tn_model_find(kept.model, "blk.1.ffn_gate.weight");
    int m = w->rows, k = w->cols, n = 5;
    int8_t *q = tn_arena_array(f->arena, (size_t)(n * k), 1, "test");
    int32_t *sums[2];
    for (int i = 0; i < n * k; i++) q[i] = (int8_t)((i * 131) % 255 - 127);
    for (int isa = 0; isa < 2; isa++) {
        assert_ok(tn_kernels_init(isa ? "generic" : NULL));
        void *packed = tn_arena_zalloc(f->arena, 1, tn_pack_ternary_bytes(TN_PACKING_PAIRS, m, k), "test");
        sums[isa] = tn_arena_array(f->arena, (size_t)(n * m), sizeof **sums, "test");
        tn_pack_ternary(TN_PACKING_PAIRS, m, k, w->states, packed);
        tn_gemm_ternary_codes(TN_PACKING_PAIRS, n, m, k, q, packed, sums[isa]);
    }
    assert_memory_equal(sums[0], sums[1], (size_t)(n * m) * sizeof **sums);
    assert_ok(tn_kernels_init(NULL));
    tn_loaded_release(&kept);
}

static void session__rewound_and_fed_again_tells_the_same(void **state) {
    tn_test_model *f = *state;
    const tn_real *rows = tn_test_logits(f->loaded.model, f->ids, TN_TEST_IDS, f->arena);
    tn_session *session = tn_test_session(&f->loaded, 0, 0);
    assert_ok(tn_session_feed(session, f->ids, TN_TEST_IDS));
    assert_ok(tn_session_rewind(session, 10));
    assert_int_equal(tn_session_length(session), 10);
    tn_test_assert_same(rows + 9 * (int64_t)tn_test_vocab(&f->loaded), tn_session_logits(session),
                        tn_test_vocab(&f->loaded));
    assert_ok(tn_session_feed(session, f->ids + 10, 5));
    tn_test_assert_same(rows + 14 * (int64_t)tn_test_vocab(&f->loaded), tn_session_logits(session),
                        tn_test_vocab(&f->loaded));
    assert_memory_equal(tn_session_history(session), f->ids, 15 * sizeof *f->ids);
    assert_ok(tn_session_rewind(session, 0));
    assert_null(tn_session_logits(session));
    tn_session_free(session);
}

static void session__too_many_tokens_are_refused_and_nothing_is_fed(void **state) {
    tn_test_model *f = *state;
    tn_session *session = tn_test_session(&f->loaded, 16, 4);
    assert_ok(tn_session_feed(session, f->ids, 10));
    const tn_real *before = tn_session_logits(session);
    assert_int_equal(tn_session_feed(session, f->ids, 7), TN_E_RANGE);
    assert_int_equal(tn_session_length(session), 10);
    assert_ptr_equal(before, tn_session_logits(session));
    assert_ok(tn_session_feed(session, f->ids, 6));
    const int32_t wrong = tn_test_vocab(&f->loaded);
    assert_ok(tn_session_rewind(session, 3));
    assert_int_equal(tn_session_feed(session, &wrong, 1), TN_E_RANGE);
    assert_int_equal(tn_session_length(session), 3);
    tn_session_free(session);
    assert_int_equal(tn_session_create(&session, &f->loaded, (tn_session_options){.context = TN_TEST_CONTEXT + 1}),
                     TN_E_RANGE);
    assert_null(session);
}

/* ---- texts ---- */

/* Continue "Once"; the caller releases the text. */
static tn_generated tell(const tn_loaded *loaded, int context, const char *stop, int max_tokens, uint64_t seed,
                         bool ignore_eos, tn_test_text *out) {
    tn_sampler_options how = tn_sampler_defaults();
    tn_session *session = tn_test_session(loaded, context, 0);
    tn_sampler *sampler;
    tn_ids ids = {0};
    tn_generated done;
    *out = (tn_test_text){.whole = true};
    how.seed = seed;
    assert_ok(tn_sampler_create(&sampler, tn_model_get_config(loaded->model)->vocab_size, &how));
    assert_ok(tn_prompt_encode(loaded->tokenizer, "Once", 4, &ids));
    assert_ok(tn_session_feed(session, ids.list, (int)ids.count));
    const tn_generate_options options = {.max_tokens = max_tokens,
                                         .ignore_eos = ignore_eos,
                                         .stops = &stop,
                                         .n_stops = stop != NULL,
                                         .piece = tn_test_collect,
                                         .context = out};
    assert_ok(tn_generate(session, sampler, &options, &done));
    tn_ids_release(&ids);
    tn_sampler_free(sampler);
    tn_session_free(session);
    return done;
}

static void generate__same_seed_same_text_for_any_threads(void **state) {
    tn_test_model *f = *state;
    tn_test_text a, b, c;
    assert_ok(tn_par_set_threads(1));
    tell(&f->loaded, 0, NULL, 30, 5, true, &a);
    assert_ok(tn_par_set_threads(2));
    tell(&f->loaded, 0, NULL, 30, 5, true, &b);
    tell(&f->loaded, 0, NULL, 30, 6, true, &c);
    assert_string_equal(tn_buf_text(&a.text), tn_buf_text(&b.text));
    assert_string_not_equal(tn_buf_text(&a.text), tn_buf_text(&c.text));
    tn_buf_release(&a.text);
    tn_buf_release(&b.text);
    tn_buf_release(&c.text);
}

static void generate__stops_at_the_limit_and_at_a_full_context(void **state) {
    tn_test_model *f = *state;
    tn_test_text text;
    tn_generated done = tell(&f->loaded, 0, NULL, 9, 5, true, &text);
    assert_int_equal(done.reason, TN_STOP_LENGTH);
    assert_int_equal(done.tokens, 9);
    tn_buf_release(&text.text);
    done = tell(&f->loaded, 16, NULL, -1, 5, true, &text);
    assert_int_equal(done.reason, TN_STOP_CONTEXT);
    assert_int_equal(done.tokens, 16 - 4 + 1); /* the last one is told but has no place any more */
    tn_buf_release(&text.text);
    done = tell(&f->loaded, 0, NULL, 0, 5, true, &text);
    assert_int_equal(done.reason, TN_STOP_LENGTH);
    assert_int_equal(text.text.len, 0);
}

static void generate__ends_with_eos_unless_told_to_ignore_it(void **state) {
    tn_test_model *f = *state;
    int ended = 0;
    assert_ok(tn_par_set_threads(1));
    for (uint64_t seed = 0; seed < 30; seed++) {
        tn_test_text text;
        tn_generated done = tell(&f->loaded, 0, NULL, -1, seed, false, &text);
        ended += done.reason == TN_STOP_EOS;
        assert_null(strstr(tn_buf_text(&text.text), "endoftext"));
        tn_buf_release(&text.text);
        if (seed >= 5) continue;
        done = tell(&f->loaded, 0, NULL, -1, seed, true, &text);
        assert_int_equal(done.reason, TN_STOP_CONTEXT);
        tn_buf_release(&text.text);
    }
    assert_true(ended > 0);
}

static void generate__cuts_before_a_stop_string_that_spans_tokens(void **state) {
    tn_test_model *f = *state;
    tn_test_text whole, cut;
    tell(&f->loaded, 0, NULL, 30, 5, true, &whole);
    char stop[64];
    size_t from = whole.text.len / 2, len = 6;
    while ((whole.text.data[from] & 0xc0) == 0x80) from++;
    while ((whole.text.data[from + len] & 0xc0) == 0x80) len++;
    snprintf(stop, sizeof stop, "%.*s", (int)len, whole.text.data + from);
    tn_generated done = tell(&f->loaded, 0, stop, 30, 5, true, &cut);
    assert_int_equal(done.reason, TN_STOP_STRING);
    size_t first = (size_t)(strstr(whole.text.data, stop) - whole.text.data);
    assert_int_equal(cut.text.len, first);
    assert_memory_equal(tn_buf_text(&cut.text), whole.text.data, first);
    tn_buf_release(&whole.text);
    tn_buf_release(&cut.text);
}

static void generate__shows_whole_characters_of_a_byte_vocabulary(void **state) {
    tn_test_model *f = *state;
    char path[TN_TEST_PATH + 16];
    snprintf(path, sizeof path, "%s/bytes.h5", f->dir);
    tn_test_tiny_checkpoint(path, TN_TOKENIZER_BPE, (const char *const[]){"model.vocab_size=320", NULL});
    tn_loaded bytes;
    assert_ok(tn_model_file_load(path, f->arena, TN_MODEL_RUN, &bytes));
    assert_true(tn_tokenizer_size(bytes.tokenizer) < 320); /* rows without a token are never chosen */
    for (uint64_t seed = 0; seed < 6; seed++) {
        tn_test_text text;
        tell(&bytes, 0, NULL, 40, seed, true, &text);
        assert_true(text.whole);
        tn_buf_release(&text.text);
    }
    tn_loaded_release(&bytes);
}

static void generate__an_empty_prompt_begins_a_document(void **state) {
    tn_test_model *f = *state;
    tn_ids ids = {0};
    assert_ok(tn_prompt_encode(f->loaded.tokenizer, "", 0, &ids));
    assert_int_equal(ids.count, 1);
    assert_int_equal(ids.list[0], tn_tokenizer_eos(f->loaded.tokenizer));
    ids.count = 0;
    assert_ok(tn_prompt_encode(f->loaded.tokenizer, "a", 1, &ids));
    assert_int_equal(ids.count, 1);
    assert_int_equal(ids.list[0], tn_tokenizer_find(f->loaded.tokenizer, "a", 1));
    tn_ids_release(&ids);
}

/* ---- pieces ---- */

static const char *stream(const char *bytes, size_t len, size_t step, const char *stop, tn_test_text *out,
                          bool *stopped) {
    tn_text_stream s;
    *out = (tn_test_text){.whole = true};
    assert_ok(tn_text_stream_init(&s, &stop, stop != NULL, tn_test_collect, out));
    for (size_t at = 0; at < len; at += step) assert_ok(tn_text_stream_put(&s, bytes + at, TN_MIN(step, len - at)));
    assert_ok(tn_text_stream_end(&s));
    *stopped = s.stopped;
    tn_text_stream_release(&s);
    assert_true(out->whole);
    return tn_buf_text(&out->text);
}

static void text_stream__gives_the_same_text_however_it_is_cut(void **state) {
    (void)state;
    size_t len = strlen(tn_test_tiny_text);
    for (size_t step = 1; step < 9; step++) {
        tn_test_text out;
        bool stopped;
        assert_string_equal(stream(tn_test_tiny_text, len, step, NULL, &out, &stopped), tn_test_tiny_text);
        assert_false(stopped);
        tn_buf_release(&out.text);
        const char *end = strstr(tn_test_tiny_text, "\xe4\xbd\xa0\xe5\xa5\xbd");
        stream(tn_test_tiny_text, len, step, "\xe4\xbd\xa0\xe5\xa5\xbd", &out, &stopped);
        assert_true(stopped);
        assert_int_equal(out.text.len, end - tn_test_tiny_text);
        tn_buf_release(&out.text);
    }
}

static void text_stream__replaces_bytes_that_are_no_character(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"a\xe4\xbd", "a\xef\xbf\xbd"}, /* cut off at the end */
        {"\xc3(", "\xef\xbf\xbd("},
        {"\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        for (size_t step = 1; step < 4; step++) {
            tn_test_text out;
            bool stopped;
            assert_string_equal(stream(cases[i].bytes, strlen(cases[i].bytes), step, NULL, &out, &stopped),
                                cases[i].text);
            tn_buf_release(&out.text);
        }
}

static void text_stream__shows_what_only_looked_like_a_stop(void **state) {
    (void)state;
    tn_test_text out;
    bool stopped;
    assert_string_equal(stream("aaab aab", 8, 1, "aabb", &out, &stopped), "aaab aab");
    assert_false(stopped);
    tn_buf_release(&out.text);
    assert_string_equal(stream("aaabb", 5, 1, "aabb", &out, &stopped), "a");
    assert_true(stopped);
    tn_buf_release(&out.text);
    tn_text_stream s;
    const char *empty = "";
    assert_int_equal(tn_text_stream_init(&s, &empty, 1, tn_test_collect, &out), TN_E_ARG);
}

/* ---- the head ---- */

static void use_q6_k(tn_test_model *f) {
    tn_param *head = tn_model_head(f->loaded.model);
    const size_t bytes = tn_table_row_bytes(TN_TABLE_Q6_K, head->cols);
    char *data = tn_arena_alloc(f->arena, (size_t)head->rows * bytes, "test");
    assert_non_null(data);
    for (int r = 0; r < head->rows; r++)
        assert_ok(tn_table_encode_row(TN_TABLE_Q6_K, head->cols, head->tensor.real + (int64_t)r * head->cols,
                                      data + (size_t)r * bytes));
    head->tensor.real = NULL;
    assert_ok(tn_param_put_table(head, (tn_table){TN_TABLE_Q6_K, data}));
}

static void session__both_heads_choose_the_same_tokens(void **state) {
    tn_test_model *f = *state;
    enum { SAMPLERS = 4, SEEDS = 12, MOST = 1024 };
    use_q6_k(f);
    tn_sampler_options options[SAMPLERS];
    for (int i = 0; i < SAMPLERS; i++) options[i] = tn_sampler_defaults();
    options[0].temperature = 0;
    options[2].repeat_penalty = 1.5;
    options[2].top_k = 3;
    options[3].top_k = 0; /* all logits: both go the same way */
    tn_session *sessions[2];
    for (int head = 0; head < 2; head++)
        assert_ok(tn_session_create(&sessions[head], &f->loaded,
                                    (tn_session_options){.context = TN_TEST_CONTEXT, .head = (tn_head_kind)head}));
    uint64_t allowed[MOST / 64];
    assert_true(tn_test_vocab(&f->loaded) <= MOST);
    for (size_t i = 0; i < TN_COUNT(allowed); i++) allowed[i] = 0xfedcba9876543210;
    for (int i = 0; i < SAMPLERS * SEEDS; i++) {
        int32_t first = i % tn_test_vocab(&f->loaded), ids[2];
        tn_sampler *samplers[2];
        options[i % SAMPLERS].seed = (uint64_t)i;
        for (int head = 0; head < 2; head++) {
            assert_ok(tn_sampler_create(&samplers[head], tn_test_vocab(&f->loaded), &options[i % SAMPLERS]));
            assert_ok(tn_session_rewind(sessions[head], 0));
            assert_ok(tn_session_feed(sessions[head], &first, 1));
        }
        for (int n = 1; n < TN_TEST_CONTEXT - 1; n++) {
            for (int head = 0; head < 2; head++) {
                assert_ok(tn_session_pick(sessions[head], samplers[head], i % 3 ? NULL : allowed, &ids[head]));
                assert_ok(tn_session_feed(sessions[head], &ids[head], 1));
            }
            assert_int_equal(ids[0], ids[1]);
        }
        for (int head = 0; head < 2; head++) tn_sampler_free(samplers[head]);
    }
    for (int head = 0; head < 2; head++) tn_session_free(sessions[head]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(session__runs_a_checkpoint_with_the_trainers_bits, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__runs_an_exported_file_with_the_trainers_bits, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__logits_do_not_depend_on_how_a_prompt_is_cut, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__logits_do_not_depend_on_the_number_of_threads, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__ternary_products_are_the_same_integers_on_every_instruction_set,
                                        tn_test_model_set_up, tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__rewound_and_fed_again_tells_the_same, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__too_many_tokens_are_refused_and_nothing_is_fed, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__same_seed_same_text_for_any_threads, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__stops_at_the_limit_and_at_a_full_context, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__ends_with_eos_unless_told_to_ignore_it, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__cuts_before_a_stop_string_that_spans_tokens, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__shows_whole_characters_of_a_byte_vocabulary, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(generate__an_empty_prompt_begins_a_document, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test_setup_teardown(session__both_heads_choose_the_same_tokens, tn_test_model_set_up,
                                        tn_test_model_tear_down),
        cmocka_unit_test(text_stream__gives_the_same_text_however_it_is_cut),
        cmocka_unit_test(text_stream__replaces_bytes_that_are_no_character),
        cmocka_unit_test(text_stream__shows_what_only_looked_like_a_stop),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
