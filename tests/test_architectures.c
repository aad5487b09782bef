/* SPDX-License-Identifier: MIT
 * Models of Llama's shape - no sub-norms, SiLU, rows of q and k in pairs - and the scalings of rope, through GGUF files
 * and back. */
#include "autograd/tape.h"
#include "core/fs.h"
#include "formats/ternary_block.h"
#include "models/export.h"
#include "tests/model_rig.h"
#include "tests/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* `settings` on top of a model of Llama's shape. */
static void make(tn_model_rig *f, const char *const *settings) {
    const char *all[12] = {"model.sub_norms=false", "model.activation=silu", "model.context=64"};
    int n = 3;
    for (int i = 0; settings && settings[i]; i++) all[n++] = settings[i];
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_BPE, all);
}

static void export_as(tn_model_rig *f, tn_export_type type) {
    assert_ok(tn_export(f->checkpoint, f->out, (tn_export_options){.type = type}, &f->report));
}

static tn_gguf *open_out(const tn_model_rig *f, const char *architecture) {
    tn_gguf *file;
    tn_gguf_text text;
    assert_ok(tn_gguf_open(&file, f->out));
    assert_ok(tn_gguf_get_text(file, "general.architecture", &text));
    assert_int_equal(text.len, strlen(architecture));
    assert_memory_equal(text.data, architecture, text.len);
    return file;
}

/* ---- llama ---- */

static void llama__files_give_the_trainers_bits(void **state) {
    tn_model_rig *f = *state;
    static const char *const settings[][2] = {
        {"model.tie_embeddings=true"}, {"model.tie_embeddings=false"}, {"model.head_dim=128"}, {"model.n_kv_head=1"}};
    static const tn_export_type types[] = {TN_EXPORT_I2_S, TN_EXPORT_F32};
    for (size_t s = 0; s < TN_COUNT(settings); s++) {
        make(f, settings[s]);
        for (size_t i = 0; i < TN_COUNT(types); i++) {
            export_as(f, types[i]);
            assert_true(f->report.difference == 0);
            tn_model_rig_assert_exact(f, TN_MODEL_RUN);
            tn_gguf *file = open_out(f, "llama");
            assert_int_equal(tn_gguf_find(file, "output.weight") != NULL, s == 1);
            assert_null(tn_gguf_find(file, "blk.0.attn_sub_norm.weight"));
            assert_false(tn_gguf_has(file, "tern.tie_embeddings") || tn_gguf_has(file, "tern.sub_norms"));
            tn_gguf_close(file);
        }
    }
}

/* In blocks there is nowhere but f16 for the scale, since llama has no scale tensors: the proof is of that rounding. */
static void llama__blocks_round_the_scale_alone(void **state) {
    tn_model_rig *f = *state;
    static const tn_export_type types[] = {TN_EXPORT_TQ2_0, TN_EXPORT_TQ1_0};
    make(f, (const char *const[]){"model.init_std=0.05", NULL});
    for (size_t i = 0; i < TN_COUNT(types); i++) {
        export_as(f, types[i]);
        if (!(f->report.difference > 0 && f->report.difference < 0.15)) fail_msg("off by %g", f->report.difference);
        tn_gguf *file = open_out(f, "llama");
        assert_null(tn_gguf_find(file, "blk.0.attn_q.scale"));
        tn_gguf_close(file);
    }
}

static void llama__float_twins_too(void **state) {
    tn_model_rig *f = *state;
    make(f, (const char *const[]){"model.quantization=none", NULL});
    export_as(f, TN_EXPORT_F32);
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
    int vocab;
    const tn_real *a = tn_model_rig_logits(f, f->checkpoint, TN_MODEL_EVAL, &vocab);
    const tn_real *b =
        tn_model_rig_logits(f, f->out, TN_MODEL_TRAIN, &vocab); /* values again, rows of q and k in halves */
    assert_memory_equal(a, b, (size_t)TN_MODEL_RIG_IDS * (size_t)vocab * sizeof *a);
    tn_gguf_close(open_out(f, "llama"));
}

/* Row 2 j + t of a head in the file is row t d / 2 + j of the model; v and the output are as they are. */
static void llama__rows_of_q_and_k_lie_in_pairs(void **state) {
    tn_model_rig *f = *state;
    static const char *const names[] = {"blk.1.attn_q.weight", "blk.1.attn_k.weight", "blk.1.attn_v.weight",
                                        "blk.1.attn_output.weight"};
    tn_loaded loaded;
    make(f, NULL);
    export_as(f, TN_EXPORT_I2_S);
    tn_gguf *file = open_out(f, "llama");
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_EXPORT, &loaded));
    const int d = tn_model_get_config(loaded.model)->head_dim;
    for (size_t n = 0; n < TN_COUNT(names); n++) {
        const tn_param *p = tn_model_find(loaded.model, names[n]);
        const tn_gguf_tensor *t = tn_gguf_find(file, names[n]);
        int8_t *states = tn_arena_array(f->arena, (size_t)tn_param_count(p), 1, "test");
        float scale;
        assert_ok(tn_ternary_unpack(t->type, "t", t->data, p->rows, p->cols, states, &scale));
        for (int head = 0; head < p->rows / d; head++)
            for (int j = 0; j < d / 2; j++)
                for (int half = 0; half < 2; half++) {
                    const int row = head * d + (n < 2 ? 2 * j + half : half * d / 2 + j);
                    assert_memory_equal(states + row * p->cols, p->states + (head * d + half * d / 2 + j) * p->cols,
                                        (size_t)p->cols);
                }
    }
    tn_loaded_release(&loaded);
    tn_gguf_close(file);
}

/* What that order is for: turning neighbours gives the rows that turning halves gives, in the other order. */
static void llama__turning_pairs_is_turning_halves(void **state) {
    tn_model_rig *f = *state;
    enum { D = 8, T = 5 };
    const double theta = 100;
    tn_rope_table table;
    tn_real x[T * D];
    tn_tape *tape = tn_tape_create();
    for (int i = 0; i < T * D; i++) x[i] = (tn_real)sin(i * 1.7);
    assert_ok(tn_rope_table_init(&table, f->arena, T, D));
    tn_rope_table_fill(&table, theta, NULL);
    tn_tape_begin(tape, TN_TAPE_FORWARD, NULL);
    const tn_tensor *y = tn_rope(tape, tn_tape_real(tape, 3, (const int[]){1, T, D}, x, false), &table, NULL);
    assert_ok(tn_tape_status(tape));
    for (int t = 0; t < T; t++)
        for (int j = 0; j < D / 2; j++) {
            const double a = (double)x[t * D + j], b = (double)x[t * D + D / 2 + j]; /* the pair 2 j, 2 j + 1 */
            const double angle = t * pow(theta, -2.0 * j / D);
            assert_true(fabs(a * cos(angle) - b * sin(angle) - (double)y->real[t * D + j]) < 1e-6);
            assert_true(fabs(a * sin(angle) + b * cos(angle) - (double)y->real[t * D + D / 2 + j]) < 1e-6);
        }
    tn_tape_free(tape);
}

/* ---- sub-norms are their own choice ---- */

static void sub_norms__may_be_absent_with_any_gate(void **state) {
    tn_model_rig *f = *state;
    make(f, (const char *const[]){"model.activation=relu2", NULL});
    export_as(f, TN_EXPORT_I2_S);
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
    tn_gguf *file = open_out(f, "bitnet-b1.58");
    bool flag = true;
    assert_ok(tn_gguf_get_bool(file, "tern.sub_norms", &flag));
    assert_false(flag);
    tn_gguf_close(file);
    make(f, (const char *const[]){"model.qk_norm=true", NULL});
    export_as(f, TN_EXPORT_TQ1_0);
    assert_true(f->report.difference == 0); /* bitnet has scale tensors */
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
    tn_gguf_close(open_out(f, "bitnet"));
}

/* ---- rope scaling ---- */

static void rope__linear_scaling_is_a_key(void **state) {
    tn_model_rig *f = *state;
    static const char *const settings[][4] = {
        {"model.rope_scaling=linear", "model.rope_factor=2.5", NULL},
        {"model.rope_scaling=linear", "model.rope_factor=2.5", "model.activation=relu2", NULL}};
    for (size_t i = 0; i < TN_COUNT(settings); i++) {
        double factor;
        make(f, settings[i]);
        export_as(f, TN_EXPORT_I2_S);
        tn_model_rig_assert_exact(f, TN_MODEL_RUN);
        tn_gguf *file = open_out(f, i ? "bitnet-b1.58" : "llama");
        assert_ok(
            tn_gguf_get_real(file, i ? "bitnet-b1.58.rope.scaling.factor" : "llama.rope.scaling.factor", &factor));
        assert_true(factor == 2.5);
        assert_null(tn_gguf_find(file, "rope_freqs.weight"));
        tn_gguf_close(file);
    }
    make(f, (const char *const[]){"model.rope_scaling=linear", "model.rope_factor=2.1", NULL});
    assert_int_equal(tn_export(f->checkpoint, f->out, (tn_export_options){0}, &f->report), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "model.rope_factor is 2.1"));
}

static const char *const llama3[] = {"model.rope_scaling=llama3",      "model.rope_factor=8",
                                     "model.rope_original_context=16", "model.rope_low_freq_factor=1",
                                     "model.rope_high_freq_factor=4",  NULL};

static void rope__llama3_scaling_is_a_tensor(void **state) {
    tn_model_rig *f = *state;
    char again[TN_TEST_PATH + 16];
    snprintf(again, sizeof again, "%s/again.gguf", f->dir);
    make(f, llama3);
    export_as(f, TN_EXPORT_I2_S);
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
    tn_gguf *file = open_out(f, "llama");
    const tn_gguf_tensor *t = tn_gguf_find(file, "rope_freqs.weight");
    static const float first[] = {0x1.bc66a4p0f, 0x1.47f49p1f, 0x1.fdf74p1f}; /* as below, of heads of 64 */
    assert_true(t && t->type == TN_GGML_F32 && t->ne[0] == 32 && t->n_dims == 1);
    assert_memory_equal(t->data, first, sizeof first);
    assert_memory_equal(t->data + 31 * 4, &(float){8}, 4);
    assert_false(tn_gguf_has(file, "llama.rope.scaling.factor"));
    tn_gguf_close(file);
    assert_ok(tn_export(f->out, again, (tn_export_options){.type = TN_EXPORT_F32}, &f->report)); /* from the tensor */
    assert_true(f->report.difference == 0);
    assert_ok(tn_file_remove(f->out));
    assert_ok(tn_export(again, f->out, (tn_export_options){.type = TN_EXPORT_I2_S}, &f->report));
    tn_model_rig_assert_exact(f, TN_MODEL_RUN);
}

static void rope__scaling_changes_what_is_computed(void **state) {
    tn_model_rig *f = *state;
    int vocab;
    make(f, NULL);
    const tn_real *plain = tn_model_rig_logits(f, f->checkpoint, TN_MODEL_RUN, &vocab);
    make(f, llama3);
    const tn_real *scaled = tn_model_rig_logits(f, f->checkpoint, TN_MODEL_RUN, &vocab);
    assert_memory_equal(plain, scaled, (size_t)vocab * sizeof *plain); /* position 0 is not turned */
    assert_memory_not_equal(plain + vocab, scaled + vocab,
                            (size_t)(TN_MODEL_RIG_IDS - 1) * (size_t)vocab * sizeof *plain);
}

/* Llama 3.1: factor 8, 1 and 4 turns in 8192 positions, base 500000, heads of 128. The numbers are those of its formula
 * in another language's double arithmetic, rounded to f32. */
static void rope__slowdowns_of_llama3_are_its_formula(void **state) {
    (void)state;
    static const struct {
        int i;
        float slowdown;
    } cases[] = {{0, 1},  {28, 1}, {29, 0x1.351daap0f}, {31, 0x1.035e3cp1f}, {33, 0x1.d79596p1f}, {34, 0x1.50780ap2f},
                 {35, 8}, {63, 8}};
    tn_model_config config = {.head_dim = 128,
                              .rope_theta = 500000,
                              .rope_scaling = TN_ROPE_LLAMA3,
                              .rope_factor = 8,
                              .rope_low_freq_factor = 1,
                              .rope_high_freq_factor = 4,
                              .rope_original_context = 8192};
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        assert_true(tn_model_config_slowdown(&config, cases[i].i) == cases[i].slowdown);
    config.rope_scaling = TN_ROPE_LINEAR;
    assert_true(tn_model_config_slowdown(&config, 40) == 8);
    config.rope_scaling = TN_ROPE_NONE;
    assert_true(tn_model_config_slowdown(&config, 40) == 1);
}

static void rope__settings_that_contradict_are_refused(void **state) {
    (void)state;
    tn_model_config config = {.vocab_size = 10, .d_model = 64, .n_head = 2, .rope_factor = 2};
    assert_int_equal(tn_model_config_complete(&config), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "rope_factor is 2, but model.rope_scaling is none"));
    config.rope_scaling = TN_ROPE_LLAMA3;
    config.rope_low_freq_factor = config.rope_high_freq_factor = 4;
    assert_int_equal(tn_model_config_complete(&config), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "rope_low_freq_factor 4 is not below"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_model_rig_set_up, tn_model_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(llama__files_give_the_trainers_bits),
        TEST(llama__blocks_round_the_scale_alone),
        TEST(llama__float_twins_too),
        TEST(llama__rows_of_q_and_k_lie_in_pairs),
        TEST(llama__turning_pairs_is_turning_halves),
        TEST(sub_norms__may_be_absent_with_any_gate),
        TEST(rope__linear_scaling_is_a_key),
        TEST(rope__llama3_scaling_is_a_tensor),
        TEST(rope__scaling_changes_what_is_computed),
        cmocka_unit_test(rope__slowdowns_of_llama3_are_its_formula),
        cmocka_unit_test(rope__settings_that_contradict_are_refused),
    };
    return cmocka_run_group_tests_name("architectures", tests, NULL, NULL);
}
