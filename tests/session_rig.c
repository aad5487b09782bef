/* SPDX-License-Identifier: MIT */
#include "core/par.h"
#include "core/utf8.h"
#include "kernels/kernels.h"
#include "tests/session_rig.h"
#include "tests/tiny_model.h"

#include <stdio.h>
#include <string.h>

int tn_test_model_set_up(void **state) {
    static tn_test_model f;
    f = (tn_test_model){0};
    assert_ok(tn_kernels_init(NULL));
    tn_test_dir_make(f.dir);
    snprintf(f.checkpoint, sizeof f.checkpoint, "%s/step.h5", f.dir);
    snprintf(f.gguf, sizeof f.gguf, "%s/tiny.gguf", f.dir);
    tn_test_tiny_checkpoint(f.checkpoint, TN_TOKENIZER_CHAR, NULL);
    f.arena = tn_arena_create("test");
    assert_ok(tn_model_file_load(f.checkpoint, f.arena, TN_MODEL_RUN, &f.loaded));
    for (int i = 0; i < TN_TEST_IDS; i++) f.ids[i] = (i * 37 + 11) % tn_tokenizer_size(f.loaded.tokenizer);
    *state = &f;
    return 0;
}

int tn_test_model_tear_down(void **state) {
    tn_test_model *f = *state;
    tn_loaded_release(&f->loaded);
    tn_arena_free(f->arena);
    tn_test_dir_remove(f->dir);
    assert_ok(tn_par_set_threads(0));
    return 0;
}

int tn_test_vocab(const tn_loaded *loaded) { return tn_model_get_config(loaded->model)->vocab_size; }

void tn_test_assert_same(const tn_real *a, const tn_real *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("value %lld: %.9g, %.9g", (long long)i, (double)a[i], (double)b[i]);
}

tn_session *tn_test_session(const tn_loaded *loaded, int context, int chunk) {
    tn_session *session;
    assert_ok(tn_session_create(&session, loaded, (tn_session_options){.context = context, .chunk = chunk}));
    return session;
}

tn_status tn_test_collect(void *context, const char *text, size_t len) {
    tn_test_text *c = context;
    c->whole = c->whole && tn_utf8_valid_prefix(text, len, NULL) == len;
    return tn_buf_append(&c->text, text, len);
}
