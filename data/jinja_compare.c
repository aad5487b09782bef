/* SPDX-License-Identifier: MIT
 * jinja_compare.c - truth, equality, order and arithmetic as Python has them. */
#include "data/jinja_priv.h"

#include <math.h>
#include <string.h>

bool tn_jinja_truth(const tn_jinja_value *v) {
    switch (v->kind) {
    case TN_JINJA_ABSENT:
    case TN_JINJA_UNDEFINED:
    case TN_JINJA_NONE: return false;
    case TN_JINJA_BOOLEAN: return v->truth;
    case TN_JINJA_INTEGER: return v->integer != 0;
    case TN_JINJA_REAL: return v->real != 0;
    case TN_JINJA_TEXT: return v->text.len != 0;
    case TN_JINJA_LIST: return v->list->count != 0 || v->list->flavor == TN_JINJA_GENERATOR;
    case TN_JINJA_MAPPING: return v->map->count != 0;
    case TN_JINJA_NAMESPACE:
    case TN_JINJA_CALLABLE:
    case TN_JINJA_LOOP: break;
    }
    return true;
}

bool tn_jinja_is_number(const tn_jinja_value *v) {
    return v->kind == TN_JINJA_BOOLEAN || v->kind == TN_JINJA_INTEGER || v->kind == TN_JINJA_REAL;
}

bool tn_jinja_as_integer(const tn_jinja_value *v, int64_t *integer) {
    if (v->kind != TN_JINJA_BOOLEAN && v->kind != TN_JINJA_INTEGER) return false;
    *integer = v->kind == TN_JINJA_BOOLEAN ? v->truth : v->integer;
    return true;
}

double tn_jinja_as_real(const tn_jinja_value *v) {
    int64_t integer = 0;
    return tn_jinja_as_integer(v, &integer) ? (double)integer : v->real;
}

/* ---- equality and order ---- */

enum { UNORDERED = 2 };

/* An integer against a float, exactly: -1, 0, 1, or UNORDERED for NaN. */
static int order_integer_real(int64_t a, double b) {
    if (isnan(b)) return UNORDERED;
    if (b >= 0x1p63) return -1;
    if (b < -0x1p63) return 1;
    double whole = floor(b); /* fits, and is exact as an integer */
    if (a != (int64_t)whole) return a < (int64_t)whole ? -1 : 1;
    return whole < b ? -1 : 0;
}

static int order_numbers(const tn_jinja_value *a, const tn_jinja_value *b) {
    int64_t i, j;
    bool whole_a = tn_jinja_as_integer(a, &i), whole_b = tn_jinja_as_integer(b, &j);
    if (whole_a && whole_b) return (i > j) - (i < j);
    if (whole_a) return order_integer_real(i, b->real);
    if (whole_b) {
        int order = order_integer_real(j, a->real);
        return order == UNORDERED ? order : -order;
    }
    if (isnan(a->real) || isnan(b->real)) return UNORDERED;
    return (a->real > b->real) - (a->real < b->real);
}

/* By code points, which is the order of the bytes of UTF-8. */
static int order_texts(tn_jinja_text a, tn_jinja_text b) {
    size_t common = TN_MIN(a.len, b.len);
    int order = common ? memcmp(a.at, b.at, common) : 0;
    return order ? (order > 0) - (order < 0) : (a.len > b.len) - (a.len < b.len);
}

static tn_status equal_lists(tn_jinja_run *run, const tn_jinja_list *a, const tn_jinja_list *b, bool *out) {
    *out = a == b;
    if (a == b || a->flavor != b->flavor || a->flavor == TN_JINJA_GENERATOR || a->count != b->count) return TN_OK;
    *out = true;
    for (size_t i = 0; i < a->count && *out; i++) TN_TRY(tn_jinja_equal(run, &a->items[i], &b->items[i], out));
    return TN_OK;
}

static tn_status equal_maps(tn_jinja_run *run, const tn_jinja_map *a, const tn_jinja_map *b, bool *out) {
    *out = a->count == b->count;
    for (size_t i = 0; i < a->count && *out; i++) {
        const tn_jinja_value *other;
        TN_TRY(tn_jinja_find_key(run, b, &a->keys[i], &other));
        *out = other != NULL;
        if (other) TN_TRY(tn_jinja_equal(run, &a->values[i], other, out));
    }
    return TN_OK;
}

static tn_status equal_nested(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, bool *out) {
    TN_TRY(tn_jinja_enter(run));
    TN_TRY(a->kind == TN_JINJA_LIST ? equal_lists(run, a->list, b->list, out) : equal_maps(run, a->map, b->map, out));
    run->depth--;
    return TN_OK;
}

tn_status tn_jinja_equal(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, bool *out) {
    if (tn_jinja_is_number(a) && tn_jinja_is_number(b)) return *out = order_numbers(a, b) == 0, TN_OK;
    *out = false;
    if (a->kind != b->kind) return TN_OK;
    switch (a->kind) {
    case TN_JINJA_TEXT:
        *out = a->text.len == b->text.len && order_texts(a->text, b->text) == 0;
        return tn_jinja_spend(run, *out ? a->text.len / 64 : 0);
    case TN_JINJA_LIST:
    case TN_JINJA_MAPPING: return equal_nested(run, a, b, out);
    case TN_JINJA_NAMESPACE: *out = a->map == b->map; break;
    case TN_JINJA_CALLABLE: *out = a->callable == b->callable; break;
    case TN_JINJA_LOOP: *out = a->loop == b->loop; break;
    default: *out = true; /* none, or undefined */
    }
    return TN_OK;
}

static tn_status order_lists(tn_jinja_run *run, const tn_jinja_list *a, const tn_jinja_list *b, int *out) {
    TN_TRY(tn_jinja_enter(run));
    run->depth--;
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        bool same;
        TN_TRY(tn_jinja_equal(run, &a->items[i], &b->items[i], &same));
        if (same) continue;
        run->depth++;
        TN_TRY(tn_jinja_order(run, &a->items[i], &b->items[i], out));
        run->depth--;
        return TN_OK;
    }
    *out = (a->count > b->count) - (a->count < b->count);
    return TN_OK;
}

tn_status tn_jinja_order(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, int *out) {
    if (tn_jinja_is_number(a) && tn_jinja_is_number(b)) return *out = order_numbers(a, b), TN_OK;
    if (a->kind == TN_JINJA_TEXT && b->kind == TN_JINJA_TEXT) {
        *out = order_texts(a->text, b->text);
        return tn_jinja_spend(run, TN_MIN(a->text.len, b->text.len) / 64);
    }
    bool lists = a->kind == TN_JINJA_LIST && b->kind == TN_JINJA_LIST && a->list->flavor == b->list->flavor;
    if (lists && a->list->flavor <= TN_JINJA_TUPLE) return order_lists(run, a->list, b->list, out);
    return RUN_FAIL(run, MISMATCH, "%s and %s have no order", tn_jinja_words(a->kind), tn_jinja_words(b->kind));
}

static tn_status contains(tn_jinja_run *run, const tn_jinja_value *part, const tn_jinja_value *whole, bool *out) {
    *out = false;
    if (whole->kind == TN_JINJA_TEXT) {
        if (part->kind != TN_JINJA_TEXT)
            return RUN_FAIL(run, MISMATCH, "%s cannot be in a string", tn_jinja_words(part->kind));
        *out = tn_jinja_search(whole->text, 0, part->text) != SIZE_MAX;
        return tn_jinja_spend(run, whole->text.len / 16);
    }
    if (whole->kind == TN_JINJA_MAPPING) {
        const tn_jinja_value *found;
        TN_TRY(tn_jinja_find_key(run, whole->map, part, &found));
        *out = found != NULL;
        return TN_OK;
    }
    const tn_jinja_list *list;
    TN_TRY(tn_jinja_iterate(run, whole, &list));
    TN_TRY(tn_jinja_spend(run, list->count / 4));
    for (size_t i = 0; i < list->count && !*out; i++) TN_TRY(tn_jinja_equal(run, &list->items[i], part, out));
    return TN_OK;
}

tn_status tn_jinja_compare(tn_jinja_run *run, tn_jinja_operator op, const tn_jinja_value *a, const tn_jinja_value *b,
                           bool *out) {
    int order;
    if (op == TN_JINJA_EQUAL || op == TN_JINJA_UNEQUAL) {
        TN_TRY(tn_jinja_equal(run, a, b, out));
        *out ^= op == TN_JINJA_UNEQUAL;
        return TN_OK;
    }
    if (op == TN_JINJA_IN || op == TN_JINJA_NOT_IN) {
        TN_TRY(contains(run, a, b, out));
        *out ^= op == TN_JINJA_NOT_IN;
        return TN_OK;
    }
    TN_TRY(tn_jinja_order(run, a, b, &order));
    bool less = op == TN_JINJA_LESS || op == TN_JINJA_LESS_EQUAL;
    bool or_equal = op == TN_JINJA_LESS_EQUAL || op == TN_JINJA_GREATER_EQUAL;
    *out = (or_equal && order == 0) || order == (less ? -1 : 1);
    return TN_OK;
}

/* Of two stretches in order, from[begin, middle) and from[middle, end), one in to[begin, end). */
static tn_status merge(tn_jinja_run *run, const tn_jinja_value *keys, bool reverse, const size_t *from,
                       const size_t bounds[3], size_t *to) {
    size_t left = bounds[0], right = bounds[1];
    TN_TRY(tn_jinja_spend(run, bounds[2] - bounds[0]));
    for (size_t at = bounds[0]; at < bounds[2]; at++) {
        bool takes_right = left == bounds[1];
        if (!takes_right && right < bounds[2]) {
            const tn_jinja_value *a = &keys[from[left]], *b = &keys[from[right]];
            TN_TRY(tn_jinja_compare(run, TN_JINJA_LESS, reverse ? a : b, reverse ? b : a, &takes_right));
        }
        to[at] = takes_right ? from[right++] : from[left++];
    }
    return TN_OK;
}

tn_status tn_jinja_sort(tn_jinja_run *run, const tn_jinja_value *keys, size_t n, bool reverse, size_t *order) {
    void *spare;
    TN_TRY(tn_jinja_take(run, n ? n : 1, sizeof *order, &spare));
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * width) {
            const size_t bounds[3] = {begin, TN_MIN(begin + width, n), TN_MIN(begin + 2 * width, n)};
            TN_TRY(merge(run, keys, reverse, order, bounds, spare));
        }
        memcpy(order, spare, n * sizeof *order);
    }
    return TN_OK;
}

/* ---- arithmetic ---- */

static tn_status repeat(tn_jinja_run *run, const tn_jinja_value *v, int64_t times, tn_jinja_value *out) {
    size_t n = times > 0 ? (size_t)times : 0;
    if (v->kind == TN_JINJA_TEXT) {
        size_t mark = tn_jinja_begin(run);
        for (size_t i = 0; i < n && v->text.len; i++) {
            TN_TRY(tn_jinja_spend(run, 1));
            TN_TRY(tn_jinja_put(run, v->text.at, v->text.len));
        }
        TN_TRY(tn_jinja_finish(run, mark, out));
        out->safe = v->safe;
        return TN_OK;
    }
    TN_TRY(tn_jinja_new_list(run, v->list->flavor, 0, out));
    for (size_t i = 0; i < n && v->list->count; i++)
        for (size_t j = 0; j < v->list->count; j++) {
            TN_TRY(tn_jinja_spend(run, 1));
            TN_TRY(tn_jinja_push(run, out->list, &v->list->items[j]));
        }
    return TN_OK;
}

static tn_status put_html(tn_jinja_run *run, tn_jinja_text t) {
    static const char *const escapes[] = {"&&amp;", "<&lt;", ">&gt;", "'&#39;", "\"&#34;"};
    for (size_t i = 0; i < t.len; i++) {
        const char *put = NULL;
        for (size_t e = 0; e < TN_COUNT(escapes); e++)
            if (escapes[e][0] == t.at[i]) put = escapes[e] + 1;
        TN_TRY(put ? tn_jinja_put(run, put, strlen(put)) : tn_jinja_put(run, t.at + i, 1));
    }
    return TN_OK;
}

static tn_status add_texts(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, tn_jinja_value *out) {
    tn_jinja_value escaped;
    bool safe = a->safe || b->safe;
    if (safe && !(a->safe && b->safe)) {
        size_t mark = tn_jinja_begin(run);
        TN_TRY(put_html(run, a->safe ? b->text : a->text));
        TN_TRY(tn_jinja_finish(run, mark, &escaped));
        if (a->safe)
            b = &escaped;
        else
            a = &escaped;
    }
    TN_TRY(tn_jinja_join_texts(run, a->text, b->text, out));
    out->safe = safe;
    return TN_OK;
}

static tn_status add_lists(tn_jinja_run *run, const tn_jinja_list *a, const tn_jinja_list *b, tn_jinja_value *out) {
    TN_TRY(tn_jinja_new_list(run, a->flavor, a->count + b->count, out));
    TN_TRY(tn_jinja_spend(run, out->list->cap / 4));
    for (size_t i = 0; i < a->count; i++) TN_TRY(tn_jinja_push(run, out->list, &a->items[i]));
    for (size_t i = 0; i < b->count; i++) TN_TRY(tn_jinja_push(run, out->list, &b->items[i]));
    return TN_OK;
}

static bool multiply(int64_t a, int64_t b, int64_t *out) {
    if (a == 0 || b == 0) return *out = 0, true;
    if ((a == -1 && b == INT64_MIN) || (b == -1 && a == INT64_MIN)) return false;
    *out = (int64_t)((uint64_t)a * (uint64_t)b);
    return b == -1 || a == -1 || *out / b == a;
}

static bool power(int64_t base, int64_t exponent, int64_t *out) {
    *out = 1;
    for (; exponent; exponent >>= 1) {
        if ((exponent & 1) && !multiply(*out, base, out)) return false;
        if (exponent > 1 && !multiply(base, base, &base)) return false;
    }
    return true;
}

/* False when the result does not fit in 64 bits. A division rounds down, and its rest has the sign of the divisor. */
static bool integers(tn_jinja_operator op, int64_t a, int64_t b, int64_t *out) {
    bool minimum = a == INT64_MIN && b == -1;
    int64_t rest;
    switch (op) {
    case TN_JINJA_ADD: *out = (int64_t)((uint64_t)a + (uint64_t)b); return (a < 0) != (b < 0) || (*out < 0) == (a < 0);
    case TN_JINJA_SUBTRACT:
        *out = (int64_t)((uint64_t)a - (uint64_t)b);
        return (a < 0) == (b < 0) || (*out < 0) == (a < 0);
    case TN_JINJA_MULTIPLY: return multiply(a, b, out);
    case TN_JINJA_POWER: return power(a, b, out);
    default: break;
    }
    if (minimum) return *out = 0, op == TN_JINJA_MODULO;
    rest = a % b;
    bool down = rest && (rest < 0) != (b < 0);
    *out = op == TN_JINJA_MODULO ? rest + (down ? b : 0) : a / b - down;
    return true;
}

static double modulo(double a, double b) {
    double rest = fmod(a, b);
    if (rest == 0) return copysign(0.0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}

/* As CPython divides: the quotient of what is left without the rest, rounded to a whole number. */
static double floor_divide(double a, double b) {
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return copysign(0.0, a / b);
    double down = floor(quotient);
    return quotient - down > 0.5 ? down + 1 : down;
}

static double reals(tn_jinja_operator op, double a, double b) {
    switch (op) {
    case TN_JINJA_ADD: return a + b;
    case TN_JINJA_SUBTRACT: return a - b;
    case TN_JINJA_MULTIPLY: return a * b;
    case TN_JINJA_DIVIDE: return a / b;
    case TN_JINJA_FLOOR_DIVIDE: return floor_divide(a, b);
    case TN_JINJA_MODULO: return modulo(a, b);
    default: return pow(a, b);
    }
}

static tn_status numbers(tn_jinja_run *run, tn_jinja_operator op, const tn_jinja_value *a, const tn_jinja_value *b,
                         tn_jinja_value *out) {
    int64_t i, j, result;
    double y = tn_jinja_as_real(b), x = tn_jinja_as_real(a);
    bool divides = op == TN_JINJA_DIVIDE || op == TN_JINJA_FLOOR_DIVIDE || op == TN_JINJA_MODULO;
    if (y == 0 && divides) return RUN_FAIL(run, MISMATCH, "division by zero");
    bool whole = tn_jinja_as_integer(a, &i) && tn_jinja_as_integer(b, &j) && op != TN_JINJA_DIVIDE;
    if (whole && !(op == TN_JINJA_POWER && j < 0)) {
        if (!integers(op, i, j, &result)) return RUN_FAIL(run, RANGE, "the result does not fit in 64 bits");
        return *out = tn_jinja_integer(result), TN_OK;
    }
    *out = tn_jinja_real(reals(op, x, y));
    if (op == TN_JINJA_POWER && isfinite(x) && isfinite(y) && !isfinite(out->real))
        return RUN_FAIL(run, RANGE, "the power is not a finite real number");
    return TN_OK;
}

tn_status tn_jinja_arithmetic(tn_jinja_run *run, tn_jinja_operator op, const tn_jinja_value *a, const tn_jinja_value *b,
                              tn_jinja_value *out) {
    int64_t times;
    if (tn_jinja_is_number(a) && tn_jinja_is_number(b)) return numbers(run, op, a, b, out);
    if (op == TN_JINJA_ADD && a->kind == TN_JINJA_TEXT && b->kind == TN_JINJA_TEXT) return add_texts(run, a, b, out);
    bool list_a = a->kind == TN_JINJA_LIST && a->list->flavor <= TN_JINJA_TUPLE;
    bool list_b = b->kind == TN_JINJA_LIST && b->list->flavor <= TN_JINJA_TUPLE;
    if (op == TN_JINJA_ADD && list_a && list_b && a->list->flavor == b->list->flavor)
        return add_lists(run, a->list, b->list, out);
    if (op == TN_JINJA_MULTIPLY && (list_a || a->kind == TN_JINJA_TEXT) && tn_jinja_as_integer(b, &times))
        return repeat(run, a, times, out);
    if (op == TN_JINJA_MULTIPLY && (list_b || b->kind == TN_JINJA_TEXT) && tn_jinja_as_integer(a, &times))
        return repeat(run, b, times, out);
    return RUN_FAIL(run, MISMATCH, "%s and %s do not go with the operator %s", tn_jinja_words(a->kind),
                    tn_jinja_words(b->kind), tn_jinja_operator_text(op));
}
