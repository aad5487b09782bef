/* SPDX-License-Identifier: MIT
 * grammar_compile.c - trees into steps. A body that a repetition needs more than once becomes a part of its own, called
 * like a rule, and so do blocks of many repetitions: nested ones add up, not multiply, and x{1000000} is small. */
#include "data/grow.h"
#include "infer/grammar_priv.h"

#include <string.h>

static const char tag[] = "grammar";

enum { FEW = 256 }; /* repetitions that are written one by one */

typedef struct compiler {
    const tn_written *w;
    tn_step *steps; /* heap */
    size_t n_steps, steps_cap;
    tn_part *parts; /* heap: the rules by their numbers, then bodies of repetitions */
    size_t n_parts, parts_cap;
    uint32_t rule; /* that is being compiled */
} compiler;

static tn_status put(compiler *c, tn_step_kind kind, uint32_t arg, uint32_t at) {
    if (c->n_steps == TN_GRAMMAR_STEPS) {
        tn_text_place place = tn_written_place(c->w, at);
        return TN_FAIL(RANGE, "grammar: line %d, column %d: makes the grammar larger than %d steps", place.line,
                       place.column, TN_GRAMMAR_STEPS);
    }
    TN_GROW(c->steps, &c->steps_cap, c->n_steps + 1);
    c->steps[c->n_steps++] = (tn_step){kind, arg};
    return TN_OK;
}

static tn_status put_tree(compiler *c, const tn_tree *tree);

static tn_status put_text(compiler *c, const tn_tree *tree) {
    for (size_t i = 0; i < tree->len; i++) TN_TRY(put(c, TN_STEP_BYTE, (unsigned char)tree->bytes[i], tree->at));
    return TN_OK;
}

static tn_status put_sequence(compiler *c, const tn_tree *tree) {
    for (const tn_tree *part = tree->inner; part; part = part->next) TN_TRY(put_tree(c, part));
    return TN_OK;
}

/* fork 2; first; jump end; 2: fork 3; second; jump end; 3: third; end: */
static tn_status put_choice(compiler *c, const tn_tree *tree) {
    const uint32_t none = UINT32_MAX;
    uint32_t jumps = none; /* to the end, each holding the one before */
    for (const tn_tree *sequence = tree->inner; sequence; sequence = sequence->next) {
        size_t fork = c->n_steps;
        if (sequence->next) TN_TRY(put(c, TN_STEP_FORK, 0, sequence->at));
        TN_TRY(put_sequence(c, sequence));
        if (!sequence->next) break;
        TN_TRY(put(c, TN_STEP_JUMP, jumps, sequence->at));
        jumps = (uint32_t)c->n_steps - 1;
        c->steps[fork].arg = (uint32_t)c->n_steps;
    }
    while (jumps != none) {
        uint32_t before = c->steps[jumps].arg;
        c->steps[jumps].arg = (uint32_t)c->n_steps;
        jumps = before;
    }
    return TN_OK;
}

/* ---- repetition ---- */

static bool is_one_step(const tn_tree *tree) {
    return tree->kind == TN_TREE_CLASS || tree->kind == TN_TREE_RULE || (tree->kind == TN_TREE_TEXT && tree->len <= 1);
}

/* A part of its own for a tree, and the call of it. */
static tn_status make_part(compiler *c, const tn_tree *body, const tn_tree **call) {
    tn_tree *made;
    TN_TAKE(made, c->w->arena, 1, tag);
    TN_GROW(c->parts, &c->parts_cap, c->n_parts + 1);
    *made = (tn_tree){.kind = TN_TREE_RULE, .at = body->at, .number = (uint32_t)c->n_parts};
    c->parts[c->n_parts++] = (tn_part){.rule = c->rule, .body = body};
    *call = made;
    return TN_OK;
}

/* The call of x{n}. */
static tn_status make_block(compiler *c, const tn_tree *x, int32_t n, const tn_tree **call) {
    tn_tree *repeat;
    TN_TAKE(repeat, c->w->arena, 1, tag);
    *repeat = (tn_tree){.kind = TN_TREE_REPEAT, .at = x->at, .inner = (tn_tree *)(uintptr_t)x, .min = n, .max = n};
    return make_part(c, repeat, call);
}

static int32_t root_of(int32_t n) {
    int32_t root = 1;
    while ((root + 1) * (root + 1) <= n) root++;
    return root;
}

/* x{n}; a large n = ab + r is (x{a}){b} x{r}, so that the steps grow with its square root */
static tn_status put_times(compiler *c, const tn_tree *x, int32_t n) {
    if (n > FEW) {
        const tn_tree *block;
        int32_t a = root_of(n);
        TN_TRY(make_block(c, x, a, &block));
        TN_TRY(put_times(c, block, n / a));
        n %= a;
    }
    for (int32_t i = 0; i < n; i++) TN_TRY(put_tree(c, x));
    return TN_OK;
}

/* x{0,n}: fork end x fork end x end: ...; a large n = ab + r is (x{a}){0,b} x{0,r} with r >= a - 1, so no sum is left
 * out */
static tn_status put_up_to(compiler *c, const tn_tree *x, int32_t n) {
    const uint32_t none = UINT32_MAX;
    uint32_t forks = none; /* to the end, each holding the one before */
    if (n > FEW) {
        const tn_tree *block;
        int32_t a = root_of(n), b = (n - (a - 1)) / a;
        TN_TRY(make_block(c, x, a, &block));
        TN_TRY(put_up_to(c, block, b));
        n -= a * b;
    }
    for (int32_t i = 0; i < n; i++) {
        TN_TRY(put(c, TN_STEP_FORK, forks, x->at));
        forks = (uint32_t)c->n_steps - 1;
        TN_TRY(put_tree(c, x));
    }
    while (forks != none) {
        uint32_t before = c->steps[forks].arg;
        c->steps[forks].arg = (uint32_t)c->n_steps;
        forks = before;
    }
    return TN_OK;
}

/* x*: again: fork end x jump again end:      x{3,}: x x again: x fork again */
static tn_status put_repeat(compiler *c, const tn_tree *tree) {
    const tn_tree *x = tree->inner;
    bool endless = tree->max == TN_TREE_NO_MAX;
    int32_t copies = endless ? TN_MAX(tree->min, 1) : tree->max;
    if (copies > 1 && !is_one_step(x)) TN_TRY(make_part(c, x, &x));
    if (!endless) {
        TN_TRY(put_times(c, x, tree->min));
        return put_up_to(c, x, tree->max - tree->min);
    }
    TN_TRY(put_times(c, x, tree->min - 1));
    size_t again = c->n_steps;
    if (tree->min == 0) TN_TRY(put(c, TN_STEP_FORK, (uint32_t)again, tree->at));
    TN_TRY(put_tree(c, x));
    if (tree->min > 0) return put(c, TN_STEP_FORK, (uint32_t)again, tree->at);
    TN_TRY(put(c, TN_STEP_JUMP, (uint32_t)again, tree->at));
    c->steps[again].arg = (uint32_t)c->n_steps;
    return TN_OK;
}

static tn_status put_tree(compiler *c, const tn_tree *tree) {
    switch (tree->kind) {
    case TN_TREE_TEXT: return put_text(c, tree);
    case TN_TREE_CLASS: return put(c, TN_STEP_CLASS, tree->number, tree->at);
    case TN_TREE_RULE: return put(c, TN_STEP_CALL, tree->number, tree->at);
    case TN_TREE_CHOICE: return put_choice(c, tree);
    case TN_TREE_SEQUENCE: return put_sequence(c, tree);
    case TN_TREE_REPEAT: return put_repeat(c, tree);
    }
    TN_ASSERT(!"a kind of tree");
    return TN_OK;
}

static tn_status put_parts(compiler *c) {
    for (size_t i = 0; i < c->w->n_rules; i++) {
        TN_GROW(c->parts, &c->parts_cap, c->n_parts + 1);
        c->parts[c->n_parts++] = (tn_part){.rule = (uint32_t)i, .named = true, .body = c->w->rules[i].body};
    }
    for (size_t i = 0; i < c->n_parts; i++) { /* more come while these are compiled */
        c->rule = c->parts[i].rule;
        c->parts[i].start = (uint32_t)c->n_steps;
        TN_TRY(put_tree(c, c->parts[i].body));
        TN_TRY(put(c, TN_STEP_RETURN, 0, c->w->rules[c->rule].at));
    }
    return TN_OK;
}

/* ---- kinds of bytes ---- */

/* Split the kinds whose bytes differ in `values` [256]. */
static void split_kinds(tn_grammar *g, const uint16_t *values) {
    int before = g->n_kinds;
    int16_t last[256]; /* of those split off from a kind in this round */
    memset(last, -1, sizeof last);
    int16_t older[256];
    for (int byte = 0; byte < 256; byte++) {
        int kind = g->kinds[byte];
        if (kind >= before || values[byte] == values[g->examples[kind]]) continue;
        int split = last[kind];
        while (split >= 0 && values[g->examples[split]] != values[byte]) split = older[split];
        if (split < 0) {
            split = g->n_kinds++;
            g->examples[split] = (uint8_t)byte;
            older[split] = last[kind];
            last[kind] = (int16_t)split;
        }
        g->kinds[byte] = (uint8_t)split;
    }
}

static void find_kinds(tn_grammar *g, size_t n_leads, size_t n_tails) {
    uint16_t values[256] = {0};
    g->n_kinds = 1; /* all bytes are of the kind of byte 0 */
    for (uint32_t i = 0; i < g->n_steps; i++)
        if (g->steps[i].kind == TN_STEP_BYTE) values[g->steps[i].arg] = (uint16_t)(1 + g->steps[i].arg);
    split_kinds(g, values);
    for (size_t i = 0; i < n_leads && g->n_kinds < 256; i++) split_kinds(g, g->leads[i]);
    memset(values, 0, sizeof values);
    for (size_t i = 0; i < n_tails && g->n_kinds < 256; i++) {
        memcpy(values + 0x80, g->tails[i], sizeof g->tails[i]);
        split_kinds(g, values);
    }
}

/* ---- the whole ---- */

static tn_status keep(tn_grammar *g, const compiler *c) {
    const tn_class_list *classes = &c->w->classes;
    tn_lead_row *leads;
    tn_tail_row *tails;
    TN_TAKE(g->steps, g->arena, c->n_steps, tag);
    TN_TAKE(g->parts, g->arena, c->n_parts, tag);
    TN_TAKE(leads, g->arena, classes->count, tag);
    TN_TAKE(tails, g->arena, classes->n_tails, tag);
    memcpy(g->steps, c->steps, c->n_steps * sizeof *c->steps);
    memcpy(g->parts, c->parts, c->n_parts * sizeof *c->parts);
    if (classes->count) memcpy(leads, classes->leads, classes->count * sizeof *leads);
    if (classes->n_tails) memcpy(tails, classes->tails, classes->n_tails * sizeof *tails);
    g->n_steps = (uint32_t)c->n_steps;
    g->n_parts = (uint32_t)c->n_parts;
    g->leads = (const tn_lead_row *)leads;
    g->tails = (const tn_tail_row *)tails;
    g->root = c->parts[tn_text_map_find(&c->w->names, "root", 4)].start;
    find_kinds(g, classes->count, classes->n_tails);
    return TN_OK;
}

tn_status tn_grammar_compile(tn_grammar *g, const tn_written *w) {
    compiler c = {.w = w};
    tn_status status = put_parts(&c);
    if (!status) status = keep(g, &c);
    if (!status) status = tn_grammar_check(g, w);
    tn_heap_free(c.steps);
    tn_heap_free(c.parts);
    return status;
}

static tn_status create(tn_grammar *g, tn_written *w) {
    g->arena = tn_arena_create("grammar");
    w->arena = w->classes.arena = g->arena ? tn_arena_create("grammar text") : NULL;
    if (!w->arena) return TN_E_NOMEM;
    TN_TRY(tn_grammar_parse(w));
    return tn_grammar_compile(g, w);
}

tn_status tn_grammar_create(tn_grammar **out, const char *text, size_t len) {
    *out = NULL;
    tn_grammar *g = tn_heap_zalloc(1, sizeof *g);
    if (!g) return TN_E_NOMEM;
    tn_written w = {.text = text, .len = len};
    tn_status status = create(g, &w);
    tn_class_list_release(&w.classes);
    tn_text_map_release(&w.names);
    tn_heap_free(w.rules);
    tn_arena_free(w.arena);
    if (status)
        tn_grammar_free(g);
    else
        *out = g;
    return status;
}

void tn_grammar_free(tn_grammar *g) {
    if (!g) return;
    tn_arena_free(g->arena);
    tn_heap_free(g);
}
