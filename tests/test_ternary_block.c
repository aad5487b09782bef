/* SPDX-License-Identifier: MIT
 * The vectors are the reference ones of each layout: 256 codes of a linear congruential generator, scale 0.5. */
#include "formats/gguf.h"
#include "formats/ternary_block.h"
#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct layout {
    int type;
    int64_t run;
    const char *vector;
} layout;

static const layout layouts[] = {
    {TN_GGML_I2_S, 128,
     "a65022695894040428224682162585a02a01042195658514021a2a9852909586264444905a912a95a2510482556090106a5620a468a904882"
     "5"
     "60966a66018655"
     "0000003f00000000000000000000000000000000000000000000000000000000"},
    {TN_GGML_TQ1_0, 256,
     "f47341a786d30a0c4e4166b42e47bae454050a3fd59db829073755dc7ac8d6bcf62a4392aa96c367e9902a429cab5975bbcb1a170038"},
    {TN_GGML_TQ2_0, 256,
     "9a05886925161010288891829458520aa84010485659521480a4a8268506569298111106a546a8568a45108255090604a995081a296a10225"
     "8"
     "0996a9994092550038"},
};

static void make_states(int8_t *states, int count) {
    uint32_t x = 1;
    for (int i = 0; i < count; i++) {
        x = (x * 1103515245u + 12345u) & 0x7fffffffu;
        states[i] = (int8_t)((x >> 16) % 3) - 1;
    }
}

static void to_hex(const unsigned char *data, size_t len, char *hex) {
    for (size_t i = 0; i < len; i++) sprintf(hex + 2 * i, "%02x", data[i]);
}

static void ternary_block__packs_the_reference_vectors(void **state) {
    (void)state;
    int8_t states[256], back[256];
    make_states(states, 256);
    for (size_t i = 0; i < TN_COUNT(layouts); i++) {
        unsigned char packed[96];
        char hex[193];
        size_t bytes;
        float scale = 0;
        assert_ok(tn_ggml_type_bytes(layouts[i].type, 256, 1, &bytes));
        assert_true(bytes <= sizeof packed);
        assert_ok(tn_ternary_pack(layouts[i].type, states, 1, 256, 0.5f, packed));
        to_hex(packed, bytes, hex);
        assert_string_equal(hex, layouts[i].vector);
        assert_ok(tn_ternary_unpack(layouts[i].type, "t", packed, 1, 256, back, &scale));
        assert_memory_equal(back, states, sizeof states);
        assert_true(scale == 0.5f);
    }
}

static void ternary_block__unpacking_gives_back_what_was_packed(void **state) {
    (void)state;
    enum { ROWS = 5, COLS = 768 };
    static int8_t states[ROWS * COLS], back[ROWS * COLS];
    static unsigned char packed[ROWS * COLS];
    make_states(states, ROWS * COLS);
    memset(states, 0, 256); /* a block of zeros too */
    for (size_t i = 0; i < TN_COUNT(layouts); i++) {
        float scale;
        assert_ok(tn_ternary_pack(layouts[i].type, states, ROWS, COLS, 0.0625f, packed));
        assert_ok(tn_ternary_unpack(layouts[i].type, "t", packed, ROWS, COLS, back, &scale));
        assert_memory_equal(back, states, sizeof states);
        assert_true(scale == 0.0625f);
    }
}

static void ternary_block__rows_are_parts_of_the_tensor(void **state) {
    (void)state;
    enum { ROWS = 5, COLS = 512 };
    static int8_t states[ROWS * COLS], back[ROWS * COLS];
    static unsigned char whole[ROWS * COLS], pieces[ROWS * COLS];
    make_states(states, ROWS * COLS);
    for (size_t i = 0; i < TN_COUNT(layouts); i++) {
        const int type = layouts[i].type;
        size_t bytes, three;
        float scale = 0;
        unsigned char tail[TN_TERNARY_TAIL_MAX];
        assert_ok(tn_ggml_type_bytes(type, COLS, ROWS, &bytes));
        assert_ok(tn_ternary_pack(type, states, ROWS, COLS, 0.25f, whole));
        const size_t behind = tn_ternary_tail(type, 0.25f, tail);
        three = (bytes - behind) / ROWS * 3;
        assert_ok(tn_ternary_pack_rows(type, states, 3, COLS, 0.25f, pieces));
        assert_ok(tn_ternary_pack_rows(type, states + 3 * COLS, 2, COLS, 0.25f, pieces + three));
        memcpy(pieces + bytes - behind, tail, behind);
        assert_memory_equal(pieces, whole, bytes);
        for (int first = 0; first <= ROWS; first++)
            for (int count = first < ROWS; count <= ROWS - first; count++) {
                memset(back, 7, sizeof back);
                assert_ok(
                    tn_ternary_unpack_rows(type, "t", whole, ROWS, COLS, first, count, back + first * COLS, &scale));
                assert_memory_equal(back + first * COLS, states + first * COLS, (size_t)count * COLS);
                if (count) assert_true(scale == 0.25f);
                assert_true(!first || back[first * COLS - 1] == 7);
                assert_true(first + count == ROWS || back[(first + count) * COLS] == 7);
            }
    }
}

/* Let the digits of every byte spell each number below 243 once. */
static void ternary_block__tq1_0_holds_every_digit_group(void **state) {
    (void)state;
    for (int q = 0; q < 243; q++) {
        int8_t states[256], back[256];
        unsigned char packed[54];
        float d;
        for (int i = 0; i < 256; i++) {
            int digit = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
            int rest = q;
            for (int n = 0; n < digit; n++) rest /= 3;
            states[i] = (int8_t)(rest % 3) - 1;
        }
        assert_ok(tn_ternary_pack(TN_GGML_TQ1_0, states, 1, 256, 1, packed));
        assert_ok(tn_ternary_unpack(TN_GGML_TQ1_0, "t", packed, 1, 256, back, &d));
        assert_memory_equal(back, states, 256);
    }
}

static void ternary_block__bad_requests_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(layouts); i++) {
        const layout *l = &layouts[i];
        int8_t states[512] = {0};
        unsigned char packed[512];
        float scale;
        assert_int_equal(tn_ternary_pack(l->type, states, 1, l->run - 1, 1, packed), TN_E_SHAPE);
        assert_int_equal(tn_ternary_pack(l->type, states, -1, l->run, 1, packed), TN_E_SHAPE);
        assert_int_equal(tn_ternary_unpack(l->type, "t", packed, 1, l->run + 32, states, &scale), TN_E_SHAPE);
        assert_int_equal(tn_ternary_pack(l->type, states, 1, l->run, 0, packed), TN_E_RANGE);
        assert_int_equal(tn_ternary_pack(l->type, states, 1, l->run, -1, packed), TN_E_RANGE);
        assert_int_equal(tn_ternary_pack(l->type, states, 1, l->run, NAN, packed), TN_E_RANGE);
        states[l->run - 1] = 2;
        assert_int_equal(tn_ternary_pack(l->type, states, 1, l->run, 1, packed), TN_E_RANGE);
        states[l->run - 1] = -2;
        assert_int_equal(tn_ternary_pack(l->type, states, 1, l->run, 1, packed), TN_E_RANGE);
    }
    int8_t states[256] = {0};
    unsigned char packed[66];
    assert_int_equal(tn_ternary_pack(TN_GGML_TQ2_0, states, 1, 256, 1e6f, packed), TN_E_RANGE);
    assert_int_equal(tn_ternary_pack(TN_GGML_TQ1_0, states, 1, 256, 1e-9f, packed), TN_E_RANGE);
}

static void ternary_block__code_three_is_damage(void **state) {
    (void)state;
    int8_t states[256] = {0};
    unsigned char i2_s[96], tq2_0[66];
    float scale;
    assert_ok(tn_ternary_pack(TN_GGML_I2_S, states, 1, 256, 1, i2_s));
    assert_ok(tn_ternary_pack(TN_GGML_TQ2_0, states, 1, 256, 1, tq2_0));
    for (int byte = 0; byte < 64; byte++)
        for (int shift = 0; shift < 8; shift += 2) {
            int kept = i2_s[byte];
            i2_s[byte] = tq2_0[byte] = (unsigned char)(kept | 3 << shift);
            assert_int_equal(tn_ternary_unpack(TN_GGML_I2_S, "blk.0", i2_s, 1, 256, states, &scale), TN_E_CORRUPT);
            assert_int_equal(tn_ternary_unpack(TN_GGML_TQ2_0, "blk.0", tq2_0, 1, 256, states, &scale), TN_E_CORRUPT);
            assert_non_null(strstr(tn_error_message(), "blk.0"));
            i2_s[byte] = tq2_0[byte] = (unsigned char)kept;
        }
    assert_ok(tn_ternary_unpack(TN_GGML_I2_S, "t", i2_s, 1, 256, states, &scale));
}

static void ternary_block__impossible_scales_are_damage(void **state) {
    (void)state;
    int8_t states[512] = {0};
    unsigned char packed[160];
    float scale = 1;
    const float bad[] = {-1, NAN, INFINITY};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        assert_ok(tn_ternary_pack(TN_GGML_I2_S, states, 1, 128, 1, packed));
        memcpy(packed + 32, &bad[i], sizeof bad[i]);
        assert_int_equal(tn_ternary_unpack(TN_GGML_I2_S, "t", packed, 1, 128, states, &scale), TN_E_CORRUPT);
    }
    memset(packed + 32, 0, 4); /* of a matrix of zeros, as some write it */
    assert_ok(tn_ternary_unpack(TN_GGML_I2_S, "t", packed, 1, 128, states, &scale));
    assert_true(scale == 0);
    assert_ok(tn_ternary_pack(TN_GGML_TQ2_0, states, 2, 256, 1, packed));
    packed[65] = 0xbc; /* -1 */
    assert_int_equal(tn_ternary_unpack(TN_GGML_TQ2_0, "t", packed, 2, 256, states, &scale), TN_E_CORRUPT);
    packed[65] = 0x7c; /* infinity */
    assert_int_equal(tn_ternary_unpack(TN_GGML_TQ2_0, "t", packed, 2, 256, states, &scale), TN_E_CORRUPT);
    packed[65] = 0x40; /* 2 and then 1 */
    assert_int_equal(tn_ternary_unpack(TN_GGML_TQ2_0, "t", packed, 2, 256, states, &scale), TN_E_CORRUPT);
}

static void ternary_block__a_foreign_block_of_zeros_has_no_scale(void **state) {
    (void)state;
    int8_t states[512], back[512];
    unsigned char packed[108];
    float d;
    make_states(states, 512);
    assert_ok(tn_ternary_pack(TN_GGML_TQ1_0, states, 2, 256, 0.5f, packed));
    packed[52] = packed[53] = 0;
    assert_ok(tn_ternary_unpack(TN_GGML_TQ1_0, "t", packed, 2, 256, back, &d));
    assert_true(d == 0.5f);
    for (int i = 0; i < 256; i++) assert_int_equal(back[i], 0);
    assert_memory_equal(back + 256, states + 256, 256);
}

static void ternary_block__type_sizes_are_the_formats(void **state) {
    (void)state;
    size_t bytes;
    assert_ok(tn_ggml_type_bytes(TN_GGML_I2_S, 2560, 6912, &bytes));
    assert_int_equal(bytes, 4423712);
    assert_ok(tn_ggml_type_bytes(TN_GGML_F16, 2560, 128256, &bytes));
    assert_int_equal(bytes, 656670720);
    assert_ok(tn_ggml_type_bytes(TN_GGML_TQ1_0, 512, 3, &bytes));
    assert_int_equal(bytes, 6 * 54);
    assert_int_equal(tn_ggml_type_bytes(12, 256, 1, &bytes), TN_E_UNSUPPORTED);
    assert_int_equal(tn_ggml_type_bytes(TN_GGML_F32, INT64_MAX / 2, 3, &bytes), TN_E_SHAPE);
    assert_string_equal(tn_ggml_type_name(TN_GGML_I2_S), "I2_S");
    assert_string_equal(tn_ggml_type_name(12), "Q4_K");
    assert_string_equal(tn_ggml_type_name(77), "type 77");
    assert_ok(tn_ggml_type_bytes(TN_GGML_Q6_K, 2560, 128256, &bytes));
    assert_int_equal(bytes, 269337600);
    assert_ok(tn_ggml_type_bytes(TN_GGML_Q8_0, 64, 3, &bytes));
    assert_int_equal(bytes, 204);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ternary_block__packs_the_reference_vectors),
        cmocka_unit_test(ternary_block__unpacking_gives_back_what_was_packed),
        cmocka_unit_test(ternary_block__rows_are_parts_of_the_tensor),
        cmocka_unit_test(ternary_block__tq1_0_holds_every_digit_group),
        cmocka_unit_test(ternary_block__bad_requests_are_refused),
        cmocka_unit_test(ternary_block__code_three_is_damage),
        cmocka_unit_test(ternary_block__impossible_scales_are_damage),
        cmocka_unit_test(ternary_block__a_foreign_block_of_zeros_has_no_scale),
        cmocka_unit_test(ternary_block__type_sizes_are_the_formats),
    };
    return cmocka_run_group_tests_name("ternary_block", tests, NULL, NULL);
}
