/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "data/tokenizer.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

static const char story[] = "Once upon a time there was a fox. The fox saw a hen, and the hen saw the fox.\n"
                            "\xE4\xB8\x96\xE7\x95\x8C na\xC3\xAFve \"quoted\\\" caf\xC3\xA9 \xF0\x9F\x98\x80\t";

static tn_tokenizer *train(tn_tokenizer_kind kind, tn_split split) {
    static const char *const specials[] = {"<|eot_id|>", "<|\xC3\xA9\"\\|>"};
    tn_tokenizer_options options = {kind, split, 300, specials, 2};
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *tokenizer;
    assert_ok(tn_tokenizer_trainer_create(&trainer, &options));
    assert_ok(tn_tokenizer_trainer_add(trainer, story, strlen(story)));
    assert_ok(tn_tokenizer_trainer_finish(trainer, &tokenizer));
    return tokenizer;
}

static tn_tokenizer *parse(const char *text) {
    tn_tokenizer *t;
    assert_ok(tn_tokenizer_from_json(&t, "t.json", text, strlen(text)));
    return t;
}

/* The same hash, the same ids, and the same text when written again. */
static void assert_comes_back(const tn_tokenizer *t) {
    tn_buf first = {0}, second = {0};
    tn_tokenizer *back;
    char hash[17], hash_back[17];
    tn_ids ids = {0}, ids_back = {0};
    assert_ok(tn_tokenizer_to_json(t, &first));
    assert_ok(tn_tokenizer_from_json(&back, "t.json", first.data, first.len));
    assert_ok(tn_tokenizer_to_json(back, &second));
    assert_string_equal(first.data, second.data);
    tn_tokenizer_hash(t, hash);
    tn_tokenizer_hash(back, hash_back);
    assert_string_equal(hash, hash_back);
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t), *w = tn_tokenizer_vocabulary(back);
    assert_string_equal(v->chat_template, w->chat_template);
    assert_int_equal(v->add_bos, w->add_bos);
    if (tn_tokenizer_encode(t, story, strlen(story), true, &ids) == TN_OK) {
        assert_ok(tn_tokenizer_encode(back, story, strlen(story), true, &ids_back));
        assert_int_equal(ids.count, ids_back.count);
        assert_memory_equal(ids.list, ids_back.list, ids.count * sizeof *ids.list);
    }
    tn_ids_release(&ids);
    tn_ids_release(&ids_back);
    tn_buf_release(&first);
    tn_buf_release(&second);
    tn_tokenizer_free(back);
}

static void json__trained_tokenizers_come_back(void **state) {
    (void)state;
    for (int split = TN_SPLIT_GPT2; split < TN_N_SPLITS; split++) {
        tn_tokenizer *t = train(TN_TOKENIZER_BPE, (tn_split)split);
        assert_comes_back(t);
        tn_tokenizer_free(t);
    }
    tn_tokenizer *t = train(TN_TOKENIZER_CHAR, TN_SPLIT_GPT2);
    assert_comes_back(t);
    tn_tokenizer_free(t);
}

static void json__rare_types_roles_and_template_come_back(void **state) {
    (void)state;
    static const char *texts[] = {"a", "\0", "<s>", " x ", "<|user|>", "[PAD5]", "<unk>", "\n"};
    static const uint32_t lens[] = {1, 1, 3, 3, 8, 6, 5, 1};
    static const int32_t types[] = {TN_TOKEN_NORMAL, TN_TOKEN_NORMAL, TN_TOKEN_CONTROL, TN_TOKEN_USER,
                                    TN_TOKEN_USER,   TN_TOKEN_UNUSED, TN_TOKEN_UNKNOWN, TN_TOKEN_BYTE};
    tn_vocabulary v = {.kind = TN_TOKENIZER_BPE,
                       .split = TN_SPLIT_QWEN2,
                       .ignore_merges = true,
                       .add_bos = true,
                       .n_tokens = 8,
                       .texts = texts,
                       .lens = lens,
                       .types = types,
                       .bos = 2,
                       .eos = 4,
                       .eot = -1,
                       .unk = 6,
                       .pad = 5,
                       .chat_template = "{% for m in messages %}\n{{ m.content }}\xE2\x82\xAC{% endfor %}"};
    tn_tokenizer *t;
    assert_ok(tn_tokenizer_from_vocabulary(&t, &v));
    assert_comes_back(t);
    tn_tokenizer_free(t);
}

/* tokenizers numbers added tokens by itself unless the vocabulary has them. */
static void json__tokens_between_others_are_in_the_vocabulary_too(void **state) {
    (void)state;
    static const char *texts[2][3] = {{"<s>", "a", "b"}, {"a", "b", "<s>"}};
    static const uint32_t lens[2][3] = {{3, 1, 1}, {1, 1, 3}};
    static const int32_t types[2][3] = {{TN_TOKEN_CONTROL, TN_TOKEN_NORMAL, TN_TOKEN_NORMAL},
                                        {TN_TOKEN_NORMAL, TN_TOKEN_NORMAL, TN_TOKEN_CONTROL}};
    for (int last = 0; last < 2; last++) {
        tn_vocabulary v = {.kind = TN_TOKENIZER_BPE,
                           .n_tokens = 3,
                           .texts = texts[last],
                           .lens = lens[last],
                           .types = types[last],
                           .bos = -1,
                           .eos = -1,
                           .eot = -1,
                           .unk = -1,
                           .pad = -1,
                           .chat_template = ""};
        tn_tokenizer *t;
        tn_buf text = {0};
        assert_ok(tn_tokenizer_from_vocabulary(&t, &v));
        assert_comes_back(t);
        assert_ok(tn_tokenizer_to_json(t, &text));
        assert_int_equal(strstr(tn_buf_text(&text), "\"vocab\":{\"a\":1,\"b\":2,\"<s>\":0}") != NULL, !last);
        tn_buf_release(&text);
        tn_tokenizer_free(t);
    }
}

#define VOCAB                                                                                                          \
    "\"vocab\": {\"a\": 0, \"b\": 1, \"\xC4\xA0\": 2, \"ab\": 3, \"\xC4\xA0"                                           \
    "ab\": 4}"
#define BYTE_LEVEL "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}"
#define MARKS                                                                                                          \
    "\"normalizer\": {\"type\": \"Replace\", "                                                                         \
    "\"pattern\": {\"String\": \" \"}, \"content\": \"\xE2\x96\x81\"}"
#define LLAMA_SPLIT                                                                                                    \
    "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"behavior\": "             \
    "\"Isolated\", "                                                                                                   \
    "\"invert\": false, \"pattern\": {\"Regex\": "                                                                     \
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+"                                           \
    "|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}}, "         \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}"
#define BOS_TEMPLATE                                                                                                   \
    "\"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}, {\"type\": "             \
    "\"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<|begin_of_text|>\"}}, {\"Sequence\": {}}]}]}"

static void json__merges_may_be_texts_or_pairs(void **state) {
    (void)state;
    tn_tokenizer *a =
        parse("{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", " VOCAB ", \"merges\": [\"a b\", \"\xC4\xA0 ab\"]}}");
    tn_tokenizer *b = parse("{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", " VOCAB
                            ", \"merges\": [[\"a\", \"b\"], [\"\xC4\xA0\", \"ab\"]]}}");
    char x[17], y[17];
    tn_tokenizer_hash(a, x);
    tn_tokenizer_hash(b, y);
    assert_string_equal(x, y);
    tn_ids ids = {0};
    assert_ok(tn_tokenizer_encode(a, "ab ab", 5, false, &ids));
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.list[0], 3);
    assert_int_equal(ids.list[1], 4);
    tn_ids_release(&ids);
    tn_tokenizer_free(a);
    tn_tokenizer_free(b);
}

static void json__foreign_roles_are_found(void **state) {
    (void)state;
    tn_tokenizer *t = parse("{" LLAMA_SPLIT ", " BOS_TEMPLATE ", \"added_tokens\": ["
                            "{\"id\": 5, \"content\": \"<|begin_of_text|>\", \"special\": true},"
                            "{\"id\": 6, \"content\": \"<|end_of_text|>\", \"special\": true},"
                            "{\"id\": 9, \"content\": \"<|eot_id|>\", \"special\": false}],"
                            "\"model\": {\"type\": \"BPE\", \"ignore_merges\": true, " VOCAB ", \"merges\": []}}");
    const tn_vocabulary *v = tn_tokenizer_vocabulary(t);
    assert_int_equal(v->split, TN_SPLIT_LLAMA3);
    assert_true(v->ignore_merges && v->add_bos);
    assert_int_equal(v->n_tokens, 10);
    assert_int_equal(v->bos, 5);
    assert_int_equal(v->eos, 6);
    assert_int_equal(v->eot, 9);
    assert_int_equal(v->types[9], TN_TOKEN_CONTROL); /* by its shape */
    assert_int_equal(v->types[7], TN_TOKEN_UNUSED);  /* a hole */
    assert_string_equal(v->texts[8], "[PAD8]");
    assert_comes_back(t);
    tn_tokenizer_free(t);
}

static void json__what_is_not_understood_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        tn_status status;
        const char *part;
    } cases[] = {
        {"{", TN_E_FORMAT, "t.json: line 1"},
        {"[]", TN_E_UNSUPPORTED, "model.type"},
        {"{\"model\": {\"type\": \"Unigram\"}}", TN_E_UNSUPPORTED, "\"Unigram\""},
        {"{\"model\": {\"type\": \"BPE\"}}", TN_E_CORRUPT, "model.vocab"},
        {"{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}", TN_E_CORRUPT, "no tokens"},
        {"{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", TN_E_CORRUPT,
         "\"a\""},
        {"{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 4000000}, \"merges\": []}}", TN_E_CORRUPT,
         "4000000"},
        {"{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}",
         TN_E_CORRUPT, "two tokens"},
        {"{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", " VOCAB ", \"merges\": [\"ab\"]}}", TN_E_CORRUPT, "merge 0"},
        {"{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", " VOCAB ", \"merges\": [\"a q\"]}}", TN_E_CORRUPT, "\"q\""},
        {"{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", " VOCAB ", \"merges\": [\"b a\"]}}", TN_E_CORRUPT, "merge 0"},
        {"{\"model\": {\"type\": \"BPE\", " VOCAB ", \"merges\": []}}", TN_E_UNSUPPORTED, "pre_tokenizer"},
        {"{" BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", \"byte_fallback\": true, " VOCAB ", \"merges\": []}}",
         TN_E_UNSUPPORTED, "byte_fallback"},
        {"{" BYTE_LEVEL ", \"normalizer\": {\"type\": \"Lowercase\"}, \"model\": {\"type\": \"BPE\", " VOCAB
         ", \"merges\": []}}",
         TN_E_UNSUPPORTED, "Lowercase"},
        {"{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"behavior\": "
         "\"Isolated\", "
         "\"pattern\": {\"Regex\": \"\\\\w+\"}}, {\"type\": \"ByteLevel\", \"use_regex\": false}]}, "
         "\"model\": {\"type\": \"BPE\", " VOCAB ", \"merges\": []}}",
         TN_E_UNSUPPORTED, "\"\\w+\", are none that GGUF can name"},
        {"{\"pre_tokenizer\": {\"type\": \"Metaspace\"}, \"model\": {\"type\": \"BPE\", " VOCAB ", \"merges\": []}}",
         TN_E_UNSUPPORTED, "Metaspace"},
        {"{" BYTE_LEVEL ", \"decoder\": {\"type\": \"WordPiece\"}, \"model\": {\"type\": \"BPE\", " VOCAB
         ", \"merges\": []}}",
         TN_E_UNSUPPORTED, "WordPiece"},
        {"{" MARKS ", \"model\": {\"type\": \"BPE\", " VOCAB ", \"merges\": []}}", TN_E_UNSUPPORTED, "fuse_unk"},
        {"{" MARKS ", \"model\": {\"type\": \"BPE\", \"fuse_unk\": true, \"ignore_merges\": true, " VOCAB
         ", \"merges\": []}}",
         TN_E_UNSUPPORTED, "ignore_merges"},
        {"{\"model\": {\"type\": \"TernChar\", \"vocab\": {\"ab\": 0}}}", TN_E_CORRUPT, "one character"},
    };
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        tn_tokenizer *t;
        assert_int_equal(tn_tokenizer_from_json(&t, "t.json", cases[i].text, strlen(cases[i].text)), cases[i].status);
        assert_null(t);
        if (!strstr(tn_error_message(), cases[i].part))
            fail_msg("\"%s\" lacks \"%s\"", tn_error_message(), cases[i].part);
    }
}

/* A damaged text is refused, or is the text of another tokenizer; never more than that. */
static void json__damage_is_survived(void **state) {
    (void)state;
    tn_tokenizer *t = train(TN_TOKENIZER_BPE, TN_SPLIT_LLAMA3), *other;
    tn_buf text = {0}, again = {0};
    int refused = 0;
    assert_ok(tn_tokenizer_to_json(t, &text));
    for (size_t at = 0; at < text.len; at++) {
        char kept = text.data[at];
        text.data[at] = (char)(kept ^ 1 << at % 8);
        tn_status status = tn_tokenizer_from_json(&other, "t.json", text.data, text.len);
        text.data[at] = kept;
        refused += status != TN_OK;
        tn_buf_reset(&again);
        if (!status) assert_ok(tn_tokenizer_to_json(other, &again));
        if (!status) tn_tokenizer_free(other);
        if (at % 7 == 0) assert_int_not_equal(tn_tokenizer_from_json(&other, "t.json", text.data, at), TN_OK);
    }
    assert_true(refused > (int)text.len / 2);
    tn_buf_release(&text);
    tn_buf_release(&again);
    tn_tokenizer_free(t);
}

static void json__any_allocation_may_fail_and_nothing_leaks(void **state) {
    (void)state;
    tn_tokenizer *t = train(TN_TOKENIZER_BPE, TN_SPLIT_DEFAULT), *back;
    tn_buf text = {0}, again = {0};
    assert_ok(tn_tokenizer_to_json(t, &text));
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_memory_fail_at(n);
        status = tn_tokenizer_from_json(&back, "t.json", text.data, text.len);
        if (!status) {
            status = tn_tokenizer_to_json(back, &again);
            tn_tokenizer_free(back);
        }
        tn_memory_fail_at(0);
        tn_buf_release(&again);
        assert_true(status == TN_OK || status == TN_E_NOMEM);
        assert_int_equal(tn_memory_alive(), alive);
    }
    tn_buf_release(&text);
    tn_tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json__trained_tokenizers_come_back),
        cmocka_unit_test(json__rare_types_roles_and_template_come_back),
        cmocka_unit_test(json__tokens_between_others_are_in_the_vocabulary_too),
        cmocka_unit_test(json__merges_may_be_texts_or_pairs),
        cmocka_unit_test(json__foreign_roles_are_found),
        cmocka_unit_test(json__what_is_not_understood_is_refused),
        cmocka_unit_test(json__damage_is_survived),
        cmocka_unit_test(json__any_allocation_may_fail_and_nothing_leaks),
    };
    return cmocka_run_group_tests_name("tokenizer_json", tests, NULL, NULL);
}
