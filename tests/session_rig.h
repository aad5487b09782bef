/* SPDX-License-Identifier: MIT
 * session_rig.h - a tiny model as a checkpoint, loaded to run, for suites of sessions and texts. */
#ifndef TN_TESTS_SESSION_RIG_H
#define TN_TESTS_SESSION_RIG_H
#include "infer/session.h"
#include "tests/testing.h"

enum { TN_TEST_IDS = 40, TN_TEST_CONTEXT = 48 };

typedef struct tn_test_model {
    char dir[TN_TEST_PATH], checkpoint[TN_TEST_PATH + 16], gguf[TN_TEST_PATH + 16]; /* the last is not there yet */
    tn_arena *arena;
    tn_loaded loaded; /* from the checkpoint, to run */
    int32_t ids[TN_TEST_IDS];
} tn_test_model;

/* cmocka's set-up and tear-down: *state is a tn_test_model. */
int tn_test_model_set_up(void **state);
int tn_test_model_tear_down(void **state);

int tn_test_vocab(const tn_loaded *loaded);
void tn_test_assert_same(const tn_real *a, const tn_real *b, int64_t n); /* bit for bit */
tn_session *tn_test_session(const tn_loaded *loaded, int context, int chunk);

typedef struct tn_test_text {
    tn_buf text;
    bool whole; /* every piece was valid UTF-8 */
} tn_test_text;
tn_status tn_test_collect(void *context, const char *text, size_t len); /* a tn_text_piece on a tn_test_text */

#endif
