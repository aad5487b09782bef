/* SPDX-License-Identifier: MIT
 * With TN_SCHEMA_SAMPLES=FILE the random texts are also written there, one [schema, text] a line, for another judge
 * (check_json_schema.sh). */
#include "infer/json_schema.h"
#include "core/arena.h"
#include "core/rng.h"
#include "tests/schema_checker.h"
#include "tests/schema_model.h"
#include "tests/testing.h"
#include "tests/tiny_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WALKS = 20, MODELS = 1000, LONGEST = 4000, TIRED = 60 };

static const char *const schemas[] = {
#define SCHEMA(text) text,
#include "tests/json_schemas.def"
#undef SCHEMA
};

static tn_tokenizer *tokenizer; /* bytes, and some pieces that cross what grammars see as borders */
static FILE *samples;

static int set_up(void **state) {
    (void)state;
    static const char *const pieces[] = {
        "{\"",          "\":",    "\": ",  "\",",  "\", \"", "},",       "}]",       "\"}",   "]}",  "[]",
        "{}",           "[{",     "null",  "true", "fals",   "12",       "0.",       "e-",    "\\u", "\\\"",
        "\\ud83d\\ude", "\n    ", ",\n  ", "ab",   "name",   "\xF0\x9F", "\xC3\xA9", "\xA9x", NULL};
    tokenizer = tn_tiny_bytes(pieces);
    const char *path = getenv("TN_SCHEMA_SAMPLES");
    samples = path ? fopen(path, "w") : NULL;
    return path && !samples;
}

static int tear_down(void **state) {
    (void)state;
    tn_tokenizer_free(tokenizer);
    return samples ? fclose(samples) : 0;
}

/* Schemas are written with ' for ". */
static char *quoted(const char *text, char *out, size_t size) {
    snprintf(out, size, "%s", text);
    for (char *c = out; *c; c++)
        if (*c == '\'') *c = '"';
    return out;
}

static tn_grammar *compile(const char *schema) {
    tn_grammar *g;
    tn_status status = tn_grammar_from_json_schema(&g, schema, strlen(schema));
    if (status) fail_msg("%s: %s", schema, tn_error_message());
    return g;
}

/* ---- walks ---- */

typedef struct walker {
    tn_rng rng;
    uint64_t drawn;
    tn_grammar_state *state;
    tn_buf text;
} walker;

static uint64_t draw(walker *w, uint64_t n) { return tn_rng_below(&w->rng, w->drawn++, n); }

/* What brings the text nearer to its end, or -1: inside a string (there a z may follow) its end, or else a letter that
 * the patterns of the schemas wait for; outside a bracket. */
static int32_t closing(walker *w, const uint64_t *words) {
    bool in_string = words['z' / 64] >> 'z' % 64 & 1;
    for (const char *order = in_string ? "\"" : "}]\"0"; *order; order++)
        if (words[*order / 64] >> *order % 64 & 1) return *order;
    int32_t letter = "abcy"[draw(w, 4)];
    return in_string && words[letter / 64] >> letter % 64 & 1 ? letter : -1;
}

/* Any allowed token; when the text gets long, rather one that closes something. */
static int32_t choose(walker *w, int step) {
    int32_t list[512];
    int n = 0;
    const uint64_t *words;
    assert_ok(tn_grammar_state_mask(w->state, &words));
    for (int32_t id = 0; id < tn_tokenizer_size(tokenizer); id++)
        if (words[id / 64] >> id % 64 & 1) list[n++] = id;
    if (!n) fail_msg("no token may follow \"%s\"", tn_buf_text(&w->text));
    bool tired = step > TIRED;
    if (tn_grammar_state_may_end(w->state) && (tired || draw(w, 4) == 0)) return tn_tokenizer_eos(tokenizer);
    int32_t close = draw(w, 10) < (tired ? 9 : 2) ? closing(w, words) : -1;
    return close >= 0 ? close : list[draw(w, (uint64_t)n)];
}

static void walk(walker *w) {
    tn_grammar_state_reset(w->state);
    tn_buf_reset(&w->text);
    for (int step = 0; step < LONGEST; step++) {
        int32_t id = choose(w, step);
        assert_ok(tn_grammar_state_accept(w->state, id));
        if (id == tn_tokenizer_eos(tokenizer)) return;
        assert_ok(tn_tokenizer_decode(tokenizer, id, false, &w->text));
    }
    fail_msg("does not come to an end: \"%.300s\"", tn_buf_text(&w->text));
}

static void assert_fits(const char *schema, const json_t *root, const tn_buf *text) {
    json_error_t error;
    json_t *value = json_loadb(tn_buf_text(text), text->len, JSON_DECODE_ANY, &error);
    if (!value) fail_msg("%s: \"%s\": %s", schema, tn_buf_text(text), error.text);
    const char *misfit = tn_schema_misfit(root, root, value);
    if (misfit) fail_msg("%s: %s does not fit by %s", schema, tn_buf_text(text), misfit);
    json_decref(value);
}

static void put_sample(const json_t *root, const tn_buf *text) {
    json_t *pair = json_pack("[O, s#]", root, tn_buf_text(text), (int)text->len);
    json_dumpf(pair, samples, JSON_COMPACT);
    fputc('\n', samples);
    json_decref(pair);
}

static void walk_schema(const json_t *root, const char *schema, const tn_grammar *g, uint32_t number, int walks) {
    walker w = {.rng = tn_rng_make(3, TN_PURPOSE_TEST, number)};
    assert_ok(tn_grammar_state_create(&w.state, g, tokenizer));
    for (int k = 0; k < walks; k++) {
        walk(&w);
        assert_fits(schema, root, &w.text);
        if (samples) put_sample(root, &w.text);
    }
    tn_grammar_state_free(w.state);
    tn_buf_release(&w.text);
}

static void schema__all_texts_of_its_grammar_fit(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(schemas); i++) {
        char schema[2000];
        quoted(schemas[i], schema, sizeof schema);
        tn_grammar *g = compile(schema);
        json_t *root = json_loads(schema, JSON_DECODE_ANY, NULL);
        walk_schema(root, schema, g, (uint32_t)i, WALKS);
        tn_grammar_free(g);
        json_decref(root);
    }
}

/* Those that nothing fits, or that join what cannot be joined, are refused. */
static void schema__texts_of_random_ones_fit(void **state) {
    (void)state;
    int written = 0;
    for (uint32_t number = 0; number < MODELS; number++) {
        json_t *root = tn_schema_model(number);
        static char schema[16384];
        size_t len = json_dumpb(root, schema, sizeof schema - 1, 0);
        assert_in_range(len, 1, sizeof schema - 1);
        schema[len] = '\0';
        tn_grammar *g;
        tn_status status = tn_grammar_from_json_schema(&g, schema, len);
        bool endless = status == TN_E_FORMAT &&
                       (strstr(tn_error_message(), "begins with itself") || strstr(tn_error_message(), "has no end"));
        if (status && status != TN_E_EMPTY && status != TN_E_UNSUPPORTED && status != TN_E_RANGE && !endless)
            fail_msg("%s: %s", schema, tn_error_message());
        if (!status) walk_schema(root, schema, g, number, 4);
        written += !status;
        tn_grammar_free(g);
        json_decref(root);
    }
    assert_true(written > MODELS / 2);
}

/* ---- what is written and what is not ---- */

static bool accepts(tn_grammar_state *s, const char *text) {
    tn_grammar_state_reset(s);
    return !tn_grammar_state_advance(s, text, strlen(text)) && tn_grammar_state_may_end(s);
}

static void schema__says_which_texts_are_written(void **state) {
    (void)state;
    static const struct {
        const char *schema, *text;
        bool fits;
    } cases[] = {
        {"{}", "{}", true},
        {"{}", "[]", false}, /* at the top {} is an object */
        {"{}", "{\n    \"a\": [1, -2.5e3, true, null, {\"b\": \"\\u00e9\\n\"}]\n}", true},
        {"true", "[1]", true},
        {"{'type': 'object'}", "{\"a\":1}", true},
        {"{'type': 'object'}", "{\"a\" : 1}", false},
        {"{'type': 'object'}", "{\"a\": 1,}", false},
        {"{'type': 'string'}", "\"\\ud83d\\ude00\"", true},
        {"{'type': 'string'}", "\"\\ud83d\"", false},
        {"{'type': 'string'}", "\"\\ude00\"", false},
        {"{'type': 'string'}", "\"\\u0000\"", false},
        {"{'type': 'string'}", "\"\n\"", false},
        {"{'type': 'string', 'maxLength': 1}", "\"\\ud83d\\ude00\"", true},
        {"{'type': 'integer'}", "-0", false},
        {"{'type': 'integer'}", "007", false},
        {"{'type': 'integer'}", "-12", true},
        {"{'type': 'number'}", "-0.5E+10", true},
        {"{'type': 'number'}", "1.", false},
        {"{'type': 'number'}", "1e400", false},
        {"{'properties': {'a': {'type': 'null'}, 'b': {'type': 'null'}}}", "{\"b\": null}", true},
        {"{'properties': {'a': {'type': 'null'}, 'b': {'type': 'null'}}}", "{\"a\":null,\"b\": null }", true},
        {"{'properties': {'a': {'type': 'null'}, 'b': {'type': 'null'}}}", "{\"b\":null,\"a\":null}", false},
        {"{'properties': {'a': {'type': 'null'}, 'b': {'type': 'null'}}}", "{ }", true},
        {"{'properties': {'a': {'type': 'null'}}}", "{\"c\": 1}", false}, /* narrowed */
        {"{'properties': {'a': {'type': 'null'}}, 'additionalProperties': true}", "{\"c\": 1}", true},
        {"{'properties': {'a': {'type': 'null'}}, 'additionalProperties': true}", "{\"a\": 1}", false},
        {"{'properties': {'a': {'type': 'null'}}, 'additionalProperties': true}", "{\"ab\": 1, \"\": 2}", true},
        {"{'properties': {'a': {'type': 'null'}}, 'required': ['a']}", "{}", false},
        {"{'type': 'array', 'items': {'type': 'integer'}}", "[1, 2,\n  3]", true},
        {"{'type': 'array', 'items': {'type': 'integer'}}", "[ ]", true},
        {"{'type': 'array', 'items': {'type': 'integer'}}", "[,]", false},
        {"{'prefixItems': [{'const': 1}, {'const': 2}]}", "[1, 2]", true},
        {"{'prefixItems': [{'const': 1}, {'const': 2}]}", "[1]", false}, /* narrowed */
        {"{'prefixItems': [{'const': 1}, {'const': 2}], 'minItems': 1}", "[1]", true},
        {"{'enum': ['a', 2]}", "2", true},
        {"{'enum': ['a', 2]}", "\"a\"", true},
        {"{'enum': [0.1]}", "0.1", true},
        {"{'pattern': '^a.c$'}", "\"a\\\"c\"", true},
        {"{'pattern': '^a.c$'}", "\"a\\nc\"", false},
        {"{'pattern': '^a.c$'}", "\"abcd\"", false},
        {"{'pattern': 'b'}", "\"abc\"", true},
        {"{'pattern': '^a{2,}$'}", "\"aaa\"", true},
        {"{'pattern': '^[^b]$'}", "\"\\t\"", true},
        {"{'format': 'date'}", "\"2024-02-29\"", true},
        {"{'format': 'date'}", "\"2023-02-29\"", false},
        {"{'format': 'date'}", "\"1900-02-29\"", false},
        {"{'format': 'date'}", "\"2000-02-29\"", true},
        {"{'format': 'date'}", "\"2024-04-31\"", false},
        {"{'format': 'date'}", "\"2024-12-31\"", true},
        {"{'format': 'date-time'}", "\"2024-12-31T23:59:59.5+01:00\"", true},
        {"{'format': 'date-time'}", "\"2024-12-31 23:59:59Z\"", false},
        {"{'format': 'ipv4'}", "\"256.1.1.1\"", false},
        {"{'format': 'ipv4'}", "\"255.0.10.249\"", true},
        {"{'format': 'ipv6'}", "\"2001:db8::1\"", true},
        {"{'format': 'ipv6'}", "\"1:2:3:4:5:6:7::8\"", false},
        {"{'format': 'email'}", "\"ann.b@mail.example.org\"", true},
        {"{'format': 'email'}", "\"ann@localhost\"", false}, /* narrowed */
        {"{'format': 'uri'}", "\"https://example.org:80/a/b%20c?x=1#y\"", true},
        {"{'format': 'duration'}", "\"P1Y2M3DT4H\"", true},
        {"{'format': 'duration'}", "\"P\"", false},
        {"{'format': 'uuid'}", "\"123e4567-e89b-12d3-a456-426614174000\"", true},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        char schema[500];
        tn_grammar *g = compile(quoted(cases[i].schema, schema, sizeof schema));
        tn_grammar_state *s;
        assert_ok(tn_grammar_state_create(&s, g, tokenizer));
        if (accepts(s, cases[i].text) != cases[i].fits)
            fail_msg("%s: %s: expected %d", cases[i].schema, cases[i].text, cases[i].fits);
        tn_grammar_state_free(s);
        tn_grammar_free(g);
    }
}

/* Every whole number around the bounds, and every number with a few digits, is written or not as the bounds say. */
static void schema__bounds_of_numbers_are_exact(void **state) {
    (void)state;
    static const struct {
        const char *low, *high;
    } bounds[] = {{"0", "9"},       {"-1", "1"},     {"5", "105"},   {"-105", "-5"}, {"99", "101"},   {"-20", "7"},
                  {"0.5", "12.25"}, {"-3.75", "-3"}, {"1.5", "1.5"}, {"-0.5", "0"},  {"10", "10.01"}, {"0", "100"}};
    for (size_t i = 0; i < TN_COUNT(bounds); i++)
        for (int form = 0; form < 8; form++) {
            bool low_open = form & 1, high_open = form & 2, whole = form & 4;
            double low = strtod(bounds[i].low, NULL), high = strtod(bounds[i].high, NULL);
            char schema[200], text[40];
            snprintf(schema, sizeof schema, "{\"type\": \"%s\", \"%s\": %s, \"%s\": %s}", whole ? "integer" : "number",
                     low_open ? "exclusiveMinimum" : "minimum", bounds[i].low,
                     high_open ? "exclusiveMaximum" : "maximum", bounds[i].high);
            tn_grammar *g;
            tn_grammar_state *s = NULL;
            tn_status status = tn_grammar_from_json_schema(&g, schema, strlen(schema));
            if (!status) assert_ok(tn_grammar_state_create(&s, g, tokenizer));
            int written = 0;
            for (int k = -12000; k <= 12000; k += whole ? 100 : 1) {
                snprintf(text, sizeof text, whole ? "%.0f" : "%.2f", k / 100.0);
                double x = strtod(text, NULL);
                bool minus_zero = text[0] == '-' && x == 0;
                bool fits = (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high) && !minus_zero;
                if (!status && accepts(s, text) != fits) fail_msg("%s: %s: expected %d", schema, text, fits);
                written += fits;
            }
            if (status) {
                assert_int_equal(status, TN_E_EMPTY);
                assert_int_equal(written, 0);
            }
            tn_grammar_state_free(s);
            tn_grammar_free(g);
        }
}

static void schema__what_is_not_understood_is_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *schema;
        tn_status status;
        const char *part;
    } cases[] = {
        {"{", TN_E_FORMAT, "line 1"},
        {"[]", TN_E_FORMAT, "#: expected a schema"},
        {"false", TN_E_EMPTY, "nothing fits"},
        {"{'type': 'float'}", TN_E_FORMAT, "\"type\" is \"float\""},
        {"{'not': {}}", TN_E_UNSUPPORTED, "\"not\" is not supported"},
        {"{'minimun': 1}", TN_E_UNSUPPORTED, "\"minimun\" is no keyword"},
        {"{'properties': {'a': {'items': {'if': {}}}}}", TN_E_UNSUPPORTED, "#/properties/a/items: \"if\""},
        {"{'properties': 3}", TN_E_FORMAT, "\"properties\" is no object"},
        {"{'required': [1]}", TN_E_FORMAT, "\"required\" has an entry"},
        {"{'required': ['a'], 'additionalProperties': false}", TN_E_EMPTY, "\"a\" is required"},
        {"{'properties': {'a': {}, 'b': {}}, 'minProperties': 2}", TN_E_UNSUPPORTED, "\"minProperties\""},
        {"{'items': {}, 'minItems': 3, 'maxItems': 2}", TN_E_EMPTY, "\"minItems\" is above"},
        {"{'minItems': -1}", TN_E_FORMAT, "\"minItems\" is no whole number"},
        {"{'minLength': 1e9}", TN_E_RANGE, "\"minLength\" is above"},
        {"{'uniqueItems': true}", TN_E_UNSUPPORTED, "\"uniqueItems\""},
        {"{'multipleOf': 0.01}", TN_E_UNSUPPORTED, "\"multipleOf\""},
        {"{'minimum': 2, 'maximum': 1}", TN_E_EMPTY, "no number lies between"},
        {"{'type': 'integer', 'minimum': 1.2, 'maximum': 1.8}", TN_E_EMPTY, "no number lies between"},
        {"{'minimum': 1e300}", TN_E_RANGE, "too many digits"},
        {"{'minimum': '1'}", TN_E_FORMAT, "\"minimum\" is no number"},
        {"{'format': 'regex', 'type': 'string'}", TN_E_UNSUPPORTED,
         "format \"regex\" is not supported, expected one of date"},
        {"{'pattern': 'a', 'maxLength': 3}", TN_E_UNSUPPORTED, "only one of pattern"},
        {"{'pattern': '(?=a)'}", TN_E_UNSUPPORTED, "look-around"},
        {"{'pattern': '(a)\\\\1'}", TN_E_UNSUPPORTED, "byte 4: this escape"},
        {"{'pattern': '\\\\bword'}", TN_E_UNSUPPORTED, "this escape"},
        {"{'pattern': 'a^b'}", TN_E_UNSUPPORTED, "^ and $ are supported only"},
        {"{'pattern': '(a'}", TN_E_FORMAT, "expected )"},
        {"{'pattern': 'a)'}", TN_E_FORMAT, "without a group"},
        {"{'pattern': '[a'}", TN_E_FORMAT, "the class has no end"},
        {"{'pattern': '*'}", TN_E_FORMAT, "nothing to repeat"},
        {"{'pattern': 'a{x}'}", TN_E_FORMAT, "expected {m}"},
        {"{'pattern': 'a{3,2}'}", TN_E_FORMAT, "byte 6: the largest number of repetitions"},
        {"{'pattern': 'a{2000000}'}", TN_E_RANGE, "byte 10: repeats more than 1048576 times"},
        {"{'pattern': 'a{0,99999999999999999999}'}", TN_E_RANGE, "repeats more than"},
        {"{'pattern': 'a++'}", TN_E_UNSUPPORTED, "this repetition"},
        {"{'anyOf': []}", TN_E_FORMAT, "\"anyOf\" is no list"},
        {"{'type': 'string', 'anyOf': [{'type': 'null'}]}", TN_E_EMPTY, "nothing fits any part"},
        {"{'allOf': [{'type': 'string'}, {'type': 'null'}]}", TN_E_EMPTY, "no type fits"},
        {"{'allOf': [{'pattern': 'a'}, {'pattern': 'b'}]}", TN_E_UNSUPPORTED, "two different \"pattern\""},
        {"{'allOf': 3}", TN_E_FORMAT, "\"allOf\" is no list"},
        {"{'enum': [1, 2], 'minimum': 2}", TN_E_UNSUPPORTED, "\"minimum\" beside enum"},
        {"{'enum': 'x'}", TN_E_FORMAT, "\"enum\" is no list"},
        {"{'type': 'null', 'const': 1}", TN_E_EMPTY, "no value of enum or const"},
        {"{'$ref': 'http://x/y'}", TN_E_UNSUPPORTED, "leads out of the schema"},
        {"{'$ref': '#/$defs/x'}", TN_E_FORMAT, "leads to nothing"},
        {"{'$ref': '#name'}", TN_E_UNSUPPORTED, "is an anchor"},
        {"{'$ref': '#'}", TN_E_FORMAT, "begins with itself"},
        {"{'$defs': {'a': {'$ref': '#/$defs/a', 'type': 'null'}}, '$ref': '#/$defs/a'}", TN_E_RANGE,
         "nested more than"},
        {"{'properties': {'me': {'$ref': '#'}}, 'required': ['me']}", TN_E_FORMAT, "has no end"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        char schema[500];
        tn_grammar *g;
        quoted(cases[i].schema, schema, sizeof schema);
        tn_status status = tn_grammar_from_json_schema(&g, schema, strlen(schema));
        assert_null(g);
        if (status != cases[i].status || !strstr(tn_error_message(), cases[i].part))
            fail_msg("%s: %s: \"%s\" lacks \"%s\"", schema, tn_status_name(status), status ? tn_error_message() : "",
                     cases[i].part);
    }
}

/* Every allocation of ours fails once: refused, nothing is lost, and the last round succeeds. */
static void schema__want_of_memory_is_an_error(void **state) {
    (void)state;
    char schema[1000];
    quoted(
        "{'properties': {'a': {'$ref': '#/$defs/x'}, 'b': {'pattern': '^[^a]|b$'}, 'c': {'minimum': -2.5}, 'd':"
        " {'enum': [1, 'x']}, 'e': {'prefixItems': [{}, {'type': ['null', 'string']}], 'items': {}}},"
        " 'additionalProperties': {'anyOf': [{'maxLength': 3}, {'allOf': [{'type': 'object'}, {'required': ['q']}]}]},"
        " '$defs': {'x': {'items': {'$ref': '#/$defs/x'}}}}",
        schema, sizeof schema);
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_grammar *g;
        tn_memory_fail_at(n);
        status = tn_grammar_from_json_schema(&g, schema, strlen(schema));
        tn_memory_fail_at(0);
        if (status && status != TN_E_NOMEM) fail_msg("%s", tn_error_message());
        tn_grammar_free(g);
        assert_int_equal(tn_memory_alive(), alive);
        assert_true(n < 3000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schema__all_texts_of_its_grammar_fit),
        cmocka_unit_test(schema__texts_of_random_ones_fit),
        cmocka_unit_test(schema__says_which_texts_are_written),
        cmocka_unit_test(schema__bounds_of_numbers_are_exact),
        cmocka_unit_test(schema__what_is_not_understood_is_refused_by_name),
        cmocka_unit_test(schema__want_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
