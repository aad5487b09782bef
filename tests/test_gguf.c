/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "formats/gguf.h"
#include "tests/damage.h"
#include "tests/testing.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

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
    tn_test_files *f = *state;
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
    tn_test_files *f = *state;
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
    tn_test_files *f = *state;
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
    tn_test_files *f = *state;
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

/* ---- damage ---- */

static void expect_damaged(void *context, const char *path, size_t at) {
    (void)context;
    tn_gguf *file;
    tn_status status = tn_gguf_open(&file, path);
    if (status != TN_E_CORRUPT && status != TN_E_FORMAT)
        fail_msg("byte %zu: %s", at, status ? tn_error_message() : "opened");
}

static void gguf__damage_to_own_files_is_always_noticed(void **state) {
    tn_test_files *f = *state;
    tn_gguf *file;
    write_small(f->path);
    tn_test_flip_each(f->path, 1, expect_damaged, NULL);
    tn_test_cut_each(f->path, 1, expect_damaged, NULL);
    assert_ok(tn_gguf_open(&file, f->path));
    check_tensors(file);
    tn_gguf_close(file);
}

static void gguf__bytes_behind_own_files_are_noticed(void **state) {
    tn_test_files *f = *state;
    write_small(f->path);
    assert_ok(tn_file_append(f->path, "", 1));
    expect_damaged(NULL, f->path, 0);
    assert_non_null(strstr(tn_error_message(), "checksum does not match"));
}

/* ---- the writer ---- */

static void gguf__appears_only_at_commit(void **state) {
    tn_test_files *f = *state;
    tn_names names = {0};
    tn_gguf_writer *w = begin_small(f->path);
    assert_false(tn_path_exists(f->path));
    tn_gguf_discard(w);
    assert_ok(tn_dir_list(f->dir, &names));
    assert_int_equal(names.count, 0);
    tn_names_release(&names);
}

static void gguf__calls_out_of_order_are_refused(void **state) {
    tn_test_files *f = *state;
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
    tn_test_files *f = *state;
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
    tn_test_files *f = *state;
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
    tn_test_files *f = *state;
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
    tn_test_files *f = *state;
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
#define TEST(name) cmocka_unit_test_setup_teardown(gguf__##name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_got_back),
        TEST(keys_are_listed_in_order),
        TEST(wrong_requests_are_refused),
        TEST(writes_the_reference_bytes),
        TEST(damage_to_own_files_is_always_noticed),
        TEST(bytes_behind_own_files_are_noticed),
        TEST(appears_only_at_commit),
        TEST(calls_out_of_order_are_refused),
        TEST(tensors_must_come_as_announced),
        TEST(a_failed_write_keeps_the_old_file),
        TEST(a_failed_allocation_leaks_nothing),
        TEST(many_tensors_are_found),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
