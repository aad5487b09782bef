/* SPDX-License-Identifier: MIT
 * testing.h - cmocka with what every test of Tern needs: include it last. */
#ifndef TN_TESTS_TESTING_H
#define TN_TESTS_TESTING_H
#include "core/status.h"

#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h needs the two above. */
#include <cmocka.h>

/* The call must return TN_OK; else its message is shown. */
#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        tn_status assert_ok_ = (call);                                                                                 \
        if (assert_ok_) fail_msg("%s: %s: %s", #call, tn_status_name(assert_ok_), tn_error_message());                 \
    } while (0)

/* What a call returned, and a part of its message. */
void tn_assert_refused(tn_status status, tn_status expected, const char *part);

enum { TN_TEST_PATH = 512 };

/* A fresh folder for one test; remove takes everything in it away. */
void tn_test_dir_make(char path[TN_TEST_PATH]);
void tn_test_dir_remove(const char *path);
int tn_test_dir_count(const char *path); /* what is in it */
/* For suites that work on files, as cmocka's set-up and tear-down: *state is a tn_test_files with a folder of its own.
 */
typedef struct tn_test_files {
    char dir[TN_TEST_PATH];
    char path[TN_TEST_PATH + 32]; /* dir/file, which is not there yet; a test may write another path */
} tn_test_files;
int tn_test_files_set_up(void **state);
int tn_test_files_tear_down(void **state);

/* The path of a file of ../shared (or of $TN_SHARED): false, with the reason printed, when it is not there. */
bool tn_test_shared(char path[TN_TEST_PATH], const char *name);

#endif
