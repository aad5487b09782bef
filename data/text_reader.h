/* SPDX-License-Identifier: MIT
 * text_reader.h - documents from files: .txt (a file is one document), .jsonl (one document a line, key "text"), either
 * one gzipped (told by content, not by name), folders (all files in them, sorted, recursively), and lists of these.
 * .ndjson is .jsonl; any other name is one document. In folders, names that begin with a dot are left out. Rows whose
 * text is "" are left out and counted in the log.
 * Policy: text must be valid UTF-8; anything else is refused with file and byte offset, never repaired in silence. A
 * UTF-8 byte-order mark at the start is dropped. A NUL byte means a binary file: refused. An empty file is refused.
 * What is neither a file nor a folder (a device, a pipe) is refused, and in folders left out with a warning. A row that
 * names a key twice, or has "text" and a key of another kind of data ("messages", "prompt", ...), is refused. */
#ifndef TN_DATA_TEXT_READER_H
#define TN_DATA_TEXT_READER_H
#include "core/buf.h"

/* Called once a document; a failure stops the reading and is returned. `source` is the file's index among those read,
 * `name` its path. */
typedef tn_status tn_document_visit(void *context, const char *text, size_t len, int source, const char *name);
/* Fails: TN_E_MISSING, TN_E_IO, TN_E_TEXT, TN_E_EMPTY; TN_E_CORRUPT for a bad row ("file:line: ..."); TN_E_RANGE for a
 * document above 4 GiB; TN_E_UNSUPPORTED for zstd. */
tn_status tn_read_documents(const char *const *paths, int n_paths, tn_document_visit *visit, void *context);

#endif
