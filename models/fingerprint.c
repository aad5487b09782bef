/* SPDX-License-Identifier: MIT */
#include "models/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/par.h"
#include "formats/checksum.h"
#include "kernels/gemm.h"
#include "layers/adapter.h"

/* ---- settings that say what the states mean ---- */

/* Real numbers are rounded by file types, and how rotations are slowed down is said in more than one way. */
static bool counts(const tn_key *key) {
    return key->type != TN_KEY_REAL && strcmp(key->name, "context") != 0 && strncmp(key->name, "rope_", 5) != 0;
}

static tn_status add_config(tn_checksum *sum, const tn_model_config *config) {
    tn_model_config copy = *config;
    const tn_section section = tn_model_section(&copy);
    tn_buf text = {0};
    tn_status status = TN_OK;
    for (int k = 0; k < section.n_keys && !status; k++) {
        if (!counts(&section.keys[k])) continue;
        status = tn_config_value_text(&section, &section.keys[k], &text);
        tn_checksum_add(sum, tn_buf_text(&text), text.len + 1);
    }
    tn_buf_release(&text);
    return status;
}

/* ---- states ---- */

/* Stretches of TN_PACK_ROWS rows, each with a sum of its own, which are then added up in order. */
typedef struct stretches {
    const tn_param *param;
    int8_t *room;   /* [threads, TN_PACK_ROWS, cols]; values are summed where they are */
    uint64_t *sums; /* [stretches] */
} stretches;

static int64_t count_of(const tn_param *p) { return (p->rows + TN_PACK_ROWS - 1) / TN_PACK_ROWS; }

static void sum_stretches(void *context, int64_t begin, int64_t end) {
    const stretches *s = context;
    const tn_param *p = s->param;
    const int64_t cols = p->cols;
    for (int64_t i = begin; i < end; i++) {
        const int first = (int)(i * TN_PACK_ROWS), rows = TN_MIN(p->rows - first, (int)TN_PACK_ROWS);
        int8_t *room = s->room + tn_par_worker() * TN_PACK_ROWS * cols;
        if (p->quantizer == TN_QUANT_NONE)
            s->sums[i] = tn_checksum64(p->tensor.real + first * cols, sizeof(tn_real) * (size_t)(rows * cols));
        else
            s->sums[i] = tn_checksum64(tn_param_states(p, first, rows, room), (size_t)(rows * cols));
    }
}

static tn_status add_param(tn_checksum *sum, const tn_param *p, tn_arena *scratch) {
    stretches s = {.param = p};
    TN_TAKE(s.room, scratch, (int64_t)tn_par_threads() * TN_PACK_ROWS * p->cols, "fingerprint");
    TN_TAKE(s.sums, scratch, count_of(p), "fingerprint");
    tn_par_for(count_of(p), 1, sum_stretches, &s);
    tn_checksum_add(sum, p->name, strlen(p->name) + 1);
    tn_checksum_add(sum, s.sums, sizeof *s.sums * (size_t)count_of(p));
    tn_arena_reset(scratch);
    return TN_OK;
}

static tn_status add_all(tn_checksum *sum, const tn_model *model, tn_arena *scratch) {
    int n;
    tn_param *const *params = tn_model_params((tn_model *)(uintptr_t)model, &n);
    TN_TRY(add_config(sum, tn_model_get_config(model)));
    for (int i = 0; i < n; i++)
        if (params[i]->product && !params[i]->tabular) TN_TRY(add_param(sum, params[i], scratch));
    return TN_OK;
}

tn_status tn_model_fingerprint(const tn_model *model, char hex[TN_FINGERPRINT]) {
    tn_arena *scratch = tn_arena_create("fingerprint");
    tn_checksum *sum = scratch ? tn_checksum_create() : NULL;
    tn_status status = sum ? add_all(sum, model, scratch) : TN_E_NOMEM;
    if (!status) tn_checksum_hex(sum, hex);
    tn_checksum_free(sum);
    tn_arena_free(scratch);
    return status;
}

/* ---- adapters ---- */

typedef struct pair_sums {
    const tn_adapter *adapter;
    uint64_t *sums; /* [n_pairs] */
} pair_sums;

static uint64_t sum_half(const tn_param *half) {
    return tn_checksum64(half->tensor.real, sizeof(tn_real) * (size_t)tn_param_count(half));
}

/* Items: pairs. */
static void sum_pairs(void *context, int64_t begin, int64_t end) {
    const pair_sums *s = context;
    for (int64_t i = begin; i < end; i++) {
        const tn_adapter_pair *pair = &s->adapter->pairs[i];
        const tn_real factor = s->adapter->scale * pair->c; /* as passes have it */
        uint64_t parts[] = {tn_checksum64(pair->target, strlen(pair->target)), (uint64_t)pair->rank,
                            tn_checksum64(&factor, sizeof factor), sum_half(&pair->a), sum_half(&pair->b)};
        s->sums[i] = tn_checksum64(parts, sizeof parts);
    }
}

static int compare_sums(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static tn_status add_adapter(tn_checksum *sum, const tn_adapter *adapter, tn_arena *scratch) {
    const unsigned char kind[] = {adapter->options.merged, adapter->options.input == TN_ADAPTER_QUANTIZED};
    pair_sums s = {.adapter = adapter};
    TN_TAKE(s.sums, scratch, TN_MAX(adapter->n_pairs, 1), "fingerprint");
    tn_par_for(adapter->n_pairs, 1, sum_pairs, &s);
    qsort(s.sums, (size_t)adapter->n_pairs, sizeof *s.sums, compare_sums);
    tn_checksum_add(sum, kind, sizeof kind);
    tn_checksum_add(sum, s.sums, sizeof *s.sums * (size_t)adapter->n_pairs);
    tn_arena_reset(scratch);
    return TN_OK;
}

static tn_status add_adapters(tn_checksum *sum, const tn_model *model, tn_arena *scratch, char hex[TN_FINGERPRINT]) {
    bool any = false;
    for (const tn_adapter *a = tn_model_adapters(model); a; a = a->next) {
        if (a->scale == 0) continue;
        any = true;
        TN_TRY(add_adapter(sum, a, scratch));
    }
    *hex = '\0';
    if (any) tn_checksum_hex(sum, hex);
    return TN_OK;
}

tn_status tn_model_adapters_fingerprint(const tn_model *model, char hex[TN_FINGERPRINT]) {
    tn_arena *scratch = tn_arena_create("fingerprint");
    tn_checksum *sum = scratch ? tn_checksum_create() : NULL;
    const tn_status status = sum ? add_adapters(sum, model, scratch, hex) : TN_E_NOMEM;
    tn_checksum_free(sum);
    tn_arena_free(scratch);
    return status;
}

tn_status tn_model_whole_fingerprint(const tn_model *model, char hex[TN_FINGERPRINT_WHOLE]) {
    char adapters[TN_FINGERPRINT];
    TN_TRY(tn_model_fingerprint(model, hex));
    TN_TRY(tn_model_adapters_fingerprint(model, adapters));
    const size_t len = strlen(hex);
    if (*adapters) snprintf(hex + len, TN_FINGERPRINT_WHOLE - len, "+%s", adapters);
    return TN_OK;
}
