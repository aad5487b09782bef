/* SPDX-License-Identifier: MIT */
#include "autograd/tape.h"
#include "core/par.h"
#include "infer/batch.h"
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
            assert_ok(tn_cache_init(&caches[s], f->arena, tn_model_get_config(f->loaded.model), TN_KV_F32, TOKENS));
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
        assert_ok(tn_cache_init(&cache, f->arena, tn_model_get_config(f->loaded.model), TN_KV_F32, cases[i].capacity));
        tn_tape_begin(tape, TN_TAPE_FORWARD, NULL);
        tn_tensor *in = tn_tape_ids(tape, 2, (const int[]){1, cases[i].ids}, ids);
        (void)tn_model_hidden_batch(f->loaded.model, tape, in, &(tn_stretch){&cache, cases[i].rows}, 1);
        assert_int_equal(tn_tape_status(tape), cases[i].expect);
        assert_int_equal(cache.length, 0);
    }
    tn_tape_free(tape);
}

/* ---- requests ---- */

enum { REQUESTS = 14, MOST_IDS = 60 };

typedef struct answer {
    tn_buf text;
    tn_status status;
    tn_generated generated;
    int done; /* times */
} answer;

typedef struct question {
    tn_sampler_options sampler;
    tn_logit_bias end;
    tn_generate_options generate;
    int32_t ids[MOST_IDS];
    int n_ids;
} question;

static tn_status keep_text(void *context, const char *text, size_t len) {
    answer *a = context;
    return tn_buf_append(&a->text, text, len);
}

static tn_status keep_end(void *context, tn_status status, const tn_generated *generated) {
    answer *a = context;
    a->status = status;
    a->generated = *generated;
    a->done++;
    return TN_OK;
}

/* Requests of many kinds: greedy and drawn, short and long prompts, ends of every reason. */
static void ask(question *q, const fixture *f, int number, answer *a) {
    static const char *const stops[] = {"a", "\xc3\xab"};
    static const int lengths[] = {1, 3, 40, 8, 48, 17, 2}, most[] = {5, 20, 0, -1, 7, 1, 12};
    *q = (question){.sampler = tn_sampler_defaults(),
                    .end = {tn_tokenizer_eos(f->loaded.tokenizer), 11},
                    .generate = {.max_tokens = most[number % 7],
                                 .ignore_eos = number % 3 == 0,
                                 .stops = stops,
                                 .n_stops = number % 4 == 1 ? 2 : 0,
                                 .piece = keep_text,
                                 .context = a},
                    .n_ids = lengths[number % 7]};
    q->sampler.temperature = number % 5 == 0 ? 0 : 1.5;
    q->sampler.repeat_penalty = number % 5 == 1 ? 1.3 : 1;
    q->sampler.seed = (uint64_t)number * 7;
    q->sampler.biases = &q->end;
    q->sampler.n_biases = number % 7 < 2;
    for (int i = 0; i < q->n_ids; i++) q->ids[i] = token(f, number / 5, i);
}

/* The answers of sessions of their own. */
static void answer_alone(const fixture *f, answer answers[REQUESTS]) {
    for (int i = 0; i < REQUESTS; i++) {
        tn_session *session;
        tn_sampler *sampler;
        question q;
        ask(&q, f, i, &answers[i]);
        assert_ok(tn_session_create(&session, &f->loaded, (tn_session_options){0}));
        assert_ok(tn_sampler_create(&sampler, tn_model_get_config(f->loaded.model)->vocab_size, &q.sampler));
        assert_ok(tn_session_feed(session, q.ids, q.n_ids));
        assert_ok(tn_generate(session, sampler, &q.generate, &answers[i].generated));
        tn_sampler_free(sampler);
        tn_session_free(session);
    }
}

static void add(const fixture *f, tn_batch *batch, int number, answer *a) {
    question q;
    ask(&q, f, number, a);
    const tn_batch_request request = {q.ids, q.n_ids, &q.sampler, q.generate, keep_end, a};
    assert_ok(tn_batch_add(batch, &request));
}

static void answer_together(const fixture *f, tn_batch_options options, bool backwards, answer answers[REQUESTS]) {
    tn_batch *batch;
    assert_ok(tn_batch_create(&batch, &f->loaded, options));
    int asked = 0;
    do {
        for (; asked < REQUESTS && tn_batch_free_slots(batch); asked++) {
            int number = backwards ? REQUESTS - 1 - asked : asked;
            add(f, batch, number, &answers[number]);
        }
        assert_ok(tn_batch_step(batch));
    } while (asked < REQUESTS || tn_batch_under_way(batch));
    tn_batch_counts counts = tn_batch_get_counts(batch);
    if (options.slots == 1) assert_true(counts.reused > 0);
    tn_batch_free(batch);
}

static void release(answer answers[REQUESTS]) {
    for (int i = 0; i < REQUESTS; i++) tn_buf_release(&answers[i].text);
}

static void batch__answers_what_sessions_answer_alone(void **state) {
    fixture *f = *state;
    static const struct {
        int slots, chunk, threads;
        bool backwards;
    } cases[] = {{1, 512, 1, false}, {8, 512, 1, false}, {8, 512, 2, true}, {8, 1, 2, false},
                 {3, 16, 2, true},   {5, 9, 1, true},    {14, 30, 2, false}};
    answer alone[REQUESTS] = {0};
    assert_ok(tn_par_set_threads(1));
    tn_model_refresh(f->loaded.model, 1);
    answer_alone(f, alone);
    bool reasons[4] = {0};
    for (int i = 0; i < REQUESTS; i++) reasons[alone[i].generated.reason] = true;
    for (int i = 0; i < 4; i++) assert_true(reasons[i]);
    for (size_t c = 0; c < TN_COUNT(cases); c++) {
        answer together[REQUESTS] = {0};
        assert_ok(tn_par_set_threads(cases[c].threads));
        tn_model_refresh(f->loaded.model, 1);
        answer_together(f, (tn_batch_options){.slots = cases[c].slots, .chunk = cases[c].chunk}, cases[c].backwards,
                        together);
        for (int i = 0; i < REQUESTS; i++) {
            assert_int_equal(together[i].done, 1);
            assert_ok(together[i].status);
            assert_string_equal(tn_buf_text(&together[i].text), tn_buf_text(&alone[i].text));
            assert_int_equal(together[i].generated.tokens, alone[i].generated.tokens);
            assert_int_equal(together[i].generated.reason, alone[i].generated.reason);
        }
        release(together);
    }
    release(alone);
}

static void batch__refused_request_leaves_its_slot_free(void **state) {
    fixture *f = *state;
    tn_batch *batch;
    answer a = {0};
    assert_ok(tn_batch_create(&batch, &f->loaded, (tn_batch_options){.slots = 1, .context = 10}));
    question q;
    ask(&q, f, 0, &a);
    const tn_batch_request request = {q.ids, 11, &q.sampler, q.generate, keep_end, &a};
    assert_int_equal(tn_batch_add(batch, &request), TN_E_RANGE);
    assert_string_equal(tn_error_message(), "the prompt has 11 tokens, the context holds 10");
    tn_batch_request other = request;
    q.ids[0] = 1 << 20;
    other.n_ids = 1;
    assert_int_equal(tn_batch_add(batch, &other), TN_E_RANGE);
    q.ids[0] = 0;
    q.sampler.top_p = 7;
    assert_int_equal(tn_batch_add(batch, &other), TN_E_RANGE);
    q.sampler.top_p = 1;
    static const char *const empty[] = {""};
    other.generate.stops = empty;
    other.generate.n_stops = 1;
    assert_int_equal(tn_batch_add(batch, &other), TN_E_ARG);
    assert_int_equal(tn_batch_free_slots(batch), 1);
    assert_ok(tn_batch_step(batch));
    assert_int_equal(a.done, 0);
    tn_batch_free(batch);
}

/* A text that cannot go on fails alone. */
static tn_status refuse_text(void *context, const char *text, size_t len) {
    (void)context, (void)text, (void)len;
    return TN_FAIL(IO, "no room");
}

static void batch__failure_of_one_text_is_its_own(void **state) {
    fixture *f = *state;
    tn_batch *batch;
    answer answers[2] = {0};
    assert_ok(tn_batch_create(&batch, &f->loaded, (tn_batch_options){.slots = 2}));
    question q;
    ask(&q, f, 0, &answers[0]);
    q.generate.piece = refuse_text;
    const tn_batch_request request = {q.ids, q.n_ids, &q.sampler, q.generate, keep_end, &answers[0]};
    assert_ok(tn_batch_add(batch, &request));
    add(f, batch, 1, &answers[1]);
    while (tn_batch_under_way(batch)) assert_ok(tn_batch_step(batch));
    assert_int_equal(answers[0].status, TN_E_IO);
    assert_ok(answers[1].status);
    assert_true(answers[1].generated.tokens > 0);
    tn_buf_release(&answers[1].text);
    tn_batch_free(batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stretches__give_each_sequence_the_bits_it_has_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stretches__that_do_not_fit_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batch__answers_what_sessions_answer_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batch__refused_request_leaves_its_slot_free, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batch__failure_of_one_text_is_its_own, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
