/* SPDX-License-Identifier: MIT
 * Files that Tern's writer would not make: other integer kinds, other alignments, and lies of every sort. */
#include "core/fs.h"
#include "formats/gguf.h"
#include "tests/damage.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

/* ---- making them by hand ---- */

static void put(tn_buf *b, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) assert_ok(tn_buf_putc(b, (char)(value >> (8 * i))));
}

static void put_string(tn_buf *b, const char *text) {
    put(b, strlen(text), 8);
    assert_ok(tn_buf_puts(b, text));
}

static void put_head(tn_buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys) {
    tn_buf_reset(b);
    assert_ok(tn_buf_puts(b, "GGUF"));
    put(b, version, 4);
    put(b, n_tensors, 8);
    put(b, n_keys, 8);
}

static void put_key(tn_buf *b, const char *key, uint32_t kind) {
    put_string(b, key);
    put(b, kind, 4);
}

static void put_tensor(tn_buf *b, const char *name, int n_dims, const uint64_t *ne, uint32_t type, uint64_t offset) {
    put_string(b, name);
    put(b, (uint64_t)n_dims, 4);
    for (int i = 0; i < n_dims; i++) put(b, ne[i], 8);
    put(b, type, 4);
    put(b, offset, 8);
}

static void put_zeros_to(tn_buf *b, size_t size) {
    while (b->len < size) put(b, 0, 1);
}

static tn_status open_bytes(const tn_test_files *f, const tn_buf *b, tn_gguf **file) {
    FILE *out = fopen(f->path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(b->data, 1, b->len, out), b->len);
    assert_int_equal(fclose(out), 0);
    return tn_gguf_open(file, f->path);
}

static void expect(const tn_test_files *f, const tn_buf *b, tn_status status, const char *words_of_message) {
    tn_gguf *file;
    tn_status found = open_bytes(f, b, &file);
    tn_gguf_close(file);
    if (found != status) fail_msg("%s: got %s: %s", words_of_message, tn_status_name(found), tn_error_message());
    if (status && !strstr(tn_error_message(), words_of_message)) fail_msg("message: %s", tn_error_message());
}

static void gguf_reader__every_integer_kind_converts(void **state) {
    tn_test_files *f = *state;
    const struct {
        tn_gguf_kind kind;
        int bytes;
        uint64_t bits;
        int64_t value;
    } rows[] = {{TN_GGUF_U8, 1, 200, 200},
                {TN_GGUF_I8, 1, 0x80, -128},
                {TN_GGUF_U16, 2, 65535, 65535},
                {TN_GGUF_I16, 2, 0xfffe, -2},
                {TN_GGUF_U32, 4, ~0u, 4294967295},
                {TN_GGUF_I32, 4, ~0u, -1},
                {TN_GGUF_U64, 8, 1ull << 62, 1ll << 62},
                {TN_GGUF_I64, 8, ~0ull, -1}};
    tn_buf b = {0};
    tn_gguf *file;
    int64_t value;
    put_head(&b, 2, 0, TN_COUNT(rows) + 1);
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        char key[2] = {(char)('a' + i), '\0'};
        put_key(&b, key, rows[i].kind);
        put(&b, rows[i].bits, rows[i].bytes);
    }
    put_key(&b, "huge", TN_GGUF_U64);
    put(&b, 1ull << 63, 8);
    assert_ok(open_bytes(f, &b, &file));
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        char key[2] = {(char)('a' + i), '\0'};
        assert_ok(tn_gguf_get_int(file, key, &value));
        assert_int_equal(value, rows[i].value);
    }
    assert_int_equal(tn_gguf_get_int(file, "huge", &value), TN_E_CORRUPT);
    tn_gguf_close(file);
    tn_buf_release(&b);
}

static void gguf_reader__heads_that_lie_are_refused(void **state) {
    tn_test_files *f = *state;
    tn_buf b = {0};
    assert_ok(tn_buf_puts(&b, "GGU"));
    expect(f, &b, TN_E_FORMAT, "is not a GGUF file");
    put_head(&b, 1, 0, 0);
    expect(f, &b, TN_E_FORMAT, "version 1");
    put_head(&b, 4, 0, 0);
    expect(f, &b, TN_E_FORMAT, "version 4");
    put_head(&b, 3u << 24, 0, 0);
    expect(f, &b, TN_E_FORMAT, "big-endian");
    put_head(&b, 3, 0, UINT64_MAX);
    expect(f, &b, TN_E_CORRUPT, "keys");
    put_head(&b, 3, UINT64_MAX, 0);
    expect(f, &b, TN_E_CORRUPT, "tensors");
    put_head(&b, 3, 0, 0);
    expect(f, &b, TN_OK, "an empty file");
    tn_buf_release(&b);
}

static void gguf_reader__bad_keys_are_refused(void **state) {
    tn_test_files *f = *state;
    tn_buf b = {0};
    put_head(&b, 3, 0, 1);
    put_key(&b, "", TN_GGUF_U8);
    put(&b, 1, 8);
    expect(f, &b, TN_E_CORRUPT, "empty");
    put_head(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) put_key(&b, "same", TN_GGUF_U8), put(&b, 1, 1);
    expect(f, &b, TN_E_CORRUPT, "\"same\" is there twice");
    put_head(&b, 3, 0, 1);
    put(&b, 1ull << 60, 8);
    put(&b, 0, 8);
    expect(f, &b, TN_E_CORRUPT, "at most 65535");
    put_head(&b, 3, 0, 1);
    put_key(&b, "k", 13);
    put(&b, 0, 8);
    expect(f, &b, TN_E_CORRUPT, "value kind 13");
    put_head(&b, 3, 0, 1);
    put_key(&b, "k", TN_GGUF_BOOL);
    put(&b, 2, 1);
    expect(f, &b, TN_E_CORRUPT, "truth value");
    put_head(&b, 3, 0, 1);
    put_key(&b, "k", TN_GGUF_STRING);
    put(&b, 1ull << 31, 8);
    expect(f, &b, TN_E_CORRUPT, "at most");
    put_head(&b, 3, 0, 1);
    put_key(&b, "general.alignment", TN_GGUF_U32);
    put(&b, 24, 4);
    expect(f, &b, TN_E_CORRUPT, "power of two");
    tn_buf_release(&b);
}

static void gguf_reader__own_keys_come_in_pairs(void **state) {
    tn_test_files *f = *state;
    tn_buf b = {0};
    put_head(&b, 3, 0, 1);
    put_key(&b, "tern.version", TN_GGUF_U32);
    put(&b, 1, 4);
    expect(f, &b, TN_E_CORRUPT, "checksum is missing");
    put_head(&b, 3, 0, 1);
    put_key(&b, "tern.checksum", TN_GGUF_STRING);
    put_string(&b, "00000000000000000000000000000000");
    expect(f, &b, TN_E_CORRUPT, "checksum does not match");
    put_head(&b, 3, 0, 1);
    put_key(&b, "tern.quantization", TN_GGUF_STRING);
    put_string(&b, "none");
    expect(f, &b, TN_OK, "other keys of ours need no checksum");
    tn_buf_release(&b);
}

static void gguf_reader__bad_arrays_are_refused(void **state) {
    tn_test_files *f = *state;
    tn_buf b = {0};
    put_head(&b, 3, 0, 1);
    put_key(&b, "k", TN_GGUF_ARRAY);
    put(&b, TN_GGUF_ARRAY, 4);
    put(&b, 0, 8);
    expect(f, &b, TN_E_CORRUPT, "array of arrays");
    const uint64_t counts[] = {3, 1ull << 30, 1ull << 61, UINT64_MAX};
    for (size_t i = 0; i < TN_COUNT(counts); i++) {
        put_head(&b, 3, 0, 1);
        put_key(&b, "k", TN_GGUF_ARRAY);
        put(&b, i % 2 ? TN_GGUF_STRING : TN_GGUF_F64, 4);
        put(&b, counts[i], 8);
        put(&b, 0, 8);
        put(&b, 0, 8);
        expect(f, &b, TN_E_CORRUPT, "more than the file holds");
    }
    put_head(&b, 3, 0, 1);
    put_key(&b, "k", TN_GGUF_ARRAY);
    put(&b, TN_GGUF_STRING, 4);
    put(&b, 2, 8);
    put(&b, 1, 8);
    put(&b, 0, 8);
    expect(f, &b, TN_E_CORRUPT, "cut short");
    tn_buf_release(&b);
}

/* One tensor over 64 bytes of data. */
static void expect_tensor(const tn_test_files *f, const char *name, int n_dims, const uint64_t *ne, uint32_t type,
                          uint64_t offset, tn_status status, const char *message) {
    tn_buf b = {0};
    put_head(&b, 3, 1, 0);
    put_tensor(&b, name, n_dims, ne, type, offset);
    put_zeros_to(&b, TN_ROUND_UP(b.len, 32) + 64);
    expect(f, &b, status, message);
    tn_buf_release(&b);
}

static void gguf_reader__bad_tensors_are_refused(void **state) {
    tn_test_files *f = *state;
    const char long_name[] = "a234567890123456789012345678901234567890123456789012345678901234";
#define NE(...) ((const uint64_t[]){__VA_ARGS__})
    expect_tensor(f, "t", 1, NE(16), TN_GGML_F32, 0, TN_OK, "t");
    expect_tensor(f, "t", 2, NE(128, 1), TN_GGML_I2_S, 0, TN_OK, "t");
    expect_tensor(f, "t", 0, NE(0), TN_GGML_F32, 0, TN_OK, "t");
    expect_tensor(f, "t", 1, NE(17), TN_GGML_F32, 0, TN_E_CORRUPT, "cut short");
    expect_tensor(f, "", 1, NE(16), TN_GGML_F32, 0, TN_E_CORRUPT, "empty");
    expect_tensor(f, long_name, 1, NE(16), TN_GGML_F32, 0, TN_E_CORRUPT, "at most 63");
    expect_tensor(f, "t", 5, NE(1, 1, 1, 1, 1), TN_GGML_F32, 0, TN_E_CORRUPT, "5 dimensions");
    expect_tensor(f, "t", 1, NE(16), TN_GGML_F32, 32, TN_E_CORRUPT, "offset 32, expected 0");
    expect_tensor(f, "t", 1, NE(1ull << 63), TN_GGML_F32, 0, TN_E_CORRUPT, "impossible shape");
    expect_tensor(f, "t", 2, NE(1ull << 40, 1ull << 40), TN_GGML_F32, 0, TN_E_CORRUPT, "impossible shape");
    expect_tensor(f, "t", 4, NE(0, 1ull << 40, 1ull << 40, 2), TN_GGML_F32, 0, TN_E_CORRUPT, "impossible shape");
    expect_tensor(f, "t", 2, NE(64, 1), TN_GGML_I2_S, 0, TN_E_CORRUPT, "blocks of 128");
    expect_tensor(f, "t", 1, NE(16), 12, 0, TN_E_UNSUPPORTED, "type id 12");
    expect_tensor(f, "t", 1, NE(16), UINT32_MAX, 0, TN_E_UNSUPPORTED, "type id -1");
}

static void gguf_reader__tensors_must_lie_back_to_back(void **state) {
    tn_test_files *f = *state;
    const uint64_t offsets[] = {32, 0, 16, 64, UINT64_MAX};
    tn_buf b = {0};
    for (size_t i = 0; i < TN_COUNT(offsets); i++) {
        put_head(&b, 3, 2, 0);
        put_tensor(&b, "a", 1, NE(3), TN_GGML_F32, 0);
        put_tensor(&b, "b", 1, NE(3), TN_GGML_F32, offsets[i]);
        put_zeros_to(&b, TN_ROUND_UP(b.len, 32) + 128);
        expect(f, &b, i ? TN_E_CORRUPT : TN_OK, "expected 32");
    }
    put_head(&b, 3, 2, 0);
    for (int i = 0; i < 2; i++) put_tensor(&b, "a", 1, NE(3), TN_GGML_F32, (uint64_t)i * 32);
    put_zeros_to(&b, 512);
    expect(f, &b, TN_E_CORRUPT, "twice");
    tn_buf_release(&b);
}

static void gguf_reader__another_alignment_is_followed(void **state) {
    tn_test_files *f = *state;
    tn_buf b = {0};
    tn_gguf *file;
    put_head(&b, 3, 2, 1);
    put_key(&b, "general.alignment", TN_GGUF_U32);
    put(&b, 128, 4);
    put_tensor(&b, "a", 1, NE(1), TN_GGML_F32, 0);
    put_tensor(&b, "b", 1, NE(1), TN_GGML_F32, 128);
    size_t begin = TN_ROUND_UP(b.len, 128);
    put_zeros_to(&b, begin);
    put(&b, 0x3f800000, 4);
    put_zeros_to(&b, begin + 128);
    put(&b, 0x40000000, 4); /* and no padding behind the last one */
    assert_ok(open_bytes(f, &b, &file));
    float a, c;
    memcpy(&a, tn_gguf_find(file, "a")->data, 4);
    memcpy(&c, tn_gguf_find(file, "b")->data, 4);
    assert_true(a == 1 && c == 2);
    tn_gguf_close(file);
    tn_buf_release(&b);
}

/* ---- damage ---- */

/* Whatever opens must be safe to look at from end to end. */
static void look_at_all(void *context, const char *path, size_t at) {
    (void)at;
    tn_gguf *file;
    unsigned *sum = context;
    if (tn_gguf_open(&file, path)) return;
    for (int64_t i = 0; i < tn_gguf_n_keys(file); i++) {
        int64_t count, number;
        double real;
        tn_gguf_text text;
        const char *key = tn_gguf_key_at(file, i, NULL, NULL, &count);
        (void)tn_gguf_get_int(file, key, &number);
        (void)tn_gguf_get_real(file, key, &real);
        if (!tn_gguf_get_text(file, key, &text))
            for (size_t k = 0; k < text.len; k++) *sum += (unsigned char)text.data[k];
        for (int64_t e = 0; e < count; e++) {
            (void)tn_gguf_array_int(file, key, e, &number);
            (void)tn_gguf_array_real(file, key, e, &real);
            if (!tn_gguf_array_text(file, key, e, &text) && text.len) *sum += (unsigned char)text.data[text.len - 1];
        }
    }
    for (int64_t i = 0; i < tn_gguf_n_tensors(file); i++) {
        const tn_gguf_tensor *t = tn_gguf_tensor_at(file, i);
        for (size_t k = 0; k < t->bytes; k++) *sum += t->data[k];
    }
    tn_gguf_close(file);
}

static void gguf_reader__damage_to_foreign_files_never_crashes(void **state) {
    tn_test_files *f = *state;
    const char *const words[] = {"a", "", "gh\xc3\xbc", "zz"};
    const float norm[5] = {1, -2, 3, 0.5f, 1e-8f};
    unsigned sum = 0;
    tn_gguf_writer *w = NULL;
    assert_ok(tn_gguf_create(&w, f->path));
    tn_gguf_without_checksum(w);
    assert_ok(tn_gguf_put_u32(w, "general.alignment", 32));
    assert_ok(tn_gguf_put_array(w, "tokens", TN_GGUF_STRING, 4));
    for (int i = 0; i < 4; i++) assert_ok(tn_gguf_put_element_text(w, words[i], strlen(words[i])));
    assert_ok(tn_gguf_put_array(w, "scores", TN_GGUF_F32, 1));
    assert_ok(tn_gguf_put_element_f32(w, 1));
    assert_ok(tn_gguf_announce(w, "norm", TN_GGML_F32, 1, (int64_t[]){5}));
    assert_ok(tn_gguf_put_data(w, norm, sizeof norm));
    assert_ok(tn_gguf_commit(w));
    tn_test_flip_each(f->path, 1, look_at_all, &sum);
    tn_test_cut_each(f->path, 1, look_at_all, &sum);
    assert_true(sum > 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(gguf_reader__##name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_integer_kind_converts),
        TEST(heads_that_lie_are_refused),
        TEST(bad_keys_are_refused),
        TEST(own_keys_come_in_pairs),
        TEST(bad_arrays_are_refused),
        TEST(bad_tensors_are_refused),
        TEST(tensors_must_lie_back_to_back),
        TEST(another_alignment_is_followed),
        TEST(damage_to_foreign_files_never_crashes),
    };
    return cmocka_run_group_tests_name("gguf_reader", tests, NULL, NULL);
}
