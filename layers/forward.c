/* SPDX-License-Identifier: MIT
 * The forward pass, written like the paper (Ma 2024 in docs/math.md). x [B,T,C] is the residual stream. */
#include "layers/adapter_priv.h"
#include "layers/model_priv.h"

typedef struct pass {
    tn_model *model;
    tn_tape *t;
    const tn_stretch *stretches;
    int n_stretches;      /* 0 = no caches: sequences from their beginning */
    const int *positions; /* [B,T], NULL: t */
    tn_kv_rows *runs;     /* [n_runs] of one layer: stretches with its caches, or documents; none: B sequences */
    int n_runs, layer;
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

/* What the linear layers of one site read. */
typedef struct reading {
    tn_tensor *x;   /* codes for ternary weights, numbers for the float twin */
    tn_tensor *raw; /* the numbers before their quantiser, when an adapter reads them; or NULL */
} reading;

/* One op makes codes of x, and keeps what it was if that is read, too; not where residuals are, of the codes alone. */
static bool fused_for(const pass *p, bool raw) {
    return fused(p) && !(raw && tn_tape_residual_mode(p->t) != TN_RESIDUAL_OFF);
}

static reading both(const pass *p, tn_tensor *codes, const char *site, bool raw) {
    return (reading){observed(p, codes, site), raw ? codes : NULL};
}

/* Of x, which is normed before, where there is a norm. */
static reading input(const pass *p, tn_tensor *x, tn_param *norm, const char *site, bool raw) {
    if (norm && fused_for(p, raw))
        return both(p, (raw ? tn_norm_quant_kept : tn_norm_quant)(p->t, x, norm, eps(p)), site, raw);
    if (norm) x = tn_rms_norm(p->t, x, norm, eps(p));
    return (reading){ternary(p) ? observed(p, tn_act_quant(p->t, x, p->model->lambda), site) : x, x};
}

static reading gated_input(const pass *p, tn_tensor *u, tn_tensor *v, tn_param *norm, const char *site, bool raw) {
    const bool silu = p->model->config.activation == TN_ACTIVATION_SILU;
    if (!norm || !fused_for(p, raw))
        return input(p, silu ? tn_silu_gate(p->t, u, v) : tn_relu2_gate(p->t, u, v), norm, site, raw);
    return both(p,
                (raw ? tn_gate_norm_quant_kept : tn_gate_norm_quant)(p->t, u, v, norm, eps(p),
                                                                     silu ? TN_GATE_SILU : TN_GATE_RELU2),
                site, raw);
}

static bool reads_raw(tn_param *const *w, int count) {
    for (int i = 0; i < count; i++)
        if (tn_beside_reads_raw(w[i]->beside)) return true;
    return false;
}

/* What adapters of w make of its input. */
static const tn_beside_made *beside(const pass *p, reading n, const tn_param *w) {
    return tn_beside_read(w->beside, p->t, n.x, n.raw);
}

static tn_tensor *project(const pass *p, tn_tensor *x, tn_param *w) {
    return ternary(p) ? tn_bitlinear(p->t, x, w) : tn_linear(p->t, x, w);
}

/* The matrices that read one input. */
static void project_each(const pass *p, reading n, tn_param *const *w, int count, tn_tensor **y) {
    if (fused(p))
        tn_bitlinear_group(p->t, n.x, w, count, y);
    else
        for (int i = 0; i < count; i++) y[i] = project(p, n.x, w[i]);
    for (int i = 0; i < count; i++) y[i] = tn_beside_add(beside(p, n, w[i]), p->t, y[i]);
}

static tn_tensor *drop(const pass *p, tn_tensor *x, int slot) {
    return tn_dropout(p->t, x, (tn_real)p->model->config.dropout, (uint32_t)(p->layer * 4 + slot));
}

/* x + dropout(project(n, w)); `last`: it ends a segment. */
static tn_tensor *add_branch(const pass *p, tn_tensor *x, reading n, tn_param *w, int slot, bool last) {
    const tn_beside_made *made = beside(p, n, w);
    if (last) tn_tape_rest(p->t);
    if (fused(p) && p->model->config.dropout <= 0) return tn_beside_add(made, p->t, tn_bitlinear_add(p->t, x, n.x, w));
    return tn_add(p->t, x, drop(p, tn_beside_add(made, p->t, project(p, n.x, w)), slot));
}

static tn_tensor *rotate(const pass *p, tn_tensor *x, tn_param *norm) {
    if (norm) x = tn_rms_norm(p->t, x, norm, eps(p));
    return tn_rope_in_place(p->t, x, &p->model->rope, p->positions);
}

/* With the caches of this layer. */
static const tn_kv_rows *runs(const pass *p) {
    for (int i = 0; i < p->n_stretches; i++)
        p->runs[i] = (tn_kv_rows){&p->stretches[i].cache->layers[p->layer], p->stretches[i].rows};
    return p->runs;
}

static tn_tensor *attention(const pass *p, const tn_block *b, tn_tensor *x) {
    const tn_model_config *c = &p->model->config;
    tn_param *const readers[] = {b->attn_q, b->attn_k, b->attn_v};
    tn_tensor *qkv[3];
    project_each(p, input(p, x, b->attn_norm, "attn", reads_raw(readers, 3)), readers, 3, qkv);
    tn_tensor *q = rotate(p, qkv[0], b->attn_q_norm), *k = rotate(p, qkv[1], b->attn_k_norm);
    tn_tensor *o = tn_attention(p->t, q, k, qkv[2], c->n_head, c->n_kv_head, runs(p), p->n_runs);
    reading n = input(p, o, b->attn_sub_norm, "attn_output", reads_raw(&b->attn_output, 1));
    return add_branch(p, x, n, b->attn_output, 0, false);
}

static tn_tensor *mlp(const pass *p, const tn_block *b, tn_tensor *x, bool last) {
    tn_param *const readers[] = {b->ffn_gate, b->ffn_up};
    tn_tensor *uv[2];
    project_each(p, input(p, x, b->ffn_norm, "ffn", reads_raw(readers, 2)), readers, 2, uv);
    reading n = gated_input(p, uv[0], uv[1], b->ffn_sub_norm, "ffn_down", reads_raw(&b->ffn_down, 1));
    return add_branch(p, x, n, b->ffn_down, 1, last);
}

/* Blocks [first, last) of a pass. */
typedef struct segment {
    pass p;
    int last;
} segment;

static tn_tensor *run_blocks(void *context, tn_tape *t, tn_tensor *x) {
    const segment *s = context;
    pass p = s->p;
    p.t = t;
    for (; p.layer < s->last; p.layer++) {
        const tn_block *b = &p.model->blocks[p.layer];
        x = mlp(&p, b, attention(&p, b, x), p.layer + 1 == s->last);
    }
    return x;
}

static tn_status check_end(const tn_model *model, int64_t end) {
    if (end <= model->config.context) return TN_OK;
    return TN_FAIL(RANGE, "position %lld is beyond the model's context of %d tokens", (long long)end,
                   model->config.context);
}

static tn_status check_stretch(const tn_model *model, const tn_stretch *s) {
    int64_t end = (int64_t)s->cache->length + s->rows;
    TN_TRY(check_end(model, end));
    if (end > s->cache->capacity)
        return TN_FAIL(RANGE, "position %lld is beyond the cache of %d tokens", (long long)end, s->cache->capacity);
    return TN_OK;
}

static tn_status check_positions(const pass *p, const tn_tensor *ids) {
    if (ids->n_dims != 2) return TN_FAIL(SHAPE, "a model reads ids [B,T], not %d dimensions", ids->n_dims);
    if (!p->n_stretches) return check_end(p->model, ids->dims[1]);
    int64_t rows = 0;
    for (int i = 0; i < p->n_stretches; i++) {
        TN_TRY(check_stretch(p->model, &p->stretches[i]));
        rows += p->stretches[i].rows;
    }
    if (ids->dims[0] != 1 || ids->dims[1] != rows)
        return TN_FAIL(SHAPE, "ids [%d,%d] for stretches of %lld rows", ids->dims[0], ids->dims[1], (long long)rows);
    return TN_OK;
}

static tn_status place_rows(pass *p) {
    int *position, at = 0;
    tn_arena *step = tn_tape_step(p->t);
    for (int i = 0; i < p->n_stretches; i++) at += p->stretches[i].rows;
    TN_TAKE(position, step, at, "positions");
    TN_TAKE(p->runs, step, p->n_stretches, "positions");
    p->positions = position;
    p->n_runs = p->n_stretches;
    for (int i = 0; i < p->n_stretches; i++)
        for (int j = 0; j < p->stretches[i].rows; j++) *position++ = p->stretches[i].cache->length + j;
    return TN_OK;
}

/* Documents to runs, row by row. What is taken does not depend on how many there are, so that a plan can count it. */
static tn_status place_documents(pass *p, const tn_tensor *ids, const int32_t *first) {
    const int n_time = ids->dims[1];
    const int64_t count = tn_tensor_count(ids);
    int *position;
    TN_TAKE(position, tn_tape_step(p->t), count, "positions");
    TN_TAKE(p->runs, tn_tape_step(p->t), count, "positions");
    p->positions = position;
    for (int64_t i = 0; i < count; i++) {
        const int t = (int)(i % n_time);
        if (first[i] != t && (t == 0 || first[i] != first[i - 1]))
            return TN_FAIL(RANGE,
                           "the token at place %d of row %d belongs to a document that begins at %d, expected %d%s", t,
                           (int)(i / n_time), first[i], t ? first[i - 1] : 0, t ? " or its own place" : "");
        if (first[i] == t) p->runs[p->n_runs++] = (tn_kv_rows){NULL, 0};
        p->runs[p->n_runs - 1].rows++;
        position[i] = t - first[i];
    }
    return TN_OK;
}

static tn_status begin(pass *p, const tn_tensor *ids, const int32_t *first) {
    TN_TRY(check_positions(p, ids));
    if (first) return place_documents(p, ids, first);
    return p->n_stretches ? place_rows(p) : TN_OK;
}

static void lengthen(tn_cache *cache, int rows) {
    cache->length += rows;
    for (int i = 0; i < cache->n_layers; i++) cache->layers[i].length = cache->length;
}

/* Blocks whose inside is dropped once they have run; 0 = all is kept. */
static int segment_blocks(const tn_model *model, const tn_tape *t) {
    return tn_tape_recording(t) ? model->recompute : 1;
}

static tn_tensor *run_pass(pass p, tn_tensor *ids, const int32_t *first) {
    tn_model *model = p.model;
    tn_tape *t = p.t;
    if (tn_tape_status(t) || tn_tape_fail(t, begin(&p, ids, first))) return tn_tape_empty(t);
    if (!tn_tape_is_dry(t)) tn_model_derive(model);
    tn_tensor *x = tn_embedding(t, ids, model->embedding);
    x = tn_beside_embed(model->embedding->beside, t, x, ids);
    x = tn_dropout(t, x, (tn_real)model->config.dropout, (uint32_t)model->config.n_layer * 4);
    int step = segment_blocks(model, t);
    for (; p.layer < model->config.n_layer; p.layer += TN_MAX(step, 1)) {
        segment s = {p, TN_MIN(p.layer + TN_MAX(step, 1), model->config.n_layer)};
        x = step ? tn_tape_segment(t, run_blocks, &s, sizeof s, x) : run_blocks(&s, t, x);
    }
    x = tn_rms_norm(t, x, model->output_norm, eps(&p));
    for (int i = 0; i < p.n_stretches && !tn_tape_status(t); i++) lengthen(p.stretches[i].cache, p.stretches[i].rows);
    return x;
}

tn_tensor *tn_model_hidden_batch(tn_model *model, tn_tape *t, tn_tensor *ids, const tn_stretch *stretches, int n) {
    return run_pass((pass){.model = model, .t = t, .stretches = stretches, .n_stretches = n}, ids, NULL);
}

tn_tensor *tn_model_hidden(tn_model *model, tn_tape *t, tn_tensor *ids, tn_cache *cache) {
    const tn_stretch whole = {cache, tn_tensor_cols(ids)};
    return tn_model_hidden_batch(model, t, ids, &whole, cache != NULL);
}

tn_tensor *tn_model_hidden_documents(tn_model *model, tn_tape *t, tn_tensor *ids, const int32_t *first) {
    return run_pass((pass){.model = model, .t = t}, ids, first);
}

void tn_model_recompute(tn_model *model, int blocks) { model->recompute = blocks; }

tn_param *tn_model_head(tn_model *model) { return model->output ? model->output : model->embedding; }

tn_tensor *tn_model_logits(tn_model *model, tn_tape *t, tn_tensor *hidden) {
    const tn_beside_made *made = tn_beside_read(model->beside_head, t, hidden, hidden);
    return tn_beside_add(made, t, tn_linear(t, hidden, tn_model_head(model)));
}

tn_tensor *tn_model_loss(tn_model *model, tn_tape *t, tn_tensor *ids, tn_tensor *targets, const int32_t *first,
                         tn_loss_options options) {
    tn_tensor *hidden = tn_model_hidden_documents(model, t, ids, first);
    if (tn_model_head_adapted(model))
        (void)tn_tape_fail(t, TN_FAIL(UNSUPPORTED, "no loss goes through an adapter of lm_head; leave it out"));
    return tn_head_loss(t, hidden, tn_model_head(model), targets, options);
}
