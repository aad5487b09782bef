/* SPDX-License-Identifier: MIT
 * GGUF files in parts, and beyond 4 GiB. */
#include "core/fs.h"
#include "formats/gguf.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PARTS = 3 };

static const char *part_path(const tn_test_files *f, int no, int count, char path[TN_TEST_PATH + 64]) {
    snprintf(path, TN_TEST_PATH + 64, "%s/model-%05d-of-%05d.gguf", f->dir, no + 1, count);
    return path;
}

/* What a part says; NULL: as it should be. */
typedef struct part {
    int no, count;
    const char *tensor;
    int total; /* tensors of all parts */
} part;

static void write_part(const char *path, int no, part p) {
    tn_gguf_writer *w;
    const float value = (float)no;
    assert_ok(tn_gguf_create(&w, path));
    if (no == 0) assert_ok(tn_gguf_put_text(w, "general.architecture", "bitnet", 6));
    assert_ok(tn_gguf_put_u32(w, "split.no", (uint32_t)p.no));
    assert_ok(tn_gguf_put_u32(w, "split.count", (uint32_t)p.count));
    if (no == 0) assert_ok(tn_gguf_put_u32(w, "split.tensors.count", (uint32_t)p.total));
    assert_ok(tn_gguf_announce(w, p.tensor, TN_GGML_F32, 1, (int64_t[]){1}));
    assert_ok(tn_gguf_put_data(w, &value, sizeof value));
    assert_ok(tn_gguf_commit(w));
}

static const char *const tensors[] = {"a", "b", "c"};

static void write_parts(const tn_test_files *f) {
    char path[TN_TEST_PATH + 64];
    for (int no = 0; no < PARTS; no++)
        write_part(part_path(f, no, PARTS, path), no, (part){no, PARTS, tensors[no], PARTS});
}

static void gguf_split__any_part_opens_all(void **state) {
    tn_test_files *f = *state;
    char path[TN_TEST_PATH + 64], first[TN_TEST_PATH + 64];
    write_parts(f);
    part_path(f, 0, PARTS, first);
    for (int no = 0; no < PARTS; no++) {
        tn_gguf *file;
        assert_ok(tn_gguf_open(&file, part_path(f, no, PARTS, path)));
        assert_string_equal(tn_gguf_path(file), first);
        assert_true(tn_gguf_has(file, "general.architecture"));
        assert_int_equal(tn_gguf_n_tensors(file), PARTS);
        for (int i = 0; i < PARTS; i++) {
            const tn_gguf_tensor *t = tn_gguf_find(file, tensors[i]);
            float value;
            assert_ptr_equal(t, tn_gguf_tensor_at(file, i));
            tn_gguf_drop(file, t, 0, t->bytes);
            memcpy(&value, t->data, sizeof value);
            assert_true(value == (float)i);
            assert_string_equal(t->path, part_path(f, i, PARTS, path));
        }
        tn_gguf_close(file);
    }
}

static void expect(const char *path, tn_status expected, const char *words) {
    tn_gguf *file;
    tn_status status = tn_gguf_open(&file, path);
    if (status != expected || !strstr(tn_error_message(), words))
        fail_msg("%s: \"%s\", expected %s with \"%s\"", tn_status_name(status), tn_error_message(),
                 tn_status_name(expected), words);
    assert_null(file);
}

static void gguf_split__parts_that_do_not_fit_are_refused(void **state) {
    tn_test_files *f = *state;
    static const struct {
        int no;
        part part;
        tn_status expected;
        const char *words;
    } cases[] = {
        {1, {1, 4, "b", 3}, TN_E_MISMATCH, "says it is part 2 of 4, expected part 2 of 3"},
        {1, {2, 3, "b", 3}, TN_E_MISMATCH, "says it is part 3 of 3, expected part 2 of 3"},
        {1, {3, 3, "b", 3}, TN_E_CORRUPT, "split.no is 3, expected 0 to 2"},
        {2, {2, 3, "a", 3}, TN_E_CORRUPT, "00003.gguf: tensor a is in an earlier part too"},
        {0, {0, 3, "a", 4}, TN_E_MISMATCH, "hold 3 tensors, split.tensors.count says 4"},
        {0, {0, 60000, "a", 3}, TN_E_CORRUPT, "split.count is 60000"},
        {0, {1, 3, "a", 3}, TN_E_MISMATCH, "is part 2 of 3, and its name should end in -00002-of-00003.gguf"},
    };
    char path[TN_TEST_PATH + 64], first[TN_TEST_PATH + 64];
    part_path(f, 0, PARTS, first);
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        write_parts(f);
        write_part(part_path(f, cases[i].no, PARTS, path), cases[i].no, cases[i].part);
        expect(first, cases[i].expected, cases[i].words);
    }
}

static void gguf_split__a_missing_part_is_named(void **state) {
    tn_test_files *f = *state;
    char path[TN_TEST_PATH + 64], first[TN_TEST_PATH + 64];
    part_path(f, 0, PARTS, first);
    write_parts(f);
    assert_ok(tn_file_remove(part_path(f, 1, PARTS, path)));
    expect(first, TN_E_MISSING, "model-00002-of-00003.gguf: part 2 of 3 is not beside");
    expect(part_path(f, 2, PARTS, path), TN_E_MISSING, "model-00002-of-00003.gguf: part 2 of 3 is not beside");
    assert_ok(tn_file_remove(first));
    expect(part_path(f, 2, PARTS, path), TN_E_MISSING, "model-00001-of-00003.gguf: part 1 of 3 is not beside");
    write_part(f->path, 0, (part){0, PARTS, "a", 3});
    expect(f->path, TN_E_MISMATCH, "its name should end in -00001-of-00003.gguf");
    write_part(f->path, 0, (part){0, 1, "a", 1}); /* all in one part */
    tn_gguf *file;
    assert_ok(tn_gguf_open(&file, f->path));
    tn_gguf_close(file);
}

/* ---- large files ---- */

static void put(tn_buf *b, uint64_t value, size_t bytes) {
    assert_ok(tn_buf_append(b, &value, bytes)); /* little-endian */
}

static void put_tensor(tn_buf *b, const char *name, uint64_t ne0, uint64_t ne1, uint64_t offset) {
    put(b, strlen(name), 8);
    assert_ok(tn_buf_puts(b, name));
    put(b, 2, 4);
    put(b, ne0, 8);
    put(b, ne1, 8);
    put(b, TN_GGML_F32, 4);
    put(b, offset, 8);
}

static void gguf__tensors_beyond_4_gib_are_found(void **state) {
    tn_test_files *f = *state;
    const uint64_t large = 4ull * 1024 * 1024 * 1100; /* 4.3 GiB, a hole on the disk */
    const float value = 42;
    tn_buf b = {0};
    tn_gguf *file;
    assert_ok(tn_buf_append(&b, "GGUF\3\0\0\0", 8));
    put(&b, 2, 8);
    put(&b, 0, 8);
    put_tensor(&b, "large", 1024 * 1024, 1100, 0);
    put_tensor(&b, "small", 1, 1, large);
    const uint64_t begin = TN_ROUND_UP(b.len, 32);
    assert_ok(tn_file_write(f->path, b.data, b.len));
    int fd = open(f->path, O_WRONLY);
    assert_true(fd >= 0);
    bool fits = ftruncate(fd, (off_t)(begin + large)) == 0;
    if (fits) assert_int_equal(pwrite(fd, &value, sizeof value, (off_t)(begin + large)), sizeof value);
    close(fd);
    tn_buf_release(&b);
    if (!fits) {
        print_message("the file system has no sparse files of 4.3 GiB\n");
        skip();
    }
    assert_ok(tn_gguf_open(&file, f->path));
    const tn_gguf_tensor *t = tn_gguf_find(file, "small");
    assert_int_equal(tn_gguf_find(file, "large")->bytes, large);
    assert_true((uint64_t)(t->data - tn_gguf_find(file, "large")->data) == large);
    assert_memory_equal(t->data, &value, sizeof value);
    tn_gguf_drop(file, t, 0, t->bytes);
    assert_memory_equal(t->data, &value, sizeof value);
    tn_gguf_close(file);
}

/* ---- pieces ---- */

static void gguf_writer__pieces_make_the_file_that_wholes_make(void **state) {
    tn_test_files *f = *state;
    char other[TN_TEST_PATH + 64];
    float values[37];
    int64_t promised[2];
    snprintf(other, sizeof other, "%s/other", f->dir);
    for (size_t i = 0; i < TN_COUNT(values); i++) values[i] = (float)i / 3;
    for (int pieces = 0; pieces < 2; pieces++) {
        tn_gguf_writer *w;
        assert_ok(tn_gguf_create(&w, pieces ? other : f->path));
        assert_ok(tn_gguf_announce(w, "a", TN_GGML_F32, 1, (int64_t[]){37}));
        assert_ok(tn_gguf_announce(w, "b", TN_GGML_F32, 1, (int64_t[]){37}));
        assert_ok(tn_gguf_file_bytes(w, &promised[pieces]));
        for (int tensor = 0; tensor < 2; tensor++)
            if (!pieces)
                assert_ok(tn_gguf_put_data(w, values, sizeof values));
            else
                for (size_t at = 0; at < sizeof values; at += 37)
                    assert_ok(tn_gguf_put_piece(w, (char *)values + at, TN_MIN(sizeof values - at, (size_t)37)));
        assert_ok(tn_gguf_commit(w));
    }
    tn_buf a = {0}, b = {0};
    assert_ok(tn_file_read(f->path, 1 << 20, &a));
    assert_ok(tn_file_read(other, 1 << 20, &b));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_true(promised[0] == (int64_t)a.len && promised[1] == (int64_t)a.len);
    tn_buf_release(&a);
    tn_buf_release(&b);
}

static void gguf_writer__pieces_must_fill_the_tensor(void **state) {
    tn_test_files *f = *state;
    static const float values[5];
    tn_gguf_writer *w;
    int64_t bytes;
    assert_ok(tn_gguf_create(&w, f->path));
    assert_ok(tn_gguf_announce(w, "a", TN_GGML_F32, 1, (int64_t[]){5}));
    assert_ok(tn_gguf_put_piece(w, values, 12));
    assert_int_equal(tn_gguf_put_data(w, values, 8), TN_E_ARG);
    assert_int_equal(tn_gguf_put_piece(w, values, 9), TN_E_ARG);
    assert_non_null(strstr(tn_error_message(), "tensor a got 21 bytes of data, expected 20"));
    assert_int_equal(tn_gguf_commit(w), TN_E_ARG);
    assert_false(tn_path_exists(f->path));
    assert_ok(tn_gguf_create(&w, NULL)); /* a writer that only counts */
    assert_ok(tn_gguf_announce(w, "a", TN_GGML_F32, 1, (int64_t[]){1 << 30}));
    assert_ok(tn_gguf_file_bytes(w, &bytes));
    assert_true(bytes > 4ll << 30 && bytes < (4ll << 30) + 1024);
    tn_gguf_discard(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gguf_split__any_part_opens_all, tn_test_files_set_up, tn_test_files_tear_down),
        cmocka_unit_test_setup_teardown(gguf_split__parts_that_do_not_fit_are_refused, tn_test_files_set_up,
                                        tn_test_files_tear_down),
        cmocka_unit_test_setup_teardown(gguf_split__a_missing_part_is_named, tn_test_files_set_up,
                                        tn_test_files_tear_down),
        cmocka_unit_test_setup_teardown(gguf__tensors_beyond_4_gib_are_found, tn_test_files_set_up,
                                        tn_test_files_tear_down),
        cmocka_unit_test_setup_teardown(gguf_writer__pieces_make_the_file_that_wholes_make, tn_test_files_set_up,
                                        tn_test_files_tear_down),
        cmocka_unit_test_setup_teardown(gguf_writer__pieces_must_fill_the_tensor, tn_test_files_set_up,
                                        tn_test_files_tear_down),
    };
    return cmocka_run_group_tests_name("gguf_split", tests, NULL, NULL);
}
