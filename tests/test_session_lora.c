/* SPDX-License-Identifier: MIT
 * Sessions and batches with adapters beside the model: the trainer's bits however a prompt is cut, batched, guessed at
 * or spread over threads; and nothing that was read under other adapters is used. */
#include "core/par.h"
#include "infer/batch.h"
#include "infer/session_file.h"
#include "layers/adapter.h"
#include "models/export.h"
#include "models/fingerprint.h"
#include "tests/session_rig.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

static const char everything[] = "all-linear, embed_tokens, lm_head";

/* Rank 4, B filled: what it adds is of the size of what is there. */
static tn_adapter *make_adapter(const tn_test_model *f, const char *modules, uint64_t seed, bool merged) {
    tn_adapter *adapter;
    const tn_adapter_options options = {.merged = merged};
    assert_ok(tn_adapter_create(&adapter, f->arena, tn_model_get_config(f->loaded.model), &options));
    assert_ok(tn_adapter_add_modules(adapter, modules, 4, 8, NULL, 0));
    tn_adapter_init(adapter, seed);
    const tn_rng rng = tn_rng_make(seed, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_param *half[] = {&adapter->pairs[i].a, &adapter->pairs[i].b};
        for (int h = 0; h < 2; h++)
            for (int64_t j = 0; j < tn_param_count(half[h]); j++)
                half[h]->tensor.real[j] +=
                    (tn_real)(0.1 * tn_rng_normal(&rng, (uint64_t)(i * 1000000 + h * 500000 + j)));
    }
    return adapter;
}

static tn_adapter *attach(const tn_test_model *f, const char *modules, uint64_t seed, double scale) {
    tn_adapter *adapter = make_adapter(f, modules, seed, false);
    assert_ok(tn_model_attach(f->loaded.model, adapter, scale));
    return adapter;
}

static const tn_real *all_logits(const tn_test_model *f, tn_model *model) {
    return tn_test_logits(model, f->ids, TN_TEST_IDS, f->arena);
}

static bool are_same(const tn_test_model *f, const tn_real *a, const tn_real *b) {
    return memcmp(a, b, sizeof *a * (size_t)tn_test_vocab(&f->loaded)) == 0;
}

/* What a session says after `n` tokens is the row of these logits. */
static void assert_row(const tn_test_model *f, tn_session *session, const tn_real *rows, int n) {
    const int vocab = tn_test_vocab(&f->loaded);
    const tn_real *logits = tn_session_logits(session);
    assert_non_null(logits);
    tn_test_assert_same(logits, rows + (int64_t)(n - 1) * vocab, vocab);
}

/* ---- logits ---- */

static void check_chunks(const tn_test_model *f, const tn_loaded *loaded, const tn_real *rows) {
    static const int chunks[] = {1, 7, 512};
    for (int threads = 1; threads <= 2; threads++)
        for (size_t i = 0; i < TN_COUNT(chunks); i++) {
            assert_ok(tn_par_set_threads(threads));
            tn_session *session = tn_test_session(loaded, 0, chunks[i]);
            assert_ok(tn_session_feed(session, f->ids, TN_TEST_IDS - 1));
            assert_row(f, session, rows, TN_TEST_IDS - 1);
            assert_ok(tn_session_feed(session, f->ids + TN_TEST_IDS - 1, 1));
            assert_row(f, session, rows, TN_TEST_IDS);
            tn_session_free(session);
        }
}

static void session_lora__runs_with_the_trainers_bits(void **state) {
    tn_test_model *f = *state;
    tn_loaded trained, exported;
    tn_export_report report;
    const tn_real *base = all_logits(f, f->loaded.model);
    assert_ok(tn_export(f->checkpoint, f->gguf, (tn_export_options){.type = TN_EXPORT_I2_S}, &report));
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_TRAIN, &trained));
    assert_ok(tn_model_file_load(f->gguf, f->arena, TN_MODEL_RUN, &exported));
    tn_model *models[] = {trained.model, f->loaded.model, exported.model};
    for (int i = 0; i < 3; i++) {
        assert_ok(tn_model_attach(models[i], make_adapter(f, everything, 5, false), 0.7));
        assert_ok(tn_model_attach(models[i], make_adapter(f, "q_proj, down_proj", 6, false), -1.3));
    }
    const tn_real *rows = all_logits(f, trained.model);
    assert_false(are_same(f, base, rows));
    check_chunks(f, &f->loaded, rows);
    check_chunks(f, &exported, rows);
    tn_loaded_release(&trained);
    tn_loaded_release(&exported);
}

static void session_lora__merged_one_runs_with_the_bits_of_a_pass(void **state) {
    tn_test_model *f = *state;
    const tn_real *base = all_logits(f, f->loaded.model);
    assert_ok(tn_model_attach(f->loaded.model, make_adapter(f, "all-linear", 5, true), 12));
    const tn_real *rows = all_logits(f, f->loaded.model);
    assert_false(are_same(f, base, rows));
    check_chunks(f, &f->loaded, rows);
}

static void session_lora__scale_of_0_and_one_that_went_leave_the_bits_of_the_model(void **state) {
    tn_test_model *f = *state;
    const tn_real *base = all_logits(f, f->loaded.model);
    tn_adapter *silent = attach(f, everything, 5, 0);
    check_chunks(f, &f->loaded, base);
    assert_ok(tn_model_attach(f->loaded.model, silent, 1));
    assert_false(are_same(f, base, all_logits(f, f->loaded.model)));
    tn_model_detach(f->loaded.model, silent);
    check_chunks(f, &f->loaded, base);
}

/* ---- what was read under other adapters ---- */

/* The session, which holds the first n ids and was read before the change, says what a new one says. */
static void assert_caught_up(const tn_test_model *f, tn_session *session, int n) {
    const tn_real *rows = all_logits(f, f->loaded.model);
    assert_int_equal(tn_session_length(session), n);
    assert_row(f, session, rows, n);
    assert_ok(tn_session_feed(session, f->ids + n, 2));
    assert_row(f, session, rows, n + 2);
    assert_ok(tn_session_rewind(session, n));
    assert_row(f, session, rows, n);
}

static void session_lora__another_scale_is_as_good_as_a_new_session(void **state) {
    tn_test_model *f = *state;
    tn_session *session = tn_test_session(&f->loaded, 0, 7);
    assert_ok(tn_session_feed(session, f->ids, 20));
    tn_adapter *first = attach(f, everything, 5, 0.7), *second = make_adapter(f, "all-linear", 6, false);
    assert_caught_up(f, session, 20);
    assert_ok(tn_model_attach(f->loaded.model, first, 0.3));
    assert_caught_up(f, session, 20);
    assert_ok(tn_model_attach(f->loaded.model, second, 1));
    assert_caught_up(f, session, 20);
    tn_model_detach(f->loaded.model, first);
    assert_caught_up(f, session, 20);
    assert_ok(tn_model_attach(f->loaded.model, second, 0));
    assert_caught_up(f, session, 20);
    tn_session_free(session);
}

/* The first call after a change is one of these. */
static void session_lora__every_way_on_notices_another_scale(void **state) {
    tn_test_model *f = *state;
    tn_session *session = tn_test_session(&f->loaded, 24, 0);
    tn_adapter *adapter = attach(f, everything, 5, 1);
    double scale = 1;
    int reused;
    assert_ok(tn_session_feed(session, f->ids, 20));
    for (int way = 0; way < 5; way++) {
        assert_ok(tn_model_attach(f->loaded.model, adapter, scale *= 0.8));
        const tn_real *rows = all_logits(f, f->loaded.model);
        int n = 20;
        if (way == 0) assert_ok(tn_session_feed(session, f->ids + n++, 1));
        if (way == 1) assert_ok(tn_session_rewind(session, n = 12));
        if (way == 2) assert_ok(tn_session_set_prompt(session, f->ids, n = 14, &reused));
        if (way == 3) assert_ok(tn_session_read_prompt(session, f->ids, n = 16, NULL, NULL, &reused));
        if (way == 2 || way == 3) assert_int_equal(reused, 0);
        if (way < 4) assert_row(f, session, rows, n);
        assert_ok(tn_session_set_prompt(session, f->ids, 20, &reused));
        assert_int_equal(reused, way < 4 ? TN_MIN(n, 20) : 0);
        assert_row(f, session, rows, 20);
    }
    assert_ok(tn_model_attach(f->loaded.model, adapter, 0.5));
    assert_ok(tn_session_shift(session, 4));
    int32_t left[12];
    memcpy(left, tn_session_history(session), sizeof left);
    assert_int_equal(tn_session_length(session), 12);
    tn_test_assert_same(tn_session_logits(session),
                        tn_test_logits(f->loaded.model, left, 12, f->arena) + 11 * (int64_t)tn_test_vocab(&f->loaded),
                        tn_test_vocab(&f->loaded));
    tn_session_free(session);
}

static void session_lora__same_scale_again_reads_nothing_again(void **state) {
    tn_test_model *f = *state;
    tn_session *session = tn_test_session(&f->loaded, 0, 0);
    tn_adapter *adapter = attach(f, everything, 5, 0.7);
    int reused;
    assert_ok(tn_session_feed(session, f->ids, 20));
    assert_ok(tn_model_attach(f->loaded.model, adapter, 0.7));
    (void)attach(f, "all-linear", 6, 0);
    assert_ok(tn_session_set_prompt(session, f->ids, 30, &reused));
    assert_int_equal(reused, 20);
    tn_session_free(session);
}

/* ---- texts ---- */

static tn_sampler_options how_to_draw(uint64_t seed) {
    tn_sampler_options how = tn_sampler_defaults();
    how.seed = seed;
    how.temperature = seed % 2 ? 0.3 : 0;
    return how;
}

static void tell(const tn_test_model *f, const tn_loaded *loaded, tn_head_kind head, int draft, uint64_t seed,
                 tn_test_text *out) {
    const tn_sampler_options how = how_to_draw(seed);
    const tn_generate_options what = {
        .max_tokens = 30, .ignore_eos = true, .draft = draft, .piece = tn_test_collect, .context = out};
    tn_session *session;
    tn_sampler *sampler;
    tn_generated done;
    *out = (tn_test_text){.whole = true};
    assert_ok(tn_session_create(&session, loaded, (tn_session_options){.head = head}));
    assert_ok(tn_sampler_create(&sampler, tn_test_vocab(loaded), &how));
    assert_ok(tn_session_feed(session, f->ids, 5));
    assert_ok(tn_generate(session, sampler, &what, &done));
    assert_int_equal(done.tokens, 30);
    tn_sampler_free(sampler);
    tn_session_free(session);
}

/* Under every way to write it the text is the same. */
static void check_texts(const tn_test_model *f, const tn_loaded *loaded) {
    for (uint64_t seed = 0; seed < 4; seed++) {
        tn_test_text plain, other;
        assert_ok(tn_par_set_threads(1));
        tell(f, loaded, TN_HEAD_EXACT, 0, seed, &plain);
        for (int way = 0; way < 4; way++) {
            assert_ok(tn_par_set_threads(1 + way / 2));
            tell(f, loaded, TN_HEAD_SCREENED, way % 2 ? 8 : 0, seed, &other);
            assert_string_equal(tn_buf_text(&plain.text), tn_buf_text(&other.text));
            tn_buf_release(&other.text);
        }
        tn_buf_release(&plain.text);
    }
}

static void session_lora__text_is_the_same_with_guesses_threads_and_either_head(void **state) {
    tn_test_model *f = *state;
    static const char *const modules[] = {"all-linear", "lm_head", everything};
    tn_export_report report;
    tn_loaded exported;
    assert_ok(tn_export(f->checkpoint, f->gguf, (tn_export_options){.type = TN_EXPORT_I2_S}, &report));
    assert_ok(tn_model_file_load(f->gguf, f->arena, TN_MODEL_RUN, &exported));
    for (size_t i = 0; i < TN_COUNT(modules); i++) {
        tn_adapter *adapter = make_adapter(f, modules[i], 5, false);
        assert_ok(tn_model_attach(exported.model, adapter, 1));
        assert_int_equal(tn_model_head_adapted(exported.model), i > 0);
        check_texts(f, &exported);
        tn_model_detach(exported.model, adapter);
    }
    tn_loaded_release(&exported);
}

/* ---- batches ---- */

enum { TEXTS = 9, WRITTEN = 12 };

static tn_status ignore_end(void *context, tn_status status, const tn_generated *generated) {
    (void)context, (void)generated;
    return status;
}

static int prompt_of(int text) { return 3 + text * 5 % 23; }

static void add_text(const tn_test_model *f, tn_batch *batch, int number, tn_test_text *out) {
    const tn_sampler_options how = how_to_draw((uint64_t)number);
    const tn_batch_request request = {
        .ids = f->ids + number % 3,
        .n_ids = prompt_of(number),
        .sampler = &how,
        .generate = {.max_tokens = WRITTEN, .ignore_eos = true, .piece = tn_test_collect, .context = out},
        .done = ignore_end};
    *out = (tn_test_text){.whole = true};
    assert_ok(tn_batch_add(batch, &request));
}

static void answer_all(const tn_test_model *f, tn_batch *batch, tn_test_text *texts) {
    int asked = 0;
    do {
        for (; asked < TEXTS && tn_batch_free_slots(batch); asked++) add_text(f, batch, asked, &texts[asked]);
        assert_ok(tn_batch_step(batch));
    } while (asked < TEXTS || tn_batch_under_way(batch));
}

/* Texts of sessions of their own. */
static void assert_alone(const tn_test_model *f, tn_test_text *texts) {
    for (int i = 0; i < TEXTS; i++) {
        const tn_sampler_options how = how_to_draw((uint64_t)i);
        tn_test_text alone = {.whole = true};
        const tn_generate_options what = {
            .max_tokens = WRITTEN, .ignore_eos = true, .piece = tn_test_collect, .context = &alone};
        tn_session *session = tn_test_session(&f->loaded, 0, 0);
        tn_sampler *sampler;
        tn_generated done;
        assert_ok(tn_sampler_create(&sampler, tn_test_vocab(&f->loaded), &how));
        assert_ok(tn_session_feed(session, f->ids + i % 3, prompt_of(i)));
        assert_ok(tn_generate(session, sampler, &what, &done));
        assert_string_equal(tn_buf_text(&texts[i].text), tn_buf_text(&alone.text));
        tn_buf_release(&alone.text);
        tn_buf_release(&texts[i].text);
        tn_sampler_free(sampler);
        tn_session_free(session);
    }
}

static void batch_lora__answers_what_sessions_answer_alone_under_each_scale(void **state) {
    tn_test_model *f = *state;
    static const int slots[] = {1, 8};
    tn_test_text texts[TEXTS];
    tn_adapter *adapter = attach(f, everything, 5, 1);
    for (size_t i = 0; i < TN_COUNT(slots); i++) {
        tn_batch *batch;
        assert_ok(tn_par_set_threads(1 + (int)i));
        assert_ok(tn_batch_create(&batch, &f->loaded, (tn_batch_options){.slots = slots[i], .chunk = 16}));
        for (int round = 0; round < 3; round++) { /* slots hold what was read under the scale before */
            assert_ok(tn_model_attach(f->loaded.model, adapter, 0.4 * round));
            answer_all(f, batch, texts);
            assert_alone(f, texts);
        }
        tn_batch_free(batch);
    }
}

static void batch_lora__text_under_way_goes_on_as_if_all_was_read_under_the_new_scale(void **state) {
    tn_test_model *f = *state;
    const int half = WRITTEN / 2;
    tn_sampler_options how = tn_sampler_defaults();
    how.temperature = 0;
    tn_test_text text = {.whole = true};
    const tn_batch_request request = {
        .ids = f->ids,
        .n_ids = 9,
        .sampler = &how,
        .generate = {.max_tokens = WRITTEN, .ignore_eos = true, .piece = tn_test_collect, .context = &text},
        .done = ignore_end};
    tn_batch *batch;
    tn_session *session = tn_test_session(&f->loaded, 0, 0);
    tn_sampler *sampler;
    tn_buf expected = {0};
    tn_adapter *adapter = attach(f, everything, 5, 1);
    assert_ok(tn_batch_create(&batch, &f->loaded, (tn_batch_options){.slots = 1}));
    assert_ok(tn_sampler_create(&sampler, tn_test_vocab(&f->loaded), &how));
    assert_ok(tn_batch_add(batch, &request));
    assert_ok(tn_session_feed(session, f->ids, 9));
    for (int i = 0; i < WRITTEN; i++) {
        int32_t id;
        if (i == half) assert_ok(tn_model_attach(f->loaded.model, adapter, 0.2));
        assert_ok(tn_batch_step(batch));
        assert_ok(tn_session_pick(session, sampler, NULL, &id));
        assert_ok(tn_tokenizer_decode(f->loaded.tokenizer, id, false, &expected));
        assert_ok(tn_session_feed(session, &id, 1));
    }
    assert_int_equal(tn_batch_under_way(batch), 0);
    assert_string_equal(tn_buf_text(&text.text), tn_buf_text(&expected));
    tn_buf_release(&text.text);
    tn_buf_release(&expected);
    tn_sampler_free(sampler);
    tn_session_free(session);
    tn_batch_free(batch);
}

/* ---- on disk ---- */

typedef struct saved {
    char path[TN_TEST_PATH + 16];
    tn_sampler *sampler;
} saved;

static saved save(const tn_test_model *f) {
    const tn_sampler_options how = tn_sampler_defaults();
    saved s;
    snprintf(s.path, sizeof s.path, "%s/session", f->dir);
    tn_session *session = tn_test_session(&f->loaded, 0, 0);
    assert_ok(tn_sampler_create(&s.sampler, tn_test_vocab(&f->loaded), &how));
    assert_ok(tn_session_feed(session, f->ids, 10));
    assert_ok(tn_session_save(session, s.sampler, s.path));
    tn_session_free(session);
    return s;
}

static void assert_restored(const tn_test_model *f, const saved *s, const char *refusal) {
    tn_session *session = tn_test_session(&f->loaded, 0, 0);
    const tn_status status = tn_session_restore(session, s->sampler, s->path);
    assert_int_equal(status, refusal ? TN_E_MISMATCH : TN_OK);
    if (refusal) {
        char sentence[TN_TEST_PATH + 256];
        snprintf(sentence, sizeof sentence, "%s: %s", s->path, refusal);
        assert_string_equal(tn_error_message(), sentence);
    } else {
        assert_row(f, session, all_logits(f, f->loaded.model), 10);
    }
    tn_session_free(session);
}

static void session_lora__file_is_of_its_adapters_and_scales(void **state) {
    tn_test_model *f = *state;
    static const char leave_out[] = "was written without adapters: leave out --lora",
                      missing[] = "was written with adapters: give the same --lora",
                      others[] = "was written with other adapters or scales: give the same --lora, in the same order";
    tn_model *model = f->loaded.model;
    saved plain = save(f);
    tn_adapter *a = attach(f, "lm_head", 5, 0.5); /* which changes no key and no value */
    assert_restored(f, &plain, leave_out);
    tn_sampler_free(plain.sampler);
    saved with = save(f);
    assert_restored(f, &with, NULL);
    assert_ok(tn_model_attach(model, a, 0.25));
    assert_restored(f, &with, others);
    assert_ok(tn_model_attach(model, a, 0));
    assert_restored(f, &with, missing);
    tn_model_detach(model, a);
    tn_adapter *b = attach(f, "lm_head", 6, 0.5);
    assert_restored(f, &with, others);
    tn_model_detach(model, b);
    (void)attach(f, "lm_head", 5, 0.5); /* the same again */
    assert_restored(f, &with, NULL);
    tn_sampler_free(with.sampler);
}

static void session_lora__what_is_kept_was_read_under_the_adapters_that_it_names(void **state) {
    tn_test_model *f = *state;
    const tn_sampler_options how = tn_sampler_defaults();
    saved s;
    snprintf(s.path, sizeof s.path, "%s/session", f->dir);
    tn_session *session = tn_test_session(&f->loaded, 0, 0);
    assert_ok(tn_sampler_create(&s.sampler, tn_test_vocab(&f->loaded), &how));
    assert_ok(tn_session_feed(session, f->ids, 10));
    (void)attach(f, everything, 5, 1);
    assert_ok(tn_session_save(session, s.sampler, s.path));
    assert_restored(f, &s, NULL);
    tn_session_free(session);
    tn_sampler_free(s.sampler);
}

static void adapters__fingerprint_is_of_what_is_added(void **state) {
    tn_test_model *f = *state;
    tn_model *model = f->loaded.model;
    char none[TN_FINGERPRINT], one[TN_FINGERPRINT], two[TN_FINGERPRINT], turned[TN_FINGERPRINT], now[TN_FINGERPRINT];
    assert_ok(tn_model_adapters_fingerprint(model, none));
    assert_string_equal(none, "");
    tn_adapter *a = attach(f, "q_proj, k_proj", 5, 0.5), *b = make_adapter(f, "q_proj, k_proj", 6, false);
    assert_ok(tn_model_adapters_fingerprint(model, one));
    assert_int_equal(strlen(one), TN_FINGERPRINT - 1);
    assert_ok(tn_model_attach(model, b, 0));
    assert_ok(tn_model_adapters_fingerprint(model, now));
    assert_string_equal(now, one); /* one that is silent is not there */
    assert_ok(tn_model_attach(model, b, 1));
    assert_ok(tn_model_adapters_fingerprint(model, two));
    tn_model_detach(model, a);
    assert_ok(tn_model_attach(model, a, 0.5));
    assert_ok(tn_model_adapters_fingerprint(model, turned));
    assert_string_not_equal(two, turned); /* sums have an order */
    tn_model_detach(model, b);
    tn_adapter_pair first = a->pairs[0]; /* pairs have none */
    tn_model_detach(model, a);
    a->pairs[0] = a->pairs[1];
    a->pairs[1] = first;
    assert_ok(tn_model_attach(model, a, 0.5));
    assert_ok(tn_model_adapters_fingerprint(model, now));
    assert_string_equal(now, one);
    a->pairs[0].b.tensor.real[0] += 1;
    assert_ok(tn_model_adapters_fingerprint(model, now));
    assert_string_not_equal(now, one);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_model_set_up, tn_test_model_tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(session_lora__runs_with_the_trainers_bits),
        TEST(session_lora__merged_one_runs_with_the_bits_of_a_pass),
        TEST(session_lora__scale_of_0_and_one_that_went_leave_the_bits_of_the_model),
        TEST(session_lora__another_scale_is_as_good_as_a_new_session),
        TEST(session_lora__every_way_on_notices_another_scale),
        TEST(session_lora__same_scale_again_reads_nothing_again),
        TEST(session_lora__text_is_the_same_with_guesses_threads_and_either_head),
        TEST(batch_lora__answers_what_sessions_answer_alone_under_each_scale),
        TEST(batch_lora__text_under_way_goes_on_as_if_all_was_read_under_the_new_scale),
        TEST(session_lora__file_is_of_its_adapters_and_scales),
        TEST(session_lora__what_is_kept_was_read_under_the_adapters_that_it_names),
        TEST(adapters__fingerprint_is_of_what_is_added),
    };
    return cmocka_run_group_tests_name("session_lora", tests, NULL, NULL);
}
