/* SPDX-License-Identifier: MIT
 * text_source.h - text files as they lie on disk: plain or gzipped (told by content, not by name), alone, in lists and
 * in folders (all files in them, sorted, recursively; names that begin with a dot are left out). A UTF-8 byte-order
 * mark at the start is dropped. What cannot be text (UTF-16, zstd, a device, a pipe) is refused by name; in folders,
 * what is no file is left out with a warning. Life: open -> read or lines, once -> close. */
#ifndef TN_DATA_TEXT_SOURCE_H
#define TN_DATA_TEXT_SOURCE_H
#include "core/buf.h"

/* Files of rows by their name: .jsonl, .ndjson, .json, also with .gz; any other is one document. */
bool tn_path_has_rows(const char *path);

/* Called for each file; a failure stops the walk and is returned. */
typedef tn_status tn_file_visit(void *context, const char *path);
/* Fails: TN_E_MISSING, TN_E_IO, TN_E_RANGE for folders nested too deeply; TN_E_EMPTY without paths, or for a folder
 * without files. */
tn_status tn_each_file(const char *const *paths, int n_paths, tn_file_visit *visit, void *context);

typedef struct tn_text_source {
    const char *path; /* borrowed */
    void *file;       /* zlib's, which reads plain files as they are, so both go one way */
    tn_buf buf;
    uint64_t base;  /* place in the (unpacked) file of buf.data[0] */
    size_t checked; /* bytes of buf that are known to be text */
    bool ended;
} tn_text_source;

tn_status tn_text_source_open(tn_text_source *source, const char *path);
void tn_text_source_close(tn_text_source *source);

/* All of it, valid UTF-8 without NUL, in source->buf. Fails: TN_E_TEXT with the byte; TN_E_EMPTY; TN_E_RANGE above 4
 * GiB; TN_E_CORRUPT for damaged gzip data. */
tn_status tn_text_source_read(tn_text_source *source);
/* Called with each line, from 1, without what ends it; the last need not end. Its bytes are not checked. */
typedef tn_status tn_line_visit(void *context, int64_t line, const char *text, size_t len);
/* Fails: what `visit` gives; as tn_text_source_read for a line above 16 MiB, so that what is no text at all ends here
 * and not in memory. An empty file has no lines. */
tn_status tn_text_source_lines(tn_text_source *source, tn_line_visit *visit, void *context);

/* Whether a file of rows is one JSON list instead: the first character that is not blank is a bracket. */
bool tn_text_source_is_list(const tn_text_source *source);
/* Called with each value of that list and the line on which it begins; what stands between brackets and commas is not
 * checked further. Fails: what `visit` gives; as tn_text_source_read; TN_E_CORRUPT for a list that does not end, or not
 * with the file. */
tn_status tn_text_source_list(tn_text_source *source, tn_line_visit *visit, void *context);

#endif
