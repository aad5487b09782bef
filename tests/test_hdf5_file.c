/* SPDX-License-Identifier: MIT */
#include "core/arena.h"
#include "core/fs.h"
#include "formats/hdf5_file.h"
#include "tests/damage.h"
#include "tests/testing.h"

#include <errno.h>
#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

static size_t files_in(const char *dir) {
    tn_names names = {0};
    assert_ok(tn_dir_list(dir, &names));
    size_t count = names.count;
    tn_names_release(&names);
    return count;
}

static const float weights[2][3] = {{1.0f, -2.0f, 3.5f}, {0.0f, 1e-30f, -1e30f}};
static const uint16_t tokens[5] = {0, 1, 65535, 7, 9};

static tn_h5 *small_file(const char *path) {
    tn_h5 *file;
    assert_ok(tn_h5_create(&file, path));
    assert_ok(tn_h5_set_text(file, "format", "tern-test"));
    assert_ok(tn_h5_set_int(file, "step", -42));
    assert_ok(tn_h5_set_real(file, "loss", 2.5));
    assert_ok(tn_h5_write(file, "params/w", TN_H5_F32, 2, (int64_t[]){2, 3}, weights));
    assert_ok(tn_h5_write(file, "tokens", TN_H5_U16, 1, (int64_t[]){5}, tokens));
    assert_ok(tn_h5_write_text(file, "note", "two words", 9));
    assert_ok(tn_h5_write_text(file, "nothing", "", 0));
    return file;
}

static void write_small(const char *path) { assert_ok(tn_h5_commit(small_file(path))); }

static void check_small(tn_h5 *file) {
    tn_buf text = {0};
    int64_t step = 0;
    double loss = 0;
    float w[6];
    uint16_t t[5];
    assert_ok(tn_h5_get_text(file, "format", &text));
    assert_string_equal(text.data, "tern-test");
    assert_ok(tn_h5_get_int(file, "step", &step));
    assert_ok(tn_h5_get_real(file, "loss", &loss));
    assert_true(step == -42 && loss == 2.5);
    assert_ok(tn_h5_read(file, "params/w", TN_H5_F32, 6, w));
    assert_memory_equal(w, weights, sizeof w);
    assert_ok(tn_h5_read(file, "tokens", TN_H5_U16, 5, t));
    assert_memory_equal(t, tokens, sizeof t);
    tn_buf_reset(&text);
    assert_ok(tn_h5_read_text(file, "note", 9, &text));
    assert_ok(tn_h5_read_text(file, "nothing", 0, &text));
    assert_string_equal(text.data, "two words");
    assert_int_equal(tn_h5_read_text(file, "note", 8, &text), TN_E_RANGE);
    tn_buf_release(&text);
}

static void hdf5_file__what_was_written_is_read_back(void **state) {
    tn_test_files *f = *state;
    write_small(f->path);
    tn_h5 *file;
    assert_ok(tn_h5_open(&file, f->path, "tern-test"));
    check_small(file);
    assert_string_equal(tn_h5_path(file), f->path);
    assert_true(tn_h5_has(file, "params") && tn_h5_has(file, "params/w") && !tn_h5_has(file, "params/v"));
    assert_false(tn_h5_has(file, "tokens/w"));
    double gain;
    assert_int_equal(tn_h5_get_real(file, "gain", &gain), TN_E_CORRUPT);
    assert_non_null(strstr(tn_error_message(), "has no attribute \"gain\""));
    tn_h5_close(file);
}

static void hdf5_file__every_number_type_survives(void **state) {
    tn_test_files *f = *state;
    const unsigned char bytes[16] = {1, 2, 3, 4, 5, 6, 7, 0x40, 9, 10, 11, 12, 13, 14, 15, 0x41};
    unsigned char back[16];
    tn_h5 *file;
    char name[16];
    assert_ok(tn_h5_create(&file, f->path));
#define H5_TYPE(id, c_type, disk, memory)                                                                              \
    snprintf(name, sizeof name, "t%d", TN_H5_##id);                                                                    \
    assert_int_equal(tn_h5_type_size(TN_H5_##id), sizeof(c_type));                                                     \
    assert_ok(tn_h5_write(file, name, TN_H5_##id, 1, (int64_t[]){16 / sizeof(c_type)}, bytes));
#include "formats/hdf5_type.def"
#undef H5_TYPE
    assert_ok(tn_h5_commit(file));
    assert_ok(tn_h5_open(&file, f->path, NULL));
#define H5_TYPE(id, c_type, disk, memory)                                                                              \
    snprintf(name, sizeof name, "t%d", TN_H5_##id);                                                                    \
    assert_ok(tn_h5_read(file, name, TN_H5_##id, 16 / sizeof(c_type), back));                                          \
    assert_memory_equal(back, bytes, 16);
#include "formats/hdf5_type.def"
#undef H5_TYPE
    tn_h5_close(file);
}

static void hdf5_file__data_lies_in_the_file_as_one_aligned_run(void **state) {
    tn_test_files *f = *state;
    write_small(f->path);
    tn_h5 *file;
    tn_map map;
    tn_h5_info info;
    assert_ok(tn_h5_open(&file, f->path, NULL));
    assert_ok(tn_map_init(&map, f->path));
    assert_ok(tn_h5_get_info(file, "params/w", &info));
    assert_true(info.type == TN_H5_F32 && info.rank == 2 && info.dims[0] == 2 && info.dims[1] == 3 && info.count == 6);
    assert_true(info.offset > 0 && info.offset % 4096 == 0);
    assert_memory_equal(map.data + info.offset, weights, sizeof weights);
    assert_ok(tn_h5_get_info(file, "nothing", &info));
    assert_true(info.count == 0 && info.offset == -1);
    tn_map_release(&map);
    tn_h5_close(file);
}

static void hdf5_file__ranges_follow_the_flat_order(void **state) {
    tn_test_files *f = *state;
    enum { N = 2 * 3 * 4 * 5 };
    int32_t numbers[N], back[N];
    for (int i = 0; i < N; i++) numbers[i] = i + 1;
    for (int piece = 1; piece <= N; piece++) {
        tn_h5 *file;
        assert_ok(tn_h5_create(&file, f->path));
        assert_ok(tn_h5_make(file, "x", TN_H5_I32, 4, (int64_t[]){2, 3, 4, 5}));
        for (int i = 0; i < N; i += piece) {
            int count = TN_MIN(piece, N - i);
            assert_ok(tn_h5_write_range(file, "x", i, count, numbers + i));
        }
        assert_int_equal(tn_h5_write_range(file, "x", N - 1, 2, numbers), TN_E_RANGE);
        assert_int_equal(tn_h5_write_range(file, "y", 0, 1, numbers), TN_E_MISSING);
        assert_ok(tn_h5_commit(file));
        assert_ok(tn_h5_open(&file, f->path, NULL));
        assert_ok(tn_h5_read(file, "x", TN_H5_I32, N, back));
        assert_memory_equal(back, numbers, sizeof numbers);
        tn_h5_close(file);
    }
}

static void hdf5_file__appears_only_at_commit(void **state) {
    tn_test_files *f = *state;
    tn_h5 *file = small_file(f->path);
    assert_false(tn_path_exists(f->path));
    tn_h5_close(file);
    assert_int_equal(files_in(f->dir), 0);
    write_small(f->path);
    assert_int_equal(files_in(f->dir), 1);
}

static void hdf5_file__a_value_set_again_is_replaced(void **state) {
    tn_test_files *f = *state;
    tn_h5 *file;
    int64_t value = 0;
    assert_ok(tn_h5_create(&file, f->path));
    assert_ok(tn_h5_set_int(file, "step", 1));
    assert_ok(tn_h5_set_int(file, "step", 2));
    assert_ok(tn_h5_commit(file));
    assert_ok(tn_h5_open(&file, f->path, NULL));
    assert_ok(tn_h5_get_int(file, "step", &value));
    assert_int_equal(value, 2);
    tn_h5_close(file);
}

static tn_status collect(void *context, const char *path, bool is_group) {
    return tn_buf_printf(context, "%s%s ", path, is_group ? "/" : "");
}

static void hdf5_file__lists_by_name(void **state) {
    tn_test_files *f = *state;
    tn_h5 *file;
    tn_buf names = {0};
    write_small(f->path);
    assert_ok(tn_h5_open(&file, f->path, NULL));
    assert_ok(tn_h5_each(file, "", collect, &names));
    assert_ok(tn_h5_each(file, "params", collect, &names));
    assert_string_equal(names.data, "note nothing params/ tokens params/w ");
    assert_int_equal(tn_h5_each(file, "optim", collect, &names), TN_E_MISSING);
    tn_buf_release(&names);
    tn_h5_close(file);
}

static void hdf5_file__wrong_requests_are_refused(void **state) {
    tn_test_files *f = *state;
    tn_h5 *file;
    float w[6];
    int64_t number;
    tn_buf text = {0};
    write_small(f->path);
    assert_int_equal(tn_h5_open(&file, f->path, "tern-tokens"), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "tern-test"));
    assert_ok(tn_h5_open(&file, f->path, NULL));
    assert_int_equal(tn_h5_read(file, "params/w", TN_H5_F32, 5, w), TN_E_CORRUPT);
    assert_int_equal(tn_h5_read(file, "params/w", TN_H5_I32, 6, w), TN_E_CORRUPT);
    assert_int_equal(tn_h5_read(file, "params", TN_H5_F32, 6, w), TN_E_CORRUPT);
    assert_int_equal(tn_h5_read(file, "absent/w", TN_H5_F32, 6, w), TN_E_MISSING);
    assert_int_equal(tn_h5_get_int(file, "loss", &number), TN_E_CORRUPT);
    assert_int_equal(tn_h5_get_int(file, "absent", &number), TN_E_CORRUPT);
    assert_int_equal(tn_h5_get_text(file, "step", &text), TN_E_CORRUPT);
    tn_buf_release(&text);
    tn_h5_close(file);
}

static void hdf5_file__other_files_are_named_for_what_they_are(void **state) {
    tn_test_files *f = *state;
    tn_h5 *file;
    assert_int_equal(tn_h5_open(&file, f->path, NULL), TN_E_MISSING);
    assert_int_equal(tn_h5_open(&file, f->dir, NULL), TN_E_IO);
    assert_ok(tn_file_write(f->path, "", 0));
    assert_int_equal(tn_h5_open(&file, f->path, NULL), TN_E_FORMAT);
    assert_ok(tn_file_write(f->path, "GGUF and more text", 18));
    assert_int_equal(tn_h5_open(&file, f->path, NULL), TN_E_FORMAT);
    assert_null(file);
    assert_int_equal(tn_h5_create(&file, f->dir), TN_E_IO);
    assert_int_equal(tn_h5_create(&file, "/nonexistent/a.h5"), TN_E_MISSING);
    assert_null(file);
}

static void open_cut(void *context, const char *path, size_t at) {
    (void)context;
    tn_h5 *file;
    tn_status status = tn_h5_open(&file, path, "tern-test");
    assert_int_equal(status, at < 9 ? TN_E_FORMAT : TN_E_CORRUPT);
}

static void hdf5_file__a_truncated_file_is_damaged(void **state) {
    tn_test_files *f = *state;
    write_small(f->path);
    tn_test_cut_each(f->path, 61, open_cut, NULL);
    tn_h5 *file;
    assert_ok(tn_h5_open(&file, f->path, "tern-test"));
    check_small(file);
    tn_h5_close(file);
}

/* Data has no checksum at this level; everything else must be noticed or must not matter. */
static void read_flipped(void *context, const char *path, size_t at) {
    (void)context, (void)at;
    tn_h5 *file;
    tn_buf text = {0};
    tn_h5_info info;
    float w[6];
    if (tn_h5_open(&file, path, "tern-test")) return;
    (void)tn_h5_each(file, "params", collect, &text);
    (void)tn_h5_read(file, "params/w", TN_H5_F32, 6, w);
    (void)tn_h5_read_text(file, "note", 100, &text);
    if (!tn_h5_get_info(file, "tokens", &info)) assert_int_equal(info.count, 5);
    tn_buf_release(&text);
    tn_h5_close(file);
}

static void hdf5_file__a_flipped_bit_never_crashes(void **state) {
    tn_test_files *f = *state;
    write_small(f->path);
    tn_test_flip_each(f->path, 7, read_flipped, NULL);
}

static void hdf5_file__a_group_with_a_heap_is_refused(void **state) {
    tn_test_files *f = *state;
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    assert_true(H5Pset_libver_bounds(fapl, H5F_LIBVER_V18, H5F_LIBVER_V110) >= 0);
    hid_t raw = H5Fcreate(f->path, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "group%d", i);
        assert_true(H5Gclose(H5Gcreate2(raw, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)) >= 0);
    }
    assert_true(H5Fclose(raw) >= 0 && H5Pclose(fapl) >= 0);
    tn_h5 *file;
    assert_int_equal(tn_h5_open(&file, f->path, NULL), TN_E_UNSUPPORTED);
    assert_non_null(strstr(tn_error_message(), "keeps its links in a heap or a table"));
}

static tn_status list_group(void *context, const char *path, bool is_group) {
    tn_h5 *file = context;
    tn_h5_info info;
    return is_group ? tn_h5_each(file, path, list_group, file) : tn_h5_get_info(file, path, &info);
}

static tn_status count_groups(void *context, const char *path, bool is_group) {
    (void)path;
    *(int *)context += is_group;
    return TN_OK;
}

static void list_all(void *context, const char *path, size_t at) {
    (void)at;
    int64_t value;
    tn_h5 *file;
    if (tn_h5_open(&file, path, NULL)) return;
    *(int *)context = 0;
    (void)tn_h5_get_int(file, "attribute9", &value);
    (void)tn_h5_each(file, "", list_group, file);
    (void)tn_h5_each(file, "", count_groups, context);
    tn_h5_close(file);
}

/* More links a group than the library keeps in the group's header unless told to. */
static void hdf5_file__a_flipped_bit_in_a_large_group_never_crashes(void **state) {
    enum { GROUPS = 4, DATASETS = 10 };
    tn_test_files *f = *state;
    tn_h5 *file;
    assert_ok(tn_h5_create(&file, f->path));
    for (int i = 0; i < GROUPS * DATASETS; i++) {
        char name[32];
        snprintf(name, sizeof name, "group%d/dataset%d", i / DATASETS, i % DATASETS);
        assert_ok(tn_h5_make(file, name, TN_H5_F32, 1, (int64_t[]){0}));
    }
    for (int i = 0; i < DATASETS; i++) {
        char name[32];
        snprintf(name, sizeof name, "attribute%d", i);
        assert_ok(tn_h5_set_int(file, name, i));
        assert_ok(tn_h5_write_text(file, name, "", 0));
    }
    assert_ok(tn_h5_commit(file));
    int groups = 0;
    list_all(&groups, f->path, 0);
    assert_int_equal(groups, GROUPS);
    tn_test_flip_each(f->path, 61, list_all, &groups);
}

/* Fill a file until writing fails; the error must be `reason`, the old file whole, and nothing left beside it. */
static void fill_up(const char *path, const char *reason) {
    static float block[1 << 14];
    tn_h5 *file = small_file(path);
    tn_status status = TN_OK;
    for (int i = 0; i < 64 && !status; i++) {
        char name[16];
        snprintf(name, sizeof name, "big/%d", i);
        status = tn_h5_write(file, name, TN_H5_F32, 1, (int64_t[]){TN_COUNT(block)}, block);
    }
    assert_int_equal(status, TN_E_IO);
    assert_non_null(strstr(tn_error_message(), reason));
    assert_int_equal(tn_h5_set_int(file, "step", 1), TN_E_IO);
    assert_int_equal(tn_h5_commit(file), TN_E_IO);
    assert_non_null(strstr(tn_error_message(), reason));
    assert_ok(tn_h5_open(&file, path, "tern-test"));
    check_small(file);
    tn_h5_close(file);
}

static void hdf5_file__a_failed_write_leaves_the_old_file(void **state) {
    tn_test_files *f = *state;
    struct rlimit old, small = {256 << 10, RLIM_INFINITY};
    write_small(f->path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    fill_up(f->path, "file too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(files_in(f->dir), 1);
}

static void hdf5_file__a_full_disk_is_named(void **state) {
    tn_test_files *f = *state;
    char disk[TN_TEST_PATH + 16], path[TN_TEST_PATH + 32];
    snprintf(disk, sizeof disk, "%s/disk", f->dir);
    snprintf(path, sizeof path, "%s/a.h5", disk);
    assert_ok(tn_dir_make(disk));
    if (mount("tern-test", disk, "tmpfs", 0, "size=512k") != 0) {
        /* The limit on a file's size, tested above, takes the same way through the writer. */
        print_message("  note: no right to mount a small disk (%s)\n", strerror(errno));
        return;
    }
    write_small(path);
    fill_up(path, "no space left on device");
    size_t left = files_in(disk);
    assert_int_equal(umount(disk), 0);
    assert_int_equal(left, 1);
}

static void hdf5_file__a_failed_allocation_leaks_nothing(void **state) {
    tn_test_files *f = *state;
    write_small(f->path);
    int64_t alive = tn_memory_alive();
    tn_status status = TN_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        tn_h5 *file = NULL;
        tn_buf text = {0};
        tn_memory_fail_at(n);
        status = tn_h5_open(&file, f->path, "tern-test");
        if (!status) status = tn_h5_each(file, "", collect, &text);
        if (!status) status = tn_h5_read_text(file, "note", 9, &text);
        tn_memory_fail_at(0);
        tn_h5_close(file);
        tn_buf_release(&text);
        assert_true(status == TN_OK || status == TN_E_NOMEM);
        assert_int_equal(tn_memory_alive(), alive);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(hdf5_file__##name, tn_test_files_set_up, tn_test_files_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_read_back),
        TEST(every_number_type_survives),
        TEST(data_lies_in_the_file_as_one_aligned_run),
        TEST(ranges_follow_the_flat_order),
        TEST(appears_only_at_commit),
        TEST(a_value_set_again_is_replaced),
        TEST(lists_by_name),
        TEST(wrong_requests_are_refused),
        TEST(other_files_are_named_for_what_they_are),
        TEST(a_truncated_file_is_damaged),
        TEST(a_flipped_bit_never_crashes),
        TEST(a_group_with_a_heap_is_refused),
        TEST(a_flipped_bit_in_a_large_group_never_crashes),
        TEST(a_failed_write_leaves_the_old_file),
        TEST(a_full_disk_is_named),
        TEST(a_failed_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests_name("hdf5_file", tests, NULL, NULL);
}
