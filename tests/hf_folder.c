/* SPDX-License-Identifier: MIT */
#include "tests/hf_folder.h"

#include "core/fs.h"
#include "core/half.h"
#include "models/hf_names.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

enum { MOST = 512, NAME = 160 };

typedef struct writing {
    const tn_test_hf_options *o;
    tn_safetensors_writer *w;
    tn_buf data[MOST];
    int n;
} writing;

void tn_test_hf_file(const char *dir, const char *name, const char *text) {
    char path[TN_TEST_PATH * 2];
    assert_ok(tn_path_join(path, sizeof path, dir, name));
    assert_ok(tn_file_write(path, text, strlen(text)));
}

static bool is(const char *name, const char *edited) { return edited && strcmp(name, edited) == 0; }

static void put_float(tn_buf *b, tn_safetensor_type type, float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (type == TN_SAFETENSOR_F32) {
        assert_ok(tn_buf_append(b, &value, 4));
    } else if (type == TN_SAFETENSOR_F16) {
        const uint16_t half = tn_f32_to_f16(value);
        assert_ok(tn_buf_append(b, &half, 2));
    } else {
        const uint16_t half = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        assert_ok(tn_buf_append(b, &half, 2));
    }
}

static tn_buf *announce(writing *g, const char *name, tn_safetensor_type type, int n_dims, int64_t rows, int64_t cols) {
    int number;
    assert_true(g->n < MOST);
    if (is(name, g->o->edit.typed)) type = g->o->edit.type;
    const int64_t shape[2] = {n_dims == 2 ? rows : cols, cols};
    assert_ok(tn_safetensors_announce(g->w, name, type, n_dims, shape, &number));
    assert_int_equal(number, g->n);
    g->data[g->n] = (tn_buf){0};
    return &g->data[g->n++];
}

/* The numbers of a tensor, edited; with an extra row of ones when its shape is. */
static void put_numbers(writing *g, const char *name, bool vector, int64_t rows, int64_t cols, const tn_real *values,
                        const int8_t *states, tn_safetensor_type type) {
    const tn_test_hf_edit *e = &g->o->edit;
    const int64_t more = is(name, e->shape) ? (vector ? 1 : cols) : 0;
    tn_buf *b = announce(g, name, type, vector ? 1 : 2, rows + (more && !vector), cols + (more && vector));
    if (is(name, e->typed)) type = e->type;
    for (int64_t i = 0; i < rows * cols + more; i++) {
        float value = i >= rows * cols ? 1 : states ? (float)states[i] : (float)values[i];
        if (is(name, e->zero)) value = 0;
        if (is(name, e->name) && i == e->at) value = e->value;
        if (type == TN_SAFETENSOR_U8)
            assert_ok(tn_buf_putc(b, (char)value));
        else
            put_float(b, type, value);
    }
}

static void put_packed(writing *g, const char *name, const tn_param *p) {
    const tn_test_hf_edit *e = &g->o->edit;
    const int64_t quarter = p->rows / 4 * (int64_t)p->cols;
    const int64_t more = is(name, e->shape) ? p->cols : 0;
    tn_buf *b = announce(g, name, TN_SAFETENSOR_U8, 2, p->rows / 4 + (more != 0), p->cols);
    for (int64_t i = 0; i < quarter + more; i++) {
        int byte = 0;
        for (int k = 0; k < 4 && i < quarter; k++)
            byte |= ((is(name, e->zero) ? 0 : p->states[k * quarter + i]) + 1) << 2 * k;
        if (is(name, e->name) && i == e->at) byte = (int)e->value;
        assert_ok(tn_buf_putc(b, (char)byte));
    }
}

static void put_scale(writing *g, const char *name, tn_real scale) {
    const tn_test_hf_edit *e = &g->o->edit;
    char scale_name[NAME];
    snprintf(scale_name, sizeof scale_name, "%s_scale", name);
    if (is(scale_name, e->drop)) return;
    if (g->o->weights == TN_HF_DIVIDED) scale = 1 / scale;
    put_numbers(g, scale_name, true, 1, 1, &scale, NULL, g->o->floats);
}

static void put_param(writing *g, const tn_param *p) {
    char name[TN_HF_NAME_SIZE];
    assert_true(tn_hf_name_of(p->name, name));
    if (is(name, g->o->edit.drop)) return;
    const bool stated = p->quantizer != TN_QUANT_NONE && g->o->weights >= TN_HF_MULTIPLIED;
    if (stated && !g->o->numbers)
        put_packed(g, name, p);
    else
        put_numbers(g, name, p->tensor.n_dims == 1, p->rows, p->cols, p->tensor.real, stated ? p->states : NULL,
                    g->o->floats);
    if (stated) put_scale(g, name, p->scale);
}

static void write_tensors(const char *dir, const tn_loaded *source, const tn_test_hf_options *o) {
    char path[TN_TEST_PATH * 2];
    static writing g;
    int n;
    tn_param **params = tn_model_params(source->model, &n);
    assert_ok(tn_path_join(path, sizeof path, dir, "model.safetensors"));
    g = (writing){.o = o};
    assert_ok(tn_safetensors_create(&g.w, path));
    for (int i = 0; i < n; i++) put_param(&g, params[i]);
    const tn_real one = 1;
    if (o->edit.add) put_numbers(&g, o->edit.add, true, 1, 1, &one, NULL, TN_SAFETENSOR_F32);
    for (int i = 0; i < g.n; i++) {
        assert_ok(tn_safetensors_put_piece(g.w, i, tn_buf_text(&g.data[i]), g.data[i].len));
        tn_buf_release(&g.data[i]);
    }
    assert_ok(tn_safetensors_commit(g.w, NULL));
}

static void write_config(const char *dir, const tn_model_config *c, tn_hf_weights weights) {
    static const char *const quantization[] = {
        [TN_HF_FLOATS] = "",
        [TN_HF_LATENTS] = ",\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\","
                          "\"quantization_mode\":\"online\"}",
        [TN_HF_MULTIPLIED] = ",\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\","
                             "\"modules_to_not_convert\":null}",
        [TN_HF_DIVIDED] = ",\"quantization_config\":{\"quant_method\":\"bitnet\",\"modules_to_not_convert\":"
                          "[\"lm_head\"]}"};
    tn_buf text = {0};
    assert_ok(tn_buf_printf(
        &text,
        "{\"model_type\":\"%s\",\"vocab_size\":%d,\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,"
        "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"head_dim\":%d,\"max_position_embeddings\":%d,"
        "\"rms_norm_eps\":%.17g,\"rope_theta\":%.17g,\"hidden_act\":\"%s\",\"tie_word_embeddings\":%s%s}",
        c->sub_norms ? "bitnet" : "llama", c->vocab_size, c->d_model, c->d_ff, c->n_layer, c->n_head, c->n_kv_head,
        c->head_dim, c->context, c->norm_eps, c->rope_theta, c->activation == TN_ACTIVATION_RELU2 ? "relu2" : "silu",
        c->tie_embeddings ? "true" : "false", quantization[weights]));
    tn_test_hf_file(dir, "config.json", tn_buf_text(&text));
    tn_buf_release(&text);
}

void tn_test_hf_folder(const char *dir, const tn_loaded *source, const tn_test_hf_options *options) {
    tn_buf tokenizer = {0};
    assert_ok(tn_dir_make(dir));
    assert_ok(tn_tokenizer_to_json(source->tokenizer, &tokenizer));
    tn_test_hf_file(dir, "tokenizer.json", tn_buf_text(&tokenizer));
    tn_buf_release(&tokenizer);
    write_config(dir, tn_model_get_config(source->model), options->weights);
    write_tensors(dir, source, options);
}
