/* SPDX-License-Identifier: MIT */
#include "layers/adapter_priv.h"

#include "core/par.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MODULE_LINEAR, MODULE_OTHER };

typedef struct module {
    const char *name, *parameter;
    int kind;
} module;

static const module modules[] = {
#define ADAPTER_MODULE(name, parameter, kind) {name, parameter, MODULE_##kind},
#include "layers/adapter_modules.def"
#undef ADAPTER_MODULE
};
enum { MODULES = TN_COUNT(modules) };

static bool in_blocks(const module *m) { return strstr(m->parameter, "%d") != NULL; }

static int most_pairs(const tn_model_config *config) {
    int count = 0;
    for (int i = 0; i < MODULES; i++) count += in_blocks(&modules[i]) ? config->n_layer : 1;
    return count;
}

tn_status tn_adapter_create(tn_adapter **out, tn_arena *arena, const tn_model_config *config,
                            const tn_adapter_options *options) {
    tn_adapter *adapter;
    *out = NULL;
    if (!(options->dropout >= 0 && options->dropout < 1))
        return TN_FAIL(RANGE, "adapter: dropout %g is outside [0,1)", options->dropout);
    if (options->merged && options->dropout > 0)
        return TN_FAIL(RANGE, "adapter: a merged one can drop nothing, its dropout is %g", options->dropout);
    TN_TAKE0(adapter, arena, 1, "adapter");
    adapter->arena = arena;
    adapter->config = *config;
    adapter->options = *options;
    TN_TAKE0(adapter->pairs, arena, most_pairs(config), "adapter");
    *out = adapter;
    return TN_OK;
}

/* ---- targets ---- */

typedef struct search {
    const char *name;
    int rows, cols; /* 0 = not found */
} search;

bool tn_adapter_is_embedding(const char *target) { return strcmp(target, "token_embd.weight") == 0; }
bool tn_adapter_is_head(const char *target) { return strcmp(target, "output.weight") == 0; }

static tn_status compare(void *context, const tn_param *param) {
    search *s = context;
    if (strcmp(param->name, s->name) == 0) {
        s->rows = param->rows;
        s->cols = param->cols;
    }
    return TN_OK;
}

/* The module whose parameter that is, in any block; NULL when an adapter cannot stand beside it. */
static const module *module_of(const char *target) {
    for (int i = 0; i < MODULES; i++) {
        char name[64];
        int block = 0;
        if (in_blocks(&modules[i]) && sscanf(target, "blk.%d.", &block) != 1) continue;
        snprintf(name, sizeof name, modules[i].parameter, block);
        if (strcmp(name, target) == 0) return &modules[i];
    }
    return NULL;
}

static tn_status find_target(const tn_adapter *adapter, const char *target, search *found) {
    const tn_model_config *c = &adapter->config;
    *found = (search){.name = target};
    if (module_of(target)) TN_TRY(tn_model_each_param(c, compare, found));
    if (!found->rows && c->tie_embeddings && tn_adapter_is_head(target))
        *found = (search){target, c->vocab_size, c->d_model};
    if (found->rows) return TN_OK;
    return TN_FAIL(MISSING, "adapter: the model has no matrix %s for an adapter to stand beside", target);
}

tn_adapter_pair *tn_adapter_find(const tn_adapter *adapter, const char *target) {
    for (int i = 0; i < adapter->n_pairs; i++)
        if (strcmp(adapter->pairs[i].target, target) == 0) return &adapter->pairs[i];
    return NULL;
}

static tn_status make_half(tn_param *half, const tn_adapter *adapter, const char *target, const char *end, int rows,
                           int rank) {
    *half = (tn_param){.rows = rows, .cols = rank, .decays = true};
    snprintf(half->name, sizeof half->name, "%s.%s", target, end);
    TN_TRY(tn_param_init(half, adapter->arena, adapter->options.trains ? TN_PARAM_TRAINED : TN_PARAM_FIXED));
    half->tensor.n_dims = 2; /* also with one row */
    half->tensor.dims[0] = rows;
    half->tensor.dims[1] = rank;
    return TN_OK;
}

tn_status tn_adapter_add(tn_adapter *adapter, const char *target, int rank, double alpha) {
    search found;
    TN_ASSERT(!adapter->model);
    TN_TRY(find_target(adapter, target, &found));
    if (tn_adapter_find(adapter, target)) return TN_FAIL(ARG, "adapter: %s has two pairs", target);
    if (rank < 1 || rank > TN_ADAPTER_RANK_MAX)
        return TN_FAIL(RANGE, "adapter: %s has rank %d, expected 1 to %d", target, rank, TN_ADAPTER_RANK_MAX);
    if (!(alpha > 0 && isfinite(alpha)))
        return TN_FAIL(RANGE, "adapter: %s has alpha %g, expected a positive number", target, alpha);
    tn_adapter_pair *pair = &adapter->pairs[adapter->n_pairs];
    *pair = (tn_adapter_pair){.rank = rank, .alpha = alpha};
    snprintf(pair->target, sizeof pair->target, "%s", target);
    pair->c = (tn_real)(alpha / (adapter->options.rslora ? sqrt(rank) : rank));
    const bool embedding = tn_adapter_is_embedding(target);
    TN_TRY(make_half(&pair->a, adapter, target, "lora_a", embedding ? found.rows : found.cols, rank));
    TN_TRY(make_half(&pair->b, adapter, target, "lora_b", embedding ? found.cols : found.rows, rank));
    adapter->n_pairs++;
    return TN_OK;
}

/* ---- modules by name ---- */

static const char between[] = ", \t";

static bool is(const char *name, const char *text, size_t len) {
    return strlen(name) == len && memcmp(name, text, len) == 0;
}

/* By the name of Hugging Face, or by that of the parameter: "attn_q" of "blk.%d.attn_q.weight". */
static bool is_module(const module *m, const char *text, size_t len) {
    const char *own = m->parameter + (in_blocks(m) ? strlen("blk.%d.") : 0);
    return is(m->name, text, len) || (strcspn(own, ".") == len && memcmp(own, text, len) == 0);
}

static tn_status fail_unknown(const char *text, size_t len) {
    char known[160] = "";
    for (int i = 0, at = 0; i < MODULES; i++)
        at += snprintf(known + at, sizeof known - (size_t)at, "%s, ", modules[i].name);
    return TN_FAIL(ARG, "adapter: there is no module \"%.*s\": expected %sor all-linear", (int)len, text, known);
}

static tn_status choose(const char *list, bool chosen[MODULES]) {
    for (size_t len; *(list += strspn(list, between)); list += len) {
        len = strcspn(list, between);
        const bool all = is("all-linear", list, len) || is("all", list, len);
        bool known = all;
        for (int i = 0; i < MODULES; i++) {
            const bool named = is_module(&modules[i], list, len);
            chosen[i] |= named || (all && modules[i].kind == MODULE_LINEAR);
            known |= named;
        }
        if (!known) return fail_unknown(list, len);
    }
    return TN_OK;
}

static tn_status check_others(const bool chosen[MODULES], const tn_adapter_module *others, int n) {
    for (int j = 0; j < n; j++) {
        int i = 0;
        while (i < MODULES && strcmp(modules[i].name, others[j].name) != 0) i++;
        if (i == MODULES) return fail_unknown(others[j].name, strlen(others[j].name));
        if (!chosen[i])
            return TN_FAIL(ARG, "adapter: %s has a rank or an alpha of its own but is no target", others[j].name);
    }
    return TN_OK;
}

tn_status tn_adapter_add_modules(tn_adapter *adapter, const char *list, int rank, double alpha,
                                 const tn_adapter_module *others, int n_others) {
    bool chosen[MODULES] = {false};
    TN_TRY(choose(list, chosen));
    TN_TRY(check_others(chosen, others, n_others));
    for (int layer = 0; layer < adapter->config.n_layer; layer++)
        for (int i = 0; i < MODULES; i++) {
            char target[64];
            tn_adapter_module own = {modules[i].name, rank, alpha};
            if (!chosen[i] || (layer && !in_blocks(&modules[i]))) continue;
            for (int j = 0; j < n_others; j++) {
                if (strcmp(others[j].name, own.name) != 0) continue;
                if (others[j].rank) own.rank = others[j].rank;
                if (others[j].alpha > 0) own.alpha = others[j].alpha;
            }
            snprintf(target, sizeof target, modules[i].parameter, layer);
            TN_TRY(tn_adapter_add(adapter, target, own.rank, own.alpha));
        }
    if (adapter->n_pairs) return TN_OK;
    return TN_FAIL(ARG, "adapter: no module is named for it to stand beside");
}

tn_status tn_adapter_each_target(const tn_model_config *config, tn_adapter_visit *visit, void *context) {
    for (int layer = 0; layer < config->n_layer; layer++)
        for (int i = 0; i < MODULES; i++) {
            char target[64];
            if (layer && !in_blocks(&modules[i])) continue;
            snprintf(target, sizeof target, modules[i].parameter, layer);
            TN_TRY(visit(context, target, modules[i].name));
        }
    return TN_OK;
}

/* ---- first values ---- */

typedef struct filling {
    tn_param *param;
    tn_rng rng;
    double bound; /* uniform in +-bound; 0: normal */
} filling;

static void fill_run(void *context, int64_t begin, int64_t end) {
    const filling *f = context;
    for (int64_t i = begin; i < end; i++) {
        const double x = f->bound > 0 ? (2 * tn_rng_uniform(&f->rng, (uint64_t)i) - 1) * f->bound
                                      : tn_rng_normal(&f->rng, (uint64_t)i);
        f->param->tensor.real[i] = (tn_real)(float)x;
    }
}

static void fill(tn_param *param, uint64_t seed, uint32_t stream, double bound) {
    filling f = {param, tn_rng_make(seed, TN_PURPOSE_INIT, stream), bound};
    tn_par_for(tn_param_count(param), 4096, fill_run, &f);
}

static void clear(tn_param *param) { memset(param->tensor.real, 0, sizeof(tn_real) * (size_t)tn_param_count(param)); }

/* A stream of its own for every target, whatever else the adapter has: FNV-1a. */
static uint32_t stream_of(const char *target) {
    uint32_t hash = 2166136261u;
    for (; *target; target++) hash = (hash ^ (unsigned char)*target) * 16777619u;
    return hash;
}

void tn_adapter_init(tn_adapter *adapter, uint64_t seed) {
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_adapter_pair *pair = &adapter->pairs[i];
        const bool embedding = tn_adapter_is_embedding(pair->target);
        clear(embedding ? &pair->a : &pair->b);
        fill(embedding ? &pair->b : &pair->a, seed, stream_of(pair->target),
             embedding ? 0 : 1 / sqrt((double)pair->a.rows));
    }
}
