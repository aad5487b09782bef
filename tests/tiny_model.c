/* SPDX-License-Identifier: MIT */
#include "autograd/tape.h"
#include "formats/checkpoint_file.h"
#include "tests/tiny_model.h"
#include "tests/testing.h"

#include <string.h>

const char tn_test_tiny_text[] =
    "Once upon a time there was a girl named Zo\xc3\xab. She had 3 red apples, and 12 green ones!\n"
    "\"Caf\xc3\xa9?\" said the cat. \xe4\xbd\xa0\xe5\xa5\xbd, \xf0\x9f\x98\x80. The cat and the girl were glad, and "
    "glad "
    "they stayed.\n\nThe end; then the cat said it wasn't the end, and they had apples again.\n";

static tn_tokenizer *learn(tn_tokenizer_kind kind) {
    const tn_tokenizer_options options = {.kind = kind, .split = TN_SPLIT_GPT2, .vocab_size = 300};
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *tokenizer;
    assert_ok(tn_tokenizer_trainer_create(&trainer, &options));
    assert_ok(tn_tokenizer_trainer_add(trainer, tn_test_tiny_text, strlen(tn_test_tiny_text)));
    assert_ok(tn_tokenizer_trainer_finish(trainer, &tokenizer));
    return tokenizer;
}

static void put_text(tn_ckpt *ckpt, tn_ckpt_text which, tn_buf *text) {
    assert_ok(tn_ckpt_put_text(ckpt, which, text->data, text->len));
    tn_buf_release(text);
}

static void put_params(tn_ckpt *ckpt, tn_model *model, tn_arena *arena) {
    int n;
    tn_param **params = tn_model_params(model, &n);
    for (int i = 0; i < n; i++) {
        int64_t count = tn_param_count(params[i]);
        float *values = tn_arena_array(arena, (size_t)count, sizeof *values, "test");
        assert_non_null(values);
        for (int64_t j = 0; j < count; j++) values[j] = (float)params[i]->tensor.real[j];
        assert_ok(tn_ckpt_put_param(ckpt, params[i]->name, params[i]->rows, params[i]->cols, values));
    }
}

static void configure(tn_config *config, const char *const *settings, int vocab_size) {
    static const char *const tiny[] = {
        "model.d_model=256", "model.n_layer=2",  "model.n_head=4",     "model.n_kv_head=2",
        "model.d_ff=512",    "model.context=48", "model.init_std=0.3", NULL};
    tn_model_config *model = config->sections[0].values;
    assert_ok(tn_config_defaults(config));
    for (int i = 0; tiny[i]; i++) assert_ok(tn_config_set(config, tiny[i]));
    for (int i = 0; settings && settings[i]; i++) assert_ok(tn_config_set(config, settings[i]));
    if (!model->vocab_size) model->vocab_size = vocab_size;
}

void tn_test_tiny_checkpoint(const char *path, tn_tokenizer_kind kind, const char *const *settings) {
    tn_arena *arena = tn_arena_create("test");
    tn_tokenizer *tokenizer = learn(kind);
    tn_model_config values;
    tn_section section = tn_model_section(&values);
    tn_config config = {.arena = arena, .sections = &section, .n_sections = 1};
    tn_model *model;
    tn_ckpt *ckpt;
    tn_buf json = {0}, yaml = {0}, state = {0};
    configure(&config, settings, tn_tokenizer_size(tokenizer));
    assert_ok(tn_model_create(&model, arena, &values, TN_MODEL_EVAL));
    tn_model_init(model, 7);
    assert_ok(tn_tokenizer_to_json(tokenizer, &json));
    assert_ok(tn_config_dump(&config, &yaml));
    assert_ok(tn_buf_puts(&state, "{}"));
    assert_ok(tn_ckpt_create(&ckpt, path));
    assert_ok(tn_ckpt_put_int(ckpt, "step", 5));
    put_text(ckpt, TN_CKPT_CONFIG, &yaml);
    put_text(ckpt, TN_CKPT_TOKENIZER, &json);
    put_text(ckpt, TN_CKPT_STATE, &state);
    put_params(ckpt, model, arena);
    assert_ok(tn_ckpt_commit(ckpt));
    tn_tokenizer_free(tokenizer);
    tn_arena_free(arena);
}

const tn_real *tn_test_logits(tn_model *model, const int32_t *ids, int n, tn_arena *arena) {
    tn_tape *tape = tn_tape_create();
    assert_non_null(tape);
    tn_tape_begin(tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *in = tn_tape_ids(tape, 2, (const int[]){1, n}, ids);
    tn_tensor *logits = tn_model_logits(model, tape, tn_model_hidden(model, tape, in, NULL));
    assert_ok(tn_tape_status(tape));
    int64_t count = tn_tensor_count(logits);
    tn_real *out = tn_arena_array(arena, (size_t)count, sizeof *out, "test");
    assert_non_null(out);
    memcpy(out, logits->real, (size_t)count * sizeof *out);
    tn_tape_free(tape);
    return out;
}
