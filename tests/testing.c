/* SPDX-License-Identifier: MIT */
#include "core/fs.h"
#include "tests/testing.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void tn_assert_refused(tn_status status, tn_status expected, const char *part) {
    assert_int_equal(status, expected);
    if (!strstr(tn_error_message(), part)) fail_msg("\"%s\" lacks \"%s\"", tn_error_message(), part);
}

void tn_test_dir_make(char path[TN_TEST_PATH]) {
    const char *base = getenv("TMPDIR");
    snprintf(path, TN_TEST_PATH, "%.400s/tern-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk) {
    (void)st, (void)kind, (void)walk;
    return remove(path);
}

void tn_test_dir_remove(const char *path) { assert_int_equal(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0); }

int tn_test_dir_count(const char *path) {
    tn_names names = {0};
    assert_ok(tn_dir_list(path, &names));
    const int count = (int)names.count;
    tn_names_release(&names);
    return count;
}

int tn_test_files_set_up(void **state) {
    static tn_test_files files;
    tn_test_dir_make(files.dir);
    snprintf(files.path, sizeof files.path, "%s/file", files.dir);
    *state = &files;
    return 0;
}

int tn_test_files_tear_down(void **state) {
    tn_test_dir_remove(((tn_test_files *)*state)->dir);
    return 0;
}

bool tn_test_shared(char path[TN_TEST_PATH], const char *name) {
    const char *base = getenv("TN_SHARED");
    snprintf(path, TN_TEST_PATH, "%.300s/%.200s", base ? base : "../shared", name);
    if (tn_path_exists(path)) return true;
    print_message("skipped: %s is not there\n", path);
    return false;
}
