/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "data/chat_template.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

static const char talk[] = "[{\"role\": \"system\", \"content\": \"Be brief.\"},"
                           " {\"role\": \"user\", \"content\": \" What is 2+2? \"},"
                           " {\"role\": \"assistant\", \"content\": \"4\"},"
                           " {\"role\": \"user\", \"content\": \"Sure?\"}]";

static tn_status render(const tn_chat_template *t, const char *messages, tn_chat chat, tn_chat_text *out) {
    json_t *json = json_loads(messages, 0, NULL);
    chat.messages = json;
    tn_status status = tn_chat_template_render(t, &chat, out);
    json_decref(json);
    return status;
}

static void assert_builtin(const char *name, const char *messages, const char *expected, const char *answer) {
    const tn_chat chat = {.bos = "<s>", .eos = "</s>", .add_generation_prompt = true};
    tn_chat_template *t;
    tn_chat_text out = {0};
    assert_ok(tn_chat_template_open(&t, name));
    assert_ok(render(t, messages, chat, &out));
    assert_string_equal(tn_buf_text(&out.text), expected);
    assert_int_equal(out.begins_with_bos, strncmp(expected, "<s>", 3) == 0);
    assert_int_equal(out.answers.count, answer != NULL);
    if (answer) {
        const tn_jinja_span *span = out.answers.list;
        assert_int_equal(span->end - span->begin, strlen(answer));
        assert_memory_equal(out.text.data + span->begin, answer, strlen(answer));
    }
    tn_chat_text_release(&out);
    tn_chat_template_free(t);
}

static void builtin__writes_what_its_models_were_taught(void **state) {
    (void)state;
    assert_builtin("llama3", talk,
                   "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
                   "<|start_header_id|>user<|end_header_id|>\n\nWhat is 2+2?<|eot_id|>"
                   "<|start_header_id|>assistant<|end_header_id|>\n\n4<|eot_id|>"
                   "<|start_header_id|>user<|end_header_id|>\n\nSure?<|eot_id|>"
                   "<|start_header_id|>assistant<|end_header_id|>\n\n",
                   "4<|eot_id|>");
    assert_builtin("chatml", talk,
                   "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n What is 2+2? <|im_end|>\n"
                   "<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n",
                   "4<|im_end|>");
    assert_builtin("zephyr", talk,
                   "<|system|>\nBe brief.</s>\n<|user|>\n What is 2+2? </s>\n<|assistant|>\n4</s>\n"
                   "<|user|>\nSure?</s>\n<|assistant|>\n",
                   "4</s>");
    assert_builtin("alpaca", talk,
                   "Be brief.\n\n### Instruction:\n What is 2+2? \n\n### Response:\n4</s>\n\n"
                   "### Instruction:\nSure?\n\n### Response:\n",
                   "4</s>");
    assert_builtin("plain", talk, "Be brief.\nWhat is 2+2? 4</s>\nSure?", " 4</s>");
    assert_builtin("none", talk, "Be brief. What is 2+2? 4Sure?", "4");
    assert_builtin("bitnet",
                   "[{\"role\": \"system\", \"content\": \"You are a helpful assistant.\"},"
                   " {\"role\": \"user\", \"content\": \"What is 2+2?\"}]",
                   "System: You are a helpful assistant.<|eot_id|>User: What is 2+2?<|eot_id|>Assistant: ", NULL);
}

/* The template of the 2B4T repository, which many files carry. */
static void builtin__bitnet_is_the_template_of_its_repository(void **state) {
    (void)state;
    tn_buf source = {0};
    tn_chat_text ours = {0}, theirs = {0};
    tn_chat_template *t, *other;
    assert_ok(tn_file_read("tests/golden/jinja/bitnet_2b4t.jinja", 1 << 20, &source));
    assert_ok(tn_chat_template_create(&other, "repository", source.data, source.len));
    assert_ok(tn_chat_template_open(&t, "bitnet"));
    for (int prompt = 0; prompt < 2; prompt++) {
        const tn_chat chat = {.add_generation_prompt = prompt};
        assert_ok(render(t, talk, chat, &ours));
        assert_ok(render(other, talk, chat, &theirs));
        assert_string_equal(ours.text.data, theirs.text.data);
        assert_int_equal(theirs.answers.count, 0);
    }
    tn_chat_template_free(t);
    tn_chat_template_free(other);
    tn_chat_text_release(&ours);
    tn_chat_text_release(&theirs);
    tn_buf_release(&source);
}

static void builtin__alpaca_without_a_system_message_begins_as_it_was_trained(void **state) {
    (void)state;
    assert_builtin("alpaca", "[{\"role\": \"user\", \"content\": \"Hi\"}]",
                   "Below is an instruction that describes a task. Write a response that appropriately completes the "
                   "request.\n\n### Instruction:\nHi\n\n### Response:\n",
                   NULL);
}

static void builtin__takes_text_parts_and_no_content(void **state) {
    (void)state;
    assert_builtin("chatml",
                   "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"text\": \"b\"}]},"
                   " {\"role\": \"tool\", \"content\": null}, {\"role\": \"tool\"}]",
                   "<|im_start|>user\nab<|im_end|>\n<|im_start|>tool\n<|im_end|>\n<|im_start|>tool\n<|im_end|>\n"
                   "<|im_start|>assistant\n",
                   NULL);
}

static void builtin__names_are_all_there(void **state) {
    (void)state;
    static const char *const wanted[] = {"llama3", "chatml", "bitnet", "zephyr", "alpaca", "plain", "none"};
    int count;
    const char *const *names = tn_chat_template_names(&count);
    assert_int_equal(count, TN_COUNT(wanted));
    for (int i = 0; i < count; i++) assert_string_equal(names[i], wanted[i]);
}

/* ---- files and texts ---- */

static void file__is_a_template_too(void **state) {
    tn_test_files *f = *state;
    static const char source[] = "{{ bos_token }}{{ messages[0].content }}{{ greeting }}{{ tools }}{{ documents }}\n";
    tn_chat_template *t;
    tn_chat_text out = {0};
    json_t *variables = json_loads("{\"greeting\": \"hello\", \"bos_token\": \"<b>\"}", 0, NULL);
    snprintf(f->path, sizeof f->path, "%s/chat.jinja", f->dir);
    assert_ok(tn_file_write(f->path, source, sizeof source - 1));
    assert_ok(tn_chat_template_open(&t, f->path));
    assert_ok(render(t, talk, (tn_chat){.bos = "<s>", .variables = variables}, &out));
    assert_string_equal(out.text.data, "<b>Be brief.helloNoneNone");
    assert_false(out.begins_with_bos);
    assert_ok(render(t, talk, (tn_chat){.bos = "<s>"}, &out));
    assert_string_equal(out.text.data, "<s>Be brief.NoneNone");
    assert_true(out.begins_with_bos);
    assert_ok(render(t, talk, (tn_chat){.eos = "x"}, &out));
    assert_string_equal(out.text.data, "Be brief.NoneNone");
    assert_false(out.begins_with_bos);
    tn_chat_text_release(&out);
    tn_chat_template_free(t);
    json_decref(variables);
}

static void tools__reach_the_template(void **state) {
    (void)state;
    static const char source[] = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ strftime_now('%Y') }}";
    tn_chat_template *t;
    tn_chat_text out = {0};
    json_t *tools = json_loads("[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]", 0, NULL);
    assert_ok(tn_chat_template_create(&t, "m.gguf", source, sizeof source - 1));
    assert_ok(render(t, talk, (tn_chat){.tools = tools, .now = 1722000000}, &out));
    assert_string_equal(out.text.data, "{\"type\": \"function\", \"function\": {\"name\": \"f\"}}2024");
    tn_chat_text_release(&out);
    tn_chat_template_free(t);
    json_decref(tools);
}

/* ---- sentences ---- */

static void assert_refused(const char *setting, const char *messages, tn_chat chat, tn_status status,
                           const char *sentence) {
    tn_chat_template *t = NULL;
    tn_chat_text out = {0};
    tn_status got = tn_chat_template_open(&t, setting);
    if (!got) got = render(t, messages, chat, &out);
    if (got != status || !strstr(tn_error_message(), sentence))
        fail_msg("%s \"%s\", expected %s \"%s\"", tn_status_name(got), tn_error_message(), tn_status_name(status),
                 sentence);
    assert_int_equal(out.text.len, 0);
    tn_chat_text_release(&out);
    tn_chat_template_free(t);
}

static void messages__that_are_none_are_refused(void **state) {
    (void)state;
    json_t *tools = json_loads("[{}]", 0, NULL), *text = json_string("x");
    const tn_chat plain = {.eos = "</s>"}, tooled = {.tools = tools}, mistaken = {.variables = text};
    assert_refused("chatml", "{}", plain, TN_E_ARG, "messages: expected a list");
    assert_refused("chatml", "[7]", plain, TN_E_ARG, "messages[0]: expected an object");
    assert_refused("chatml", "[{\"role\": \"user\"}, {\"role\": 1}]", plain, TN_E_ARG,
                   "messages[1]: has no \"role\" that is a string");
    assert_refused("chatml", "[{\"role\": \"user\", \"content\": 1}]", plain, TN_E_ARG,
                   "messages[0].content: expected a string or text parts");
    assert_refused("chatml", "[{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]", plain, TN_E_ARG,
                   "messages[0].content: a part of type \"image\", expected \"text\"");
    assert_refused("chatml", talk, tooled, TN_E_UNSUPPORTED, "chat template chatml: has no place for tools");
    assert_refused("chatml", talk, mistaken, TN_E_ARG, "variables of the chat template: expected an object");
    assert_refused("chatml", talk, (tn_chat){.bos = "\xFF"}, TN_E_TEXT, "bos_token");
    assert_refused("zephyr", talk, (tn_chat){.bos = NULL}, TN_E_MISMATCH, "\"eos_token\" is undefined");
    assert_refused("alpaca", "[{\"role\": \"user\", \"content\": \"\"}, {\"role\": \"tool\", \"content\": \"\"}]",
                   plain, TN_E_ARG, "alpaca: message 2 is of the role tool");
    json_decref(tools);
    json_decref(text);
}

static void setting__that_names_nothing_is_refused(void **state) {
    tn_test_files *f = *state;
    assert_refused(
        "lama3", "[]", (tn_chat){0}, TN_E_MISSING,
        "chat template \"lama3\" is neither a file nor one of llama3, chatml, bitnet, zephyr, alpaca, plain, none (did "
        "you mean llama3?)");
    assert_ok(tn_file_write(f->path, "{% if %}", 8));
    assert_refused(f->path, "[]", (tn_chat){0}, TN_E_FORMAT, "line 1, column 7: unexpected %}, expected a value");
}

static void memory__may_run_out_anywhere(void **state) {
    (void)state;
    const tn_chat chat = {.bos = "<s>", .eos = "</s>", .add_generation_prompt = true};
    int64_t before = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_chat_template *t = NULL;
        tn_chat_text out = {0};
        tn_memory_fail_at(n);
        status = tn_chat_template_open(&t, "llama3");
        if (!status) status = render(t, talk, chat, &out);
        tn_memory_fail_at(0);
        if (status) assert_int_equal(status, TN_E_NOMEM);
        tn_chat_text_release(&out);
        tn_chat_template_free(t);
    }
    assert_int_equal(tn_memory_alive(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builtin__writes_what_its_models_were_taught),
        cmocka_unit_test(builtin__bitnet_is_the_template_of_its_repository),
        cmocka_unit_test(builtin__alpaca_without_a_system_message_begins_as_it_was_trained),
        cmocka_unit_test(builtin__takes_text_parts_and_no_content),
        cmocka_unit_test(builtin__names_are_all_there),
        cmocka_unit_test_setup_teardown(file__is_a_template_too, tn_test_files_set_up, tn_test_files_tear_down),
        cmocka_unit_test(tools__reach_the_template),
        cmocka_unit_test(messages__that_are_none_are_refused),
        cmocka_unit_test_setup_teardown(setting__that_names_nothing_is_refused, tn_test_files_set_up,
                                        tn_test_files_tear_down),
        cmocka_unit_test(memory__may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
