/* SPDX-License-Identifier: MIT
 * Folders for transformers: what the trainer computed comes back, bit for bit, and nothing unproven gets the name. */
#include "models/hf_export.h"
#include "models/model_file.h"
#include "tests/hf_folder.h"
#include "tests/model_rig.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

static void make(tn_model_rig *f, const char *const *settings) {
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_BPE, settings);
}

static tn_status export_from(tn_model_rig *f, const char *source, tn_hf_type type, tn_table_type floats) {
    return tn_export_hf(source, f->out, (tn_hf_export_options){type, floats}, &f->report);
}

static tn_status export_as(tn_model_rig *f, tn_hf_type type) {
    return export_from(f, f->checkpoint, type, TN_TABLE_F32);
}

/* ---- what comes back ---- */

static const char *const shapes[][4] = {
    {"model.n_layer=2", NULL},
    {"model.n_layer=1", "model.tie_embeddings=false", "model.activation=silu", NULL},
    {"model.n_layer=1", "model.sub_norms=false", "model.head_dim=32", "model.rope_theta=1000042.5"},
};

static void make_shape(tn_model_rig *f, size_t i) {
    const char *settings[5] = {NULL};
    for (int k = 0; k < 4 && shapes[i][k]; k++) settings[k] = shapes[i][k];
    make(f, settings);
}

static void export__gives_the_trainers_bits(void **state) {
    tn_model_rig *f = *state;
    for (size_t i = 0; i < TN_COUNT(shapes); i++) {
        make_shape(f, i);
        for (int type = 0; type < TN_HF_TYPE_COUNT; type++) {
            assert_ok(export_as(f, (tn_hf_type)type));
            assert_true(f->report.difference == 0 && f->report.texts > 200 && f->report.logits > 1000);
            tn_model_rig_assert_exact(f, TN_MODEL_RUN);
            if (type == TN_HF_TYPE_LATENTS) tn_model_rig_assert_exact(f, TN_MODEL_EVAL);
        }
    }
    assert_int_equal(tn_test_dir_count(f->dir), 2);
    assert_int_equal(tn_test_dir_count(f->out), 5);
}

static void export__keeps_latents_states_and_settings(void **state) {
    tn_model_rig *f = *state;
    const char *const settings[] = {"model.rope_scaling=llama3", "model.rope_factor=8", "model.norm_eps=1e-6",
                                    "model.sub_norms=false", NULL};
    for (int type = 0; type < TN_HF_TYPE_COUNT; type++) {
        const tn_model_use use = type == TN_HF_TYPE_LATENTS ? TN_MODEL_EVAL : TN_MODEL_EXPORT;
        tn_loaded a, b;
        int n;
        make(f, settings);
        assert_ok(export_as(f, (tn_hf_type)type));
        assert_ok(tn_model_file_load(f->checkpoint, f->arena, use, &a));
        assert_ok(tn_model_file_load(f->out, f->arena, use, &b));
        a.config.init_std = b.config.init_std; /* of no meaning once there are weights */
#define KEY(type, field, ...) assert_memory_equal(&a.config.field, &b.config.field, sizeof a.config.field);
#include "layers/model_keys.def"
#undef KEY
        tn_param **params = tn_model_params(a.model, &n);
        for (int i = 0; i < n; i++) {
            const tn_param *p = params[i], *q = tn_model_find(b.model, p->name);
            const size_t count = (size_t)tn_param_count(p);
            if (p->tensor.real && q->tensor.real)
                assert_memory_equal(p->tensor.real, q->tensor.real, count * sizeof(tn_real));
            if (p->states) assert_memory_equal(p->states, q->states, count);
            assert_true(p->scale == q->scale);
        }
        tn_loaded_release(&a);
        tn_loaded_release(&b);
    }
}

static void export__float_twins_have_no_quantization(void **state) {
    tn_model_rig *f = *state;
    make(f, (const char *const[]){"model.quantization=none", NULL});
    assert_ok(export_as(f, TN_HF_TYPE_LATENTS));
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
    assert_int_equal(export_as(f, TN_HF_TYPE_PACKED), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "a float twin (model.quantization none) has no ternary weights"));
}

static void export__signs_are_states_too(void **state) {
    tn_model_rig *f = *state;
    make(f, (const char *const[]){"model.weight_quantizer=sign_binary", NULL});
    assert_ok(export_as(f, TN_HF_TYPE_PACKED));
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
    assert_int_equal(export_as(f, TN_HF_TYPE_LATENTS), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "not by their sign"));
    tn_model_rig_assert_exact(f, TN_MODEL_RUN); /* the older one is still there */
}

static void export__bf16_is_proven_after_its_own_rounding(void **state) {
    tn_model_rig *f = *state;
    make(f, NULL);
    for (int type = 0; type < TN_HF_TYPE_COUNT; type++) {
        assert_ok(export_as(f, (tn_hf_type)type));
        const int64_t bytes = f->report.bytes;
        assert_ok(export_from(f, f->checkpoint, (tn_hf_type)type, TN_TABLE_BF16));
        assert_true(f->report.bytes < bytes && f->report.difference > 0);
        tn_loaded loaded;
        assert_ok(tn_model_file_load(f->out, f->arena, TN_MODEL_RUN, &loaded));
        assert_int_equal(tn_model_find(loaded.model, "token_embd.weight")->table.type, TN_TABLE_BF16);
        tn_loaded_release(&loaded);
    }
}

static void export__a_gguf_file_has_states_to_pack(void **state) {
    tn_model_rig *f = *state;
    char gguf[TN_TEST_PATH + 16];
    tn_export_report report;
    snprintf(gguf, sizeof gguf, "%s/a.gguf", f->dir);
    make(f, NULL);
    assert_ok(tn_export(f->checkpoint, gguf, (tn_export_options){.type = TN_EXPORT_I2_S}, &report));
    assert_ok(export_from(f, gguf, TN_HF_TYPE_PACKED, TN_TABLE_F32));
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
    assert_int_equal(export_from(f, gguf, TN_HF_TYPE_LATENTS, TN_TABLE_F32), TN_E_UNSUPPORTED);
    assert_ok(
        tn_export(f->checkpoint, gguf, (tn_export_options){.type = TN_EXPORT_TQ2_0, .table = TN_TABLE_Q6_K}, &report));
    assert_ok(export_from(f, gguf, TN_HF_TYPE_PACKED, TN_TABLE_F32)); /* every block has its numbers in F32 */
    assert_true(f->report.difference == 0);
    /* And back. */
    assert_ok(tn_export(f->out, gguf, (tn_export_options){.type = TN_EXPORT_I2_S}, &report));
    assert_true(report.difference == 0);
}

/* ---- what does not ---- */

static void export__what_no_class_computes_is_refused(void **state) {
    tn_model_rig *f = *state;
    static const struct {
        const char *setting;
        tn_hf_type type;
        tn_status status;
        const char *words;
    } rows[] = {
        {"model.qk_norm=true", TN_HF_TYPE_LATENTS, TN_E_UNSUPPORTED, "has no name in Hugging Face's models"},
        {"model.head_dim=32", TN_HF_TYPE_PACKED, TN_E_UNSUPPORTED, "as BitNetForCausalLM has it"},
        {"model.d_ff=510", TN_HF_TYPE_PACKED, TN_E_SHAPE, "has 510 rows, which are packed by four"},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        make(f, (const char *const[]){rows[i].setting, NULL});
        assert_int_equal(export_as(f, rows[i].type), rows[i].status);
        if (!strstr(tn_error_message(), rows[i].words)) fail_msg("message: %s", tn_error_message());
        assert_int_equal(tn_test_dir_count(f->dir), 1);
    }
    make(f, (const char *const[]){"model.d_ff=510", NULL});
    assert_ok(export_as(f, TN_HF_TYPE_LATENTS));
}

static void export__a_folder_with_other_files_is_left_alone(void **state) {
    tn_model_rig *f = *state;
    make(f, NULL);
    assert_ok(export_as(f, TN_HF_TYPE_PACKED));
    tn_test_hf_file(f->out, "notes.txt", "mine");
    assert_int_equal(export_as(f, TN_HF_TYPE_LATENTS), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "holds notes.txt"));
    assert_int_equal(tn_test_dir_count(f->out), 6);
    assert_int_equal(tn_test_dir_count(f->dir), 2);
}

static void export__lack_of_memory_leaves_nothing(void **state) {
    tn_model_rig *f = *state;
    bool done = false;
    make(f, (const char *const[]){"model.n_layer=1", NULL});
    for (uint64_t n = 1; n < 20000 && !done; n += 1 + n / 8) {
        const int64_t alive = tn_memory_alive();
        tn_memory_fail_at(n);
        const tn_status status = export_as(f, TN_HF_TYPE_PACKED);
        tn_memory_fail_at(0);
        assert_int_equal(tn_memory_alive(), alive);
        assert_int_equal(tn_test_dir_count(f->dir), status ? 1 : 2);
        if (status && status != TN_E_NOMEM) fail_msg("%s: %s", tn_status_name(status), tn_error_message());
        done = !status;
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_model_rig_set_up, tn_model_rig_tear_down)
        TEST(export__gives_the_trainers_bits),
        TEST(export__keeps_latents_states_and_settings),
        TEST(export__float_twins_have_no_quantization),
        TEST(export__signs_are_states_too),
        TEST(export__bf16_is_proven_after_its_own_rounding),
        TEST(export__a_gguf_file_has_states_to_pack),
        TEST(export__what_no_class_computes_is_refused),
        TEST(export__a_folder_with_other_files_is_left_alone),
        TEST(export__lack_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("hf_export", tests, NULL, NULL);
}
