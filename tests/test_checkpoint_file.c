/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "formats/checkpoint_file.h"
#include "formats/hdf5_priv.h"
#include "tests/damage.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 3, COLS = 5, N = ROWS * COLS };

static const char config[] = "model:\n  n_layer: 2\n", tokenizer[] = "{\"vocab\": {}}",
                  run_state[] = "{\"cursor\": 17}";
static const uint8_t codes[] = {0, 1, 127, 128, 255};

static void fill(float *values, float first) {
    for (int i = 0; i < N; i++) values[i] = first + (float)i;
}

static tn_ckpt *begin_small(const char *path) {
    tn_ckpt *ckpt;
    float values[N];
    assert_ok(tn_ckpt_create(&ckpt, path));
    assert_ok(tn_ckpt_put_int(ckpt, "step", 1000));
    fill(values, 1);
    assert_ok(tn_ckpt_put_param(ckpt, "blk.0.attn_q.weight", ROWS, COLS, values));
    fill(values, 2);
    assert_ok(tn_ckpt_put_param(ckpt, "output_norm.weight", 1, N, values));
    fill(values, 3);
    assert_ok(tn_ckpt_put_slot(ckpt, "m", "blk.0.attn_q.weight", TN_CKPT_F32, N, values));
    assert_ok(tn_ckpt_put_slot(ckpt, "m", "output.weight", TN_CKPT_U8, (int64_t)sizeof codes, codes));
    assert_ok(tn_ckpt_put_text(ckpt, TN_CKPT_CONFIG, config, strlen(config)));
    assert_ok(tn_ckpt_put_text(ckpt, TN_CKPT_TOKENIZER, tokenizer, strlen(tokenizer)));
    assert_ok(tn_ckpt_put_text(ckpt, TN_CKPT_STATE, run_state, strlen(run_state)));
    return ckpt;
}

static void write_small(const char *path) { assert_ok(tn_ckpt_commit(begin_small(path))); }

static void check_floats(const float *values, float first) {
    for (int i = 0; i < N; i++) assert_true(values[i] == first + (float)i);
}

static void check_text(tn_ckpt *ckpt, tn_ckpt_text which, const char *expected) {
    tn_buf text = {0};
    assert_ok(tn_ckpt_get_text(ckpt, which, &text));
    assert_string_equal(tn_buf_text(&text), expected);
    tn_buf_release(&text);
}

static void check_small(tn_ckpt *ckpt) {
    int64_t step = 0;
    float values[N];
    assert_ok(tn_ckpt_get_int(ckpt, "step", &step));
    assert_int_equal(step, 1000);
    assert_ok(tn_ckpt_get_param(ckpt, "blk.0.attn_q.weight", ROWS, COLS, values));
    check_floats(values, 1);
    assert_ok(tn_ckpt_get_param(ckpt, "output_norm.weight", 1, N, values));
    check_floats(values, 2);
    assert_ok(tn_ckpt_get_slot(ckpt, "m", "blk.0.attn_q.weight", TN_CKPT_F32, N, values));
    check_floats(values, 3);
    uint8_t read[sizeof codes];
    assert_ok(tn_ckpt_get_slot(ckpt, "m", "output.weight", TN_CKPT_U8, (int64_t)sizeof read, read));
    assert_memory_equal(read, codes, sizeof codes);
    assert_int_equal(tn_ckpt_get_slot(ckpt, "m", "output.weight", TN_CKPT_F32, (int64_t)sizeof read, values),
                     TN_E_CORRUPT);
    check_text(ckpt, TN_CKPT_CONFIG, config);
    check_text(ckpt, TN_CKPT_TOKENIZER, tokenizer);
    check_text(ckpt, TN_CKPT_STATE, run_state);
}

static void checkpoint_file__what_was_put_is_got_back(void **state) {
    tn_test_files *f = *state;
    tn_ckpt *ckpt;
    write_small(f->path);
    assert_true(tn_ckpt_is_checkpoint(f->path));
    assert_ok(tn_ckpt_open(&ckpt, f->path));
    check_small(ckpt);
    assert_true(tn_ckpt_has_param(ckpt, "output_norm.weight") && !tn_ckpt_has_param(ckpt, "../config"));
    assert_true(tn_ckpt_has_slot(ckpt, "m", "blk.0.attn_q.weight") &&
                !tn_ckpt_has_slot(ckpt, "v", "output_norm.weight"));
    assert_true(tn_ckpt_has_text(ckpt, TN_CKPT_STATE));
    assert_string_equal(tn_ckpt_path(ckpt), f->path);
    tn_ckpt_close(ckpt);
}

static void checkpoint_file__same_contents_same_bytes(void **state) {
    tn_test_files *f = *state;
    tn_buf first = {0}, second = {0};
    write_small(f->path);
    assert_ok(tn_file_read(f->path, 1 << 20, &first));
    sleep(1); /* the library can store times, in seconds */
    write_small(f->path);
    assert_ok(tn_file_read(f->path, 1 << 20, &second));
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    tn_buf_release(&first);
    tn_buf_release(&second);
}

static void checkpoint_file__appears_only_at_commit(void **state) {
    tn_test_files *f = *state;
    tn_names names = {0};
    tn_ckpt *ckpt = begin_small(f->path);
    assert_false(tn_path_exists(f->path));
    tn_ckpt_close(ckpt);
    assert_ok(tn_dir_list(f->dir, &names));
    assert_int_equal(names.count, 0);
    tn_names_release(&names);
}

static tn_status note_param(void *context, const char *name, int64_t rows, int64_t cols) {
    return tn_buf_printf(context, "%s[%d,%d] ", name, (int)rows, (int)cols);
}

static tn_status stop(void *context, const char *name, int64_t rows, int64_t cols) {
    (void)context, (void)rows, (void)cols;
    return TN_FAIL(STOPPED, "%s", name);
}

static void checkpoint_file__lists_parameters_by_name(void **state) {
    tn_test_files *f = *state;
    tn_ckpt *ckpt;
    tn_buf names = {0};
    write_small(f->path);
    assert_ok(tn_ckpt_open(&ckpt, f->path));
    assert_ok(tn_ckpt_each_param(ckpt, note_param, &names));
    assert_string_equal(names.data, "blk.0.attn_q.weight[3,5] output_norm.weight[1,15] ");
    assert_int_equal(tn_ckpt_each_param(ckpt, stop, NULL), TN_E_STOPPED);
    assert_string_equal(tn_error_message(), "blk.0.attn_q.weight");
    tn_buf_release(&names);
    tn_ckpt_close(ckpt);
}

static void checkpoint_file__wrong_shapes_name_both(void **state) {
    tn_test_files *f = *state;
    tn_ckpt *ckpt;
    float values[N];
    write_small(f->path);
    assert_ok(tn_ckpt_open(&ckpt, f->path));
    assert_int_equal(tn_ckpt_get_param(ckpt, "blk.0.attn_q.weight", COLS, ROWS, values), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "[3, 5], expected [5, 3]"));
    assert_int_equal(tn_ckpt_get_slot(ckpt, "m", "blk.0.attn_q.weight", TN_CKPT_F32, N - 1, values), TN_E_MISMATCH);
    assert_int_equal(tn_ckpt_get_param(ckpt, "blk.1.attn_q.weight", ROWS, COLS, values), TN_E_MISSING);
    assert_int_equal(tn_ckpt_get_slot(ckpt, "v", "blk.0.attn_q.weight", TN_CKPT_F32, N, values), TN_E_MISSING);
    assert_int_equal(tn_ckpt_get_param(ckpt, "", ROWS, COLS, values), TN_E_ARG);
    tn_ckpt_close(ckpt);
}

static void checkpoint_file__bad_names_and_repeats_are_refused(void **state) {
    tn_test_files *f = *state;
    const char *const names[] = {"", ".", "..", "a/b", "a\"b", "a b", "\xc3\xa4"};
    float values[N] = {0};
    tn_ckpt *ckpt = begin_small(f->path);
    for (size_t i = 0; i < TN_COUNT(names); i++) {
        assert_int_equal(tn_ckpt_put_param(ckpt, names[i], ROWS, COLS, values), TN_E_ARG);
        assert_int_equal(tn_ckpt_put_slot(ckpt, names[i], "a", TN_CKPT_F32, N, values), TN_E_ARG);
        assert_int_equal(tn_ckpt_put_slot(ckpt, "m", names[i], TN_CKPT_F32, N, values), TN_E_ARG);
    }
    assert_int_equal(tn_ckpt_put_param(ckpt, "output_norm.weight", 1, N, values), TN_E_ARG);
    assert_int_equal(tn_ckpt_put_text(ckpt, TN_CKPT_CONFIG, "", 0), TN_E_ARG);
    assert_int_equal(tn_ckpt_put_param(ckpt, "empty", 0, N, values), TN_E_ARG);
    tn_ckpt_close(ckpt);
}

static void checkpoint_file__other_files_are_refused(void **state) {
    tn_test_files *f = *state;
    tn_ckpt *ckpt;
    tn_h5 *file;
    assert_int_equal(tn_ckpt_open(&ckpt, f->path), TN_E_MISSING);
    assert_false(tn_ckpt_is_checkpoint(f->path));
    assert_ok(tn_file_write(f->path, "GGUF", 4));
    assert_int_equal(tn_ckpt_open(&ckpt, f->path), TN_E_FORMAT);
    assert_false(tn_ckpt_is_checkpoint(f->path));
    assert_ok(tn_h5_create(&file, f->path));
    assert_ok(tn_h5_set_text(file, "format", "tern-tokens"));
    assert_ok(tn_h5_commit(file));
    assert_int_equal(tn_ckpt_open(&ckpt, f->path), TN_E_MISMATCH);
    assert_false(tn_ckpt_is_checkpoint(f->path));
    assert_null(ckpt);
}

/* A checkpoint of this version with the checksums `sums`, one parameter "w" and, if asked for, one group too many. */
static tn_status open_made(const char *path, int version, const char *sums, const char *extra) {
    tn_h5 *file;
    tn_ckpt *ckpt;
    float value = 1;
    assert_ok(tn_h5_create(&file, path));
    assert_ok(tn_h5_set_text(file, "format", "tern-checkpoint"));
    assert_ok(tn_h5_set_int(file, "format_version", version));
    assert_ok(tn_h5_write(file, "params/w", TN_H5_F32, 2, (int64_t[]){1, 1}, &value));
    if (extra) assert_ok(tn_h5_write_text(file, extra, "x", 1));
    if (sums) assert_ok(tn_h5_write_text(file, "checksums", sums, strlen(sums)));
    assert_ok(tn_h5_commit(file));
    tn_status status = tn_ckpt_open(&ckpt, path);
    tn_ckpt_close(ckpt);
    return status;
}

static void checkpoint_file__checksums_must_cover_the_file_and_no_more(void **state) {
    tn_test_files *f = *state;
#define W "\"params/w\": \"f87b05471331b3ae\""
    assert_int_equal(open_made(f->path, 1, NULL, NULL), TN_E_CORRUPT);
    assert_int_equal(open_made(f->path, 1, "{", NULL), TN_E_CORRUPT);
    assert_int_equal(open_made(f->path, 1, "[]", NULL), TN_E_CORRUPT);
    assert_int_equal(open_made(f->path, 1, "{}", NULL), TN_E_CORRUPT);
    assert_non_null(strstr(tn_error_message(), "params/w"));
    assert_int_equal(open_made(f->path, 1, "{\"params/w\": 1}", NULL), TN_E_CORRUPT);
    assert_int_equal(open_made(f->path, 1, "{" W ", \"state\": \"0\"}", NULL), TN_E_CORRUPT);
    assert_non_null(strstr(tn_error_message(), "state"));
    assert_int_equal(open_made(f->path, 1, "{" W ", \"params\": \"0\"}", NULL), TN_E_CORRUPT);
    assert_int_equal(open_made(f->path, 1, "{" W "}", "a/b/c/d"), TN_E_CORRUPT);
    assert_int_equal(open_made(f->path, 2, "{" W "}", NULL), TN_E_UNSUPPORTED);
    assert_ok(open_made(f->path, 1, "{" W "}", NULL));
}

static void open_hurt(void *context, const char *path, size_t at) {
    tn_ckpt *ckpt;
    tn_status status = tn_ckpt_open(&ckpt, path);
    if (!status) { /* only bytes that mean nothing were hit */
        check_small(ckpt);
        tn_ckpt_close(ckpt);
        ++*(size_t *)context;
        return;
    }
    if (at >= 9) assert_true(status == TN_E_CORRUPT || status == TN_E_MISMATCH);
    assert_true(tn_ckpt_is_checkpoint(path) || status != TN_E_CORRUPT);
}

static void checkpoint_file__damage_is_always_noticed(void **state) {
    tn_test_files *f = *state;
    size_t harmless = 0;
    write_small(f->path);
    tn_test_flip_each(f->path, 17, open_hurt, &harmless);
    assert_int_equal(harmless, 0);
    tn_test_cut_each(f->path, 64, open_hurt, &harmless);
    assert_int_equal(harmless, 0);
}

/* Seal a file anew that was changed: what the seal would notice first is then left to the sums inside. */
static void reseal(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 16), 0);
    assert_ok(tn_h5_seal(path));
}

static void expect_named(void *context, const char *path, size_t at) {
    (void)at;
    tn_ckpt *ckpt;
    assert_int_equal(tn_ckpt_open(&ckpt, path), TN_E_CORRUPT);
    assert_non_null(strstr(tn_error_message(), context));
}

static void checkpoint_file__every_byte_of_a_dataset_is_guarded(void **state) {
    tn_test_files *f = *state;
    const char *const paths[] = {"params/blk.0.attn_q.weight", "optim/m/blk.0.attn_q.weight", "config", "state"};
    write_small(f->path);
    int fd = open(f->path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t i = 0; i < TN_COUNT(paths); i++) {
        tn_h5 *file;
        tn_h5_info info;
        assert_ok(tn_h5_open(&file, f->path, NULL));
        assert_ok(tn_h5_get_info(file, paths[i], &info));
        tn_h5_close(file);
        int64_t bytes = info.count * (int64_t)tn_h5_type_size(info.type);
        for (int64_t at = info.offset; at < info.offset + bytes; at++) {
            unsigned char byte, hurt;
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            hurt = byte ^ 0x10;
            assert_int_equal(pwrite(fd, &hurt, 1, at), 1);
            reseal(f->path);
            expect_named((void *)(uintptr_t)paths[i], f->path, (size_t)at);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
            reseal(f->path);
        }
    }
    close(fd);
}

static void checkpoint_file__a_failed_write_keeps_the_old_one(void **state) {
    tn_test_files *f = *state;
    static float block[1 << 18];
    struct rlimit old, small;
    tn_ckpt *ckpt = NULL;
    write_small(f->path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){256 << 10, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    ckpt = begin_small(f->path);
    tn_status put = tn_ckpt_put_param(ckpt, "big", 1, TN_COUNT(block), block);
    tn_status committed = tn_ckpt_commit(ckpt);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(put, TN_E_IO);
    assert_int_equal(committed, TN_E_IO);
    assert_ok(tn_ckpt_open(&ckpt, f->path));
    check_small(ckpt);
    tn_ckpt_close(ckpt);
}

static void checkpoint_file__a_failed_allocation_leaks_nothing(void **state) {
    tn_test_files *f = *state;
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_ckpt *ckpt = NULL;
        float value = 1;
        tn_memory_fail_at(n);
        status = tn_ckpt_create(&ckpt, f->path);
        if (!status) status = tn_ckpt_put_param(ckpt, "w", 1, 1, &value);
        if (status)
            tn_ckpt_close(ckpt);
        else
            status = tn_ckpt_commit(ckpt);
        if (!status) status = tn_ckpt_open(&ckpt, f->path);
        if (!status) tn_ckpt_close(ckpt);
        tn_memory_fail_at(0);
        assert_int_equal(tn_memory_alive(), alive);
        assert_true(status == TN_OK || status == TN_E_NOMEM || status == TN_E_IO);
    }
}

int main(void) {
#define TEST(name)                                                                                                     \
    cmocka_unit_test_setup_teardown(checkpoint_file__##name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_got_back),         TEST(same_contents_same_bytes),
        TEST(appears_only_at_commit),           TEST(lists_parameters_by_name),
        TEST(wrong_shapes_name_both),           TEST(bad_names_and_repeats_are_refused),
        TEST(other_files_are_refused),          TEST(checksums_must_cover_the_file_and_no_more),
        TEST(damage_is_always_noticed),         TEST(every_byte_of_a_dataset_is_guarded),
        TEST(a_failed_write_keeps_the_old_one), TEST(a_failed_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests_name("checkpoint_file", tests, NULL, NULL);
}
