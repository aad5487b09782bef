/* SPDX-License-Identifier: MIT
 * The vectors are those of the format's own writer; files that lie are made by hand. */
#include "core/arena.h"
#include "core/fs.h"
#include "formats/safetensors.h"
#include "tests/damage.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

/* ---- writing ---- */

static tn_safetensors_writer *create(const tn_test_files *f) {
    tn_safetensors_writer *w;
    assert_ok(tn_safetensors_create(&w, f->path));
    return w;
}

/* The file must be these bytes: the length of the header, its text, the data. */
static void expect_file(const tn_test_files *f, const char *header, size_t padded, const void *data, size_t bytes) {
    tn_buf found = {0}, expected = {0};
    for (int i = 0; i < 8; i++) assert_ok(tn_buf_putc(&expected, (char)(padded >> (8 * i))));
    assert_ok(tn_buf_puts(&expected, header));
    while (expected.len < 8 + padded) assert_ok(tn_buf_putc(&expected, ' '));
    assert_ok(tn_buf_append(&expected, data, bytes));
    assert_ok(tn_file_read(f->path, 1 << 20, &found));
    assert_int_equal(found.len, expected.len);
    assert_memory_equal(found.data, expected.data, found.len);
    tn_buf_release(&found);
    tn_buf_release(&expected);
}

static void write_one(const tn_test_files *f, const char *name, int n_dims, const int64_t *shape) {
    static const float values[6] = {0, 1, 2, 3, 4, 5};
    tn_safetensors_writer *w = create(f);
    int number;
    assert_ok(tn_safetensors_announce(w, name, TN_SAFETENSOR_F32, n_dims, shape, &number));
    assert_ok(tn_safetensors_put_piece(w, number, values, 8));
    assert_ok(tn_safetensors_put_piece(w, number, values + 2, 16));
    assert_ok(tn_safetensors_commit(w, NULL));
}

static void writer__bytes_are_those_of_the_formats_own(void **state) {
    const tn_test_files *f = *state;
    static const float values[6] = {0, 1, 2, 3, 4, 5};
    int64_t bytes;
    assert_ok(tn_safetensors_commit(create(f), &bytes));
    assert_int_equal(bytes, 16);
    expect_file(f, "{}", 8, "", 0);
    write_one(f, "attn.0", 3, (int64_t[]){1, 2, 3});
    expect_file(f, "{\"attn.0\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}", 64, values, 24);
    write_one(f, "attn0", 4, (int64_t[]){1, 1, 2, 3});
    expect_file(f, "{\"attn0\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],\"data_offsets\":[0,24]}}", 72, values, 24);
}

/* Four tensors of three types, announced and filled out of order. */
static void write_mixed(const tn_test_files *f) {
    tn_safetensors_writer *w = create(f);
    int packed, b, a, wide;
    assert_ok(tn_safetensors_note(w, "format", "pt"));
    assert_ok(tn_safetensors_announce(w, "p", TN_SAFETENSOR_U8, 2, (int64_t[]){1, 3}, &packed));
    assert_ok(tn_safetensors_announce(w, "n.b", TN_SAFETENSOR_BF16, 1, (int64_t[]){1}, &b));
    assert_ok(tn_safetensors_announce(w, "n.a", TN_SAFETENSOR_BF16, 1, (int64_t[]){2}, &a));
    assert_ok(tn_safetensors_announce(w, "w", TN_SAFETENSOR_F32, 1, (int64_t[]){2}, &wide));
    assert_ok(tn_safetensors_put_piece(w, packed, "\x46\x51\x50", 3));
    assert_ok(tn_safetensors_put_piece(w, wide, (float[]){1, -2}, 8));
    assert_ok(tn_safetensors_put_piece(w, a, "\x80\x3f\x00\xc0", 4));
    assert_ok(tn_safetensors_put_piece(w, b, "\x00\x3f", 2));
    int64_t bytes;
    assert_ok(tn_safetensors_commit(w, &bytes));
    assert_int_equal(bytes, 281);
}

static const char mixed[] =
    "{\"__metadata__\":{\"format\":\"pt\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
    "\"n.a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12]},"
    "\"n.b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[12,14]},"
    "\"p\":{\"dtype\":\"U8\",\"shape\":[1,3],\"data_offsets\":[14,17]}}";

static void writer__tensors_are_sorted_by_type_then_name(void **state) {
    const tn_test_files *f = *state;
    static const unsigned char data[] = "\x00\x00\x80\x3f\x00\x00\x00\xc0\x80\x3f\x00\xc0\x00\x3f\x46\x51\x50";
    write_mixed(f);
    expect_file(f, mixed, 256, data, 17);
}

static void writer__what_is_out_of_order_is_refused(void **state) {
    const tn_test_files *f = *state;
    const int64_t two = 2;
    int number;
    tn_safetensors_writer *w = create(f);
    assert_int_equal(tn_safetensors_announce(w, "", TN_SAFETENSOR_U8, 1, &two, &number), TN_E_ARG);
    assert_int_equal(tn_safetensors_announce(w, "__metadata__", TN_SAFETENSOR_U8, 1, &two, &number), TN_E_ARG);
    assert_int_equal(tn_safetensors_announce(w, "a", TN_SAFETENSOR_F64, 2, (int64_t[]){1ll << 40, 1 << 30}, &number),
                     TN_E_SHAPE);
    assert_int_equal(tn_safetensors_announce(w, "a", TN_SAFETENSOR_F4, 1, (int64_t[]){3}, &number), TN_E_SHAPE);
    assert_ok(tn_safetensors_announce(w, "a", TN_SAFETENSOR_U8, 1, &two, &number));
    assert_int_equal(tn_safetensors_announce(w, "a", TN_SAFETENSOR_U8, 1, &two, &number), TN_E_ARG);
    assert_int_equal(tn_safetensors_put_piece(w, 0, "abc", 3), TN_E_ARG);
    assert_ok(tn_safetensors_put_piece(w, 0, "a", 1));
    assert_int_equal(tn_safetensors_announce(w, "b", TN_SAFETENSOR_U8, 1, &two, &number), TN_E_ARG);
    assert_int_equal(tn_safetensors_commit(w, NULL), TN_E_ARG);
    assert_false(tn_path_exists(f->path));
}

/* ---- reading ---- */

static void reader__what_was_put_is_got_back(void **state) {
    const tn_test_files *f = *state;
    tn_safetensors *file;
    char shape[128];
    write_mixed(f);
    assert_ok(tn_safetensors_open(&file, f->path));
    assert_int_equal(tn_safetensors_count(file), 4);
    const tn_safetensor *t = tn_safetensors_find(file, "p");
    assert_ptr_equal(t, tn_safetensors_at(file, 3));
    assert_true(t->type == TN_SAFETENSOR_U8 && t->n_dims == 2 && t->shape[0] == 1 && t->shape[1] == 3 && t->bytes == 3);
    assert_memory_equal(t->data, "\x46\x51\x50", 3);
    assert_string_equal(tn_safetensor_shape(t, shape), "[1, 3]");
    tn_safetensors_drop(file, t, 0, t->bytes);
    tn_safetensors_drop_all(file);
    assert_memory_equal(t->data, "\x46\x51\x50", 3);
    assert_null(tn_safetensors_find(file, "__metadata__"));
    tn_safetensors_close(file);
}

/* A file of a header as it stands and `size` bytes of data. */
static void write_file(const char *path, const char *header, size_t size) {
    tn_buf b = {0};
    const size_t len = strlen(header);
    for (int i = 0; i < 8; i++) assert_ok(tn_buf_putc(&b, (char)(len >> (8 * i))));
    assert_ok(tn_buf_puts(&b, header));
    while (b.len < 8 + len + size) assert_ok(tn_buf_putc(&b, 'x'));
    assert_ok(tn_file_write(path, b.data, b.len));
    tn_buf_release(&b);
}

static void expect_failure(const char *path, tn_status status, const char *words) {
    tn_safetensors *file;
    const tn_status found = tn_safetensors_open(&file, path);
    tn_safetensors_close(file);
    if (found != status || (status && !strstr(tn_error_message(), words)))
        fail_msg("expected \"%s\", got %s: %s", words, tn_status_name(found), tn_error_message());
}

static void reader__odd_files_that_are_right_are_read(void **state) {
    const tn_test_files *f = *state;
    static const char *const headers[] = {
        "{\"b\":{\"shape\":[2],\"data_offsets\":[4,6],\"dtype\":\"I8\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
        "{ \"a\" : {\"dtype\":\"U8\",\"shape\":[6],\"data_offsets\":[0,6],\"more\":{}},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[6,6]}}   ",
        "{\"a\":{\"dtype\":\"F4\",\"shape\":[4,3],\"data_offsets\":[0,6]},\"__metadata__\":{\"k\":\"v\"}}",
    };
    for (size_t i = 0; i < TN_COUNT(headers); i++) {
        tn_safetensors *file;
        write_file(f->path, headers[i], 6);
        assert_ok(tn_safetensors_open(&file, f->path));
        assert_non_null(tn_safetensors_find(file, "a"));
        tn_safetensors_close(file);
    }
}

#define TENSOR(name, type, shape, offsets)                                                                             \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void reader__headers_that_lie_are_refused(void **state) {
    const tn_test_files *f = *state;
    static const struct {
        const char *header;
        tn_status status;
        const char *words;
    } rows[] = {
        {"", TN_E_FORMAT, "does not begin with {"},
        {"[1]", TN_E_FORMAT, "does not begin with {"},
        {"{\"a\":", TN_E_CORRUPT, "header is damaged"},
        {"{\"a\xff\":1}", TN_E_CORRUPT, "header is damaged"},
        {"{\"a\\u0000\":1}", TN_E_CORRUPT, "header is damaged"},
        {"{} {}", TN_E_CORRUPT, "header is damaged"},
        {"{}", TN_E_CORRUPT, "holds 6 bytes of data, its tensors only 0"},
        {"{\"a\":1}", TN_E_CORRUPT, "the entry of tensor a is no object"},
        {"{\"__metadata__\":7}", TN_E_CORRUPT, "__metadata__ is no object"},
        {"{\"__metadata__\":{\"k\":7}}", TN_E_CORRUPT, "__metadata__.k is no text"},
        {"{" TENSOR("a", "U8", "[6]", "[0,6]") "," TENSOR("a", "U8", "[6]", "[0,6]") "}", TN_E_CORRUPT, "duplicate"},
        {"{" TENSOR("", "U8", "[6]", "[0,6]") "}", TN_E_CORRUPT, "no name"},
        {"{" TENSOR("a", "Q4", "[6]", "[0,6]") "}", TN_E_UNSUPPORTED, "unknown element type \"Q4\""},
        {"{\"a\":{\"shape\":[6],\"data_offsets\":[0,6]}}", TN_E_CORRUPT, "no \"dtype\""},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,6]}}", TN_E_CORRUPT, "no \"shape\""},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[6]}}", TN_E_CORRUPT, "not a list of two"},
        {"{" TENSOR("a", "U8", "[-6]", "[0,6]") "}", TN_E_CORRUPT, "dimension 0"},
        {"{" TENSOR("a", "U8", "[1,6.5]", "[0,6]") "}", TN_E_CORRUPT, "dimension 1"},
        {"{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1,6]", "[0,6]") "}", TN_E_UNSUPPORTED, "9 dimensions"},
        {"{" TENSOR("a", "U8", "[4294967296,4294967296]", "[0,6]") "}", TN_E_CORRUPT, "impossible shape"},
        {"{" TENSOR("a", "U8", "[9223372036854775807,0]", "[0,0]") "}", TN_E_CORRUPT, "impossible shape"},
        {"{" TENSOR("a", "F4", "[3]", "[0,1]") "}", TN_E_CORRUPT, "fill no whole bytes"},
        {"{" TENSOR("a", "U8", "[6]", "[0,6,7]") "}", TN_E_CORRUPT, "not a list of two"},
        {"{" TENSOR("a", "U8", "[6]", "[-1,5]") "}", TN_E_CORRUPT, "data offset 0"},
        {"{" TENSOR("a", "U8", "[7]", "[0,7]") "}", TN_E_CORRUPT, "data offset 1"},
        {"{" TENSOR("a", "U8", "[2]", "[6,4]") "}", TN_E_CORRUPT, "bytes 6 to 4 are not the 2 of U8 [2]"},
        {"{" TENSOR("a", "F32", "[6]", "[0,6]") "}", TN_E_CORRUPT, "bytes 0 to 6 are not the 24 of F32 [6]"},
        {"{" TENSOR("a", "U8", "[5]", "[1,6]") "}", TN_E_CORRUPT, "behind a gap that begins at 0"},
        {"{" TENSOR("a", "U8", "[4]", "[0,4]") "," TENSOR("b", "U8", "[3]", "[3,6]") "}", TN_E_CORRUPT,
         "within another, which ends at 4"},
        {"{" TENSOR("a", "U8", "[5]", "[0,5]") "}", TN_E_CORRUPT, "holds 6 bytes of data, its tensors only 5"},
    };
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        write_file(f->path, rows[i].header, 6);
        expect_failure(f->path, rows[i].status, rows[i].words);
    }
    assert_ok(tn_file_write(f->path, "1234567", 7));
    expect_failure(f->path, TN_E_FORMAT, "has 7 bytes, expected at least 8");
    assert_ok(tn_file_write(f->path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10));
    expect_failure(f->path, TN_E_CORRUPT, "at most 2 are possible");
    assert_ok(tn_file_remove(f->path));
    expect_failure(f->path, TN_E_MISSING, f->path);
}

static void open_hurt(void *context, const char *path, size_t at) {
    tn_safetensors *file;
    const bool must_fail = *(bool *)context && at < 281;
    const tn_status status = tn_safetensors_open(&file, path);
    if (must_fail && !status) fail_msg("cut at %zu, it is read", at);
    for (int64_t i = 0; !status && i < tn_safetensors_count(file); i++) {
        const tn_safetensor *t = tn_safetensors_at(file, i);
        volatile unsigned char sum = 0;
        for (size_t k = 0; k < t->bytes; k++) sum = (unsigned char)(sum + t->data[k]);
    }
    tn_safetensors_close(file);
}

static void reader__damage_never_crashes_and_cuts_are_seen(void **state) {
    const tn_test_files *f = *state;
    bool must_fail = false;
    write_mixed(f);
    tn_test_flip_each(f->path, 1, open_hurt, &must_fail);
    must_fail = true;
    tn_test_cut_each(f->path, 1, open_hurt, &must_fail);
}

/* ---- shards ---- */

static void write_in(const tn_test_files *f, const char *name, const char *text, size_t data) {
    char path[TN_TEST_PATH + 64];
    assert_ok(tn_path_join(path, sizeof path, f->dir, name));
    if (data)
        write_file(path, text, data);
    else
        assert_ok(tn_file_write(path, text, strlen(text)));
}

static void expect_index(const tn_test_files *f, const char *text, tn_status status, const char *words) {
    char path[TN_TEST_PATH + 64];
    write_in(f, "i.json", text, 0);
    assert_ok(tn_path_join(path, sizeof path, f->dir, "i.json"));
    expect_failure(path, status, words);
}

static void index__shards_are_one_file(void **state) {
    const tn_test_files *f = *state;
    char path[TN_TEST_PATH + 64];
    tn_safetensors *file;
    write_in(f, "1.safetensors", "{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("c", "U8", "[1]", "[2,3]") "}", 3);
    write_in(f, "2.safetensors", "{" TENSOR("b", "U8", "[4]", "[0,4]") "}", 4);
    write_in(f, "i.json",
             "{\"metadata\":{\"total_size\":1},\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\","
             "\"c\":\"1.safetensors\"}}",
             0);
    assert_ok(tn_path_join(path, sizeof path, f->dir, "i.json"));
    assert_ok(tn_safetensors_open(&file, path));
    assert_int_equal(tn_safetensors_count(file), 3);
    assert_int_equal(tn_safetensors_find(file, "b")->bytes, 4);
    assert_int_equal(tn_safetensors_find(file, "b")->shard, 1);
    assert_non_null(strstr(tn_safetensors_find(file, "c")->path, "1.safetensors"));
    tn_safetensors_close(file);
}

static void index__that_lies_is_refused(void **state) {
    const tn_test_files *f = *state;
    write_in(f, "1", "{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("c", "U8", "[1]", "[2,3]") "}", 3);
    write_in(f, "2", "{" TENSOR("b", "U8", "[4]", "[0,4]") "}", 4);
    write_in(f, "3", "{" TENSOR("b", "U8", "[4]", "[0,4]") "}", 4);
    write_in(f, "4", "{" TENSOR("d", "U8", "[4]", "[0,4]") "}", 3);
    expect_index(f, "{", TN_E_FORMAT, "expected an index in JSON");
    expect_index(f, "{}", TN_E_CORRUPT, "no \"weight_map\"");
    expect_index(f, "{\"weight_map\":{\"a\":1}}", TN_E_CORRUPT, "weight_map.a is no file name");
    expect_index(f, "{\"weight_map\":{\"a\":\"../1\"}}", TN_E_CORRUPT, "expected a file beside the index");
    expect_index(f, "{\"weight_map\":{\"a\":\"\"}}", TN_E_CORRUPT, "expected a file beside the index");
    expect_index(f, "{\"weight_map\":{\"a\":\"5\"}}", TN_E_MISSING, "says that tensor a is in it");
    expect_index(f, "{\"weight_map\":{\"a\":\"1\",\"a\":\"2\"}}", TN_E_FORMAT, "duplicate");
    expect_index(f, "{\"weight_map\":{\"a\":\"1\",\"b\":\"1\",\"c\":\"1\"}}", TN_E_MISMATCH, "has no tensor b");
    expect_index(f, "{\"weight_map\":{\"a\":\"2\",\"b\":\"2\",\"c\":\"1\"}}", TN_E_MISMATCH, "has no tensor a");
    expect_index(f, "{\"weight_map\":{\"a\":\"1\"}}", TN_E_MISMATCH, "holds tensor c");
    expect_index(f, "{\"weight_map\":{\"b\":\"2\",\"x\":\"3\"}}", TN_E_MISMATCH, "tensor b is in");
    expect_index(f, "{\"weight_map\":{\"d\":\"4\"}}", TN_E_CORRUPT, "data offset 1");
}

static void lack_of_memory__leaves_nothing_behind(void **state) {
    const tn_test_files *f = *state;
    const int64_t alive = tn_memory_alive();
    for (uint64_t n = 1; n < 200; n++) {
        tn_safetensors_writer *w;
        tn_safetensors *file = NULL;
        int number;
        tn_memory_fail_at(n);
        tn_status status = tn_safetensors_create(&w, f->path);
        if (!status) status = tn_safetensors_note(w, "format", "pt");
        if (!status) status = tn_safetensors_announce(w, "a", TN_SAFETENSOR_U8, 1, (int64_t[]){1}, &number);
        if (!status) status = tn_safetensors_put_piece(w, number, "a", 1);
        if (status)
            tn_safetensors_discard(w);
        else
            status = tn_safetensors_commit(w, NULL);
        if (!status) status = tn_safetensors_open(&file, f->path);
        tn_safetensors_close(file);
        tn_memory_fail_at(0);
        assert_int_equal(tn_memory_alive(), alive);
        if (!status) return;
        assert_int_equal(status, TN_E_NOMEM);
    }
    fail_msg("memory for 200 pieces is not enough");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_test_files_set_up, tn_test_files_tear_down)
        TEST(writer__bytes_are_those_of_the_formats_own),
        TEST(writer__tensors_are_sorted_by_type_then_name),
        TEST(writer__what_is_out_of_order_is_refused),
        TEST(reader__what_was_put_is_got_back),
        TEST(reader__odd_files_that_are_right_are_read),
        TEST(reader__headers_that_lie_are_refused),
        TEST(reader__damage_never_crashes_and_cuts_are_seen),
        TEST(index__shards_are_one_file),
        TEST(index__that_lies_is_refused),
        TEST(lack_of_memory__leaves_nothing_behind),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
