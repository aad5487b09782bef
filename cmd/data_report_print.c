/* SPDX-License-Identifier: MIT */
#include "cmd/data_report_print.h"

#include <jansson.h>

static const char *plural(int64_t n) { return n == 1 ? "" : "s"; }

static tn_status put_file(const tn_file_report *f, tn_buf *out) {
    TN_TRY(tn_buf_printf(out, "%s: %lld row%s, %lld kept", f->path, (long long)f->rows, plural(f->rows),
                         (long long)f->kept));
    if (f->cut) TN_TRY(tn_buf_printf(out, ", %lld cut", (long long)f->cut));
    TN_TRY(tn_data_report_put_dropped(f, out));
    if (f->duplicates)
        TN_TRY(tn_buf_printf(out, "; %lld duplicate%s", (long long)f->duplicates, plural(f->duplicates)));
    TN_TRY(tn_buf_printf(out,
                         "\n  %lld tokens in %lld document%s, %lld learnt (%.1f %%), of these %lld end a turn or text",
                         (long long)f->tokens, (long long)f->documents, plural(f->documents), (long long)f->targets,
                         f->tokens ? 100 * (double)f->targets / (double)f->tokens : 0, (long long)f->turn_ends));
    if (f->zero_target)
        TN_TRY(tn_buf_printf(out, "\n  %lld document%s without anything to learn", (long long)f->zero_target,
                             plural(f->zero_target)));
    TN_TRY(tn_buf_printf(out, "\n  the longest has %lld tokens", (long long)f->longest));
    if (f->longest_line) TN_TRY(tn_buf_printf(out, " (line %lld)", (long long)f->longest_line));
    return tn_buf_putc(out, '\n');
}

tn_status tn_data_report_print(const tn_data_report *report) {
    tn_buf out = {0};
    tn_status status = TN_OK;
    for (size_t i = 0; i < report->count && !status; i++) status = put_file(&report->files[i], &out);
    if (!status) status = tn_cmd_write(tn_buf_text(&out), out.len);
    tn_buf_release(&out);
    return status;
}

static json_t *dropped_json(const tn_file_report *f) {
    json_t *object = json_object();
    for (int i = 0; i < TN_DROPS; i++)
        json_object_set_new(object, tn_drop_names[i], json_integer((json_int_t)f->dropped[i]));
    return object;
}

json_t *tn_data_rows_json(const tn_file_report *f) {
    return json_pack("{s:I, s:I, s:o}", "read", (json_int_t)f->rows, "kept", (json_int_t)f->kept, "dropped",
                     dropped_json(f));
}

static json_t *file_json(const tn_file_report *f) {
    return json_pack("{s:o, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path",
                     tn_cmd_json_path(f->path), "rows", (json_int_t)f->rows, "kept", (json_int_t)f->kept, "cut",
                     (json_int_t)f->cut, "dropped", dropped_json(f), "documents", (json_int_t)f->documents, "tokens",
                     (json_int_t)f->tokens, "bytes", (json_int_t)f->bytes, "targets", (json_int_t)f->targets,
                     "turn_ends", (json_int_t)f->turn_ends, "zero_target", (json_int_t)f->zero_target, "longest",
                     (json_int_t)f->longest, "longest_line", (json_int_t)f->longest_line, "duplicates",
                     (json_int_t)f->duplicates);
}

json_t *tn_data_report_json(const tn_data_report *report) {
    json_t *list = json_array();
    for (size_t i = 0; i < report->count; i++) json_array_append_new(list, file_json(&report->files[i]));
    return list;
}
