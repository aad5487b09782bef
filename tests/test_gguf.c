/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "core/half.h"
#include "formats/gguf.h"
#include "tests/damage.h"
#include "tests/testing.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

typedef struct fixture {
    char dir[TN_TEST_PATH];
    char path[TN_TEST_PATH + 16];
} fixture;

static int set_up(void **state) {
    static fixture f;
    tn_test_dir_make(f.dir);
    snprintf(f.path, sizeof f.path, "%s/m.gguf", f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    tn_test_dir_remove(((fixture *)*state)->dir);
    return 0;
}

/* ---- a small file of every kind that is written ---- */

static const float norm[5] = {1, -2, 3, 0.5f, 1e-8f};
static const uint16_t half[6] = {0x3c00, 0xc000, 0x3800, 0, 1, 2};
static const char *const words[] = {"a", "", "gh\xc3\xbc", "zz"};

static tn_gguf_writer *begin_small(const char *path) {
    tn_gguf_writer *w;
    assert_ok(tn_gguf_create(&w, path));
    assert_ok(tn_gguf_put_text(w, "general.architecture", "bitnet", 6));
    assert_ok(tn_gguf_put_u32(w, "bitnet.block_count", 4000000000u));
    assert_ok(tn_gguf_put_f32(w, "bitnet.eps", 1e-5f));
    assert_ok(tn_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true));
    assert_ok(tn_gguf_put_array(w, "tokenizer.ggml.tokens", TN_GGUF_STRING, 4));
    for (int i = 0; i < 4; i++) assert_ok(tn_gguf_put_element_text(w, words[i], strlen(words[i])));
    assert_ok(tn_gguf_put_array(w, "tokenizer.ggml.token_type", TN_GGUF_I32, 2));
    assert_ok(tn_gguf_put_element_i32(w, 3));
    assert_ok(tn_gguf_put_element_i32(w, -1));
    assert_ok(tn_gguf_put_array(w, "tokenizer.ggml.scores", TN_GGUF_F32, 1));
    assert_ok(tn_gguf_put_element_f32(w, -0.5f));
    assert_ok(tn_gguf_put_array(w, "empty", TN_GGUF_STRING, 0));
    assert_ok(tn_gguf_announce(w, "norm", TN_GGML_F32, 1, (int64_t[]){5}));
    assert_ok(tn_gguf_announce(w, "embd", TN_GGML_F16, 2, (int64_t[]){3, 2}));
    assert_ok(tn_gguf_put_data(w, norm, sizeof norm));
    assert_ok(tn_gguf_put_data(w, half, sizeof half));
    return w;
}

static void write_small(const char *path) { assert_ok(tn_gguf_commit(begin_small(path))); }

static void check_tensors(const tn_gguf *file) {
    const tn_gguf_tensor *t = tn_gguf_find(file, "embd");
    assert_non_null(t);
    assert_true(t->type == TN_GGML_F16 && t->n_dims == 2 && t->ne[0] == 3 && t->ne[1] == 2 && t->ne[3] == 1);
    assert_int_equal(t->bytes, sizeof half);
    assert_memory_equal(t->data, half, sizeof half);
    t = tn_gguf_tensor_at(file, 0);
    assert_string_equal(t->name, "norm");
    assert_memory_equal(t->data, norm, sizeof norm);
    assert_int_equal(tn_gguf_n_tensors(file), 2);
    assert_null(tn_gguf_find(file, "output.weight"));
}

static void gguf__what_was_put_is_got_back(void **state) {
    fixture *f = *state;
    tn_gguf *file;
    tn_gguf_text text;
    int64_t number;
    double real;
    bool truth = false;
    write_small(f->path);
    assert_ok(tn_gguf_open(&file, f->path));
    check_tensors(file);
    assert_ok(tn_gguf_get_text(file, "general.architecture", &text));
    assert_true(text.len == 6 && memcmp(text.data, "bitnet", 6) == 0);
    assert_ok(tn_gguf_get_int(file, "bitnet.block_count", &number));
    assert_int_equal(number, 4000000000);
    assert_ok(tn_gguf_get_real(file, "bitnet.eps", &real));
    assert_true(real == (double)1e-5f);
    assert_ok(tn_gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &truth));
    assert_true(truth);
    for (int i = 3; i >= 0; i--) {
        assert_ok(tn_gguf_array_text(file, "tokenizer.ggml.tokens", i, &text));
        assert_int_equal(text.len, strlen(words[i]));
        assert_memory_equal(text.data, words[i], text.len);
    }
    assert_ok(tn_gguf_array_int(file, "tokenizer.ggml.token_type", 1, &number));
    assert_int_equal(number, -1);
    assert_ok(tn_gguf_array_real(file, "tokenizer.ggml.scores", 0, &real));
    assert_true(real == -0.5);
    assert_string_equal(tn_gguf_path(file), f->path);
    tn_gguf_close(file);
}

static void gguf__keys_are_listed_in_order(void **state) {
    fixture *f = *state;
    tn_gguf *file;
    tn_gguf_kind kind, element;
    int64_t count;
    write_small(f->path);
    assert_ok(tn_gguf_open(&file, f->path));
    assert_int_equal(tn_gguf_n_keys(file), 10);
    assert_string_equal(tn_gguf_key_at(file, 0, NULL, NULL, NULL), "general.architecture");
    assert_string_equal(tn_gguf_key_at(file, 4, &kind, &element, &count), "tokenizer.ggml.tokens");
    assert_true(kind == TN_GGUF_ARRAY && element == TN_GGUF_STRING && count == 4);
    assert_string_equal(tn_gguf_key_at(file, 8, &kind, &element, &count), "tern.version");
    assert_true(kind == TN_GGUF_U32 && element == TN_GGUF_U32 && count == 1);
    assert_true(tn_gguf_has(file, "tern.checksum") && !tn_gguf_has(file, "tern"));
    assert_ok(tn_gguf_array(file, "empty", &element, &count));
    assert_true(element == TN_GGUF_STRING && count == 0);
    assert_string_equal(tn_gguf_kind_name(TN_GGUF_F64), "F64");
    tn_gguf_close(file);
}

static void gguf__wrong_requests_are_refused(void **state) {
    fixture *f = *state;
    tn_gguf *file;
    tn_gguf_text text;
    int64_t number;
    double real;
    bool truth;
    write_small(f->path);
    assert_ok(tn_gguf_open(&file, f->path));
    assert_int_equal(tn_gguf_get_int(file, "absent", &number), TN_E_MISSING);
    assert_non_null(strstr(tn_error_message(), "absent"));
    assert_int_equal(tn_gguf_get_int(file, "bitnet.eps", &number), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_get_real(file, "bitnet.block_count", &real), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_get_bool(file, "bitnet.eps", &truth), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_get_text(file, "tokenizer.ggml.tokens", &text), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_array(file, "bitnet.eps", NULL, NULL), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_array_text(file, "tokenizer.ggml.tokens", 4, &text), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_array_text(file, "tokenizer.ggml.tokens", -1, &text), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_array_text(file, "tokenizer.ggml.scores", 0, &text), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_array_int(file, "tokenizer.ggml.tokens", 0, &number), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_array_int(file, "tokenizer.ggml.scores", 0, &number), TN_E_CORRUPT);
    assert_int_equal(tn_gguf_array_real(file, "tokenizer.ggml.tokens", 0, &real), TN_E_CORRUPT);
    tn_gguf_close(file);
}

/* ---- bytes ---- */

/* The file that the reference writer makes of these two keys and two tensors. */
static const char reference[] = "4747554603000000020000000000000002000000000000001400000000000000"
                                "67656e6572616c2e617263686974656374757265080000000600000000000000"
                                "6269746e65741c0000000000000067656e6572616c2e7175616e74697a617469"
                                "6f6e5f76657273696f6e04000000020000000100000000000000610200000002"
                                "0000000000000002000000000000000000000000000000000000000100000000"
                                "0000006201000000030000000000000001000000200000000000000000000000"
                                "0000803f000000c000004040000080c000000000000000000000000000000000"
                                "003c00c000380000000000000000000000000000000000000000000000000000";

static void gguf__writes_the_reference_bytes(void **state) {
    fixture *f = *state;
    const float a[4] = {1, -2, 3, -4};
    tn_gguf_writer *w;
    tn_gguf *file;
    tn_buf bytes = {0}, hex = {0};
    assert_ok(tn_gguf_create(&w, f->path));
    tn_gguf_without_checksum(w);
    assert_ok(tn_gguf_put_text(w, "general.architecture", "bitnet", 6));
    assert_ok(tn_gguf_put_u32(w, "general.quantization_version", 2));
    assert_ok(tn_gguf_announce(w, "a", TN_GGML_F32, 2, (int64_t[]){2, 2}));
    assert_ok(tn_gguf_announce(w, "b", TN_GGML_F16, 1, (int64_t[]){3}));
    assert_ok(tn_gguf_put_data(w, a, sizeof a));
    assert_ok(tn_gguf_put_data(w, half, 6));
    assert_ok(tn_gguf_commit(w));
    assert_ok(tn_file_read(f->path, 1 << 20, &bytes));
    for (size_t i = 0; i < bytes.len; i++) assert_ok(tn_buf_printf(&hex, "%02x", (unsigned char)bytes.data[i]));
    assert_string_equal(hex.data, reference);
    assert_ok(tn_gguf_open(&file, f->path));
    assert_true(tn_gguf_n_keys(file) == 2 && tn_gguf_n_tensors(file) == 2);
    tn_gguf_close(file);
    tn_buf_release(&bytes);
    tn_buf_release(&hex);
}

/* ---- hand-made files ---- */

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

static tn_status open_bytes(const fixture *f, const tn_buf *b, tn_gguf **file) {
    FILE *out = fopen(f->path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(b->data, 1, b->len, out), b->len);
    assert_int_equal(fclose(out), 0);
    return tn_gguf_open(file, f->path);
}

static void expect(const fixture *f, const tn_buf *b, tn_status status, const char *words_of_message) {
    tn_gguf *file;
    tn_status found = open_bytes(f, b, &file);
    tn_gguf_close(file);
    if (found != status) fail_msg("%s: got %s: %s", words_of_message, tn_status_name(found), tn_error_message());
    if (status && !strstr(tn_error_message(), words_of_message)) fail_msg("message: %s", tn_error_message());
}

static void gguf__every_integer_kind_converts(void **state) {
    fixture *f = *state;
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

static void gguf__heads_that_lie_are_refused(void **state) {
    fixture *f = *state;
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

static void gguf__bad_keys_are_refused(void **state) {
    fixture *f = *state;
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

static void gguf__bad_arrays_are_refused(void **state) {
    fixture *f = *state;
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
static void expect_tensor(const fixture *f, const char *name, int n_dims, const uint64_t *ne, uint32_t type,
                          uint64_t offset, tn_status status, const char *message) {
    tn_buf b = {0};
    put_head(&b, 3, 1, 0);
    put_tensor(&b, name, n_dims, ne, type, offset);
    put_zeros_to(&b, TN_ROUND_UP(b.len, 32) + 64);
    expect(f, &b, status, message);
    tn_buf_release(&b);
}

static void gguf__bad_tensors_are_refused(void **state) {
    fixture *f = *state;
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

static void gguf__tensors_must_lie_back_to_back(void **state) {
    fixture *f = *state;
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

static void gguf__another_alignment_is_followed(void **state) {
    fixture *f = *state;
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

static void expect_damaged(void *context, const char *path, size_t at) {
    (void)context;
    tn_gguf *file;
    tn_status status = tn_gguf_open(&file, path);
    if (status != TN_E_CORRUPT && status != TN_E_FORMAT)
        fail_msg("byte %zu: %s", at, status ? tn_error_message() : "opened");
}

static void gguf__damage_to_own_files_is_always_noticed(void **state) {
    fixture *f = *state;
    tn_gguf *file;
    write_small(f->path);
    tn_test_flip_each(f->path, 1, expect_damaged, NULL);
    tn_test_cut_each(f->path, 1, expect_damaged, NULL);
    assert_ok(tn_gguf_open(&file, f->path));
    check_tensors(file);
    tn_gguf_close(file);
}

static void gguf__bytes_behind_own_files_are_noticed(void **state) {
    fixture *f = *state;
    write_small(f->path);
    assert_ok(tn_file_append(f->path, "", 1));
    expect_damaged(NULL, f->path, 0);
    assert_non_null(strstr(tn_error_message(), "checksum does not match"));
}

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

static void gguf__damage_to_foreign_files_never_crashes(void **state) {
    fixture *f = *state;
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

/* ---- the writer ---- */

static void gguf__appears_only_at_commit(void **state) {
    fixture *f = *state;
    tn_names names = {0};
    tn_gguf_writer *w = begin_small(f->path);
    assert_false(tn_path_exists(f->path));
    tn_gguf_discard(w);
    assert_ok(tn_dir_list(f->dir, &names));
    assert_int_equal(names.count, 0);
    tn_names_release(&names);
}

static void gguf__calls_out_of_order_are_refused(void **state) {
    fixture *f = *state;
    tn_gguf_writer *w = begin_small(f->path);
    assert_int_equal(tn_gguf_put_u32(w, "late", 1), TN_E_ARG);
    assert_int_equal(tn_gguf_announce(w, "late", TN_GGML_F32, 1, (int64_t[]){1}), TN_E_ARG);
    assert_int_equal(tn_gguf_put_data(w, norm, 4), TN_E_ARG);
    tn_gguf_discard(w);
    assert_ok(tn_gguf_create(&w, f->path));
    assert_ok(tn_gguf_put_u32(w, "k", 1));
    assert_int_equal(tn_gguf_put_u32(w, "k", 1), TN_E_ARG);
    assert_int_equal(tn_gguf_put_u32(w, "", 1), TN_E_RANGE);
    assert_int_equal(tn_gguf_put_element_i32(w, 1), TN_E_ARG);
    assert_ok(tn_gguf_put_array(w, "a", TN_GGUF_I32, 1));
    assert_int_equal(tn_gguf_put_u32(w, "l", 1), TN_E_ARG);
    assert_int_equal(tn_gguf_put_element_f32(w, 1), TN_E_ARG);
    assert_int_equal(tn_gguf_commit(w), TN_E_ARG); /* the element is missing */
    assert_false(tn_path_exists(f->path));
}

static void gguf__tensors_must_come_as_announced(void **state) {
    fixture *f = *state;
    tn_gguf_writer *w;
    assert_ok(tn_gguf_create(&w, f->path));
    assert_ok(tn_gguf_announce(w, "t", TN_GGML_F32, 1, (int64_t[]){5}));
    assert_int_equal(tn_gguf_announce(w, "t", TN_GGML_F32, 1, (int64_t[]){5}), TN_E_ARG);
    assert_int_equal(tn_gguf_announce(w, "u", TN_GGML_I2_S, 1, (int64_t[]){64}), TN_E_SHAPE);
    assert_int_equal(tn_gguf_announce(w, "u", TN_GGML_F32, 1, (int64_t[]){0}), TN_E_SHAPE);
    assert_int_equal(tn_gguf_announce(w, "u", 12, 1, (int64_t[]){256}), TN_E_UNSUPPORTED);
    assert_int_equal(tn_gguf_announce(w, "u", TN_GGML_F32, 5, (int64_t[]){1, 1, 1, 1, 1}), TN_E_ARG);
    assert_int_equal(tn_gguf_put_data(w, norm, sizeof norm - 1), TN_E_ARG);
    assert_int_equal(tn_gguf_commit(w), TN_E_ARG);
    assert_non_null(strstr(tn_error_message(), "lack their data"));
    assert_false(tn_path_exists(f->path));
    assert_int_equal(tn_gguf_create(&w, f->dir), TN_E_IO);
    assert_null(w);
}

static void gguf__a_failed_write_keeps_the_old_file(void **state) {
    fixture *f = *state;
    static float block[1 << 16];
    struct rlimit old, small;
    tn_gguf_writer *w;
    tn_gguf *file;
    write_small(f->path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){128 << 10, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_ok(tn_gguf_create(&w, f->path));
    assert_ok(tn_gguf_announce(w, "big", TN_GGML_F32, 1, (int64_t[]){TN_COUNT(block)}));
    tn_status put_status = tn_gguf_put_data(w, block, sizeof block);
    tn_status commit_status = tn_gguf_commit(w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(put_status, TN_E_IO);
    assert_int_equal(commit_status, TN_E_IO);
    assert_ok(tn_gguf_open(&file, f->path));
    check_tensors(file);
    tn_gguf_close(file);
}

static void gguf__a_failed_allocation_leaks_nothing(void **state) {
    fixture *f = *state;
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_gguf_writer *w = NULL;
        tn_gguf *file = NULL;
        tn_memory_fail_at(n);
        status = tn_gguf_create(&w, f->path);
        if (!status) status = tn_gguf_put_array(w, "tokens", TN_GGUF_STRING, 1);
        if (!status) status = tn_gguf_put_element_text(w, "a", 1);
        if (!status) status = tn_gguf_announce(w, "norm", TN_GGML_F32, 1, (int64_t[]){5});
        if (!status) status = tn_gguf_put_data(w, norm, sizeof norm);
        if (status)
            tn_gguf_discard(w);
        else
            status = tn_gguf_commit(w);
        if (!status) status = tn_gguf_open(&file, f->path);
        tn_gguf_close(file);
        tn_memory_fail_at(0);
        assert_true(status == TN_OK || status == TN_E_NOMEM);
        assert_int_equal(tn_memory_alive(), alive);
    }
}

/* As many names as make the index grow several times. */
static void gguf__many_tensors_are_found(void **state) {
    fixture *f = *state;
    enum { N = 1000 };
    tn_gguf_writer *w;
    tn_gguf *file;
    char name[32];
    assert_ok(tn_gguf_create(&w, f->path));
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "blk.%d.w", i);
        assert_ok(tn_gguf_announce(w, name, TN_GGML_F32, 1, (int64_t[]){1}));
    }
    for (int i = 0; i < N; i++) assert_ok(tn_gguf_put_data(w, &(float){(float)i}, 4));
    assert_ok(tn_gguf_commit(w));
    assert_ok(tn_gguf_open(&file, f->path));
    for (int i = 0; i < N; i++) {
        float value;
        snprintf(name, sizeof name, "blk.%d.w", i);
        const tn_gguf_tensor *t = tn_gguf_find(file, name);
        assert_non_null(t);
        memcpy(&value, t->data, sizeof value);
        assert_true(value == (float)i);
    }
    tn_gguf_close(file);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(gguf__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_got_back),
        TEST(keys_are_listed_in_order),
        TEST(wrong_requests_are_refused),
        TEST(writes_the_reference_bytes),
        TEST(every_integer_kind_converts),
        TEST(heads_that_lie_are_refused),
        TEST(bad_keys_are_refused),
        TEST(bad_arrays_are_refused),
        TEST(bad_tensors_are_refused),
        TEST(tensors_must_lie_back_to_back),
        TEST(another_alignment_is_followed),
        TEST(damage_to_own_files_is_always_noticed),
        TEST(bytes_behind_own_files_are_noticed),
        TEST(damage_to_foreign_files_never_crashes),
        TEST(appears_only_at_commit),
        TEST(calls_out_of_order_are_refused),
        TEST(tensors_must_come_as_announced),
        TEST(a_failed_write_keeps_the_old_file),
        TEST(a_failed_allocation_leaks_nothing),
        TEST(many_tensors_are_found),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
