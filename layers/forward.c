/* SPDX-License-Identifier: MIT
 * The forward pass, written like the paper (Ma 2024 in docs/math.md). x [B,T,C] is the residual stream. */
#include "layers/model_priv.h"

typedef struct pass {
    tn_model *model;
    tn_tape *t;
    tn_cache *cache; /* or NULL */
    int layer;
    int first; /* position of the first token */
} pass;

static tn_real eps(const pass *p) { return (tn_real)p->model->config.norm_eps; }

static bool ternary(const pass *p) { return p->model->config.quantization == TN_QUANTIZATION_BITNET; }

/* What the linear layers of one site read: codes for ternary weights, the activations themselves for the float twin. */
static tn_tensor *input(const pass *p, tn_tensor *x, const char *site) {
    if (!ternary(p)) return x;
    tn_tensor *codes = tn_act_quant(p->t, x, p->model->lambda);
    if (p->model->observer && codes->dtype == TN_CODES && codes->n_dims)
        p->model->observer(p->model->observer_context, p->layer, site, codes);
    return codes;
}

static tn_tensor *project(const pass *p, tn_tensor *x, tn_param *w) {
    return ternary(p) ? tn_bitlinear(p->t, x, w) : tn_linear(p->t, x, w);
}

static tn_tensor *drop(const pass *p, tn_tensor *x, int slot) {
    return tn_dropout(p->t, x, (tn_real)p->model->config.dropout, (uint32_t)(p->layer * 4 + slot));
}

static tn_tensor *rotate(const pass *p, tn_tensor *x, tn_param *norm) {
    if (norm) x = tn_rms_norm(p->t, x, norm, eps(p));
    return tn_rope(p->t, x, &p->model->rope, p->first);
}

static tn_tensor *attention(const pass *p, const tn_block *b, tn_tensor *x) {
    const tn_model_config *c = &p->model->config;
    tn_tensor *n = input(p, tn_rms_norm(p->t, x, b->attn_norm, eps(p)), "attn");
    tn_tensor *q = rotate(p, project(p, n, b->attn_q), b->attn_q_norm);
    tn_tensor *k = rotate(p, project(p, n, b->attn_k), b->attn_k_norm);
    tn_tensor *v = project(p, n, b->attn_v);
    tn_tensor *o = tn_attention(p->t, q, k, v, c->n_head, c->n_kv_head, p->cache ? &p->cache->layers[p->layer] : NULL);
    o = tn_rms_norm(p->t, o, b->attn_sub_norm, eps(p));
    return drop(p, project(p, input(p, o, "attn_output"), b->attn_output), 0);
}

static tn_tensor *mlp(const pass *p, const tn_block *b, tn_tensor *x) {
    tn_tensor *n = input(p, tn_rms_norm(p->t, x, b->ffn_norm, eps(p)), "ffn");
    tn_tensor *u = project(p, n, b->ffn_gate);
    tn_tensor *v = project(p, n, b->ffn_up);
    tn_tensor *h =
        p->model->config.activation == TN_ACTIVATION_SILU ? tn_silu_gate(p->t, u, v) : tn_relu2_gate(p->t, u, v);
    h = tn_rms_norm(p->t, h, b->ffn_sub_norm, eps(p));
    return drop(p, project(p, input(p, h, "ffn_down"), b->ffn_down), 1);
}

static tn_status check_positions(const tn_model *model, const tn_tensor *ids, const tn_cache *cache) {
    if (ids->n_dims != 2) return TN_FAIL(SHAPE, "a model reads ids [B,T], not %d dimensions", ids->n_dims);
    int end = ids->dims[1] + (cache ? cache->length : 0);
    if (cache && ids->dims[0] != 1) return TN_FAIL(SHAPE, "a cache serves one sequence, not %d", ids->dims[0]);
    if (end > model->config.context)
        return TN_FAIL(RANGE, "position %d is beyond the model's context of %d tokens", end, model->config.context);
    if (cache && end > cache->capacity)
        return TN_FAIL(RANGE, "position %d is beyond the cache of %d tokens", end, cache->capacity);
    return TN_OK;
}

tn_tensor *tn_model_hidden(tn_model *model, tn_tape *t, tn_tensor *ids, tn_cache *cache) {
    if (tn_tape_status(t)) return tn_tape_empty(t);
    if (tn_tape_fail(t, check_positions(model, ids, cache))) return tn_tape_empty(t);
    pass p = {.model = model, .t = t, .cache = cache, .first = cache ? cache->length : 0};
    tn_tensor *x = tn_embedding(t, ids, model->embedding);
    x = tn_dropout(t, x, (tn_real)model->config.dropout, (uint32_t)model->config.n_layer * 4);
    for (; p.layer < model->config.n_layer; p.layer++) {
        const tn_block *b = &model->blocks[p.layer];
        x = tn_add(t, x, attention(&p, b, x));
        x = tn_add(t, x, mlp(&p, b, x));
    }
    x = tn_rms_norm(t, x, model->output_norm, eps(&p));
    if (cache && !tn_tape_status(t)) {
        cache->length += ids->dims[1];
        for (int i = 0; i < cache->n_layers; i++) cache->layers[i].length = cache->length;
    }
    return x;
}

static tn_param *head(tn_model *model) { return model->output ? model->output : model->embedding; }

tn_tensor *tn_model_logits(tn_model *model, tn_tape *t, tn_tensor *hidden) { return tn_linear(t, hidden, head(model)); }

tn_tensor *tn_model_loss(tn_model *model, tn_tape *t, tn_tensor *ids, tn_tensor *targets, tn_loss_options options) {
    return tn_head_loss(t, tn_model_hidden(model, t, ids, NULL), head(model), targets, options);
}
