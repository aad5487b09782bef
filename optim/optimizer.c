/* SPDX-License-Identifier: MIT */
#include "optim/optimizer.h"

#include "core/par.h"
#include "core/rng.h"
#include "kernels/kernels.h"
#include "optim/muon.h"

#include <math.h>
#include <stdio.h>

typedef struct rule {
    const char *name;
    const char *slots[TN_OPTIMIZER_SLOTS];
    tn_slot_type type;
} rule;

static const rule rules[TN_OPTIMIZER_COUNT] = {
#define OPTIM(name, slot0, slot1, type) {#name, {slot0, slot1}, TN_SLOT_##type},
#include "optim/optims.def"
#undef OPTIM
};

typedef struct group {
    tn_optimizer_kind kind;
    bool table;
    tn_real *slots[TN_OPTIMIZER_SLOTS]; /* of codes: their scales */
    uint8_t *codes[TN_OPTIMIZER_SLOTS];
} group;

struct tn_optimizer {
    tn_optimizer_settings settings;
    const tn_param_blocks *blocks;
    group *groups; /* [n_params] */
    tn_slot *slots;
    int n_slots;
    tn_muon muon;
    int64_t updates;
};

const char *tn_optimizer_name(tn_optimizer_kind kind) { return rules[kind].name; }
int64_t tn_optimizer_updates(const tn_optimizer *optimizer) { return optimizer->updates; }
void tn_optimizer_set_updates(tn_optimizer *optimizer, int64_t updates) { optimizer->updates = updates; }
int tn_optimizer_slot_count(const tn_optimizer *optimizer) { return optimizer->n_slots; }
tn_slot tn_optimizer_slot(const tn_optimizer *optimizer, int index) { return optimizer->slots[index]; }

size_t tn_slot_bytes(const tn_slot *slot) {
    return (size_t)slot->count * (slot->type == TN_SLOT_CODE ? sizeof *slot->codes : sizeof *slot->values);
}

static bool is_matrix(const tn_param *param) { return param->rows > 1; }

static group make_group(const tn_param *param, tn_optimizer_kind kind) {
    bool hidden = is_matrix(param) && param->decays;
    if (kind == TN_OPTIMIZER_muon && !hidden) return (group){.kind = TN_OPTIMIZER_adamw, .table = true};
    bool small = kind == TN_OPTIMIZER_adamw8bit && tn_param_count(param) < TN_OPTIMIZER_CODED;
    return (group){.kind = small ? TN_OPTIMIZER_adamw : kind, .table = is_matrix(param) && !param->decays};
}

static void name_slot(tn_slot *slot, const char *name, const char *end) {
    snprintf(slot->name, sizeof slot->name, "%s%s", name, end);
}

static tn_status take_slot(tn_optimizer *o, tn_arena *arena, const tn_param *param, group *g, int i) {
    const rule *r = &rules[g->kind];
    int64_t count = tn_param_count(param);
    bool coded = r->type == TN_SLOT_CODE;
    if (coded) {
        TN_TAKE0(g->codes[i], arena, count, "optimizer");
        tn_slot *slot = &o->slots[o->n_slots++];
        *slot = (tn_slot){.param = param, .type = TN_SLOT_CODE, .codes = g->codes[i], .count = count};
        name_slot(slot, r->slots[i], "");
        count = (count + TN_CODE_BLOCK - 1) / TN_CODE_BLOCK;
    }
    TN_TAKE0(g->slots[i], arena, count, "optimizer");
    tn_slot *slot = &o->slots[o->n_slots++];
    *slot = (tn_slot){.param = param, .type = TN_SLOT_REAL, .values = g->slots[i], .count = count};
    name_slot(slot, r->slots[i], coded ? "_scale" : "");
    return TN_OK;
}

static tn_status take_slots(tn_optimizer *o, tn_arena *arena, const tn_param *param, group *g) {
    for (int i = 0; i < TN_OPTIMIZER_SLOTS && rules[g->kind].slots[i]; i++) TN_TRY(take_slot(o, arena, param, g, i));
    return TN_OK;
}

tn_status tn_optimizer_create(tn_optimizer **out, tn_arena *arena, const tn_param_blocks *blocks,
                              const tn_optimizer_settings *settings) {
    tn_optimizer *o;
    int n = blocks->n_params;
    TN_TAKE0(o, arena, 1, "optimizer");
    TN_TAKE0(o->groups, arena, n, "optimizer");
    TN_TAKE0(o->slots, arena, n * 2 * TN_OPTIMIZER_SLOTS, "optimizer"); /* codes and scales */
    tn_param **muon_params;
    TN_TAKE0(muon_params, arena, n, "optimizer");
    o->settings = *settings;
    o->blocks = blocks;
    int n_muon = 0;
    for (int i = 0; i < n; i++) {
        tn_param *param = blocks->params[i];
        if (!param->tensor.grad) return TN_FAIL(NOGRAD, "%s: has no gradient to follow", param->name);
        o->groups[i] = make_group(param, settings->kind);
        if (o->groups[i].kind == TN_OPTIMIZER_muon) muon_params[n_muon++] = param;
        TN_TRY(take_slots(o, arena, param, &o->groups[i]));
    }
    if (n_muon) TN_TRY(tn_muon_init(&o->muon, arena, muon_params, n_muon));
    *out = o;
    return TN_OK;
}

typedef struct fused_step {
    const tn_optimizer *optimizer;
    const tn_optimizer_rates *rates;
} fused_step;

/* a is that of the last refresh. */
static double rate_of(const tn_optimizer *o, int param, const tn_optimizer_rates *rates) {
    const tn_param *p = o->blocks->params[param];
    double rate = o->groups[param].table ? rates->table_learning_rate : rates->learning_rate;
    if (p->rate > 0) rate *= (double)p->rate;
    return o->settings.relative && p->quantizer != TN_QUANT_NONE ? rate * (double)p->scale : rate;
}

static tn_adamw adamw_of(const fused_step *s, const tn_param_block *b, tn_real decay) {
    const tn_optimizer_settings *set = &s->optimizer->settings;
    double t = (double)s->optimizer->updates;
    return (tn_adamw){.lr = (tn_real)rate_of(s->optimizer, b->param, s->rates),
                      .beta1 = (tn_real)set->beta1,
                      .beta2 = (tn_real)set->beta2,
                      .epsilon = (tn_real)set->epsilon,
                      .decay = decay,
                      .grad_scale = (tn_real)s->rates->grad_scale,
                      .correction1 = (tn_real)(1 - pow(set->beta1, t)),
                      .correction2 = (tn_real)(1 - pow(set->beta2, t))};
}

static double adamw_block(const fused_step *s, const group *g, const tn_param_block *b, tn_real decay, tn_real *w,
                          const tn_real *grad) {
    tn_adamw step = adamw_of(s, b, decay);
    return tn_k->adamw_step(b->count, &step, grad, w, g->slots[0] + b->first, g->slots[1] + b->first);
}

static double adamw8bit_block(const fused_step *s, const group *g, const tn_param_block *b, tn_real decay, tn_real *w,
                              const tn_real *grad) {
    tn_adamw step = adamw_of(s, b, decay);
    tn_rng rng = tn_rng_make((uint64_t)s->optimizer->updates, TN_PURPOSE_ROUNDING, (uint32_t)b->param);
    int64_t block = b->first / TN_CODE_BLOCK;
    tn_adamw_codes codes = {.m = g->codes[0] + b->first,
                            .v = g->codes[1] + b->first,
                            .m_scale = g->slots[0] + block,
                            .v_scale = g->slots[1] + block,
                            .key = (uint32_t)tn_rng_u64(&rng, (uint64_t)b->index)};
    return tn_k->adamw8bit_step(b->count, &step, &codes, grad, w);
}

static double lion_block(const fused_step *s, const group *g, const tn_param_block *b, tn_real decay, tn_real *w,
                         const tn_real *grad) {
    const tn_optimizer_settings *set = &s->optimizer->settings;
    tn_lion step = {.lr = (tn_real)rate_of(s->optimizer, b->param, s->rates),
                    .beta1 = (tn_real)set->beta1,
                    .beta2 = (tn_real)set->beta2,
                    .decay = decay,
                    .grad_scale = (tn_real)s->rates->grad_scale};
    return tn_k->lion_step(b->count, &step, grad, w, g->slots[0] + b->first);
}

static double sgd_block(const fused_step *s, const group *g, const tn_param_block *b, tn_real decay, tn_real *w,
                        const tn_real *grad) {
    tn_sgd step = {.lr = (tn_real)rate_of(s->optimizer, b->param, s->rates),
                   .momentum = (tn_real)s->optimizer->settings.momentum,
                   .decay = decay,
                   .grad_scale = (tn_real)s->rates->grad_scale};
    return tn_k->sgd_step(b->count, &step, grad, w, g->slots[0] + b->first);
}

static void step_blocks(void *context, int64_t begin, int64_t end) {
    const fused_step *s = context;
    for (int64_t i = begin; i < end; i++) {
        const tn_param_block *b = &s->optimizer->blocks->list[i];
        tn_param *param = s->optimizer->blocks->params[b->param];
        const group *g = &s->optimizer->groups[b->param];
        tn_real decay = param->decays ? (tn_real)s->rates->weight_decay : 0;
        tn_real *w = param->tensor.real + b->first, *grad = param->tensor.grad + b->first;
        double sum = 0;
        switch (g->kind) {
        case TN_OPTIMIZER_adamw: sum = adamw_block(s, g, b, decay, w, grad); break;
        case TN_OPTIMIZER_sgd: sum = sgd_block(s, g, b, decay, w, grad); break;
        case TN_OPTIMIZER_adamw8bit: sum = adamw8bit_block(s, g, b, decay, w, grad); break;
        case TN_OPTIMIZER_lion: sum = lion_block(s, g, b, decay, w, grad); break;
        default: continue; /* whole matrices are moved before this pass */
        }
        if (param->block_sums) param->block_sums[b->index] = sum;
    }
}

static void step_matrices(const tn_optimizer *o, const tn_optimizer_rates *rates) {
    for (int i = 0; i < o->blocks->n_params; i++) {
        if (o->groups[i].kind != TN_OPTIMIZER_muon) continue;
        tn_muon_rates r = {rate_of(o, i, rates), o->settings.momentum, rates->weight_decay, rates->grad_scale};
        tn_muon_step(&o->muon, &r, o->blocks->params[i], o->groups[i].slots[0]);
    }
}

void tn_optimizer_zero_grads(tn_optimizer *optimizer) {
    const tn_param_blocks *blocks = optimizer->blocks;
    for (int i = 0; i < blocks->n_params; i++) blocks->params[i]->grad_empty = true;
}

void tn_optimizer_step(tn_optimizer *optimizer, const tn_optimizer_rates *rates) {
    const tn_param_blocks *blocks = optimizer->blocks;
    for (int i = 0; i < blocks->n_params; i++) (void)tn_param_grad(blocks->params[i]);
    optimizer->updates++;
    step_matrices(optimizer, rates);
    fused_step s = {optimizer, rates};
    tn_par_for(blocks->count, 1, step_blocks, &s);
    for (int i = 0; i < blocks->n_params; i++) blocks->params[i]->sums_known = true;
    tn_optimizer_zero_grads(optimizer);
}

bool tn_optimizer_params_finite(const tn_optimizer *optimizer) {
    const tn_param_blocks *blocks = optimizer->blocks;
    for (int i = 0; i < blocks->n_params; i++)
        if (!isfinite(tn_k->sum_abs(tn_param_count(blocks->params[i]), blocks->params[i]->tensor.real))) return false;
    return true;
}
