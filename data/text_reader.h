/* SPDX-License-Identifier: MIT
 * text_reader.h - documents: plain texts, each file one, and rows of JSONL of kind text (data/rows.h). */
#ifndef TN_DATA_TEXT_READER_H
#define TN_DATA_TEXT_READER_H
#include "core/buf.h"

/* Called once a document; a failure stops the reading and is returned. `source` is the file's index among those read,
 * `name` its path. */
typedef tn_status tn_document_visit(void *context, const char *text, size_t len, int source, const char *name);
/* Fails: what tn_read_rows gives, and TN_E_CORRUPT for a row of another kind. */
tn_status tn_read_documents(const char *const *paths, int n_paths, tn_document_visit *visit, void *context);

#endif
