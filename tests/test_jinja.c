/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "data/jinja.h"
#include "tests/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char folder[] = "tests/golden/jinja";

/* The noon that jinja_reference.py tells. */
static int64_t noon(void) {
    struct tm tm = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_hour = 12, .tm_isdst = -1};
    return (int64_t)mktime(&tm);
}

static tn_status render(const char *source, size_t len, const json_t *context, tn_jinja_options options, tn_buf *out) {
    tn_jinja *jinja;
    TN_TRY(tn_jinja_create(&jinja, "T", source, len));
    options.now = noon();
    tn_status status = tn_jinja_render(jinja, context, &options, out);
    tn_jinja_free(jinja);
    return status;
}

/* ---- what jinja2 says ---- */

static void assert_spans(const char *name, const tn_jinja_spans *spans, const json_t *expected) {
    bool same = spans->count == json_array_size(expected);
    for (size_t i = 0; i < spans->count && same; i++) {
        const json_t *span = json_array_get(expected, i);
        same = (json_int_t)spans->list[i].begin == json_integer_value(json_array_get(span, 0)) &&
               (json_int_t)spans->list[i].end == json_integer_value(json_array_get(span, 1));
    }
    if (!same) fail_msg("%s: generation blocks are not where they should be", name);
}

static void assert_text(const char *name, const tn_buf *out, const json_t *expected) {
    const char *got = tn_buf_text(out), *wanted = json_string_value(expected);
    size_t same = 0, len = TN_MIN(out->len, json_string_length(expected));
    if (out->len == json_string_length(expected) && !memcmp(got, wanted, len)) return;
    while (same < len && got[same] == wanted[same]) same++;
    size_t shown = same < 40 ? 0 : same - 40;
    fail_msg("%s: byte %zu of ...%.100s..., expected ...%.100s...", name, same, got + shown, wanted + shown);
}

/* True when Tern refuses a thing that it does not support. */
static bool check_case(const char *name, const char *source, size_t len, const json_t *context,
                       const json_t *expected) {
    tn_jinja_spans spans = {0};
    tn_buf out = {0};
    tn_status status = render(source, len, context, (tn_jinja_options){.spans = &spans}, &out);
    const json_t *text = json_object_get(expected, "text"), *raises = json_object_get(expected, "raises");
    bool refused = text && (status == TN_E_UNSUPPORTED || status == TN_E_RANGE);
    if (text && status && !refused) fail_msg("%s: %s\n%.*s", name, tn_error_message(), (int)len, source);
    if (!text && !status) fail_msg("%s: must fail\n%.*s\n%s", name, (int)len, source, tn_buf_text(&out));
    if (raises && (status != TN_E_ARG || strcmp(tn_error_message(), json_string_value(raises)) != 0))
        fail_msg("%s: \"%s\", expected \"%s\"", name, tn_error_message(), json_string_value(raises));
    if (text && !refused) {
        assert_text(name, &out, text);
        assert_spans(name, &spans, json_object_get(expected, "spans"));
    }
    tn_jinja_spans_release(&spans);
    tn_buf_release(&out);
    return refused;
}

static json_t *load(const char *name) {
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *json = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!json) fail_msg("%s:%d: %s", path, error.line, error.text);
    return json;
}

static void check_template(const char *name, const json_t *conversations, json_t *expected) {
    char path[512], label[256];
    const char *conversation;
    json_t *wanted;
    tn_buf source = {0};
    snprintf(path, sizeof path, "%s/%s.jinja", folder, name);
    assert_ok(tn_file_read(path, 1 << 20, &source));
    json_object_foreach(expected, conversation, wanted) {
        snprintf(label, sizeof label, "%s with %s", name, conversation);
        const json_t *context = json_object_get(conversations, conversation);
        assert_non_null(context);
        assert_false(check_case(label, tn_buf_text(&source), source.len, context, wanted));
    }
    tn_buf_release(&source);
}

static void golden__templates_give_what_jinja2_gives(void **state) {
    (void)state;
    json_t *conversations = load("conversations.json"), *expected = load("expected.json"), *wanted;
    const char *name;
    assert_true(json_object_size(expected) >= 30);
    json_object_foreach(expected, name, wanted) check_template(name, conversations, wanted);
    json_decref(conversations);
    json_decref(expected);
}

/* The cases of made_up.jsonl, or of the file that tests/check_jinja.sh has made. */
static void golden__made_up_templates_give_what_jinja2_gives(void **state) {
    (void)state;
    const char *path = getenv("TN_JINJA_CASES");
    FILE *file = fopen(path ? path : "tests/golden/jinja/made_up.jsonl", "rb");
    assert_non_null(file);
    json_t *one, *context = json_object();
    int cases = 0, refused = 0;
    while ((one = json_loadf(file, JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, NULL))) {
        const json_t *source = json_object_get(one, "template");
        char name[32];
        snprintf(name, sizeof name, "case %d", ++cases);
        if (json_object_get(one, "context")) {
            json_decref(context);
            context = json_incref(json_object_get(one, "context"));
        }
        refused += check_case(name, json_string_value(source), json_string_length(source), context,
                              json_object_get(one, "expected"));
        json_decref(one);
    }
    assert_true(cases >= 300);
    if (refused * 500 > cases) fail_msg("%d of %d cases are refused as not supported", refused, cases);
    json_decref(context);
    assert_int_equal(fclose(file), 0);
}

/* ---- sentences ---- */

static void assert_refused(const char *source, const char *context, tn_jinja_options options, tn_status status,
                           const char *sentence) {
    json_t *json = json_loads(context, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    tn_buf out = {0};
    assert_ok(tn_buf_puts(&out, "before"));
    tn_status got = render(source, strlen(source), json, options, &out);
    if (got != status || !strstr(tn_error_message(), sentence))
        fail_msg("%.100s -> %s \"%s\", expected %s \"%s\"", source, tn_status_name(got), tn_error_message(),
                 tn_status_name(status), sentence);
    assert_string_equal(out.data, "before");
    assert_int_equal(out.len, 6);
    tn_buf_release(&out);
    json_decref(json);
}

static void failure__names_line_and_column_and_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *source;
        tn_status status;
        const char *sentence;
    } rows[] = {
        {"a\n{{ x +\n }}", TN_E_FORMAT, "T: line 3, column 2: unexpected }}, expected a value"},
        {"\xC3\xA9 {% if x %}", TN_E_FORMAT, "T: line 1, column 13: the template ends here, expected elif else endif"},
        {"{% iff x %}", TN_E_FORMAT, "T: line 1, column 4: there is no tag \"iff\""},
        {"{% endif %}", TN_E_FORMAT, "there is no tag \"endif\" to close here"},
        {"{% include 'x' %}", TN_E_UNSUPPORTED, "the tag \"include\" is not supported"},
        {"{% for x in y recursive %}{% endfor %}", TN_E_UNSUPPORTED, "recursive loops"},
        {"{{ f(*x) }}", TN_E_UNSUPPORTED, "* in a call is not supported"},
        {"{{ 'abc }}", TN_E_FORMAT, "T: line 1, column 4: a string is not closed, expected '"},
        {"{# abc", TN_E_FORMAT, "a comment is not closed, expected #}"},
        {"{% raw %}{{", TN_E_FORMAT, "a raw block is not closed"},
        {"{{ x", TN_E_FORMAT, "a tag is not closed, expected }}"},
        {"{{ (x] }}", TN_E_FORMAT, "unexpected ], expected )"},
        {"{{ x ? y }}", TN_E_FORMAT, "unexpected character U+003F"},
        {"{{ '\\uD83D' }}", TN_E_FORMAT, "U+D83D is not a character"},
        {"{{ '\\u12' }}", TN_E_FORMAT, "expected 4 hexadecimal digits"},
        {"{{ 99999999999999999999 }}", TN_E_RANGE, "does not fit in 64 bits"},
        {"{{ 0x1F }}", TN_E_UNSUPPORTED, "is not a plain decimal number"},
        {"{% break %}", TN_E_FORMAT, "there is no loop around this"},
        {"{% set none = 1 %}", TN_E_FORMAT, "a constant cannot be assigned to"},
        {"{% macro m(a=1, b) %}{% endmacro %}", TN_E_FORMAT, "expected = and a default"},
        {"{% generation %}{% generation %}", TN_E_FORMAT, "a generation block inside another"},
        {"{{ x is string is defined }}", TN_E_FORMAT, "expected"},
        {"\xFF", TN_E_TEXT, "byte 0 (0xff) is not valid UTF-8"},
        {"{{ x.y }}", TN_E_MISMATCH, "T: line 1, column 5: \"x\" is undefined"},
        {"{{ m.y.z }}", TN_E_MISMATCH, "a mapping has no \"y\""},
        {"{{ l[7].z }}", TN_E_MISMATCH, "a list has no \"item 7\""},
        {"ab\n {{ 'a' + 1 }}", TN_E_MISMATCH,
         "T: line 2, column 9: a string and an integer do not go with the operator +"},
        {"{{ m.nothing() }}", TN_E_MISMATCH, "a mapping has no \"nothing\""},
        {"{{ i() }}", TN_E_MISMATCH, "an integer cannot be called"},
        {"{{ 1 / 0 }}", TN_E_MISMATCH, "division by zero"},
        {"{{ 9223372036854775807 + 1 }}", TN_E_RANGE, "does not fit in 64 bits"},
        {"{{ i | frobnicate }}", TN_E_UNSUPPORTED, "there is no filter \"frobnicate\""},
        {"{{ i is frobnicated }}", TN_E_UNSUPPORTED, "there is no test \"frobnicated\""},
        {"{{ l.append(1) }}", TN_E_UNSUPPORTED, "append would change a list in place"},
        {"{{ i | replace('a', 'b', 'c') }}", TN_E_MISMATCH, "replace: argument 3 is a string, expected an integer"},
        {"{{ i | trim(b=1) }}", TN_E_MISMATCH, "trim: has no parameter \"b\""},
        {"{{ i | length }}", TN_E_MISMATCH, "an integer has no length"},
        {"{% for x in i %}{% endfor %}", TN_E_MISMATCH, "an integer cannot be looped over"},
        {"{% for a, b in l %}{% endfor %}", TN_E_MISMATCH, "an integer cannot be looped over"},
        {"{% set a, b = l %}", TN_E_MISMATCH, "3 values for 2 names"},
        {"{% set m.x = 1 %}", TN_E_MISMATCH, "attributes of a mapping cannot be set, expected a namespace"},
        {"{{ {[]: 1} }}", TN_E_MISMATCH, "a list cannot be the key of a mapping"},
        {"{{ x | tojson }}", TN_E_MISMATCH, "an undefined value has no form in JSON"},
        {"{{ '%s' % 1 }}", TN_E_UNSUPPORTED, "formatting a string with %"},
        {"{{ strftime_now('%99d') }}", TN_E_UNSUPPORTED, "the conversion behind % is not supported"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", TN_E_MISMATCH, "the macro m takes at most 1 arguments, not 2"},
        {"{{ raise_exception('Just\nthis ' ~ i) }}", TN_E_ARG, "Just\nthis 3"},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++)
        assert_refused(rows[i].source, "{\"i\": 3, \"l\": [1, 2, 3], \"m\": {\"k\": 1}}", (tn_jinja_options){0},
                       rows[i].status, rows[i].sentence);
}

static void generation__inside_a_macro_is_refused_when_asked_where(void **state) {
    (void)state;
    static const char source[] = "{% macro m() %}{% generation %}x{% endgeneration %}{% endmacro %}{{ m() }}";
    tn_jinja_spans spans = {0};
    assert_refused(source, "{}", (tn_jinja_options){.spans = &spans}, TN_E_UNSUPPORTED, "has no place in the output");
    tn_jinja_spans_release(&spans);
}

/* ---- limits ---- */

static void put_times(tn_buf *out, int n, const char *part) {
    for (int i = 0; i < n; i++) assert_ok(tn_buf_puts(out, part));
}

static void limits__of_nesting_are_sentences(void **state) {
    (void)state;
    static const struct {
        const char *begin, *open, *middle, *close, *end, *sentence;
    } rows[] = {
        {"", "{% if 1 %}", "x", "{% endif %}", "", "nested deeper than 100 levels"},
        {"{{ ", "[", "1", "]", " }}", "more than 100 brackets are open"},
        {"{{ ", "not ", "1", "", " }}", "nested deeper than 100 levels"},
        {"{{ ", "-", "1", "", " }}", "nested deeper than 100 levels"},
        {"{{ ", "1 if 1 else ", "1", "", " }}", "nested deeper than 100 levels"},
        {"{{ 1", "+1", "", "", " }}", "nested deeper than 600 levels"},
        {"{{ x", ".a", "", "", " }}", "nested deeper than 600 levels"},
        {"{{ x", "|trim", "", "", " }}", "nested deeper than 600 levels"},
        {"{% macro m() %}", "", "{{ m() }}", "", "{% endmacro %}{{ m() }}", "nested deeper than 600 levels"},
        {"{% set ns = namespace(x=[]) %}", "", "{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% endfor %}", "",
         "{{ ns.x == ns.x[0] }}", "nested deeper than 600 levels"},
        {"{% set ns = namespace() %}", "", "{% set ns.x = ns %}", "", "{{ ns }}", "nested deeper than 600 levels"},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        tn_buf source = {0};
        assert_ok(tn_buf_puts(&source, rows[i].begin));
        put_times(&source, 20000, rows[i].open);
        assert_ok(tn_buf_puts(&source, rows[i].middle));
        put_times(&source, 20000, rows[i].close);
        assert_ok(tn_buf_puts(&source, rows[i].end));
        assert_refused(source.data, "{}", (tn_jinja_options){0}, TN_E_RANGE, rows[i].sentence);
        tn_buf_release(&source);
    }
}

static void limits__of_steps_memory_and_output_are_sentences(void **state) {
    (void)state;
    static const char spins[] = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}";
    static const char doubles[] = "{% set ns = namespace(s='x') %}{% for i in range(99) %}"
                                  "{% set ns.s = ns.s + ns.s %}{% endfor %}";
    const tn_jinja_options few = {.max_steps = 1000}, small = {.max_memory = 1 << 20}, little = {.max_output = 1000};
    assert_refused(spins, "{}", (tn_jinja_options){0}, TN_E_RANGE, "takes more than 50000000 steps");
    assert_refused("{% for i in range(999) %}{{ i }}{% endfor %}", "{}", few, TN_E_RANGE, "more than 1000 steps");
    assert_refused(doubles, "{}", (tn_jinja_options){0}, TN_E_RANGE, "takes more than 536870912 bytes");
    assert_refused("{{ range(99999) | list }}", "{}", small, TN_E_RANGE, "takes more than 1048576 bytes");
    assert_refused("{{ 'ab' * 501 }}", "{}", little, TN_E_RANGE, "a text of more than 1000 bytes");
    assert_refused("{{ 'a' * 999999999999 }}", "{}", (tn_jinja_options){0}, TN_E_RANGE, "takes more than");
    assert_refused("{{ [1] * 999999999999 }}", "{}", (tn_jinja_options){0}, TN_E_RANGE, "takes more than");
    assert_refused("{{ range(999999999999) }}", "{}", (tn_jinja_options){0}, TN_E_RANGE, "more than 100000 numbers");
}

static void limits__of_the_source_and_of_the_context_are_sentences(void **state) {
    (void)state;
    tn_buf source = {0}, out = {0};
    put_times(&source, (1 << 20) + 1, "x");
    assert_int_equal(render(source.data, source.len, NULL, (tn_jinja_options){0}, &out), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "a template of 1048577 bytes, expected at most 1048576"));
    assert_int_equal(render("x", 1, NULL, (tn_jinja_options){0}, &out), TN_E_ARG);
    tn_buf_reset(&source);
    assert_ok(tn_buf_puts(&source, "{\"x\": "));
    put_times(&source, 1000, "[");
    put_times(&source, 1000, "]");
    assert_ok(tn_buf_puts(&source, "}"));
    assert_refused("{{ x }}", source.data, (tn_jinja_options){0}, TN_E_RANGE, "nested deeper than 600 levels");
    tn_buf_release(&source);
    tn_buf_release(&out);
}

/* ---- use ---- */

static void assert_gives(const char *source, size_t len, const char *context, tn_jinja_options options,
                         const char *expected, size_t expected_len) {
    json_t *json = json_loads(context, JSON_ALLOW_NUL, NULL);
    tn_buf out = {0};
    assert_ok(render(source, len, json, options, &out));
    assert_int_equal(out.len, expected_len);
    assert_memory_equal(tn_buf_text(&out), expected, expected_len);
    tn_buf_release(&out);
    json_decref(json);
}

static void template__may_hold_any_line_ends_and_texts_any_character(void **state) {
    (void)state;
    static const char source[] = "a\r\n{% if 1 %}\r\nb\r{% endif %}\rc\r\n";
    assert_gives(source, sizeof source - 1, "{}", (tn_jinja_options){0}, "a\nb\nc", 5);
    static const char nul[] = "{{ s }}|{{ s | length }}|{{ s | tojson }}|{{ [s] }}";
    static const char expected[] = "a\0b|3|\"a\\u0000b\"|['a\\x00b']";
    assert_gives(nul, sizeof nul - 1, "{\"s\": \"a\\u0000b\"}", (tn_jinja_options){0}, expected, sizeof expected - 1);
}

static void text__that_grows_piece_by_piece_is_not_copied_each_time(void **state) {
    (void)state;
    static const char source[] = "{% set ns = namespace(s='') %}{% for i in range(50000) %}"
                                 "{% set ns.s = ns.s + 'a hundred bytes, more or less' %}{% endfor %}{{ ns.s|length }}";
    const tn_jinja_options small = {.max_memory = 32 << 20};
    assert_gives(source, sizeof source - 1, "{}", small, "1450000", 7);
}

static void template__renders_again_and_again(void **state) {
    (void)state;
    static const char source[] = "{% set x = x + [1] %}{% generation %}{{ x }}{% endgeneration %}";
    json_t *context = json_loads("{\"x\": [0]}", 0, NULL);
    tn_jinja_spans spans = {0};
    tn_buf out = {0};
    tn_jinja *jinja;
    assert_ok(tn_jinja_create(&jinja, "T", source, sizeof source - 1));
    for (int i = 0; i < 3; i++) {
        const tn_jinja_options options = {.spans = &spans};
        assert_ok(tn_jinja_render(jinja, context, &options, &out));
        assert_int_equal(spans.count, 1);
        assert_int_equal(spans.list[0].begin, 0);
        assert_int_equal(spans.list[0].end, 6);
    }
    assert_string_equal(out.data, "[0, 1][0, 1][0, 1]");
    tn_jinja_free(jinja);
    tn_jinja_spans_release(&spans);
    tn_buf_release(&out);
    json_decref(context);
}

static void memory__may_run_out_anywhere(void **state) {
    (void)state;
    static const char source[] =
        "{% set ns = namespace(n=0) %}{% macro m(a, b='x\\n') %}{{ a|upper }}{{ b }}{% endmacro %}"
        "{% for k, v in o.items() if v %}{% set ns.n = ns.n + 1 %}{{ m(k, b=v|tojson) }}"
        "{% generation %}{{ [k, v]|join(', ') ~ ns }}{% endgeneration %}{% endfor %}";
    json_t *context = json_loads("{\"o\": {\"\xC3\xA9\": [1.5, null], \"b\": \"text\"}}", 0, NULL);
    int64_t before = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    tn_jinja_spans spans = {0};
    for (uint64_t n = 1; status; n++) {
        tn_buf out = {0};
        tn_memory_fail_at(n);
        status = render(source, sizeof source - 1, context, (tn_jinja_options){.spans = &spans}, &out);
        tn_memory_fail_at(0);
        if (status) assert_int_equal(status, TN_E_NOMEM);
        if (status) assert_int_equal(out.len, 0);
        tn_buf_release(&out);
    }
    tn_jinja_spans_release(&spans);
    assert_int_equal(tn_memory_alive(), before);
    json_decref(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden__templates_give_what_jinja2_gives),
        cmocka_unit_test(golden__made_up_templates_give_what_jinja2_gives),
        cmocka_unit_test(failure__names_line_and_column_and_what_is_wrong),
        cmocka_unit_test(generation__inside_a_macro_is_refused_when_asked_where),
        cmocka_unit_test(limits__of_nesting_are_sentences),
        cmocka_unit_test(limits__of_steps_memory_and_output_are_sentences),
        cmocka_unit_test(limits__of_the_source_and_of_the_context_are_sentences),
        cmocka_unit_test(template__may_hold_any_line_ends_and_texts_any_character),
        cmocka_unit_test(text__that_grows_piece_by_piece_is_not_copied_each_time),
        cmocka_unit_test(template__renders_again_and_again),
        cmocka_unit_test(memory__may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
