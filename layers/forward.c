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

/* Fully quantised: then the fused ops serve, with the bits of the chains they stand for. */
static bool fused(const pass *p) { return ternary(p) && p->model->lambda >= 1; }

static tn_tensor *observed(const pass *p, tn_tensor *codes, const char *site) {
    if (p->model->observer && codes->dtype == TN_CODES && codes->n_dims)
        p->model->observer(p->model->observer_context, p->layer, site, codes);
    return codes;
}

/* What the linear layers of one site read of the normed x: codes for ternary weights, the numbers themselves for the
 * float twin. */
static tn_tensor *input(const pass *p, tn_tensor *x, tn_param *norm, const char *site) {
    if (fused(p)) return observed(p, tn_norm_quant(p->t, x, norm, eps(p)), site);
    x = tn_rms_norm(p->t, x, norm, eps(p));
    return ternary(p) ? tn_act_quant(p->t, x, p->model->lambda) : x;
}

static tn_tensor *gated_input(const pass *p, tn_tensor *u, tn_tensor *v, tn_param *norm, const char *site) {
    bool silu = p->model->config.activation == TN_ACTIVATION_SILU;
    if (!fused(p)) return input(p, silu ? tn_silu_gate(p->t, u, v) : tn_relu2_gate(p->t, u, v), norm, site);
    return observed(p, tn_gate_norm_quant(p->t, u, v, norm, eps(p), silu ? TN_GATE_SILU : TN_GATE_RELU2), site);
}

static tn_tensor *project(const pass *p, tn_tensor *x, tn_param *w) {
    return ternary(p) ? tn_bitlinear(p->t, x, w) : tn_linear(p->t, x, w);
}

static tn_tensor *drop(const pass *p, tn_tensor *x, int slot) {
    return tn_dropout(p->t, x, (tn_real)p->model->config.dropout, (uint32_t)(p->layer * 4 + slot));
}

/* x + dropout(project(n, w)) */
static tn_tensor *add_branch(const pass *p, tn_tensor *x, tn_tensor *n, tn_param *w, int slot) {
    if (fused(p) && p->model->config.dropout <= 0) return tn_bitlinear_add(p->t, x, n, w);
    return tn_add(p->t, x, drop(p, project(p, n, w), slot));
}

static tn_tensor *rotate(const pass *p, tn_tensor *x, tn_param *norm) {
    if (norm) x = tn_rms_norm(p->t, x, norm, eps(p));
    return tn_rope_in_place(p->t, x, &p->model->rope, p->first);
}

static tn_tensor *attention(const pass *p, const tn_block *b, tn_tensor *x) {
    const tn_model_config *c = &p->model->config;
    tn_tensor *n = input(p, x, b->attn_norm, "attn");
    tn_tensor *q = rotate(p, project(p, n, b->attn_q), b->attn_q_norm);
    tn_tensor *k = rotate(p, project(p, n, b->attn_k), b->attn_k_norm);
    tn_tensor *v = project(p, n, b->attn_v);
    tn_tensor *o = tn_attention(p->t, q, k, v, c->n_head, c->n_kv_head, p->cache ? &p->cache->layers[p->layer] : NULL);
    return add_branch(p, x, input(p, o, b->attn_sub_norm, "attn_output"), b->attn_output, 0);
}

static tn_tensor *mlp(const pass *p, const tn_block *b, tn_tensor *x) {
    tn_tensor *n = input(p, x, b->ffn_norm, "ffn");
    tn_tensor *u = project(p, n, b->ffn_gate), *v = project(p, n, b->ffn_up);
    return add_branch(p, x, gated_input(p, u, v, b->ffn_sub_norm, "ffn_down"), b->ffn_down, 1);
}

/* Blocks [first, last) of a pass. */
typedef struct stretch {
    pass p;
    int last;
} stretch;

static tn_tensor *run_blocks(void *context, tn_tape *t, tn_tensor *x) {
    const stretch *s = context;
    pass p = s->p;
    p.t = t;
    for (; p.layer < s->last; p.layer++) {
        const tn_block *b = &p.model->blocks[p.layer];
        x = mlp(&p, b, attention(&p, b, x));
    }
    return x;
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

/* Blocks whose inside is dropped once they have run; 0 = all is kept. */
static int segment_blocks(const tn_model *model, const tn_tape *t) {
    return tn_tape_recording(t) ? model->recompute : 1;
}

tn_tensor *tn_model_hidden(tn_model *model, tn_tape *t, tn_tensor *ids, tn_cache *cache) {
    if (tn_tape_status(t)) return tn_tape_empty(t);
    if (tn_tape_fail(t, check_positions(model, ids, cache))) return tn_tape_empty(t);
    pass p = {.model = model, .t = t, .cache = cache, .first = cache ? cache->length : 0};
    tn_tensor *x = tn_embedding(t, ids, model->embedding);
    x = tn_dropout(t, x, (tn_real)model->config.dropout, (uint32_t)model->config.n_layer * 4);
    int step = segment_blocks(model, t);
    for (; p.layer < model->config.n_layer; p.layer += TN_MAX(step, 1)) {
        stretch s = {p, TN_MIN(p.layer + TN_MAX(step, 1), model->config.n_layer)};
        x = step ? tn_tape_segment(t, run_blocks, &s, sizeof s, x) : run_blocks(&s, t, x);
    }
    x = tn_rms_norm(t, x, model->output_norm, eps(&p));
    if (cache && !tn_tape_status(t)) {
        cache->length += ids->dims[1];
        for (int i = 0; i < cache->n_layers; i++) cache->layers[i].length = cache->length;
    }
    return x;
}

void tn_model_recompute(tn_model *model, int blocks) { model->recompute = blocks; }

static tn_param *head(tn_model *model) { return model->output ? model->output : model->embedding; }

tn_tensor *tn_model_logits(tn_model *model, tn_tape *t, tn_tensor *hidden) { return tn_linear(t, hidden, head(model)); }

tn_tensor *tn_model_loss(tn_model *model, tn_tape *t, tn_tensor *ids, tn_tensor *targets, tn_loss_options options) {
    return tn_head_loss(t, tn_model_hidden(model, t, ids, NULL), head(model), targets, options);
}
