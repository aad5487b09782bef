/* SPDX-License-Identifier: MIT */
#include "tests/model_rig.h"
#include "core/fs.h"
#include "kernels/kernels.h"
#include "tests/tiny_model.h"

#include <stdio.h>

const tn_model_config tn_model_rig_small = {.vocab_size = 20,
                                            .d_model = 32,
                                            .n_layer = 2,
                                            .n_head = 4,
                                            .n_kv_head = 2,
                                            .head_dim = 8,
                                            .d_ff = 48,
                                            .context = 16,
                                            .tie_embeddings = true,
                                            .sub_norms = true,
                                            .norm_eps = 1e-5,
                                            .rope_theta = 10000};

int tn_model_rig_set_up(void **state) {
    static tn_model_rig rig;
    rig = (tn_model_rig){.arena = tn_arena_create("test")};
    assert_non_null(rig.arena);
    assert_ok(tn_kernels_init(NULL));
    tn_test_dir_make(rig.dir);
    snprintf(rig.checkpoint, sizeof rig.checkpoint, "%s/step.h5", rig.dir);
    snprintf(rig.folder, sizeof rig.folder, "%s/folder", rig.dir);
    snprintf(rig.out, sizeof rig.out, "%s/out", rig.dir);
    *state = &rig;
    return 0;
}

int tn_model_rig_set_up_folder(void **state) {
    tn_model_rig_set_up(state);
    assert_ok(tn_dir_make(((tn_model_rig *)*state)->folder));
    return 0;
}

int tn_model_rig_tear_down(void **state) {
    tn_model_rig *rig = *state;
    tn_loaded_release(&rig->loaded);
    tn_arena_free(rig->arena);
    tn_test_dir_remove(rig->dir);
    return 0;
}

const tn_real *tn_model_rig_logits(tn_model_rig *rig, const char *path, tn_model_use use, int *vocab) {
    tn_loaded loaded;
    int32_t ids[TN_MODEL_RIG_IDS];
    assert_ok(tn_model_file_load(path, rig->arena, use, &loaded));
    *vocab = loaded.config.vocab_size;
    for (int i = 0; i < TN_MODEL_RIG_IDS; i++) ids[i] = (i * 13 + 1) % *vocab;
    const tn_real *logits = tn_test_logits(loaded.model, ids, TN_MODEL_RIG_IDS, rig->arena);
    tn_loaded_release(&loaded);
    return logits;
}

void tn_model_rig_assert_exact(tn_model_rig *rig, tn_model_use use) {
    int vocab, expected_vocab;
    const tn_real *expected = tn_model_rig_logits(rig, rig->checkpoint, TN_MODEL_EVAL, &expected_vocab);
    const tn_real *found = tn_model_rig_logits(rig, rig->out, use, &vocab);
    assert_int_equal(vocab, expected_vocab);
    assert_memory_equal(found, expected, (size_t)TN_MODEL_RIG_IDS * (size_t)vocab * sizeof *found);
}
