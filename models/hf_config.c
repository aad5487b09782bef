/* SPDX-License-Identifier: MIT */
#include "models/hf_config.h"

#include "core/log.h"
#include "models/hf_json.h"
#include "models/shape_fields.h"

#include <math.h>
#include <string.h>

typedef enum need { REQUIRED, OPTIONAL } need;

typedef struct shape_key {
    const char *key, *field;
    need need;
} shape_key;

static const shape_key shape_keys[] = {
#define HF_KEY(key, field, need) {key, #field, need},
#include "models/hf_keys.def"
};

static const char *const absent_keys[] = {
#define HF_ABSENT(key) key,
#include "models/hf_keys.def"
};

/* What transformers assumes where a file of that class says nothing. */
typedef struct class_row {
    const char *model_type, *architecture;
    bool sub_norms;
    int activation;
    double norm_eps, rope_theta;
} class_row;

static const class_row classes[] = {
    {"bitnet", "BitNetForCausalLM", true, TN_ACTIVATION_RELU2, 1e-5, 500000},
    {"llama", "LlamaForCausalLM", false, TN_ACTIVATION_SILU, 1e-6, 10000},
};

enum { CLASS_CONTEXT = 2048 };

/* One file being read. */
typedef struct reading {
    const char *path;
    const json_t *root;
    const class_row *row;
    tn_model_config *model;
} reading;

/* ---- the class ---- */

static tn_status read_class(reading *r) {
    const char *type = NULL;
    TN_TRY(tn_hf_json_get_text(r->path, r->root, "model_type", &type));
    if (!type) return TN_FAIL(MISSING, "%s: model_type is missing", r->path);
    for (size_t i = 0; i < TN_COUNT(classes) && !r->row; i++)
        if (strcmp(type, classes[i].model_type) == 0) r->row = &classes[i];
    if (!r->row) return TN_FAIL(UNSUPPORTED, "%s: model_type is \"%.60s\", Tern runs bitnet and llama", r->path, type);
    const json_t *list = tn_hf_json_get(r->root, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    if (list && (!name || strcmp(name, r->row->architecture) != 0))
        return TN_FAIL(UNSUPPORTED, "%s: architectures names \"%.60s\", expected \"%s\"", r->path, name ? name : "",
                       r->row->architecture);
    r->model->sub_norms = r->row->sub_norms;
    r->model->activation = r->row->activation;
    r->model->norm_eps = r->row->norm_eps;
    r->model->rope_theta = r->row->rope_theta;
    r->model->context = CLASS_CONTEXT;
    r->model->n_kv_head = 0;
    return TN_OK;
}

/* ---- the shape ---- */

static tn_status read_field(const reading *r, const json_t *object, const char *key, const char *field) {
    double value = 0;
    TN_TRY(tn_hf_json_get_number(r->path, object, key, &value));
    if (!tn_shape_field_is_real(field) && value != floor(value))
        return TN_FAIL(CORRUPT, "%s: %s is %g, expected a whole number", r->path, key, value);
    return tn_shape_field_set(r->model, field, r->path, key, value);
}

static tn_status read_shape(const reading *r) {
    for (size_t i = 0; i < TN_COUNT(shape_keys); i++) {
        const shape_key *k = &shape_keys[i];
        if (tn_hf_json_get(r->root, k->key))
            TN_TRY(read_field(r, r->root, k->key, k->field));
        else if (k->need == REQUIRED)
            return TN_FAIL(MISSING, "%s: %s is missing", r->path, k->key);
    }
    /* Absent is not null: the class then has a number that fits its largest model alone. */
    if (r->model->sub_norms && !json_object_get(r->root, "num_key_value_heads"))
        return TN_FAIL(MISSING, "%s: num_key_value_heads is missing", r->path);
    for (size_t i = 0; i < TN_COUNT(absent_keys); i++) {
        bool set = false;
        TN_TRY(tn_hf_json_get_bool(r->path, r->root, absent_keys[i], &set));
        if (set)
            return TN_FAIL(UNSUPPORTED, "%s: %s is true, Tern runs models without biases", r->path, absent_keys[i]);
    }
    r->model->tie_embeddings = false;
    return tn_hf_json_get_bool(r->path, r->root, "tie_word_embeddings", &r->model->tie_embeddings);
}

static tn_status read_activation(const reading *r) {
    const char *name = NULL;
    TN_TRY(tn_hf_json_get_text(r->path, r->root, "hidden_act", &name));
    if (!name) return TN_OK;
    if (strcmp(name, "relu2") == 0)
        r->model->activation = TN_ACTIVATION_RELU2;
    else if (strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0)
        r->model->activation = TN_ACTIVATION_SILU;
    else
        return TN_FAIL(UNSUPPORTED, "%s: hidden_act is \"%.60s\", expected relu2 or silu", r->path, name);
    return TN_OK;
}

/* ---- rope: rope_theta and rope_scaling, or since version 5 both in rope_parameters ---- */

static tn_status read_optional(const reading *r, const json_t *object, const char *key, const char *field) {
    return tn_hf_json_get(object, key) ? read_field(r, object, key, field) : TN_OK;
}

static tn_status read_theta(const reading *r, const json_t *parameters) {
    TN_TRY(read_optional(r, r->root, "rope_theta", "rope_theta"));
    const double top = r->model->rope_theta;
    TN_TRY(read_optional(r, parameters, "rope_theta", "rope_theta"));
    if (!tn_hf_json_get(r->root, "rope_theta") || r->model->rope_theta == top) return TN_OK;
    return TN_FAIL(CONFIG, "%s: rope_theta is %g, but %g in rope_parameters", r->path, top, r->model->rope_theta);
}

static tn_status read_scaling(const reading *r, const char *name, const json_t *scaling) {
    const char *type = NULL;
    if (!scaling) return TN_OK;
    if (!json_is_object(scaling)) return TN_FAIL(CORRUPT, "%s: %s is no object", r->path, name);
    TN_TRY(tn_hf_json_get_text(r->path, scaling, "type", &type)); /* its name before version 4.43 */
    TN_TRY(tn_hf_json_get_text(r->path, scaling, "rope_type", &type));
    if (!type || strcmp(type, "default") == 0) return TN_OK;
    if (strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0)
        return TN_FAIL(UNSUPPORTED, "%s: %s has rope_type \"%.60s\", Tern has default, linear and llama3", r->path,
                       name, type);
    TN_TRY(read_optional(r, scaling, "factor", "rope_factor"));
    if (r->model->rope_factor == 1) return TN_OK;
    r->model->rope_scaling = strcmp(type, "linear") == 0 ? TN_ROPE_LINEAR : TN_ROPE_LLAMA3;
    if (r->model->rope_scaling == TN_ROPE_LINEAR) return TN_OK;
    TN_TRY(read_optional(r, scaling, "low_freq_factor", "rope_low_freq_factor"));
    TN_TRY(read_optional(r, scaling, "high_freq_factor", "rope_high_freq_factor"));
    return read_optional(r, scaling, "original_max_position_embeddings", "rope_original_context");
}

static tn_status read_rope(const reading *r) {
    const json_t *parameters = tn_hf_json_get(r->root, "rope_parameters");
    double share = 1;
    TN_TRY(read_theta(r, parameters));
    TN_TRY(read_scaling(r, "rope_scaling", tn_hf_json_get(r->root, "rope_scaling")));
    TN_TRY(read_scaling(r, "rope_parameters", parameters));
    TN_TRY(tn_hf_json_get_number(r->path, r->root, "partial_rotary_factor", &share));
    TN_TRY(tn_hf_json_get_number(r->path, parameters, "partial_rotary_factor", &share));
    if (share == 1) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: partial_rotary_factor is %g, Tern turns whole heads", r->path, share);
}

/* ---- quantization_config ---- */

const char *tn_hf_weights_name(tn_hf_weights weights) {
    static const char *const names[] = {[TN_HF_FLOATS] = "floats",
                                        [TN_HF_LATENTS] = "autobitlinear online",
                                        [TN_HF_MULTIPLIED] = "autobitlinear offline",
                                        [TN_HF_DIVIDED] = "bitlinear"};
    return names[weights];
}

/* One of two words, the first where there is none. */
static tn_status read_choice(const reading *r, const json_t *object, const char *key, const char *first,
                             const char *second, bool *is_second) {
    const char *word = first;
    TN_TRY(tn_hf_json_get_text(r->path, object, key, &word));
    *is_second = strcmp(word, second) == 0;
    if (*is_second || strcmp(word, first) == 0) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: quantization_config.%s is \"%.60s\", expected %s or %s", r->path, key, word, first,
                   second);
}

/* Nothing but embedding and head may stay as it is, and the head must. Entries are names or expressions that begin as a
 * name does. */
static tn_status check_exceptions(const reading *r, const json_t *list) {
    static const char *const harmless[] = {"lm_head", "model.embed_tokens", "embed_tokens", "model.norm"};
    bool head = false;
    const json_t *entry;
    size_t i;
    if (!list) return TN_OK;
    json_array_foreach(list, i, entry) {
        const char *name = json_string_value(entry);
        bool known = false;
        for (size_t k = 0; k < TN_COUNT(harmless) && name; k++)
            known |= strncmp(name, harmless[k], strlen(harmless[k])) == 0;
        if (!known)
            return TN_FAIL(UNSUPPORTED,
                           "%s: modules_to_not_convert has \"%.60s\", in Tern's models every block is ternary", r->path,
                           name ? name : "");
        head |= strncmp(name, "lm_head", strlen("lm_head")) == 0;
    }
    if (head) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: modules_to_not_convert lacks lm_head, in Tern's models the head is not quantised",
                   r->path);
}

static tn_status read_quantization(const reading *r, tn_hf_weights *weights) {
    const json_t *q = tn_hf_json_get(r->root, "quantization_config");
    const char *method = "";
    bool automatic, online, norms = false;
    *weights = TN_HF_FLOATS;
    r->model->quantization = q ? TN_QUANTIZATION_BITNET : TN_QUANTIZATION_NONE;
    if (!q && r->row->sub_norms)
        tn_log(TN_LOG_WARN, "models",
               "%s: has no quantization_config, so its matrices are floats, for Tern as for transformers", r->path);
    if (!q) return TN_OK;
    TN_TRY(tn_hf_json_get_text(r->path, q, "quant_method", &method));
    if (strcmp(method, "bitnet") != 0)
        return TN_FAIL(UNSUPPORTED, "%s: quantization_config.quant_method is \"%.60s\", Tern reads \"bitnet\"", r->path,
                       method);
    TN_TRY(read_choice(r, q, "linear_class", "bitlinear", "autobitlinear", &automatic));
    TN_TRY(read_choice(r, q, "quantization_mode", "offline", "online", &online));
    TN_TRY(tn_hf_json_get_bool(r->path, q, "use_rms_norm", &norms));
    if (norms)
        return TN_FAIL(UNSUPPORTED, "%s: quantization_config.use_rms_norm is true, Tern has no norm of each matrix",
                       r->path);
    *weights = !automatic ? TN_HF_DIVIDED : online ? TN_HF_LATENTS : TN_HF_MULTIPLIED;
    return check_exceptions(r, tn_hf_json_get(q, "modules_to_not_convert"));
}

/* ---- the whole ---- */

static tn_status read_ids(const reading *r, tn_hf_config *out) {
    tn_hf_ids bos = {0};
    TN_TRY(tn_hf_json_get_ids(r->path, r->root, "bos_token_id", &bos));
    out->bos = bos.count ? bos.list[0] : -1;
    return tn_hf_json_get_ids(r->path, r->root, "eos_token_id", &out->eos);
}

static tn_status read_root(reading *r, tn_hf_config *out) {
    TN_TRY(read_class(r));
    TN_TRY(read_shape(r));
    TN_TRY(read_activation(r));
    TN_TRY(read_rope(r));
    TN_TRY(read_quantization(r, &out->weights));
    TN_TRY(read_ids(r, out));
    out->model_type = r->row->model_type;
    tn_status status = tn_model_config_complete(&out->model);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "%s: %s", r->path, tn_error_message()) : TN_OK;
}

tn_status tn_hf_config_read(const char *path, const char *text, size_t len, tn_hf_config *out) {
    *out = (tn_hf_config){0};
    tn_section section = tn_model_section(&out->model);
    tn_config schema = {.sections = &section, .n_sections = 1}; /* no key of the section is a text: no arena */
    json_t *root;
    TN_TRY(tn_config_defaults(&schema));
    TN_TRY(tn_hf_json_parse(&root, path, text, len));
    reading r = {.path = path, .root = root, .model = &out->model};
    tn_status status = read_root(&r, out);
    json_decref(root);
    return status;
}
