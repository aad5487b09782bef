/* SPDX-License-Identifier: MIT
 * json_number_range.c - the numbers between two bounds, exactly, as an automaton over their digits: so long as the
 * digits so far are those of a bound, the next is held against that bound's; after that it is free. Numbers without an
 * exponent, of at most 15 digits before the point (or one more than the lower bound has) and 15 behind it (or one more
 * than the bounds have). */
#include <stdlib.h>
#include <string.h>

#include "infer/json_schema_priv.h"

enum { MAX_DIGITS = 80, USUAL_DIGITS = 15 };

typedef struct decimal {
    bool negative;
    int n_int, n_frac;
    char digits[MAX_DIGITS]; /* values 0..9, those before the point first */
} decimal;

/* ---- bounds ---- */

/* "-12.5e-3": the digits without zeros at the outer ends, and where the point is among them. */
static int read_digits(const char *text, char *digits, int *point) {
    int n = 0, exponent = 0;
    bool fraction = false;
    for (; *text && *text != 'e'; text++) {
        if (*text == '.') fraction = true;
        if (*text < '0' || *text > '9') continue;
        if (n == 0 && *text == '0') {
            exponent -= fraction;
            continue;
        }
        digits[n++] = (char)(*text - '0');
        exponent -= fraction;
    }
    if (*text) exponent += (int)strtol(text + 1, NULL, 10);
    *point = n + exponent;
    while (n > 0 && digits[n - 1] == 0) n--;
    return n;
}

static bool make_decimal(const char *text, decimal *out) {
    char digits[MAX_DIGITS];
    int point, n = read_digits(text, digits, &point);
    *out = (decimal){.negative = n > 0 && *text == '-', .n_int = 1};
    if (n == 0) return true;
    out->n_int = TN_MAX(point, 1);
    out->n_frac = TN_MAX(n - point, 0);
    if (out->n_int + out->n_frac >= MAX_DIGITS / 2) return false;
    int shift = TN_MAX(1 - point, 0); /* zeros before the first digit */
    for (int i = 0; i < n; i++) out->digits[shift + i] = digits[i];
    return true;
}

static tn_status get_decimal(const tn_schema_writer *w, const json_t *number, decimal *out) {
    tn_buf text = {0};
    TN_TRY(tn_json_put_number(&text, number));
    bool fits = make_decimal(text.data, out);
    tn_status status = fits ? TN_OK
                            : TN_SCHEMA_FAIL(w, RANGE, "the bound %.40s has too many digits, expected fewer than %d",
                                             text.data, MAX_DIGITS / 2);
    tn_buf_release(&text);
    return status;
}

/* ---- spans ---- */

/* Numbers from 0 on: from `low` (NULL = 0) to `high` (NULL = no end), without a bound that is open. */
typedef struct span {
    const decimal *low, *high;
    bool low_open, high_open, whole;
    int n_int;  /* digits before the point of the numbers that are being written */
    int n_frac; /* most behind it */
} span;

static int digit_of(const decimal *d, int at) { return at < d->n_int + d->n_frac ? d->digits[at] : 0; }

static bool is_zero_from(const decimal *d, int at) {
    for (; at < d->n_int + d->n_frac; at++)
        if (d->digits[at]) return false;
    return true;
}

/* Digits from `at` on, `on_low` and `on_high`: those before are the bound's. False: none can follow. */
static tn_status put_digits(const span *s, int at, bool on_low, bool on_high, tn_buf *out, bool *possible);

static tn_status put_free(const span *s, int at, tn_buf *out) {
    int left = s->n_int - at;
    if (left > 0) TN_TRY(tn_buf_printf(out, left > 1 ? "[0-9]{%d} " : "[0-9] ", left));
    if (s->whole || s->n_frac + left == 0) return TN_OK;
    if (left >= 0) return tn_buf_printf(out, "(\".\" [0-9]{1,%d})? ", s->n_frac);
    return tn_buf_printf(out, "[0-9]{0,%d} ", s->n_frac + left);
}

/* One more way: a digit in low..high, then what may follow it. */
static tn_status put_way(const span *s, int at, int low, int high, bool on_low, bool on_high, tn_buf *out) {
    tn_buf rest = {0};
    bool possible = low <= high;
    if (!possible) return TN_OK;
    tn_status status = put_digits(s, at + 1, on_low, on_high, &rest, &possible);
    if (!status && possible) {
        if (out->len) status = tn_buf_puts(out, "| ");
        if (!status) status = tn_buf_printf(out, low < high ? "[%d-%d] " : "\"%d\" ", low, high);
        if (!status) status = tn_buf_puts(out, tn_buf_text(&rest));
    }
    tn_buf_release(&rest);
    return status;
}

static tn_status put_next_digit(const span *s, int at, bool on_low, bool on_high, tn_buf *out) {
    int low = on_low ? digit_of(s->low, at) : at == 0 && s->n_int > 1, high = on_high ? digit_of(s->high, at) : 9;
    if (at >= s->n_int + s->n_frac) return TN_OK;
    if (on_low && on_high && low == high) return put_way(s, at, low, high, true, true, out);
    if (low > high) return TN_OK;
    if (on_low) TN_TRY(put_way(s, at, low, low, true, false, out));
    TN_TRY(put_way(s, at, low + on_low, high - on_high, false, false, out));
    return on_high ? put_way(s, at, high, high, false, true, out) : TN_OK;
}

static bool may_end(const span *s, int at, bool on_low, bool on_high) {
    if (at < s->n_int) return false;
    if (on_low && (s->low_open || !is_zero_from(s->low, at))) return false;
    return !(on_high && s->high_open && is_zero_from(s->high, at));
}

static tn_status put_digits(const span *s, int at, bool on_low, bool on_high, tn_buf *out, bool *possible) {
    tn_buf ways = {0};
    on_low = on_low && (s->low_open || !is_zero_from(s->low, at)); /* whatever follows is no less */
    *possible = true;
    if (!on_low && !on_high && at > 0) return put_free(s, at, out);
    bool whole_end = s->whole && at == s->n_int, end = may_end(s, at, on_low, on_high);
    tn_status status = whole_end ? TN_OK : put_next_digit(s, at, on_low, on_high, &ways);
    *possible = end || ways.len > 0;
    if (!status && ways.len) {
        const char *point = at == s->n_int ? "\".\" " : "";
        status = tn_buf_printf(out, "(%s(%s))%s ", point, ways.data, end ? "?" : "");
    }
    tn_buf_release(&ways);
    return status;
}

static tn_status put_span(span s, const char *sign, tn_buf *out) {
    int shortest = s.low ? s.low->n_int : 1, most = TN_MAX(USUAL_DIGITS, shortest + 1);
    int longest = s.high ? TN_MIN(s.high->n_int, most) : most;
    s.n_frac = s.whole ? 0 : TN_MAX(USUAL_DIGITS, TN_MAX(s.low ? s.low->n_frac : 0, s.high ? s.high->n_frac : 0) + 1);
    for (s.n_int = shortest; s.n_int <= longest; s.n_int++) {
        tn_buf digits = {0};
        bool possible, on_low = s.low && s.low->n_int == s.n_int, on_high = s.high && s.high->n_int == s.n_int;
        tn_status status = put_digits(&s, 0, on_low, on_high, &digits, &possible);
        if (!status && possible)
            status = tn_buf_printf(out, "%s%s%s", out->len ? "| " : "", sign, tn_buf_text(&digits));
        tn_buf_release(&digits);
        TN_TRY(status);
    }
    return TN_OK;
}

tn_status tn_number_range_put(tn_schema_writer *w, tn_number_bound low, tn_number_bound high, bool whole, tn_buf *out) {
    decimal least, most, zero = {.n_int = 1};
    tn_buf spans = {0};
    tn_status status = TN_OK;
    if (low.value) TN_TRY(get_decimal(w, low.value, &least));
    if (high.value) TN_TRY(get_decimal(w, high.value, &most));
    bool below_zero = !low.value || least.negative, above_zero = !high.value || !most.negative;
    if (below_zero) { /* by what they are without the sign, -0 left out */
        bool bounded = high.value && most.negative;
        span s = {
            bounded ? &most : &zero, low.value ? &least : NULL, !bounded || high.exclusive, low.exclusive, whole, 0, 0};
        status = put_span(s, "\"-\" ", &spans);
    }
    if (above_zero && !status) {
        bool bounded = low.value && !least.negative;
        span s = {
            bounded ? &least : NULL, high.value ? &most : NULL, bounded && low.exclusive, high.exclusive, whole, 0, 0};
        status = put_span(s, "", &spans);
    }
    if (!status && !spans.len) status = TN_SCHEMA_FAIL(w, EMPTY, "no number lies between the bounds");
    if (!status) status = tn_buf_printf(out, "(%s)", spans.data);
    tn_buf_release(&spans);
    return status;
}
