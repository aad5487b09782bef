/* SPDX-License-Identifier: MIT
 * fuzz_rows.c - rows of training data: whatever is accepted is a conversation with roles and contents, a text, or
 * tokens that are none too many; leaving bad rows out accepts no less. */
#include "data/rows.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void remove_link(void) { unlink(path); }

/* The bytes under a name that says what they are. */
static const char *rows_file(const uint8_t *data, size_t size) {
    const char *file = tn_fuzz_file(data, size);
    if (*path) return path;
    snprintf(path, sizeof path, "/tmp/tern-fuzz-%ld.jsonl", (long)getpid());
    TN_ASSERT(symlink(file, path) == 0 && atexit(remove_link) == 0);
    return path;
}

static void use_said(const tn_said *said) {
    size_t count = said->messages ? json_array_size(said->messages) : said->len;
    TN_ASSERT(said->answer <= count);
    for (size_t i = 0; i < json_array_size(said->messages); i++) {
        const json_t *message = json_array_get(said->messages, i);
        TN_ASSERT(json_is_string(json_object_get(message, "role")) && json_object_get(message, "content"));
        (void)tn_message_is_learnt(message);
    }
}

static tn_status use(void *context, const tn_row *row) {
    ++*(int *)context;
    TN_ASSERT((row->n_said > 0) != (row->n_ids > 0) &&
              row->n_said == (row->kind == TN_ROW_PREFERENCE ? 2 : row->n_said));
    for (int i = 0; i < row->n_said; i++) use_said(&row->said[i]);
    for (size_t i = 0; i < row->n_ids; i++) TN_ASSERT(row->ids[i] >= 0);
    return TN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *file = rows_file(data, size);
    int taken[2] = {0};
    for (int skips = 0; skips < 2; skips++) {
        const tn_row_options options = {.kind = size % 2 ? TN_ROWS_AUTO : TN_ROWS_MIXED, .skips_bad = skips};
        tn_data_report report = {0};
        tn_status status = tn_read_rows(&file, 1, &options, &report, use, &taken[skips]);
        TN_ASSERT(status || tn_data_report_total(&report).rows >= taken[skips]);
        tn_data_report_release(&report);
    }
    TN_ASSERT(taken[1] >= taken[0]);
    return 0;
}
