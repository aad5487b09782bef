/* SPDX-License-Identifier: MIT
 * Files of adapters that are refused, each with one sentence; damage anywhere is found or does no harm. */
#include "core/fs.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "models/adapter_writing.h"
#include "models/model_file.h"
#include "tests/damage.h"
#include "tests/model_rig.h"
#include "tests/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static tn_status load(tn_model_rig *f, const char *path) {
    tn_adapter_base base = {.config = &tn_model_rig_small};
    tn_adapter *adapter;
    return tn_adapter_file_load(&adapter, f->arena, path, &base, NULL);
}

/* One sentence, with the path of the file and what is wrong. */
static void refused(tn_model_rig *f, const char *path, const char *expected) {
    const tn_status status = load(f, path);
    if (!status || !strstr(tn_error_message(), expected) || !strstr(tn_error_message(), f->dir))
        fail_msg("%s: expected \"%s\", found \"%s\"", path, expected, status ? tn_error_message() : "no failure");
}

static void write_text(tn_model_rig *f, const char *name, const char *text) {
    char path[TN_TEST_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    assert_ok(tn_file_write(path, text, strlen(text)));
}

/* ---- folders of peft ---- */

#define PREFIX "base_model.model.model.layers."
#define Q      ".self_attn.q_proj.lora_"

/* What one tensor differs in. */
typedef struct edit {
    const char *name; /* NULL: nothing */
    const char *as;   /* has this name; NULL: is left out */
    int64_t rows, cols;
    tn_safetensor_type type;
    float value;
} edit;

static const edit pairs[] = {{PREFIX "0" Q "A.weight", NULL, 2, 32, TN_SAFETENSOR_F32, 1},
                             {PREFIX "0" Q "B.weight", NULL, 32, 2, TN_SAFETENSOR_F32, 1},
                             {PREFIX "1" Q "A.weight", NULL, 2, 32, TN_SAFETENSOR_F32, 1},
                             {PREFIX "1" Q "B.weight", NULL, 32, 2, TN_SAFETENSOR_F32, 1}};

static void announce(tn_safetensors_writer *w, const char *name, const edit *e, int *number) {
    const int64_t shape[2] = {e->rows, e->cols};
    assert_ok(tn_safetensors_announce(w, name, e->type, 2, shape, number));
}

/* Both pairs but for the edit; one whose name is none of theirs is added. */
static void write_tensors(tn_model_rig *f, const edit *change, const char *input) {
    static float values[64 * 64];
    tn_safetensors_writer *w;
    char path[TN_TEST_PATH + 64];
    const edit *rows[TN_COUNT(pairs) + 1];
    int numbers[TN_COUNT(pairs) + 1], n = 0;
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", f->folder);
    assert_ok(tn_safetensors_create(&w, path));
    if (input) assert_ok(tn_safetensors_note(w, "tern.lora.input", input));
    bool found = false;
    for (size_t i = 0; i < TN_COUNT(pairs); i++) {
        const bool is = change->name && strcmp(change->name, pairs[i].name) == 0;
        found |= is;
        if (is && !change->as) continue;
        rows[n] = is ? change : &pairs[i];
        announce(w, is ? change->as : pairs[i].name, rows[n], &numbers[n]);
        n++;
    }
    if (change->name && !found) {
        rows[n] = change;
        announce(w, change->name, change, &numbers[n]);
        n++;
    }
    for (int i = 0; i < n; i++) {
        const size_t count = (size_t)(rows[i]->rows * rows[i]->cols), each = rows[i]->type == TN_SAFETENSOR_F32 ? 4 : 1;
        for (size_t k = 0; k < count; k++) values[k] = k == 5 ? rows[i]->value : 1;
        assert_ok(tn_safetensors_put_piece(w, numbers[i], values, each * count));
    }
    assert_ok(tn_safetensors_commit(w, NULL));
}

static const char good[] = "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\"]}";

static void peft__of_other_kinds_is_refused_by_its_config(void **state) {
    tn_model_rig *f = *state;
    static const struct {
        const char *config, *expected;
    } cases[] = {
        {"", "expected JSON"},
        {"{\"peft_type\": \"LORA\", \"r\": 2", "line 1"},
        {"[1]", "is no JSON object"},
        {"{\"r\": 2}", "peft_type is missing"},
        {"{\"peft_type\": \"IA3\"}", "peft_type is \"IA3\", Tern reads \"LORA\""},
        {"{\"peft_type\": 7}", "peft_type is the number 7, expected a text"},
        {"{\"peft_type\": \"LORA\", \"use_dora\": true}", "use_dora is true: DoRA"},
        {"{\"peft_type\": \"LORA\", \"bias\": \"all\"}", "bias is"},
        {"{\"peft_type\": \"LORA\", \"lora_bias\": true}", "lora_bias is true: B has a bias"},
        {"{\"peft_type\": \"LORA\", \"modules_to_save\": [\"lm_head\"]}", "modules_to_save is a list: modules are"},
        {"{\"peft_type\": \"LORA\", \"layer_replication\": [[0, 1]]}", "layer_replication is a list"},
        {"{\"peft_type\": \"LORA\", \"alora_invocation_tokens\": [1]}", "alora_invocation_tokens is a list"},
        {"{\"peft_type\": \"LORA\", \"init_lora_weights\": \"pissa_niter_4\"}",
         "init_lora_weights is \"pissa_niter_4\""},
        {"{\"peft_type\": \"LORA\", \"r\": 0}", "r is 0, expected a whole number from 1 to 4096"},
        {"{\"peft_type\": \"LORA\", \"r\": 2.5}", "r is 2.5"},
        {"{\"peft_type\": \"LORA\", \"r\": \"2\"}", "r is a string, expected a number"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": -1}", "lora_alpha is -1, expected a positive number"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 1e300}", "an alpha of 1e+300 for rank 2 is beyond"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_dropout\": 1}", "lora_dropout is 1"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"use_rslora\": 1}",
         "use_rslora is the number 1, expected true or false"},
        {"{\"peft_type\": \"LORA\", \"r\": 3}", "the pair of model.layers.0.self_attn.q_proj is of rank 2, "
                                                "adapter_config.json says 3"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"rank_pattern\": {\"q_proj\": 8}}", "is of rank 2, adapter_config.json "
                                                                                   "says 8"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"rank_pattern\": [1]}", "rank_pattern is a list, expected an object"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": 3}",
         "target_modules is the number 3, expected a text or"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": [3]}",
         "target_modules is a list, expected a text or a list of"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"alpha_pattern\": {\"q_proj\": \"x\"}}", "alpha_pattern.q_proj is"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"alpha_pattern\": {\"q_proj\": 0}}", "alpha_pattern is 0"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"alpha_pattern\": {\".*q_proj\": 4}}", "\".*q_proj\" is a regular "
                                                                                      "expression"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": [\"q_proj\", \"up_proj\"]}",
         "has no pair for model.layers.0.mlp.up_proj, which target_modules names"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": [\"layers.0.self_attn.q_proj\"]}",
         "has a pair for model.layers.1.self_attn.q_proj, which target_modules does not name"},
        {"{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": \"all-linear\"}", "has no pair for "
                                                                                    "model.layers.0.self_attn.k_proj"},
    };
    write_tensors(f, &(edit){0}, NULL);
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        write_text(f, "adapter_config.json", cases[i].config);
        refused(f, f->folder, cases[i].expected);
    }
    write_text(f, "adapter_config.json", good);
    assert_ok(load(f, f->folder));
}

static void peft__of_other_tensors_is_refused_by_their_name(void **state) {
    tn_model_rig *f = *state;
    static const struct {
        edit edit;
        const char *expected;
    } cases[] = {
        {{PREFIX "0" Q "A.weight", NULL, 0, 0, 0, 0},
         "q_proj.lora_B.weight has no other half: A of blk.0.attn_q.weight"},
        {{PREFIX "1" Q "B.weight", NULL, 0, 0, 0, 0},
         "q_proj.lora_A.weight has no other half: B of blk.1.attn_q.weight"},
        {{PREFIX "0" Q "A.weight", PREFIX "0" Q "A.weight", 3, 32, TN_SAFETENSOR_F32, 1}, "is of rank 3, "},
        {{PREFIX "0" Q "A.weight", PREFIX "0" Q "A.weight", 2, 31, TN_SAFETENSOR_F32, 1},
         "has 2 rows of 31 numbers, an adapter of rank 2 of this model has 2 of 32"},
        {{PREFIX "0" Q "B.weight", PREFIX "0" Q "B.weight", 33, 2, TN_SAFETENSOR_F32, 1},
         "has 33 rows of 2 numbers, an adapter of rank 2 of this model has 32 of 2"},
        {{PREFIX "1" Q "A.weight", PREFIX "1" Q "A.weight", 2, 32, TN_SAFETENSOR_F32, NAN},
         "element 5 of " PREFIX "1" Q "A.weight is nan, not a finite number"},
        {{PREFIX "1" Q "B.weight", PREFIX "1" Q "B.weight", 32, 2, TN_SAFETENSOR_F32, -INFINITY},
         "element 5 of " PREFIX "1" Q "B.weight is -inf, not a finite number"},
        {{PREFIX "1" Q "B.weight", PREFIX "1" Q "B.weight", 32, 2, TN_SAFETENSOR_U8, 1}, "is U8, expected F32, F16 or"},
        {{PREFIX "2" Q "A.weight", NULL, 2, 32, TN_SAFETENSOR_F32, 1}, "is for a matrix that this model does not have"},
        {{PREFIX "0.mlp.router.lora_A.weight", NULL, 2, 32, TN_SAFETENSOR_F32, 1}, "is for a matrix that this model"},
        {{PREFIX "0.self_attn.q_proj.lora_magnitude_vector", NULL, 1, 32, TN_SAFETENSOR_F32, 1}, "is of DoRA"},
        {{PREFIX "0" Q "B.bias", NULL, 1, 32, TN_SAFETENSOR_F32, 1}, "Tern runs models without biases"},
        {{"base_model.model.lm_head.weight", NULL, 20, 32, TN_SAFETENSOR_F32, 1}, "is trained in full"},
    };
    write_text(f, "adapter_config.json", good);
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        write_tensors(f, &cases[i].edit, NULL);
        refused(f, f->folder, cases[i].expected);
    }
    write_tensors(f, &(edit){0}, "codes");
    refused(f, f->folder, "tern.lora.input is \"codes\", expected raw or quantized");
}

static void adapter__that_is_none_is_told_so(void **state) {
    tn_model_rig *f = *state;
    char path[TN_TEST_PATH + 64];
    refused(f, f->folder, "holds no adapter: neither adapter_config.json");
    write_text(f, "adapter_config.json", good);
    refused(f, f->folder, "holds no adapter_model.safetensors");
    write_text(f, "adapter_model.bin", "");
    refused(f, f->folder, "holds no adapter_model.safetensors; adapter_model.bin is not read");
    snprintf(path, sizeof path, "%s/adapter_model.bin", f->folder);
    refused(f, path, "is no adapter: expected");
    snprintf(path, sizeof path, "%s/nothing", f->dir);
    refused(f, path, "no such file or directory");
    snprintf(path, sizeof path, "%s/step.h5", f->dir);
    tn_test_tiny_checkpoint(path, TN_TOKENIZER_BPE, NULL);
    refused(f, path, "is a checkpoint of a model, it holds no adapter");
}

/* ---- GGUF ---- */

typedef struct keys {
    const char *type, *adapter, *architecture; /* NULL: absent */
    float alpha;
    const char *name;
    int64_t ne[2];
    const char *config;
    const char *expected;
} keys;

static void write_gguf(tn_model_rig *f, const keys *k) {
    static const float values[64 * 64] = {1};
    tn_gguf_writer *w;
    const int64_t a[2] = {32, 2};
    assert_ok(tn_gguf_create(&w, f->out));
    if (k->type) assert_ok(tn_gguf_put_text(w, "general.type", k->type, strlen(k->type)));
    if (k->adapter) assert_ok(tn_gguf_put_text(w, "adapter.type", k->adapter, strlen(k->adapter)));
    assert_ok(tn_gguf_put_text(w, "general.architecture", k->architecture, strlen(k->architecture)));
    assert_ok(tn_gguf_put_f32(w, "adapter.lora.alpha", k->alpha));
    if (k->config) assert_ok(tn_gguf_put_text(w, "tern.peft.config", k->config, strlen(k->config)));
    assert_ok(tn_gguf_announce(w, "blk.0.attn_q.weight.lora_a", TN_GGML_F32, 2, a));
    assert_ok(tn_gguf_announce(w, k->name, TN_GGML_F32, 2, k->ne));
    assert_ok(tn_gguf_put_data(w, values, 64 * sizeof *values));
    assert_ok(tn_gguf_put_data(w, values, (size_t)(k->ne[0] * k->ne[1]) * sizeof *values));
    assert_ok(tn_gguf_commit(w));
}

static void gguf__of_other_kinds_is_refused(void **state) {
    tn_model_rig *f = *state;
    static const char b[] = "blk.0.attn_q.weight.lora_b", arch[] = "bitnet-b1.58";
    const keys cases[] = {
        {NULL, NULL, arch, 4, b, {2, 32}, NULL, "is a GGUF file, but no adapter"},
        {"model", "lora", arch, 4, b, {2, 32}, NULL, "general.type is \"model\", expected \"adapter\""},
        {"adapter", "ia3", arch, 4, b, {2, 32}, NULL, "adapter.type is \"ia3\", expected \"lora\""},
        {"adapter", "lora", "llama", 4, b, {2, 32}, NULL, "is for a model of architecture llama, this one is bitnet"},
        {"adapter", "lora", "qwen3", 4, b, {2, 32}, NULL, "general.architecture is \"qwen3\""},
        {"adapter", "lora", arch, -4, b, {2, 32}, NULL, "adapter.lora.alpha is -4"},
        {"adapter", "lora", arch, NAN, b, {2, 32}, NULL, "adapter.lora.alpha is nan"},
        {"adapter", "lora", arch, 4, b, {3, 32}, NULL, "is of rank 2, "},
        {"adapter", "lora", arch, 4, b, {2, 16}, NULL, "has 16 rows of 2 numbers, an adapter of rank 2 of this model"},
        {"adapter", "lora", arch, 4, "blk.2.attn_q.weight.lora_b", {2, 32}, NULL, "has no other half"},
        {"adapter", "lora", arch, 4, "blk.0.attn_norm.weight", {2, 32}, NULL, "has no other half"},
        {"adapter", "lora", arch, 4, b, {2, 32}, "{\"peft_type\": \"LORA\", \"r\": 3}", "tern.peft.config says 3"},
        {"adapter", "lora", arch, 0, b, {2, 32}, "{\"peft_type\": \"LORA\", \"r\": 2}", "contradict each other"},
        {"adapter", "lora", arch, 4, b, {2, 32}, "{\"r\": 2}", "tern.peft.config: peft_type is missing"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        write_gguf(f, &cases[i]);
        refused(f, f->out, cases[i].expected);
    }
    write_gguf(f, &(keys){"adapter", "lora", arch, 4, b, {2, 32}, NULL, NULL});
    assert_ok(load(f, f->out));
}

/* ---- damage ---- */

typedef struct hurting {
    tn_model_rig *f;
    const char *path;
    int loaded, refused;
} hurting;

static void try_loading(void *context, const char *path, size_t at) {
    hurting *h = context;
    (void)path;
    (void)at;
    const tn_arena_mark mark = tn_arena_get_mark(h->f->arena);
    if (load(h->f, h->path))
        h->refused++;
    else
        h->loaded++;
    tn_arena_rewind(h->f->arena, &mark);
}

static const tn_adapter *make(tn_model_rig *f) {
    tn_adapter *adapter;
    assert_ok(tn_adapter_create(&adapter, f->arena, &tn_model_rig_small, &(tn_adapter_options){0}));
    assert_ok(tn_adapter_add_modules(adapter, "q_proj", 2, 4, NULL, 0));
    tn_adapter_init(adapter, 3);
    return adapter;
}

static void gguf__damaged_anywhere_is_refused(void **state) {
    tn_model_rig *f = *state;
    hurting h = {f, f->out, 0, 0};
    assert_ok(tn_adapter_write_gguf(make(f), &(tn_adapter_origin){0}, "a", f->out));
    tn_test_flip_each(f->out, 3, try_loading, &h);
    tn_test_cut_each(f->out, 7, try_loading, &h);
    assert_true(h.loaded == 0 && h.refused > 500);
}

static void peft__damaged_anywhere_does_no_harm(void **state) {
    tn_model_rig *f = *state;
    char path[TN_TEST_PATH + 64];
    int64_t bytes;
    hurting h = {f, f->folder, 0, 0};
    assert_ok(tn_adapter_write_peft(make(f), &(tn_adapter_origin){0}, f->folder, &bytes));
    for (int i = 0; i < TN_PEFT_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, tn_peft_files[i]);
        tn_test_flip_each(path, 1, try_loading, &h);
        const int loaded = h.loaded;
        tn_test_cut_each(path, 1, try_loading, &h);
        assert_true(h.loaded - loaded <= 1); /* the last line break of the config */
    }
    assert_true(h.refused > 1000);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_model_rig_set_up_folder, tn_model_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(peft__of_other_kinds_is_refused_by_its_config),
        TEST(peft__of_other_tensors_is_refused_by_their_name),
        TEST(adapter__that_is_none_is_told_so),
        TEST(gguf__of_other_kinds_is_refused),
        TEST(gguf__damaged_anywhere_is_refused),
        TEST(peft__damaged_anywhere_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
