/* SPDX-License-Identifier: MIT
 * kernel_rig.h - what the suites of kernels share: an arena for each test, and every instruction set in turn. All in
 * this header, since some suites are also linked without the rest of Tern (tests/cross). */
#ifndef TN_TESTS_KERNEL_RIG_H
#define TN_TESTS_KERNEL_RIG_H
#include "core/arena.h"
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/testing.h"

static tn_arena *arena;

/* Set-up and tear-down of a group; set-up of a test. */
static TN_UNUSED int make_arena(void **state) {
    (void)state;
    arena = tn_arena_create("test");
    return arena ? 0 : -1;
}
static TN_UNUSED int free_arena(void **state) {
    (void)state;
    tn_arena_free(arena);
    return 0;
}
static TN_UNUSED int clear_arena(void **state) {
    (void)state;
    tn_arena_reset(arena);
    return tn_par_set_threads(1) || tn_kernels_init(NULL);
}

/* `count` elements, not cleared, from the arena. */
static TN_UNUSED void *take(size_t count, size_t size) {
    void *p = tn_arena_array(arena, count + 1, size, "test");
    assert_non_null(p);
    return p;
}

/* Number `isa` of tn_kernels_known from now on; false, said aloud, where the CPU or the build lacks it. */
static TN_UNUSED bool use_isa(size_t isa) {
    const tn_status status = tn_kernels_init(tn_kernels_known(isa));
    if (status) print_message("skipping %s\n", tn_error_message());
    return status == TN_OK;
}

#endif
