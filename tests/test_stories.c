/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "data/stories.h"
#include "data/story_priv.h"
#include "tests/testing.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 42, TEXT_MAX = 4096, WORDS_MAX = 2000 };

static void write_story(char text[TEXT_MAX], uint64_t seed, uint64_t index) {
    tn_buf out = {0};
    assert_ok(tn_story_write(seed, index, &out));
    assert_true(out.len < TEXT_MAX);
    memcpy(text, tn_buf_text(&out), out.len + 1);
    tn_buf_release(&out);
}

static int compare_texts(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* ---- telling ---- */

static void stories__every_story_is_consistent(void **state) {
    (void)state;
    static const uint64_t seeds[] = {0, 1, SEED, UINT64_MAX};
    for (size_t s = 0; s < TN_COUNT(seeds); s++) {
        tn_buf text = {0}, why = {0};
        tn_story_report report = {0};
        for (uint64_t i = 0; i < 1000; i++) {
            assert_ok(tn_story_write(seeds[s], i, &text));
            assert_ok(tn_buf_puts(&text, "\n\n"));
        }
        assert_ok(tn_story_check(text.data, text.len, &report, &why));
        assert_string_equal(tn_buf_text(&why), "");
        assert_int_equal(report.stories, 1000);
        assert_int_equal(report.consistent, 1000);
        assert_int_equal(report.accepted, report.sentences);
        assert_in_range(report.sentences, 7 * 1000, 8 * 1000);
        tn_buf_release(&text);
        tn_buf_release(&why);
    }
}

static void stories__same_seed_and_index_same_story(void **state) {
    (void)state;
    char first[TEXT_MAX], again[TEXT_MAX], other[TEXT_MAX];
    for (uint64_t i = 0; i < 50; i++) {
        uint64_t index = i << i; /* reaches beyond 32 bits */
        write_story(first, SEED, index);
        write_story(other, SEED + 1, index);
        write_story(again, SEED, index);
        assert_string_equal(first, again);
        assert_string_not_equal(first, other);
        write_story(other, SEED, index + (UINT64_C(1) << 32));
        assert_string_not_equal(first, other);
    }
}

static void stories__story_zero_of_seed_42_stays_what_it_is(void **state) {
    (void)state;
    char text[TEXT_MAX];
    write_story(text, SEED, 0);
    assert_string_equal(
        text, "Once upon a time there lived a little girl named Mia. One sunny day her uncle took her to the "
              "park. Mia looked around and saw two rabbits and three birds. She counted them, and there were five "
              "animals. She was very glad to count so well. Mia played with the rabbits all day. "
              "That night Mia was very happy.");
}

/* tn_stories_distinct counts ways to write a story; it counts stories because no story can be written in two ways. */
static void stories__more_than_a_billion_each_with_one_reading(void **state) {
    (void)state;
    char text[TEXT_MAX];
    assert_true(tn_stories_distinct() >= 1e9);
    for (uint64_t i = 0; i < 2000; i++) {
        write_story(text, SEED, i);
        assert_int_equal(tn_story_readings(text, strlen(text)), 1);
    }
}

static void stories__ten_thousand_stories_do_not_repeat(void **state) {
    (void)state;
    enum { STORIES = 10000 };
    static char *texts[STORIES];
    char text[TEXT_MAX];
    int repeats = 0;
    for (int i = 0; i < STORIES; i++) {
        write_story(text, SEED, (uint64_t)i);
        assert_non_null(texts[i] = tn_heap_strdup(text));
    }
    qsort(texts, STORIES, sizeof texts[0], compare_texts);
    for (int i = 1; i < STORIES; i++) repeats += !strcmp(texts[i - 1], texts[i]);
    for (int i = 0; i < STORIES; i++) tn_heap_free(texts[i]);
    assert_int_equal(repeats, 0);
}

/* Adds the words of `text` that `words` lacks, in lower case; returns how many words `text` has. */
static int collect_words(char words[][16], int *distinct, const char *text) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    int count = 0;
    for (const char *at = text + strcspn(text, letters); *at; at += strcspn(at, letters), count++) {
        char word[16] = "";
        size_t len = strspn(at, letters);
        assert_true(len < sizeof word);
        for (size_t i = 0; i < len; i++) word[i] = (char)(at[i] | 0x20);
        at += len;
        int known = 0;
        while (known < *distinct && strcmp(words[known], word)) known++;
        if (known < *distinct) continue;
        assert_true(*distinct < WORDS_MAX);
        memcpy(words[(*distinct)++], word, sizeof word);
    }
    return count;
}

static void stories__are_short_plain_and_of_few_words(void **state) {
    (void)state;
    static char words[WORDS_MAX][16];
    char text[TEXT_MAX];
    int distinct = 0, total = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        write_story(text, SEED, i);
        for (const char *c = text; *c; c++) assert_in_range(*c, ' ', '~');
        assert_null(strstr(text, "  "));
        assert_ptr_equal(strstr(text, "Once upon a time"), text);
        int count = collect_words(words, &distinct, text);
        assert_in_range(count, 40, 100);
        total += count;
    }
    assert_in_range(total / 4000, 45, 75);
    assert_in_range(distinct, 200, 400);
}

/* ---- the tables ---- */

static bool has_step(const tn_story_plot *plot, int step) {
    for (int i = 0; plot->steps[i]; i++)
        if (plot->steps[i] == step) return true;
    return false;
}

static void grammar__every_step_is_in_a_plot_and_every_fact_in_a_line(void **state) {
    (void)state;
    uint32_t named = 0;
    for (int s = 1; s < tn_story_step_count; s++) {
        int plots = 0;
        for (int p = 0; p < tn_story_plot_count; p++) plots += has_step(&tn_story_plots[p], s);
        if (!plots) fail_msg("step %s is in no plot", tn_story_steps[s].name);
        for (int k = 0; k < tn_story_steps[s].count; k++) named |= tn_story_names(tn_story_steps[s].lines[k]);
    }
    assert_int_equal(named, (1u << TN_FACTS) - 1);
}

static tn_story_phrase render(tn_story_fact_id fact, tn_story_form form, int word) {
    tn_story_slot slot = {"", fact, form};
    tn_story_piece piece = {.slot = &slot};
    tn_story_phrase phrase;
    tn_story_render(&phrase, &piece, word);
    return phrase;
}

static void grammar__no_word_of_a_list_begins_another(void **state) {
    (void)state;
    tn_story_facts any = tn_story_facts_any();
    for (int f = 0; f < TN_FACTS; f++)
        for (int i = 0; any.may[f] >> i; i++)
            for (int j = 0; any.may[f] >> j; j++) {
                tn_story_phrase a = render(f, TN_FORM_TEXT, i), b = render(f, TN_FORM_TEXT, j);
                if (i == j || a.len > b.len || memcmp(a.text, b.text, a.len)) continue;
                fail_msg("%.*s begins %.*s", (int)a.len, a.text, (int)b.len, b.text);
            }
}

static void stories__running_out_of_memory_leaks_nothing(void **state) {
    (void)state;
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_buf out = {0};
        tn_memory_fail_at(n);
        status = tn_story_write_question(SEED, 0, &out);
        assert_true(status == TN_OK || status == TN_E_NOMEM);
        tn_buf_release(&out);
        assert_true(n > 1 || status);
    }
    tn_memory_fail_at(0);
    assert_int_equal(tn_memory_alive(), alive);
}

/* ---- questions ---- */

/* A row taken apart, and what its story says, read without the grammar. */
typedef struct row {
    char story[TEXT_MAX], question[TEXT_MAX], answer[TEXT_MAX];
    char hero[16];
    int numbers[16], number_count; /* the numbers of the story, in order */
} row;

static bool is_in(const char *text, const char *part) { return strstr(text, part) != NULL; }

static const char *content(const json_t *chat, size_t turn, const char *role) {
    const json_t *message = json_array_get(json_object_get(chat, "messages"), turn);
    assert_string_equal(json_string_value(json_object_get(message, "role")), role);
    return json_string_value(json_object_get(message, "content"));
}

static int number_of(const char *word, size_t len) {
    for (int value = 2; value <= 9; value++) {
        tn_story_phrase phrase = render(TN_FACT_SUM, TN_FORM_TEXT, value);
        if (phrase.len == len && !memcmp(phrase.text, word, len)) return value;
    }
    return 0;
}

/* Collect the number words of `text` into numbers[16]; returns how many there are. */
static int find_numbers(int *numbers, const char *text) {
    int count = 0;
    for (size_t len; *text; text += len + strspn(text + len, " .,!?\"")) {
        len = strcspn(text, " .,!?\"");
        int value = number_of(text, len);
        if (value && count < 16) numbers[count++] = value;
    }
    return count;
}

static void read_row(row *r, uint64_t index) {
    tn_buf out = {0};
    assert_ok(tn_story_write_question(SEED, index, &out));
    assert_int_equal(out.data[out.len - 1], '\n');
    assert_ptr_equal(strchr(out.data, '\n'), out.data + out.len - 1);
    json_t *chat = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(chat);
    assert_int_equal(json_array_size(json_object_get(chat, "messages")), 2);
    const char *user = content(chat, 0, "user"), *line = strchr(user, '\n');
    assert_true(line && strlen(user) < TEXT_MAX);
    memcpy(r->story, user, (size_t)(line - user));
    r->story[line - user] = '\0';
    strcpy(r->question, line + 1);
    strcpy(r->answer, content(chat, 1, "assistant"));
    json_decref(chat);
    tn_buf_release(&out);
    assert_int_equal(sscanf(strstr(r->story, " named "), " named %15[A-Za-z]", r->hero), 1);
    r->number_count = find_numbers(r->numbers, r->story);
}

/* Every name, color, thing and place of the answer is in the story. */
static void assert_answer_is_from_the_story(const row *r) {
    static const tn_story_fact_id facts[] = {TN_FACT_HERO, TN_FACT_ELDER, TN_FACT_TOY,  TN_FACT_DISH,  TN_FACT_COLOR,
                                             TN_FACT_SPOT, TN_FACT_PLACE, TN_FACT_FOOD, TN_FACT_ANIMAL};
    tn_story_facts any = tn_story_facts_any();
    for (size_t k = 0; k < TN_COUNT(facts); k++)
        for (int i = 0; any.may[facts[k]] >> i; i++) {
            tn_story_phrase word = render(facts[k], TN_FORM_TEXT, i);
            word.text[word.len] = '\0';
            if (is_in(r->answer, word.text) && !is_in(r->story, word.text))
                fail_msg("%s is not in the story: %s", r->answer, r->story);
        }
}

/* What the answer to "How many" is by the first two numbers of the story: two parts, or a whole and what is given. */
static int expected_number(const row *r) {
    int first = r->numbers[0], second = r->numbers[1];
    char counted[32], phrase[64];
    assert_int_equal(sscanf(r->question, "How many %31s", counted), 1);
    if (is_in(r->question, "they have?") || !strcmp(counted, "animals")) return first + second;
    if (is_in(r->question, "still have?")) return first - second;
    if (is_in(r->question, "give to")) return second;
    if (is_in(r->question, "at first?")) return first;
    if (is_in(r->question, "pick?")) return is_in(r->question, r->hero) ? first : second;
    assert_true(is_in(r->question, "see?"));
    tn_story_phrase number = render(TN_FACT_SUM, TN_FORM_TEXT, first);
    snprintf(phrase, sizeof phrase, "%.*s %s", (int)number.len, number.text, counted);
    return is_in(r->story, phrase) ? first : second;
}

/* Whether the answer to "Who" is the hero: it is for these, and the friend, a parent or an animal for the others. */
static bool expects_hero(const row *r) {
    return is_in(r->question, "Who fell") || is_in(r->question, "Who helped the") ||
           (is_in(r->question, "Who has") && !is_in(r->story, "birthday"));
}

static void questions__are_json_rows_with_right_answers(void **state) {
    (void)state;
    static row r;
    char story[TEXT_MAX];
    int how_many = 0, who = 0;
    for (uint64_t index = 0; index < 3000; index++) {
        read_row(&r, index);
        write_story(story, SEED, index);
        assert_string_equal(r.story, story);
        assert_int_equal(r.question[strlen(r.question) - 1], '?');
        assert_int_equal(r.answer[strlen(r.answer) - 1], '.');
        assert_answer_is_from_the_story(&r);
        if (is_in(r.question, "How many")) {
            int number = 0;
            assert_int_equal(find_numbers(&number, r.answer), 1);
            if (number != expected_number(&r)) fail_msg("%s %s %s", r.story, r.question, r.answer);
            how_many++;
        }
        if (is_in(r.question, "Who ")) {
            size_t len = strlen(r.hero);
            bool is_hero = !strncmp(r.answer, r.hero, len) && r.answer[len] == ' ';
            if (is_hero != expects_hero(&r)) fail_msg("%s %s %s", r.story, r.question, r.answer);
            who++;
        }
    }
    assert_true(how_many > 300 && who > 300);
}

/* The row asks this, as far as the text before the first and after the last slot tells. */
static bool is_asked(const row *r, const char *question) {
    const char *end = strrchr(question, '}') ? strrchr(question, '}') + 1 : question;
    size_t len = strlen(r->question), tail = strlen(end);
    return !strncmp(r->question, question, strcspn(question, "{")) && tail <= len &&
           !strcmp(r->question + len - tail, end);
}

static void questions__every_one_is_asked(void **state) {
    (void)state;
    static row r;
    for (int k = 0; k < tn_story_ask_count; k++) {
        uint64_t index = 0;
        do read_row(&r, index);
        while (!is_asked(&r, tn_story_asks[k].question) && ++index < 2000);
        if (index == 2000) fail_msg("never asked: %s", tn_story_asks[k].question);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories__every_story_is_consistent),
        cmocka_unit_test(stories__same_seed_and_index_same_story),
        cmocka_unit_test(stories__story_zero_of_seed_42_stays_what_it_is),
        cmocka_unit_test(stories__more_than_a_billion_each_with_one_reading),
        cmocka_unit_test(stories__ten_thousand_stories_do_not_repeat),
        cmocka_unit_test(stories__are_short_plain_and_of_few_words),
        cmocka_unit_test(stories__running_out_of_memory_leaks_nothing),
        cmocka_unit_test(grammar__every_step_is_in_a_plot_and_every_fact_in_a_line),
        cmocka_unit_test(grammar__no_word_of_a_list_begins_another),
        cmocka_unit_test(questions__are_json_rows_with_right_answers),
        cmocka_unit_test(questions__every_one_is_asked),
    };
    return cmocka_run_group_tests_name("stories", tests, NULL, NULL);
}
