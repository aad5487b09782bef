/* SPDX-License-Identifier: MIT
 * Runs of fine-tuning as models: what is opened, run and exported computes what the trainer computed. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "models/adapter_file.h"
#include "models/hf_export.h"
#include "models/proof.h"
#include "tests/trainer_rig.h"
#include "train/trainer_priv.h"

#include <stdio.h>
#include <string.h>

/* Run "base", whose matrices fill the blocks of every type. */
static int set_up(void **state) {
    tn_place_set_up(state);
    tn_place_add_run(*state, "base", "model.d_model=256 model.d_ff=256 model.n_layer=1 train.max_steps=8");
    return 0;
}

/* What the trainer's model answers as it stands. */
static void ask_trainer(const tn_run *r, tn_arena *arena, tn_probe *probe) {
    const tn_loaded loaded = {.model = tn_trainer_model(r->trainer)};
    assert_ok(tn_probe_ask(&loaded, arena, probe));
}

static void ask_file(const char *path, tn_arena *arena, tn_probe *probe) {
    tn_loaded loaded;
    tn_arena *weights = tn_arena_create("test");
    assert_ok(tn_model_file_load(path, weights, TN_MODEL_RUN, &loaded));
    assert_ok(tn_probe_ask(&loaded, arena, probe));
    tn_loaded_release(&loaded);
    tn_arena_free(weights);
}

static const char *const merged = "method=lora_merged lora.rank=4 train.learning_rate=5e-2";

static const char *const variants[] = {
    "method=full",
    "method=norms",
    "method=lora lora.rank=4",
    "method=lora lora.rank=4 lora.rslora=true lora.input=quantized lora.dropout=0.3 lora.plus_ratio=16",
    "method=lora lora.rank=4 lora.target_modules=embed_tokens lora.modules_to_save=norms",
    "method=lora lora.rank=4 lora.target_modules=q_proj lora.modules_to_save=embed_tokens",
    "method=lora_merged lora.rank=4 train.learning_rate=5e-2",
    "method=lora_merged lora.rank=4 train.learning_rate=5e-2 lora.modules_to_save=lm_head",
};

static void checkpoint_of_a_tuned_model__computes_what_its_trainer_computed(void **state) {
    tn_arena *arena = tn_arena_create("test");
    tn_probe before, expected, found;
    char base[TN_RUN_PATH];
    assert_ok(tn_path_join(base, sizeof base, ((tn_place *)*state)->dir, "base"));
    ask_file(base, arena, &before);
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        tn_run r;
        char name[16];
        snprintf(name, sizeof name, "r%zu", i);
        tn_finetune_once(&r, *state, name, variants[i]);
        ask_trainer(&r, arena, &expected);
        ask_file(r.summary.checkpoint, arena, &found);
        if (tn_probe_compare(&expected, &found)) fail_msg("%s: %s", variants[i], tn_error_message());
        assert_true(tn_probe_distance(&before, &found) > 0);
        tn_run_release(&r);
    }
    tn_arena_free(arena);
}

/* Weights of the checkpoint, which is the trainer's last. */
static void assert_export(const tn_run *r, tn_export_type type, const tn_probe *expected, tn_arena *arena) {
    char path[TN_RUN_PATH];
    tn_export_report report;
    tn_probe found;
    assert_ok(tn_path_join(path, sizeof path, r->dir, "model.gguf"));
    assert_ok(tn_export(r->summary.checkpoint, path, (tn_export_options){type, TN_TABLE_F32}, &report));
    ask_file(path, arena, &found);
    assert_ok(tn_probe_compare(expected, &found));
    assert_true(report.difference == 0);
}

static void export__has_the_logits_of_the_trainer(void **state) {
    static const tn_export_type exact[] = {TN_EXPORT_I2_S, TN_EXPORT_TQ2_0, TN_EXPORT_TQ1_0, TN_EXPORT_F32};
    const char *const methods[] = {"method=full", "method=norms", merged};
    tn_arena *arena = tn_arena_create("test");
    for (size_t m = 0; m < TN_COUNT(methods); m++) {
        tn_run r;
        tn_probe expected;
        char name[16];
        snprintf(name, sizeof name, "r%zu", m);
        tn_finetune_once(&r, *state, name, methods[m]);
        ask_trainer(&r, arena, &expected);
        if (methods[m] == merged) assert_true(r.summary.flipped_share > 1e-3);
        for (size_t i = 0; i < TN_COUNT(exact); i++) assert_export(&r, exact[i], &expected, arena);
        tn_run_release(&r);
    }
    tn_arena_free(arena);
}

static void export__of_a_base_with_an_adapter_is_refused(void **state) {
    tn_run r;
    char path[TN_RUN_PATH];
    tn_export_report report;
    tn_finetune_once(&r, *state, "a", "method=lora");
    assert_ok(tn_path_join(path, sizeof path, r.dir, "model.gguf"));
    assert_int_equal(tn_export(r.dir, path, (tn_export_options){TN_EXPORT_I2_S, TN_TABLE_F32}, &report),
                     TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "is a base with an adapter beside it (method lora)"));
    assert_int_equal(tn_export_hf(r.dir, path, (tn_hf_export_options){TN_HF_TYPE_PACKED, TN_TABLE_F32}, &report),
                     TN_E_UNSUPPORTED);
    assert_false(tn_path_exists(path));
    tn_run_release(&r);
}

/* ---- bases ---- */

static void rename_folder(const tn_place *p, const char *from, const char *to) {
    char a[TN_RUN_PATH], b[TN_RUN_PATH];
    assert_ok(tn_path_join(a, sizeof a, p->dir, from));
    assert_ok(tn_path_join(b, sizeof b, p->dir, to));
    assert_int_equal(rename(a, b), 0);
}

static tn_status open_run(const tn_run *r) {
    tn_loaded loaded;
    tn_arena *arena = tn_arena_create("test");
    tn_status status = tn_model_file_load(r->dir, arena, TN_MODEL_RUN, &loaded);
    if (!status) tn_loaded_release(&loaded);
    tn_arena_free(arena);
    return status;
}

static void base_that_moved__is_named(void **state) {
    static const char *const methods[] = {"method=norms", "method=lora"};
    tn_run runs[TN_COUNT(methods)];
    char path[TN_RUN_PATH];
    for (size_t i = 0; i < TN_COUNT(methods); i++) tn_finetune_once(&runs[i], *state, methods[i], methods[i]);
    rename_folder(*state, "base", "moved");
    assert_ok(tn_path_join(path, sizeof path, ((tn_place *)*state)->dir, "base"));
    for (size_t i = 0; i < TN_COUNT(methods); i++) {
        assert_int_equal(open_run(&runs[i]), TN_E_MISSING);
        assert_non_null(strstr(tn_error_message(), "holds what a run has changed of its base "));
        assert_non_null(strstr(tn_error_message(), path));
        assert_true((strstr(tn_error_message(), "give it as the model and this run with --lora") != NULL) == (i == 1));
        tn_run_release(&runs[i]);
    }
}

/* Tables of f32, in memory or in their file. */
static void base__gives_the_same_bits_out_of_any_file(void **state) {
    static const char *const bases[] = {"base", "base.gguf", "basehf"};
    static const char *const tuned[] = {"method=norms",
                                        "method=lora lora.rank=2 lora.target_modules=[all,embed_tokens]",
                                        "method=lora_merged lora.rank=2 lora.modules_to_save=embed_tokens"};
    tn_arena *arena = tn_arena_create("test");
    char path[TN_COUNT(bases)][TN_RUN_PATH];
    tn_export_report report;
    for (size_t b = 0; b < TN_COUNT(bases); b++)
        assert_ok(tn_path_join(path[b], sizeof path[b], ((tn_place *)*state)->dir, bases[b]));
    assert_ok(tn_export(path[0], path[1], (tn_export_options){TN_EXPORT_I2_S, TN_TABLE_F32}, &report));
    assert_ok(tn_export_hf(path[0], path[2], (tn_hf_export_options){TN_HF_TYPE_PACKED, TN_TABLE_F32}, &report));
    for (size_t i = 0; i < TN_COUNT(tuned); i++) {
        tn_probe first;
        for (size_t b = 0; b < TN_COUNT(bases); b++) {
            tn_run r;
            tn_probe found;
            char name[32];
            snprintf(name, sizeof name, "r%zu-%zu", i, b);
            tn_run_init_finetune(&r, *state, name, bases[b], tuned[i]);
            tn_run_go(&r, false);
            ask_trainer(&r, arena, b ? &found : &first);
            if (b) assert_ok(tn_probe_compare(&first, &found));
            ask_file(r.summary.checkpoint, arena, &found);
            assert_ok(tn_probe_compare(&first, &found));
            tn_run_release(&r);
        }
    }
    tn_arena_free(arena);
}

/* A run that lies where its base was. */
static void base_of_itself__is_refused(void **state) {
    tn_run r;
    tn_finetune_once(&r, *state, "a", "method=lora");
    rename_folder(*state, "base", "moved");
    rename_folder(*state, "a", "base");
    assert_ok(tn_path_join(r.dir, sizeof r.dir, ((tn_place *)*state)->dir, "base"));
    assert_int_equal(open_run(&r), TN_E_CORRUPT);
    assert_non_null(strstr(tn_error_message(), "its base has a base, and so on, more than 8 times"));
    tn_run_release(&r);
}

static void base_that_is_another__is_refused_by_its_fingerprint(void **state) {
    static const char *const methods[] = {"method=norms", "method=lora", "method=lora_merged"};
    tn_run runs[TN_COUNT(methods)], other;
    for (size_t i = 0; i < TN_COUNT(methods); i++) tn_finetune_once(&runs[i], *state, methods[i], methods[i]);
    rename_folder(*state, "base", "moved");
    tn_run_once(&other, *state, "base",
                "model.d_model=256 model.d_ff=256 model.n_layer=1 train.max_steps=2 train.seed=7");
    for (size_t i = 0; i < TN_COUNT(methods); i++) {
        assert_int_equal(open_run(&runs[i]), TN_E_MISMATCH);
        assert_non_null(strstr(tn_error_message(), "base is not the base that the run began with (fingerprint "));
        tn_run_release(&runs[i]);
    }
    tn_run_release(&other);
}

static void base_with_another_adapter__is_refused(void **state) {
    tn_run below, above, other;
    tn_adapter *adapter;
    tn_arena *arena = tn_arena_create("test");
    tn_finetune_once(&below, *state, "below", "method=lora lora.rank=4");
    tn_run_init_finetune(&above, *state, "above", "below", "method=lora lora.rank=2");
    tn_run_go(&above, false);
    assert_ok(open_run(&above));
    tn_adapter_base base = {.config = &above.config.model};
    assert_int_equal(tn_adapter_file_load(&adapter, arena, above.dir, &base, NULL), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "was trained beside another adapter, that of its base "));
    rename_folder(*state, "below", "moved");
    tn_finetune_once(&other, *state, "below", "method=lora lora.rank=4 train.seed=5");
    assert_int_equal(open_run(&above), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "below is not the base that the run began with (fingerprint "));
    tn_run_release(&below);
    tn_run_release(&above);
    tn_run_release(&other);
    tn_arena_free(arena);
}

static void tuned_model__is_a_base_again(void **state) {
    const char *const first[] = {"method=norms", "method=lora lora.rank=4", merged};
    tn_arena *arena = tn_arena_create("test");
    for (size_t i = 0; i < TN_COUNT(first); i++) {
        tn_run below, above;
        tn_probe expected, found;
        char name[2][16];
        snprintf(name[0], sizeof name[0], "below%zu", i);
        snprintf(name[1], sizeof name[1], "above%zu", i);
        tn_finetune_once(&below, *state, name[0], first[i]);
        tn_run_init_finetune(&above, *state, name[1], name[0], "method=lora lora.rank=2");
        tn_run_go(&above, false);
        ask_trainer(&above, arena, &expected);
        ask_file(above.summary.checkpoint, arena, &found);
        if (tn_probe_compare(&expected, &found)) fail_msg("%s: %s", first[i], tn_error_message());
        tn_run_release(&below);
        tn_run_release(&above);
    }
    tn_arena_free(arena);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tn_place_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(checkpoint_of_a_tuned_model__computes_what_its_trainer_computed),
        CASE(export__has_the_logits_of_the_trainer),
        CASE(export__of_a_base_with_an_adapter_is_refused),
        CASE(base_that_moved__is_named),
        CASE(base__gives_the_same_bits_out_of_any_file),
        CASE(base_of_itself__is_refused),
        CASE(base_that_is_another__is_refused_by_its_fingerprint),
        CASE(base_with_another_adapter__is_refused),
        CASE(tuned_model__is_a_base_again),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("tuned", tests, NULL, NULL);
}
