/* SPDX-License-Identifier: MIT */
#include "tests/damage.h"

#include "core/fs.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <unistd.h>

/* libhdf5 1.10 forgets some 400 bytes for every object header whose checksum is off. The address sanitizer's leak
 * checker looks this function up by name. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libhdf5\n"; }

static tn_buf read_whole(const char *path) {
    tn_buf whole = {0};
    assert_ok(tn_file_read(path, 1 << 26, &whole));
    return whole;
}

static void put_byte(int fd, size_t at, int byte) {
    char value = (char)byte;
    assert_int_equal(pwrite(fd, &value, 1, (off_t)at), 1);
}

void tn_test_flip_each(const char *path, size_t stride, tn_test_hurt *hurt, void *context) {
    tn_buf whole = read_whole(path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t at = 0; at < whole.len; at += stride) {
        put_byte(fd, at, whole.data[at] ^ 1 << at % 8);
        hurt(context, path, at);
        put_byte(fd, at, whole.data[at]);
    }
    close(fd);
    tn_buf_release(&whole);
}

void tn_test_cut_each(const char *path, size_t stride, tn_test_hurt *hurt, void *context) {
    tn_buf whole = read_whole(path);
    for (size_t at = 0; at < whole.len; at += stride) {
        int fd = open(path, O_WRONLY | O_TRUNC);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, whole.data, at), at);
        close(fd);
        hurt(context, path, at);
    }
    assert_ok(tn_file_write(path, whole.data, whole.len));
    tn_buf_release(&whole);
}
