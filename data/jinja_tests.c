/* SPDX-License-Identifier: MIT
 * jinja_tests.c - what may stand behind `is`. */
#include "data/jinja_priv.h"

static tn_status answer(tn_jinja_value *out, bool truth) {
    *out = tn_jinja_boolean(truth);
    return TN_OK;
}

/* ---- kinds ---- */

static bool is_list(const tn_jinja_value *v, bool generators) {
    return v->kind == TN_JINJA_LIST && (generators || v->list->flavor <= TN_JINJA_RANGE);
}

/* What Python can loop over; a sequence has a length and items besides. */
static bool is_iterable(const tn_jinja_value *v, bool generators) {
    return v->kind == TN_JINJA_UNDEFINED || v->kind == TN_JINJA_TEXT || v->kind == TN_JINJA_MAPPING ||
           is_list(v, generators);
}

#define IS(name, condition)                                                                                            \
    tn_status tn_jinja_do_is_##name(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,          \
                                    tn_jinja_value *out) {                                                             \
        (void)run;                                                                                                     \
        (void)args;                                                                                                    \
        return answer(out, condition);                                                                                 \
    }
IS(boolean, self->kind == TN_JINJA_BOOLEAN)
IS(callable, self->kind == TN_JINJA_CALLABLE)
IS(defined, self->kind != TN_JINJA_UNDEFINED)
IS(false, self->kind == TN_JINJA_BOOLEAN && !self->truth)
IS(float, self->kind == TN_JINJA_REAL)
IS(integer, self->kind == TN_JINJA_INTEGER)
IS(iterable, is_iterable(self, true))
IS(mapping, self->kind == TN_JINJA_MAPPING)
IS(none, self->kind == TN_JINJA_NONE)
IS(number, tn_jinja_is_number(self))
IS(sequence, is_iterable(self, false))
IS(string, self->kind == TN_JINJA_TEXT)
IS(true, self->kind == TN_JINJA_BOOLEAN && self->truth)
IS(undefined, self->kind == TN_JINJA_UNDEFINED)

/* ---- comparisons ---- */

static tn_status compared(tn_jinja_run *run, tn_jinja_operator op, const tn_jinja_value *self,
                          const tn_jinja_args *args, tn_jinja_value *out) {
    bool truth;
    if (args->list[0].kind == TN_JINJA_ABSENT)
        return RUN_FAIL(run, MISMATCH, "the test \"%s\" needs an argument", run->builtin->name);
    TN_TRY(tn_jinja_compare(run, op, self, &args->list[0], &truth));
    return answer(out, truth);
}

#define COMPARES(name, op)                                                                                             \
    tn_status tn_jinja_do_is_##name(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,          \
                                    tn_jinja_value *out) {                                                             \
        return compared(run, op, self, args, out);                                                                     \
    }
COMPARES(equal, TN_JINJA_EQUAL)
COMPARES(unequal, TN_JINJA_UNEQUAL)
COMPARES(less, TN_JINJA_LESS)
COMPARES(less_equal, TN_JINJA_LESS_EQUAL)
COMPARES(greater, TN_JINJA_GREATER)
COMPARES(greater_equal, TN_JINJA_GREATER_EQUAL)
COMPARES(in, TN_JINJA_IN)

/* ---- numbers ---- */

static tn_status remainder_is(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_value *divisor,
                              int64_t wanted, tn_jinja_value *out) {
    const tn_jinja_value expected = tn_jinja_integer(wanted);
    tn_jinja_value rest;
    bool same;
    TN_TRY(tn_jinja_refuse_undefined(run, self));
    TN_TRY(tn_jinja_arithmetic(run, TN_JINJA_MODULO, self, divisor, &rest));
    TN_TRY(tn_jinja_equal(run, &rest, &expected, &same));
    return answer(out, same);
}

tn_status tn_jinja_do_is_divisibleby(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                     tn_jinja_value *out) {
    return remainder_is(run, self, &args->list[0], 0, out);
}

tn_status tn_jinja_do_is_even(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                              tn_jinja_value *out) {
    const tn_jinja_value two = tn_jinja_integer(2);
    (void)args;
    return remainder_is(run, self, &two, 0, out);
}

tn_status tn_jinja_do_is_odd(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                             tn_jinja_value *out) {
    const tn_jinja_value two = tn_jinja_integer(2);
    (void)args;
    return remainder_is(run, self, &two, 1, out);
}
