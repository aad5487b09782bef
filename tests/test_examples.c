/* SPDX-License-Identifier: MIT
 * Rows to documents: which tokens there are, and which are learnt. */
#include "core/fs.h"
#include "tests/example_rig.h"
#include "tests/tiny_tokens.h"
#include "tests/trainer_rig.h"

#include <stdio.h>
#include <string.h>

static const char talk[] = CHAT(U("hello") ", " A("yes") ", " U("say no") ", " A("no"));

/* ---- where answers stand ---- */

static void template__that_marks_answers_says_what_is_learnt(void **state) {
    static const struct {
        const char *name, *expected;
    } cases[] = {
        {"chatml", "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n[yes<|im_end|>]\n"
                   "<|im_start|>user\nsay no<|im_end|>\n<|im_start|>assistant\n[no<|im_end|>]\n|"},
        {"llama3", "<s><|start_header_id|>user<|end_header_id|>\n\nhello<|eot_id|><|start_header_id|>assistant<|end_"
                   "header_id|>\n\n"
                   "[yes<|eot_id|>]<|start_header_id|>user<|end_header_id|>\n\nsay no<|eot_id|>"
                   "<|start_header_id|>assistant<|end_header_id|>\n\n[no<|eot_id|>]|"},
        {"bitnet", /* " yes" is one token, which begins before the answer */
         "User: hello<|eot_id|>Assistant: yes[<|eot_id|>]User: say no<|eot_id|>Assistant: [no<|eot_id|>]|"},
        {"zephyr", "<|user|>\nhello</s>\n<|assistant|>\n[yes</s>]\n<|user|>\nsay no</s>\n<|assistant|>\n[no</s>]\n|"},
        {"none", "hello[yes]say no[no</s>]|"}, /* nothing ends the last turn, so EOS does */
    };
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        tn_assert_documents(state, t, (tn_example_options){.chat_template = cases[i].name}, talk, cases[i].expected);
    tn_tokenizer_free(t);
}

/* The same texts by templates without generation blocks. */
static void template__without_marks_is_compared_with_its_own_beginnings(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n[yes<|im_end|>]\n"
         "<|im_start|>user\nsay no<|im_end|>\n<|im_start|>assistant\n[no<|im_end|>]\n|"},
        {"{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
         "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}", /* knows no generation prompt */
         "<s>[INST] hello [/INST][ yes</s>][INST] say no [/INST][ no</s>]|"},
        {"{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}", /* neither that nor ends of turns
                                                                                        */
         "user: hello\nassistant: yes[\n]user: say no\nassistant: [no\n</s>]|"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_tokenizer *t = tn_example_tokenizer(false, cases[i].text);
        tn_assert_documents(state, t, (tn_example_options){0}, talk, cases[i].expected);
        tn_tokenizer_free(t);
    }
}

static void template__that_writes_the_past_otherwise_is_refused(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(
        false, "{% for m in messages %}{% if loop.last %}{{ '!' }}{% endif %}{{ m.content }}{% endfor %}");
    tn_assert_bad_rows(
        state, t, (tn_example_options){0}, talk,
        "a.jsonl:1: the chat template writes the messages up to messages[1] otherwise when more follow, so "
        "where the answer stands is not known");
    tn_assert_documents(state, t, (tn_example_options){.loss_on = TN_LOSS_ALL}, talk, "hel[loyessay no!no</s>]|");
    tn_tokenizer_free(t);
    t = tn_example_tokenizer(
        false, "{% for m in messages %}{% if loop.last %}{% generation %}{{ m.content }}{% endgeneration %}"
               "{% endif %}{% endfor %}");
    tn_assert_bad_rows(state, t, (tn_example_options){0}, talk,
                       "a.jsonl:1: the chat template has 1 generation blocks for 2 messages of the assistant");
    tn_tokenizer_free(t);
    t = tn_example_tokenizer(
        false, "{% if messages[0].role != 'system' %}{{ raise_exception('wants a system message') }}{% endif %}");
    tn_assert_bad_rows(state, t, (tn_example_options){0}, talk, "a.jsonl:1: wants a system message");
    tn_tokenizer_free(t);
}

/* A template that takes thoughts out of all answers but the last, as many do. */
static void template__that_forgets_thoughts_teaches_the_last_answer(void **state) {
    static const char first[] = "a.jsonl:1: the chat template writes the messages up to messages[1] otherwise",
                      last[] = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
                               "<|im_start|>user\nsay no<|im_end|>\n<|im_start|>assistant\n"
                               "[<think>\n\n</think>\n\nno<|im_end|>]\n|";
    static const char unlearnt[] =
        CHAT(U("hello") ", {\"role\": \"assistant\", \"content\": \"yes\", \"weight\": 0}, " U("say no") ", " A("no"));
    tn_buf source = {0}, log = {0};
    assert_ok(tn_file_read("tests/golden/jinja/thinking_backwards.jinja", 1 << 20, &source));
    tn_tokenizer *t = tn_example_tokenizer(false, source.data);
    tn_assert_bad_rows(state, t, (tn_example_options){0}, talk, first);
    tn_assert_documents(state, t, (tn_example_options){.loss_on = TN_LOSS_COMPLETION}, talk, last);
    tn_assert_documents(state, t, (tn_example_options){0}, unlearnt, last);
    tn_assert_bad_rows(state, t, (tn_example_options){.train_on_eos = TN_EOS_ALL}, talk, first);
    tn_hear(&log);
    tn_assert_documents(state, t, (tn_example_options){0}, CHAT(U("hello") ", " A("<think>no</think>yes")),
                        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
                        "[<think>\nno\n</think>\n\nyes<|im_end|>]\n|");
    tn_hear(NULL);
    assert_non_null(strstr(tn_buf_text(&log), "a.jsonl:1: the chat template does not write messages[1] as it stands, "
                                              "so other words than its own are learnt"));
    tn_buf_release(&log);
    tn_buf_release(&source);
    tn_tokenizer_free(t);
}

/* It knows no generation prompt either, so what it writes in front of the words would be learnt with them. */
static void template__that_hides_where_answers_begin_is_refused(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(
        false, "{% for m in messages %}{{ m.role + ': ' + m.content | upper + '</s>' }}{% endfor %}");
    tn_assert_bad_rows(state, t, (tn_example_options){0}, talk,
                       "a.jsonl:1: the chat template knows no add_generation_prompt and does not write messages[1] as "
                       "it stands");
    tn_tokenizer_free(t);
}

static void template__takes_parts_and_refuses_what_it_would_leave_out(void **state) {
    static const char parts[] = CHAT("{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"say\"}, "
                                     "{\"type\": \"text\", \"text\": \" no\"}]}, " A("no"));
    static const char calls[] =
        CHAT(U("say") ", {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"1\"}]}");
    static const char tools[] = "{\"messages\": [" U("say") ", " A("no") "], \"tools\": [{\"type\": \"function\"}]}\n";
    static const char source[] = "{% for m in messages %}{{ m.content + '\\n' }}{% endfor %}";
    tn_tokenizer *t = tn_example_tokenizer(false, source);
    tn_assert_documents(state, t, (tn_example_options){0}, parts, "say no\n[no\n</s>]|");
    tn_assert_bad_rows(state, t, (tn_example_options){0}, calls,
                       "a.jsonl:1: chat template of the model: has no place for the tool_calls of messages[1]");
    tn_assert_bad_rows(state, t, (tn_example_options){0}, tools,
                       "a.jsonl:1: chat template of the model: has no place for tools");
    tn_assert_bad_rows(state, t, (tn_example_options){.chat_template = "chatml"}, calls,
                       "a.jsonl:1: chat template chatml: has no place for the tool_calls of messages[1]");
    tn_tokenizer_free(t);
    t = tn_example_tokenizer(false, "{% for m in messages %}{% for p in m.content %}{{ p.text + '|' }}{% endfor %}"
                                    "{% endfor %}{% if add_generation_prompt %}{{ '>' }}{% endif %}");
    tn_assert_bad_rows(state, t, (tn_example_options){0}, talk, "a.jsonl:1: ");
    tn_tokenizer_free(t);
}

/* The stretches that are learnt, one after the other. */
static void gather_learnt(const char *text, tn_buf *out) {
    tn_buf_reset(out);
    for (bool learnt = false; *text; text++) {
        if (*text == '[' || *text == ']')
            learnt = *text == '[';
        else if (learnt)
            assert_ok(tn_buf_putc(out, *text));
    }
}

/* Templates as models have them: the answers are learnt, the questions are not, or a sentence says why not. */
static void template__of_any_model_teaches_answers_alone_or_is_refused(void **state) {
    static const char rows[] = CHAT("{\"role\": \"system\", \"content\": \"Rule.\"}, " U("Quest-a") ", " A(
        "Reply-a") ", " U("Quest-b") ", " A("Reply-b")) CHAT(U("Quest-a") ", " A("Reply-a"));
    tn_names files = {0};
    tn_buf source = {0}, learnt = {0};
    char path[300];
    int taught = 0, refused = 0;
    assert_ok(tn_dir_list("tests/golden/jinja", &files));
    for (size_t i = 0; i < files.count; i++) {
        if (!strstr(files.list[i], ".jinja")) continue;
        snprintf(path, sizeof path, "tests/golden/jinja/%s", files.list[i]);
        tn_buf_reset(&source);
        assert_ok(tn_file_read(path, 1 << 20, &source));
        tn_tokenizer *t = tn_example_tokenizer(false, source.data);
        tn_notes n = {.tokenizer = t};
        tn_file_report total;
        const tn_example_options options = {.rows.skips_bad = true};
        tn_status status = tn_note_examples(&n, tn_put_rows(*state, rows), &options, &total);
        gather_learnt(tn_buf_text(&n.text), &learnt);
        taught += (int)total.kept;
        refused += (int)total.dropped[TN_DROP_BAD];
        if (!status && (!strstr(tn_buf_text(&learnt), "Reply-a") || strstr(learnt.data, "Quest") ||
                        strstr(learnt.data, "Rule") || strstr(learnt.data, "user")))
            fail_msg("%s: learnt is \"%s\" of %s", path, tn_buf_text(&learnt), n.text.data);
        tn_buf_release(&n.text);
        tn_tokenizer_free(t);
    }
    print_message("  %d conversations taught, %d refused\n", taught, refused);
    assert_true(taught >= 40);
    tn_names_release(&files);
    tn_buf_release(&source);
    tn_buf_release(&learnt);
}

/* ---- what is learnt ---- */

static void loss_on__chooses_answers(void **state) {
    static const char list[] =
        "{\"prompt\": [" U("hello") ", " A("yes") ", " U("no") "], \"completion\": [" A("no") "]}";
    static const struct {
        int loss_on;
        const char *talk, *list, *text;
    } cases[] = {
        {TN_LOSS_AUTO, "hello[yes]say no[no</s>]|", "helloyesno[no</s>]|", "say[ yes</s>]|"},
        {TN_LOSS_ASSISTANT, "hello[yes]say no[no</s>]|", "hello[yes]no[no</s>]|", "say[ yes</s>]|"},
        {TN_LOSS_COMPLETION, "helloyessay no[no</s>]|", "helloyesno[no</s>]|", "say[ yes</s>]|"},
        {TN_LOSS_ALL, "hel[loyessay nono</s>]|", "hel[loyesnono</s>]|", "say[ yes</s>]|"},
    };
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        const tn_example_options options = {.chat_template = "none", .loss_on = cases[i].loss_on};
        tn_assert_documents(state, t, options, talk, cases[i].talk);
        tn_assert_documents(state, t, options, list, cases[i].list);
        tn_assert_documents(state, t, options, "{\"prompt\": \"say\", \"completion\": \" yes\"}", cases[i].text);
    }
    tn_assert_bad_rows(state, t, (tn_example_options){.loss_on = TN_LOSS_ASSISTANT}, "{\"text\": \"yes\"}",
                       "a.jsonl:1: is a text, which has no answer to learn");
    tn_tokenizer_free(t);
}

static void weights__take_messages_and_parts_out(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    const tn_example_options options = {.chat_template = "chatml"};
    tn_assert_documents(
        state, t, options,
        CHAT(U("hello") ", {\"role\": \"assistant\", \"content\": \"yes\", \"weight\": 0}, " U("say") ", " A("no")),
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
        "<|im_start|>user\nsay<|im_end|>\n<|im_start|>assistant\n[no<|im_end|>]\n|");
    tn_assert_documents(
        state, t, options,
        CHAT(U("hello") ", {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"yes\", "
                        "\"train\": false}, {\"type\": \"text\", \"text\": \" no\"}]}"),
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nyes[ no<|im_end|>]\n|");
    tn_tokenizer_free(t);
    t = tn_example_tokenizer(false, "{% for m in messages %}{% generation %}{{ 'x' }}{% endgeneration %}{% endfor %}");
    tn_assert_bad_rows(
        state, t, (tn_example_options){0},
        CHAT("{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"yes\", \"weight\": 0}]}"),
        "\"messages[0].content[0]\" is not as it stands in what the chat template wrote");
    tn_tokenizer_free(t);
}

static void train_on_eos__chooses_ends_of_turns(void **state) {
    static const char rows[] = CHAT(U("hello") ", " A("ok") ", " U("say") ", " A("no"));
    static const struct {
        int eos, loss_on;
        const char *expected;
    } cases[] = {
        {TN_EOS_TURN, TN_LOSS_AUTO,
         "User: hello<|eot_id|>Assistant: [ok<|eot_id|>]User: say<|eot_id|>Assistant: [no<|eot_id|>]|"},
        {TN_EOS_LAST, TN_LOSS_AUTO,
         "User: hello<|eot_id|>Assistant: [ok]<|eot_id|>User: say<|eot_id|>Assistant: [no<|eot_id|>]|"},
        {TN_EOS_ALL, TN_LOSS_AUTO,
         "User: hello[<|eot_id|>]Assistant: [ok<|eot_id|>]User: say[<|eot_id|>]Assistant: [no<|eot_id|>]|"},
        {TN_EOS_NONE, TN_LOSS_AUTO,
         "User: hello<|eot_id|>Assistant: [ok]<|eot_id|>User: say<|eot_id|>Assistant: [no]<|eot_id|>|"},
        {TN_EOS_NONE, TN_LOSS_ALL,
         "U[ser: hello]<|eot_id|>[Assistant: ok]<|eot_id|>[User: say]<|eot_id|>[Assistant: no]<|eot_id|>|"},
        {TN_EOS_LAST, TN_LOSS_ALL,
         "U[ser: hello]<|eot_id|>[Assistant: ok]<|eot_id|>[User: say]<|eot_id|>[Assistant: no<|eot_id|>]|"},
    };
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    for (size_t i = 0; i < TN_COUNT(cases); i++)
        tn_assert_documents(
            state, t,
            (tn_example_options){.chat_template = "bitnet", .loss_on = cases[i].loss_on, .train_on_eos = cases[i].eos},
            rows, cases[i].expected);
    for (int eos = TN_EOS_TURN; eos <= TN_EOS_NONE;
         eos++) { /* the newline behind the end is the template's, never learnt */
        const char *end = eos == TN_EOS_NONE ? "]<|im_end|>\n|" : "<|im_end|>]\n|";
        tn_notes n = {.tokenizer = t};
        assert_ok(tn_note_examples(&n, tn_put_rows(*state, rows),
                                   &(tn_example_options){.chat_template = "chatml", .train_on_eos = eos}, NULL));
        assert_string_equal(n.text.data + n.text.len - strlen(end), end);
        tn_buf_release(&n.text);
    }
    tn_tokenizer_free(t);
}

static void eot_tokens__end_turns_too(void **state) {
    static const char source[] = "{% for m in messages %}{{ m.role + ':' + m.content + '<turn>\\n' }}{% endfor %}"
                                 "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";
    static const char *const ends[] = {"<turn>"}, *const strange[] = {"<nothing>"};
    tn_tokenizer *t = tn_example_tokenizer(false, source);
    const char *row = CHAT(U("hello") ", " A("yes"));
    tn_assert_documents(state, t, (tn_example_options){0}, row, "user:hello<turn>\nassistant:[yes<turn>\n</s>]|");
    tn_file_report r = tn_assert_documents(state, t, (tn_example_options){.eot_tokens = ends, .n_eot_tokens = 1}, row,
                                           "user:hello<turn>\nassistant:[yes<turn>]\n|");
    assert_int_equal(r.turn_ends, 1);
    tn_assert_bad_rows(state, t, (tn_example_options){.eot_tokens = strange, .n_eot_tokens = 1}, row,
                       "data.eot_tokens has \"<nothing>\", which is no token of the tokenizer");
    tn_tokenizer_free(t);
}

/* ---- begin and end ---- */

static void bos__is_there_exactly_once(void **state) {
    static const char row[] = CHAT(U("hello") ", " A("yes"));
    static const struct {
        bool add_bos;
        const char *source, *expected;
    } cases[] = {
        {false, "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}", NULL},
        {true, "{{ messages[0].content }}{% generation %}{{ messages[1].content }}{% endgeneration %}",
         "<s>hello[yes</s>]|"},
        {true, "{{ bos_token + messages[0].content }}{% generation %}{{ messages[1].content }}{% endgeneration %}",
         "<s>hello[yes</s>]|"},
        {false, "{{ bos_token + messages[0].content }}{% generation %}{{ messages[1].content }}{% endgeneration %}",
         "<s>hello[yes</s>]|"},
    };
    for (size_t i = 1; i < TN_COUNT(cases); i++) {
        tn_tokenizer *t = tn_example_tokenizer(cases[i].add_bos, cases[i].source);
        tn_assert_documents(state, t, (tn_example_options){0}, row, cases[i].expected);
        tn_tokenizer_free(t);
    }
    tn_tokenizer *t = tn_example_tokenizer(true, "{{ bos_token + bos_token + messages[0].content }}{% generation %}{{ "
                                                 "messages[1].content }}{% endgeneration %}");
    tn_assert_bad_rows(state, t, (tn_example_options){0}, row,
                       "a.jsonl:1: the text begins with \"<s>\" twice, expected exactly one");
    tn_tokenizer_free(t);
    t = tn_example_tokenizer(true, "");
    tn_assert_documents(state, t, (tn_example_options){0}, "{\"text\": \"yes\"}\n{\"text\": \"<s>no\"}",
                        "<s>[yes</s>]|<s>[no</s>]|");
    tn_assert_documents(state, t, (tn_example_options){0}, "{\"prompt\": \"say\", \"completion\": \" yes</s>\"}",
                        "<s>say[ yes</s>]|");
    tn_assert_documents(state, t, (tn_example_options){.running_text = true},
                        "{\"text\": \"yes\"}\n{\"text\": \"no</s>\"}",
                        "yes+|n[o</s>]+|"); /* these are five plain tokens */
    tn_tokenizer_free(t);
}

/* ---- boundaries ---- */

static void token__that_straddles_belongs_to_the_part_before(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, "");
    const tn_example_options plain = {0};
    tn_assert_documents(state, t, plain, "{\"prompt\": \"say yes\", \"completion\": \" yes\"}", "say yes[ yes</s>]|");
    tn_assert_documents(state, t, plain, "{\"prompt\": \"say ye\", \"completion\": \"s say\"}", "say yes[ say</s>]|");
    tn_assert_documents(state, t, plain, "{\"prompt\": \"\", \"completion\": \"yes yes\"}", "yes[ yes</s>]|");
    tn_tokenizer_free(t);
}

/* Tokens that do not spell the text: it is brought into another normal form, or has what no token spells. */
static void boundary__is_found_where_tokens_do_not_spell_the_text(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(false, ""), *nfc;
    tn_vocabulary v = *tn_tokenizer_vocabulary(t);
    v.nfc = true;
    assert_ok(tn_tokenizer_from_vocabulary(&nfc, &v));
    tn_assert_documents(state, nfc, (tn_example_options){0},
                        "{\"prompt\": \"e\\u0301 say\", \"completion\": \" yese\\u0301\"}",
                        "\xC3\xA9 say[ yes\xC3\xA9</s>]|");
    tn_tokenizer_free(nfc);
    tn_tokenizer_free(t);

    static const char *texts[] = {"<unk>", "</s>", " ", "a", "b", "ab", " a"};
    static const uint32_t lens[] = {5, 4, 1, 1, 1, 2, 2};
    static const int32_t types[] = {TN_TOKEN_UNKNOWN, TN_TOKEN_CONTROL, 1, 1, 1, 1, 1};
    static const float scores[] = {0, 0, -9, -9, -9, -1, -2};
    const tn_vocabulary pieces = {.kind = TN_TOKENIZER_SPM,
                                  .n_tokens = TN_COUNT(texts),
                                  .texts = texts,
                                  .lens = lens,
                                  .types = types,
                                  .scores = scores,
                                  .prefix = TN_PREFIX_PARTS,
                                  .bos = -1,
                                  .eos = 1,
                                  .eot = -1,
                                  .unk = 0,
                                  .pad = -1,
                                  .chat_template = ""};
    assert_ok(tn_tokenizer_from_vocabulary(&t, &pieces));
    tn_assert_documents(state, t, (tn_example_options){0}, "{\"prompt\": \"b a\", \"completion\": \" abb\"}",
                        " b a[ abb</s>]|");
    tn_assert_documents(state, t, (tn_example_options){0}, "{\"prompt\": \"b xa\", \"completion\": \" axb\"}",
                        " b <unk>a[ a<unk>b</s>]|");
    tn_tokenizer_free(t);
}

/* ---- tokens and preferences ---- */

static void tokens__are_taken_as_they_are(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(true, "");
    tn_assert_documents(state, t, (tn_example_options){0}, "{\"input_ids\": [72, 64, 78], \"labels\": [72, -100, 78]}",
                        "ia[o]|");
    tn_assert_documents(state, t, (tn_example_options){.loss_on = TN_LOSS_ALL},
                        "{\"input_ids\": [72, 64, 78], \"labels\": [72, -100, 78]}", "i[ao]|");
    tn_assert_bad_rows(state, t, (tn_example_options){0}, "{\"input_ids\": [72, 4000]}",
                       "a.jsonl:1: has the token 4000, but the vocabulary has ");
    tn_tokenizer_free(t);
}

static void preference__gives_two_documents_with_one_prompt(void **state) {
    tn_tokenizer *t = tn_example_tokenizer(true, "");
    for (int loss_on = TN_LOSS_AUTO; loss_on <= TN_LOSS_ASSISTANT; loss_on++) {
        const tn_example_options options = {.chat_template = "none", .loss_on = loss_on};
        tn_assert_documents(state, t, options, "{\"prompt\": \"say\", \"chosen\": \" yes\", \"rejected\": \" no\"}",
                            "<s>say[ yes</s>]|<s>say[ no</s>]|(2)");
        tn_assert_documents(state, t, options,
                            "{\"chosen\": [" U("say") ", " A("a") ", " U("say") ", " A("b") "], \"rejected\": [" U(
                                "say") ", " A("a") ", " U("say") ", " A("c") "]}",
                            "<s>sayasay[b</s>]|<s>sayasay[c</s>]|(4)");
    }
    tn_tokenizer_free(t);
}

static void template__of_a_setting_is_kept_with_the_model(void **state) {
    char *source;
    (void)state;
    assert_ok(tn_example_template(&(tn_example_options){.chat_template = "model"}, &source));
    assert_null(source);
    assert_ok(tn_example_template(&(tn_example_options){.chat_template = "chatml"}, &source));
    assert_non_null(strstr(source, "<|im_start|>"));
    tn_heap_free(source);
    assert_int_equal(tn_example_template(&(tn_example_options){.chat_template = "chatmel"}, &source), TN_E_MISSING);
}

static void template__that_was_chosen_is_said_aloud(void **state) {
    static const char *const no_pieces[] = {NULL};
    tn_tokenizer *hinted = tn_example_tokenizer(false, ""), *bare = tn_tiny_bytes(no_pieces);
    tn_buf log = {0};
    tn_hear(&log);
    tn_assert_documents(state, hinted, (tn_example_options){0}, CHAT(U("hello") ", " A("yes")),
                        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n[yes<|im_end|>]\n|");
    assert_non_null(strstr(tn_buf_text(&log), "conversations go through chatml"));
    tn_assert_documents(state, bare, (tn_example_options){0}, CHAT(U("hello") ", " A("yes")), "hello[yes<|end|>]|");
    assert_non_null(strstr(tn_buf_text(&log), "the tokenizer has no chat template"));
    tn_hear(NULL);
    tn_buf_release(&log);
    tn_tokenizer_free(hinted);
    tn_tokenizer_free(bare);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(template__that_marks_answers_says_what_is_learnt),
        TEST(template__without_marks_is_compared_with_its_own_beginnings),
        TEST(template__that_writes_the_past_otherwise_is_refused),
        TEST(template__that_forgets_thoughts_teaches_the_last_answer),
        TEST(template__that_hides_where_answers_begin_is_refused),
        TEST(template__takes_parts_and_refuses_what_it_would_leave_out),
        TEST(template__of_any_model_teaches_answers_alone_or_is_refused),
        TEST(loss_on__chooses_answers),
        TEST(weights__take_messages_and_parts_out),
        TEST(train_on_eos__chooses_ends_of_turns),
        TEST(eot_tokens__end_turns_too),
        TEST(bos__is_there_exactly_once),
        TEST(token__that_straddles_belongs_to_the_part_before),
        TEST(boundary__is_found_where_tokens_do_not_spell_the_text),
        TEST(tokens__are_taken_as_they_are),
        TEST(preference__gives_two_documents_with_one_prompt),
        TEST(template__of_a_setting_is_kept_with_the_model),
        TEST(template__that_was_chosen_is_said_aloud),
    };
    return cmocka_run_group_tests_name("examples", tests, NULL, NULL);
}
