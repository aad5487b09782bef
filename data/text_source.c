/* SPDX-License-Identifier: MIT */
#include "data/text_source.h"

#include "core/fs.h"
#include "core/log.h"
#include "core/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

enum { BLOCK = 1 << 20, LONG_LINE = 16 << 20, MAX_DEPTH = 32 };
static const size_t max_document = (size_t)1 << 32; /* bytes of one document; also what a gzip bomb may reach */

/* ---- bytes ---- */

/* Append up to BLOCK bytes to the buffer; sets `ended` at the end of the file. */
static tn_status fill(tn_text_source *s) {
    TN_TRY(tn_buf_reserve(&s->buf, BLOCK));
    int n = gzread(s->file, s->buf.data + s->buf.len, BLOCK);
    int code = Z_OK;
    const char *reason = gzerror(s->file, &code);
    if (n < 0 && code == Z_ERRNO) return tn_fail_errno(s->path, "read");
    if (n < 0 || code == Z_BUF_ERROR)
        return TN_FAIL(CORRUPT, "%s: gzip data is damaged or cut off: %s", s->path, reason);
    s->buf.len += (size_t)n;
    s->buf.data[s->buf.len] = '\0';
    s->ended = n == 0;
    return TN_OK;
}

static bool starts_with(const tn_buf *buf, const char *bytes, size_t len) {
    return buf->len >= len && memcmp(buf->data, bytes, len) == 0;
}

/* Read the first block; drop a byte-order mark; refuse what cannot be text. */
static tn_status start(tn_text_source *s) {
    while (!s->ended && s->buf.len < 4) TN_TRY(fill(s));
    if (starts_with(&s->buf, "\x28\xB5\x2F\xFD", 4))
        return TN_FAIL(UNSUPPORTED, "%s: is compressed with zstd, expected plain text or gzip", s->path);
    if (starts_with(&s->buf, "PAR1", 4))
        return TN_FAIL(UNSUPPORTED, "%s: is a Parquet file, expected JSONL or plain text", s->path);
    if (starts_with(&s->buf, "\xFF\xFE", 2) || starts_with(&s->buf, "\xFE\xFF", 2))
        return TN_FAIL(TEXT, "%s: looks like UTF-16, expected UTF-8", s->path);
    if (!starts_with(&s->buf, "\xEF\xBB\xBF", 3)) return TN_OK;
    memmove(s->buf.data, s->buf.data + 3, s->buf.len - 2); /* the closing NUL too */
    s->buf.len -= 3;
    s->base = 3;
    return TN_OK;
}

tn_status tn_text_source_open(tn_text_source *s, const char *path) {
    *s = (tn_text_source){.path = path};
    errno = 0;
    s->file = gzopen(path, "rbe");
    if (!s->file) return errno ? tn_fail_errno(path, "open") : TN_FAIL(NOMEM, "%s: out of memory", path);
    tn_status status = start(s);
    if (status) tn_text_source_close(s);
    return status;
}

void tn_text_source_close(tn_text_source *s) {
    if (s->file) gzclose(s->file);
    s->file = NULL;
    tn_buf_release(&s->buf);
}

/* Check what came since the last time, but for a character that is not complete yet: endless input that is no text must
 * end here, not in memory. */
static tn_status check_new(tn_text_source *s) {
    const char *text = s->buf.data + s->checked;
    size_t len = s->buf.len - s->checked;
    uint64_t base = s->base + s->checked;
    bool incomplete = false;
    size_t valid = tn_utf8_valid_prefix(text, len, &incomplete);
    const char *nul = valid ? memchr(text, 0, valid) : NULL;
    if (nul)
        return TN_FAIL(TEXT, "%s: byte %" PRIu64 " is NUL, so this is no text file", s->path,
                       base + (uint64_t)(nul - text));
    s->checked += valid;
    return valid == len || (incomplete && !s->ended) ? TN_OK : tn_utf8_check(s->path, base, text, len);
}

static tn_status too_long(const tn_text_source *s) {
    return TN_FAIL(RANGE, "%s: a document is longer than %zu bytes, split it", s->path, max_document);
}

/* ---- the whole, or lines ---- */

tn_status tn_text_source_read(tn_text_source *s) {
    TN_TRY(check_new(s));
    while (!s->ended) {
        TN_TRY(fill(s));
        TN_TRY(check_new(s));
        if (s->buf.len > max_document) return too_long(s);
    }
    return s->buf.len ? TN_OK : TN_FAIL(EMPTY, "%s: is empty", s->path);
}

/* A line so long that it may be none: bytes [0, len) of the buffer. */
static tn_status check_long(tn_text_source *s, size_t len) {
    if (len > max_document) return too_long(s);
    return len > LONG_LINE ? check_new(s) : TN_OK;
}

/* Let go of the first `len` bytes. */
static void drop(tn_text_source *s, size_t len) {
    memmove(s->buf.data, s->buf.data + len, s->buf.len - len + 1); /* the closing NUL too */
    s->buf.len -= len;
    s->base += len;
    s->checked -= TN_MIN(s->checked, len);
}

typedef struct lines {
    tn_line_visit *visit;
    void *context;
    int64_t line;
    size_t searched; /* bytes of the buffer without an end of line */
} lines;

/* The complete lines in the buffer (at the end of the file, all of it); the rest is kept. */
static tn_status visit_lines(tn_text_source *s, lines *l) {
    size_t at = 0;
    while (at < s->buf.len) {
        size_t from = TN_MAX(at, l->searched);
        const char *end = memchr(s->buf.data + from, '\n', s->buf.len - from);
        if (!end && !s->ended) break;
        size_t len = end ? (size_t)(end - s->buf.data) - at : s->buf.len - at;
        if (len > LONG_LINE) {
            drop(s, at);
            at = l->searched = 0;
            TN_TRY(check_long(s, len));
        }
        TN_TRY(l->visit(l->context, ++l->line, s->buf.data + at, len));
        at += TN_MIN(len + 1, s->buf.len - at);
    }
    drop(s, at);
    l->searched = s->buf.len;
    return check_long(s, s->buf.len);
}

tn_status tn_text_source_lines(tn_text_source *s, tn_line_visit *visit, void *context) {
    lines l = {.visit = visit, .context = context};
    if (s->buf.len) TN_TRY(visit_lines(s, &l));
    while (!s->ended) {
        TN_TRY(fill(s));
        TN_TRY(visit_lines(s, &l));
    }
    return TN_OK;
}

/* ---- a list ---- */

static size_t skip_blank(const tn_buf *text, size_t at) {
    while (at < text->len && memchr(" \t\r\n", text->data[at], 4)) at++;
    return at;
}

bool tn_text_source_is_list(const tn_text_source *s) {
    size_t at = skip_blank(&s->buf, 0);
    return at < s->buf.len && s->buf.data[at] == '[';
}

/* Where the value ends that begins at `at`: at a comma or a bracket of what is around it. */
static size_t end_of_value(const tn_buf *text, size_t at) {
    bool quoted = false;
    for (int64_t depth = 0; at < text->len; at++) {
        char c = text->data[at];
        if (quoted && c == '\\')
            at++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{'))
            depth++;
        else if (!quoted && (c == ']' || c == '}') && depth-- == 0)
            return at;
        else if (!quoted && c == ',' && depth == 0)
            return at;
    }
    return text->len;
}

static int64_t count_lines(const tn_buf *text, size_t from, size_t to) {
    int64_t n = 0;
    for (size_t i = from; i < to; i++) n += text->data[i] == '\n';
    return n;
}

static tn_status visit_values(tn_text_source *s, size_t *at, int64_t *line, tn_line_visit *visit, void *context) {
    const tn_buf *text = &s->buf;
    char closed = ',';
    for (size_t from = *at, end; closed == ','; from = end + 1) {
        size_t begin = skip_blank(text, from);
        *line += count_lines(text, from, begin);
        end = end_of_value(text, begin);
        closed = text->data[end]; /* NUL at the end of the file */
        if (end > begin) TN_TRY(visit(context, *line, text->data + begin, end - begin));
        *line += count_lines(text, begin, end);
        *at = TN_MIN(end + 1, text->len);
    }
    if (closed == ']') return TN_OK;
    return TN_FAIL(CORRUPT, "%s:%" PRId64 ": the list %s, expected ] behind its last row", s->path, *line,
                   closed ? "ends with }" : "does not end");
}

tn_status tn_text_source_list(tn_text_source *s, tn_line_visit *visit, void *context) {
    TN_TRY(tn_text_source_read(s));
    size_t at = skip_blank(&s->buf, 0) + 1, end;
    int64_t line = 1 + count_lines(&s->buf, 0, at);
    TN_TRY(visit_values(s, &at, &line, visit, context));
    end = skip_blank(&s->buf, at);
    if (end == s->buf.len) return TN_OK;
    return TN_FAIL(CORRUPT, "%s:%" PRId64 ": more follows behind the list, expected the end of the file", s->path,
                   line + count_lines(&s->buf, at, end));
}

/* ---- files and folders ---- */

static bool ends_with(const char *path, size_t len, const char *end) {
    size_t n = strlen(end);
    return len >= n && memcmp(path + len - n, end, n) == 0;
}

bool tn_path_has_rows(const char *path) {
    size_t len = strlen(path);
    if (ends_with(path, len, ".gz")) len -= 3;
    return ends_with(path, len, ".jsonl") || ends_with(path, len, ".ndjson") || ends_with(path, len, ".json");
}

static tn_status list_files(const char *path, int depth, tn_names *files);

static tn_status list_entry(const char *dir, const char *name, int depth, tn_names *files) {
    char path[4096];
    if (name[0] == '.') return TN_OK;
    TN_TRY(tn_path_join(path, sizeof path, dir, name));
    return list_files(path, depth + 1, files);
}

static tn_status list_files(const char *path, int depth, tn_names *files) {
    if (!tn_path_exists(path)) return TN_FAIL(MISSING, "%s: there is no such file or folder", path);
    const char *special = tn_path_special(path);
    if (special && depth == 0) return TN_FAIL(IO, "%s: is %s, expected a file or a folder", path, special);
    if (special) return tn_log(TN_LOG_WARN, "data", "%s: is %s, left out", path, special), TN_OK;
    if (!tn_path_is_dir(path)) return tn_names_add(files, path);
    if (depth > MAX_DEPTH)
        return TN_FAIL(RANGE, "%s: folders are nested deeper than %d (a link to a parent?)", path, MAX_DEPTH);
    tn_names names = {0};
    size_t before = files->count;
    tn_status status = tn_dir_list(path, &names);
    for (size_t i = 0; i < names.count && !status; i++) status = list_entry(path, names.list[i], depth, files);
    tn_names_release(&names);
    if (!status && depth == 0 && files->count == before) status = TN_FAIL(EMPTY, "%s: folder holds no files", path);
    return status;
}

tn_status tn_each_file(const char *const *paths, int n_paths, tn_file_visit *visit, void *context) {
    tn_names files = {0};
    tn_status status = n_paths > 0 ? TN_OK : TN_FAIL(EMPTY, "no files to read text from");
    for (int i = 0; i < n_paths && !status; i++) status = list_files(paths[i], 0, &files);
    for (size_t i = 0; i < files.count && !status; i++) status = visit(context, files.list[i]);
    tn_names_release(&files);
    return status;
}
