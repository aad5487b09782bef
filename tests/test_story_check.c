/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/rng.h"
#include "data/stories.h"
#include "data/story_priv.h"
#include "tests/testing.h"

#include <string.h>

enum { SEED = 42, TEXT_MAX = 4096 };

static tn_story_report check(const char *text, size_t len) {
    tn_story_report report = {0};
    assert_ok(tn_story_check(text, len, &report, NULL));
    return report;
}

static bool is_consistent(const char *text) {
    tn_story_report report = check(text, strlen(text));
    return report.stories == 1 && report.consistent == 1;
}

static void write_story(char text[TEXT_MAX], uint64_t seed, uint64_t index) {
    tn_buf out = {0};
    assert_ok(tn_story_write(seed, index, &out));
    assert_true(out.len < TEXT_MAX);
    memcpy(text, tn_buf_text(&out), out.len + 1);
    tn_buf_release(&out);
}

/* The n-th place (from 0) where `word` stands alone in `text`, or NULL. */
static char *find_word(char *text, const char *word, size_t len, int n) {
    for (char *at = text; *at; at++) {
        bool starts = at == text || !((at[-1] | 0x20) >= 'a' && (at[-1] | 0x20) <= 'z');
        if (!starts || strncmp(at, word, len)) continue;
        bool ends = !((at[len] | 0x20) >= 'a' && (at[len] | 0x20) <= 'z');
        if (ends && n-- == 0) return at;
    }
    return NULL;
}

/* Write `story` to `out` with the n-th `from` replaced by `to`; false when there is none. */
static bool swap_word(char out[TEXT_MAX], const char *story, tn_story_phrase from, tn_story_phrase to, int n) {
    char text[TEXT_MAX];
    strcpy(text, story);
    char *at = find_word(text, from.text, from.len, n);
    if (!at) return false;
    memcpy(out, text, (size_t)(at - text));
    out += at - text;
    memcpy(out, to.text, to.len);
    strcpy(out + to.len, at + from.len);
    return true;
}

typedef struct corruption {
    const char *name;
    tn_story_fact_id fact;
    tn_story_form form;
    int said;     /* how often a word must be said so that changing one of them is a contradiction */
    bool capital; /* look for it at the beginning of sentences */
} corruption;

static const corruption corruptions[] = {
    {"a name", TN_FACT_HERO, TN_FORM_TEXT, 2, false},
    {"she", TN_FACT_HERO, TN_FORM_HE, 1, false},
    {"She", TN_FACT_HERO, TN_FORM_HE, 1, true},
    {"her (him)", TN_FACT_HERO, TN_FORM_HIM, 1, false},
    {"her (his)", TN_FACT_HERO, TN_FORM_HIS, 1, false},
    {"girl", TN_FACT_HERO, TN_FORM_BOY, 1, false},
    {"a toy", TN_FACT_TOY, TN_FORM_TEXT, 2, false},
    {"a dish", TN_FACT_DISH, TN_FORM_TEXT, 2, false},
    {"a color", TN_FACT_COLOR, TN_FORM_TEXT, 2, false},
    {"a number", TN_FACT_SUM, TN_FORM_TEXT, 1, false},
    {"a food", TN_FACT_FOOD, TN_FORM_TEXT, 2, false},
    {"foods", TN_FACT_FOOD, TN_FORM_PLURAL, 2, false},
    {"an animal", TN_FACT_ANIMAL, TN_FORM_TEXT, 2, false},
    {"animals", TN_FACT_ANIMAL, TN_FORM_PLURAL, 2, false},
    {"a place", TN_FACT_PLACE, TN_FORM_TEXT, 2, false},
    /* Nothing on parents and hiding places: a story says them once, so another word only makes another story. */
};

static bool same_phrase(tn_story_phrase a, tn_story_phrase b) {
    return a.len == b.len && !memcmp(a.text, b.text, a.len);
}

static tn_story_phrase phrase_of(const corruption *c, int word) {
    tn_story_slot slot = {"", c->fact, c->form};
    tn_story_piece piece = {.slot = &slot, .capital = c->capital};
    tn_story_phrase phrase;
    tn_story_render(&phrase, &piece, word);
    return phrase;
}

/* Change each place where the story says `from`; returns how many there were. */
static int corrupt_phrase(const char *story, const corruption *c, tn_story_phrase from, tn_story_phrase to) {
    char wrong[TEXT_MAX];
    if (!swap_word(wrong, story, from, to, c->said - 1)) return 0;
    int n = 0;
    for (; swap_word(wrong, story, from, to, n); n++)
        if (is_consistent(wrong)) fail_msg("not noticed: %s in %s", c->name, wrong);
    return n;
}

/* Every word of the fact's list in turn, replaced by the next one that is spelled otherwise. */
static int corrupt_story(const char *story, const corruption *c) {
    tn_story_facts any = tn_story_facts_any();
    uint64_t may = any.may[c->fact];
    tn_story_phrase last = {.len = 0};
    int corrupted = 0;
    for (int i = 63; i >= 0; i--) {
        if (!(may >> i & 1)) continue;
        tn_story_phrase from = phrase_of(c, i);
        if (last.len && !same_phrase(from, last)) {
            corrupted += corrupt_phrase(story, c, from, last);
            corrupted += corrupt_phrase(story, c, last, from);
        }
        last = from;
    }
    return corrupted;
}

static void judge__notices_one_wrong_word(void **state) {
    (void)state;
    char story[TEXT_MAX];
    for (size_t k = 0; k < TN_COUNT(corruptions); k++) {
        int corrupted = 0;
        for (uint64_t index = 0; index < 150; index++) {
            write_story(story, SEED, index);
            corrupted += corrupt_story(story, &corruptions[k]);
        }
        print_message("%-10s %5d times wrong, each time noticed\n", corruptions[k].name, corrupted);
        assert_true(corrupted >= 20);
    }
}

/* Cut a story of the writer's into sentences, each with its trailing space. */
static int cut_sentences(const char *story, const char *starts[16]) {
    int count = 0;
    starts[count++] = story;
    for (const char *at = story; *at; at++) {
        const char *next = at + (at[1] == '"') + 1;
        if (!strchr(".!?", *at) || *next != ' ' || (next[1] >= 'a' && next[1] <= 'z')) continue;
        assert_true(count < 15);
        starts[count++] = next + 1;
    }
    starts[count] = story + strlen(story);
    return count;
}

/* Put sentences together in the given order; one past the end is left out. */
static void join_sentences(char out[TEXT_MAX], const char *starts[16], int count, const int *order, int n) {
    *out = '\0';
    for (int i = 0; i < n; i++) {
        if (order[i] >= count) continue;
        strncat(out, starts[order[i]], (size_t)(starts[order[i] + 1] - starts[order[i]]));
        if (out[strlen(out) - 1] != ' ') strcat(out, " ");
    }
}

static void judge__notices_sentences_dropped_doubled_or_swapped(void **state) {
    (void)state;
    char story[TEXT_MAX], wrong[TEXT_MAX];
    const char *starts[16];
    for (uint64_t index = 0; index < 200; index++) {
        write_story(story, SEED, index);
        int count = cut_sentences(story, starts), order[17];
        for (int i = 0; i < count; i++) order[i] = i;
        join_sentences(wrong, starts, count, order, count);
        assert_true(is_consistent(wrong));
        for (int i = 0; i < count; i++) {
            order[i] = count;
            join_sentences(wrong, starts, count, order, count);
            assert_false(is_consistent(wrong));
            order[i] = i;
            order[count] = i;
            join_sentences(wrong, starts, count, order, count + 1);
            assert_false(is_consistent(wrong));
            for (int j = i + 1; j < count; j++) {
                order[i] = j, order[j] = i;
                join_sentences(wrong, starts, count, order, count);
                assert_false(is_consistent(wrong));
                order[i] = i, order[j] = j;
            }
        }
    }
}

static void judge__notices_a_story_cut_anywhere(void **state) {
    (void)state;
    char story[TEXT_MAX];
    for (uint64_t index = 0; index < 20; index++) {
        write_story(story, SEED, index);
        for (size_t len = strlen(story); len-- > 0;) {
            tn_story_report report = check(story, len);
            assert_int_equal(report.consistent, 0);
            assert_int_equal(report.stories, len > 0);
        }
    }
}

static void judge__rejects_sentences_the_grammar_cannot_write(void **state) {
    (void)state;
    static const char *const rejected[] = {
        "The cat sat on the mat.",
        "Once upon a time there was a little girl named Tim.", /* a boy's name */
        "Once upon a time there was a little girl named Lilly.",
        "once upon a time there was a little girl named Lily.",
        "Once upon a time there was a little girl named Lily",
        "Once upon a time there was a little girl named Lily!",
        "She had a orange ball and played with it every day.",
        "She had an red ball and played with it every day.",
        "One day she could not find the red red ball.",
        "Lily picked three pears, and Lily picked two pears.", /* her own friend */
        "Lily picked three pears, and Tim picked two plums.",
        "Lily picked nine pears, and Tim picked two pears.",
        "Soon she saw two cats and three cats.",
        "Tim looked under the bed, but  it was not there.",
        "{Hero} looked {at_spot}, but it was not there.",
        "!",
        "\"",
        "...",
    };
    for (size_t i = 0; i < TN_COUNT(rejected); i++) {
        tn_story_report report = check(rejected[i], strlen(rejected[i]));
        if (report.sentences < 1 || report.accepted) fail_msg("accepted: %s", rejected[i]);
    }
    const char *accepted = "She had an orange ball and played with it every day.";
    assert_int_equal(check(accepted, strlen(accepted)).accepted, 1);
}

/* The word is wrong only beside the others, so each sentence is fine and the story is not. */
static void judge__tells_a_wrong_fact_from_a_wrong_sentence(void **state) {
    (void)state;
    static const char text[] =
        "Once upon a time there was a kind girl named Lily. One day she went to pick pears with her friend Tim. Lily "
        "picked three pears, and Tim picked two pears. They put all the pears in a red basket. Now they had six "
        "pears. They took the basket home, and her mom made a big pear pie. It was the best pear pie they ever ate.\n\n"
        "Once upon a time there was a kind girl named Lily. She went mad.";
    tn_story_report report = {0};
    tn_buf why = {0};
    assert_ok(tn_story_check(text, strlen(text), &report, &why));
    assert_int_equal(report.stories, 2);
    assert_int_equal(report.consistent, 0);
    assert_int_equal(report.sentences, 9);
    assert_int_equal(report.accepted, 8);
    assert_string_equal(why.data, "story 1, sentence 5 contradicts what was said before: Now they had six pears.\n"
                                  "story 2, sentence 2 is not in the grammar: She went mad.\n");
    tn_buf_release(&why);
}

static void judge__finds_stories_between_separators(void **state) {
    (void)state;
    static const char *const separators[] = {
        "\n\n", "\n \t\r\n", "\r\n\r\n", "<|endoftext|>", "\n<|endoftext|>\n", " <|endoftext|><|endoftext|> \n\n\n"};
    char story[TEXT_MAX];
    for (size_t s = 0; s < TN_COUNT(separators); s++) {
        tn_buf text = {0};
        for (uint64_t i = 0; i < 4; i++) {
            write_story(story, SEED, i);
            assert_ok(tn_buf_puts(&text, story));
            assert_ok(tn_buf_puts(&text, separators[s]));
        }
        tn_story_report report = check(text.data, text.len);
        assert_int_equal(report.stories, 4);
        assert_int_equal(report.consistent, 4);
        tn_buf_release(&text);
    }
    tn_story_report nothing = check(" \n\n <|endoftext|>\t", 18);
    assert_int_equal(nothing.stories + nothing.sentences, 0);
    assert_int_equal(check(NULL, 0).stories, 0);
}

static void judge__adds_to_the_report(void **state) {
    (void)state;
    char story[TEXT_MAX];
    tn_story_report report = {0};
    write_story(story, SEED, 0);
    for (int i = 1; i <= 3; i++) {
        assert_ok(tn_story_check(story, strlen(story), &report, NULL));
        assert_int_equal(report.stories, i);
        assert_int_equal(report.consistent, i);
    }
}

/* Random damage in a piece of memory of exactly its size, so that a sanitizer sees one byte read too far. */
static void judge__survives_any_bytes(void **state) {
    (void)state;
    tn_rng rng = tn_rng_make(SEED, TN_PURPOSE_TEST, 0);
    uint64_t draws = 0;
    char story[TEXT_MAX];
    for (uint64_t round = 0; round < 3000; round++) {
        write_story(story, SEED, round);
        size_t len = (size_t)tn_rng_below(&rng, draws++, strlen(story) + 1);
        char *text = tn_heap_zalloc(1, len + !len);
        assert_non_null(text);
        memcpy(text, story + tn_rng_below(&rng, draws++, strlen(story) - len + 1), len);
        for (uint64_t hits = tn_rng_below(&rng, draws++, 6); len && hits > 0; hits--) {
            size_t at = (size_t)tn_rng_below(&rng, draws++, len);
            text[at] = (char)tn_rng_below(&rng, draws++, 256);
        }
        tn_buf why = {0};
        tn_story_report report = {0};
        assert_ok(tn_story_check(text, len, &report, &why));
        assert_true(report.accepted <= report.sentences && report.consistent <= report.stories);
        tn_buf_release(&why);
        tn_heap_free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judge__notices_one_wrong_word),
        cmocka_unit_test(judge__notices_sentences_dropped_doubled_or_swapped),
        cmocka_unit_test(judge__notices_a_story_cut_anywhere),
        cmocka_unit_test(judge__rejects_sentences_the_grammar_cannot_write),
        cmocka_unit_test(judge__tells_a_wrong_fact_from_a_wrong_sentence),
        cmocka_unit_test(judge__finds_stories_between_separators),
        cmocka_unit_test(judge__adds_to_the_report),
        cmocka_unit_test(judge__survives_any_bytes),
    };
    return cmocka_run_group_tests_name("story_check", tests, NULL, NULL);
}
