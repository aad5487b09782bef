/* SPDX-License-Identifier: MIT */
#include "core/fs.h"
#include "formats/checksum.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH = TN_TEST_PATH + 64, NOBODY = 65534 };

static char dir[TN_TEST_PATH];

static int set_up(void **state) {
    (void)state;
    tn_test_dir_make(dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tn_test_dir_remove(dir);
    return 0;
}

static const char *in_dir(char path[PATH], const char *name) {
    snprintf(path, PATH, "%s/%s", dir, name);
    return path;
}

static size_t count_files(void) {
    tn_names names = {0};
    assert_ok(tn_dir_list(dir, &names));
    size_t count = names.count;
    tn_names_release(&names);
    return count;
}

static void expect_content(const char *path, const char *text) {
    tn_buf buf = {0};
    assert_ok(tn_file_read(path, 1 << 20, &buf));
    assert_string_equal(tn_buf_text(&buf), text);
    tn_buf_release(&buf);
}

/* Run `act` in a process of its own; its exit status, or 128 + signal. */
static int in_child(int (*act)(const char *path), const char *path) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) _exit(act(path));
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void write__replaces_the_whole_file(void **state) {
    (void)state;
    char path[PATH];
    in_dir(path, "a");
    assert_ok(tn_file_write(path, "a long first text", 17));
    assert_ok(tn_file_write(path, "short", 5));
    expect_content(path, "short");
    assert_ok(tn_file_append(path, "er", 2));
    expect_content(path, "shorter");
    assert_int_equal(count_files(), 1);
}

static void read__says_what_is_wrong(void **state) {
    (void)state;
    char path[PATH];
    tn_buf buf = {0};
    assert_int_equal(tn_file_read(in_dir(path, "absent"), 10, &buf), TN_E_MISSING);
    assert_non_null(strstr(tn_error_message(), "absent: cannot open: no such file or directory"));
    assert_int_equal(tn_file_read(dir, 10, &buf), TN_E_IO);
    assert_ok(tn_file_write(in_dir(path, "eleven"), "01234567890", 11));
    assert_int_equal(tn_file_read(path, 10, &buf), TN_E_RANGE);
    tn_buf_reset(&buf);
    assert_ok(tn_file_read(path, 11, &buf));
    assert_int_equal(buf.len, 11);
    tn_buf_release(&buf);
}

static void read__refuses_what_may_never_end(void **state) {
    (void)state;
    char path[PATH];
    tn_buf buf = {0};
    tn_map map;
    assert_int_equal(tn_file_read("/dev/zero", 1000, &buf), TN_E_IO);
    assert_non_null(strstr(tn_error_message(), "/dev/zero: is a device where a file was expected"));
    assert_int_equal(mkfifo(in_dir(path, "pipe"), 0600), 0);
    assert_int_equal(tn_file_read(path, 1000, &buf), TN_E_IO);
    assert_int_equal(tn_map_init(&map, path), TN_E_IO);
    assert_non_null(strstr(tn_error_message(), "pipe: is a pipe where a file was expected"));
    assert_string_equal(tn_path_special(path), "a pipe");
    assert_null(tn_path_special(dir));
}

static void read__takes_a_pipe_that_is_open_already(void **state) {
    (void)state;
    int ends[2];
    char path[PATH];
    tn_buf buf = {0};
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "piped", 5), 5);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_ok(tn_file_read(path, 1000, &buf));
    assert_string_equal(tn_buf_text(&buf), "piped");
    tn_buf_release(&buf);
    close(ends[0]);
}

static void checksum__of_a_map_equals_that_of_its_bytes(void **state) {
    (void)state;
    enum { SIZE = (9 << 20) + 77, BEGIN = 4099 };
    char path[PATH];
    tn_buf bytes = {0};
    for (uint32_t i = 0; i < SIZE / 4 + 1; i++) assert_ok(tn_buf_append(&bytes, &(uint32_t){i * 2654435761u}, 4));
    assert_ok(tn_file_write(in_dir(path, "bytes"), bytes.data, SIZE));
    tn_map map;
    assert_ok(tn_map_init(&map, path));
    assert_true(tn_checksum64_map(&map, BEGIN, SIZE - BEGIN) == tn_checksum64(bytes.data + BEGIN, SIZE - BEGIN));
    assert_true(tn_checksum64_map(&map, 0, SIZE) == tn_checksum64(bytes.data, SIZE));
    assert_true(tn_checksum64_map(&map, 5, 0) == tn_checksum64(bytes.data, 0));
    assert_memory_equal(map.data, bytes.data, SIZE); /* nothing was lost */
    tn_map_release(&map);
    tn_buf_release(&bytes);
}

static void map__shows_the_bytes(void **state) {
    (void)state;
    char path[PATH];
    tn_map map;
    assert_ok(tn_file_write(in_dir(path, "m"), "bytes", 5));
    assert_ok(tn_map_init(&map, path));
    assert_int_equal(map.size, 5);
    assert_memory_equal(map.data, "bytes", 5);
    tn_map_release(&map);
    tn_map_release(&map);
    assert_ok(tn_file_write(path, "", 0));
    assert_ok(tn_map_init(&map, path));
    assert_null(map.data);
    tn_map_release(&map);
    assert_int_equal(tn_map_init(&map, dir), TN_E_IO);
    assert_int_equal(tn_map_init(&map, in_dir(path, "absent")), TN_E_MISSING);
}

static void abort__leaves_nothing(void **state) {
    (void)state;
    char path[PATH];
    tn_atomic file;
    assert_ok(tn_atomic_begin(&file, in_dir(path, "a")));
    assert_ok(tn_file_append(file.temp, "half", 4));
    assert_false(tn_path_exists(path));
    tn_atomic_abort(&file);
    tn_atomic_abort(&file);
    assert_int_equal(count_files(), 0);
}

static int die_half_way(const char *path) {
    tn_atomic file;
    if (tn_atomic_begin(&file, path) || tn_file_append(file.temp, "half", 4)) return 1;
    raise(SIGKILL);
    return 2;
}

static void kill__leaves_the_old_file(void **state) {
    (void)state;
    char path[PATH];
    assert_int_equal(in_child(die_half_way, in_dir(path, "new")), 128 + SIGKILL);
    assert_false(tn_path_exists(path));
    assert_ok(tn_file_write(in_dir(path, "old"), "old", 3));
    assert_int_equal(in_child(die_half_way, path), 128 + SIGKILL);
    expect_content(path, "old");
}

static void kill__leaves_a_temporary_file_to_the_next_writer(void **state) {
    (void)state;
    char path[PATH], alive[PATH + 32];
    assert_int_equal(in_child(die_half_way, in_dir(path, "a")), 128 + SIGKILL);
    assert_int_equal(count_files(), 1);
    snprintf(alive, sizeof alive, "%s.tmp.%ld", path, (long)getppid());
    assert_ok(tn_file_append(alive, "", 0));
    assert_ok(tn_file_write(path, "new", 3));
    assert_int_equal(count_files(), 2); /* the file, and the one whose writer is there */
    assert_true(tn_path_exists(alive));
    assert_ok(tn_file_write(in_dir(path, "a.tmp.x"), "", 0));
    assert_ok(tn_file_write(in_dir(path, "a"), "new", 3));
    assert_int_equal(count_files(), 3);
}

static void remove_temporary_files(int number) {
    tn_atomic_abort_all();
    _exit(number);
}

static int end_half_way(const char *path) {
    tn_atomic files[3];
    char other[PATH + 8];
    snprintf(other, sizeof other, "%s.other", path);
    signal(SIGTERM, remove_temporary_files);
    if (tn_atomic_begin(&files[0], path) || tn_atomic_begin(&files[1], other)) return 1;
    if (tn_atomic_commit(&files[1]) || tn_atomic_begin(&files[2], other)) return 2;
    raise(SIGTERM);
    return 3;
}

static void abort_all__removes_every_temporary_file(void **state) {
    (void)state;
    char path[PATH];
    assert_int_equal(in_child(end_half_way, in_dir(path, "a")), SIGTERM);
    assert_false(tn_path_exists(path));
    assert_int_equal(count_files(), 1); /* the one that was committed */
}

static void write__replaces_no_device_and_no_pipe(void **state) {
    (void)state;
    char path[PATH];
    struct stat st;
    assert_int_equal(mkfifo(in_dir(path, "pipe"), 0600), 0);
    assert_int_equal(tn_file_write(path, "x", 1), TN_E_IO);
    assert_non_null(strstr(tn_error_message(), "pipe: is a pipe, not a regular file that could be replaced"));
    assert_true(stat(path, &st) == 0 && S_ISFIFO(st.st_mode));
    assert_int_equal(tn_file_write("/dev/null", "x", 1), TN_E_IO);
    assert_non_null(strstr(tn_error_message(), "/dev/null: is a device"));
    assert_true(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    assert_int_equal(count_files(), 1);
}

static void write__goes_through_a_link(void **state) {
    (void)state;
    char path[PATH], link[PATH];
    struct stat st;
    assert_ok(tn_dir_make(in_dir(path, "there")));
    assert_ok(tn_file_write(in_dir(path, "there/file"), "old", 3));
    assert_int_equal(symlink("there/file", in_dir(link, "link")), 0);
    assert_ok(tn_file_write(link, "new", 3));
    expect_content(path, "new");
    assert_true(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    assert_ok(tn_file_remove(path));
    assert_int_equal(tn_file_write(link, "new", 3), TN_E_IO);
    assert_non_null(strstr(tn_error_message(), "link: is a symbolic link to nothing"));
    assert_int_equal(count_files(), 2);
}

static int write_as_nobody(const char *path) {
    if (geteuid() == 0 && setuid(NOBODY) != 0) return 1;
    tn_atomic file;
    if (tn_atomic_begin(&file, path) != TN_E_IO) return 2;
    if (!strstr(tn_error_message(), "cannot write: permission denied")) return 3;
    return tn_file_append(path, "x", 1) == TN_E_IO ? 0 : 4;
}

static void write__is_refused_in_a_read_only_folder(void **state) {
    (void)state;
    char path[PATH];
    assert_int_equal(chmod(dir, 0555), 0);
    assert_int_equal(in_child(write_as_nobody, in_dir(path, "a")), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(count_files(), 0);
}

static void write__names_a_full_disk(void **state) {
    (void)state;
    assert_int_equal(tn_file_append("/dev/full", "x", 1), TN_E_IO);
    assert_non_null(strstr(tn_error_message(), "/dev/full: cannot write: no space left on device"));
}

static void write__is_refused_where_a_folder_is_or_none(void **state) {
    (void)state;
    char path[PATH];
    tn_atomic file;
    assert_int_equal(tn_atomic_begin(&file, dir), TN_E_IO);
    assert_int_equal(tn_atomic_begin(&file, in_dir(path, "no/such")), TN_E_MISSING);
    tn_atomic_abort(&file);
}

static void dir__is_made_with_its_parents(void **state) {
    (void)state;
    char path[PATH], file[PATH];
    assert_ok(tn_dir_make(in_dir(path, "a/b/c")));
    assert_ok(tn_dir_make(path));
    assert_true(tn_path_is_dir(path));
    assert_ok(tn_file_write(in_dir(file, "a/file"), "", 0));
    assert_int_equal(tn_dir_make(file), TN_E_IO);
    assert_int_equal(tn_dir_make(in_dir(file, "a/file/x")), TN_E_IO);
}

static void dir__lists_names_in_order(void **state) {
    (void)state;
    static const char *const names[] = {"b", "a", "C", "10"};
    char path[PATH];
    for (size_t i = 0; i < TN_COUNT(names); i++) assert_ok(tn_file_write(in_dir(path, names[i]), "", 0));
    tn_names found = {0};
    assert_ok(tn_dir_list(dir, &found));
    assert_int_equal(found.count, 4);
    assert_string_equal(found.list[0], "10");
    assert_string_equal(found.list[1], "C");
    assert_string_equal(found.list[3], "b");
    tn_names_release(&found);
    assert_int_equal(tn_dir_list(in_dir(path, "absent"), &found), TN_E_MISSING);
}

static void path__joins_and_removes(void **state) {
    (void)state;
    char path[PATH], small[8];
    assert_ok(tn_path_join(path, sizeof path, "a", "b"));
    assert_string_equal(path, "a/b");
    assert_ok(tn_path_join(path, sizeof path, "a/", "b"));
    assert_string_equal(path, "a/b");
    assert_int_equal(tn_path_join(small, sizeof small, "abcd", "efgh"), TN_E_RANGE);
    assert_ok(tn_file_write(in_dir(path, "x"), "", 0));
    assert_ok(tn_file_remove(path));
    assert_ok(tn_file_remove(path));
    assert_false(tn_path_exists(path));
}

static int take_lock(const char *path) {
    tn_lock lock;
    return tn_lock_take(&lock, path) == TN_E_BUSY ? 42 : 0;
}

static int hold_lock_and_die(const char *path) {
    tn_lock lock;
    if (tn_lock_take(&lock, path)) return 1;
    raise(SIGKILL);
    return 2;
}

static void lock__keeps_other_processes_out(void **state) {
    (void)state;
    char path[PATH];
    tn_lock lock;
    assert_ok(tn_lock_take(&lock, in_dir(path, "lock")));
    assert_int_equal(in_child(take_lock, path), 42);
    tn_lock_release(&lock);
    tn_lock_release(&lock);
    assert_int_equal(in_child(take_lock, path), 0);
    assert_int_equal(in_child(hold_lock_and_die, path), 128 + SIGKILL);
    assert_ok(tn_lock_take(&lock, path)); /* a dead holder holds nothing */
    tn_lock_release(&lock);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(write__replaces_the_whole_file),
        CASE(read__says_what_is_wrong),
        CASE(read__refuses_what_may_never_end),
        CASE(read__takes_a_pipe_that_is_open_already),
        CASE(kill__leaves_a_temporary_file_to_the_next_writer),
        CASE(abort_all__removes_every_temporary_file),
        CASE(write__replaces_no_device_and_no_pipe),
        CASE(write__goes_through_a_link),
        CASE(map__shows_the_bytes),
        CASE(checksum__of_a_map_equals_that_of_its_bytes),
        CASE(abort__leaves_nothing),
        CASE(kill__leaves_the_old_file),
        CASE(write__is_refused_in_a_read_only_folder),
        CASE(write__names_a_full_disk),
        CASE(write__is_refused_where_a_folder_is_or_none),
        CASE(dir__is_made_with_its_parents),
        CASE(dir__lists_names_in_order),
        CASE(path__joins_and_removes),
        CASE(lock__keeps_other_processes_out),
    };
    return cmocka_run_group_tests_name("fs", tests, NULL, NULL);
}
