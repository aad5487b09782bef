/* SPDX-License-Identifier: MIT
 * jinja_eval.c - expressions. A function that has evaluated its operands sets run->place back to its own node, so that
 * a failure names the right place. */
#include "data/jinja_priv.h"

#include <string.h>

typedef tn_status eval_function(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out);

static tn_status eval_const(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    (void)run;
    *out = *node->value;
    return TN_OK;
}

static tn_status eval_captured(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    (void)node;
    *out = *run->captured;
    return TN_OK;
}

static tn_status eval_name(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    return tn_jinja_lookup(run, node->text, out);
}

static tn_status eval_list(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_flavor flavor = node->kind == TN_JINJA_TUPLE_OF ? TN_JINJA_TUPLE : TN_JINJA_PLAIN;
    TN_TRY(tn_jinja_new_list(run, flavor, 0, out));
    for (const tn_jinja_node *item = node->list; item; item = item->next) {
        tn_jinja_value value;
        TN_TRY(tn_jinja_eval(run, item, &value));
        TN_TRY(tn_jinja_push(run, out->list, &value));
    }
    return TN_OK;
}

static tn_status eval_mapping(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    TN_TRY(tn_jinja_new_map(run, TN_JINJA_MAPPING, 0, out));
    for (const tn_jinja_node *item = node->list; item; item = item->next->next) {
        tn_jinja_value key, value;
        TN_TRY(tn_jinja_eval(run, item, &key));
        TN_TRY(tn_jinja_eval(run, item->next, &value));
        run->place = item->place;
        TN_TRY(tn_jinja_put_key(run, out->map, &key, &value));
    }
    return TN_OK;
}

static tn_status eval_attribute(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value owner;
    TN_TRY(tn_jinja_eval(run, node->a, &owner));
    run->place = node->place;
    return tn_jinja_attribute(run, &owner, node->text, out);
}

static tn_status eval_item(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value owner, key;
    TN_TRY(tn_jinja_eval(run, node->a, &owner));
    TN_TRY(tn_jinja_eval(run, node->b, &key));
    run->place = node->place;
    return tn_jinja_item(run, &owner, &key, out);
}

static tn_status eval_slice(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value owner, bounds[3] = {{.kind = TN_JINJA_ABSENT}, {.kind = TN_JINJA_ABSENT}, {.kind = TN_JINJA_ABSENT}};
    const tn_jinja_node *const parts[3] = {node->b, node->c, node->d};
    TN_TRY(tn_jinja_eval(run, node->a, &owner));
    for (int i = 0; i < 3; i++)
        if (parts[i]) TN_TRY(tn_jinja_eval(run, parts[i], &bounds[i]));
    run->place = node->place;
    return tn_jinja_slice(run, &owner, bounds, out);
}

/* ---- calls ---- */

static tn_status eval_arguments(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_args *out) {
    size_t n = 0;
    void *values, *named;
    *out = (tn_jinja_args){.count = 0};
    for (const tn_jinja_node *argument = node->list; argument; argument = argument->next) n++;
    if (!n) return TN_OK;
    TN_TRY(tn_jinja_take(run, n, sizeof(tn_jinja_value), &values));
    TN_TRY(tn_jinja_take(run, n, sizeof(tn_jinja_named), &named));
    out->list = values;
    out->named = named;
    for (const tn_jinja_node *argument = node->list; argument; argument = argument->next) {
        if (argument->kind == TN_JINJA_KEYWORD) {
            tn_jinja_named *to = (tn_jinja_named *)named + out->n_named++;
            to->name = argument->text;
            TN_TRY(tn_jinja_eval(run, argument->a, &to->value));
        } else {
            TN_TRY(tn_jinja_eval(run, argument, (tn_jinja_value *)values + out->count++));
        }
    }
    run->place = node->place;
    return TN_OK;
}

tn_status tn_jinja_call(tn_jinja_run *run, const tn_jinja_value *callee, const tn_jinja_args *args,
                        tn_jinja_value *out) {
    TN_TRY(tn_jinja_refuse_undefined(run, callee));
    if (callee->kind != TN_JINJA_CALLABLE)
        return RUN_FAIL(run, MISMATCH, "%s cannot be called", tn_jinja_words(callee->kind));
    const tn_jinja_callable *callable = callee->callable;
    if (!callable->builtin) return tn_jinja_call_macro(run, callable, args, out);
    return tn_jinja_call_builtin(run, callable->builtin, &callable->self, args, out);
}

static tn_status eval_call(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value callee;
    tn_jinja_args args;
    TN_TRY(tn_jinja_eval(run, node->a, &callee));
    TN_TRY(eval_arguments(run, node, &args));
    run->place = node->place;
    return tn_jinja_call(run, &callee, &args, out);
}

static tn_status eval_filter(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    const tn_jinja_builtin *filter = tn_jinja_find_filter(node->text);
    tn_jinja_value self;
    tn_jinja_args args;
    if (!filter) return RUN_FAIL(run, UNSUPPORTED, "there is no filter \"%.*s\"", TEXT_SHOWN(node->text));
    TN_TRY(tn_jinja_eval(run, node->a, &self));
    TN_TRY(eval_arguments(run, node, &args));
    run->place = node->place;
    return tn_jinja_call_builtin(run, filter, &self, &args, out);
}

static tn_status eval_test(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    const tn_jinja_builtin *test = tn_jinja_find_test(node->text);
    tn_jinja_value self;
    tn_jinja_args args;
    if (!test) return RUN_FAIL(run, UNSUPPORTED, "there is no test \"%.*s\"", TEXT_SHOWN(node->text));
    TN_TRY(tn_jinja_eval(run, node->a, &self));
    TN_TRY(eval_arguments(run, node, &args));
    run->place = node->place;
    return tn_jinja_call_builtin(run, test, &self, &args, out);
}

/* ---- operators ---- */

static tn_status eval_not(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value a;
    TN_TRY(tn_jinja_eval(run, node->a, &a));
    *out = tn_jinja_boolean(!tn_jinja_truth(&a));
    return TN_OK;
}

static tn_status eval_sign(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value a, zero = tn_jinja_integer(0);
    bool minus = node->kind == TN_JINJA_MINUS;
    TN_TRY(tn_jinja_eval(run, node->a, &a));
    run->place = node->place;
    TN_TRY(tn_jinja_refuse_undefined(run, &a));
    if (!tn_jinja_is_number(&a)) return RUN_FAIL(run, MISMATCH, "%s has no sign", tn_jinja_words(a.kind));
    if (a.kind == TN_JINJA_REAL) return *out = tn_jinja_real(minus ? -a.real : a.real), TN_OK;
    return tn_jinja_arithmetic(run, minus ? TN_JINJA_SUBTRACT : TN_JINJA_ADD, &zero, &a, out);
}

/* The value is that of the operand which decides. */
static tn_status eval_logic(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    TN_TRY(tn_jinja_eval(run, node->a, out));
    bool decided = tn_jinja_truth(out) == (node->kind == TN_JINJA_OR);
    return decided ? TN_OK : tn_jinja_eval(run, node->b, out);
}

static tn_status concatenate(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, tn_jinja_value *out) {
    tn_jinja_text left, right;
    TN_TRY(tn_jinja_string(run, a, &left));
    TN_TRY(tn_jinja_string(run, b, &right));
    return tn_jinja_join_texts(run, left, right, out);
}

static tn_status eval_binary(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value a, b;
    TN_TRY(tn_jinja_eval(run, node->a, &a));
    TN_TRY(tn_jinja_eval(run, node->b, &b));
    run->place = node->place;
    if (node->op == TN_JINJA_CONCAT) return concatenate(run, &a, &b, out);
    if (node->op == TN_JINJA_MODULO && a.kind == TN_JINJA_TEXT)
        return RUN_FAIL(run, UNSUPPORTED, "formatting a string with %% is not supported");
    TN_TRY(tn_jinja_refuse_undefined(run, &a));
    TN_TRY(tn_jinja_refuse_undefined(run, &b));
    return tn_jinja_arithmetic(run, node->op, &a, &b, out);
}

/* a < b < c is a < b and b < c, with b evaluated once. */
static tn_status eval_compare(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value left, right;
    bool truth = true;
    TN_TRY(tn_jinja_eval(run, node->a, &left));
    for (const tn_jinja_node *operand = node->list; operand && truth; operand = operand->next) {
        TN_TRY(tn_jinja_eval(run, operand->a, &right));
        run->place = operand->place;
        bool ordered = operand->op != TN_JINJA_EQUAL && operand->op != TN_JINJA_UNEQUAL && operand->op != TN_JINJA_IN &&
                       operand->op != TN_JINJA_NOT_IN;
        if (ordered) TN_TRY(tn_jinja_refuse_undefined(run, &left));
        if (ordered) TN_TRY(tn_jinja_refuse_undefined(run, &right));
        TN_TRY(tn_jinja_compare(run, operand->op, &left, &right, &truth));
        left = right;
    }
    *out = tn_jinja_boolean(truth);
    return TN_OK;
}

static tn_status eval_ternary(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    tn_jinja_value condition;
    TN_TRY(tn_jinja_eval(run, node->a, &condition));
    if (tn_jinja_truth(&condition)) return tn_jinja_eval(run, node->b, out);
    if (node->c) return tn_jinja_eval(run, node->c, out);
    *out = tn_jinja_undefined(TN_JINJA_ABSENT, tn_jinja_chars("... if ... (without else)"));
    return TN_OK;
}

tn_status tn_jinja_eval(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out) {
    static eval_function *const functions[] = {[TN_JINJA_CONST] = eval_const,
                                               [TN_JINJA_CAPTURED] = eval_captured,
                                               [TN_JINJA_NAME] = eval_name,
                                               [TN_JINJA_LIST_OF] = eval_list,
                                               [TN_JINJA_TUPLE_OF] = eval_list,
                                               [TN_JINJA_MAPPING_OF] = eval_mapping,
                                               [TN_JINJA_ATTRIBUTE] = eval_attribute,
                                               [TN_JINJA_ITEM] = eval_item,
                                               [TN_JINJA_SLICE] = eval_slice,
                                               [TN_JINJA_CALL] = eval_call,
                                               [TN_JINJA_FILTER] = eval_filter,
                                               [TN_JINJA_TEST] = eval_test,
                                               [TN_JINJA_NOT] = eval_not,
                                               [TN_JINJA_MINUS] = eval_sign,
                                               [TN_JINJA_PLUS] = eval_sign,
                                               [TN_JINJA_AND] = eval_logic,
                                               [TN_JINJA_OR] = eval_logic,
                                               [TN_JINJA_BINARY] = eval_binary,
                                               [TN_JINJA_COMPARE] = eval_compare,
                                               [TN_JINJA_TERNARY] = eval_ternary};
    TN_ASSERT(node->kind < TN_COUNT(functions) && functions[node->kind]);
    run->place = node->place;
    TN_TRY(tn_jinja_enter(run));
    TN_TRY(functions[node->kind](run, node, out));
    run->depth--;
    return TN_OK;
}
