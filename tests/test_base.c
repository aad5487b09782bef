/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"
#include "models/export.h"
#include "models/fingerprint.h"
#include "tests/model_rig.h"
#include "tests/tiny_model.h"

#include <string.h>

static void fingerprint_of(const char *path, tn_model_use use, char hex[TN_FINGERPRINT]) {
    tn_arena *arena = tn_arena_create("test");
    tn_loaded loaded;
    assert_ok(tn_model_file_load(path, arena, use, &loaded));
    assert_ok(tn_model_fingerprint(loaded.model, hex));
    assert_int_equal(strlen(hex), TN_FINGERPRINT - 1);
    tn_loaded_release(&loaded);
    tn_arena_free(arena);
}

static void fingerprint__is_that_of_the_states_in_whatever_file(void **state) {
    tn_model_rig *f = *state;
    static const tn_export_type types[] = {TN_EXPORT_I2_S, TN_EXPORT_TQ1_0, TN_EXPORT_TQ2_0, TN_EXPORT_F16};
    char latents[TN_FINGERPRINT], packed[TN_FINGERPRINT];
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_CHAR, NULL);
    fingerprint_of(f->checkpoint, TN_MODEL_TRAIN, latents);
    fingerprint_of(f->checkpoint, TN_MODEL_RUN, packed);
    assert_string_equal(packed, latents);
    for (size_t i = 0; i < TN_COUNT(types); i++) {
        tn_export_report report;
        assert_ok(
            tn_export(f->checkpoint, f->out, (tn_export_options){.type = types[i], .table = TN_TABLE_F16}, &report));
        for (int packing = TN_PACKING_PAIRS; packing <= TN_PACKING_TRIPLES; packing++) {
            tn_kernels_use_packing((tn_packing)packing);
            fingerprint_of(f->out, TN_MODEL_RUN, packed);
            assert_string_equal(packed, latents);
        }
        tn_kernels_use_packing(TN_PACKING_PAIRS);
    }
}

static void fingerprint__changes_with_a_state_or_a_setting(void **state) {
    tn_model_rig *f = *state;
    char first[TN_FINGERPRINT], second[TN_FINGERPRINT];
    tn_arena *arena = tn_arena_create("test");
    tn_loaded loaded;
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_CHAR, NULL);
    assert_ok(tn_model_file_load(f->checkpoint, arena, TN_MODEL_TRAIN, &loaded));
    assert_ok(tn_model_fingerprint(loaded.model, first));

    tn_param *w = tn_model_find(loaded.model, "blk.1.ffn_down.weight");
    int64_t last = tn_param_count(w) - 1;
    w->states[last] = (int8_t)(w->states[last] ? 0 : 1);
    assert_ok(tn_model_fingerprint(loaded.model, second));
    assert_string_not_equal(first, second);

    tn_model_refresh(loaded.model, 1);
    loaded.model = NULL;
    tn_loaded_release(&loaded);
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_CHAR, (const char *const[]){"model.activation=silu", NULL});
    fingerprint_of(f->checkpoint, TN_MODEL_RUN, second);
    assert_string_not_equal(first, second);
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_CHAR, (const char *const[]){"model.dropout=0.1", NULL});
    fingerprint_of(f->checkpoint, TN_MODEL_RUN, second);
    assert_string_equal(first, second);
    tn_arena_free(arena);
}

static void fingerprint__of_a_float_twin_is_that_of_its_matrices(void **state) {
    tn_model_rig *f = *state;
    char first[TN_FINGERPRINT], second[TN_FINGERPRINT];
    const char *const sets[] = {"model.quantization=none", NULL};
    tn_arena *arena = tn_arena_create("test");
    tn_loaded loaded;
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_CHAR, sets);
    assert_ok(tn_model_file_load(f->checkpoint, arena, TN_MODEL_RUN, &loaded));
    assert_ok(tn_model_fingerprint(loaded.model, first));
    tn_model_find(loaded.model, "blk.0.attn_q.weight")->tensor.real[3] += 1;
    assert_ok(tn_model_fingerprint(loaded.model, second));
    assert_string_not_equal(first, second);
    tn_loaded_release(&loaded);
    tn_arena_free(arena);
}

/* ---- a file that is opened first ---- */

/* What load takes is known from what open tells, before a weight is read. */
static void open__is_all_of_load_but_the_weights(void **state) {
    tn_model_rig *f = *state;
    const char *const paths[] = {f->checkpoint, f->out};
    tn_export_report report;
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_CHAR, NULL);
    assert_ok(tn_export(f->checkpoint, f->out, (tn_export_options){.type = TN_EXPORT_I2_S}, &report));
    for (size_t i = 0; i < TN_COUNT(paths); i++) {
        tn_loaded opened, loaded;
        tn_model *model;
        tn_arena *arena = tn_arena_create("test"), *dry = tn_arena_create_virtual("test");
        assert_ok(tn_model_file_load(paths[i], arena, TN_MODEL_RUN, &loaded));
        assert_ok(tn_model_file_open(paths[i], &opened));
        assert_null(opened.model);
        assert_true(opened.has_latents == (i == 0));
        assert_string_equal(opened.description, loaded.description);
        assert_int_equal(tn_tokenizer_size(opened.tokenizer), tn_tokenizer_size(loaded.tokenizer));
        assert_ok(tn_model_create(&model, dry, &opened.config, TN_MODEL_RUN));
        assert_ok(tn_model_file_place(&opened, model, dry));
        assert_int_equal(tn_arena_peak(dry), tn_arena_peak(arena));
        assert_true(tn_model_find(model, "token_embd.weight")->table.type ==
                    tn_model_find(loaded.model, "token_embd.weight")->table.type);
        tn_loaded_release(&opened);
        tn_loaded_release(&loaded);
        tn_arena_free(arena);
        tn_arena_free(dry);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_model_rig_set_up, tn_model_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(fingerprint__is_that_of_the_states_in_whatever_file),
        TEST(fingerprint__changes_with_a_state_or_a_setting),
        TEST(fingerprint__of_a_float_twin_is_that_of_its_matrices),
        TEST(open__is_all_of_load_but_the_weights),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
