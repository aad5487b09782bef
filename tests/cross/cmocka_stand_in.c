/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka.h stands in for one that needs the two above. */
#include <cmocka.h>

enum { PASSED, FAILED, SKIPPED };
static jmp_buf end_of_test;

void print_message(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

void cross_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    printf("%s:%d: ", file, line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    longjmp(end_of_test, FAILED);
}

void cross_skip(void) { longjmp(end_of_test, SKIPPED); }

void cross_equal_integers(intmax_t a, intmax_t b, const char *file, int line) {
    if (a != b) cross_fail(file, line, "%jd instead of %jd", a, b);
}

void cross_equal_strings(const char *a, const char *b, const char *file, int line) {
    if (strcmp(a, b) != 0) cross_fail(file, line, "\"%s\" instead of \"%s\"", a, b);
}

void cross_equal_memory(const void *a, const void *b, size_t size, const char *file, int line) {
    const unsigned char *left = a, *right = b;
    for (size_t i = 0; i < size; i++)
        if (left[i] != right[i]) cross_fail(file, line, "byte %zu of %zu differs", i, size);
}

/* What is said of OpenBLAS is not of cblas_stand_in.c, and threads belong to the drivers, the same on every machine.
 * CROSS_ONLY in the environment is a part of the wanted names. */
static bool wanted(const char *name) {
    const char *only = getenv("CROSS_ONLY");
    return !strstr(name, "openblas") && !strstr(name, "threads_change") && (!only || strstr(name, only));
}

static int run_test(const struct CMUnitTest *t) {
    void *state = NULL;
    if (!wanted(t->name)) return SKIPPED;
    const int end = setjmp(end_of_test);
    if (end) return end;
    if (t->set_up && t->set_up(&state) != 0) cross_fail(__FILE__, __LINE__, "set-up failed");
    t->test(&state);
    return PASSED;
}

int cross_run(const char *suite, const struct CMUnitTest *tests, size_t count, cross_set_up *set_up,
              cross_set_up *tear_down) {
    static const char *const words[] = {"ok", "FAILED", "skipped"};
    int ended[3] = {0};
    void *state = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (set_up && set_up(&state) != 0) return 1;
    for (size_t i = 0; i < count; i++) {
        const clock_t start = clock();
        const int end = run_test(&tests[i]);
        ended[end]++;
        printf("%-8s %5.1f s %s\n", words[end], (double)(clock() - start) / CLOCKS_PER_SEC, tests[i].name);
    }
    if (tear_down) (void)tear_down(&state);
    printf("%s: %d passed, %d failed, %d skipped\n", suite, ended[PASSED], ended[FAILED], ended[SKIPPED]);
    return ended[FAILED];
}
