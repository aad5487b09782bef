/* SPDX-License-Identifier: MIT
 * jinja_expression.c - expressions, from loose to tight: if-else, or, and, not, comparisons, the levels of OPERATOR in
 * jinja.def, signs, then what follows a primary: .name [item] (call) |filter `is` test. */
#include "data/jinja_priv.h"

#include <string.h>

typedef struct operator_row {
    const char *text;
    int level;
} operator_row;

static const operator_row operators[] = {
#define OPERATOR(name, spelling, level) {spelling, level},
#include "data/jinja.def"
};

enum { COMPARISONS = 0, TIGHTEST = 4 };

const char *tn_jinja_operator_text(tn_jinja_operator op) { return operators[op].text; }

/* ---- tokens ---- */

static bool token_is(const tn_jinja_token *token, tn_jinja_token_kind kind, const char *text) {
    return token->kind == kind && tn_jinja_text_is(token->text, text);
}

bool tn_jinja_at_sign(const tn_jinja_parser *p, const char *sign) {
    return token_is(p->token, TN_JINJA_TOKEN_SIGN, sign);
}

bool tn_jinja_at_word(const tn_jinja_parser *p, const char *word) {
    return token_is(p->token, TN_JINJA_TOKEN_NAME, word);
}

bool tn_jinja_skip_sign(tn_jinja_parser *p, const char *sign) {
    bool there = tn_jinja_at_sign(p, sign);
    p->token += there;
    return there;
}

bool tn_jinja_skip_word(tn_jinja_parser *p, const char *word) {
    bool there = tn_jinja_at_word(p, word);
    p->token += there;
    return there;
}

tn_status tn_jinja_unexpected(const tn_jinja_parser *p, const char *expected) {
    const tn_jinja_token *token = p->token;
    if (token->kind == TN_JINJA_TOKEN_END)
        return JINJA_FAIL(p->jinja, token->place, FORMAT, "the template ends here, expected %s", expected);
    return JINJA_FAIL(p->jinja, token->place, FORMAT, "unexpected %.*s, expected %s", TEXT_SHOWN(token->text),
                      expected);
}

tn_status tn_jinja_expect_sign(tn_jinja_parser *p, const char *sign) {
    return tn_jinja_skip_sign(p, sign) ? TN_OK : tn_jinja_unexpected(p, sign);
}

tn_status tn_jinja_expect_name(tn_jinja_parser *p, tn_jinja_text *out) {
    if (p->token->kind != TN_JINJA_TOKEN_NAME) return tn_jinja_unexpected(p, "a name");
    *out = p->token++->text;
    return TN_OK;
}

tn_status tn_jinja_deeper(tn_jinja_parser *p) {
    if (++p->depth <= TN_JINJA_NEST_MAX) return TN_OK;
    return JINJA_FAIL(p->jinja, p->token->place, RANGE, "nested deeper than %d levels", TN_JINJA_NEST_MAX);
}

tn_status tn_jinja_new_node(const tn_jinja_parser *p, tn_jinja_node_kind kind, uint32_t place, tn_jinja_node **out) {
    TN_TAKE0(*out, p->jinja->arena, 1, "template");
    (*out)->kind = (uint8_t)kind;
    (*out)->place = place;
    return TN_OK;
}

static tn_status around(const tn_jinja_parser *p, tn_jinja_node_kind kind, uint32_t place, tn_jinja_node *a,
                        tn_jinja_node **out) {
    TN_TRY(tn_jinja_new_node(p, kind, place, out));
    (*out)->a = a;
    return TN_OK;
}

/* ---- primaries ---- */

static tn_status constant(const tn_jinja_parser *p, uint32_t place, tn_jinja_value value, tn_jinja_node **out) {
    tn_jinja_value *kept;
    TN_TAKE(kept, p->jinja->arena, 1, "template");
    *kept = value;
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_CONST, place, out));
    (*out)->value = kept;
    return TN_OK;
}

static tn_status literal(tn_jinja_parser *p, tn_jinja_node **out) {
    const tn_jinja_token *first = p->token++;
    tn_jinja_text whole = first->value.text;
    if (first->value.kind != TN_JINJA_TEXT) return constant(p, first->place, first->value, out);
    size_t len = 0;
    const tn_jinja_token *last = first;
    for (; last->kind == TN_JINJA_TOKEN_LITERAL && last->value.kind == TN_JINJA_TEXT; last++)
        len += last->value.text.len;
    p->token = last;
    if (last - first > 1) {
        char *joined;
        TN_TAKE(joined, p->jinja->arena, len, "template");
        whole = (tn_jinja_text){joined, len};
        for (const tn_jinja_token *t = first; t < last; t++) {
            memcpy(joined, t->value.text.at, t->value.text.len);
            joined += t->value.text.len;
        }
    }
    return constant(p, first->place, tn_jinja_text_value(whole), out);
}

static tn_status name(tn_jinja_parser *p, tn_jinja_node **out) {
    const tn_jinja_token *token = p->token++;
    tn_jinja_text t = token->text;
    if (tn_jinja_text_is(t, "true") || tn_jinja_text_is(t, "True"))
        return constant(p, token->place, tn_jinja_boolean(true), out);
    if (tn_jinja_text_is(t, "false") || tn_jinja_text_is(t, "False"))
        return constant(p, token->place, tn_jinja_boolean(false), out);
    if (tn_jinja_text_is(t, "none") || tn_jinja_text_is(t, "None"))
        return constant(p, token->place, tn_jinja_none(), out);
    bool implied = tn_jinja_text_is(t, "caller") || tn_jinja_text_is(t, "varargs") || tn_jinja_text_is(t, "kwargs");
    if (p->in_macro && implied)
        return JINJA_FAIL(p->jinja, token->place, UNSUPPORTED, "\"%.*s\" in a macro is not supported", TEXT_SHOWN(t));
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_NAME, token->place, out));
    (*out)->text = t;
    return TN_OK;
}

/* Items, or pairs with a colon between, up to the sign `end`; a comma may come before it. */
static tn_status items(tn_jinja_parser *p, const char *end, bool pairs, tn_jinja_node **tail) {
    while (!tn_jinja_at_sign(p, end)) {
        TN_TRY(tn_jinja_parse_expression(p, tail));
        tail = &(*tail)->next;
        if (pairs) {
            TN_TRY(tn_jinja_expect_sign(p, ":"));
            TN_TRY(tn_jinja_parse_expression(p, tail));
            tail = &(*tail)->next;
        }
        if (!tn_jinja_skip_sign(p, ",") && !tn_jinja_at_sign(p, end)) return tn_jinja_unexpected(p, end);
    }
    return tn_jinja_expect_sign(p, end);
}

static tn_status parenthesised(tn_jinja_parser *p, tn_jinja_tuple how, tn_jinja_node **out) {
    uint32_t place = p->token++->place;
    if (tn_jinja_skip_sign(p, ")")) return tn_jinja_new_node(p, TN_JINJA_TUPLE_OF, place, out);
    TN_TRY(tn_jinja_parse_tuple(p, how, out));
    return tn_jinja_expect_sign(p, ")");
}

static tn_status primary(tn_jinja_parser *p, tn_jinja_node **out) {
    uint32_t place = p->token->place;
    if (p->token->kind == TN_JINJA_TOKEN_NAME) return name(p, out);
    if (p->token->kind == TN_JINJA_TOKEN_LITERAL) return literal(p, out);
    if (tn_jinja_at_sign(p, "(")) return parenthesised(p, TN_JINJA_FULL, out);
    bool pairs = tn_jinja_at_sign(p, "{");
    if (!pairs && !tn_jinja_at_sign(p, "[")) return tn_jinja_unexpected(p, "a value");
    p->token++;
    TN_TRY(tn_jinja_new_node(p, pairs ? TN_JINJA_MAPPING_OF : TN_JINJA_LIST_OF, place, out));
    return items(p, pairs ? "}" : "]", pairs, &(*out)->list);
}

/* ---- what follows a primary ---- */

static tn_status argument(tn_jinja_parser *p, bool named_before, tn_jinja_node **out) {
    const tn_jinja_token *token = p->token;
    if (tn_jinja_at_sign(p, "*") || tn_jinja_at_sign(p, "**"))
        return JINJA_FAIL(p->jinja, token->place, UNSUPPORTED, "%.*s in a call is not supported",
                          TEXT_SHOWN(token->text));
    bool named = token->kind == TN_JINJA_TOKEN_NAME && token_is(token + 1, TN_JINJA_TOKEN_SIGN, "=");
    if (!named && named_before) return tn_jinja_unexpected(p, "an argument with a name, as the one before it");
    if (!named) return tn_jinja_parse_expression(p, out);
    p->token += 2;
    tn_jinja_node *value;
    TN_TRY(tn_jinja_parse_expression(p, &value));
    TN_TRY(around(p, TN_JINJA_KEYWORD, token->place, value, out));
    (*out)->text = token->text;
    return TN_OK;
}

static tn_status arguments(tn_jinja_parser *p, tn_jinja_node **tail) {
    bool named = false;
    TN_TRY(tn_jinja_expect_sign(p, "("));
    while (!tn_jinja_at_sign(p, ")")) {
        TN_TRY(argument(p, named, tail));
        named = (*tail)->kind == TN_JINJA_KEYWORD;
        tail = &(*tail)->next;
        if (!tn_jinja_skip_sign(p, ",") && !tn_jinja_at_sign(p, ")")) return tn_jinja_unexpected(p, ")");
    }
    p->token++;
    return TN_OK;
}

/* [b], or [b:c:d] with any of the three left out. */
static tn_status subscript(tn_jinja_parser *p, uint32_t place, tn_jinja_node **node) {
    tn_jinja_node *bounds[3] = {NULL};
    int n = 0;
    do {
        if (!tn_jinja_at_sign(p, ":") && !tn_jinja_at_sign(p, "]")) TN_TRY(tn_jinja_parse_expression(p, &bounds[n]));
    } while (++n < 3 && tn_jinja_skip_sign(p, ":"));
    if (n == 1 && !bounds[0]) return tn_jinja_unexpected(p, "an index");
    TN_TRY(around(p, n == 1 ? TN_JINJA_ITEM : TN_JINJA_SLICE, place, *node, node));
    (*node)->b = bounds[0];
    (*node)->c = bounds[1];
    (*node)->d = bounds[2];
    return tn_jinja_expect_sign(p, "]");
}

static tn_status attribute(tn_jinja_parser *p, uint32_t place, tn_jinja_node **node) {
    if (p->token->kind == TN_JINJA_TOKEN_LITERAL && p->token->value.kind == TN_JINJA_INTEGER) {
        TN_TRY(around(p, TN_JINJA_ITEM, place, *node, node));
        return literal(p, &(*node)->b);
    }
    tn_jinja_text text;
    TN_TRY(tn_jinja_expect_name(p, &text));
    TN_TRY(around(p, TN_JINJA_ATTRIBUTE, place, *node, node));
    (*node)->text = text;
    return TN_OK;
}

static tn_status call(tn_jinja_parser *p, uint32_t place, tn_jinja_node **node) {
    TN_TRY(around(p, TN_JINJA_CALL, place, *node, node));
    return arguments(p, &(*node)->list);
}

static tn_status postfix(tn_jinja_parser *p, tn_jinja_node **node) {
    for (;;) {
        uint32_t place = p->token->place;
        if (tn_jinja_skip_sign(p, "."))
            TN_TRY(attribute(p, place, node));
        else if (tn_jinja_skip_sign(p, "["))
            TN_TRY(subscript(p, place, node));
        else if (tn_jinja_at_sign(p, "("))
            TN_TRY(call(p, place, node));
        else
            return TN_OK;
    }
}

tn_status tn_jinja_parse_filters(tn_jinja_parser *p, bool bare, tn_jinja_node **node) {
    while (bare || tn_jinja_skip_sign(p, "|")) {
        TN_TRY(around(p, TN_JINJA_FILTER, p->token->place, *node, node));
        TN_TRY(tn_jinja_expect_name(p, &(*node)->text));
        if (tn_jinja_at_sign(p, "(")) TN_TRY(arguments(p, &(*node)->list));
        bare = false;
    }
    return TN_OK;
}

/* An argument without parentheses: `x is divisibleby 3`. */
static bool at_bare_argument(const tn_jinja_parser *p) {
    if (tn_jinja_at_word(p, "else") || tn_jinja_at_word(p, "or") || tn_jinja_at_word(p, "and")) return false;
    bool opens = tn_jinja_at_sign(p, "[") || tn_jinja_at_sign(p, "{");
    return opens || p->token->kind == TN_JINJA_TOKEN_NAME || p->token->kind == TN_JINJA_TOKEN_LITERAL;
}

static tn_status test(tn_jinja_parser *p, tn_jinja_node **node) {
    bool negated = tn_jinja_skip_word(p, "not");
    TN_TRY(around(p, TN_JINJA_TEST, p->token->place, *node, node));
    tn_jinja_node *made = *node;
    TN_TRY(tn_jinja_expect_name(p, &made->text));
    if (tn_jinja_at_sign(p, "(")) {
        TN_TRY(arguments(p, &made->list));
    } else if (at_bare_argument(p)) {
        if (tn_jinja_at_word(p, "is")) return tn_jinja_unexpected(p, "no second test (join them with `and`)");
        TN_TRY(primary(p, &made->list));
        TN_TRY(postfix(p, &made->list));
    }
    return negated ? around(p, TN_JINJA_NOT, made->place, made, node) : TN_OK;
}

static tn_status filters_and_tests(tn_jinja_parser *p, tn_jinja_node **node) {
    for (;;) {
        uint32_t place = p->token->place;
        if (tn_jinja_at_sign(p, "|"))
            TN_TRY(tn_jinja_parse_filters(p, false, node));
        else if (tn_jinja_skip_word(p, "is"))
            TN_TRY(test(p, node));
        else if (tn_jinja_at_sign(p, "("))
            TN_TRY(call(p, place, node));
        else
            return TN_OK;
    }
}

/* ---- operators ---- */

static tn_status unary(tn_jinja_parser *p, bool filtered, tn_jinja_node **out) {
    uint32_t place = p->token->place;
    bool minus = tn_jinja_skip_sign(p, "-");
    if (minus || tn_jinja_skip_sign(p, "+")) {
        TN_TRY(tn_jinja_deeper(p));
        TN_TRY(unary(p, false, out));
        p->depth--;
        TN_TRY(around(p, minus ? TN_JINJA_MINUS : TN_JINJA_PLUS, place, *out, out));
    } else {
        TN_TRY(primary(p, out));
    }
    TN_TRY(postfix(p, out));
    return filtered ? filters_and_tests(p, out) : TN_OK;
}

/* The operator of this level that comes next, or -1. */
static int operator_at(const tn_jinja_parser *p, int level) {
    if (p->token->kind != TN_JINJA_TOKEN_SIGN) return -1;
    for (int op = 0; op < TN_JINJA_OPERATORS; op++)
        if (operators[op].level == level && tn_jinja_text_is(p->token->text, operators[op].text)) return op;
    return -1;
}

static tn_status binary(tn_jinja_parser *p, int level, tn_jinja_node **out) {
    if (level > TIGHTEST) return unary(p, true, out);
    TN_TRY(binary(p, level + 1, out));
    int op;
    while ((op = operator_at(p, level)) >= 0) {
        TN_TRY(around(p, TN_JINJA_BINARY, p->token++->place, *out, out));
        (*out)->op = (uint8_t)op;
        TN_TRY(binary(p, level + 1, &(*out)->b));
    }
    return TN_OK;
}

/* The comparison that comes next, taken, or -1. */
static int take_comparison(tn_jinja_parser *p) {
    int op = operator_at(p, COMPARISONS);
    if (op >= 0) return p->token++, op;
    if (tn_jinja_skip_word(p, "in")) return TN_JINJA_IN;
    bool not_in = tn_jinja_at_word(p, "not") && token_is(p->token + 1, TN_JINJA_TOKEN_NAME, "in");
    if (!not_in) return -1;
    p->token += 2;
    return TN_JINJA_NOT_IN;
}

static tn_status comparison(tn_jinja_parser *p, tn_jinja_node **out) {
    TN_TRY(binary(p, COMPARISONS + 1, out));
    tn_jinja_node **tail = NULL;
    for (;;) {
        uint32_t place = p->token->place;
        int op = take_comparison(p);
        if (op < 0) return TN_OK;
        if (!tail) {
            TN_TRY(around(p, TN_JINJA_COMPARE, place, *out, out));
            tail = &(*out)->list;
        }
        TN_TRY(tn_jinja_new_node(p, TN_JINJA_OPERAND, place, tail));
        (*tail)->op = (uint8_t)op;
        TN_TRY(binary(p, COMPARISONS + 1, &(*tail)->a));
        tail = &(*tail)->next;
    }
}

static tn_status negation(tn_jinja_parser *p, tn_jinja_node **out) {
    uint32_t place = p->token->place;
    if (!tn_jinja_skip_word(p, "not")) return comparison(p, out);
    TN_TRY(tn_jinja_deeper(p));
    TN_TRY(negation(p, out));
    p->depth--;
    return around(p, TN_JINJA_NOT, place, *out, out);
}

static tn_status conjunction(tn_jinja_parser *p, tn_jinja_node **out) {
    TN_TRY(negation(p, out));
    while (tn_jinja_at_word(p, "and")) {
        TN_TRY(around(p, TN_JINJA_AND, p->token++->place, *out, out));
        TN_TRY(negation(p, &(*out)->b));
    }
    return TN_OK;
}

static tn_status disjunction(tn_jinja_parser *p, tn_jinja_node **out) {
    TN_TRY(conjunction(p, out));
    while (tn_jinja_at_word(p, "or")) {
        TN_TRY(around(p, TN_JINJA_OR, p->token++->place, *out, out));
        TN_TRY(conjunction(p, &(*out)->b));
    }
    return TN_OK;
}

static tn_status unconditional(tn_jinja_parser *p, tn_jinja_node **out) {
    TN_TRY(tn_jinja_deeper(p));
    TN_TRY(disjunction(p, out));
    p->depth--;
    return TN_OK;
}

tn_status tn_jinja_parse_expression(tn_jinja_parser *p, tn_jinja_node **out) {
    TN_TRY(tn_jinja_deeper(p));
    TN_TRY(disjunction(p, out));
    while (tn_jinja_at_word(p, "if")) {
        tn_jinja_node *value = *out;
        TN_TRY(tn_jinja_new_node(p, TN_JINJA_TERNARY, p->token++->place, out));
        (*out)->b = value;
        TN_TRY(disjunction(p, &(*out)->a));
        if (tn_jinja_skip_word(p, "else")) TN_TRY(tn_jinja_parse_expression(p, &(*out)->c));
    }
    p->depth--;
    return TN_OK;
}

/* ---- tuples ---- */

static tn_status target(tn_jinja_parser *p, tn_jinja_node **out) {
    if (tn_jinja_at_sign(p, "(")) {
        TN_TRY(tn_jinja_deeper(p));
        TN_TRY(parenthesised(p, TN_JINJA_TARGET, out));
        p->depth--;
        return TN_OK;
    }
    if (p->token->kind != TN_JINJA_TOKEN_NAME) return tn_jinja_unexpected(p, "a name to assign to");
    TN_TRY(name(p, out));
    if ((*out)->kind == TN_JINJA_NAME) return TN_OK;
    return JINJA_FAIL(p->jinja, (*out)->place, FORMAT, "a constant cannot be assigned to");
}

static bool at_tuple_end(const tn_jinja_parser *p, tn_jinja_tuple how) {
    bool word = how == TN_JINJA_TARGET ? tn_jinja_at_word(p, "in") : false;
    return word || p->token->kind == TN_JINJA_TOKEN_CLOSE || tn_jinja_at_sign(p, ")");
}

tn_status tn_jinja_parse_tuple(tn_jinja_parser *p, tn_jinja_tuple how, tn_jinja_node **out) {
    tn_status (*item)(tn_jinja_parser *, tn_jinja_node **) = how == TN_JINJA_TARGET ? target
                                                             : how == TN_JINJA_UNCONDITIONAL
                                                                 ? unconditional
                                                                 : tn_jinja_parse_expression;
    uint32_t place = p->token->place;
    TN_TRY(item(p, out));
    if (!tn_jinja_at_sign(p, ",")) return TN_OK;
    tn_jinja_node **tail = &(*out)->next, *first = *out;
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_TUPLE_OF, place, out));
    (*out)->list = first;
    while (tn_jinja_skip_sign(p, ",") && !at_tuple_end(p, how)) {
        TN_TRY(item(p, tail));
        tail = &(*tail)->next;
    }
    return TN_OK;
}
