/* SPDX-License-Identifier: MIT */
#include "layers/adapter_priv.h"
#include "layers/model_priv.h"

#include "core/par.h"

#include <stdio.h>
#include <string.h>

/* What params.def says of one row, with the sizes worked out for a config. */
typedef enum init_kind { INIT_ONE, INIT_NORMAL } init_kind;
typedef enum param_kind { KIND_GAIN, KIND_TERNARY, KIND_TABLE } param_kind;

typedef struct row {
    const char *name;
    bool in_block;
    size_t field; /* offset of the pointer in tn_block or tn_model */
    int rows, cols;
    init_kind init;
    param_kind kind;
} row;

enum { MAX_ROWS = 32 };

static int describe(const tn_model_config *c, row out[MAX_ROWS]) {
    const row rows[] = {
#define BLOCK_PARAM(field, name, rows, cols, init, kind)                                                               \
    {name, true, offsetof(tn_block, field), rows, cols, INIT_##init, KIND_##kind},
#define MODEL_PARAM(field, name, rows, cols, init, kind)                                                               \
    {name, false, offsetof(tn_model, field), rows, cols, INIT_##init, KIND_##kind},
#include "layers/params.def"
    };
    _Static_assert(TN_COUNT(rows) <= MAX_ROWS, "raise MAX_ROWS");
    memcpy(out, rows, sizeof rows);
    return (int)TN_COUNT(rows);
}

static tn_quantizer quantizer_of(const tn_model_config *c, param_kind kind) {
    if (kind != KIND_TERNARY || c->quantization == TN_QUANTIZATION_NONE) return TN_QUANT_NONE;
    return c->weight_quantizer == TN_WEIGHTS_SIGN_BINARY ? TN_QUANT_SIGN_BINARY : TN_QUANT_ABSMEAN_TERNARY;
}

/* Whether the table multiplies activations (it is the head), and so is packed. */
static bool is_product(const tn_model_config *c, const row *r) {
    if (r->kind == KIND_TERNARY) return true;
    return r->kind == KIND_TABLE && (c->tie_embeddings || r->field == offsetof(tn_model, output));
}

/* ---- the walk over all parameters ---- */

typedef tn_status row_visit(void *context, const row *r, int layer, const tn_param *like);

static tn_status visit_row(const tn_model_config *c, const row *r, int layer, row_visit *visit, void *context) {
    if (!r->cols) return TN_OK; /* left out by the config */
    tn_param like = {.rows = TN_MAX(r->rows, 1),
                     .cols = r->cols,
                     .quantizer = quantizer_of(c, r->kind),
                     .decays = r->kind == KIND_TERNARY,
                     .product = is_product(c, r),
                     .tabular = r->kind == KIND_TABLE};
    if (r->in_block)
        snprintf(like.name, sizeof like.name, "blk.%d.%s", layer, r->name + strlen("blk.%d."));
    else
        snprintf(like.name, sizeof like.name, "%s", r->name);
    return visit(context, r, layer, &like);
}

/* Rows before the block rows, then the block rows once a layer, then the rest. */
static tn_status each_row(const tn_model_config *c, row_visit *visit, void *context) {
    row rows[MAX_ROWS];
    int n = describe(c, rows), first = 0;
    while (!rows[first].in_block) TN_TRY(visit_row(c, &rows[first++], 0, visit, context));
    int last = first;
    while (rows[last].in_block) last++;
    for (int layer = 0; layer < c->n_layer; layer++)
        for (int i = first; i < last; i++) TN_TRY(visit_row(c, &rows[i], layer, visit, context));
    for (int i = last; i < n; i++) TN_TRY(visit_row(c, &rows[i], 0, visit, context));
    return TN_OK;
}

typedef struct outer_visit {
    tn_param_visit *visit;
    void *context;
} outer_visit;

static tn_status visit_outer(void *context, const row *r, int layer, const tn_param *like) {
    const outer_visit *outer = context;
    (void)r, (void)layer;
    return outer->visit(outer->context, like);
}

tn_status tn_model_each_param(const tn_model_config *config, tn_param_visit *visit, void *context) {
    return each_row(config, visit_outer, &(outer_visit){visit, context});
}

/* ---- making ---- */

typedef struct making {
    tn_model *model;
    tn_param_use use;
} making;

static tn_param_use param_use(tn_model_use use) {
    static const tn_param_use uses[] = {[TN_MODEL_TRAIN] = TN_PARAM_TRAINED,
                                        [TN_MODEL_EVAL] = TN_PARAM_FIXED,
                                        [TN_MODEL_RUN] = TN_PARAM_FROZEN,
                                        [TN_MODEL_EXPORT] = TN_PARAM_KEPT};
    return uses[use];
}

static tn_status add_param(void *context, const row *r, int layer, const tn_param *like) {
    const making *m = context;
    tn_model *model = m->model;
    tn_param *p;
    TN_TAKE0(p, model->arena, 1, "weights");
    *p = *like;
    TN_TRY(tn_param_init(p, model->arena, m->use));
    char *owner = r->in_block ? (char *)&model->blocks[layer] : (char *)model;
    memcpy(owner + r->field, &p, sizeof p);
    model->params[model->n_params++] = p;
    return TN_OK;
}

static tn_status make_rope(tn_model *model) {
    const tn_model_config *c = &model->config;
    TN_TAKE(model->slowdown, model->arena, c->head_dim / 2, "rope table");
    for (int i = 0; i < c->head_dim / 2; i++) model->slowdown[i] = tn_model_config_slowdown(c, i);
    TN_TRY(tn_rope_table_init(&model->rope, model->arena, c->context, c->head_dim));
    tn_rope_table_fill(&model->rope, c->rope_theta, model->slowdown);
    return TN_OK;
}

tn_status tn_model_create(tn_model **out, tn_arena *arena, const tn_model_config *config, tn_model_use use) {
    tn_model *model;
    *out = NULL;
    TN_TAKE0(model, arena, 1, "weights");
    model->config = *config;
    TN_TRY(tn_model_config_complete(&model->config));
    model->arena = arena;
    model->lambda = 1;
    const tn_model_config *c = &model->config;
    TN_TAKE0(model->blocks, arena, c->n_layer, "weights");
    TN_TAKE0(model->params, arena, (c->n_layer + 1) * MAX_ROWS, "weights");
    TN_TRY(each_row(c, add_param, &(making){model, param_use(use)}));
    TN_TRY(make_rope(model));
    *out = model;
    return TN_OK;
}

void tn_model_set_slowdown(tn_model *model, const float *slowdown) {
    memcpy(model->slowdown, slowdown, sizeof *slowdown * (size_t)(model->config.head_dim / 2));
    tn_rope_table_fill(&model->rope, model->config.rope_theta, model->slowdown);
}

const float *tn_model_slowdown(const tn_model *model) { return model->slowdown; }

typedef struct init_job {
    tn_param *param;
    tn_rng rng;
    double std;
} init_job;

static void init_elements(void *context, int64_t begin, int64_t end) {
    const init_job *job = context;
    for (int64_t i = begin; i < end; i++)
        job->param->tensor.real[i] = (tn_real)(float)(job->std * tn_rng_normal(&job->rng, (uint64_t)i));
}

void tn_model_init(tn_model *model, uint64_t seed) {
    for (int i = 0; i < model->n_params; i++) {
        tn_param *p = model->params[i];
        TN_ASSERT(p->tensor.real);
        init_job job = {
            .param = p, .rng = tn_rng_make(seed, TN_PURPOSE_INIT, (uint32_t)i), .std = model->config.init_std};
        if (p->tensor.n_dims == 1)
            for (int j = 0; j < p->cols; j++) p->tensor.real[j] = 1;
        else
            tn_par_for(tn_param_count(p), 4096, init_elements, &job);
    }
}

void tn_model_refresh_params(tn_model *model, tn_param *const *params, int n_params, tn_real lambda) {
    model->lambda = lambda;
    tn_params_refresh(params, n_params, lambda);
    for (tn_adapter *adapter = model->adapters; adapter; adapter = adapter->next)
        if (adapter->options.merged) tn_adapter_derive(adapter);
}

void tn_model_refresh(tn_model *model, tn_real lambda) {
    tn_model_refresh_params(model, model->params, model->n_params, lambda);
}

void tn_model_assume(tn_model *model, tn_real lambda) {
    model->lambda = lambda;
    for (int i = 0; i < model->n_params; i++)
        if (model->params[i]->quantizer != TN_QUANT_NONE) model->params[i]->lambda = lambda;
}

tn_status tn_model_allow_mixing(tn_model *model) {
    for (int i = 0; i < model->n_params; i++) TN_TRY(tn_param_allow_mixing(model->params[i], model->arena));
    return TN_OK;
}

const tn_model_config *tn_model_get_config(const tn_model *model) { return &model->config; }

tn_param **tn_model_params(tn_model *model, int *count) {
    *count = model->n_params;
    return model->params;
}

tn_param *tn_model_find(tn_model *model, const char *name) {
    for (int i = 0; i < model->n_params; i++)
        if (strcmp(model->params[i]->name, name) == 0) return model->params[i];
    return NULL;
}

tn_status tn_model_train_gains(tn_model *model) {
    for (int i = 0; i < model->n_params; i++)
        if (model->params[i]->tensor.n_dims == 1) TN_TRY(tn_param_train(model->params[i], model->arena));
    return TN_OK;
}

static void collect(tn_param *param, tn_param **out, int *count) {
    if (!param->tensor.grad) return;
    if (out) out[*count] = param;
    (*count)++;
}

int tn_model_trained(const tn_model *model, tn_param **out) {
    int count = 0;
    for (int i = 0; i < model->n_params; i++) collect(model->params[i], out, &count);
    for (tn_adapter *adapter = model->adapters; adapter; adapter = adapter->next)
        for (int i = 0; i < adapter->n_pairs; i++) {
            collect(&adapter->pairs[i].a, out, &count);
            collect(&adapter->pairs[i].b, out, &count);
        }
    return count;
}

void tn_model_observe(tn_model *model, tn_observer *observer, void *context) {
    model->observer = observer;
    model->observer_context = context;
}

tn_status tn_cache_init(tn_cache *cache, tn_arena *arena, const tn_model_config *c, tn_kv_type type, int capacity) {
    *cache = (tn_cache){.n_layers = c->n_layer, .capacity = capacity};
    TN_TAKE0(cache->layers, arena, c->n_layer, "kv cache");
    for (int i = 0; i < c->n_layer; i++) {
        tn_kv *kv = &cache->layers[i];
        *kv = (tn_kv){.type = type, .n_head = c->n_kv_head, .d = c->head_dim, .capacity = capacity};
        kv->tiles = tn_arena_alloc_growing(arena, tn_kv_bytes(type, kv->n_head, kv->d, capacity), "kv cache");
        if (!kv->tiles) return TN_E_NOMEM;
    }
    return TN_OK;
}

void tn_cache_truncate(tn_cache *cache, int length) {
    TN_ASSERT(length >= 0 && length <= cache->length);
    cache->length = length;
    for (int i = 0; i < cache->n_layers; i++) cache->layers[i].length = length;
}

tn_model_flops tn_model_flops_per_token(const tn_model_config *c, int context) {
    tn_model_counts n = tn_model_config_counts(c);
    double heads = 2.0 * c->n_head * c->head_dim; /* scores and their product with v */
    return (tn_model_flops){
        .ternary = 2.0 * (double)n.ternary,
        .attention = 2.0 * heads * c->n_layer * (context / 2.0),
        .head = 2.0 * (double)c->vocab_size * c->d_model,
    };
}
