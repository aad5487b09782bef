/* SPDX-License-Identifier: MIT */
#include "core/utf8.h"
#include "core/config.h"
#include "core/fs.h"
#include "tests/testing.h"
#include "train/run_config.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef struct model_settings {
    int n_layer, kind;
    int64_t tokens;
    const char *base;
} model_settings;

typedef struct train_settings {
    double learning_rate;
    bool log;
    int max_steps;
    tn_text_list files;
} train_settings;

typedef struct top_settings {
    int method;
} top_settings;

static const tn_key model_keys[] = {
    {"n_layer", TN_KEY_INT, offsetof(model_settings, n_layer), "12", 1, 512, NULL, "transformer blocks"},
    {"kind", TN_KEY_CHOICE, offsetof(model_settings, kind), "dense", 0, 0, "dense|sparse|none", "kind of layer"},
    {"tokens", TN_KEY_COUNT, offsetof(model_settings, tokens), "4k", 0, 1e18, NULL, "tokens"},
    {"base", TN_KEY_TEXT, offsetof(model_settings, base), "", 0, 0, NULL, "file to start from"},
};
static const tn_key train_keys[] = {
    {"learning_rate", TN_KEY_REAL, offsetof(train_settings, learning_rate), "3e-4", 0, 1, NULL, "peak learning rate"},
    {"log", TN_KEY_BOOL, offsetof(train_settings, log), "no", 0, 0, NULL, "write logs"},
    {"max_steps", TN_KEY_INT, offsetof(train_settings, max_steps), "0", 0, 1000000, NULL, "optimizer steps"},
    {"files", TN_KEY_LIST, offsetof(train_settings, files), "", 0, 0, NULL, "texts"},
};
static const tn_key top_keys[] = {
    {"method", TN_KEY_CHOICE, offsetof(top_settings, method), "full", 0, 0, "full|lora", "what is trained"},
};

typedef struct fixture {
    tn_config config;
    tn_section sections[3];
    bool given[TN_COUNT(model_keys)];
    model_settings model;
    train_settings train;
    top_settings top;
} fixture;

static int set_up(void **state) {
    fixture *f = tn_heap_zalloc(1, sizeof *f);
    f->sections[0] = (tn_section){"", top_keys, TN_COUNT(top_keys), &f->top, NULL};
    f->sections[1] = (tn_section){"model", model_keys, TN_COUNT(model_keys), &f->model, f->given};
    f->sections[2] = (tn_section){"train", train_keys, TN_COUNT(train_keys), &f->train, NULL};
    f->config = (tn_config){.arena = tn_arena_create("config"), .sections = f->sections, .n_sections = 3};
    *state = f;
    return tn_config_defaults(&f->config);
}

static int tear_down(void **state) {
    fixture *f = *state;
    tn_arena_free(f->config.arena);
    tn_heap_free(f);
    return 0;
}

static tn_status load(fixture *f, const char *text) {
    return tn_config_load_text(&f->config, "x.yaml", text, strlen(text));
}

static void expect_refused(fixture *f, const char *text, const char *message) {
    assert_int_equal(load(f, text), TN_E_CONFIG);
    assert_string_equal(tn_error_message(), message);
}

static void defaults__come_from_the_table(void **state) {
    fixture *f = *state;
    assert_int_equal(f->model.n_layer, 12);
    assert_int_equal(f->model.kind, 0);
    assert_int_equal(f->model.tokens, 4000);
    assert_string_equal(f->model.base, "");
    assert_true(f->train.learning_rate == 3e-4);
    assert_false(f->train.log);
    assert_int_equal(f->train.files.count, 0);
}

static void file__sets_every_type(void **state) {
    fixture *f = *state;
    assert_ok(load(f, "# a comment\nmethod: lora\nmodel:\n  n_layer: 24\n  kind: none\n  tokens: 2M\n  base: no\n"
                      "train: {learning_rate: 1e-2, log: True, files: [a b.txt, 'c,d']}\n"));
    assert_int_equal(f->top.method, 1);
    assert_int_equal(f->model.n_layer, 24);
    assert_int_equal(f->model.kind, 2);
    assert_int_equal(f->model.tokens, 2000000);
    assert_string_equal(f->model.base, "no"); /* the schema wants a text, so it is no boolean */
    assert_true(f->train.learning_rate == 1e-2);
    assert_true(f->train.log);
    assert_int_equal(f->train.files.count, 2);
    assert_string_equal(f->train.files.items[0], "a b.txt");
    assert_string_equal(f->train.files.items[1], "c,d");
}

static void list__may_be_one_scalar_or_nothing(void **state) {
    fixture *f = *state;
    assert_ok(load(f, "train:\n  files: a.txt\n"));
    assert_int_equal(f->train.files.count, 1);
    assert_string_equal(f->train.files.items[0], "a.txt");
    assert_ok(load(f, "train:\n  files:\n"));
    assert_int_equal(f->train.files.count, 0);
}

static void empty_file__changes_nothing(void **state) {
    fixture *f = *state;
    assert_ok(load(f, ""));
    assert_ok(load(f, "# only words\n"));
    assert_ok(load(f, "---\n"));
    assert_ok(load(f, "train:\nmodel:\n"));
    assert_int_equal(f->model.n_layer, 12);
}

static void unknown_key__names_the_nearest(void **state) {
    fixture *f = *state;
    expect_refused(f, "train:\n  larning_rate: 1\n",
                   "x.yaml:2:3: unknown key \"train.larning_rate\"; did you mean train.learning_rate?");
    expect_refused(f, "trian:\n  log: 1\n", "x.yaml:1:1: unknown key \"trian\"; did you mean train?");
    expect_refused(f, "learning_rate: 1\n",
                   "x.yaml:1:1: unknown key \"learning_rate\"; did you mean train.learning_rate?");
    expect_refused(f, "model:\n  max_steps: 1\n",
                   "x.yaml:2:3: unknown key \"model.max_steps\"; did you mean train.max_steps?");
    expect_refused(f, "train: {quux_factor: 1}\n", "x.yaml:1:9: unknown key \"train.quux_factor\"");
    expect_refused(f, "{model:1}\n", "x.yaml:1:2: unknown key \"model:1\"; did you mean model?");
}

static void key_of_another_trainer__is_answered_with_ours(void **state) {
    fixture *f = *state;
    expect_refused(f, "train:\n  lr: 1\n", "x.yaml:2:3: unknown key \"train.lr\": Tern calls it train.learning_rate");
    expect_refused(f, "num_hidden_layers: 4\n",
                   "x.yaml:1:1: unknown key \"num_hidden_layers\": Tern calls it model.n_layer");
    expect_refused(f, "output_dir: out\n", "x.yaml:1:1: unknown key \"output_dir\": Tern calls it --run-dir");
    expect_refused(f, "num_heads: 8\n", /* this schema has no model.n_head */
                   "x.yaml:1:1: unknown key \"num_heads\": Tern calls it model.n_head, which is no setting here");
    expect_refused(f, "fp16: true\n",
                   "x.yaml:1:1: unknown key \"fp16\": other trainers have it, this version of Tern does not");
    assert_int_equal(tn_config_set(&f->config, "optimizer.init_args.lr=1"), TN_E_CONFIG);
    assert_string_equal(tn_error_message(), "--set optimizer.init_args.lr=1: unknown key \"optimizer.init_args.lr\": "
                                            "Tern calls it train.learning_rate");
}

/* In the configuration of a fine-tuning run, which has all settings, every row of peer_names.def leads to one or to a
 * flag, or says that there is none. */
static void key_of_another_trainer__leads_to_a_setting_that_exists(void **state) {
    fixture *f = *state;
    static const char *const names[][2] = {
#define PEER(their_name, tern_name) {their_name, tern_name},
#include "core/peer_names.def"
#undef PEER
    };
    static tn_run_config run;
    assert_ok(tn_run_config_init_finetune(&run, f->config.arena));
    for (size_t i = 0; i < TN_COUNT(names); i++) {
        char assignment[128];
        snprintf(assignment, sizeof assignment, "%s=1", names[i][0]);
        assert_int_equal(tn_config_set(&run.config, assignment), TN_E_CONFIG);
        if (!strstr(tn_error_message(), *names[i][1] ? names[i][1] : "this version of Tern does not"))
            fail_msg("PEER(\"%s\", \"%s\"): %s", names[i][0], names[i][1], tn_error_message());
    }
}

static void bad_value__is_refused_with_place_and_range(void **state) {
    fixture *f = *state;
    assert_int_equal(load(f, "model:\n  n_layer: 513\n"), TN_E_RANGE);
    assert_string_equal(tn_error_message(), "x.yaml:2:12: model.n_layer: 513 is outside 1..512");
    assert_int_equal(load(f, "model:\n  n_layer:\n"), TN_E_RANGE);
    assert_string_equal(tn_error_message(), "x.yaml:2:11: model.n_layer: \"\" is not a whole number (4096, 4k, 2M)");
    assert_int_equal(load(f, "model: {kind: Dense}\n"), TN_E_RANGE);
    assert_string_equal(tn_error_message(), "x.yaml:1:15: model.kind: \"Dense\" is not one of dense|sparse|none");
    assert_int_equal(load(f, "model: {kind: dens}\n"), TN_E_RANGE);
    assert_string_equal(tn_error_message(), "x.yaml:1:15: model.kind: \"dens\" is not one of dense|sparse|none");
    expect_refused(f, "model: {n_layer: [1]}\n", "x.yaml:1:18: model.n_layer: expected one value, found a list");
    expect_refused(f, "train: {files: {a: b}}\n",
                   "x.yaml:1:16: train.files: expected a text or a list of texts, found a mapping");
    expect_refused(f, "train: {files: [a, [b]]}\n",
                   "x.yaml:1:20: train.files: expected a text in the list, found a list or a mapping");
    expect_refused(f, "train: 5\n", "x.yaml:1:8: train: expected \"key: value\" lines below this section");
    expect_refused(f, "model: {base: \"a\\0b\"}\n", "x.yaml:1:15: text with a NUL character is not accepted");
}

static void yaml_beyond_settings__is_refused(void **state) {
    fixture *f = *state;
    expect_refused(f, "train:\n  log: 1\n  log: 0\n", "x.yaml:3:3: key \"train.log\" is given twice");
    expect_refused(f, "train: {log: 1}\ntrain: {log: 0}\n", "x.yaml:2:1: key \"train\" is given twice");
    expect_refused(f, "model: {base: !!str a}\n", "x.yaml:1:15: tags (!name) are not accepted");
    expect_refused(f, "model: &m {base: a}\n", "x.yaml:1:8: anchors (&name) are not accepted");
    expect_refused(f, "model: {base: *m}\n", "x.yaml:1:15: aliases (*name) are not accepted");
    expect_refused(f, "model: {base: a}\n---\nmodel: {base: b}\n", "x.yaml:2:1: a second document is not accepted");
    expect_refused(f, "- a\n", "x.yaml:1:1: expected sections of \"key: value\" lines");
    expect_refused(f, "just words\n", "x.yaml:1:1: expected sections of \"key: value\" lines");
    expect_refused(f, "? [a]\n: 1\n", "x.yaml:1:3: a key must be a name");
    assert_int_equal(load(f, "model: {base: 'a\n"), TN_E_CONFIG);
    assert_int_equal(load(f, "model:\n\tbase: a\n"), TN_E_CONFIG);
    assert_int_equal(load(f, "model: {base: \"\xff\"}\n"), TN_E_CONFIG);
    assert_int_equal(load(f, "model: {base: \"\x01\"}\n"), TN_E_CONFIG);
}

static void other_sections__can_be_passed_over_but_not_bombs(void **state) {
    fixture *f = *state;
    f->config.ignore_other_sections = true;
    assert_ok(load(f, "serve: {a: [1, {b: c}], d: e}\nmodel: {n_layer: 3}\nother: 1\n"));
    assert_int_equal(f->model.n_layer, 3);
    assert_int_equal(load(f, "model: {n_lair: 3}\n"), TN_E_CONFIG);
    expect_refused(f, "serve: [[[[[[[[1]]]]]]]]\n", "x.yaml:1:15: nested more than 8 deep");

    tn_buf bomb = {0};
    assert_ok(tn_buf_puts(&bomb, "serve: "));
    for (int i = 0; i < 100000; i++) assert_ok(tn_buf_putc(&bomb, '['));
    assert_int_equal(load(f, tn_buf_text(&bomb)), TN_E_CONFIG);
    tn_buf_release(&bomb);
}

static void file__above_one_mebibyte_is_refused(void **state) {
    fixture *f = *state;
    tn_buf lines = {0};
    assert_ok(tn_buf_reserve(&lines, (1 << 20) + 1));
    for (int i = 0; i <= 1 << 20; i++) assert_ok(tn_buf_putc(&lines, '\n'));
    assert_int_equal(tn_config_load_text(&f->config, "x.yaml", lines.data, lines.len), TN_E_CONFIG);
    assert_ok(tn_config_load_text(&f->config, "x.yaml", lines.data, lines.len - 1));
    tn_buf_release(&lines);
}

static void set__wins_over_the_file_and_names_itself(void **state) {
    fixture *f = *state;
    assert_ok(load(f, "train: {max_steps: 5}\n"));
    assert_ok(tn_config_set(&f->config, "train.max_steps=2k"));
    assert_int_equal(f->train.max_steps, 2000);
    assert_ok(tn_config_set(&f->config, "method=lora"));
    assert_int_equal(f->top.method, 1);
    assert_ok(tn_config_set(&f->config, "model.base=a=b: c"));
    assert_string_equal(f->model.base, "a=b: c");
    assert_ok(tn_config_set(&f->config, "train.files=a,b"));
    assert_int_equal(f->train.files.count, 1);
    assert_ok(tn_config_set(&f->config, "train.files=[a, b]"));
    assert_int_equal(f->train.files.count, 2);
    assert_string_equal(f->train.files.items[1], "b");

    assert_int_equal(tn_config_set(&f->config, "train.max_steps=-1"), TN_E_RANGE);
    assert_string_equal(tn_error_message(), "--set train.max_steps=-1: train.max_steps: -1 is outside 0..1000000");
    assert_int_equal(tn_config_set(&f->config, "train.max_steps"), TN_E_CONFIG);
    assert_string_equal(tn_error_message(), "--set train.max_steps: expected section.key=value");
    assert_int_equal(tn_config_set(&f->config, "train.files="), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "train.files: item 1 is empty"));
    expect_refused(f, "train: {files: [a, '']}\n",
                   "x.yaml:1:16: train.files: item 2 is empty, expected a text ([] is the empty list)");
    assert_int_equal(tn_config_set(&f->config, "train.files=[a, b"), TN_E_CONFIG);
    assert_int_equal(tn_config_set(&f->config, "train.files=[a]\n- b"), TN_E_CONFIG);
    assert_int_equal(tn_config_set(&f->config, "model.base=\xff"), TN_E_TEXT);
}

static void given__are_the_keys_that_were_named(void **state) {
    fixture *f = *state;
    assert_ok(load(f, "model: {n_layer: 12}\n")); /* its default */
    assert_ok(tn_config_set(&f->config, "model.base=a"));
    assert_true(f->given[0] && f->given[3]);
    assert_false(f->given[1] || f->given[2]);
}

static void dump__loads_back_to_the_same(void **state) {
    fixture *f = *state;
    static const char *const texts[] = {
        " a",
        "- a",
        "a: b",
        "#x",
        "~",
        "it's \"so\" \\ ",
        "line\nbreak\tand\r",
        "\xe2\x80\xa8 separator",
        "*",
        "[a, b]",
        "---",
        "a/b.c-d",
        "\xef\xbb\xbf",
        "\xf0\x9f\x90\xa6 \xc3\xa9",
        "\x7f\x01",
        "", /* last, so in no list, where it is refused */
    };
    f->train.learning_rate = 0.1 + 0.2; /* needs all 17 digits */
    f->model.tokens = 999999999999999999;
    for (size_t i = 0; i < TN_COUNT(texts); i++) {
        tn_text_list list = {texts, (int)i};
        f->model.base = texts[i];
        f->train.files = list;
        tn_buf first = {0}, second = {0};
        assert_ok(tn_config_dump(&f->config, &first));
        assert_ok(tn_config_defaults(&f->config));
        assert_ok(load(f, tn_buf_text(&first)));
        assert_string_equal(f->model.base, texts[i]);
        assert_int_equal(f->train.files.count, i);
        for (size_t j = 0; j < i; j++) assert_string_equal(f->train.files.items[j], texts[j]);
        assert_true(f->train.learning_rate == 0.1 + 0.2);
        assert_int_equal(f->model.tokens, 999999999999999999);
        assert_ok(tn_config_dump(&f->config, &second));
        assert_string_equal(tn_buf_text(&first), tn_buf_text(&second));
        tn_buf_release(&first);
        tn_buf_release(&second);
    }
}

static void help__has_a_line_for_every_key(void **state) {
    fixture *f = *state;
    tn_buf out = {0};
    assert_ok(tn_config_help(&f->config, &out));
    for (int s = 0; s < f->config.n_sections; s++)
        for (int k = 0; k < f->sections[s].n_keys; k++)
            assert_non_null(strstr(tn_buf_text(&out), f->sections[s].keys[k].help));
    assert_non_null(strstr(tn_buf_text(&out), "1..512"));
    assert_non_null(strstr(tn_buf_text(&out), "0..1000000000000000000"));
    tn_buf_release(&out);
}

static void load__fails_cleanly_when_memory_is_out(void **state) {
    fixture *f = *state;
    int64_t before = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status && n < 100; n++) {
        tn_memory_fail_at(n);
        status = load(f, "train: {files: [a, b, c]}\n");
        if (status) assert_int_equal(status, TN_E_NOMEM);
    }
    tn_memory_fail_at(0);
    assert_ok(status);
    assert_int_equal(tn_memory_alive(), before);
}

static void load_file__reads_what_a_person_wrote(void **state) {
    fixture *f = *state;
    char dir[TN_TEST_PATH], path[TN_TEST_PATH + 16];
    tn_test_dir_make(dir);
    snprintf(path, sizeof path, "%s/run.yaml", dir);
    assert_ok(tn_file_write(path, "model: {n_layer: 7}\n", 20));
    assert_ok(tn_config_load_file(&f->config, path));
    assert_int_equal(f->model.n_layer, 7);
    assert_ok(tn_file_remove(path));
    assert_int_equal(tn_config_load_file(&f->config, path), TN_E_MISSING);
    tn_test_dir_remove(dir);
}

static void count__takes_suffixes_and_nothing_else(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", " 1", "1 ", "1x", "x", "0x10", "1kk", "1.5", "-", "--1", "ope", "9223372036854775808", "9300000000G"};
    int64_t v = 0;
    assert_ok(tn_parse_count("n", "12", 0, 100, &v));
    assert_int_equal(v, 12);
    assert_ok(tn_parse_count("n", "-3", -5, 100, &v));
    assert_int_equal(v, -3);
    assert_ok(tn_parse_count("n", "7G", 0, INT64_MAX, &v));
    assert_int_equal(v, 7000000000);
    assert_ok(tn_parse_count("n", "9223372036854775807", 0, INT64_MAX, &v));
    assert_true(v == INT64_MAX);
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        assert_int_equal(tn_parse_count("n", bad[i], INT64_MIN, INT64_MAX, &v), TN_E_RANGE);
    int n = 0;
    assert_int_equal(tn_parse_int("-n", "ope", 0, 9, &n), TN_E_RANGE);
    assert_string_equal(tn_error_message(), "-n: \"ope\" is not a whole number (4096, 4k, 2M)");
    assert_int_equal(tn_parse_int("-n", "4G", 0, INT32_MAX, &n), TN_E_RANGE);
}

static void real__is_finite_and_decimal(void **state) {
    (void)state;
    static const char *const bad[] = {"",   "nan", "inf", "-inf", "0x1p3", "1e999", "1e",
                                      " 1", "1 ",  "1,5", ".",    "-.",    "e5"};
    double v = 0;
    assert_ok(tn_parse_real("x", "-.5e1", -10, 10, &v));
    assert_true(v == -5);
    assert_int_equal(tn_parse_real("x", "11", -10, 10, &v), TN_E_RANGE);
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        assert_int_equal(tn_parse_real("x", bad[i], -1e308, 1e308, &v), TN_E_RANGE);
}

static void size_and_time__take_their_units(void **state) {
    (void)state;
    static const char *const bad[] = {"", "-1", "2GB", "2 GiB", "GiB", "1e30GiB"};
    int64_t bytes = 0;
    double seconds = 0;
    assert_ok(tn_parse_size("m", "512", &bytes));
    assert_int_equal(bytes, 512);
    assert_ok(tn_parse_size("m", "1.5GiB", &bytes));
    assert_int_equal(bytes, 1610612736);
    for (size_t i = 0; i < TN_COUNT(bad); i++) assert_int_equal(tn_parse_size("m", bad[i], &bytes), TN_E_RANGE);
    assert_ok(tn_parse_seconds("t", "1.5m", &seconds));
    assert_true(seconds == 90);
    assert_ok(tn_parse_seconds("t", "2h", &seconds));
    assert_true(seconds == 7200);
    assert_int_equal(tn_parse_seconds("t", "2d", &seconds), TN_E_RANGE);
}

static void bool__knows_the_words_of_both_sides(void **state) {
    (void)state;
    static const char *const yes[] = {"true", "On", "YES", "1", "enabled"}, *const no[] = {"false", "off", "No", "0",
                                                                                           "disabled"};
    bool v = false;
    for (size_t i = 0; i < TN_COUNT(yes); i++) {
        assert_ok(tn_parse_bool("b", yes[i], &v));
        assert_true(v);
        assert_ok(tn_parse_bool("b", no[i], &v));
        assert_false(v);
    }
    assert_int_equal(tn_parse_bool("b", "", &v), TN_E_RANGE);
    assert_int_equal(tn_parse_bool("b", "maybe", &v), TN_E_RANGE);
}

static void edit_distance__counts_single_changes(void **state) {
    (void)state;
    assert_int_equal(tn_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(tn_edit_distance("", "abc"), 3);
    assert_int_equal(tn_edit_distance("abc", ""), 3);
    assert_int_equal(tn_edit_distance("same", "same"), 0);
    static const char *const names[] = {"train", "eval", "export"};
    assert_string_equal(tn_nearest_name("trian", names, 3), "train");
    assert_string_equal(tn_nearest_name("exprt", names, 3), "export");
    assert_null(tn_nearest_name("serve", names, 3));
    assert_int_equal(tn_edit_distance("trian", "train"), 1);
    assert_int_equal(tn_edit_distance("1234567890123456789012345678901234567890123456789012345678901234", "1"),
                     INT_MAX);
}

static void code_point__accepts_the_shortest_form_only(void **state) {
    (void)state;
    static const char *const good[] = {"a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const uint32_t codes[] = {0x61, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0x10000, 0x10ffff};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2g",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff"};
    uint32_t code = 0;
    for (size_t i = 0; i < TN_COUNT(good); i++) {
        assert_int_equal(tn_utf8_read(good[i], strlen(good[i]), &code), strlen(good[i]));
        assert_int_equal(code, codes[i]);
    }
    for (size_t i = 0; i < TN_COUNT(bad); i++) assert_int_equal(tn_utf8_read(bad[i], strlen(bad[i]), &code), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(defaults__come_from_the_table),
        CASE(file__sets_every_type),
        CASE(list__may_be_one_scalar_or_nothing),
        CASE(empty_file__changes_nothing),
        CASE(unknown_key__names_the_nearest),
        CASE(key_of_another_trainer__is_answered_with_ours),
        CASE(key_of_another_trainer__leads_to_a_setting_that_exists),
        CASE(bad_value__is_refused_with_place_and_range),
        CASE(yaml_beyond_settings__is_refused),
        CASE(other_sections__can_be_passed_over_but_not_bombs),
        CASE(file__above_one_mebibyte_is_refused),
        CASE(set__wins_over_the_file_and_names_itself),
        CASE(given__are_the_keys_that_were_named),
        CASE(dump__loads_back_to_the_same),
        CASE(help__has_a_line_for_every_key),
        CASE(load__fails_cleanly_when_memory_is_out),
        CASE(load_file__reads_what_a_person_wrote),
        cmocka_unit_test(count__takes_suffixes_and_nothing_else),
        cmocka_unit_test(real__is_finite_and_decimal),
        cmocka_unit_test(size_and_time__take_their_units),
        cmocka_unit_test(bool__knows_the_words_of_both_sides),
        cmocka_unit_test(edit_distance__counts_single_changes),
        cmocka_unit_test(code_point__accepts_the_shortest_form_only),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
