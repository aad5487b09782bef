/* SPDX-License-Identifier: MIT */
#include "infer/request.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

static json_t *parse(const char *text) {
    json_error_t error;
    json_t *object = json_loads(text, JSON_DECODE_ANY, &error);
    if (!object) fail_msg("%s: %s", text, error.text);
    return object;
}

static tn_request defaults(void) {
    return (tn_request){
        .sampler = tn_sampler_defaults(), .max_tokens = 128, .seed = -1, .stops = {"END"}, .n_stops = 1};
}

static void request__says_what_the_object_says_and_keeps_the_rest(void **state) {
    (void)state;
    json_t *object = parse("{\"prompt\": \"Once \\u00eb\", \"max_tokens\": 7, \"temperature\": 0, \"top-p\": 1, "
                           "\"repetition_penalty\": 1.25, \"top_k\": 3, \"seed\": 9007199254740993, \"stop\": [\"a\", "
                           "\"\\n\"], \"ignore_eos\": true, \"min_p\": null, \"user\": [1], \"metadata\": {\"a\": 1}}");
    tn_request r = defaults();
    assert_ok(tn_request_read(&r, object));
    assert_string_equal(r.prompt, "Once \xc3\xab");
    assert_int_equal(r.prompt_len, 7);
    assert_int_equal(r.max_tokens, 7);
    assert_true(r.sampler.temperature == 0);
    assert_true(r.sampler.top_p == 0.95); /* a flag's dashes are no key */
    assert_true(r.sampler.min_p == 0.05);
    assert_true(r.sampler.repeat_penalty == 1.25);
    assert_int_equal(r.sampler.top_k, 3);
    assert_true(r.seed == 9007199254740993);
    assert_int_equal(r.n_stops, 2);
    assert_string_equal(r.stops[1], "\n");
    assert_true(r.ignore_eos);
    json_decref(object);
}

static void request__has_other_names_for_the_same(void **state) {
    (void)state;
    static const char *const texts[] = {"{\"max_completion_tokens\": 7}", "{\"n_predict\": 7}",
                                        "{\"max_new_tokens\": 7}", "{\"max_tokens\": 7}"};
    for (size_t i = 0; i < TN_COUNT(texts); i++) {
        json_t *object = parse(texts[i]);
        tn_request r = defaults();
        assert_ok(tn_request_read(&r, object));
        assert_int_equal(r.max_tokens, 7);
        json_decref(object);
    }
    json_t *one = parse("{\"stop\": \"xyz\", \"repeat_penalty\": 2, \"mirostat_tau\": 3, \"temp\": 0.5}");
    tn_request r = defaults();
    assert_ok(tn_request_read(&r, one));
    assert_int_equal(r.n_stops, 1);
    assert_string_equal(r.stops[0], "xyz");
    assert_true(r.sampler.repeat_penalty == 2 && r.sampler.mirostat_tau == 3 && r.sampler.temperature == 0.5);
    json_decref(one);
}

static void request__bad_values_are_refused_by_key(void **state) {
    (void)state;
    static const struct {
        const char *text, *sentence;
        tn_status expect;
    } cases[] = {
        {"{\"prompt\": 3}", "\"prompt\" is the number 3, expected a text", TN_E_DTYPE},
        {"{\"prompt\": [\"a\"]}", "\"prompt\" is a list, expected a text", TN_E_DTYPE},
        {"{\"max_tokens\": 1.5}", "\"max_tokens\" is the number 1.5, expected a whole number", TN_E_DTYPE},
        {"{\"max_tokens\": -2}", "\"max_tokens\" is -2, expected -1 to 2147483647", TN_E_RANGE},
        {"{\"n_predict\": \"7\"}", "\"n_predict\" is a string, expected a whole number", TN_E_DTYPE},
        {"{\"temperature\": -1}", "\"temperature\" is -1, expected 0 to 1e+06", TN_E_RANGE},
        {"{\"top_p\": \"x\"}", "\"top_p\" is a string, expected a number", TN_E_DTYPE},
        {"{\"top_k\": true}", "\"top_k\" is true, expected a whole number", TN_E_DTYPE},
        {"{\"seed\": 1e3}", "\"seed\" is the number 1000, expected a whole number", TN_E_DTYPE},
        {"{\"stop\": \"\"}", "\"stop\" is a string, expected a text that is not empty", TN_E_DTYPE},
        {"{\"stop\": [\"a\", {}]}", "\"stop\" is an object, expected a text that is not empty", TN_E_DTYPE},
        {"{\"ignore_eos\": 1}", "\"ignore_eos\" is the number 1, expected true or false", TN_E_DTYPE},
        {"{\"samplers\": 3}", "\"samplers\" is the number 3, expected a list of samplers", TN_E_DTYPE},
        {"{\"samplers\": [3]}", "\"samplers\" is the number 3, expected the name of a sampler", TN_E_DTYPE},
        {"{\"logit_bias\": 3}", "\"logit_bias\" is the number 3, expected {\"id\": bias, ...} or [[id, bias], ...]",
         TN_E_DTYPE},
        {"{\"logit_bias\": {\"Once\": 3}}", "\"logit_bias\" has the key \"Once\", expected an id of a token",
         TN_E_RANGE},
        {"{\"logit_bias\": {\"-1\": 3}}", "\"logit_bias\" has the id -1, expected an id of a token", TN_E_RANGE},
        {"{\"logit_bias\": {\"1\": true}}", "\"logit_bias\" is true, expected a number", TN_E_DTYPE},
        {"{\"logit_bias\": {\"1\": 1e7}}", "\"logit_bias\" is 1e+07, expected -1e+06 to 1e+06", TN_E_RANGE},
        {"{\"logit_bias\": [[1]]}", "\"logit_bias\" is a list, expected a pair [id, bias]", TN_E_DTYPE},
        {"{\"logit_bias\": [[\"a\", 1]]}", "\"logit_bias\" is a string, expected an id of a token", TN_E_DTYPE},
        {"{\"dry_sequence_breakers\": \"a\"}", "\"dry_sequence_breakers\" is a string, expected a list of texts",
         TN_E_DTYPE},
        {"{\"grammar\": {}}", "\"grammar\" is an object, expected a text", TN_E_DTYPE},
        {"{\"json_schema\": \"a\"}", "\"json_schema\" is a string, expected a schema", TN_E_DTYPE},
        {"{\"response_format\": \"json\"}",
         "\"response_format\" has no \"type\" that is text, json_object or json_schema", TN_E_RANGE},
        {"{\"response_format\": {\"type\": \"json_schema\"}}", "\"response_format\" has no \"schema\"", TN_E_RANGE},
        {"{\"messages\": []}", "\"messages\" is a list, expected a list of messages", TN_E_DTYPE},
        {"{\"messages\": [{\"role\": \"user\"}]}", "message 1 has no \"content\"", TN_E_DTYPE},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, 5]}", "message 2 has no \"role\" that is a text",
         TN_E_DTYPE},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        json_t *object = parse(cases[i].text);
        tn_request r = defaults();
        assert_int_equal(tn_request_read(&r, object), cases[i].expect);
        assert_string_equal(tn_error_message(), cases[i].sentence);
        json_decref(object);
    }
}

static void request__settings_are_equal_when_answers_would_be(void **state) {
    (void)state;
    tn_request a = defaults(), b = defaults();
    b.prompt = "other";
    b.seed = 5;
    json_t *first = tn_request_settings(&a), *second = tn_request_settings(&b);
    assert_true(json_equal(first, second));
    json_decref(second);
    const tn_logit_bias ban = {3, -INFINITY};
    static const char *const keys[] = {"{\"temperature\": 0.7}", "{\"stop\": []}", "{\"max_tokens\": 1}",
                                       "{\"ignore_eos\": true}", "{\"mirostat\": 2}"};
    for (size_t i = 0; i <= TN_COUNT(keys) + 1; i++) {
        json_t *object = parse(i < TN_COUNT(keys) ? keys[i] : "{}");
        b = defaults();
        assert_ok(tn_request_read(&b, object));
        if (i == TN_COUNT(keys)) assert_ok(tn_sampler_order_parse("temperature", &b.sampler.order));
        if (i > TN_COUNT(keys)) {
            b.sampler.biases = &ban;
            b.sampler.n_biases = 1;
        }
        second = tn_request_settings(&b);
        if (!second) fail_msg("%zu %s", i, tn_error_message());
        assert_false(json_equal(first, second));
        json_decref(second);
        json_decref(object);
    }
    b = defaults();
    b.stops[0] = "\xff";
    assert_null(tn_request_settings(&b));
    json_decref(first);
}

static json_t *settings_of(const char *text) {
    json_t *object = parse(text);
    tn_request r = defaults();
    assert_ok(tn_request_read(&r, object));
    json_t *settings = tn_request_settings(&r);
    assert_non_null(settings);
    json_decref(object);
    return settings;
}

static void request__lists_have_two_spellings(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"{\"logit_bias\": {\"5\": 1.5, \"300\": false}}", "{\"logit_bias\": [[5, 1.5], [300, false]]}"},
        {"{\"samplers\": [\"top_k\", \"temperature\"]}", "{\"samplers\": \"kt\"}"},
        {"{\"samplers\": [\"top-k\", \"min_p\"]}", "{\"samplers\": \"top_k;min_p\"}"},
    };
    for (size_t i = 0; i < TN_COUNT(pairs); i++) {
        json_t *a = settings_of(pairs[i][0]), *b = settings_of(pairs[i][1]), *none = settings_of("{}");
        assert_true(json_equal(a, b));
        assert_false(json_equal(a, none));
        json_decref(a);
        json_decref(b);
        json_decref(none);
    }
}

static void request__lists_take_the_place_of_those_of_the_defaults(void **state) {
    (void)state;
    const tn_logit_bias ban = {3, -INFINITY};
    json_t *object = parse("{\"logit_bias\": [[7, 2], [8, false]], \"dry_sequence_breakers\": [\"x\"]}");
    tn_request r = defaults(), copy;
    r.sampler.biases = &ban;
    r.sampler.n_biases = 1;
    tn_sampler_options options = tn_request_sampler(&r);
    assert_ptr_equal(options.biases, &ban);
    assert_int_equal(options.n_dry_breakers, 4);
    assert_ok(tn_request_read(&r, object));
    copy = r;
    options = tn_request_sampler(&copy);
    assert_int_equal(options.n_biases, 2);
    assert_ptr_equal(options.biases, copy.biases);
    assert_int_equal(options.biases[0].id, 7);
    assert_true(options.biases[0].bias == 2 && options.biases[1].bias == -HUGE_VAL);
    assert_int_equal(options.n_dry_breakers, 1);
    assert_string_equal(options.dry_breakers[0], "x");
    json_decref(object);
}

static void request__settings_that_are_read_give_themselves(void **state) {
    (void)state;
    json_t *settings = settings_of("{\"logit_bias\": {\"5\": 0.1, \"9\": false}, \"samplers\": \"kt\", \"stop\": "
                                   "[\"a\"], \"dry_sequence_breakers\": [], \"temperature\": 0.3}");
    tn_request r = defaults();
    assert_ok(tn_request_read(&r, settings));
    json_t *again = tn_request_settings(&r);
    assert_true(json_equal(settings, again));
    json_decref(settings);
    json_decref(again);
}

static void request__forms_of_answers_become_grammars(void **state) {
    (void)state;
    static const char any[] = "{\"response_format\": {\"type\": \"text\"}, \"grammar\": \"\", \"json_schema\": null}";
    static const char *const forms[] = {
        "{\"json_schema\": {\"type\": \"integer\"}}",
        "{\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"n\", \"schema\": {\"type\": "
        "\"integer\"}}}}",
        "{\"response_format\": {\"type\": \"json_object\", \"schema\": {\"type\": \"integer\"}}}",
        "{\"response_format\": {\"type\": \"json_object\"}}",
        "{\"grammar\": \"root ::= [0-9]+\"}",
    };
    json_t *objects[TN_COUNT(forms)], *object = parse(any);
    tn_request r[TN_COUNT(forms)], both = defaults();
    assert_ok(tn_request_read(&both, object));
    assert_true(tn_answer_form_is_any(&both.form));
    json_decref(object);
    for (size_t i = 0; i < TN_COUNT(forms); i++) {
        tn_grammar *grammar;
        r[i] = defaults();
        objects[i] = parse(forms[i]);
        assert_ok(tn_request_read(&r[i], objects[i]));
        assert_false(tn_answer_form_is_any(&r[i].form));
        assert_ok(tn_answer_form_grammar(&r[i].form, &grammar));
        tn_grammar_free(grammar);
        assert_int_equal(tn_answer_form_equal(&r[0].form, &r[i].form), i < 3);
        assert_true(tn_answer_form_equal(&r[i].form, &r[i].form));
    }
    tn_grammar *grammar;
    assert_ok(tn_request_read(&both, objects[0]));
    assert_ok(tn_request_read(&both, objects[4]));
    assert_int_equal(tn_answer_form_grammar(&both.form, &grammar), TN_E_MISMATCH);
    for (size_t i = 0; i < TN_COUNT(forms); i++) json_decref(objects[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request__says_what_the_object_says_and_keeps_the_rest),
        cmocka_unit_test(request__has_other_names_for_the_same),
        cmocka_unit_test(request__bad_values_are_refused_by_key),
        cmocka_unit_test(request__settings_are_equal_when_answers_would_be),
        cmocka_unit_test(request__lists_have_two_spellings),
        cmocka_unit_test(request__lists_take_the_place_of_those_of_the_defaults),
        cmocka_unit_test(request__settings_that_are_read_give_themselves),
        cmocka_unit_test(request__forms_of_answers_become_grammars),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
