/* SPDX-License-Identifier: MIT
 * What the files beside a tokenizer.json say of its special tokens and of its chat template. The vocabulary: letters,
 * 71 <|eot_id|>, 72 [INST], and four more that are added here. */
#include "core/fs.h"
#include "core/log.h"
#include "models/hf_tokenizer.h"
#include "tests/hf_folder.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

enum { EOT = 71, BEGIN = 73, END, OTHER, PAD };

typedef struct fixture {
    char dir[TN_TEST_PATH];
    tn_hf_config config;
    tn_tokenizer *tokenizer;
    char warnings[1024];
} fixture;

/* tokenizer.json with and without a step that adds its begin token. */
static void write_tokenizer(const fixture *f, bool adds_bos) {
    char text[2048];
    const char *const letters = "\"a\":0,\"b\":1,\"c\":2,\"d\":3";
    int n =
        snprintf(text, sizeof text,
                 "{\"added_tokens\":[{\"id\":%d,\"content\":\"<|eot_id|>\",\"special\":true},"
                 "{\"id\":%d,\"content\":\"<begin>\",\"special\":true},{\"id\":%d,\"content\":\"<end>\",\"special\":"
                 "true},{\"id\":%d,\"content\":\"<other>\",\"special\":true},{\"id\":%d,\"content\":\"<pad>\","
                 "\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                 "\"add_prefix_space\":false,\"use_regex\":true},\"decoder\":{\"type\":\"ByteLevel\"},",
                 EOT, BEGIN, END, OTHER, PAD);
    n += snprintf(text + n, sizeof text - (size_t)n,
                  "\"post_processor\":%s,\"model\":{\"type\":\"BPE\",\"vocab\":{%s},\"merges\":[]}}",
                  adds_bos ? "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<begin>\"}},"
                             "{\"Sequence\":{\"id\":\"A\"}}]}"
                           : "null",
                  letters);
    assert_true(n < (int)sizeof text);
    tn_test_hf_file(f->dir, "tokenizer.json", text);
}

static void keep(void *context, tn_log_level level, const char *room, const char *text) {
    fixture *f = context;
    const size_t len = strlen(f->warnings);
    (void)room;
    if (level == TN_LOG_WARN) snprintf(f->warnings + len, sizeof f->warnings - len, "%s\n", text);
}

static int set_up(void **state) {
    static fixture f;
    f = (fixture){.config = {.bos = -1}};
    tn_test_dir_make(f.dir);
    write_tokenizer(&f, false);
    tn_log_set_sink(keep, &f);
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tn_log_set_sink(NULL, NULL);
    tn_tokenizer_free(f->tokenizer);
    tn_test_dir_remove(f->dir);
    return 0;
}

static const tn_vocabulary *load(fixture *f) {
    tn_tokenizer_free(f->tokenizer);
    f->tokenizer = NULL;
    f->warnings[0] = '\0';
    assert_ok(tn_hf_tokenizer_load(&f->tokenizer, f->dir, &f->config));
    return tn_tokenizer_vocabulary(f->tokenizer);
}

static void roles__of_a_bare_tokenizer_are_told_by_names(void **state) {
    fixture *f = *state;
    const tn_vocabulary *v = load(f);
    assert_true(v->bos == -1 && v->eos == -1 && v->eot == EOT && v->pad == -1 && !v->add_bos);
    assert_string_equal(v->chat_template, "");
    write_tokenizer(f, true);
    v = load(f);
    assert_true(v->bos == BEGIN && v->add_bos);
    assert_string_equal(f->warnings, "");
}

static void roles__come_from_the_files_beside(void **state) {
    fixture *f = *state;
    f->config.bos = OTHER; /* tokenizer_config.json knows better */
    f->config.eos = (tn_hf_ids){.list = {END}, .count = 1};
    tn_test_hf_file(f->dir, "tokenizer_config.json",
                    "{\"bos_token\":\"<begin>\",\"eos_token\":{\"content\":\"<|eot_id|>\"},\"pad_token\":\"<pad>\","
                    "\"add_bos_token\":true,\"model_max_length\":1000000000000000019884624838656}");
    const tn_vocabulary *v = load(f);
    assert_true(v->bos == BEGIN && v->eos == END && v->eot == EOT && v->pad == PAD && v->add_bos);
    assert_true(tn_tokenizer_is_stop(f->tokenizer, END) && tn_tokenizer_is_stop(f->tokenizer, EOT));
    tn_test_hf_file(f->dir, "tokenizer_config.json", "{\"add_bos_token\":false,\"eos_token\":null}");
    tn_test_hf_file(f->dir, "special_tokens_map.json",
                    "{\"bos_token\":{\"content\":\"<begin>\"},\"pad_token\":\"<x>\"}");
    write_tokenizer(f, true);
    v = load(f);
    assert_true(v->bos == BEGIN && !v->add_bos && v->pad == -1 && v->eos == END);
    assert_string_equal(f->warnings, "");
}

static void ends__are_those_of_both_files_and_what_is_lost_is_said(void **state) {
    fixture *f = *state;
    f->config.eos = (tn_hf_ids){.list = {END}, .count = 1};
    tn_test_hf_file(f->dir, "generation_config.json", "{\"eos_token_id\":[74,71]}");
    const tn_vocabulary *v = load(f);
    assert_true(v->eos == END && v->eot == EOT);
    assert_string_equal(f->warnings, "");
    tn_test_hf_file(f->dir, "generation_config.json", "{\"eos_token_id\":[75,71,9999]}");
    v = load(f);
    assert_true(v->eos == END && v->eot == EOT);
    assert_non_null(strstr(f->warnings, "eos_token_id 75 will not end a text"));
    assert_non_null(strstr(f->warnings, "eos_token_id 9999 is no token"));
    /* One that ends documents and turns alike leaves room for another. */
    f->config.eos = (tn_hf_ids){.list = {EOT}, .count = 1};
    v = load(f);
    assert_true(v->eos == EOT && v->eot == OTHER);
    f->config.eos = (tn_hf_ids){.count = 0};
    tn_test_hf_file(f->dir, "generation_config.json", "{\"eos_token_id\":null}");
    tn_test_hf_file(f->dir, "tokenizer_config.json", "{\"eos_token\":\"<end>\"}");
    v = load(f);
    assert_true(v->eos == END && v->eot == EOT);
}

static void template__is_found_wherever_it_stands(void **state) {
    fixture *f = *state;
    tn_test_hf_file(f->dir, "tokenizer_config.json", "{\"chat_template\":\"{{ one }}\"}");
    assert_string_equal(load(f)->chat_template, "{{ one }}");
    tn_test_hf_file(f->dir, "tokenizer_config.json",
                    "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"{{ two }}\"},{\"name\":\"default\","
                    "\"template\":\"{{ three }}\"},{\"name\":\"rag\",\"template\":\"{{ four }}\"}]}");
    assert_string_equal(load(f)->chat_template, "{{ three }}");
    tn_test_hf_file(f->dir, "tokenizer_config.json",
                    "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"{{ two }}\"},{\"name\":\"rag\","
                    "\"template\":\"{{ four }}\"}]}");
    assert_string_equal(load(f)->chat_template, "{{ two }}");
    tn_test_hf_file(f->dir, "chat_template.jinja", "{{ five }}\n");
    assert_string_equal(load(f)->chat_template, "{{ five }}\n");
}

static void files__that_cannot_be_are_refused(void **state) {
    fixture *f = *state;
    static const struct {
        const char *name, *text, *words;
        tn_status status;
    } rows[] = {
        {"generation_config.json", "{", "generation_config.json: line 1", TN_E_FORMAT},
        {"generation_config.json", "[]", "generation_config.json: is no JSON object", TN_E_FORMAT},
        {"generation_config.json", "{\"eos_token_id\":1.5}", "expected ids of tokens", TN_E_CORRUPT},
        {"tokenizer_config.json", "{\"add_bos_token\":1}", "add_bos_token is the number 1", TN_E_CORRUPT},
        {"tokenizer_config.json", "{\"chat_template\":7}", "chat_template is the number 7", TN_E_CORRUPT},
        {"tokenizer_config.json", "{\"chat_template\":[7]}", "entry 0 of chat_template has no", TN_E_CORRUPT},
        {"tokenizer_config.json", "{\"chat_template\":[{\"name\":\"a\"}]}", "entry 0 of chat_template", TN_E_CORRUPT},
        {"special_tokens_map.json", "x", "special_tokens_map.json: line 1", TN_E_FORMAT},
        {"tokenizer.json", "{}", "tokenizer.json: ", TN_E_UNSUPPORTED},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        tn_test_hf_file(f->dir, rows[i].name, rows[i].text);
        tn_tokenizer *tokenizer;
        const tn_status status = tn_hf_tokenizer_load(&tokenizer, f->dir, &f->config);
        if (status != rows[i].status || !strstr(tn_error_message(), rows[i].words))
            fail_msg("%s: got %s: %s", rows[i].text, tn_status_name(status), tn_error_message());
        tn_test_hf_file(f->dir, rows[i].name, "{}");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(roles__of_a_bare_tokenizer_are_told_by_names),
        TEST(roles__come_from_the_files_beside),
        TEST(ends__are_those_of_both_files_and_what_is_lost_is_said),
        TEST(template__is_found_wherever_it_stands),
        TEST(files__that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests_name("hf_tokenizer", tests, NULL, NULL);
}
