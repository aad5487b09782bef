/* SPDX-License-Identifier: MIT
 * jinja_parse.c - statements. */
#include "data/jinja_priv.h"

#include <string.h>

typedef tn_status parse_function(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out);

static tn_status expect_close(tn_jinja_parser *p) {
    if (p->token->kind != TN_JINJA_TOKEN_CLOSE) return tn_jinja_unexpected(p, "the end of the tag");
    p->token++;
    return TN_OK;
}

/* Whether `word` is one of the words in `list`, which have one blank between them. */
static bool is_listed(tn_jinja_text word, const char *list) {
    while (*list) {
        size_t len = strcspn(list, " ");
        if (len == word.len && memcmp(list, word.at, len) == 0) return true;
        list += len + (list[len] == ' ');
    }
    return false;
}

static tn_status statement(tn_jinja_parser *p, tn_jinja_node **out);

/* Data, prints and statements up to a tag that begins with one of `ends`; that word is the next token then. With `ends`
 * NULL, up to the end of the template. */
static tn_status body(tn_jinja_parser *p, const char *ends, tn_jinja_node **tail) {
    TN_TRY(tn_jinja_deeper(p));
    for (;;) {
        const tn_jinja_token *token = p->token;
        if (token->kind == TN_JINJA_TOKEN_END) {
            if (ends) return tn_jinja_unexpected(p, ends);
            break;
        }
        p->token++;
        if (token->kind == TN_JINJA_TOKEN_DATA) {
            TN_TRY(tn_jinja_new_node(p, TN_JINJA_DATA, token->place, tail));
            (*tail)->text = token->text;
        } else if (token->kind == TN_JINJA_TOKEN_OPEN_PRINT) {
            TN_TRY(tn_jinja_new_node(p, TN_JINJA_PRINT, token->place, tail));
            TN_TRY(tn_jinja_parse_tuple(p, TN_JINJA_FULL, &(*tail)->a));
            TN_TRY(expect_close(p));
        } else {
            bool named = p->token->kind == TN_JINJA_TOKEN_NAME;
            if (ends && named && is_listed(p->token->text, ends)) break;
            TN_TRY(statement(p, tail));
            TN_TRY(expect_close(p));
        }
        tail = &(*tail)->next;
    }
    p->depth--;
    return TN_OK;
}

/* The rest of an opening tag, and the body. */
static tn_status block(tn_jinja_parser *p, const char *ends, tn_jinja_node **out) {
    tn_jinja_skip_sign(p, ":");
    TN_TRY(expect_close(p));
    return body(p, ends, out);
}

static tn_status parse_if(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out) {
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_IF, place, out));
    tn_jinja_node **tail = &(*out)->list;
    bool more = true;
    while (more) {
        TN_TRY(tn_jinja_new_node(p, TN_JINJA_BRANCH, p->token->place, tail));
        TN_TRY(tn_jinja_parse_tuple(p, TN_JINJA_UNCONDITIONAL, &(*tail)->a));
        TN_TRY(block(p, "elif else endif", &(*tail)->list));
        more = tn_jinja_skip_word(p, "elif");
        tail = &(*tail)->next;
    }
    if (tn_jinja_skip_word(p, "else")) {
        TN_TRY(tn_jinja_new_node(p, TN_JINJA_BRANCH, p->token->place, tail));
        TN_TRY(block(p, "endif", &(*tail)->list));
    }
    p->token++;
    return TN_OK;
}

static tn_status parse_for(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out) {
    bool outer = p->in_loop;
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_FOR, place, out));
    TN_TRY(tn_jinja_parse_tuple(p, TN_JINJA_TARGET, &(*out)->a));
    if (!tn_jinja_skip_word(p, "in")) return tn_jinja_unexpected(p, "in");
    TN_TRY(tn_jinja_parse_tuple(p, TN_JINJA_UNCONDITIONAL, &(*out)->b));
    if (tn_jinja_skip_word(p, "if")) TN_TRY(tn_jinja_parse_expression(p, &(*out)->c));
    if (tn_jinja_at_word(p, "recursive"))
        return JINJA_FAIL(p->jinja, p->token->place, UNSUPPORTED, "recursive loops are not supported");
    p->in_loop = true;
    TN_TRY(block(p, "else endfor", &(*out)->list));
    p->in_loop = outer;
    if (tn_jinja_skip_word(p, "else")) TN_TRY(block(p, "endfor", &(*out)->d));
    p->token++;
    return TN_OK;
}

/* ns.name, or what else can be assigned to. */
static tn_status set_target(tn_jinja_parser *p, tn_jinja_node **out) {
    const tn_jinja_token *token = p->token;
    TN_TRY(tn_jinja_parse_tuple(p, TN_JINJA_TARGET, out));
    if (p->token != token + 1 || !tn_jinja_skip_sign(p, ".")) return TN_OK;
    tn_jinja_node *owner = *out;
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_ATTRIBUTE, token->place, out));
    (*out)->a = owner;
    return tn_jinja_expect_name(p, &(*out)->text);
}

static tn_status parse_set(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out) {
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_SET, place, out));
    TN_TRY(set_target(p, &(*out)->a));
    if (tn_jinja_skip_sign(p, "=")) return tn_jinja_parse_tuple(p, TN_JINJA_FULL, &(*out)->b);
    (*out)->kind = TN_JINJA_SET_BLOCK;
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_CAPTURED, place, &(*out)->b));
    TN_TRY(tn_jinja_parse_filters(p, false, &(*out)->b));
    TN_TRY(block(p, "endset", &(*out)->list));
    p->token++;
    return TN_OK;
}

static tn_status parse_filter(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out) {
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_SET_BLOCK, place, out));
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_CAPTURED, place, &(*out)->b));
    TN_TRY(tn_jinja_parse_filters(p, true, &(*out)->b));
    TN_TRY(block(p, "endfilter", &(*out)->list));
    p->token++;
    return TN_OK;
}

static tn_status parameters(tn_jinja_parser *p, tn_jinja_node **tail) {
    bool optional = false;
    TN_TRY(tn_jinja_expect_sign(p, "("));
    while (!tn_jinja_at_sign(p, ")")) {
        TN_TRY(tn_jinja_new_node(p, TN_JINJA_PARAM, p->token->place, tail));
        TN_TRY(tn_jinja_expect_name(p, &(*tail)->text));
        bool given = tn_jinja_skip_sign(p, "=");
        if (optional && !given) return tn_jinja_unexpected(p, "= and a default, as the parameter before it has");
        if (given) TN_TRY(tn_jinja_parse_expression(p, &(*tail)->a));
        optional = given;
        if (!tn_jinja_skip_sign(p, ",") && !tn_jinja_at_sign(p, ")")) return tn_jinja_unexpected(p, ")");
        tail = &(*tail)->next;
    }
    p->token++;
    return TN_OK;
}

static tn_status parse_macro(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out) {
    tn_jinja_parser outer = *p;
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_MACRO, place, out));
    TN_TRY(tn_jinja_expect_name(p, &(*out)->text));
    TN_TRY(parameters(p, &(*out)->list));
    p->in_macro = true;
    p->in_loop = false;
    TN_TRY(block(p, "endmacro", &(*out)->a));
    p->in_macro = outer.in_macro;
    p->in_loop = outer.in_loop;
    p->token++;
    return TN_OK;
}

static tn_status parse_generation(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out) {
    bool in_loop = p->in_loop;
    if (p->in_generation) return JINJA_FAIL(p->jinja, place, FORMAT, "a generation block inside another");
    TN_TRY(tn_jinja_new_node(p, TN_JINJA_GENERATION, place, out));
    p->in_generation = true;
    p->in_loop = false;
    TN_TRY(block(p, "endgeneration", &(*out)->list));
    p->in_generation = false;
    p->in_loop = in_loop;
    p->token++;
    return TN_OK;
}

static tn_status leave_loop(tn_jinja_parser *p, uint32_t place, tn_jinja_node_kind kind, tn_jinja_node **out) {
    if (!p->in_loop) return JINJA_FAIL(p->jinja, place, FORMAT, "there is no loop around this to leave");
    return tn_jinja_new_node(p, kind, place, out);
}

static tn_status parse_break(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out) {
    return leave_loop(p, place, TN_JINJA_BREAK, out);
}

static tn_status parse_continue(tn_jinja_parser *p, uint32_t place, tn_jinja_node **out) {
    return leave_loop(p, place, TN_JINJA_CONTINUE, out);
}

static tn_status statement(tn_jinja_parser *p, tn_jinja_node **out) {
    static const struct {
        const char *word;
        parse_function *parse;
    } statements[] = {{"if", parse_if},       {"for", parse_for},          {"set", parse_set},
                      {"macro", parse_macro}, {"filter", parse_filter},    {"generation", parse_generation},
                      {"break", parse_break}, {"continue", parse_continue}};
    uint32_t place = p->token->place;
    tn_jinja_text word;
    TN_TRY(tn_jinja_expect_name(p, &word));
    for (size_t i = 0; i < TN_COUNT(statements); i++)
        if (tn_jinja_text_is(word, statements[i].word)) return statements[i].parse(p, place, out);
    if (is_listed(word, "autoescape block call do extends from import include print with"))
        return JINJA_FAIL(p->jinja, place, UNSUPPORTED, "the tag \"%.*s\" is not supported", TEXT_SHOWN(word));
    return JINJA_FAIL(p->jinja, place, FORMAT, "there is no tag \"%.*s\"%s", TEXT_SHOWN(word),
                      word.len > 3 && memcmp(word.at, "end", 3) == 0 ? " to close here" : "");
}

tn_status tn_jinja_parse(tn_jinja *jinja, const tn_jinja_tokens *tokens) {
    tn_jinja_parser p = {.jinja = jinja, .token = tokens->list};
    tn_jinja_node *first = NULL;
    TN_TRY(body(&p, NULL, &first));
    jinja->body = first;
    return TN_OK;
}
