/* SPDX-License-Identifier: MIT
 * What a run folder or checkpoint must be to give a model: a good one is copied with one change. */
#include "core/arena.h"
#include "core/fs.h"
#include "formats/checkpoint_file.h"
#include "models/model_file.h"
#include "tests/model_rig.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

static int set_up(void **state) {
    tn_model_rig_set_up(state);
    tn_test_tiny_checkpoint(((tn_model_rig *)*state)->checkpoint, TN_TOKENIZER_CHAR,
                            (const char *const[]){"model.n_layer=1", NULL});
    return 0;
}

static tn_status load(tn_model_rig *f, const char *path, tn_loaded *out) {
    return tn_model_file_load(path, f->arena, TN_MODEL_RUN, out);
}

static void folder__best_comes_before_latest(void **state) {
    tn_model_rig *f = *state;
    tn_loaded loaded;
    char folder[TN_TEST_PATH + 32], path[TN_TEST_PATH + 64];
    assert_int_equal(load(f, f->dir, &loaded), TN_E_MISSING);
    snprintf(folder, sizeof folder, "%s/checkpoints", f->dir);
    assert_ok(tn_dir_make(folder));
    snprintf(path, sizeof path, "%s/step-1.h5", folder);
    tn_test_tiny_checkpoint(path, TN_TOKENIZER_CHAR, (const char *const[]){"model.n_layer=1", NULL});
    snprintf(path, sizeof path, "%s/latest", folder);
    assert_ok(tn_file_write(path, "step-1.h5\n", 10));
    assert_ok(load(f, f->dir, &loaded));
    assert_non_null(strstr(loaded.description, "the latest of run"));
    tn_loaded_release(&loaded);
    snprintf(path, sizeof path, "%s/best", folder);
    assert_ok(tn_file_write(path, "step-1.h5\n", 10));
    assert_ok(load(f, f->dir, &loaded));
    assert_non_null(strstr(loaded.description, "the best of run"));
    tn_loaded_release(&loaded);
    assert_ok(tn_file_write(path, "../../etc/passwd\n", 17));
    assert_int_equal(load(f, f->dir, &loaded), TN_E_CORRUPT);
    assert_ok(tn_file_write(path, "step-2.h5\n", 10));
    assert_int_equal(load(f, f->dir, &loaded), TN_E_MISSING);
}

/* A checkpoint whose configuration, or one parameter, is not that of the model. */
static void put_changed(tn_model_rig *f, const char *config, const char *extra) {
    tn_ckpt *in, *out;
    tn_buf text = {0};
    const float values[4] = {0};
    assert_ok(tn_ckpt_open(&in, f->checkpoint));
    assert_ok(tn_ckpt_create(&out, f->out));
    assert_ok(tn_ckpt_put_int(out, "step", 1));
    assert_ok(tn_ckpt_put_text(out, TN_CKPT_CONFIG, config, strlen(config)));
    assert_ok(tn_ckpt_get_text(in, TN_CKPT_TOKENIZER, &text));
    assert_ok(tn_ckpt_put_text(out, TN_CKPT_TOKENIZER, text.data, text.len));
    assert_ok(tn_ckpt_put_param(out, extra, 1, 4, values));
    assert_ok(tn_ckpt_commit(out));
    tn_buf_release(&text);
    tn_ckpt_close(in);
}

static void checkpoint__must_hold_what_it_describes(void **state) {
    tn_model_rig *f = *state;
    tn_loaded loaded;
    put_changed(f, "model: {d_model: 8, n_layer: 1, n_head: 1, d_ff: 8}\ntrain: {steps: 3}\n", "output_norm.weight");
    assert_int_equal(load(f, f->out, &loaded), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "its configuration describes"));
    put_changed(f, "model: {d_model: -8}\n", "output_norm.weight");
    assert_int_equal(load(f, f->out, &loaded), TN_E_RANGE);
    put_changed(f, "model: {d_model: 64, d_ff: 8, n_head: 65536}\n", "x");
    assert_int_not_equal(load(f, f->out, &loaded), TN_OK);
}

static void checkpoint__a_shape_that_cannot_be_is_said_with_the_file(void **state) {
    tn_model_rig *f = *state;
    tn_loaded loaded;
    static const char *const cases[][2] = {
        {"model: {n_head: 3, n_kv_head: 2}\n", "/out: model.n_kv_head 2 does not divide model.n_head 3"},
        {"model: {head_dim: 255}\n", "/out: model.head_dim is 255;"},
        {"model: {d_model: 255, n_head: 1}\n", "/out: model.d_model / model.n_head is 255;"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        put_changed(f, cases[i][0], "output_norm.weight");
        assert_int_equal(load(f, f->out, &loaded), TN_E_CONFIG);
        if (!strstr(tn_error_message(), cases[i][1])) fail_msg("%s", tn_error_message());
    }
}

typedef struct shrinking {
    tn_ckpt *in, *out;
    tn_arena *arena;
    const char *name;
    float factor;
} shrinking;

static tn_status put_shrunk(void *context, const char *name, int64_t rows, int64_t cols) {
    const shrinking *s = context;
    float *values = tn_arena_array(s->arena, (size_t)(rows * cols), sizeof *values, "test");
    TN_TRY(tn_ckpt_get_param(s->in, name, rows, cols, values));
    for (int64_t i = 0; strcmp(s->name, name) == 0 && i < rows * cols; i++) values[i] *= s->factor;
    return tn_ckpt_put_param(s->out, name, rows, cols, values);
}

/* The good checkpoint with one parameter multiplied. */
static void shrink(tn_model_rig *f, const char *name, float factor) {
    shrinking s = {.arena = f->arena, .name = name, .factor = factor};
    static const tn_ckpt_text texts[] = {TN_CKPT_CONFIG, TN_CKPT_TOKENIZER};
    tn_buf text = {0};
    assert_ok(tn_ckpt_open(&s.in, f->checkpoint));
    assert_ok(tn_ckpt_create(&s.out, f->out));
    assert_ok(tn_ckpt_put_int(s.out, "step", 1));
    for (size_t i = 0; i < TN_COUNT(texts); i++) {
        tn_buf_reset(&text);
        assert_ok(tn_ckpt_get_text(s.in, texts[i], &text));
        assert_ok(tn_ckpt_put_text(s.out, texts[i], text.data, text.len));
    }
    assert_ok(tn_ckpt_each_param(s.in, put_shrunk, &s));
    assert_ok(tn_ckpt_commit(s.out));
    tn_buf_release(&text);
    tn_ckpt_close(s.in);
}

static void checkpoint__with_a_ternary_matrix_of_zeros_trains_but_does_not_run(void **state) {
    tn_model_rig *f = *state;
    static const float factors[] = {0, 1e-7f};
    tn_loaded loaded;
    for (size_t i = 0; i < TN_COUNT(factors); i++) {
        shrink(f, "blk.0.attn_k.weight", factors[i]);
        assert_int_equal(load(f, f->out, &loaded), TN_E_CORRUPT);
        assert_non_null(strstr(tn_error_message(), "the weights of blk.0.attn_k.weight are zero or nearly so"));
        assert_ok(tn_model_file_load(f->out, f->arena, TN_MODEL_TRAIN, &loaded));
        tn_loaded_release(&loaded);
    }
    shrink(f, "blk.0.attn_k.weight", 0.5f);
    assert_ok(load(f, f->out, &loaded));
    tn_loaded_release(&loaded);
    shrink(f, "blk.0.attn_norm.weight", 0); /* a float one */
    assert_ok(load(f, f->out, &loaded));
    tn_loaded_release(&loaded);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tn_model_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(folder__best_comes_before_latest),
        TEST(checkpoint__must_hold_what_it_describes),
        TEST(checkpoint__a_shape_that_cannot_be_is_said_with_the_file),
        TEST(checkpoint__with_a_ternary_matrix_of_zeros_trains_but_does_not_run),
    };
    return cmocka_run_group_tests_name("model_folder", tests, NULL, NULL);
}
