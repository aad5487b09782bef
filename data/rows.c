/* SPDX-License-Identifier: MIT
 * rows.c - which kind a row is, and what becomes of one that is none. */
#include "core/arena.h"
#include "core/config.h"
#include "core/log.h"
#include "core/utf8.h"
#include "data/rows_priv.h"
#include "data/text_source.h"
#include "formats/json_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { SHOWN_FAULTS = 5, MAX_KEYS = 64 }; /* of a file; of all kinds together */

#define ROW_KIND(id, name, keys, more_keys) name,
const char *const tn_row_kind_names[TN_ROW_KINDS] = {
#include "data/row_kinds.def"
};
#undef ROW_KIND

/* Words with spaces between, [TN_ROW_KINDS]. */
static const char *const keys_of[] = {
#define ROW_KIND(id, name, keys, more_keys) keys,
#include "data/row_kinds.def"
#undef ROW_KIND
};
static const char *const all_keys_of[] = {
#define ROW_KIND(id, name, keys, more_keys) keys " " more_keys,
#include "data/row_kinds.def"
#undef ROW_KIND
};
static const char message_keys[] = "role content from value";

typedef struct reader {
    tn_row_parts parts;
    tn_data_report *report;
    tn_row_visit *visit;
    void *context;
    int kind; /* of the file's rows so far; -1 = there was none */
} reader;

/* ---- keys ---- */

/* The next word of a list, and the list behind it; false at its end. */
static bool next_word(const char **list, char word[32]) {
    size_t len = strcspn(*list += strspn(*list, " "), " ");
    TN_ASSERT(len < 32);
    memcpy(word, *list, len);
    word[len] = '\0';
    *list += len;
    return len > 0;
}

static bool has_word(const char *list, const char *wanted) {
    char word[32];
    while (next_word(&list, word))
        if (strcmp(word, wanted) == 0) return true;
    return false;
}

static bool has_keys(const reader *r, const json_t *row, int kind) {
    const char *list = keys_of[kind];
    char key[32];
    while (next_word(&list, key))
        if (!tn_row_get(r->parts.options, row, key)) return false;
    return true;
}

static tn_status put_keys(const reader *r, int kind, tn_buf *out) {
    const char *list = keys_of[kind];
    char key[32];
    for (int n = 0; next_word(&list, key); n++)
        TN_TRY(tn_buf_printf(out, "%s\"%.60s\"", n ? " with " : "", tn_row_field(r->parts.options, key)));
    return TN_OK;
}

/* What a row should have had: the keys of `kind`, or, with -1, those of any kind. */
static tn_status put_expected(const reader *r, int kind, tn_buf *out) {
    if (kind >= 0) return put_keys(r, kind, out);
    for (int i = 0; i < TN_ROW_KINDS; i++) {
        TN_TRY(tn_buf_puts(out, i == 0 ? "" : i + 1 < TN_ROW_KINDS ? ", " : " or "));
        TN_TRY(put_keys(r, i, out));
    }
    return TN_OK;
}

static tn_status put_found(const json_t *row, tn_buf *out) {
    const char *key;
    json_t *value;
    tn_status status = TN_OK;
    json_object_foreach((json_t *)(uintptr_t)row, key, value) {
        if (!status && out->len < 400) status = tn_buf_printf(out, "%s\"%.60s\"", out->len ? ", " : "", key);
    }
    return status || out->len ? status : tn_buf_puts(out, "(none)");
}

static tn_status fail_keys(const reader *r, const json_t *row, int kind) {
    tn_buf found = {0}, expected = {0};
    tn_status status = put_found(row, &found);
    if (!status) status = put_expected(r, kind, &expected);
    if (!status)
        status = TN_FAIL(CORRUPT, "row has keys %s, expected %s (data.fields gives other names: output=answer)",
                         tn_buf_text(&found), tn_buf_text(&expected));
    tn_buf_release(&found);
    tn_buf_release(&expected);
    return status;
}

/* Near misses that have sentences of their own. */
static tn_status fail_unknown(const reader *r, const json_t *row) {
    if (tn_row_get(r->parts.options, row, "completions") && tn_row_get(r->parts.options, row, "labels"))
        return TN_FAIL(UNSUPPORTED, "row has \"completions\" with \"labels\", step by step, which is not supported");
    if (tn_row_get(r->parts.options, row, "prompt") && json_object_size(row) == 1)
        return TN_FAIL(CORRUPT, "row has a \"%s\" alone, which is for generation; expected a \"%s\" to learn",
                       tn_row_field(r->parts.options, "prompt"), tn_row_field(r->parts.options, "completion"));
    return fail_keys(r, row, -1);
}

/* ---- kinds ---- */

/* Whether all keys of `other` may stand in a row of `kind`. */
static bool is_related(int kind, int other) {
    const char *list = keys_of[other];
    char key[32];
    while (next_word(&list, key))
        if (!has_word(all_keys_of[kind], key)) return false;
    return true;
}

static tn_status fail_ambiguous(const reader *r, int kind, int other) {
    tn_buf a = {0}, b = {0};
    tn_status status = put_keys(r, kind, &a);
    if (!status) status = put_keys(r, other, &b);
    if (!status)
        status = TN_FAIL(CORRUPT, "row has both %s and %s, expected one kind of data (data.kind %s or %s settles it)",
                         tn_buf_text(&a), tn_buf_text(&b), tn_row_kind_names[kind], tn_row_kind_names[other]);
    tn_buf_release(&a);
    tn_buf_release(&b);
    return status;
}

static tn_status recognise(reader *r, const json_t *row, int *kind) {
    int given = r->parts.options->kind;
    *kind = 0;
    if (given >= TN_ROWS_OF) {
        *kind = given - TN_ROWS_OF;
        return has_keys(r, row, *kind) ? TN_OK : fail_keys(r, row, *kind);
    }
    while (*kind < TN_ROW_KINDS && !has_keys(r, row, *kind)) ++*kind;
    if (*kind == TN_ROW_KINDS) return fail_unknown(r, row);
    for (int other = *kind + 1; other < TN_ROW_KINDS; other++)
        if (has_keys(r, row, other) && !is_related(*kind, other)) return fail_ambiguous(r, *kind, other);
    if (r->kind >= 0 && r->kind != *kind && given != TN_ROWS_MIXED)
        return TN_FAIL(CORRUPT, "row is of kind %s, but those before it are of kind %s (data.kind mixed allows both)",
                       tn_row_kind_names[*kind], tn_row_kind_names[r->kind]);
    return TN_OK;
}

/* ---- a row ---- */

static bool is_blank(const char *line, size_t len) {
    while (len && memchr(" \t\r\n", line[len - 1], 4)) len--;
    return len == 0;
}

static tn_status fail_json(const json_error_t *error) {
    if (json_error_code(error) == json_error_out_of_memory) return TN_FAIL(NOMEM, "out of memory for a row");
    if (json_error_code(error) == json_error_null_character || json_error_code(error) == json_error_null_byte_in_key)
        return TN_FAIL(CORRUPT, "column %d: has the character \\u0000, which no text may have", error->column);
    if (json_error_code(error) == json_error_premature_end_of_input)
        return TN_FAIL(CORRUPT, "column %d: the row ends within its JSON, expected one object a line", error->column);
    if (json_error_code(error) == json_error_end_of_input_expected)
        return TN_FAIL(CORRUPT, "column %d: more follows the row, expected one object a line", error->column);
    return TN_FAIL(CORRUPT, "column %d: %s", error->column, error->text);
}

/* Numbers that programs write and JSON does not have: the parser stops behind the word, or behind its sign. */
static bool is_no_number(const char *line, size_t len, const json_error_t *error) {
    static const char *const words[] = {"NaN", "nan", "Infinity", "-Infinity", "inf", "-inf"};
    size_t end = TN_MIN((size_t)TN_MAX(error->position, 0), len), begin = end;
    while (end < len && isalpha((unsigned char)line[end])) end++;
    while (begin && (isalpha((unsigned char)line[begin - 1]) || line[begin - 1] == '-')) begin--;
    for (size_t i = 0; i < TN_COUNT(words); i++)
        if (end - begin == strlen(words[i]) && memcmp(line + begin, words[i], end - begin) == 0) return true;
    return false;
}

static tn_status parse(const char *line, size_t len, json_t **row) {
    json_error_t error;
    char found[64];
    TN_TRY(tn_utf8_check("the row", 0, line, len));
    *row = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!*row && json_error_code(&error) == json_error_invalid_syntax && is_no_number(line, len, &error))
        return TN_FAIL(CORRUPT, "column %d: a number is NaN or infinite, which JSON does not have", error.column);
    if (!*row) return fail_json(&error);
    if (!json_is_object(*row))
        return TN_FAIL(CORRUPT, "row is %s, expected a JSON object", tn_json_text_describe(*row, found));
    return TN_OK;
}

static tn_status visit_row(reader *r, int64_t line) {
    tn_row *row = &r->parts.row;
    row->path = tn_data_report_now(r->report)->path;
    row->line = line;
    if (row->kind == TN_ROW_TEXT && !row->said[0].len) {
        tn_data_report_now(r->report)->dropped[TN_DROP_EMPTY]++;
        return TN_OK;
    }
    return r->visit(r->context, row);
}

static tn_status take_row(reader *r, int64_t line, const char *text, size_t len) {
    json_t *object = NULL;
    int kind = 0;
    tn_status status = parse(text, len, &object);
    if (!status) status = recognise(r, object, &kind);
    if (!status) status = tn_row_parts_read(&r->parts, (tn_row_kind)kind, object);
    if (!status) {
        r->kind = kind;
        status = visit_row(r, line);
    }
    tn_row_parts_reset(&r->parts);
    json_decref(object);
    return status;
}

static bool is_about_the_row(tn_status status) {
    static const tn_status faults[] = {TN_E_CORRUPT, TN_E_TEXT,     TN_E_ARG,   TN_E_RANGE,      TN_E_SHAPE,
                                       TN_E_FORMAT,  TN_E_MISMATCH, TN_E_EMPTY, TN_E_UNSUPPORTED};
    for (size_t i = 0; i < TN_COUNT(faults); i++)
        if (status == faults[i]) return true;
    return false;
}

static tn_status settle(reader *r, int64_t line, tn_status status) {
    tn_file_report *file = tn_data_report_now(r->report);
    char place[32] = "";
    if (!status || !is_about_the_row(status)) return status;
    if (line) snprintf(place, sizeof place, ":%" PRId64, line);
    status = tn_fail_at(status, __FILE__, __LINE__, "%s%s: %s", file->path, place, tn_error_message());
    if (!r->parts.options->skips_bad) return status;
    tn_log(file->dropped[TN_DROP_BAD]++ < SHOWN_FAULTS ? TN_LOG_WARN : TN_LOG_DEBUG, "data", "%s; left out",
           tn_error_message());
    return TN_OK;
}

static tn_status read_line(void *context, int64_t line, const char *text, size_t len) {
    reader *r = context;
    if (is_blank(text, len)) return TN_OK;
    tn_data_report_now(r->report)->rows++;
    return settle(r, line, take_row(r, line, text, len));
}

/* ---- files ---- */

static tn_status check_read(const reader *r) {
    const tn_file_report *file = tn_data_report_now(r->report);
    int64_t bad = file->dropped[TN_DROP_BAD], empty = file->dropped[TN_DROP_EMPTY];
    if (bad)
        tn_log(TN_LOG_WARN, "data", "%s: %" PRId64 " of %" PRId64 " rows are bad and left out", file->path, bad,
               file->rows);
    if (empty) tn_log(TN_LOG_WARN, "data", "%s: %" PRId64 " rows with an empty text left out", file->path, empty);
    if (file->rows > bad + empty) return TN_OK;
    return TN_FAIL(EMPTY, "%s: has no rows%s", file->path, file->rows ? " that can be used" : "");
}

static tn_status read_text(reader *r, tn_text_source *source) {
    TN_TRY(tn_text_source_read(source));
    r->parts.row = (tn_row){.kind = TN_ROW_TEXT, .n_said = 1};
    r->parts.row.said[0] = (tn_said){.text = source->buf.data, .len = source->buf.len};
    tn_data_report_now(r->report)->rows++;
    tn_status status = settle(r, 0, visit_row(r, 0));
    tn_row_parts_reset(&r->parts);
    return status;
}

static tn_status read_source(reader *r, tn_text_source *source) {
    if (!tn_path_has_rows(source->path)) return read_text(r, source);
    if (tn_text_source_is_list(source)) return tn_text_source_list(source, read_line, r);
    return tn_text_source_lines(source, read_line, r);
}

static tn_status read_file(void *context, const char *path) {
    reader *r = context;
    tn_text_source source;
    r->kind = -1;
    TN_TRY(tn_text_source_open(&source, path));
    tn_status status = tn_data_report_add(r->report, path);
    if (!status) status = read_source(r, &source);
    if (!status) status = check_read(r);
    tn_text_source_close(&source);
    return status;
}

/* ---- names of fields ---- */

static tn_status check_field(const char *field) {
    const char *names[MAX_KEYS], *equals = strchr(field, '=');
    char words[MAX_KEYS][32], given[32];
    int n = 0;
    for (int kind = 0; kind <= TN_ROW_KINDS; kind++) {
        const char *list = kind < TN_ROW_KINDS ? all_keys_of[kind] : message_keys;
        for (; next_word(&list, words[n]); n++) {
            TN_ASSERT(n + 1 < MAX_KEYS);
            names[n] = words[n];
        }
    }
    if (!equals || !equals[1])
        return TN_FAIL(CONFIG, "data.fields has \"%.80s\", expected our name and theirs: messages=dialog", field);
    snprintf(given, sizeof given, "%.*s", (int)TN_MIN(equals - field, (ptrdiff_t)31), field);
    for (int i = 0; i < n; i++)
        if (strcmp(given, names[i]) == 0) return TN_OK;
    const char *near = tn_nearest_name(given, names, n);
    return TN_FAIL(CONFIG, "data.fields has \"%.80s\", but no row has a \"%s\"%s%s%s", field, given,
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

tn_status tn_read_rows(const char *const *paths, int n_paths, const tn_row_options *options, tn_data_report *report,
                       tn_row_visit *visit, void *context) {
    reader r = {.parts = {.options = options}, .report = report, .visit = visit, .context = context};
    for (int i = 0; i < options->n_fields; i++) TN_TRY(check_field(options->fields[i]));
    tn_status status = tn_each_file(paths, n_paths, read_file, &r);
    tn_row_parts_release(&r.parts);
    return status;
}
