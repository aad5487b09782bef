/* SPDX-License-Identifier: MIT
 * split.h - cuts text into the pieces that BPE works on; the rows are in split.def.
 * Expressions run on PCRE2 with Unicode 14 classes, compiled to machine code where the system allows it.
 * Threads: a splitter is read-only after creation; each run brings its own match data. */
#ifndef TN_DATA_SPLIT_H
#define TN_DATA_SPLIT_H
#include "data/tokenizer.h"

typedef struct tn_splitter tn_splitter;

tn_status tn_splitter_create(tn_splitter **out, tn_split split);
void tn_splitter_free(tn_splitter *splitter); /* NULL is fine */

/* Called for the pieces from left to right; together they are the whole text. A failure stops the run. */
typedef tn_status tn_piece_visit(void *context, const char *piece, size_t len);
tn_status tn_splitter_run(const tn_splitter *splitter, const char *text, size_t len, tn_piece_visit *visit,
                          void *context); /* text: valid UTF-8 */

const char *tn_split_name(tn_split split); /* in GGUF: "llama-bpe" */
bool tn_split_ignores_merges(tn_split split);
bool tn_split_adds_bos(tn_split split);
int tn_split_expressions(tn_split split, const char *const **list); /* how many */
/* False when the name, or that list of expressions, is none that Tern knows. Of rows with these expressions the one
 * that takes whole pieces as `ignore_merges` says is preferred. */
bool tn_split_from_name(const char *name, size_t len, tn_split *split);
bool tn_split_from_expressions(const char *const *list, int count, bool ignore_merges, tn_split *split);
/* TN_E_UNSUPPORTED, "WHAT: "NAME" is not supported, expected one of ...". */
tn_status tn_split_fail_name(const char *what, const char *name, size_t len);

#endif
