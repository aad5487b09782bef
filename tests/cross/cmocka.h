/* SPDX-License-Identifier: MIT
 * cmocka.h - as much of cmocka as the suites of core and kernels use, for machines known only by a cross compiler: with
 * it they build without a library of that machine. The first failure ends a test, not the suite. */
#ifndef TN_TESTS_CROSS_CMOCKA_H
#define TN_TESTS_CROSS_CMOCKA_H
#include "core/compiler.h"

typedef int cross_set_up(void **state);
struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
    cross_set_up *set_up; /* or NULL */
};
#define cmocka_unit_test(test)                                                                                         \
    { #test, test, NULL }
#define cmocka_unit_test_setup(test, set_up)                                                                           \
    { #test, test, set_up }

/* Runs them all; the number of those that failed. */
int cross_run(const char *suite, const struct CMUnitTest *tests, size_t count, cross_set_up *set_up,
              cross_set_up *tear_down);
#define cmocka_run_group_tests_name(suite, tests, set_up, tear_down)                                                   \
    cross_run(suite, tests, sizeof(tests) / sizeof((tests)[0]), set_up, tear_down)

void print_message(const char *format, ...) TN_PRINTF(1, 2);
TN_NORETURN void cross_fail(const char *file, int line, const char *format, ...) TN_PRINTF(3, 4);
TN_NORETURN void cross_skip(void);
void cross_equal_integers(intmax_t a, intmax_t b, const char *file, int line);
void cross_equal_strings(const char *a, const char *b, const char *file, int line);
void cross_equal_memory(const void *a, const void *b, size_t size, const char *file, int line);

#define fail_msg(...)                   cross_fail(__FILE__, __LINE__, __VA_ARGS__)
#define skip()                          cross_skip()
#define assert_true(c)                  ((c) ? (void)0 : cross_fail(__FILE__, __LINE__, "%s", #c))
#define assert_false(c)                 assert_true(!(c))
#define assert_null(p)                  assert_true((p) == NULL)
#define assert_non_null(p)              assert_true((p) != NULL)
#define assert_ptr_equal(a, b)          assert_true((const void *)(a) == (const void *)(b))
#define assert_int_equal(a, b)          cross_equal_integers((intmax_t)(a), (intmax_t)(b), __FILE__, __LINE__)
#define assert_string_equal(a, b)       cross_equal_strings(a, b, __FILE__, __LINE__)
#define assert_memory_equal(a, b, size) cross_equal_memory(a, b, size, __FILE__, __LINE__)

#endif
