/* SPDX-License-Identifier: MIT */
#include "tests/grammar_model.h"

#include <string.h>

#include "core/utf8.h"
#include "tests/testing.h"

const uint32_t tn_model_alphabet[TN_MODEL_ALPHABET] = {'a', 'b', '"', 0xE9, 0x7FF, 0x65E5, 0x1F600};

uint32_t tn_model_draw(tn_model *m, uint32_t n) { return (uint32_t)tn_rng_below(&m->rng, m->drawn++, n); }

/* ---- making ---- */

static uint32_t draw_char(tn_model *m) { return tn_model_alphabet[tn_model_draw(m, TN_MODEL_ALPHABET)]; }

static int make_node(tn_model *m, int depth);

static int make_list(tn_model *m, tn_model_kind kind, int n, int depth) {
    int id = m->n_nodes++;
    m->nodes[id] = (tn_model_node){.kind = kind, .n = n};
    for (int i = 0; i < n; i++) {
        int child = make_node(m, depth - 1);
        m->nodes[id].children[i] = child;
    }
    return id;
}

static int make_leaf(tn_model *m) {
    tn_model_node node = {.kind = TN_MODEL_CHARS, .n = (int)tn_model_draw(m, 3)};
    for (int i = 0; i < node.n; i++) node.chars[i] = draw_char(m);
    if (tn_model_draw(m, 3) == 0) {
        uint32_t a = draw_char(m), b = draw_char(m);
        node = (tn_model_node){
            .kind = TN_MODEL_SET, .low = TN_MIN(a, b), .high = TN_MAX(a, b), .negated = tn_model_draw(m, 3) == 0};
    }
    m->nodes[m->n_nodes] = node;
    return m->n_nodes++;
}

static int make_repeat(tn_model *m, int depth) {
    static const int bounds[][2] = {{0, -1}, {1, -1}, {0, 1}, {2, 2}, {2, -1}, {0, 3}, {1, 2}, {0, 0}};
    const int *pair = bounds[tn_model_draw(m, TN_COUNT(bounds))];
    int id = make_list(m, TN_MODEL_REP, 1, depth);
    m->nodes[id].min = pair[0];
    m->nodes[id].max = pair[1];
    return id;
}

static int make_node(tn_model *m, int depth) {
    uint32_t what = depth > 0 && m->n_nodes < TN_MODEL_NODES - 80 ? tn_model_draw(m, 10) : 9;
    if (what < 3) return make_list(m, TN_MODEL_SEQ, 1 + (int)tn_model_draw(m, 3), depth);
    if (what < 5) return make_list(m, TN_MODEL_CHOICE, 1 + (int)tn_model_draw(m, 3), depth);
    if (what < 7) return make_repeat(m, depth);
    if (what == 9) return make_leaf(m);
    m->nodes[m->n_nodes] =
        (tn_model_node){.kind = TN_MODEL_REF, .children = {(int)tn_model_draw(m, (uint32_t)m->n_rules)}};
    return m->n_nodes++;
}

void tn_model_make(tn_model *m, uint32_t number) {
    *m = (tn_model){.rng = tn_rng_make(7, TN_PURPOSE_TEST, number)};
    m->n_rules = 1 + (int)tn_model_draw(m, TN_MODEL_RULES);
    for (int i = 0; i < m->n_rules; i++) m->bodies[i] = make_node(m, 3);
}

/* ---- writing ---- */

static void put_char(tn_model *m, uint32_t c, tn_buf *out) {
    char bytes[4];
    uint32_t how = tn_model_draw(m, 4);
    if (how == 0)
        assert_ok(tn_buf_printf(out, "\\U%08x", (unsigned)c));
    else if (how == 1 && c <= 0xFFFF)
        assert_ok(tn_buf_printf(out, "\\u%04X", (unsigned)c));
    else if (c == '"')
        assert_ok(tn_buf_puts(out, "\\\""));
    else
        assert_ok(tn_buf_append(out, bytes, tn_utf8_encode(c, bytes)));
}

static void put_gap(tn_model *m, tn_buf *out) {
    static const char *const gaps[] = {" ", "  ", "\n", " # a comment\n\t", " "};
    assert_ok(tn_buf_puts(out, gaps[tn_model_draw(m, TN_COUNT(gaps))]));
}

static void put_node(tn_model *m, int id, tn_buf *out);

static void put_list(tn_model *m, const tn_model_node *node, const char *between, tn_buf *out) {
    assert_ok(tn_buf_puts(out, "("));
    for (int i = 0; i < node->n; i++) {
        put_gap(m, out);
        if (i) assert_ok(tn_buf_puts(out, between));
        put_node(m, node->children[i], out);
    }
    put_gap(m, out);
    assert_ok(tn_buf_puts(out, ")"));
}

static void put_bounds(const tn_model_node *node, tn_buf *out) {
    if (node->max == 1 && node->min == 0)
        assert_ok(tn_buf_puts(out, "?"));
    else if (node->max < 0 && node->min < 2)
        assert_ok(tn_buf_puts(out, node->min ? "+" : "*"));
    else if (node->max < 0)
        assert_ok(tn_buf_printf(out, "{%d,}", node->min));
    else if (node->max == node->min)
        assert_ok(tn_buf_printf(out, "{%d}", node->min));
    else
        assert_ok(tn_buf_printf(out, "{%d, %d}", node->min, node->max));
}

static void put_node(tn_model *m, int id, tn_buf *out) {
    const tn_model_node *node = &m->nodes[id];
    switch (node->kind) {
    case TN_MODEL_CHARS:
        assert_ok(tn_buf_puts(out, "\""));
        for (int i = 0; i < node->n; i++) put_char(m, node->chars[i], out);
        assert_ok(tn_buf_puts(out, "\""));
        return;
    case TN_MODEL_SET:
        assert_ok(tn_buf_puts(out, node->negated ? "[^" : "["));
        put_char(m, node->low, out);
        assert_ok(tn_buf_puts(out, "-"));
        put_char(m, node->high, out);
        assert_ok(tn_buf_puts(out, "]"));
        return;
    case TN_MODEL_REF:
        if (node->children[0])
            assert_ok(tn_buf_printf(out, "rule-%d", node->children[0]));
        else
            assert_ok(tn_buf_puts(out, "root"));
        return;
    case TN_MODEL_CHOICE: put_list(m, node, "| ", out); return;
    case TN_MODEL_SEQ: put_list(m, node, "", out); return;
    case TN_MODEL_REP: put_node(m, node->children[0], out); put_bounds(node, out);
    }
}

void tn_model_write(tn_model *m, tn_buf *out) {
    for (int i = m->n_rules - 1; i >= 0; i--) {
        if (i)
            assert_ok(tn_buf_printf(out, "rule-%d ::= ", i));
        else
            assert_ok(tn_buf_puts(out, "root ::= "));
        put_node(m, m->bodies[i], out);
        assert_ok(tn_buf_puts(out, "\n"));
    }
}

/* ---- what is refused ---- */

typedef struct facts {
    const tn_model *m;
    bool nullable[TN_MODEL_RULES], ends[TN_MODEL_RULES];
    unsigned left[TN_MODEL_RULES]; /* bits of the rules that may be called first */
} facts;

static bool nullable(const facts *f, int id) {
    const tn_model_node *node = &f->m->nodes[id];
    bool all = true, any = false;
    if (node->kind == TN_MODEL_CHARS) return node->n == 0;
    if (node->kind == TN_MODEL_SET) return false;
    if (node->kind == TN_MODEL_REF) return f->nullable[node->children[0]];
    for (int i = 0; i < node->n; i++) {
        bool one = nullable(f, node->children[i]);
        all &= one;
        any |= one;
    }
    return node->kind == TN_MODEL_CHOICE ? any : all || (node->kind == TN_MODEL_REP && node->min == 0);
}

static unsigned left_calls(const facts *f, int id) {
    const tn_model_node *node = &f->m->nodes[id];
    unsigned calls = 0;
    if (node->kind == TN_MODEL_REF) return 1u << node->children[0];
    if (node->kind == TN_MODEL_CHARS || node->kind == TN_MODEL_SET || (node->kind == TN_MODEL_REP && !node->max))
        return 0;
    for (int i = 0; i < node->n; i++) {
        calls |= left_calls(f, node->children[i]);
        if (node->kind == TN_MODEL_SEQ && !nullable(f, node->children[i])) break;
    }
    return calls;
}

static bool ends(const facts *f, int id) {
    const tn_model_node *node = &f->m->nodes[id];
    bool all = true, any = false;
    if (node->kind == TN_MODEL_CHARS || node->kind == TN_MODEL_SET) return true;
    if (node->kind == TN_MODEL_REF) return f->ends[node->children[0]];
    for (int i = 0; i < node->n; i++) {
        bool one = ends(f, node->children[i]);
        all &= one;
        any |= one;
    }
    return node->kind == TN_MODEL_CHOICE ? any : all || (node->kind == TN_MODEL_REP && node->min == 0);
}

static facts find_facts(const tn_model *m) {
    facts f = {.m = m};
    for (int round = 0; round <= m->n_rules; round++)
        for (int i = 0; i < m->n_rules; i++) {
            f.nullable[i] |= nullable(&f, m->bodies[i]);
            f.ends[i] |= ends(&f, m->bodies[i]);
        }
    for (int i = 0; i < m->n_rules; i++) f.left[i] = left_calls(&f, m->bodies[i]);
    for (int k = 0; k < m->n_rules; k++)
        for (int i = 0; i < m->n_rules; i++)
            if (f.left[i] >> k & 1) f.left[i] |= f.left[k];
    return f;
}

bool tn_model_is_left_recursive(const tn_model *m) {
    facts f = find_facts(m);
    for (int i = 0; i < m->n_rules; i++)
        if (f.left[i] >> i & 1) return true;
    return false;
}

bool tn_model_has_ends(const tn_model *m) {
    facts f = find_facts(m);
    for (int i = 0; i < m->n_rules; i++)
        if (!f.ends[i]) return false;
    return true;
}

/* ---- judging ---- */

typedef struct judge {
    const tn_model *m;
    const uint32_t *text;
    int n;
    bool more;
    bool known[TN_MODEL_RULES][TN_MODEL_TEXT + 1];
    uint32_t ends[TN_MODEL_RULES][TN_MODEL_TEXT + 1];
} judge;

static bool fits(const tn_model_node *node, int i, uint32_t c) {
    if (node->kind == TN_MODEL_CHARS) return node->chars[i] == c;
    return (c >= node->low && c <= node->high) != node->negated;
}

/* Where a node can end (bit k: before character k) that begins at one of `starts`. */
static uint32_t match(judge *j, int id, uint32_t starts);

static uint32_t match_chars(judge *j, const tn_model_node *node, int start) {
    int n = node->kind == TN_MODEL_CHARS ? node->n : 1;
    for (int i = 0; i < n; i++, start++) {
        j->more |= start == j->n;
        if (start == j->n || !fits(node, i, j->text[start])) return 0;
    }
    return 1u << start;
}

static uint32_t match_rule(judge *j, int rule, int start) {
    if (!j->known[rule][start]) j->ends[rule][start] = match(j, j->m->bodies[rule], 1u << start);
    j->known[rule][start] = true;
    return j->ends[rule][start];
}

static uint32_t match_each(judge *j, const tn_model_node *node, uint32_t starts) {
    uint32_t out = 0;
    for (int start = 0; start <= j->n; start++) {
        if (!(starts >> start & 1)) continue;
        out |= node->kind == TN_MODEL_REF ? match_rule(j, node->children[0], start) : match_chars(j, node, start);
    }
    return out;
}

static uint32_t match_repeat(judge *j, const tn_model_node *node, uint32_t starts) {
    uint32_t now = starts;
    for (int i = 0; i < node->min; i++) now = match(j, node->children[0], now);
    uint32_t out = now;
    int rest = node->max < 0 ? j->n + 1 : node->max - node->min;
    for (int i = 0; i < rest; i++) out |= now = match(j, node->children[0], now);
    return out;
}

static uint32_t match(judge *j, int id, uint32_t starts) {
    const tn_model_node *node = &j->m->nodes[id];
    uint32_t out = node->kind == TN_MODEL_SEQ ? starts : 0;
    if (!starts) return 0;
    switch (node->kind) {
    case TN_MODEL_CHARS:
    case TN_MODEL_SET:
    case TN_MODEL_REF: return match_each(j, node, starts);
    case TN_MODEL_REP: return match_repeat(j, node, starts);
    case TN_MODEL_SEQ:
        for (int i = 0; i < node->n; i++) out = match(j, node->children[i], out);
        return out;
    case TN_MODEL_CHOICE:
        for (int i = 0; i < node->n; i++) out |= match(j, node->children[i], starts);
    }
    return out;
}

tn_verdict tn_model_judge(const tn_model *m, const uint32_t *text, int n) {
    judge j = {.m = m, .text = text, .n = n};
    assert_true(n <= TN_MODEL_TEXT);
    bool whole = match_rule(&j, 0, 0) >> n & 1;
    return (tn_verdict){whole, j.more};
}
