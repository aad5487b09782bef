/* SPDX-License-Identifier: MIT
 * answer_file.h - the answers of a batch, one JSON object a line in the order they came, in a file that can be gone on
 * with: PATH holds the answers, PATH.state what they belong to.
 *   {"request_id": "a7", "index": 3, ...}      `index` counts the rows of the input from 0
 * An answer is appended with one write and stays whatever happens to the process later; a last line that was only half
 * written is cut off when the file is opened again. Rows may be added to the end of the input meanwhile.
 * Owns: the lock on PATH. Threads: one file, one thread. */
#ifndef TN_INFER_ANSWER_FILE_H
#define TN_INFER_ANSWER_FILE_H
#include "core/buf.h"

#include <jansson.h>

typedef struct tn_answer_file tn_answer_file;

/* What the answers belong to. */
typedef struct tn_answer_origin {
    const char *input; /* [input_len] the text of the input */
    size_t input_len;
    const char *model;      /* a fingerprint */
    const json_t *settings; /* object: all else that decides what is answered */
    int64_t seed;           /* negative: that of the answers that are there, or else `new_seed` */
    int64_t new_seed;       /* >= 0 */
} tn_answer_origin;

typedef enum tn_answer_start {
    TN_ANSWERS_GO_ON,  /* keep what is there, if it has the same origin */
    TN_ANSWERS_RESTART /* drop it */
} tn_answer_start;

/* Fails: TN_E_MISMATCH when the file is of another origin (the sentence says which part), or has no state beside it,
 * and so is none of ours, which is never dropped; TN_E_CORRUPT for a line that is no answer, TN_E_BUSY, TN_E_IO. */
tn_status tn_answer_file_open(tn_answer_file **out, const char *path, const tn_answer_origin *origin,
                              tn_answer_start start);
void tn_answer_file_close(tn_answer_file *file); /* NULL is fine */

int64_t tn_answer_file_seed(const tn_answer_file *file);
int64_t tn_answer_file_count(const tn_answer_file *file); /* answers in the file */
bool tn_answer_file_has(const tn_answer_file *file, int64_t index);
/* Append `answer`, an object with its "index". Fails: TN_E_IO, TN_E_NOMEM. */
tn_status tn_answer_file_put(tn_answer_file *file, const json_t *answer);

#endif
