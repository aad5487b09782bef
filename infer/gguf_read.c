/* SPDX-License-Identifier: MIT
 * gguf_read.c - parameters out of GGUF tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/half.h"
#include "formats/ternary_block.h"
#include "infer/gguf_weights.h"

enum { NAME_SIZE = 80 };

bool tn_gguf_scale_owner(const char *name, char *owner, size_t size) {
    const char *suffix = strrchr(name, '.');
    if (!suffix || strcmp(suffix, ".scale") != 0) return false;
    return snprintf(owner, size, "%.*s.weight", (int)(suffix - name), name) < (int)size;
}

static tn_status find(const tn_gguf *file, const char *name, const tn_gguf_tensor **out) {
    *out = tn_gguf_find(file, name);
    if (*out) return TN_OK;
    return TN_FAIL(MISSING, "%s: has no tensor %s", tn_gguf_path(file), name);
}

tn_status tn_gguf_check_weights(const tn_gguf *file, const tn_param *param) {
    const tn_gguf_tensor *t;
    TN_TRY(find(file, param->name, &t));
    int64_t ne[4] = {1, 1, 1, 1};
    for (int i = 0; i < t->n_dims; i++) ne[i] = t->ne[i];
    if (ne[0] == param->cols && ne[1] == param->rows && ne[2] == 1 && ne[3] == 1) return TN_OK;
    return TN_FAIL(MISMATCH, "%s: %s is {%lld, %lld, %lld, %lld}, the model's keys ask for {%d, %d}",
                   tn_gguf_path(file), t->name, (long long)ne[0], (long long)ne[1], (long long)ne[2], (long long)ne[3],
                   param->cols, param->rows);
}

/* Value i of a float tensor. Data in the map need not be aligned for its type. */
static float value_at(const tn_gguf_tensor *t, int64_t i) {
    float f32;
    uint16_t half;
    if (t->type == TN_GGML_F32) {
        memcpy(&f32, t->data + 4 * i, sizeof f32);
        return f32;
    }
    memcpy(&half, t->data + 2 * i, sizeof half);
    return t->type == TN_GGML_F16 ? tn_f16_to_f32(half) : tn_bf16_to_f32(half);
}

static bool is_float(const tn_gguf_tensor *t) {
    return t->type == TN_GGML_F32 || t->type == TN_GGML_F16 || t->type == TN_GGML_BF16;
}

static tn_status check_finite(const tn_gguf *file, const tn_gguf_tensor *t, int64_t i, float value) {
    if (isfinite(value)) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: element %lld of %s is %g, not a finite number", tn_gguf_path(file), (long long)i,
                   t->name, (double)value);
}

static tn_status read_floats(const tn_gguf *file, const tn_gguf_tensor *t, tn_param *p) {
    if (!is_float(t))
        return TN_FAIL(UNSUPPORTED, "%s: %s is %s, expected F32, F16 or BF16", tn_gguf_path(file), t->name,
                       tn_ggml_type_name(t->type));
    for (int64_t i = 0; i < tn_param_count(p); i++) {
        float value = value_at(t, i);
        TN_TRY(check_finite(file, t, i, value));
        p->tensor.real[i] = (tn_real)value;
    }
    return TN_OK;
}

/* s is the first magnitude that is not zero; all others must be the same. */
static tn_status recover_states(const tn_gguf *file, const tn_gguf_tensor *t, const tn_param *p, int8_t *states,
                                float *scale) {
    *scale = 0;
    for (int64_t i = 0; i < tn_param_count(p); i++) {
        float value = value_at(t, i), size = fabsf(value);
        TN_TRY(check_finite(file, t, i, value));
        if (size != 0 && *scale == 0) *scale = size;
        if (size != 0 && size != *scale)
            return TN_FAIL(
                UNSUPPORTED,
                "%s: %s is not ternary: it holds both %.9g and %.9g (a float twin says tern.quantization = none)",
                tn_gguf_path(file), t->name, (double)*scale, (double)size);
        states[i] = (int8_t)((value > 0) - (value < 0));
    }
    return TN_OK;
}

static tn_status unpack(const tn_gguf *file, const tn_gguf_tensor *t, const tn_param *p, int8_t *states, float *scale) {
    char what[256];
    snprintf(what, sizeof what, "%.160s: %s", tn_gguf_path(file), t->name);
    if (!tn_ternary_type(t->type)) return recover_states(file, t, p, states, scale);
    return tn_ternary_unpack(t->type, what, t->data, p->rows, p->cols, states, scale);
}

/* The scale tensor beside a matrix multiplies its product, which is to say its scale. */
static tn_status multiply_scale(const tn_gguf *file, const tn_param *p, float *scale) {
    char name[NAME_SIZE];
    size_t stem = strlen(p->name) - strlen("weight");
    snprintf(name, sizeof name, "%.*sscale", (int)stem, p->name);
    const tn_gguf_tensor *t = tn_gguf_find(file, name);
    if (!t) return TN_OK;
    int64_t count = 1;
    for (int i = 0; i < t->n_dims; i++) count *= t->ne[i];
    if (count != 1 || t->type != TN_GGML_F32)
        return TN_FAIL(MISMATCH, "%s: %s is %s with %lld values, expected one F32", tn_gguf_path(file), name,
                       tn_ggml_type_name(t->type), (long long)count);
    *scale *= value_at(t, 0);
    return TN_OK;
}

static bool all_zero(const int8_t *states, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (states[i]) return false;
    return true;
}

static tn_status read_states(const tn_gguf *file, const tn_gguf_tensor *t, tn_param *p, int8_t *states) {
    float scale = 0;
    TN_TRY(unpack(file, t, p, states, &scale));
    tn_param_put_states(p, 0, p->rows, states);
    if (all_zero(states, tn_param_count(p)))
        return TN_FAIL(CORRUPT, "%s: every weight of %s is zero", tn_gguf_path(file), t->name);
    TN_TRY(multiply_scale(file, p, &scale));
    if (!isfinite(scale) || scale <= 0)
        return TN_FAIL(CORRUPT, "%s: the scale of %s is %g, expected a finite positive number", tn_gguf_path(file),
                       t->name, (double)scale);
    p->scale = (tn_real)scale;
    return TN_OK;
}

tn_status tn_gguf_read_weights(const tn_gguf *file, tn_param *param) {
    const tn_gguf_tensor *t;
    TN_TRY(tn_gguf_check_weights(file, param));
    TN_TRY(find(file, param->name, &t));
    if (param->quantizer == TN_QUANT_NONE) return read_floats(file, t, param);
    TN_ASSERT(!param->tensor.real); /* a file of states has no latents to give */
    int8_t *states = tn_heap_zalloc((size_t)tn_param_count(param), 1);
    tn_status status = states ? read_states(file, t, param, states) : TN_E_NOMEM;
    tn_heap_free(states);
    return status;
}
