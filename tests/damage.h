/* SPDX-License-Identifier: MIT
 * damage.h - a file hurt in every place, one place at a time, for the tests of readers. */
#ifndef TN_TESTS_DAMAGE_H
#define TN_TESTS_DAMAGE_H
#include <stddef.h>

/* Called with the file damaged at byte `at`. */
typedef void tn_test_hurt(void *context, const char *path, size_t at);

/* Flip one bit of every `stride`-th byte in turn (bit at % 8); the file is whole again afterwards. */
void tn_test_flip_each(const char *path, size_t stride, tn_test_hurt *hurt, void *context);
/* Cut the file at 0, stride, 2 stride ... bytes; whole again afterwards. */
void tn_test_cut_each(const char *path, size_t stride, tn_test_hurt *hurt, void *context);

#endif
