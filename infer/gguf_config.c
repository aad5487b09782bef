/* SPDX-License-Identifier: MIT
 * gguf_config.c - the shape of a model to and from GGUF keys. */
#include "infer/gguf_config.h"

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
#include "infer/gguf_keys.def"
#undef GGUF_KEY
};

typedef struct architecture {
    const char *name;
    int activation; /* when hidden_activation is absent */
} architecture;

static const architecture architectures[] = {
    {"bitnet-b1.58", TN_ACTIVATION_RELU2}, /* the first of an activation is the one that is written */
    {"bitnet", TN_ACTIVATION_SILU},
    {"bitnet-25", TN_ACTIVATION_RELU2},
};

const char *tn_gguf_architecture(const tn_model_config *config) {
    size_t i = 0;
    while (architectures[i].activation != config->activation) i++;
    return architectures[i].name;
}

static bool is(tn_gguf_text text, const char *expected) {
    return text.len == strlen(expected) && memcmp(text.data, expected, text.len) == 0;
}

static const char *key_of(char out[KEY_SIZE], const char *arch, const char *suffix) {
    snprintf(out, KEY_SIZE, "%s.%s", arch, suffix);
    return out;
}

/* ---- reading ---- */

static tn_status find_architecture(const tn_gguf *file, const architecture **out) {
    tn_gguf_text name;
    TN_TRY(tn_gguf_get_text(file, "general.architecture", &name));
    for (size_t i = 0; i < TN_COUNT(architectures); i++) {
        *out = &architectures[i];
        if (is(name, (*out)->name)) return TN_OK;
    }
    return TN_FAIL(UNSUPPORTED, "%s: general.architecture is \"%.*s\", Tern runs bitnet-b1.58, bitnet-25 and bitnet",
                   tn_gguf_path(file), (int)TN_MIN(name.len, 60), name.data);
}

static const tn_key *schema_key(const tn_section *section, const char *field) {
    for (int i = 0; i < section->n_keys; i++)
        if (strcmp(section->keys[i].name, field) == 0) return &section->keys[i];
    TN_ASSERT(!"a field of gguf_keys.def is not in the schema");
    return NULL;
}

static tn_status fail_range(const tn_gguf *file, const char *name, const tn_key *key, double value, int64_t whole) {
    if (key->type == TN_KEY_REAL)
        return TN_FAIL(CORRUPT, "%s: %s is %g, expected %g to %g", tn_gguf_path(file), name, value, key->min, key->max);
    return TN_FAIL(CORRUPT, "%s: %s is %lld, expected %lld to %lld", tn_gguf_path(file), name, (long long)whole,
                   (long long)key->min, (long long)key->max);
}

static tn_status read_shape_key(const tn_gguf *file, const char *arch, const shape_key *row,
                                const tn_section *section) {
    char name[KEY_SIZE];
    key_of(name, arch, row->suffix);
    if (row->need == OPTIONAL && !tn_gguf_has(file, name)) return TN_OK;
    const tn_key *key = schema_key(section, row->field);
    int64_t whole = 0;
    double value = 0;
    if (key->type == TN_KEY_REAL)
        TN_TRY(tn_gguf_get_real(file, name, &value));
    else
        TN_TRY(tn_gguf_get_int(file, name, &whole));
    if (key->type != TN_KEY_REAL) value = (double)whole;
    if (!(value >= key->min && value <= key->max)) return fail_range(file, name, key, value, whole);
    char *field = (char *)section->values + key->offset;
    if (key->type == TN_KEY_REAL)
        *(double *)(void *)field = value;
    else
        *(int *)(void *)field = (int)whole;
    return TN_OK;
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

/* Keys other files may have that say how positions are stretched; only "not at all" is understood. */
static tn_status check_rope_scaling(const tn_gguf *file, const char *arch) {
    char name[KEY_SIZE];
    if (tn_gguf_has(file, key_of(name, arch, "rope.scaling.type"))) {
        tn_gguf_text type;
        TN_TRY(tn_gguf_get_text(file, name, &type));
        if (!is(type, "none") && !is(type, "linear"))
            return TN_FAIL(UNSUPPORTED, "%s: %s is \"%.*s\", Tern runs models without rope scaling", tn_gguf_path(file),
                           name, (int)TN_MIN(type.len, 60), type.data);
    }
    if (!tn_gguf_has(file, key_of(name, arch, "rope.scaling.factor"))) return TN_OK;
    double factor;
    TN_TRY(tn_gguf_get_real(file, name, &factor));
    if (factor == 1.0) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: %s is %g, Tern runs models without rope scaling", tn_gguf_path(file), name,
                   factor);
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

static tn_status read_our_keys(const tn_gguf *file, tn_model_config *config) {
    if (tn_gguf_has(file, "tern.quantization")) {
        tn_gguf_text value;
        TN_TRY(tn_gguf_get_text(file, "tern.quantization", &value));
        if (!is(value, "none") && !is(value, "bitnet"))
            return TN_FAIL(UNSUPPORTED, "%s: tern.quantization is \"%.*s\", expected bitnet or none",
                           tn_gguf_path(file), (int)TN_MIN(value.len, 60), value.data);
        config->quantization = is(value, "none") ? TN_QUANTIZATION_NONE : TN_QUANTIZATION_BITNET;
    }
    if (tn_gguf_has(file, "tern.tie_embeddings"))
        TN_TRY(tn_gguf_get_bool(file, "tern.tie_embeddings", &config->tie_embeddings));
    if (tn_gguf_has(file, "tern.qk_norm")) TN_TRY(tn_gguf_get_bool(file, "tern.qk_norm", &config->qk_norm));
    return TN_OK;
}

tn_status tn_gguf_read_config(const tn_gguf *file, tn_model_config *config) {
    tn_section section = tn_model_section(config);
    tn_config schema = {.sections = &section, .n_sections = 1}; /* no key of the section is a text: no arena */
    TN_TRY(tn_config_defaults(&schema));
    const architecture *arch;
    TN_TRY(find_architecture(file, &arch));
    for (size_t i = 0; i < TN_COUNT(shape_keys); i++)
        TN_TRY(read_shape_key(file, arch->name, &shape_keys[i], &section));
    TN_TRY(read_activation(file, arch, config));
    TN_TRY(check_rope_scaling(file, arch->name));
    TN_TRY(check_head_size(file, arch->name, config));
    TN_TRY(read_vocab_size(file, arch->name, config));
    TN_TRY(read_our_keys(file, config));
    tn_status status = tn_model_config_complete(config);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "%s: %s", tn_gguf_path(file), tn_error_message()) : TN_OK;
}

/* ---- writing ---- */

static tn_status put_text(tn_gguf_writer *w, const char *key, const char *value) {
    return tn_gguf_put_text(w, key, value, strlen(value));
}

static tn_status put_real(tn_gguf_writer *w, const char *key, const char *field, double value) {
    /* Positions are turned by angles made from the double, so a rounded base would be another model. */
    if (strcmp(field, "rope_theta") == 0 && (double)(float)value != value)
        return TN_FAIL(UNSUPPORTED, "model.%s is %.17g, which the f32 numbers of GGUF cannot hold", field, value);
    return tn_gguf_put_f32(w, key, (float)value);
}

static tn_status put_shape_key(tn_gguf_writer *w, const char *arch, const shape_key *row, const tn_section *section) {
    char name[KEY_SIZE];
    key_of(name, arch, row->suffix);
    const tn_key *key = schema_key(section, row->field);
    const char *field = (const char *)section->values + key->offset;
    if (key->type == TN_KEY_REAL) return put_real(w, name, row->field, *(const double *)(const void *)field);
    return tn_gguf_put_u32(w, name, (uint32_t)(*(const int *)(const void *)field));
}

static tn_status put_our_keys(tn_gguf_writer *w, const tn_model_config *config) {
    if (config->quantization == TN_QUANTIZATION_NONE) TN_TRY(put_text(w, "tern.quantization", "none"));
    if (!config->tie_embeddings) TN_TRY(tn_gguf_put_bool(w, "tern.tie_embeddings", false));
    return config->qk_norm ? tn_gguf_put_bool(w, "tern.qk_norm", true) : TN_OK;
}

tn_status tn_gguf_put_config(tn_gguf_writer *writer, const tn_model_config *config, const char *name) {
    tn_model_config copy = *config;
    tn_section section = tn_model_section(&copy);
    const char *arch = tn_gguf_architecture(config);
    char key[KEY_SIZE];
    TN_TRY(put_text(writer, "general.architecture", arch));
    TN_TRY(put_text(writer, "general.type", "model"));
    TN_TRY(put_text(writer, "general.name", name));
    for (size_t i = 0; i < TN_COUNT(shape_keys); i++) TN_TRY(put_shape_key(writer, arch, &shape_keys[i], &section));
    if (config->head_dim * config->n_head != config->d_model) {
        TN_TRY(tn_gguf_put_u32(writer, key_of(key, arch, "attention.key_length"), (uint32_t)config->head_dim));
        TN_TRY(tn_gguf_put_u32(writer, key_of(key, arch, "attention.value_length"), (uint32_t)config->head_dim));
    }
    /* SiLU is what unaware runtimes compute anyway, and its name would mislead one of them. */
    if (config->activation == TN_ACTIVATION_RELU2)
        TN_TRY(put_text(writer, key_of(key, arch, "hidden_activation"), "relu2"));
    return put_our_keys(writer, config);
}
