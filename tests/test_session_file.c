/* SPDX-License-Identifier: MIT
 * Sessions on disk: they go on as if they had never been away, and what is not theirs is refused. */
#include "core/fs.h"
#include "core/par.h"
#include "infer/session_file.h"
#include "tests/damage.h"
#include "tests/session_rig.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

enum { CONTEXT = 200, MOST = 150 };

typedef struct fixture {
    tn_test_model *model; /* with a context of CONTEXT */
    char path[TN_TEST_PATH + 16];
    int32_t ids[MOST];
} fixture;

static void load(tn_test_model *m, const char *name, tn_tokenizer_kind kind, const char *const *settings,
                 tn_loaded *out) {
    char path[TN_TEST_PATH + 32];
    snprintf(path, sizeof path, "%s/%s.h5", m->dir, name);
    tn_test_tiny_checkpoint(path, kind, settings);
    assert_ok(tn_model_file_load(path, m->arena, TN_MODEL_RUN, out));
}

static int set_up(void **state) {
    static fixture f;
    void *model;
    tn_test_model_set_up(&model);
    f = (fixture){.model = model};
    tn_loaded_release(&f.model->loaded);
    load(f.model, "long", TN_TOKENIZER_CHAR, (const char *const[]){"model.context=200", NULL}, &f.model->loaded);
    snprintf(f.path, sizeof f.path, "%s/session", f.model->dir);
    for (int i = 0; i < MOST; i++) f.ids[i] = (i * 37 + 11) % tn_tokenizer_size(f.model->loaded.tokenizer);
    assert_ok(tn_par_set_threads(1));
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    void *model = ((fixture *)*state)->model;
    return tn_test_model_tear_down(&model);
}

typedef struct pair {
    tn_session *session;
    tn_sampler *sampler;
} pair;

static pair start(const tn_loaded *loaded, tn_kv_type type, int context, uint64_t seed) {
    pair p;
    tn_sampler_options how = tn_sampler_defaults();
    how.seed = seed;
    how.mirostat = 2;
    how.mirostat_tau = 2;
    how.repeat_penalty = 1.1;
    how.repeat_last_n = -1;
    assert_ok(tn_session_create(&p.session, loaded, (tn_session_options){.context = context, .kv = type}));
    assert_ok(tn_sampler_create(&p.sampler, tn_test_vocab(loaded), &how));
    return p;
}

static void stop(pair p) {
    tn_session_free(p.session);
    tn_sampler_free(p.sampler);
}

static void tell(pair p, int n, tn_test_text *out, int32_t *last) {
    const tn_generate_options how = {
        .max_tokens = n, .ignore_eos = true, .shift = true, .keep = 5, .piece = tn_test_collect, .context = out};
    tn_generated done;
    assert_ok(tn_generate(p.session, p.sampler, &how, &done));
    assert_int_equal(done.tokens, n);
    *last = done.last;
}

static void session_file__goes_on_as_if_it_had_never_been_away(void **state) {
    fixture *f = *state;
    static const int lengths[] = {1, 2, 63, 64, 65, 130};
    for (int type = 0; type < TN_KV_TYPES; type++)
        for (size_t i = 0; i < TN_COUNT(lengths); i++) {
            int n = lengths[i], context = i == 5 ? 140 : CONTEXT; /* the last one has been shifted when it is saved */
            pair a = start(&f->model->loaded, (tn_kv_type)type, context, 3);
            tn_test_text first = {.whole = true}, rest = {.whole = true}, again = {.whole = true};
            int32_t last;
            assert_ok(tn_session_feed(a.session, f->ids, n));
            tell(a, 20, &first, &last);
            assert_ok(tn_session_feed(a.session, &last, 1));
            assert_ok(tn_session_save(a.session, a.sampler, f->path));
            tell(a, 30, &rest, &last);
            pair b = start(&f->model->loaded, (tn_kv_type)type, context, 99);
            assert_ok(tn_session_feed(b.session, f->ids + 7, 3)); /* it holds something else */
            assert_ok(tn_session_restore(b.session, b.sampler, f->path));
            tell(b, 30, &again, &last);
            assert_string_equal(tn_buf_text(&rest.text), tn_buf_text(&again.text));
            assert_int_equal(tn_session_position(a.session), tn_session_position(b.session));
            assert_int_equal(tn_session_length(a.session), tn_session_length(b.session));
            tn_test_assert_same(tn_session_logits(a.session), tn_session_logits(b.session),
                                tn_test_vocab(&f->model->loaded));
            tn_buf_release(&first.text);
            tn_buf_release(&rest.text);
            tn_buf_release(&again.text);
            stop(a);
            stop(b);
        }
}

static void session_file__the_same_session_gives_the_same_bytes(void **state) {
    fixture *f = *state;
    tn_buf bytes[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        pair p = start(&f->model->loaded, TN_KV_F16, CONTEXT, 5);
        assert_ok(tn_session_feed(p.session, f->ids, i ? 90 : 70));
        assert_ok(tn_session_rewind(p.session, 70)); /* what lies behind the end is of no account */
        assert_ok(tn_session_save(p.session, p.sampler, f->path));
        assert_ok(tn_file_read(f->path, 1 << 24, &bytes[i]));
        stop(p);
    }
    assert_int_equal(bytes[0].len, bytes[1].len);
    assert_memory_equal(bytes[0].data, bytes[1].data, bytes[0].len);
    tn_buf_release(&bytes[0]);
    tn_buf_release(&bytes[1]);
}

/* The file is refused with these words, and the sampler is as it was. */
static void assert_refused(const fixture *f, const tn_loaded *loaded, tn_kv_type type, int context, tn_status expected,
                           const char *words) {
    pair p = start(loaded, type, context, 8);
    assert_ok(tn_session_feed(p.session, f->ids, 4));
    tn_status status = tn_session_restore(p.session, p.sampler, f->path);
    if (status != expected) fail_msg("%s, expected %s: %s", tn_status_name(status), words, tn_error_message());
    if (!strstr(tn_error_message(), words)) fail_msg("no \"%s\" in \"%s\"", words, tn_error_message());
    assert_non_null(strstr(tn_error_message(), f->path));
    assert_int_equal(tn_sampler_seed(p.sampler), 8);
    assert_true(tn_session_length(p.session) == 4 || tn_session_length(p.session) == 0);
    stop(p);
}

static void session_file__of_another_model_is_refused(void **state) {
    fixture *f = *state;
    const tn_loaded *loaded = &f->model->loaded;
    tn_loaded other;
    pair p = start(loaded, TN_KV_F16, CONTEXT, 1);
    assert_ok(tn_session_feed(p.session, f->ids, 80));
    assert_int_equal(tn_session_save(p.session, p.sampler, "/nowhere/at/all"), TN_E_MISSING);
    assert_ok(tn_session_save(p.session, p.sampler, f->path));
    stop(p);
    assert_refused(f, loaded, TN_KV_F16, 79, TN_E_RANGE, "has 80 tokens, the context holds 79");
    assert_refused(f, loaded, TN_KV_F32, CONTEXT, TN_E_MISMATCH, "kv_type is f16, expected f32");
    static const struct {
        const char *setting, *words;
    } others[] = {{"model.n_layer=3", "shape is 2 layers of 2 x 64 keys"},
                  {"model.n_kv_head=4", "expected 2 layers of 4 x 64 keys"},
                  {"model.norm_eps=1e-3", "is of another model, or of a CPU that rounds otherwise"},
                  {"model.init_std=0.2", "is of another model, or of a CPU that rounds otherwise"}};
    for (size_t i = 0; i < TN_COUNT(others); i++) {
        load(f->model, "other", TN_TOKENIZER_CHAR, (const char *const[]){"model.context=200", others[i].setting, NULL},
             &other);
        assert_refused(f, &other, TN_KV_F16, CONTEXT, TN_E_MISMATCH, others[i].words);
        tn_loaded_release(&other);
    }
    char vocab[64];
    snprintf(vocab, sizeof vocab, "model.vocab_size=%d", 400);
    load(f->model, "bytes", TN_TOKENIZER_BPE, (const char *const[]){"model.context=200", vocab, NULL}, &other);
    p = start(&other, TN_KV_F16, CONTEXT, 1);
    assert_ok(tn_session_feed(p.session, f->ids, 5));
    assert_ok(tn_session_save(p.session, p.sampler, f->path));
    stop(p);
    tn_loaded_release(&other);
    load(f->model, "chars", TN_TOKENIZER_CHAR, (const char *const[]){"model.context=200", vocab, NULL}, &other);
    assert_refused(f, &other, TN_KV_F16, CONTEXT, TN_E_MISMATCH, "is of another tokenizer");
    tn_loaded_release(&other);
}

static void session_file__that_is_none_is_refused(void **state) {
    fixture *f = *state;
    const tn_loaded *loaded = &f->model->loaded;
    tn_buf bytes = {0};
    pair p = start(loaded, TN_KV_F16, CONTEXT, 1);
    assert_int_equal(tn_session_save(p.session, p.sampler, f->path), TN_E_EMPTY);
    stop(p);
    assert_refused(f, loaded, TN_KV_F16, CONTEXT, TN_E_MISSING, "");
    assert_ok(tn_file_write(f->path, "words", 5));
    assert_refused(f, loaded, TN_KV_F16, CONTEXT, TN_E_FORMAT, "");
    assert_ok(tn_file_read(f->model->checkpoint, 1 << 26, &bytes));
    assert_ok(tn_file_write(f->path, bytes.data, bytes.len));
    assert_refused(f, loaded, TN_KV_F16, CONTEXT, TN_E_MISMATCH, "tern-session");
    tn_buf_release(&bytes);
}

static void must_fail(void *context, const char *path, size_t at) {
    fixture *f = context;
    pair p = start(&f->model->loaded, TN_KV_Q8_0, CONTEXT, 8);
    if (!tn_session_restore(p.session, p.sampler, path)) fail_msg("damage at byte %zu went unnoticed", at);
    assert_int_equal(tn_session_length(p.session), 0);
    stop(p);
}

static void session_file__damage_is_always_noticed(void **state) {
    fixture *f = *state;
    pair p = start(&f->model->loaded, TN_KV_Q8_0, CONTEXT, 1);
    assert_ok(tn_session_feed(p.session, f->ids, 3));
    assert_ok(tn_session_save(p.session, p.sampler, f->path));
    stop(p);
    tn_test_flip_each(f->path, 101, must_fail, f);
    tn_test_cut_each(f->path, 997, must_fail, f);
    p = start(&f->model->loaded, TN_KV_Q8_0, CONTEXT, 1);
    assert_ok(tn_session_restore(p.session, p.sampler, f->path));
    stop(p);
}

static void session_file__tells_when_memory_is_out(void **state) {
    fixture *f = *state;
    pair p = start(&f->model->loaded, TN_KV_F16, CONTEXT, 1);
    assert_ok(tn_session_feed(p.session, f->ids, 70));
    assert_ok(tn_session_save(p.session, p.sampler, f->path));
    assert_ok(tn_session_restore(p.session, p.sampler, f->path)); /* what a session keeps for its passes is there now */
    const int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_memory_fail_at(n);
        status = tn_session_restore(p.session, p.sampler, f->path);
        tn_memory_fail_at(0);
        assert_true(status == TN_OK || status == TN_E_NOMEM);
        assert_int_equal(tn_memory_alive(), alive);
    }
    status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_memory_fail_at(n);
        status = tn_session_save(p.session, p.sampler, f->path);
        tn_memory_fail_at(0);
        assert_true(status == TN_OK || status == TN_E_NOMEM || status == TN_E_IO);
        assert_int_equal(tn_memory_alive(), alive);
        assert_ok(tn_session_restore(p.session, p.sampler, f->path)); /* the old file is whole */
    }
    stop(p);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(session_file__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(goes_on_as_if_it_had_never_been_away),
        TEST(the_same_session_gives_the_same_bytes),
        TEST(of_another_model_is_refused),
        TEST(that_is_none_is_refused),
        TEST(damage_is_always_noticed),
        TEST(tells_when_memory_is_out),
    };
    return cmocka_run_group_tests_name("session_file", tests, NULL, NULL);
}
