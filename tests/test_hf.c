/* SPDX-License-Identifier: MIT
 * Models out of Hugging Face folders: the same bits as the model they were written from, and one wrong thing at a time.
 */
#include "core/arena.h"
#include "core/fs.h"
#include "core/log.h"
#include "kernels/kernels.h"
#include "models/hf_names.h"
#include "models/hf_weights.h"
#include "tests/hf_folder.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct fixture {
    char dir[TN_TEST_PATH], folder[TN_TEST_PATH + 16], checkpoint[TN_TEST_PATH + 16];
    tn_arena *arena;
    tn_loaded source; /* with latents */
    const tn_real *logits;
    int vocab;
} fixture;

static const int32_t ids[] = {1, 7, 30, 2, 99, 12, 61, 4};
enum { N_IDS = (int)TN_COUNT(ids) };

static void make(fixture *f, const char *const *settings) {
    tn_loaded_release(&f->source);
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_BPE, settings);
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, TN_MODEL_EVAL, &f->source));
    f->vocab = tn_model_get_config(f->source.model)->vocab_size;
    f->logits = tn_test_logits(f->source.model, ids, N_IDS, f->arena);
}

static int set_up(void **state) {
    static fixture f;
    f = (fixture){.vocab = 0};
    assert_ok(tn_kernels_init(NULL));
    tn_test_dir_make(f.dir);
    snprintf(f.checkpoint, sizeof f.checkpoint, "%s/step.h5", f.dir);
    snprintf(f.folder, sizeof f.folder, "%s/hf", f.dir);
    f.arena = tn_arena_create("test");
    make(&f, (const char *const[]){"model.n_layer=1", NULL});
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tn_loaded_release(&f->source);
    tn_arena_free(f->arena);
    tn_test_dir_remove(f->dir);
    return 0;
}

static tn_status load(fixture *f, tn_model_use use, tn_loaded *out) {
    return tn_model_file_load(f->folder, f->arena, use, out);
}

/* Greatest difference of the folder's logits from the source's. */
static double distance(fixture *f, tn_model_use use) {
    tn_loaded loaded;
    double most = 0;
    assert_ok(load(f, use, &loaded));
    const tn_real *found = tn_test_logits(loaded.model, ids, N_IDS, f->arena);
    for (int i = 0; i < N_IDS * f->vocab; i++) most = fmax(most, fabs((double)found[i] - (double)f->logits[i]));
    tn_loaded_release(&loaded);
    return most;
}

/* ---- what is read ---- */

static tn_status check_name(void *context, const tn_param *param) {
    char theirs[TN_HF_NAME_SIZE], ours[TN_HF_NAME_SIZE];
    int *count = context;
    assert_true(tn_hf_name_of(param->name, theirs) && tn_hf_name_to_ours(theirs, ours));
    assert_string_equal(ours, param->name);
    return ++*count, TN_OK;
}

static void names__translate_both_ways(void **state) {
    const fixture *f = *state;
    tn_model_config config = *tn_model_get_config(f->source.model);
    char name[TN_HF_NAME_SIZE];
    int count = 0;
    config.n_layer = 12;
    config.tie_embeddings = false;
    assert_ok(tn_model_each_param(&config, check_name, &count));
    assert_int_equal(count, 12 * 11 + 3);
    assert_true(tn_hf_name_of("blk.11.ffn_down.weight", name));
    assert_string_equal(name, "model.layers.11.mlp.down_proj.weight");
    static const char *const strange[] = {"",
                                          "blk.",
                                          "blk.attn_q.weight",
                                          "blk.1.attn_q.bias",
                                          "blk.123456789.attn_q.weight",
                                          "token_embd",
                                          "model.norm.weight"};
    for (size_t i = 0; i < TN_COUNT(strange); i++) assert_false(tn_hf_name_of(strange[i], name));
}

static void folder__gives_the_logits_of_its_source(void **state) {
    fixture *f = *state;
    static const char *const shapes[][4] = {
        {"model.n_layer=2", NULL},
        {"model.n_layer=1", "model.tie_embeddings=false", "model.activation=silu", NULL},
        {"model.n_layer=1", "model.sub_norms=false", "model.head_dim=32", NULL},
    };
    for (size_t i = 0; i < TN_COUNT(shapes); i++) {
        make(f, shapes[i]);
        const tn_test_hf_options forms[] = {
            {.weights = TN_HF_LATENTS, .floats = TN_SAFETENSOR_F32},
            {.weights = TN_HF_MULTIPLIED, .floats = TN_SAFETENSOR_F32},
            {.weights = TN_HF_MULTIPLIED, .floats = TN_SAFETENSOR_F32, .numbers = true},
        };
        for (size_t k = 0; k < TN_COUNT(forms); k++) {
            tn_test_hf_folder(f->folder, &f->source, &forms[k]);
            assert_true(distance(f, TN_MODEL_RUN) == 0);
            assert_true(distance(f, TN_MODEL_EXPORT) == 0);
        }
        tn_test_hf_folder(f->folder, &f->source, &forms[0]);
        assert_true(distance(f, TN_MODEL_EVAL) == 0);
        assert_true(distance(f, TN_MODEL_TRAIN) == 0);
    }
}

/* One over one over a scale may be off by its last bit, and that may move a code of an activation. */
static void folder__scales_that_divide_are_turned_over(void **state) {
    fixture *f = *state;
    tn_loaded loaded;
    int n;
    tn_test_hf_folder(f->folder, &f->source,
                      &(tn_test_hf_options){.weights = TN_HF_DIVIDED, .floats = TN_SAFETENSOR_F32});
    assert_ok(load(f, TN_MODEL_EXPORT, &loaded));
    tn_param **params = tn_model_params(loaded.model, &n);
    for (int i = 0; i < n; i++) {
        const tn_param *before = tn_model_find(f->source.model, params[i]->name);
        if (before->quantizer == TN_QUANT_NONE) continue;
        assert_memory_equal(params[i]->states, before->states, (size_t)tn_param_count(before));
        assert_true(fabs((double)(params[i]->scale / before->scale) - 1) < 2e-7);
    }
    tn_loaded_release(&loaded);
}

static void folder__without_quantization_is_the_float_twin(void **state) {
    fixture *f = *state;
    make(f, (const char *const[]){"model.n_layer=1", "model.quantization=none", NULL});
    tn_test_hf_folder(f->folder, &f->source,
                      &(tn_test_hf_options){.weights = TN_HF_FLOATS, .floats = TN_SAFETENSOR_F32});
    assert_true(distance(f, TN_MODEL_RUN) == 0);
    assert_true(distance(f, TN_MODEL_TRAIN) == 0);
}

static void folder__latents_are_those_of_the_file_for_training(void **state) {
    fixture *f = *state;
    tn_loaded loaded;
    int n;
    tn_test_hf_folder(f->folder, &f->source,
                      &(tn_test_hf_options){.weights = TN_HF_LATENTS, .floats = TN_SAFETENSOR_BF16});
    assert_ok(load(f, TN_MODEL_TRAIN, &loaded));
    tn_param **params = tn_model_params(loaded.model, &n);
    for (int i = 0; i < n; i++) {
        const tn_param *before = tn_model_find(f->source.model, params[i]->name);
        for (int64_t k = 0; k < tn_param_count(params[i]); k++) {
            const float wide = (float)before->tensor.real[k], found = (float)params[i]->tensor.real[k];
            uint32_t bits;
            memcpy(&bits, &found, 4);
            assert_true((bits & 0xffff) == 0 && fabsf(found - wide) <= fabsf(wide) / 256);
        }
    }
    tn_loaded_release(&loaded);
    /* Run, the same latents give the states that training sees. */
    assert_ok(load(f, TN_MODEL_EVAL, &loaded));
    f->logits = tn_test_logits(loaded.model, ids, N_IDS, f->arena);
    tn_loaded_release(&loaded);
    assert_true(distance(f, TN_MODEL_RUN) == 0);
}

static void folder__of_states_gives_no_latents(void **state) {
    fixture *f = *state;
    tn_loaded loaded;
    tn_test_hf_folder(f->folder, &f->source,
                      &(tn_test_hf_options){.weights = TN_HF_MULTIPLIED, .floats = TN_SAFETENSOR_F32});
    assert_int_equal(load(f, TN_MODEL_TRAIN, &loaded), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "holds ternary weights, not the latents"));
    assert_int_equal(load(f, TN_MODEL_EVAL, &loaded), TN_E_UNSUPPORTED);
}

static void folder__table_stays_in_the_file(void **state) {
    fixture *f = *state;
    tn_loaded loaded;
    tn_test_hf_folder(f->folder, &f->source,
                      &(tn_test_hf_options){.weights = TN_HF_MULTIPLIED, .floats = TN_SAFETENSOR_BF16});
    assert_ok(load(f, TN_MODEL_RUN, &loaded));
    const tn_param *table = tn_model_find(loaded.model, "token_embd.weight");
    const tn_safetensor *stored = tn_safetensors_find(loaded.tensors, "model.embed_tokens.weight");
    assert_true(table->table.data == stored->data && table->table.type == TN_TABLE_BF16);
    assert_string_equal(loaded.path, f->folder);
    assert_string_equal(loaded.description, "Hugging Face bitnet, autobitlinear offline, embedding BF16");
    tn_loaded_release(&loaded);
}

/* ---- packed states ---- */

static void write_packed(const char *path, const unsigned char *packed, int64_t rows, int64_t cols, float scale) {
    tn_safetensors_writer *w;
    int a, b;
    assert_ok(tn_safetensors_create(&w, path));
    assert_ok(tn_safetensors_announce(w, "model.layers.0.self_attn.q_proj.weight", TN_SAFETENSOR_U8, 2,
                                      (int64_t[]){rows, cols}, &a));
    assert_ok(tn_safetensors_announce(w, "model.layers.0.self_attn.q_proj.weight_scale", TN_SAFETENSOR_F32, 1,
                                      (int64_t[]){1}, &b));
    assert_ok(tn_safetensors_put_piece(w, a, packed, (size_t)(rows * cols)));
    assert_ok(tn_safetensors_put_piece(w, b, &scale, 4));
    assert_ok(tn_safetensors_commit(w, NULL));
}

/* The states of one packed matrix, in the arena. */
static const int8_t *unpack(fixture *f, const unsigned char *packed, int rows, int cols, tn_hf_weights weights,
                            tn_real *scale) {
    tn_safetensors *file;
    tn_param *p = tn_arena_zalloc(f->arena, 1, sizeof *p, "test");
    tn_arena *scratch = tn_arena_create("test");
    assert_true(p && scratch);
    *p = (tn_param){.name = "blk.0.attn_q.weight",
                    .rows = rows,
                    .cols = cols,
                    .quantizer = TN_QUANT_ABSMEAN_TERNARY,
                    .product = true};
    assert_ok(tn_param_init(p, f->arena, TN_PARAM_KEPT));
    write_packed(f->checkpoint, packed, rows / 4, cols, 0.25f);
    assert_ok(tn_safetensors_open(&file, f->checkpoint));
    tn_hf_reading reading = {.file = file, .weights = weights, .reading = {.scratch = scratch}};
    assert_ok(tn_hf_read_weights(&reading, p));
    *scale = p->scale;
    tn_reading_end(&reading.reading, "test");
    tn_safetensors_close(file);
    tn_arena_free(scratch);
    return p->states;
}

static void packed__is_the_vector_of_the_documentation(void **state) {
    fixture *f = *state;
    static const unsigned char packed[] = {0xa1, 0x18, 0x90, 0x0a};
    static const int8_t expected[8][2] = {{0, -1}, {-1, 1}, {-1, 1}, {-1, 1}, {1, 0}, {0, -1}, {1, -1}, {1, -1}};
    tn_real scale;
    assert_memory_equal(unpack(f, packed, 8, 2, TN_HF_MULTIPLIED, &scale), expected, sizeof expected);
    assert_true(scale == (tn_real)0.25);
    assert_memory_equal(unpack(f, packed, 8, 2, TN_HF_DIVIDED, &scale), expected, sizeof expected);
    assert_true(scale == 4);
}

static void packed__is_the_vector_of_two_encoders(void **state) {
    fixture *f = *state;
    static const char hex[] =
        "465150299926846428104522541426029850046096a546a44018689a51026656aa010a169151a050a25a088859"
        "261412aa9420262566040168299aa1a9418558";
    unsigned char packed[64];
    int8_t expected[256];
    uint32_t x = 1;
    tn_real scale;
    for (int i = 0; i < 64; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        packed[i] = (unsigned char)byte;
    }
    for (int i = 0; i < 256; i++) {
        x = (x * 1103515245u + 12345) & 0x7fffffff;
        expected[i] = (int8_t)((int)((x >> 16) % 3) - 1);
    }
    assert_memory_equal(unpack(f, packed, 4, 64, TN_HF_MULTIPLIED, &scale), expected, sizeof expected);
}

/* ---- what is refused ---- */

#define Q    "model.layers.0.self_attn.q_proj.weight"
#define NORM "model.layers.0.input_layernorm.weight"

static void expect(fixture *f, const tn_test_hf_options *o, tn_status status, const char *words) {
    tn_loaded loaded;
    tn_test_hf_folder(f->folder, &f->source, o);
    const tn_status found = load(f, TN_MODEL_RUN, &loaded);
    if (found != status || (status && !strstr(tn_error_message(), words)))
        fail_msg("expected \"%s\", got %s: %s", words, tn_status_name(found), tn_error_message());
    if (!found) tn_loaded_release(&loaded);
}

static void tensors__that_cannot_be_are_refused(void **state) {
    fixture *f = *state;
    const struct {
        tn_hf_weights weights;
        tn_test_hf_edit edit;
        tn_status status;
        const char *words;
    } rows[] = {
        {TN_HF_LATENTS, {.drop = Q}, TN_E_MISSING, "has no tensor " Q},
        {TN_HF_LATENTS, {.drop = "model.norm.weight"}, TN_E_MISSING, "has no tensor model.norm.weight"},
        {TN_HF_MULTIPLIED, {.drop = Q "_scale"}, TN_E_MISSING, "has no tensor " Q "_scale"},
        {TN_HF_LATENTS, {.add = "model.extra"}, TN_E_MISMATCH, "tensor model.extra is not part of the model"},
        {TN_HF_LATENTS, {.add = Q "_scale"}, TN_E_MISMATCH, "is not part of the model"},
        {TN_HF_LATENTS, {.add = "model.layers.0.self_attn.q_proj.bias"}, TN_E_UNSUPPORTED, "without biases"},
        {TN_HF_LATENTS, {.add = "model.layers.0.mlp.up_proj.rms_norm.weight"}, TN_E_UNSUPPORTED, "no norm of each"},
        {TN_HF_LATENTS, {.shape = Q}, TN_E_MISMATCH, Q " is [257, 256], config.json asks for [256, 256]"},
        {TN_HF_LATENTS, {.shape = NORM}, TN_E_MISMATCH, NORM " is [257], config.json asks for [256]"},
        {TN_HF_MULTIPLIED, {.shape = Q}, TN_E_MISMATCH, Q " is [65, 256], config.json asks for [64, 256]"},
        {TN_HF_MULTIPLIED, {.shape = Q "_scale"}, TN_E_MISMATCH, "_scale is F32 [2], expected one number"},
        {TN_HF_LATENTS, {.typed = NORM, .type = TN_SAFETENSOR_U8}, TN_E_UNSUPPORTED, "expected F32, F16 or BF16"},
        {TN_HF_MULTIPLIED, {.typed = Q "_scale", .type = TN_SAFETENSOR_U8}, TN_E_MISMATCH, "is U8 [1]"},
        {TN_HF_LATENTS, {.name = Q, .at = 300, .value = NAN}, TN_E_CORRUPT, "element 300 of " Q " is nan"},
        {TN_HF_LATENTS, {.name = NORM, .at = 3, .value = INFINITY}, TN_E_CORRUPT, "element 3 of " NORM " is inf"},
        {TN_HF_MULTIPLIED, {.name = Q, .at = 256, .value = 0x5d}, TN_E_CORRUPT, Q ": row 65 has code 3"},
        {TN_HF_MULTIPLIED, {.name = Q "_scale", .value = 0}, TN_E_CORRUPT, "_scale is 0, expected a finite positive"},
        {TN_HF_DIVIDED, {.name = Q "_scale", .value = -1}, TN_E_CORRUPT, "_scale is -1, expected a finite positive"},
        {TN_HF_DIVIDED, {.name = Q "_scale", .value = 1e-45f}, TN_E_CORRUPT, "the scale of " Q " is inf"},
        {TN_HF_MULTIPLIED, {.name = Q "_scale", .value = NAN}, TN_E_CORRUPT, "_scale is nan"},
        {TN_HF_LATENTS, {.add = "model.layers.0.self_attn.rotary_emb.inv_freq"}, TN_OK, ""},
        {TN_HF_LATENTS, {.add = "lm_head.weight"}, TN_OK, ""},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++)
        expect(f, &(tn_test_hf_options){.weights = rows[i].weights, .floats = TN_SAFETENSOR_F32, .edit = rows[i].edit},
               rows[i].status, rows[i].words);
    expect(f,
           &(tn_test_hf_options){.weights = TN_HF_MULTIPLIED,
                                 .floats = TN_SAFETENSOR_F32,
                                 .numbers = true,
                                 .edit = {.name = Q, .at = 9, .value = 0.5f}},
           TN_E_UNSUPPORTED, "is not ternary: it holds both");
}

static void tensors__of_too_many_rows_for_four_are_refused(void **state) {
    fixture *f = *state;
    make(f, (const char *const[]){"model.n_layer=1", "model.d_ff=514", NULL});
    tn_test_hf_options o = {.weights = TN_HF_MULTIPLIED, .floats = TN_SAFETENSOR_F32};
    expect(f, &o, TN_E_UNSUPPORTED, "514 rows cannot be packed by four");
    o.numbers = true;
    expect(f, &o, TN_OK, "");
}

typedef struct heard {
    int warnings;
    char last[512];
} heard;

static void hear(void *context, tn_log_level level, const char *area, const char *message) {
    heard *h = context;
    (void)area;
    if (level != TN_LOG_WARN) return;
    h->warnings++;
    snprintf(h->last, sizeof h->last, "%s", message);
}

static void matrices__of_zeros_are_named_in_a_warning(void **state) {
    fixture *f = *state;
    const tn_hf_weights forms[] = {TN_HF_LATENTS, TN_HF_MULTIPLIED, TN_HF_DIVIDED};
    for (size_t i = 0; i < TN_COUNT(forms); i++) {
        heard h = {0};
        tn_log_set_sink(hear, &h);
        expect(f, &(tn_test_hf_options){.weights = forms[i], .floats = TN_SAFETENSOR_BF16, .edit = {.zero = Q}}, TN_OK,
               "");
        tn_log_set_sink(NULL, NULL);
        assert_int_equal(h.warnings, 1);
        assert_non_null(strstr(h.last, "every weight is zero in 1 of its matrices: " Q));
    }
}

static void files__that_are_missing_are_named(void **state) {
    fixture *f = *state;
    tn_loaded loaded;
    char path[TN_TEST_PATH + 64];
    tn_test_hf_folder(f->folder, &f->source,
                      &(tn_test_hf_options){.weights = TN_HF_LATENTS, .floats = TN_SAFETENSOR_F32});
    static const struct {
        const char *remove, *words;
    } rows[] = {{"tokenizer.json", "holds no tokenizer.json"},
                {"model.safetensors", "holds no model.safetensors and no model.safetensors.index.json"},
                {"config.json", "and without config.json, so no model of Hugging Face"}};
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, rows[i].remove);
        assert_ok(tn_file_remove(path));
        if (i == 1) tn_test_hf_file(f->folder, "pytorch_model.bin", "PK");
        assert_int_equal(load(f, TN_MODEL_RUN, &loaded), TN_E_MISSING);
        if (!strstr(tn_error_message(), rows[i].words)) fail_msg("message: %s", tn_error_message());
        if (i == 1) assert_non_null(strstr(tn_error_message(), "pytorch_model.bin is not read"));
    }
    tn_test_hf_folder(f->folder, &f->source,
                      &(tn_test_hf_options){.weights = TN_HF_LATENTS, .floats = TN_SAFETENSOR_F32});
    assert_int_equal(tn_model_file_load(path, f->arena, TN_MODEL_RUN, &loaded), TN_E_FORMAT); /* its config.json */
    snprintf(path, sizeof path, "%s/model.safetensors", f->folder);
    assert_int_equal(tn_model_file_load(path, f->arena, TN_MODEL_RUN, &loaded), TN_E_FORMAT);
    assert_non_null(strstr(tn_error_message(), "is given by its folder"));
}

static void lack_of_memory__is_answered_without_a_leak(void **state) {
    fixture *f = *state;
    tn_test_hf_folder(f->folder, &f->source,
                      &(tn_test_hf_options){.weights = TN_HF_MULTIPLIED, .floats = TN_SAFETENSOR_F32});
    for (uint64_t n = 1; n < 4000; n += 1 + n / 20) {
        tn_loaded loaded;
        const int64_t alive = tn_memory_alive();
        tn_arena *arena = tn_arena_create("test");
        tn_memory_fail_at(n);
        const tn_status status = tn_model_file_load(f->folder, arena, TN_MODEL_RUN, &loaded);
        tn_memory_fail_at(0);
        if (!status) tn_loaded_release(&loaded);
        tn_arena_free(arena);
        assert_int_equal(tn_memory_alive(), alive);
        if (!status) return;
        assert_int_equal(status, TN_E_NOMEM);
    }
    fail_msg("memory for 4000 pieces is not enough");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(names__translate_both_ways),
        TEST(folder__gives_the_logits_of_its_source),
        TEST(folder__scales_that_divide_are_turned_over),
        TEST(folder__without_quantization_is_the_float_twin),
        TEST(folder__latents_are_those_of_the_file_for_training),
        TEST(folder__of_states_gives_no_latents),
        TEST(folder__table_stays_in_the_file),
        TEST(packed__is_the_vector_of_the_documentation),
        TEST(packed__is_the_vector_of_two_encoders),
        TEST(tensors__that_cannot_be_are_refused),
        TEST(tensors__of_too_many_rows_for_four_are_refused),
        TEST(matrices__of_zeros_are_named_in_a_warning),
        TEST(files__that_are_missing_are_named),
        TEST(lack_of_memory__is_answered_without_a_leak),
    };
    return cmocka_run_group_tests_name("hf", tests, NULL, NULL);
}
