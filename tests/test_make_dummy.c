/* SPDX-License-Identifier: MIT */
#include "models/make_dummy.h"
#include "core/fs.h"
#include "infer/session.h"
#include "train/run_config.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

static tn_model_config small_config(int d_model, int vocab) {
    tn_run_config run;
    tn_arena *arena = tn_arena_create("test");
    assert_ok(tn_run_config_init(&run, arena));
    tn_model_config config = run.model;
    tn_arena_free(arena);
    config.d_model = d_model;
    config.n_head = 4;
    config.n_kv_head = 2;
    config.n_layer = 2;
    config.d_ff = 512;
    config.vocab_size = vocab;
    config.context = 64;
    assert_ok(tn_model_config_complete(&config));
    return config;
}

static void dummy__is_a_model_that_runs(void **state) {
    const tn_test_files *f = *state;
    const tn_model_config config = small_config(256, 1000);
    static const tn_table_type tables[] = {TN_TABLE_Q6_K, TN_TABLE_F16, TN_TABLE_Q8_0, TN_TABLE_F32};
    for (int type = 0; type < TN_EXPORT_TYPE_COUNT; type++) {
        const tn_dummy_options options = {.type = (tn_export_type)type, .table = tables[type % 4], .seed = 3};
        int64_t bytes;
        struct stat info;
        tn_loaded loaded = {0};
        tn_session *session;
        tn_ids ids = {0};
        assert_ok(tn_dummy_bytes(&config, options, &bytes));
        assert_ok(tn_make_dummy(&config, options, f->path));
        assert_int_equal(stat(f->path, &info), 0);
        assert_int_equal(info.st_size, bytes);
        tn_arena *arena = tn_arena_create("test");
        assert_ok(tn_model_file_load(f->path, arena, TN_MODEL_RUN, &loaded));
        assert_ok(tn_session_create(&session, &loaded, (tn_session_options){0}));
        assert_ok(tn_prompt_encode(loaded.tokenizer, "the cat<|eot_id|>", 17, &ids));
        assert_true(ids.count < 8 && ids.list[0] == 997 && ids.list[ids.count - 1] == 999);
        assert_ok(tn_session_feed(session, ids.list, (int)ids.count));
        const tn_real *logits = tn_session_logits(session);
        double sum = 0, squares = 0;
        for (int i = 0; i < 1000; i++) {
            assert_true(isfinite(logits[i]));
            sum += (double)logits[i];
            squares += (double)logits[i] * (double)logits[i];
        }
        const double deviation = sqrt(squares / 1000 - sum * sum / 1e6);
        if (!(deviation > 1 && deviation < 4)) fail_msg("logits differ by %g", deviation);
        tn_ids_release(&ids);
        tn_session_free(session);
        tn_loaded_release(&loaded);
        tn_arena_free(arena);
    }
}

static void dummy__may_have_llamas_shape(void **state) {
    const tn_test_files *f = *state;
    tn_model_config config = small_config(256, 300);
    const tn_dummy_options options = {.type = TN_EXPORT_TQ1_0, .table = TN_TABLE_BF16};
    tn_loaded loaded;
    config.sub_norms = config.tie_embeddings = false;
    config.activation = TN_ACTIVATION_SILU;
    config.rope_scaling = TN_ROPE_LLAMA3;
    config.rope_factor = 4;
    config.rope_original_context = 16;
    assert_ok(tn_make_dummy(&config, options, f->path));
    tn_arena *arena = tn_arena_create("test");
    assert_ok(tn_model_file_load(f->path, arena, TN_MODEL_RUN, &loaded));
    const tn_model_config *found = tn_model_get_config(loaded.model);
    assert_false(found->sub_norms || found->tie_embeddings);
    assert_int_equal(found->rope_scaling, TN_ROPE_LLAMA3);
    for (int i = 0; i < config.head_dim / 2; i++)
        assert_true(tn_model_slowdown(loaded.model)[i] == tn_model_config_slowdown(&config, i));
    assert_non_null(strstr(loaded.description, "llama, TQ1_0, embedding BF16"));
    tn_loaded_release(&loaded);
    tn_arena_free(arena);
}

static void dummy__is_a_function_of_its_seed(void **state) {
    const tn_test_files *f = *state;
    const tn_model_config config = small_config(256, 300);
    tn_buf files[3] = {0};
    for (int i = 0; i < 3; i++) {
        const tn_dummy_options options = {.type = TN_EXPORT_I2_S, .table = TN_TABLE_Q6_K, .seed = (uint64_t)(i == 2)};
        assert_ok(tn_make_dummy(&config, options, f->path));
        assert_ok(tn_file_read(f->path, 1 << 26, &files[i]));
    }
    assert_int_equal(files[0].len, files[1].len);
    assert_memory_equal(files[0].data, files[1].data, files[0].len);
    assert_int_equal(files[0].len, files[2].len);
    assert_true(memcmp(files[0].data, files[2].data, files[0].len) != 0);
    for (int i = 0; i < 3; i++) tn_buf_release(&files[i]);
}

static void dummy__of_a_shape_that_cannot_be_is_refused(void **state) {
    const tn_test_files *f = *state;
    tn_model_config config = small_config(256, 200);
    const tn_dummy_options options = {.type = TN_EXPORT_I2_S, .table = TN_TABLE_Q6_K};
    assert_int_equal(tn_make_dummy(&config, options, f->path), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "at least 259"));
    config = small_config(192, 300);
    assert_int_equal(tn_make_dummy(&config, options, f->path), TN_E_SHAPE);
    assert_non_null(strstr(tn_error_message(), "multiple of"));
    config = small_config(256, 300);
    config.quantization = TN_QUANTIZATION_NONE;
    assert_int_equal(tn_make_dummy(&config, options, f->path), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "model.quantization"));
    assert_false(tn_path_exists(f->path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(dummy__is_a_model_that_runs),
        TEST(dummy__may_have_llamas_shape),
        TEST(dummy__is_a_function_of_its_seed),
        TEST(dummy__of_a_shape_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
