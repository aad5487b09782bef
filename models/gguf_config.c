/* SPDX-License-Identifier: MIT
 * gguf_config.c - the shape of a model to and from GGUF keys. */
#include "models/gguf_config.h"

#include "core/log.h"
#include "models/shape_fields.h"

#include <stdio.h>
#include <string.h>

enum { KEY_SIZE = 128 };

typedef enum need { REQUIRED, OPTIONAL } need;

typedef struct shape_key {
    const char *suffix, *field;
    need need;
} shape_key;

static const shape_key shape_keys[] = {
#define GGUF_KEY(suffix, field, need) {suffix, #field, need},
#include "models/gguf_keys.def"
};

static const char *const meant_keys[] = {
#define GGUF_MEANT(suffix) suffix,
#include "models/gguf_keys.def"
};

typedef struct neutral_key {
    const char *suffix;
    double value;
} neutral_key;

static const neutral_key neutral_keys[] = {
#define GGUF_NEUTRAL(suffix, value) {suffix, value},
#include "models/gguf_keys.def"
};

typedef struct architecture {
    const char *name;
    int activation;  /* when hidden_activation is absent */
    bool like_llama; /* no sub-norms, rows of q and k in pairs, a head of its own when output.weight is there */
} architecture;

static const architecture architectures[] = {
    {"bitnet-b1.58", TN_ACTIVATION_RELU2, false}, /* the first of an activation is the one that is written */
    {"bitnet", TN_ACTIVATION_SILU, false},
    {"bitnet-25", TN_ACTIVATION_RELU2, false},
    {"llama", TN_ACTIVATION_SILU, true},
};

const char tn_gguf_slowdown_tensor[] = "rope_freqs.weight";

static const architecture *architecture_of(const tn_model_config *config) {
    const bool like_llama = config->activation == TN_ACTIVATION_SILU && !config->sub_norms && !config->qk_norm;
    size_t i = 0;
    while (architectures[i].activation != config->activation || architectures[i].like_llama != like_llama) i++;
    return &architectures[i];
}

const char *tn_gguf_architecture(const tn_model_config *config) { return architecture_of(config)->name; }

static bool is(tn_gguf_text text, const char *expected) {
    return text.len == strlen(expected) && memcmp(text.data, expected, text.len) == 0;
}

static const char *key_of(char out[KEY_SIZE], const char *arch, const char *suffix) {
    snprintf(out, KEY_SIZE, "%s.%s", arch, suffix);
    return out;
}

static const architecture *find_name(tn_gguf_text name) {
    for (size_t i = 0; i < TN_COUNT(architectures); i++)
        if (is(name, architectures[i].name)) return &architectures[i];
    return NULL;
}

int tn_gguf_paired_heads(const char *name, const tn_model_config *config) {
    const architecture *arch = find_name((tn_gguf_text){name, strlen(name)});
    return arch && arch->like_llama ? config->head_dim : 0;
}

const char *tn_gguf_architecture_of(const tn_gguf *file) {
    tn_gguf_text name = {"", 0};
    const architecture *arch = tn_gguf_get_text(file, "general.architecture", &name) ? NULL : find_name(name);
    TN_ASSERT(arch);
    return arch->name;
}

/* ---- reading ---- */

static tn_status find_architecture(const tn_gguf *file, const architecture **out) {
    tn_gguf_text name;
    TN_TRY(tn_gguf_get_text(file, "general.architecture", &name));
    *out = find_name(name);
    if (*out) return TN_OK;
    return TN_FAIL(UNSUPPORTED,
                   "%s: general.architecture is \"%.*s\", Tern runs bitnet-b1.58, bitnet-25, bitnet and llama",
                   tn_gguf_path(file), (int)TN_MIN(name.len, 60), name.data);
}

tn_status tn_gguf_check_architecture(const tn_gguf *file) {
    const architecture *arch;
    return find_architecture(file, &arch);
}

/* The value of a key, into a field, when it lies in the field's range. */
static tn_status read_field(const tn_gguf *file, const char *name, const char *field, tn_model_config *config) {
    const char *path = tn_gguf_path(file);
    int64_t whole;
    double real;
    if (tn_shape_field_is_real(field)) {
        TN_TRY(tn_gguf_get_real(file, name, &real));
        return tn_shape_field_set(config, field, path, name, real);
    }
    TN_TRY(tn_gguf_get_int(file, name, &whole));
    return tn_shape_field_set(config, field, path, name, (double)whole);
}

static tn_status read_shape_key(const tn_gguf *file, const char *arch, const shape_key *row, tn_model_config *config) {
    char name[KEY_SIZE];
    key_of(name, arch, row->suffix);
    if (row->need == OPTIONAL && !tn_gguf_has(file, name)) return TN_OK;
    return read_field(file, name, row->field, config);
}

static tn_status read_activation(const tn_gguf *file, const architecture *arch, tn_model_config *config) {
    char name[KEY_SIZE];
    config->activation = arch->activation;
    if (!tn_gguf_has(file, key_of(name, arch->name, "hidden_activation"))) return TN_OK;
    tn_gguf_text value;
    TN_TRY(tn_gguf_get_text(file, name, &value));
    if (is(value, "relu2"))
        config->activation = TN_ACTIVATION_RELU2;
    else if (is(value, "silu") || is(value, "swish"))
        config->activation = TN_ACTIVATION_SILU;
    else
        return TN_FAIL(UNSUPPORTED, "%s: %s is \"%.*s\", expected relu2 or silu", tn_gguf_path(file), name,
                       (int)TN_MIN(value.len, 60), value.data);
    return TN_OK;
}

static tn_status read_optional(const tn_gguf *file, const char *arch, const char *suffix, const char *field,
                               tn_model_config *config) {
    return read_shape_key(file, arch, &(shape_key){suffix, field, OPTIONAL}, config);
}

/* The type, "linear" where only a factor is given. */
static tn_status read_scaling_type(const tn_gguf *file, const char *arch, tn_model_config *config) {
    char name[KEY_SIZE];
    tn_gguf_text type = {"linear", strlen("linear")};
    if (tn_gguf_has(file, key_of(name, arch, "rope.scaling.type"))) TN_TRY(tn_gguf_get_text(file, name, &type));
    if (is(type, "llama3"))
        config->rope_scaling = TN_ROPE_LLAMA3;
    else if (is(type, "linear"))
        config->rope_scaling = TN_ROPE_LINEAR;
    else if (!is(type, "none"))
        return TN_FAIL(UNSUPPORTED, "%s: %s is \"%.*s\", Tern has none, linear and llama3", tn_gguf_path(file), name,
                       (int)TN_MIN(type.len, 60), type.data);
    return TN_OK;
}

/* A tensor of slowdowns is llama3's whatever made it; a linear factor beside it would be a second scaling. */
static tn_status read_rope_scaling(const tn_gguf *file, const char *arch, tn_model_config *config) {
    TN_TRY(read_scaling_type(file, arch, config));
    TN_TRY(read_optional(file, arch, "rope.scale_linear", "rope_factor", config));
    TN_TRY(read_optional(file, arch, "rope.scaling.factor", "rope_factor", config));
    TN_TRY(read_optional(file, arch, "rope.scaling.low_freq_factor", "rope_low_freq_factor", config));
    TN_TRY(read_optional(file, arch, "rope.scaling.high_freq_factor", "rope_high_freq_factor", config));
    if (config->rope_scaling == TN_ROPE_LLAMA3)
        TN_TRY(read_optional(file, arch, "rope.scaling.original_context_length", "rope_original_context", config));
    if (config->rope_factor == 1 || config->rope_scaling == TN_ROPE_NONE) {
        config->rope_scaling = TN_ROPE_NONE;
        config->rope_factor = 1;
    }
    if (!tn_gguf_find(file, tn_gguf_slowdown_tensor)) return TN_OK;
    if (config->rope_scaling == TN_ROPE_LINEAR)
        return TN_FAIL(UNSUPPORTED, "%s: has both %s and a linear %s.rope.scaling.factor of %g", tn_gguf_path(file),
                       tn_gguf_slowdown_tensor, arch, config->rope_factor);
    config->rope_scaling = TN_ROPE_LLAMA3;
    return TN_OK;
}

/* ---- keys that must not mean anything ---- */

static tn_status number_of(const tn_gguf *file, const char *key, double *value) {
    int64_t whole;
    bool truth;
    if (tn_gguf_get_real(file, key, value) == TN_OK) return TN_OK;
    if (tn_gguf_get_bool(file, key, &truth) == TN_OK) return *value = truth, TN_OK;
    TN_TRY(tn_gguf_get_int(file, key, &whole));
    *value = (double)whole;
    return TN_OK;
}

static tn_status check_neutral(const tn_gguf *file, const char *arch) {
    for (size_t i = 0; i < TN_COUNT(neutral_keys); i++) {
        char name[KEY_SIZE];
        double value;
        if (!tn_gguf_has(file, key_of(name, arch, neutral_keys[i].suffix))) continue;
        TN_TRY(number_of(file, name, &value));
        if (value != neutral_keys[i].value)
            return TN_FAIL(UNSUPPORTED, "%s: %s is %g, Tern runs models without it (%g)", tn_gguf_path(file), name,
                           value, neutral_keys[i].value);
    }
    return TN_OK;
}

static bool is_known(const char *suffix) {
    for (size_t i = 0; i < TN_COUNT(shape_keys); i++)
        if (strcmp(suffix, shape_keys[i].suffix) == 0) return true;
    for (size_t i = 0; i < TN_COUNT(meant_keys); i++)
        if (strcmp(suffix, meant_keys[i]) == 0) return true;
    for (size_t i = 0; i < TN_COUNT(neutral_keys); i++)
        if (strcmp(suffix, neutral_keys[i].suffix) == 0) return true;
    return false;
}

static void warn_of_unknown_keys(const tn_gguf *file, const char *arch) {
    const size_t len = strlen(arch);
    for (int64_t i = 0; i < tn_gguf_n_keys(file); i++) {
        const char *key = tn_gguf_key_at(file, i, NULL, NULL, NULL);
        if (strncmp(key, arch, len) == 0 && key[len] == '.' && !is_known(key + len + 1))
            tn_log(TN_LOG_WARN, "infer", "%s: the meaning of %.100s is not known, and it is left out",
                   tn_gguf_path(file), key);
    }
}

/* key_length and value_length stand in files whose head size is not width / heads; both must be our one head size. */
static tn_status check_head_size(const tn_gguf *file, const char *arch, tn_model_config *config) {
    static const char *const suffixes[] = {"attention.key_length", "attention.value_length"};
    for (size_t i = 0; i < TN_COUNT(suffixes); i++) {
        char name[KEY_SIZE];
        if (!tn_gguf_has(file, key_of(name, arch, suffixes[i]))) continue;
        int64_t size;
        TN_TRY(tn_gguf_get_int(file, name, &size));
        if (config->head_dim == 0 && size > 0 && size <= 256) config->head_dim = (int)size;
        if (size != config->head_dim)
            return TN_FAIL(UNSUPPORTED, "%s: %s is %lld, but %s.rope.dimension_count gives heads of %d",
                           tn_gguf_path(file), name, (long long)size, arch, config->head_dim);
    }
    return TN_OK;
}

/* The table's rows are the truth about the vocabulary; the key, when it is there, must agree. */
static tn_status read_vocab_size(const tn_gguf *file, const char *arch, tn_model_config *config) {
    const tn_gguf_tensor *table = tn_gguf_find(file, "token_embd.weight");
    if (!table) return TN_FAIL(MISSING, "%s: has no tensor token_embd.weight", tn_gguf_path(file));
    int64_t rows = table->n_dims == 2 ? table->ne[1] : 0;
    if (rows < 1 || rows > 1 << 20)
        return TN_FAIL(CORRUPT, "%s: token_embd.weight has %lld rows, expected 1 to %d", tn_gguf_path(file),
                       (long long)rows, 1 << 20);
    if (config->vocab_size && config->vocab_size != rows)
        return TN_FAIL(CORRUPT, "%s: %s.vocab_size is %d, but token_embd.weight has %lld rows", tn_gguf_path(file),
                       arch, config->vocab_size, (long long)rows);
    config->vocab_size = (int)rows;
    return TN_OK;
}

static tn_status read_flag(const tn_gguf *file, const char *key, bool *flag) {
    return tn_gguf_has(file, key) ? tn_gguf_get_bool(file, key, flag) : TN_OK;
}

static tn_status read_our_keys(const tn_gguf *file, tn_model_config *config) {
    if (tn_gguf_has(file, "tern.quantization")) {
        tn_gguf_text value;
        TN_TRY(tn_gguf_get_text(file, "tern.quantization", &value));
        if (!is(value, "none") && !is(value, "bitnet"))
            return TN_FAIL(UNSUPPORTED, "%s: tern.quantization is \"%.*s\", expected bitnet or none",
                           tn_gguf_path(file), (int)TN_MIN(value.len, 60), value.data);
        config->quantization = is(value, "none") ? TN_QUANTIZATION_NONE : TN_QUANTIZATION_BITNET;
    }
    TN_TRY(read_flag(file, "tern.tie_embeddings", &config->tie_embeddings));
    TN_TRY(read_flag(file, "tern.sub_norms", &config->sub_norms));
    return read_flag(file, "tern.qk_norm", &config->qk_norm);
}

static tn_status read_all(const tn_gguf *file, const architecture *arch, tn_model_config *config) {
    for (size_t i = 0; i < TN_COUNT(shape_keys); i++) TN_TRY(read_shape_key(file, arch->name, &shape_keys[i], config));
    if (arch->like_llama) {
        config->sub_norms = false;
        config->tie_embeddings = !tn_gguf_find(file, "output.weight");
    }
    TN_TRY(read_activation(file, arch, config));
    TN_TRY(read_rope_scaling(file, arch->name, config));
    TN_TRY(check_head_size(file, arch->name, config));
    TN_TRY(read_vocab_size(file, arch->name, config));
    TN_TRY(check_neutral(file, arch->name));
    TN_TRY(read_our_keys(file, config));
    warn_of_unknown_keys(file, arch->name);
    return TN_OK;
}

tn_status tn_gguf_read_config(const tn_gguf *file, tn_model_config *config) {
    tn_section section = tn_model_section(config);
    tn_config schema = {.sections = &section, .n_sections = 1}; /* no key of the section is a text: no arena */
    const architecture *arch = NULL;
    TN_TRY(tn_config_defaults(&schema));
    TN_TRY(find_architecture(file, &arch));
    TN_TRY(read_all(file, arch, config));
    tn_status status = tn_model_config_complete(config);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "%s: %s", tn_gguf_path(file), tn_error_message()) : TN_OK;
}

/* ---- writing ---- */

static tn_status put_real(tn_gguf_writer *w, const char *key, const char *field, double value) {
    /* Positions are turned by angles made from the double, so a rounded base or factor would be another model. */
    if (strncmp(field, "rope_", 5) == 0 && (double)(float)value != value)
        return TN_FAIL(UNSUPPORTED, "model.%s is %.17g, which the f32 numbers of GGUF cannot hold", field, value);
    return tn_gguf_put_f32(w, key, (float)value);
}

static tn_status put_shape_key(tn_gguf_writer *w, const char *arch, const shape_key *row,
                               const tn_model_config *config) {
    char name[KEY_SIZE];
    const double value = tn_shape_field_get(config, row->field);
    key_of(name, arch, row->suffix);
    if (tn_shape_field_is_real(row->field)) return put_real(w, name, row->field, value);
    return tn_gguf_put_u32(w, name, (uint32_t)value);
}

static tn_status put_our_keys(tn_gguf_writer *w, const tn_model_config *config, const architecture *arch) {
    if (config->quantization == TN_QUANTIZATION_NONE) TN_TRY(tn_gguf_puts(w, "tern.quantization", "none"));
    if (!config->tie_embeddings && !arch->like_llama) TN_TRY(tn_gguf_put_bool(w, "tern.tie_embeddings", false));
    if (!config->sub_norms && !arch->like_llama) TN_TRY(tn_gguf_put_bool(w, "tern.sub_norms", false));
    return config->qk_norm ? tn_gguf_put_bool(w, "tern.qk_norm", true) : TN_OK;
}

/* The numbers of llama3 stand in a tensor: other runtimes would read a factor as a linear one. */
static tn_status put_rope_scaling(tn_gguf_writer *w, const char *arch, const tn_model_config *config) {
    char key[KEY_SIZE];
    if (config->rope_scaling != TN_ROPE_LINEAR) return TN_OK;
    TN_TRY(tn_gguf_puts(w, key_of(key, arch, "rope.scaling.type"), "linear"));
    return put_real(w, key_of(key, arch, "rope.scaling.factor"), "rope_factor", config->rope_factor);
}

tn_status tn_gguf_put_config(tn_gguf_writer *writer, const tn_model_config *config, const char *name) {
    const char *arch = tn_gguf_architecture(config);
    char key[KEY_SIZE];
    TN_TRY(tn_gguf_puts(writer, "general.architecture", arch));
    TN_TRY(tn_gguf_puts(writer, "general.type", "model"));
    TN_TRY(tn_gguf_puts(writer, "general.name", name));
    for (size_t i = 0; i < TN_COUNT(shape_keys); i++) TN_TRY(put_shape_key(writer, arch, &shape_keys[i], config));
    if (config->head_dim * config->n_head != config->d_model) {
        TN_TRY(tn_gguf_put_u32(writer, key_of(key, arch, "attention.key_length"), (uint32_t)config->head_dim));
        TN_TRY(tn_gguf_put_u32(writer, key_of(key, arch, "attention.value_length"), (uint32_t)config->head_dim));
    }
    /* SiLU is what unaware runtimes compute anyway, and its name would mislead one of them. */
    if (config->activation == TN_ACTIVATION_RELU2)
        TN_TRY(tn_gguf_puts(writer, key_of(key, arch, "hidden_activation"), "relu2"));
    TN_TRY(put_rope_scaling(writer, arch, config));
    return put_our_keys(writer, config, architecture_of(config));
}
