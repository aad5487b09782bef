/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "models/export.h"
#include "models/gguf_weights.h"
#include "models/proof.h"
#include "tests/damage.h"
#include "tests/model_rig.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

static void make(tn_model_rig *f, tn_tokenizer_kind kind, const char *setting) {
    tn_test_tiny_checkpoint(f->checkpoint, kind, (const char *const[]){setting, NULL});
}

static tn_status export_as(tn_model_rig *f, tn_export_type type, tn_export_report *report) {
    return tn_export(f->checkpoint, f->out, (tn_export_options){.type = type}, report);
}

static void export__every_exact_type_gives_the_trainers_bits(void **state) {
    tn_model_rig *f = *state;
    static const tn_export_type types[] = {TN_EXPORT_I2_S, TN_EXPORT_TQ2_0, TN_EXPORT_TQ1_0, TN_EXPORT_F32};
    static const char *const settings[] = {"model.activation=relu2", "model.activation=silu",
                                           "model.weight_quantizer=sign_binary"};
    for (size_t s = 0; s < TN_COUNT(settings); s++) {
        make(f, s ? TN_TOKENIZER_BPE : TN_TOKENIZER_CHAR, settings[s]);
        for (size_t i = 0; i < TN_COUNT(types); i++) {
            tn_export_report report;
            assert_ok(export_as(f, types[i], &report));
            assert_true(report.difference == 0);
            assert_true(report.texts > 200 && report.ids > report.texts && report.logits > 1000);
            tn_model_rig_assert_exact(f, TN_MODEL_RUN);
        }
    }
    assert_int_equal(tn_test_dir_count(f->dir), 2);
}

static void export__f16_is_proven_after_its_own_rounding(void **state) {
    tn_model_rig *f = *state;
    /* Logits are near 1. A rounding of 2^-12 flips a few int8 codes, and each flip is a step of 1/127: 0.05 and 0.07
     * were measured. */
    const double limit = 0.15;
    tn_export_report report;
    make(f, TN_TOKENIZER_CHAR, "model.init_std=0.05");
    assert_ok(export_as(f, TN_EXPORT_F16, &report));
    assert_true(report.difference > 0 && report.difference < limit);
    int64_t bytes = report.bytes;
    assert_ok(
        tn_export(f->checkpoint, f->out, (tn_export_options){.type = TN_EXPORT_F16, .table = TN_TABLE_F16}, &report));
    assert_true(report.bytes < bytes);
    assert_true(report.difference > 0);
    assert_ok(
        tn_export(f->checkpoint, f->out, (tn_export_options){.type = TN_EXPORT_I2_S, .table = TN_TABLE_F16}, &report));
    assert_true(report.difference > 0 && report.difference < limit);
}

/* The distance grows as the bits get fewer; a table read from a file runs, and is written again, as it is. */
static void export__tables_of_every_type_stay_what_they_are(void **state) {
    tn_model_rig *f = *state;
    static const double limits[TN_TABLE_TYPES] = {0, 0.15, 0.6, 0.6, 1.2};
    char again[TN_TEST_PATH + 16];
    snprintf(again, sizeof again, "%s/again.gguf", f->dir);
    make(f, TN_TOKENIZER_CHAR, "model.init_std=0.05");
    for (int type = 0; type < TN_TABLE_TYPES; type++) {
        tn_export_report report;
        tn_loaded loaded;
        tn_export_options options = {.type = TN_EXPORT_I2_S, .table = (tn_table_type)type};
        assert_ok(tn_export(f->checkpoint, f->out, options, &report));
        if (!(report.difference <= limits[type])) fail_msg("type %d moves logits by %g", type, report.difference);
        assert_ok(tn_export(f->out, again, options, &report));
        assert_true(report.difference == 0);
        assert_ok(tn_model_file_load(again, f->arena, TN_MODEL_RUN, &loaded));
        const tn_param *table = tn_model_find(loaded.model, "token_embd.weight");
        assert_null(table->tensor.real);
        assert_int_equal(table->table.type, type);
        assert_ptr_equal(table->table.data, tn_gguf_find(loaded.file, "token_embd.weight")->data);
        tn_loaded_release(&loaded);
    }
}

static void export__a_table_names_the_number_it_cannot_hold(void **state) {
    tn_model_rig *f = *state;
    tn_param p = {.name = "token_embd.weight", .rows = 3, .cols = 256, .tabular = true};
    assert_ok(tn_param_init(&p, f->arena, TN_PARAM_FIXED));
    p.tensor.real[2 * 256 + 9] = (tn_real)1e9;
    for (int type = 0; type < TN_TABLE_TYPES; type++) {
        const bool holds = type == TN_TABLE_F32 || type == TN_TABLE_BF16;
        tn_param copy = p;
        const tn_gguf_types types = {.matrix = TN_GGML_I2_S, .table = (tn_table_type)type};
        assert_int_equal(tn_gguf_round_param(&copy, types, f->arena), holds ? TN_OK : TN_E_RANGE);
        if (!holds) assert_non_null(strstr(tn_error_message(), "row 2 of token_embd.weight: element 9 is 1e+09"));
    }
}

static void export__a_gguf_file_can_be_exported_again(void **state) {
    tn_model_rig *f = *state;
    tn_export_report report;
    char again[TN_TEST_PATH + 16];
    snprintf(again, sizeof again, "%s/again.gguf", f->dir);
    make(f, TN_TOKENIZER_CHAR, NULL);
    assert_ok(export_as(f, TN_EXPORT_I2_S, &report));
    assert_ok(tn_export(f->out, again, (tn_export_options){.type = TN_EXPORT_TQ1_0}, &report));
    assert_ok(tn_export(again, f->out, (tn_export_options){.type = TN_EXPORT_F32}, &report));
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
}

static void export__keeps_untied_heads_qk_norms_wide_heads_and_padding(void **state) {
    tn_model_rig *f = *state;
    static const char *const settings[] = {"model.tie_embeddings=false", "model.qk_norm=true", "model.head_dim=128",
                                           "model.rope_theta=500000", "model.vocab_size=512"};
    for (size_t i = 0; i < TN_COUNT(settings); i++) {
        tn_export_report report;
        make(f, TN_TOKENIZER_BPE, settings[i]);
        assert_ok(export_as(f, TN_EXPORT_I2_S, &report));
        tn_model_rig_assert_exact(f, TN_MODEL_RUN);
    }
}

static void export__float_twins_go_out_as_floats_only(void **state) {
    tn_model_rig *f = *state;
    tn_export_report report;
    make(f, TN_TOKENIZER_CHAR, "model.quantization=none");
    assert_int_equal(export_as(f, TN_EXPORT_I2_S, &report), TN_E_UNSUPPORTED);
    assert_int_equal(tn_test_dir_count(f->dir), 1);
    assert_ok(export_as(f, TN_EXPORT_F16, &report));
    assert_true(report.difference > 0);
    assert_ok(export_as(f, TN_EXPORT_F32, &report));
    assert_true(report.difference == 0);
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
}

static void export__names_the_matrix_whose_rows_do_not_fit(void **state) {
    tn_model_rig *f = *state;
    tn_export_report report;
    make(f, TN_TOKENIZER_CHAR, "model.d_ff=320");
    assert_int_equal(export_as(f, TN_EXPORT_I2_S, &report), TN_E_SHAPE);
    assert_non_null(strstr(tn_error_message(), "blk.0.ffn_down.weight has rows of 320 weights"));
    make(f, TN_TOKENIZER_CHAR, "model.d_ff=384");
    assert_ok(export_as(f, TN_EXPORT_I2_S, &report));
    assert_int_equal(export_as(f, TN_EXPORT_TQ2_0, &report), TN_E_SHAPE);
    assert_non_null(strstr(tn_error_message(), "a multiple of 256"));
}

static void export__a_failure_leaves_the_old_file_and_nothing_else(void **state) {
    tn_model_rig *f = *state;
    tn_export_report report;
    tn_buf text = {0};
    make(f, TN_TOKENIZER_CHAR, "model.rope_theta=12345.678"); /* no f32 number: another model would come out */
    assert_ok(tn_file_write(f->out, "old", 3));
    assert_int_equal(export_as(f, TN_EXPORT_I2_S, &report), TN_E_UNSUPPORTED);
    assert_ok(tn_file_read(f->out, 100, &text));
    assert_string_equal(tn_buf_text(&text), "old");
    tn_buf_release(&text);
    assert_int_equal(tn_test_dir_count(f->dir), 2);
    snprintf(f->out, sizeof f->out, "%s/no/out", f->dir);
    make(f, TN_TOKENIZER_CHAR, NULL);
    assert_int_equal(export_as(f, TN_EXPORT_I2_S, &report), TN_E_MISSING);
    snprintf(f->out, sizeof f->out, "%s", f->dir);
    assert_int_equal(export_as(f, TN_EXPORT_I2_S, &report), TN_E_IO);
    snprintf(f->out, sizeof f->out, "%s/out", f->dir);
    assert_int_equal(tn_export(f->dir, f->out, (tn_export_options){0}, &report), TN_E_MISSING);
    assert_int_equal(tn_export(f->out, f->checkpoint, (tn_export_options){0}, &report), TN_E_FORMAT);
    assert_int_equal(tn_test_dir_count(f->dir), 2);
}

static void export__survives_lack_of_memory_anywhere(void **state) {
    tn_model_rig *f = *state;
    tn_export_report report;
    make(f, TN_TOKENIZER_CHAR, "model.n_layer=1");
    assert_ok(export_as(f, TN_EXPORT_I2_S, &report)); /* what is made once and kept is made now */
    assert_ok(tn_file_remove(f->out));
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n += 1 + n / 8) {
        tn_memory_fail_at(n);
        status = export_as(f, TN_EXPORT_I2_S, &report);
        tn_memory_fail_at(0);
        if (status && status != TN_E_NOMEM) fail_msg("allocation %d: %s", (int)n, tn_error_message());
        assert_int_equal(tn_memory_alive(), alive);
        assert_int_equal(tn_test_dir_count(f->dir), status ? 1 : 2);
    }
}

/* ---- proofs ---- */

static void proof__one_bit_of_one_scale_is_seen(void **state) {
    tn_model_rig *f = *state;
    tn_loaded loaded;
    tn_probe a, b;
    make(f, TN_TOKENIZER_CHAR, NULL);
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_RUN, &loaded));
    assert_ok(tn_probe_ask(&loaded, f->arena, &a));
    assert_ok(tn_probe_ask(&loaded, f->arena, &b));
    assert_ok(tn_probe_compare(&a, &b));
    tn_param *w = tn_model_find(loaded.model, "blk.1.ffn_down.weight");
    w->scale *= (tn_real)(1 + 0x1p-23);
    assert_ok(tn_probe_ask(&loaded, f->arena, &b));
    assert_int_equal(tn_probe_compare(&a, &b), TN_E_MISMATCH);
    assert_true(tn_probe_distance(&a, &b) > 0);
    w->scale = 0 / (w->scale - w->scale);
    assert_int_equal(tn_probe_ask(&loaded, f->arena, &b), TN_E_NAN);
    tn_loaded_release(&loaded);
}

static tn_status compare_with(const tn_tokenizer *source, tn_vocabulary changed) {
    tn_tokenizer *copy;
    int texts, ids;
    assert_ok(tn_tokenizer_from_vocabulary(&copy, &changed));
    tn_status status = tn_tokenizer_compare(source, copy, &texts, &ids);
    tn_tokenizer_free(copy);
    return status;
}

static void proof__another_tokenizer_is_seen(void **state) {
    tn_model_rig *f = *state;
    tn_loaded loaded;
    make(f, TN_TOKENIZER_BPE, NULL);
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_RUN, &loaded));
    tn_vocabulary v = *tn_tokenizer_vocabulary(loaded.tokenizer);
    assert_ok(compare_with(loaded.tokenizer, v));
    v.n_merges -= 1; /* the last merge lost */
    assert_int_equal(compare_with(loaded.tokenizer, v), TN_E_MISMATCH);
    v.n_merges += 1;
    v.split = TN_SPLIT_LLAMA3;
    assert_int_equal(compare_with(loaded.tokenizer, v), TN_E_MISMATCH);
    v.split = TN_SPLIT_GPT2;
    v.chat_template = "{{ messages }}";
    assert_int_equal(compare_with(loaded.tokenizer, v), TN_E_MISMATCH);
    v.chat_template = "";
    v.add_bos = !v.add_bos;
    assert_int_equal(compare_with(loaded.tokenizer, v), TN_E_MISMATCH);
    tn_loaded_release(&loaded);
}

static void load_hurt(void *context, const char *path, size_t at) {
    tn_arena *arena = context;
    tn_loaded loaded;
    tn_arena_mark mark = tn_arena_get_mark(arena);
    tn_status status = tn_model_file_load(path, arena, TN_MODEL_RUN, &loaded);
    if (!status) fail_msg("damage at byte %zu was not seen", at);
    tn_arena_rewind(arena, &mark);
}

static void proof__damage_anywhere_in_an_exported_file_is_seen(void **state) {
    tn_model_rig *f = *state;
    tn_export_report report;
    make(f, TN_TOKENIZER_CHAR, "model.n_layer=1");
    assert_ok(export_as(f, TN_EXPORT_I2_S, &report));
    tn_test_flip_each(f->out, 1493, load_hurt, f->arena);
    tn_test_cut_each(f->out, 14939, load_hurt, f->arena);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_model_rig_set_up, tn_model_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(export__every_exact_type_gives_the_trainers_bits),
        TEST(export__f16_is_proven_after_its_own_rounding),
        TEST(export__tables_of_every_type_stay_what_they_are),
        TEST(export__a_table_names_the_number_it_cannot_hold),
        TEST(export__a_gguf_file_can_be_exported_again),
        TEST(export__keeps_untied_heads_qk_norms_wide_heads_and_padding),
        TEST(export__float_twins_go_out_as_floats_only),
        TEST(export__names_the_matrix_whose_rows_do_not_fit),
        TEST(export__a_failure_leaves_the_old_file_and_nothing_else),
        TEST(export__survives_lack_of_memory_anywhere),
        TEST(proof__one_bit_of_one_scale_is_seen),
        TEST(proof__another_tokenizer_is_seen),
        TEST(proof__damage_anywhere_in_an_exported_file_is_seen),
    };
    return cmocka_run_group_tests_name("export", tests, NULL, NULL);
}
