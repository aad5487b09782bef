/* SPDX-License-Identifier: MIT */
#include "core/fs.h"
#include "tests/testing.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const names[] = {"a", "b"};

typedef struct fixture {
    char dir[TN_TEST_PATH], path[TN_TEST_PATH + 16];
    tn_atomic_folder folder;
} fixture;

static int set_up(void **state) {
    static fixture f;
    tn_test_dir_make(f.dir);
    snprintf(f.path, sizeof f.path, "%s/out", f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    tn_test_dir_remove(((fixture *)*state)->dir);
    return 0;
}

static tn_status begin(fixture *f) { return tn_atomic_folder_begin(&f->folder, f->path, names, (int)TN_COUNT(names)); }

static void put(const char *dir, const char *name, const char *text) {
    char path[TN_TEST_PATH * 2];
    assert_ok(tn_path_join(path, sizeof path, dir, name));
    assert_ok(tn_file_write(path, text, strlen(text)));
}

static void write_folder(fixture *f, const char *text) {
    assert_ok(begin(f));
    put(f->folder.temp, "a", text);
    assert_ok(tn_atomic_folder_commit(&f->folder));
}

static size_t count(const char *dir) {
    tn_names list = {0};
    assert_ok(tn_dir_list(dir, &list));
    const size_t n = list.count;
    tn_names_release(&list);
    return n;
}

static void expect(const fixture *f, const char *text) {
    char path[TN_TEST_PATH * 2];
    tn_buf found = {0};
    assert_ok(tn_path_join(path, sizeof path, f->path, "a"));
    assert_ok(tn_file_read(path, 100, &found));
    assert_string_equal(tn_buf_text(&found), text);
    tn_buf_release(&found);
    assert_int_equal(count(f->dir), 1);
}

static void folder__appears_when_it_is_complete(void **state) {
    fixture *f = *state;
    assert_ok(begin(f));
    put(f->folder.temp, "a", "one");
    assert_false(tn_path_exists(f->path));
    assert_ok(tn_atomic_folder_commit(&f->folder));
    expect(f, "one");
    tn_atomic_folder_abort(&f->folder);
    expect(f, "one");
}

static void folder__replaces_one_of_its_kind_as_a_whole(void **state) {
    fixture *f = *state;
    write_folder(f, "one");
    put(f->path, "b", "more");
    write_folder(f, "two");
    expect(f, "two");
    assert_int_equal(count(f->path), 1);
    strcat(f->path, "//");
    write_folder(f, "three");
    expect(f, "three");
}

static void folder__goes_through_a_link(void **state) {
    fixture *f = *state;
    char there[TN_TEST_PATH + 16], link[TN_TEST_PATH + 16];
    snprintf(there, sizeof there, "%s", f->path);
    write_folder(f, "one");
    snprintf(link, sizeof link, "%s/link", f->dir);
    assert_int_equal(symlink("out", link), 0);
    snprintf(f->path, sizeof f->path, "%s", link);
    write_folder(f, "two");
    struct stat st;
    assert_true(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    assert_int_equal(unlink(link), 0);
    snprintf(f->path, sizeof f->path, "%s", there);
    expect(f, "two");
}

static void folder__with_other_files_is_left_alone(void **state) {
    fixture *f = *state;
    write_folder(f, "one");
    put(f->path, "thesis.txt", "years");
    assert_int_equal(begin(f), TN_E_CONFIG);
    assert_non_null(strstr(tn_error_message(), "holds thesis.txt, which would be lost"));
    tn_atomic_folder_abort(&f->folder);
    expect(f, "one");
    assert_int_equal(count(f->path), 2);
}

static void folder__takes_the_place_of_nothing_else(void **state) {
    fixture *f = *state;
    assert_ok(tn_file_write(f->path, "file", 4));
    assert_int_equal(begin(f), TN_E_IO);
    assert_non_null(strstr(tn_error_message(), "is no folder"));
    assert_int_equal(tn_atomic_folder_begin(&f->folder, "/no/such/place", names, 2), TN_E_MISSING);
    assert_int_equal(count(f->dir), 1);
}

static void folder__that_is_given_up_leaves_nothing(void **state) {
    fixture *f = *state;
    assert_ok(begin(f));
    put(f->folder.temp, "b", "half");
    tn_atomic_folder_abort(&f->folder);
    tn_atomic_folder_abort(&f->folder);
    assert_int_equal(count(f->dir), 0);
}

/* A process that ends by a signal in the middle. */
static void remove_all(int number) {
    tn_atomic_abort_all();
    _exit(number);
}

static void end_half_way(fixture *f, int number) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        tn_atomic file;
        char path[TN_TEST_PATH * 2];
        signal(SIGTERM, remove_all);
        if (begin(f) || tn_path_join(path, sizeof path, f->folder.temp, "a") || tn_file_write(path, "half", 4))
            _exit(1);
        if (tn_path_join(path, sizeof path, f->folder.temp, "b") || tn_atomic_begin(&file, path)) _exit(2);
        raise(number);
        _exit(3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == number : WEXITSTATUS(status) == number);
}

static void signal__removes_what_is_half_made(void **state) {
    fixture *f = *state;
    end_half_way(f, SIGTERM);
    assert_int_equal(count(f->dir), 0);
}

static void kill__leaves_its_rest_to_the_next_writer(void **state) {
    fixture *f = *state;
    end_half_way(f, SIGKILL);
    assert_int_equal(count(f->dir), 1);
    assert_false(tn_path_exists(f->path));
    write_folder(f, "new");
    expect(f, "new");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(folder__appears_when_it_is_complete),
        TEST(folder__replaces_one_of_its_kind_as_a_whole),
        TEST(folder__goes_through_a_link),
        TEST(folder__with_other_files_is_left_alone),
        TEST(folder__takes_the_place_of_nothing_else),
        TEST(folder__that_is_given_up_leaves_nothing),
        TEST(signal__removes_what_is_half_made),
        TEST(kill__leaves_its_rest_to_the_next_writer),
    };
    return cmocka_run_group_tests_name("fs_folder", tests, NULL, NULL);
}
