/* SPDX-License-Identifier: MIT
 * config.json: a good one with one key changed at a time, and what Tern writes read back. */
#include "core/config.h"
#include "core/log.h"
#include "formats/json_text.h"
#include "models/hf_config.h"
#include "tests/testing.h"

#include <string.h>

/* As microsoft/bitnet-b1.58-2B-4T has it. */
static const char good[] =
    "{\"architectures\":[\"BitNetForCausalLM\"],\"bos_token_id\":128000,\"eos_token_id\":128001,\"hidden_act\":"
    "\"relu2\","
    "\"hidden_size\":2560,\"initializer_range\":0.02,\"intermediate_size\":6912,\"max_position_embeddings\":4096,"
    "\"model_type\":\"bitnet\",\"rms_norm_eps\":1e-05,\"num_attention_heads\":20,\"num_hidden_layers\":30,"
    "\"num_key_value_heads\":5,\"rope_theta\":500000.0,\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\","
    "\"use_cache\":true,\"vocab_size\":128256,\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":"
    "\"autobitlinear\",\"quantization_mode\":\"offline\"}}";

static tn_status read_text(const char *text, tn_hf_config *out) {
    return tn_hf_config_read("c", text, strlen(text), out);
}

/* `good` with the keys of `patch` set, those that are null there taken out. */
static tn_status read_patched(const char *patch, tn_hf_config *out) {
    json_error_t error;
    json_t *root = json_loads(good, 0, &error), *changes = json_loads(patch, 0, &error), *value;
    const char *key;
    assert_true(root && changes);
    json_object_foreach(changes, key, value) {
        if (json_is_null(value))
            json_object_del(root, key);
        else
            json_object_set(root, key, value);
    }
    tn_buf text = {0};
    assert_ok(tn_json_text_put(root, &text));
    const tn_status status = read_text(tn_buf_text(&text), out);
    tn_buf_release(&text);
    json_decref(root);
    json_decref(changes);
    return status;
}

static void config__of_the_published_model_is_understood(void **state) {
    (void)state;
    tn_hf_config c;
    assert_ok(read_text(good, &c));
    assert_true(c.model.vocab_size == 128256 && c.model.d_model == 2560 && c.model.d_ff == 6912);
    assert_true(c.model.n_layer == 30 && c.model.n_head == 20 && c.model.n_kv_head == 5 && c.model.head_dim == 128);
    assert_true(c.model.context == 4096 && c.model.norm_eps == 1e-5 && c.model.rope_theta == 500000);
    assert_true(c.model.tie_embeddings && c.model.sub_norms && c.model.activation == TN_ACTIVATION_RELU2);
    assert_true(c.model.quantization == TN_QUANTIZATION_BITNET && c.weights == TN_HF_MULTIPLIED);
    assert_true(c.bos == 128000 && c.eos.count == 1 && c.eos.list[0] == 128001);
    assert_string_equal(c.model_type, "bitnet");
}

static void config__quantization_decides_how_matrices_are_stored(void **state) {
    (void)state;
    static const struct {
        const char *patch;
        tn_hf_weights weights;
    } rows[] = {
        {"{\"quantization_config\":null}", TN_HF_FLOATS},
        {"{\"quantization_config\":{\"quant_method\":\"bitnet\"}}", TN_HF_DIVIDED},
        {"{\"quantization_config\":{\"quant_method\":\"bitnet\",\"quantization_mode\":\"online\"}}", TN_HF_DIVIDED},
        {"{\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"bitlinear\",\"use_rms_norm\":false,"
         "\"modules_to_not_convert\":[\"lm_head\"]}}",
         TN_HF_DIVIDED},
        {"{\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\"}}",
         TN_HF_MULTIPLIED},
        {"{\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\","
         "\"quantization_mode\":\"online\",\"modules_to_not_convert\":null}}",
         TN_HF_LATENTS},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        tn_hf_config c;
        assert_ok(read_patched(rows[i].patch, &c));
        assert_int_equal(c.weights, rows[i].weights);
        assert_int_equal(c.model.quantization == TN_QUANTIZATION_NONE, c.weights == TN_HF_FLOATS);
    }
}

static void config__what_is_absent_is_what_the_class_has(void **state) {
    (void)state;
    tn_hf_config c;
    assert_ok(read_patched("{\"rope_theta\":null,\"max_position_embeddings\":null,\"hidden_act\":null,"
                           "\"rms_norm_eps\":null,\"tie_word_embeddings\":null,\"architectures\":null,"
                           "\"bos_token_id\":null,\"eos_token_id\":null}",
                           &c));
    assert_true(c.model.rope_theta == 500000 && c.model.context == 2048 && c.model.norm_eps == 1e-5);
    assert_true(!c.model.tie_embeddings && c.model.activation == TN_ACTIVATION_RELU2);
    assert_true(c.bos == -1 && c.eos.count == 0);
    assert_ok(read_patched("{\"model_type\":\"llama\",\"architectures\":null,\"rope_theta\":null,\"hidden_act\":null,"
                           "\"rms_norm_eps\":null,\"num_key_value_heads\":null,\"eos_token_id\":[7,9,7]}",
                           &c));
    assert_true(c.model.rope_theta == 10000 && c.model.norm_eps == 1e-6 && c.model.n_kv_head == 20);
    assert_true(!c.model.sub_norms && c.model.activation == TN_ACTIVATION_SILU);
    assert_true(c.eos.count == 2 && c.eos.list[0] == 7 && c.eos.list[1] == 9);
}

static void config__rope_is_read_in_either_spelling(void **state) {
    (void)state;
    tn_hf_config c;
    assert_ok(
        read_patched("{\"rope_theta\":null,\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":7e5}}", &c));
    assert_true(c.model.rope_theta == 7e5 && c.model.rope_scaling == TN_ROPE_NONE);
    assert_ok(read_patched("{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}", &c));
    assert_true(c.model.rope_scaling == TN_ROPE_LINEAR && c.model.rope_factor == 2);
    assert_ok(read_patched("{\"rope_scaling\":{\"type\":\"linear\",\"factor\":1.0}}", &c));
    assert_true(c.model.rope_scaling == TN_ROPE_NONE);
    static const char *const llama3[] = {
        "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":2,\"high_freq_factor\":3,"
        "\"original_max_position_embeddings\":1024}}",
        "{\"rope_theta\":null,\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":2,"
        "\"high_freq_factor\":3,\"original_max_position_embeddings\":1024,\"rope_theta\":500000}}"};
    for (size_t i = 0; i < TN_COUNT(llama3); i++) {
        assert_ok(read_patched(llama3[i], &c));
        assert_true(c.model.rope_scaling == TN_ROPE_LLAMA3 && c.model.rope_factor == 8 && c.model.rope_theta == 5e5);
        assert_true(c.model.rope_low_freq_factor == 2 && c.model.rope_high_freq_factor == 3);
        assert_int_equal(c.model.rope_original_context, 1024);
    }
}

#define QUANTIZED(more) "{\"quantization_config\":{\"quant_method\":\"bitnet\"," more "}}"

static void config__that_cannot_be_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *patch;
        tn_status status;
        const char *words;
    } rows[] = {
        {"{\"model_type\":null}", TN_E_MISSING, "model_type is missing"},
        {"{\"model_type\":\"qwen3\"}", TN_E_UNSUPPORTED, "model_type is \"qwen3\", Tern runs bitnet and llama"},
        {"{\"model_type\":7}", TN_E_CORRUPT, "model_type is the number 7, expected a text"},
        {"{\"architectures\":[\"BitnetForCausalLM\"]}", TN_E_UNSUPPORTED, "architectures names \"BitnetForCausalLM\""},
        {"{\"architectures\":\"x\"}", TN_E_UNSUPPORTED, "architectures names \"\""},
        {"{\"hidden_size\":null}", TN_E_MISSING, "hidden_size is missing"},
        {"{\"hidden_size\":\"2560\"}", TN_E_CORRUPT, "hidden_size is a string, expected a number"},
        {"{\"hidden_size\":2560.5}", TN_E_CORRUPT, "hidden_size is 2560.5, expected a whole number"},
        {"{\"hidden_size\":-8}", TN_E_CORRUPT, "hidden_size is -8, expected 8 to 65536"},
        {"{\"num_hidden_layers\":1e300}", TN_E_CORRUPT, "num_hidden_layers is 1"},
        {"{\"num_key_value_heads\":null}", TN_E_MISSING, "num_key_value_heads is missing"},
        {"{\"num_key_value_heads\":3}", TN_E_CONFIG, "does not divide"},
        {"{\"rms_norm_eps\":0}", TN_E_CORRUPT, "rms_norm_eps is 0, expected 1e-12"},
        {"{\"attention_bias\":true}", TN_E_UNSUPPORTED, "attention_bias is true"},
        {"{\"mlp_bias\":true}", TN_E_UNSUPPORTED, "mlp_bias is true"},
        {"{\"attention_bias\":0}", TN_E_CORRUPT, "expected true or false"},
        {"{\"hidden_act\":\"gelu\"}", TN_E_UNSUPPORTED, "hidden_act is \"gelu\", expected relu2 or silu"},
        {"{\"rope_parameters\":{\"rope_theta\":10000}}", TN_E_CONFIG, "rope_theta is 500000, but 10000 in rope_param"},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}}", TN_E_UNSUPPORTED, "rope_type \"yarn\""},
        {"{\"rope_scaling\":3}", TN_E_CORRUPT, "rope_scaling is no object"},
        {"{\"rope_parameters\":{\"rope_type\":\"dynamic\"}}", TN_E_UNSUPPORTED, "rope_parameters has rope_type"},
        {"{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":0.5}}", TN_E_CORRUPT, "factor is 0.5, expected 1"},
        {"{\"partial_rotary_factor\":0.5}", TN_E_UNSUPPORTED, "partial_rotary_factor is 0.5"},
        {"{\"eos_token_id\":\"</s>\"}", TN_E_CORRUPT, "eos_token_id is a string, expected ids"},
        {"{\"eos_token_id\":[1,-1]}", TN_E_CORRUPT, "eos_token_id is the number -1"},
        {"{\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}", TN_E_UNSUPPORTED, "more than 16 ids"},
        {"{\"quantization_config\":{\"quant_method\":\"gptq\"}}", TN_E_UNSUPPORTED, "quant_method is \"gptq\""},
        {"{\"quantization_config\":{}}", TN_E_UNSUPPORTED, "quant_method is \"\""},
        {QUANTIZED("\"linear_class\":\"x\""), TN_E_UNSUPPORTED, "linear_class is \"x\", expected bitlinear or auto"},
        {QUANTIZED("\"quantization_mode\":\"x\""), TN_E_UNSUPPORTED, "quantization_mode is \"x\""},
        {QUANTIZED("\"use_rms_norm\":true"), TN_E_UNSUPPORTED, "use_rms_norm is true"},
        {QUANTIZED("\"modules_to_not_convert\":[]"), TN_E_UNSUPPORTED, "lacks lm_head"},
        {QUANTIZED("\"modules_to_not_convert\":[\"lm_head\",\"model.layers.0.mlp\"]"), TN_E_UNSUPPORTED,
         "has \"model.layers.0.mlp\""},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        tn_hf_config c;
        const tn_status status = read_patched(rows[i].patch, &c);
        if (status != rows[i].status || !strstr(tn_error_message(), rows[i].words))
            fail_msg("%s: expected \"%s\", got %s: %s", rows[i].patch, rows[i].words, tn_status_name(status),
                     tn_error_message());
        assert_int_equal(strncmp(tn_error_message(), "c: ", 3), 0);
    }
    tn_hf_config c;
    assert_int_equal(read_text("", &c), TN_E_FORMAT);
    assert_int_equal(read_text("[1]", &c), TN_E_FORMAT);
    assert_int_equal(read_text("{\"a\":1,\"a\":2}", &c), TN_E_FORMAT);
}

/* ---- writing ---- */

static void check_round_trip(const char *patch, const tn_hf_config_options *options) {
    tn_hf_config before, after;
    tn_buf text = {0};
    assert_ok(read_patched(patch, &before));
    assert_ok(tn_hf_config_write(&before.model, options, &text));
    assert_ok(read_text(tn_buf_text(&text), &after));
    before.model.quantization =
        options->weights == TN_HF_FLOATS ? TN_QUANTIZATION_NONE : TN_QUANTIZATION_BITNET; /* what is asked for */
    assert_memory_equal(&after.model, &before.model, sizeof before.model);
    assert_int_equal(after.weights, options->weights);
    assert_int_equal(after.bos, options->bos);
    assert_int_equal(after.eos.count, options->eos >= 0);
    assert_string_equal(after.model_type, before.model_type);
    tn_buf_release(&text);
}

static void config__that_is_written_is_read_back(void **state) {
    (void)state;
    const tn_hf_config_options a = {.weights = TN_HF_LATENTS, .dtype = "float32", .bos = 3, .eos = 4, .pad = -1};
    const tn_hf_config_options b = {.weights = TN_HF_MULTIPLIED, .dtype = "bfloat16", .bos = -1, .eos = -1, .pad = 1};
    const tn_hf_config_options c = {.weights = TN_HF_FLOATS, .dtype = "float32", .bos = 0, .eos = 0, .pad = 0};
    static const char *const patches[] = {
        "{}",
        "{\"tie_word_embeddings\":false,\"hidden_act\":\"silu\",\"rms_norm_eps\":9.99999974737875e-06}",
        "{\"model_type\":\"llama\",\"architectures\":null,\"head_dim\":64,\"rope_theta\":1000042}",
        "{\"model_type\":\"llama\",\"architectures\":null,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
        "\"low_freq_factor\":1.5,\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}}",
        "{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.5}}",
    };
    for (size_t i = 0; i < TN_COUNT(patches); i++) {
        check_round_trip(patches[i], &a);
        check_round_trip(patches[i], &b);
        check_round_trip(patches[i], &c);
    }
}

static void config__that_no_class_computes_is_refused(void **state) {
    (void)state;
    const tn_hf_config_options options = {.weights = TN_HF_LATENTS, .dtype = "float32"};
    tn_hf_config c;
    tn_buf text = {0};
    assert_ok(read_patched("{\"head_dim\":64}", &c));
    assert_int_equal(tn_hf_config_write(&c.model, &options, &text), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "model.head_dim 64 is not model.d_model 2560"));
    assert_ok(read_text(good, &c));
    c.model.qk_norm = true;
    assert_int_equal(tn_hf_config_write(&c.model, &options, &text), TN_E_UNSUPPORTED);
    assert_int_equal(text.len, 0);
    tn_buf_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config__of_the_published_model_is_understood),
        cmocka_unit_test(config__quantization_decides_how_matrices_are_stored),
        cmocka_unit_test(config__what_is_absent_is_what_the_class_has),
        cmocka_unit_test(config__rope_is_read_in_either_spelling),
        cmocka_unit_test(config__that_cannot_be_is_refused),
        cmocka_unit_test(config__that_is_written_is_read_back),
        cmocka_unit_test(config__that_no_class_computes_is_refused),
    };
    return cmocka_run_group_tests_name("hf_config", tests, NULL, NULL);
}
