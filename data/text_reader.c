/* SPDX-License-Identifier: MIT */
#include "data/text_reader.h"

#include "core/arena.h"
#include "core/fs.h"
#include "core/log.h"
#include "data/grow.h"
#include "core/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <zlib.h>

enum { BLOCK = 1 << 20, MAX_DEPTH = 32 };
static const size_t max_document = (size_t)1 << 32; /* bytes of one document; also what a gzip bomb may reach */

typedef struct source {
    const char *path;
    int index;
    gzFile file; /* zlib reads plain files as they are, so both go one way */
    tn_buf buf;
    uint64_t base;  /* place in the (unpacked) file of buf.data[0] */
    size_t checked; /* bytes of buf that are known to be text */
    bool ended;
    tn_document_visit *visit;
    void *context;
} source;

/* ---- bytes ---- */

/* Append up to BLOCK bytes to the buffer; sets `ended` at the end of the file. */
static tn_status fill(source *s) {
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
static tn_status start(source *s) {
    while (!s->ended && s->buf.len < 4) TN_TRY(fill(s));
    if (starts_with(&s->buf, "\x28\xB5\x2F\xFD", 4))
        return TN_FAIL(UNSUPPORTED, "%s: is compressed with zstd, expected plain text or gzip", s->path);
    if (starts_with(&s->buf, "\xFF\xFE", 2) || starts_with(&s->buf, "\xFE\xFF", 2))
        return TN_FAIL(TEXT, "%s: looks like UTF-16, expected UTF-8", s->path);
    if (!starts_with(&s->buf, "\xEF\xBB\xBF", 3)) return TN_OK;
    memmove(s->buf.data, s->buf.data + 3, s->buf.len - 2); /* the closing NUL too */
    s->buf.len -= 3;
    s->base = 3;
    return TN_OK;
}

/* Check what came since the last time, but for a character that is not complete yet: endless input that is no text must
 * end here, not in memory. */
static tn_status check_new(source *s) {
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

static tn_status too_long(const source *s) {
    return TN_FAIL(RANGE, "%s: a document is longer than %zu bytes, split it", s->path, max_document);
}

static tn_status fill_text(source *s) {
    TN_TRY(fill(s));
    return check_new(s);
}

/* ---- one document a file ---- */

static tn_status read_plain(source *s) {
    TN_TRY(check_new(s));
    while (!s->ended) {
        TN_TRY(fill_text(s));
        if (s->buf.len > max_document) return too_long(s);
    }
    if (!s->buf.len) return TN_FAIL(EMPTY, "%s: is empty", s->path);
    return s->visit(s->context, s->buf.data, s->buf.len, s->index, s->path);
}

/* ---- one document a line ---- */

typedef struct rows {
    int64_t line, documents, empty;
} rows;

static tn_status fail_without_text(const source *s, const rows *r, const json_t *row) {
    tn_buf keys = {0};
    const char *key;
    json_t *value;
    tn_status status = TN_OK;
    json_object_foreach((json_t *)(uintptr_t)row, key, value) {
        if (!status && keys.len < 400) status = tn_buf_printf(&keys, "%s\"%.60s\"", keys.len ? ", " : "", key);
    }
    if (!status)
        status = TN_FAIL(CORRUPT, "%s:%" PRId64 ": row has keys %s, expected \"text\" with a string", s->path, r->line,
                         keys.len ? keys.data : "(none)");
    tn_buf_release(&keys);
    return status;
}

/* A row of text that is also one of another kind of data: which of both is meant, nobody can tell. */
static tn_status check_kind(const source *s, const rows *r, const json_t *row) {
    static const char *const others[] = {"messages", "conversations", "prompt", "completion", "instruction", "chosen"};
    for (size_t i = 0; i < TN_COUNT(others); i++)
        if (json_object_get(row, others[i]))
            return TN_FAIL(CORRUPT, "%s:%" PRId64 ": row has both \"text\" and \"%s\", expected one kind of data",
                           s->path, r->line, others[i]);
    return TN_OK;
}

static tn_status fail_json(const source *s, const rows *r, const json_error_t *error) {
    if (json_error_code(error) == json_error_null_character || json_error_code(error) == json_error_null_byte_in_key)
        return TN_FAIL(CORRUPT, "%s:%" PRId64 ":%d: has the character \\u0000, which no text may have", s->path,
                       r->line, error->column);
    return TN_FAIL(CORRUPT, "%s:%" PRId64 ":%d: %s", s->path, r->line, error->column, error->text);
}

static tn_status visit_row(source *s, rows *r, const json_t *row) {
    const json_t *text = json_object_get(row, "text");
    if (!json_is_object(row)) return TN_FAIL(CORRUPT, "%s:%" PRId64 ": row is no JSON object", s->path, r->line);
    if (!json_is_string(text)) return fail_without_text(s, r, row);
    TN_TRY(check_kind(s, r, row));
    if (!json_string_length(text)) return r->empty++, TN_OK;
    r->documents++;
    return s->visit(s->context, json_string_value(text), json_string_length(text), s->index, s->path);
}

static bool is_blank(const char *line, size_t len) {
    while (len && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r')) len--;
    return len == 0;
}

static tn_status read_row(source *s, rows *r, size_t at, size_t len) {
    const char *line = s->buf.data + at;
    r->line++;
    if (is_blank(line, len)) return TN_OK;
    json_error_t error;
    json_t *row = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    if (!row) return fail_json(s, r, &error);
    tn_status status = visit_row(s, r, row);
    json_decref(row);
    return status;
}

/* Read the complete lines in the buffer (at the end of the file, all of it) and keep the rest. */
static tn_status read_lines(source *s, rows *r, size_t *searched) {
    size_t at = 0;
    while (at < s->buf.len) {
        size_t from = TN_MAX(at, *searched);
        const char *end = memchr(s->buf.data + from, '\n', s->buf.len - from);
        if (!end && !s->ended) break;
        size_t len = end ? (size_t)(end - s->buf.data) - at : s->buf.len - at;
        TN_TRY(read_row(s, r, at, len));
        at += TN_MIN(len + 1, s->buf.len - at);
    }
    memmove(s->buf.data, s->buf.data + at, s->buf.len - at + 1); /* the closing NUL too */
    s->buf.len -= at;
    s->base += at;
    s->checked -= at;
    *searched = s->buf.len;
    return s->buf.len > max_document ? too_long(s) : TN_OK;
}

static tn_status read_jsonl(source *s) {
    rows r = {0};
    size_t searched = 0;
    TN_TRY(check_new(s));
    TN_TRY(read_lines(s, &r, &searched));
    while (!s->ended) {
        TN_TRY(fill_text(s));
        TN_TRY(read_lines(s, &r, &searched));
    }
    if (r.empty) tn_log(TN_LOG_WARN, "data", "%s: %" PRId64 " rows with an empty \"text\" left out", s->path, r.empty);
    return r.documents ? TN_OK : TN_FAIL(EMPTY, "%s: has no rows with text", s->path);
}

/* ---- files and folders ---- */

static bool ends_with(const char *path, size_t len, const char *end) {
    size_t n = strlen(end);
    return len >= n && memcmp(path + len - n, end, n) == 0;
}

static bool is_jsonl(const char *path) {
    size_t len = strlen(path);
    if (ends_with(path, len, ".gz")) len -= 3;
    return ends_with(path, len, ".jsonl") || ends_with(path, len, ".ndjson");
}

static tn_status read_file(const char *path, int index, tn_document_visit *visit, void *context) {
    source s = {.path = path, .index = index, .visit = visit, .context = context};
    errno = 0;
    s.file = gzopen(path, "rbe");
    if (!s.file) return errno ? tn_fail_errno(path, "open") : TN_FAIL(NOMEM, "%s: out of memory", path);
    tn_status status = start(&s);
    if (!status) status = is_jsonl(path) ? read_jsonl(&s) : read_plain(&s);
    gzclose(s.file);
    tn_buf_release(&s.buf);
    return status;
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

tn_status tn_read_documents(const char *const *paths, int n_paths, tn_document_visit *visit, void *context) {
    tn_names files = {0};
    tn_status status = n_paths > 0 ? TN_OK : TN_FAIL(EMPTY, "no files to read text from");
    for (int i = 0; i < n_paths && !status; i++) status = list_files(paths[i], 0, &files);
    for (size_t i = 0; i < files.count && !status; i++) status = read_file(files.list[i], (int)i, visit, context);
    tn_names_release(&files);
    return status;
}
