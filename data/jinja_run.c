/* SPDX-License-Identifier: MIT
 * jinja_run.c - statements, scopes and macros: a template becomes a text. */
#include "data/jinja_priv.h"

#include "data/grow.h"

#include <string.h>
#include <time.h>

enum { DEFAULT_STEPS = 50000000, DEFAULT_MEMORY = 512 << 20, DEFAULT_OUTPUT = 64 << 20 };

/* ---- scopes ---- */

static tn_status open_scope(tn_jinja_run *run, tn_jinja_scope *parent, tn_jinja_scope **out) {
    void *scope;
    TN_TRY(tn_jinja_take(run, 1, sizeof(tn_jinja_scope), &scope));
    *out = scope;
    (*out)->parent = parent;
    return TN_OK;
}

static tn_jinja_named *find_var(tn_jinja_scope *scope, tn_jinja_text name) {
    for (size_t i = 0; i < scope->count; i++) {
        tn_jinja_named *var = &scope->vars[i];
        if (var->name.len == name.len && memcmp(var->name.at, name.at, name.len) == 0) return var;
    }
    return NULL;
}

static tn_status set_var(tn_jinja_run *run, tn_jinja_scope *scope, tn_jinja_text name, const tn_jinja_value *value) {
    tn_jinja_named *var = find_var(scope, name);
    TN_TRY(tn_jinja_spend(run, scope->count / 8));
    if (var) return var->value = *value, TN_OK;
    if (scope->count == scope->cap) {
        void *vars;
        TN_TRY(tn_jinja_take(run, 2 * scope->cap + 4, sizeof *scope->vars, &vars));
        if (scope->count) memcpy(vars, scope->vars, scope->count * sizeof *scope->vars);
        scope->vars = vars;
        scope->cap = 2 * scope->cap + 4;
    }
    scope->vars[scope->count++] = (tn_jinja_named){name, *value};
    return TN_OK;
}

/* A variable of the context, kept in the outermost scope from its first use on. */
static tn_status lookup_context(tn_jinja_run *run, tn_jinja_scope *outermost, tn_jinja_text name, tn_jinja_value *out) {
    const json_t *json = json_object_getn(run->context, name.at, name.len);
    const tn_jinja_builtin *global = json ? NULL : tn_jinja_find_global(name);
    *out = tn_jinja_undefined(TN_JINJA_ABSENT, name);
    if (global) {
        void *callable;
        TN_TRY(tn_jinja_take(run, 1, sizeof(tn_jinja_callable), &callable));
        *out = (tn_jinja_value){.kind = TN_JINJA_CALLABLE, .callable = callable};
        ((tn_jinja_callable *)callable)->builtin = global;
    }
    if (!json && !global) return TN_OK;
    if (json) TN_TRY(tn_jinja_from_json(run, json, out));
    return set_var(run, outermost, name, out);
}

tn_status tn_jinja_lookup(tn_jinja_run *run, tn_jinja_text name, tn_jinja_value *out) {
    tn_jinja_scope *scope = run->scope;
    for (;; scope = scope->parent) {
        const tn_jinja_named *var = find_var(scope, name);
        TN_TRY(tn_jinja_spend(run, scope->count / 8));
        if (var) return *out = var->value, TN_OK;
        if (!scope->parent) return lookup_context(run, scope, name, out);
    }
}

/* ---- assignments ---- */

static tn_status assign_tuple(tn_jinja_run *run, const tn_jinja_node *target, const tn_jinja_value *value) {
    const tn_jinja_list *list;
    size_t i = 0;
    TN_TRY(tn_jinja_iterate(run, value, &list));
    for (const tn_jinja_node *item = target->list; item; item = item->next, i++) {
        if (i == list->count) return RUN_FAIL(run, MISMATCH, "%zu values for more names", list->count);
        TN_TRY(tn_jinja_assign(run, item, &list->items[i]));
    }
    return i == list->count ? TN_OK : RUN_FAIL(run, MISMATCH, "%zu values for %zu names", list->count, i);
}

tn_status tn_jinja_assign(tn_jinja_run *run, const tn_jinja_node *target, const tn_jinja_value *value) {
    tn_jinja_value owner, key = tn_jinja_text_value(target->text);
    run->place = target->place;
    if (target->kind == TN_JINJA_NAME) return set_var(run, run->scope, target->text, value);
    if (target->kind == TN_JINJA_TUPLE_OF) return assign_tuple(run, target, value);
    TN_TRY(tn_jinja_eval(run, target->a, &owner));
    if (owner.kind == TN_JINJA_NAMESPACE) return tn_jinja_put_key(run, owner.map, &key, value);
    TN_TRY(tn_jinja_refuse_undefined(run, &owner));
    return RUN_FAIL(run, MISMATCH, "attributes of %s cannot be set, expected a namespace", tn_jinja_words(owner.kind));
}

/* ---- statements ---- */

static tn_status exec(tn_jinja_run *run, const tn_jinja_node *first);

/* Statements with a scope of their own inside `parent`. */
static tn_status exec_inside(tn_jinja_run *run, tn_jinja_scope *scope, const tn_jinja_node *first) {
    tn_jinja_scope *outer = run->scope;
    run->scope = scope;
    TN_TRY(exec(run, first));
    run->scope = outer;
    return TN_OK;
}

static tn_status exec_print(tn_jinja_run *run, const tn_jinja_node *node) {
    tn_jinja_value value;
    TN_TRY(tn_jinja_eval(run, node->a, &value));
    run->place = node->place;
    return tn_jinja_print(run, &value);
}

static tn_status exec_if(tn_jinja_run *run, const tn_jinja_node *node) {
    for (const tn_jinja_node *branch = node->list; branch; branch = branch->next) {
        tn_jinja_value condition = tn_jinja_boolean(true);
        if (branch->a) TN_TRY(tn_jinja_eval(run, branch->a, &condition));
        if (tn_jinja_truth(&condition)) return exec(run, branch->list);
    }
    return TN_OK;
}

static tn_status exec_set(tn_jinja_run *run, const tn_jinja_node *node) {
    tn_jinja_value value;
    TN_TRY(tn_jinja_eval(run, node->b, &value));
    return tn_jinja_assign(run, node->a, &value);
}

static tn_status exec_set_block(tn_jinja_run *run, const tn_jinja_node *node) {
    const tn_jinja_value *outer = run->captured;
    tn_jinja_value text, value;
    tn_jinja_scope *scope;
    size_t mark = tn_jinja_begin(run);
    TN_TRY(open_scope(run, run->scope, &scope));
    TN_TRY(exec_inside(run, scope, node->list));
    TN_TRY(tn_jinja_finish(run, mark, &text));
    if (run->flow != TN_JINJA_GO_ON) return TN_OK; /* the loop around was left */
    run->captured = &text;
    TN_TRY(tn_jinja_eval(run, node->b, &value));
    run->captured = outer;
    return node->a ? tn_jinja_assign(run, node->a, &value) : tn_jinja_print(run, &value);
}

static tn_status exec_generation(tn_jinja_run *run, const tn_jinja_node *node) {
    tn_jinja_spans *spans = run->options.spans;
    tn_jinja_scope *scope;
    if (spans && run->captures)
        return RUN_FAIL(run, UNSUPPORTED,
                        "a generation block in a macro or in a text that is set has no place in the output");
    size_t begin = run->out->len - run->out_start;
    TN_TRY(open_scope(run, run->scope, &scope));
    TN_TRY(exec_inside(run, scope, node->list));
    if (!spans) return TN_OK;
    TN_GROW(spans->list, &spans->cap, spans->count + 1);
    spans->list[spans->count++] = (tn_jinja_span){begin, run->out->len - run->out_start};
    return TN_OK;
}

/* ---- loops ---- */

/* Find out what the loop visits until there are `count`, or no more. */
static tn_status look_ahead(tn_jinja_run *run, tn_jinja_loop *loop, size_t count) {
    const tn_jinja_node *test = loop->node->c;
    while (loop->passed.count < count && loop->taken < loop->source->count) {
        const tn_jinja_value *item = &loop->source->items[loop->taken++];
        tn_jinja_value truth = tn_jinja_boolean(true);
        if (test) {
            tn_jinja_scope *outer = run->scope;
            TN_TRY(open_scope(run, loop->outside, &run->scope));
            TN_TRY(tn_jinja_assign(run, loop->node->a, item));
            TN_TRY(tn_jinja_eval(run, test, &truth));
            run->scope = outer;
        }
        if (tn_jinja_truth(&truth)) TN_TRY(tn_jinja_push(run, &loop->passed, item));
    }
    return TN_OK;
}

/* What is at `at` in the loop, undefined outside of it. */
static tn_status neighbour(tn_jinja_run *run, tn_jinja_loop *loop, size_t at, tn_jinja_value *out) {
    TN_TRY(look_ahead(run, loop, at == SIZE_MAX ? 0 : at + 1));
    if (at < loop->passed.count) *out = loop->passed.items[at];
    return TN_OK;
}

tn_status tn_jinja_loop_attribute(tn_jinja_run *run, tn_jinja_loop *loop, tn_jinja_text name, tn_jinja_value *out) {
    int64_t at = (int64_t)loop->at, length;
    if (tn_jinja_text_is(name, "index0")) return *out = tn_jinja_integer(at), TN_OK;
    if (tn_jinja_text_is(name, "index")) return *out = tn_jinja_integer(at + 1), TN_OK;
    if (tn_jinja_text_is(name, "first")) return *out = tn_jinja_boolean(at == 0), TN_OK;
    if (tn_jinja_text_is(name, "depth")) return *out = tn_jinja_integer(1), TN_OK;
    if (tn_jinja_text_is(name, "depth0")) return *out = tn_jinja_integer(0), TN_OK;
    if (tn_jinja_text_is(name, "previtem")) return neighbour(run, loop, loop->at - 1, out);
    if (tn_jinja_text_is(name, "nextitem")) return neighbour(run, loop, loop->at + 1, out);
    bool last = tn_jinja_text_is(name, "last"), whole = tn_jinja_text_is(name, "length");
    bool back = tn_jinja_text_is(name, "revindex"), back0 = tn_jinja_text_is(name, "revindex0");
    if (!last && !whole && !back && !back0) return TN_OK;
    TN_TRY(look_ahead(run, loop, last ? loop->at + 2 : SIZE_MAX));
    length = (int64_t)loop->passed.count;
    *out = last ? tn_jinja_boolean(at + 1 == length) : tn_jinja_integer(whole ? length : length - at - back0);
    return TN_OK;
}

static tn_status exec_rounds(tn_jinja_run *run, tn_jinja_loop *loop) {
    const tn_jinja_node *node = loop->node;
    const tn_jinja_value value = {.kind = TN_JINJA_LOOP, .loop = loop};
    tn_jinja_scope *scope = NULL;
    for (;; loop->at++) {
        TN_TRY(look_ahead(run, loop, loop->at + 1));
        if (loop->at >= loop->passed.count) return TN_OK;
        if (!scope || scope->kept) TN_TRY(open_scope(run, loop->outside, &scope));
        scope->count = 0;
        run->scope = scope;
        TN_TRY(tn_jinja_spend(run, 1));
        TN_TRY(set_var(run, scope, tn_jinja_chars("loop"), &value));
        TN_TRY(tn_jinja_assign(run, node->a, &loop->passed.items[loop->at]));
        TN_TRY(exec(run, node->list));
        bool stops = run->flow == TN_JINJA_BREAK_OFF;
        run->flow = TN_JINJA_GO_ON;
        if (stops) return TN_OK;
    }
}

static tn_status exec_for(tn_jinja_run *run, const tn_jinja_node *node) {
    tn_jinja_scope *outer = run->scope, *scope;
    tn_jinja_value source;
    void *taken;
    TN_TRY(tn_jinja_take(run, 1, sizeof(tn_jinja_loop), &taken));
    tn_jinja_loop *loop = taken;
    loop->node = node;
    loop->outside = outer;
    TN_TRY(tn_jinja_eval(run, node->b, &source));
    run->place = node->place;
    TN_TRY(tn_jinja_iterate(run, &source, &loop->source));
    if (!node->c) {
        loop->passed = *loop->source;
        loop->taken = loop->source->count;
    }
    TN_TRY(exec_rounds(run, loop));
    run->scope = outer;
    if (loop->passed.count || !node->d) return TN_OK;
    TN_TRY(open_scope(run, outer, &scope));
    return exec_inside(run, scope, node->d);
}

/* ---- macros ---- */

static tn_status exec_macro(tn_jinja_run *run, const tn_jinja_node *node) {
    void *callable;
    TN_TRY(tn_jinja_take(run, 1, sizeof(tn_jinja_callable), &callable));
    *(tn_jinja_callable *)callable = (tn_jinja_callable){.macro = node, .scope = run->scope};
    for (tn_jinja_scope *scope = run->scope; scope; scope = scope->parent) scope->kept = true;
    const tn_jinja_value value = {.kind = TN_JINJA_CALLABLE, .callable = callable};
    return set_var(run, run->scope, node->text, &value);
}

/* The argument for a parameter; its name is counted in `used`. */
static const tn_jinja_value *argument_for(const tn_jinja_args *args, const tn_jinja_node *param, size_t i,
                                          size_t *used) {
    if (i < args->count) return &args->list[i];
    for (size_t n = 0; n < args->n_named; n++) {
        tn_jinja_text name = args->named[n].name;
        if (name.len != param->text.len || memcmp(name.at, param->text.at, name.len) != 0) continue;
        ++*used;
        return &args->named[n].value;
    }
    return NULL;
}

static tn_status set_parameters(tn_jinja_run *run, const tn_jinja_node *macro, const tn_jinja_args *args) {
    size_t i = 0, used = 0;
    for (const tn_jinja_node *param = macro->list; param; param = param->next, i++) {
        const tn_jinja_value *given = argument_for(args, param, i, &used);
        tn_jinja_value value = tn_jinja_undefined(TN_JINJA_ABSENT, param->text);
        if (given)
            value = *given;
        else if (param->a)
            TN_TRY(tn_jinja_eval(run, param->a, &value));
        TN_TRY(set_var(run, run->scope, param->text, &value));
    }
    if (args->count > i)
        return RUN_FAIL(run, MISMATCH, "the macro %.*s takes at most %zu arguments, not %zu", TEXT_SHOWN(macro->text),
                        i, args->count);
    if (args->n_named > used)
        return RUN_FAIL(run, MISMATCH, "the macro %.*s has no such parameter, or it is given twice",
                        TEXT_SHOWN(macro->text));
    return TN_OK;
}

tn_status tn_jinja_call_macro(tn_jinja_run *run, const tn_jinja_callable *callable, const tn_jinja_args *args,
                              tn_jinja_value *out) {
    tn_jinja_scope *outer = run->scope, *scope;
    TN_TRY(tn_jinja_enter(run));
    TN_TRY(open_scope(run, callable->scope, &scope));
    run->scope = scope;
    TN_TRY(set_parameters(run, callable->macro, args));
    size_t mark = tn_jinja_begin(run);
    TN_TRY(exec(run, callable->macro->a));
    TN_TRY(tn_jinja_finish(run, mark, out));
    run->scope = outer;
    run->depth--;
    return TN_OK;
}

/* ---- runs ---- */

static tn_status exec_one(tn_jinja_run *run, const tn_jinja_node *node) {
    switch (node->kind) {
    case TN_JINJA_DATA: return tn_jinja_put(run, node->text.at, node->text.len);
    case TN_JINJA_PRINT: return exec_print(run, node);
    case TN_JINJA_IF: return exec_if(run, node);
    case TN_JINJA_FOR: return exec_for(run, node);
    case TN_JINJA_SET: return exec_set(run, node);
    case TN_JINJA_SET_BLOCK: return exec_set_block(run, node);
    case TN_JINJA_MACRO: return exec_macro(run, node);
    case TN_JINJA_GENERATION: return exec_generation(run, node);
    default: run->flow = node->kind == TN_JINJA_BREAK ? TN_JINJA_BREAK_OFF : TN_JINJA_NEXT_ROUND; return TN_OK;
    }
}

/* In order, until one of them breaks off the loop around. */
static tn_status exec(tn_jinja_run *run, const tn_jinja_node *first) {
    TN_TRY(tn_jinja_enter(run));
    for (const tn_jinja_node *node = first; node && run->flow == TN_JINJA_GO_ON; node = node->next) {
        run->place = node->place;
        TN_TRY(tn_jinja_spend(run, 1));
        TN_TRY(exec_one(run, node));
    }
    run->depth--;
    return TN_OK;
}

static tn_status start(tn_jinja_run *run) {
    tn_jinja_options *options = &run->options;
    tn_jinja_value empty;
    if (!options->max_steps) options->max_steps = DEFAULT_STEPS;
    if (!options->max_memory) options->max_memory = DEFAULT_MEMORY;
    if (!options->max_output) options->max_output = DEFAULT_OUTPUT;
    if (!options->now) options->now = (int64_t)time(NULL);
    if (options->spans) options->spans->count = 0;
    run->steps = options->max_steps;
    run->memory = options->max_memory;
    run->arena = tn_arena_create("template run");
    if (!run->arena) return TN_E_NOMEM;
    TN_TRY(tn_jinja_copy_text(run, " ", 1, &empty)); /* so that the tail is somewhere */
    TN_TRY(open_scope(run, NULL, &run->scope));
    return exec(run, run->jinja->body);
}

tn_status tn_jinja_render(const tn_jinja *jinja, const json_t *context, const tn_jinja_options *options, tn_buf *out) {
    tn_jinja_run run = {.jinja = jinja, .context = context, .out = out, .out_start = out->len};
    if (options) run.options = *options;
    if (!json_is_object(context)) return TN_FAIL(ARG, "%s: the variables are not an object", jinja->name);
    tn_status status = start(&run);
    tn_jinja_letters_release(&run);
    tn_arena_free(run.arena);
    if (!status) return TN_OK;
    out->len = run.out_start;
    if (out->data) out->data[out->len] = '\0';
    if (run.options.spans) run.options.spans->count = 0;
    return status;
}
