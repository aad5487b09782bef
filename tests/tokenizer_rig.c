/* SPDX-License-Identifier: MIT */
#include "tests/tokenizer_rig.h"

#include "core/rng.h"
#include "core/utf8.h"
#include "tests/testing.h"

#include <string.h>

size_t tn_test_random_text(uint32_t stream, char *out, int n_characters) {
    static const uint32_t first[] = {'a', ' ', '0', '!', 0xC0, 0x300, 0x4E00, 0x1F600, 0x9, 0x2000, 0x2581};
    static const uint32_t count[] = {26, 1, 10, 15, 200, 64, 3000, 64, 2, 12, 1};
    tn_rng rng = tn_rng_make(7, TN_PURPOSE_TEST, stream);
    size_t len = 0;
    for (int i = 0; i < n_characters; i++) {
        uint64_t kind = tn_rng_below(&rng, 2 * (uint64_t)i, TN_COUNT(first));
        uint64_t offset = tn_rng_below(&rng, 2 * (uint64_t)i + 1, count[kind]);
        len += tn_utf8_encode(first[kind] + (uint32_t)offset, out + len);
    }
    return len;
}

size_t tn_test_random_bytes(uint32_t stream, char *out, int n_characters) {
    tn_rng rng = tn_rng_make(8, TN_PURPOSE_TEST, stream);
    size_t len = tn_test_random_text(stream, out, n_characters), kept = 0;
    for (size_t i = 0; i < len; i++) {
        uint64_t fate = tn_rng_below(&rng, 2 * i, 10);
        if (fate == 0) continue;
        out[kept++] = fate == 1 ? (char)tn_rng_below(&rng, 2 * i + 1, 256) : out[i];
    }
    return kept;
}

void tn_test_round_trip(const tn_tokenizer *tokenizer, const char *text, size_t len, bool specials) {
    tn_ids ids = {0};
    tn_buf back = {0};
    assert_ok(tn_tokenizer_encode(tokenizer, text, len, specials, &ids));
    assert_ok(tn_tokenizer_decode_all(tokenizer, ids.list, ids.count, specials, &back));
    assert_int_equal(back.len, len);
    assert_memory_equal(tn_buf_text(&back), text, len);
    tn_buf_release(&back);
    tn_ids_release(&ids);
}

void tn_test_round_trips(const tn_tokenizer *tokenizer) {
    static const char *const chosen[] = {"",    " ",     "  ", "\n", " \t x ", "\xE2\x96\x81", " \xE2\x96\x81 a",
                                         "<s>", "<0x0A>"};
    char text[TN_TEST_TEXT];
    for (size_t i = 0; i < TN_COUNT(chosen); i++) tn_test_round_trip(tokenizer, chosen[i], strlen(chosen[i]), i % 2);
    tn_test_round_trip(tokenizer, "a\0b", 3, false);
    for (uint32_t k = 0; k < 100; k++) {
        int n = 1 + (int)k * 4;
        tn_test_round_trip(tokenizer, text, tn_test_random_text(k, text, n), k % 2);
        tn_test_round_trip(tokenizer, text, tn_test_random_bytes(k, text, n), k % 2);
    }
}

void tn_test_ids(const tn_tokenizer *tokenizer, const char *text, bool specials, const int32_t *expected, size_t n) {
    tn_ids ids = {0};
    assert_ok(tn_tokenizer_encode(tokenizer, text, strlen(text), specials, &ids));
    for (size_t i = 0; i < TN_MIN(n, ids.count); i++)
        if (ids.list[i] != expected[i])
            fail_msg("\"%s\": token %zu is %d, expected %d", text, i, (int)ids.list[i], (int)expected[i]);
    assert_int_equal(ids.count, n);
    tn_ids_release(&ids);
}

void tn_test_same_tokenizer(const tn_tokenizer *a, const tn_tokenizer *b) {
    char hash_a[17], hash_b[17];
    tn_tokenizer_hash(a, hash_a);
    tn_tokenizer_hash(b, hash_b);
    assert_string_equal(hash_a, hash_b);
    assert_int_equal(tn_tokenizer_vocabulary(a)->add_bos, tn_tokenizer_vocabulary(b)->add_bos);
    assert_string_equal(tn_tokenizer_vocabulary(a)->chat_template, tn_tokenizer_vocabulary(b)->chat_template);
}

void tn_test_json_round_trip(const tn_tokenizer *tokenizer) {
    tn_buf text = {0};
    tn_tokenizer *back;
    assert_ok(tn_tokenizer_to_json(tokenizer, &text));
    assert_ok(tn_tokenizer_from_json(&back, "written", tn_buf_text(&text), text.len));
    tn_test_same_tokenizer(tokenizer, back);
    tn_tokenizer_free(back);
    tn_buf_release(&text);
}
