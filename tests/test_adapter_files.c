/* SPDX-License-Identifier: MIT
 * Files of adapters: what is written comes back with equal bits, by any way round, and lies where other tools look for
 * it. */
#include "core/fs.h"
#include "core/half.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/adapter_export.h"
#include "models/adapter_writing.h"
#include "models/model_file.h"
#include "tests/model_rig.h"
#include "tests/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- adapters to be written ---- */

static tn_model_config llama(void) {
    tn_model_config config = tn_model_rig_small;
    config.activation = TN_ACTIVATION_SILU;
    config.sub_norms = false;
    config.tie_embeddings = false;
    return config;
}

static void fill(tn_adapter *adapter, uint64_t seed) {
    for (int i = 0; i < 2 * adapter->n_pairs; i++) {
        tn_param *p = i % 2 ? &adapter->pairs[i / 2].b : &adapter->pairs[i / 2].a;
        const tn_rng rng = tn_rng_make(seed, TN_PURPOSE_INIT, (uint32_t)i);
        for (int64_t j = 0; j < tn_param_count(p); j++)
            p->tensor.real[j] = (tn_real)(float)tn_rng_normal(&rng, (uint64_t)j);
    }
}

/* What adapters can differ in, and what a file must keep. */
typedef struct variant {
    const char *modules; /* of all blocks; NULL: blk.1.attn_q and blk.0.ffn_down alone */
    tn_adapter_options options;
    int rank;
    double alpha;
    tn_adapter_module others[2];
    bool one_alpha; /* as a GGUF file has it, or others by a power of two: exact there */
} variant;

static const variant variants[] = {
    {"all-linear", {.dropout = 0.1}, 4, 8, {{0}}, true},
    {"q_proj", {0}, 3, 0.7, {{0}}, true},
    {NULL, {.input = TN_ADAPTER_QUANTIZED}, 1, 1, {{0}}, true},
    {"all-linear, embed_tokens, lm_head", {.rslora = true}, 5, 16, {{0}}, true},
    {"q_proj v_proj", {0}, 4, 8, {{"v_proj", 2, 0}}, true},
    {"q_proj v_proj k_proj", {.dropout = 0.05}, 4, 8, {{"v_proj", 2, 32}, {"k_proj", 0, 0.5}}, true},
    {"q_proj up_proj", {.rslora = true}, 4, 8, {{"up_proj", 3, 0}}, false},
    {"q_proj o_proj", {0}, 4, 8, {{"o_proj", 0, 7.3}}, false},
};

static tn_adapter *make(tn_model_rig *f, const tn_model_config *config, const variant *v) {
    tn_adapter *adapter;
    assert_ok(tn_adapter_create(&adapter, f->arena, config, &v->options));
    if (v->modules) {
        assert_ok(tn_adapter_add_modules(adapter, v->modules, v->rank, v->alpha, v->others,
                                         (v->others[0].name != NULL) + (v->others[1].name != NULL)));
    } else {
        assert_ok(tn_adapter_add(adapter, "blk.0.ffn_down.weight", v->rank, v->alpha));
        assert_ok(tn_adapter_add(adapter, "blk.1.attn_q.weight", v->rank, v->alpha));
    }
    fill(adapter, 11);
    return adapter;
}

/* ---- round trips ---- */

static double compare_half(const tn_param *a, const tn_param *b) {
    double worst = 0;
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->cols, b->cols);
    for (int64_t i = 0; i < tn_param_count(a); i++)
        worst = fmax(worst, fabs((double)(a->tensor.real[i] - b->tensor.real[i])) / fabs((double)a->tensor.real[i]));
    return worst;
}

/* The greatest relative difference of numbers of B; all else is equal. */
static double compare(const tn_adapter *a, tn_adapter *b) {
    double worst = 0;
    assert_int_equal(a->n_pairs, b->n_pairs);
    assert_int_equal(a->options.input, b->options.input);
    assert_true(a->options.rslora == b->options.rslora && a->options.dropout == b->options.dropout);
    for (int i = 0; i < a->n_pairs; i++) {
        const tn_adapter_pair *x = &a->pairs[i], *y = tn_adapter_find(b, x->target);
        assert_non_null(y);
        assert_int_equal(x->rank, y->rank);
        assert_true(x->alpha == y->alpha && x->c == y->c);
        assert_true(compare_half(&x->a, &y->a) == 0);
        worst = fmax(worst, compare_half(&x->b, &y->b));
    }
    return worst;
}

static tn_adapter *load(tn_model_rig *f, const char *path, const tn_model_config *config, tn_adapter_origin *origin) {
    tn_adapter_base base = {.config = config};
    tn_adapter *adapter;
    assert_ok(tn_adapter_file_load(&adapter, f->arena, path, &base, origin));
    return adapter;
}

static const tn_adapter_origin whose = {.base_id = "0123456789abcdef0123456789abcdef", .base = "bases/a \"b\""};

static tn_adapter *by_peft(tn_model_rig *f, const tn_adapter *adapter, const tn_model_config *config) {
    tn_adapter_origin origin;
    int64_t bytes;
    assert_ok(tn_adapter_write_peft(adapter, &whose, f->folder, &bytes));
    tn_adapter *copy = load(f, f->folder, config, &origin);
    assert_string_equal(origin.base_id, whose.base_id);
    assert_string_equal(origin.base, whose.base);
    return copy;
}

static tn_adapter *by_gguf(tn_model_rig *f, const tn_adapter *adapter, const tn_model_config *config) {
    tn_adapter_origin origin;
    assert_ok(tn_adapter_write_gguf(adapter, &whose, "a", f->out));
    tn_adapter *copy = load(f, f->out, config, &origin);
    assert_string_equal(origin.base_id, whose.base_id);
    assert_string_equal(origin.base, whose.base);
    return copy;
}

static void adapter__comes_back_from_peft_with_equal_bits(void **state) {
    tn_model_rig *f = *state;
    const tn_model_config configs[] = {tn_model_rig_small, llama()};
    for (size_t i = 0; i < 2 * TN_COUNT(variants); i++) {
        const tn_adapter *adapter = make(f, &configs[i % 2], &variants[i / 2]);
        assert_true(compare(adapter, by_peft(f, adapter, &configs[i % 2])) == 0);
    }
}

static void adapter__comes_back_from_gguf_with_equal_bits(void **state) {
    tn_model_rig *f = *state;
    const tn_model_config configs[] = {tn_model_rig_small, llama()};
    for (size_t i = 0; i < 2 * TN_COUNT(variants); i++) {
        if (!variants[i / 2].one_alpha) continue;
        const tn_adapter *adapter = make(f, &configs[i % 2], &variants[i / 2]);
        assert_true(compare(adapter, by_gguf(f, adapter, &configs[i % 2])) == 0);
    }
}

static void adapter__of_alphas_that_differ_is_rounded_by_gguf_once(void **state) {
    tn_model_rig *f = *state;
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        if (variants[i].one_alpha) continue;
        const tn_adapter *adapter = make(f, &tn_model_rig_small, &variants[i]);
        tn_adapter *once = by_gguf(f, adapter, &tn_model_rig_small);
        const double off = compare(adapter, once);
        assert_true(off > 0 && off < 0x1.8p-23);
    }
}

static void adapter__goes_through_both_formats_in_turn(void **state) {
    tn_model_rig *f = *state;
    const tn_model_config config = llama();
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        if (!variants[i].one_alpha) continue;
        const tn_adapter *adapter = make(f, &config, &variants[i]);
        assert_true(compare(adapter, by_gguf(f, by_peft(f, adapter, &config), &config)) == 0);
        assert_true(compare(adapter, by_peft(f, by_gguf(f, adapter, &config), &config)) == 0);
    }
}

/* ---- where things lie ---- */

static float f32_at(const unsigned char *data, int64_t i) {
    float value;
    memcpy(&value, data + 4 * i, sizeof value);
    return value;
}

static void peft__has_a_turned_and_names_of_peft(void **state) {
    tn_model_rig *f = *state;
    const variant v = {"q_proj, embed_tokens", {0}, 3, 6, {{0}}, true};
    tn_adapter *adapter = make(f, &tn_model_rig_small, &v);
    char path[TN_TEST_PATH + 64];
    tn_safetensors *file;
    by_peft(f, adapter, &tn_model_rig_small);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", f->folder);
    assert_ok(tn_safetensors_open(&file, path));
    assert_int_equal(tn_safetensors_count(file), 6);
    assert_string_equal(tn_safetensors_get_note(file, "format"), "pt");
    assert_null(tn_safetensors_get_note(file, "tern.lora.input"));
    const tn_adapter_pair *q = tn_adapter_find(adapter, "blk.1.attn_q.weight"),
                          *e = tn_adapter_find(adapter, "token_embd.weight");
    const tn_safetensor *a =
        tn_safetensors_find(file, "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight");
    const tn_safetensor *b =
        tn_safetensors_find(file, "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight");
    const tn_safetensor *ea = tn_safetensors_find(file, "base_model.model.model.embed_tokens.lora_embedding_A");
    const tn_safetensor *eb = tn_safetensors_find(file, "base_model.model.model.embed_tokens.lora_embedding_B");
    assert_true(a && b && ea && eb);
    assert_true(a->shape[0] == 3 && a->shape[1] == 32 && b->shape[0] == 32 && b->shape[1] == 3);
    assert_true(ea->shape[0] == 3 && ea->shape[1] == 20 && eb->shape[0] == 32 && eb->shape[1] == 3);
    assert_true(f32_at(a->data, 2 * 32 + 7) == (float)q->a.tensor.real[7 * 3 + 2]);
    assert_true(f32_at(b->data, 7 * 3 + 2) == (float)q->b.tensor.real[7 * 3 + 2]);
    assert_true(f32_at(ea->data, 1 * 20 + 9) == (float)e->a.tensor.real[9 * 3 + 1]);
    assert_true(f32_at(eb->data, 9 * 3 + 1) == (float)e->b.tensor.real[9 * 3 + 1]);
    tn_safetensors_close(file);
}

/* Row 2 j + t of a head in a file of llama is row t d / 2 + j here. */
static void gguf__has_rows_of_q_in_pairs_for_llama_alone(void **state) {
    tn_model_rig *f = *state;
    const tn_model_config configs[] = {tn_model_rig_small, llama()};
    const variant v = {"q_proj, v_proj, embed_tokens", {0}, 3, 6, {{0}}, true};
    for (int i = 0; i < 2; i++) {
        tn_adapter *adapter = make(f, &configs[i], &v);
        const tn_adapter_pair *q = tn_adapter_find(adapter, "blk.1.attn_q.weight"),
                              *e = tn_adapter_find(adapter, "token_embd.weight");
        tn_gguf *file;
        double alpha;
        by_gguf(f, adapter, &configs[i]);
        assert_ok(tn_gguf_open(&file, f->out));
        assert_ok(tn_gguf_get_real(file, "adapter.lora.alpha", &alpha));
        assert_true(alpha == 6);
        const tn_gguf_tensor *a = tn_gguf_find(file, "blk.1.attn_q.weight.lora_a");
        const tn_gguf_tensor *b = tn_gguf_find(file, "blk.1.attn_q.weight.lora_b");
        const tn_gguf_tensor *ea = tn_gguf_find(file, "token_embd.weight.lora_a");
        assert_true(a && b && ea);
        assert_true(a->ne[0] == 32 && a->ne[1] == 3 && b->ne[0] == 3 && b->ne[1] == 32);
        assert_true(ea->ne[0] == 3 && ea->ne[1] == 20);
        assert_true(f32_at(a->data, 2 * 32 + 7) == (float)q->a.tensor.real[7 * 3 + 2]);
        assert_true(f32_at(ea->data, 9 * 3 + 1) == (float)e->a.tensor.real[9 * 3 + 1]);
        const int ours = i ? 8 + 4 + 1 : 8 + 3; /* row 3 of the second head: j = 1, t = 1 */
        assert_true(f32_at(b->data, 11 * 3 + 2) == (float)q->b.tensor.real[ours * 3 + 2]);
        tn_gguf_close(file);
    }
}

/* alpha' / r B is what llama.cpp multiplies A x by. */
static void gguf__means_the_same_without_the_keys_of_tern(void **state) {
    tn_model_rig *f = *state;
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        const tn_adapter *adapter = make(f, &tn_model_rig_small, &variants[i]);
        tn_gguf *file;
        double alpha;
        by_gguf(f, adapter, &tn_model_rig_small);
        assert_ok(tn_gguf_open(&file, f->out));
        assert_ok(tn_gguf_get_real(file, "adapter.lora.alpha", &alpha));
        for (int p = 0; p < adapter->n_pairs; p++) {
            const tn_adapter_pair *pair = &adapter->pairs[p];
            char name[80];
            snprintf(name, sizeof name, "%s.lora_b", pair->target);
            const tn_gguf_tensor *b = tn_gguf_find(file, name);
            for (int64_t k = 0; k < tn_param_count(&pair->b); k++) {
                const double theirs = alpha / (double)b->ne[0] * (double)f32_at(b->data, k);
                const double ours = (double)pair->c * (double)pair->b.tensor.real[k];
                assert_true(fabs(theirs - ours) <= 3e-7 * fabs(ours));
            }
        }
        tn_gguf_close(file);
    }
}

/* ---- what others write ---- */

static void put_half(tn_safetensors_writer *w, const char *name, tn_safetensor_type type, int64_t rows, int64_t cols,
                     int *number) {
    const int64_t shape[2] = {rows, cols};
    assert_ok(tn_safetensors_announce(w, name, type, 2, shape, number));
}

static void peft__of_other_names_and_types_is_read(void **state) {
    tn_model_rig *f = *state;
    static const char *const prefixes[] = {"base_model.model.model.", "base_model.model.", "model."};
    static const tn_safetensor_type types[] = {TN_SAFETENSOR_F16, TN_SAFETENSOR_BF16, TN_SAFETENSOR_F16};
    for (int i = 0; i < 3; i++) {
        tn_safetensors_writer *w;
        char path[TN_TEST_PATH + 64], name[128];
        int numbers[2];
        uint16_t a[2 * 32], b[16 * 2];
        for (int k = 0; k < 64; k++)
            a[k] = types[i] == TN_SAFETENSOR_F16 ? tn_f32_to_f16((float)k / 8) : tn_f32_to_bf16((float)k / 8);
        for (int k = 0; k < 32; k++)
            b[k] = types[i] == TN_SAFETENSOR_F16 ? tn_f32_to_f16(-(float)k) : tn_f32_to_bf16(-(float)k);
        snprintf(path, sizeof path, "%s/adapter_model.safetensors", f->folder);
        assert_ok(tn_safetensors_create(&w, path));
        snprintf(name, sizeof name, "%slayers.0.self_attn.k_proj.lora_A.weight", prefixes[i]);
        put_half(w, name, types[i], 2, 32, &numbers[0]);
        snprintf(name, sizeof name, "%slayers.0.self_attn.k_proj.lora_B.weight", prefixes[i]);
        put_half(w, name, types[i], 16, 2, &numbers[1]);
        assert_ok(tn_safetensors_put_piece(w, numbers[0], a, sizeof a));
        assert_ok(tn_safetensors_put_piece(w, numbers[1], b, sizeof b));
        assert_ok(tn_safetensors_commit(w, NULL));
        static const char config[] =
            "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 3, \"target_modules\": "
            "\".*layers\\\\.0.*k_proj\", \"bias\": \"none\", \"peft_version\": \"0.21\", \"new\": [1]}";
        snprintf(path, sizeof path, "%s/adapter_config.json", f->folder);
        assert_ok(tn_file_write(path, config, strlen(config)));
        tn_adapter_origin origin;
        tn_adapter *adapter = load(f, f->folder, &tn_model_rig_small, &origin);
        assert_int_equal(adapter->n_pairs, 1);
        const tn_adapter_pair *pair = tn_adapter_find(adapter, "blk.0.attn_k.weight");
        assert_true(pair->c == (tn_real)1.5);
        assert_true(pair->a.tensor.real[5 * 2 + 1] == (tn_real)((32 + 5) / 8.0));
        assert_true(pair->b.tensor.real[7 * 2 + 1] == (tn_real)-15);
        assert_string_equal(origin.base_id, "");
        assert_string_equal(origin.description, "PEFT folder, 1 pairs of rank 2");
    }
}

/* What llama.cpp's converter writes: an alpha, and none of Tern's keys. Without one, the user's scale is all. */
static void gguf__of_llama_cpp_is_read(void **state) {
    tn_model_rig *f = *state;
    static const float a[64] = {1, 2, 3}, b[32] = {4, 5, 6};
    for (int has_alpha = 0; has_alpha < 2; has_alpha++) {
        tn_gguf_writer *w;
        const int64_t ne_a[2] = {32, 2}, ne_b[2] = {2, 16};
        assert_ok(tn_gguf_create(&w, f->out));
        tn_gguf_without_checksum(w);
        assert_ok(tn_gguf_put_text(w, "general.architecture", "bitnet-b1.58", 12));
        assert_ok(tn_gguf_put_text(w, "general.type", "adapter", 7));
        assert_ok(tn_gguf_put_text(w, "adapter.type", "lora", 4));
        if (has_alpha) assert_ok(tn_gguf_put_f32(w, "adapter.lora.alpha", 24));
        assert_ok(tn_gguf_announce(w, "blk.1.attn_v.weight.lora_a", TN_GGML_F32, 2, ne_a));
        assert_ok(tn_gguf_announce(w, "blk.1.attn_v.weight.lora_b", TN_GGML_F32, 2, ne_b));
        assert_ok(tn_gguf_put_data(w, a, sizeof a));
        assert_ok(tn_gguf_put_data(w, b, sizeof b));
        assert_ok(tn_gguf_commit(w));
        tn_adapter *adapter = load(f, f->out, &tn_model_rig_small, NULL);
        assert_true(adapter->pairs[0].c == (tn_real)(has_alpha ? 12 : 1));
        assert_true(adapter->pairs[0].a.tensor.real[2 * 2] == 3 && adapter->pairs[0].b.tensor.real[1] == 5);
    }
}

/* ---- export ---- */

static void export__proves_and_checks_the_base(void **state) {
    tn_model_rig *f = *state;
    const char *const other[] = {"model.activation=silu", NULL};
    const variant v = {"all-linear", {0}, 4, 8, {{0}}, true};
    char again[TN_TEST_PATH + 16], second[TN_TEST_PATH + 16];
    tn_adapter_report report;
    tn_loaded base;
    int64_t bytes;
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_BPE, NULL);
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_RUN, &base));
    const tn_adapter *adapter = make(f, &base.config, &v);
    assert_ok(tn_adapter_write_peft(adapter, &(tn_adapter_origin){0}, f->folder, &bytes));
    snprintf(again, sizeof again, "%s/again", f->dir);
    snprintf(second, sizeof second, "%s/second.h5", f->dir);
    assert_int_equal(tn_adapter_export(f->folder, NULL, again, TN_ADAPTER_TYPE_GGUF, &report), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "--base"));
    assert_false(tn_path_exists(again));
    assert_ok(tn_adapter_export(f->folder, f->checkpoint, f->out, TN_ADAPTER_TYPE_GGUF, &report));
    assert_true(report.pairs == 14 && report.difference == 0 && report.numbers == 2 * 4 * 4096);
    assert_ok(tn_adapter_export(f->out, NULL, again, TN_ADAPTER_TYPE_PEFT, &report)); /* the file names its base now */
    tn_adapter_origin origin;
    tn_adapter *copy;
    tn_adapter_base whole = {.config = &base.config, .model = base.model};
    assert_ok(tn_adapter_file_load(&copy, f->arena, again, &whole, &origin));
    assert_true(compare(adapter, copy) == 0);
    assert_string_equal(origin.base_id, whole.id);
    tn_test_tiny_checkpoint(second, TN_TOKENIZER_BPE, other);
    char before[] = "the file as it was";
    assert_ok(tn_file_write(f->out, before, sizeof before));
    assert_int_equal(tn_adapter_export(again, second, f->out, TN_ADAPTER_TYPE_GGUF, &report), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "was trained beside another model"));
    tn_buf text = {0};
    assert_ok(tn_file_read(f->out, 100, &text));
    assert_string_equal(tn_buf_text(&text), before);
    tn_buf_release(&text);
    tn_loaded_release(&base);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_model_rig_set_up_folder, tn_model_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(adapter__comes_back_from_peft_with_equal_bits),
        TEST(adapter__comes_back_from_gguf_with_equal_bits),
        TEST(adapter__of_alphas_that_differ_is_rounded_by_gguf_once),
        TEST(adapter__goes_through_both_formats_in_turn),
        TEST(peft__has_a_turned_and_names_of_peft),
        TEST(gguf__has_rows_of_q_in_pairs_for_llama_alone),
        TEST(gguf__means_the_same_without_the_keys_of_tern),
        TEST(peft__of_other_names_and_types_is_read),
        TEST(gguf__of_llama_cpp_is_read),
        TEST(export__proves_and_checks_the_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
