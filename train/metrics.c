/* SPDX-License-Identifier: MIT */
#include "train/metrics.h"

#include "core/fs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum metric_kind { COUNT, REAL, TIME } metric_kind;

typedef struct column {
    const char *name;
    metric_kind kind;
    size_t offset;
} column;

static const column columns[] = {
#define METRIC(name, kind) {#name, kind, offsetof(tn_metrics_row, name)},
#include "train/metrics.def"
#undef METRIC
};

static const char JSON_START[] = "{\"step\": ";

static double value_of(const tn_metrics_row *row, const column *c) {
    double value;
    memcpy(&value, (const char *)row + c->offset, sizeof value);
    return value;
}

tn_metrics_row tn_metrics_row_empty(void) {
    tn_metrics_row row;
#define METRIC(name, kind) row.name = (double)NAN;
#include "train/metrics.def"
#undef METRIC
    return row;
}

static tn_status put_value(tn_buf *out, metric_kind kind, double value) {
    return tn_buf_printf(out, kind == COUNT ? "%.0f" : kind == TIME ? "%.3f" : "%.9g", value);
}

static tn_status put_json(tn_buf *out, const tn_metrics_row *row, const char *layers) {
    TN_TRY(tn_buf_putc(out, '{'));
    for (size_t i = 0; i < TN_COUNT(columns); i++) {
        double value = value_of(row, &columns[i]);
        if (!isfinite(value)) continue;
        TN_TRY(tn_buf_printf(out, "%s\"%s\": ", i ? ", " : "", columns[i].name));
        TN_TRY(put_value(out, columns[i].kind, value));
    }
    if (layers) TN_TRY(tn_buf_printf(out, ", \"layers\": %s", layers));
    return tn_buf_puts(out, "}\n");
}

static tn_status put_csv(tn_buf *out, const tn_metrics_row *row) {
    for (size_t i = 0; i < TN_COUNT(columns); i++) {
        double value = value_of(row, &columns[i]);
        if (i) TN_TRY(tn_buf_putc(out, ','));
        if (isfinite(value)) TN_TRY(put_value(out, columns[i].kind, value));
    }
    return tn_buf_putc(out, '\n');
}

static tn_status put_csv_head(tn_buf *out) {
    for (size_t i = 0; i < TN_COUNT(columns); i++) TN_TRY(tn_buf_printf(out, "%s%s", i ? "," : "", columns[i].name));
    return tn_buf_putc(out, '\n');
}

static tn_status append(const char *path, const tn_buf *line) { return tn_file_append(path, line->data, line->len); }

tn_status tn_metrics_append(const tn_metrics *metrics, const tn_metrics_row *row, const char *layers) {
    TN_ASSERT(isfinite(row->step)); /* a row is found again by its step, which comes first */
    tn_buf line = {0};
    tn_status status = put_json(&line, row, layers);
    if (!status) status = append(metrics->jsonl, &line);
    tn_buf_reset(&line);
    if (!status) status = put_csv(&line, row);
    if (!status) status = append(metrics->csv, &line);
    tn_buf_release(&line);
    return status;
}

/* The step of a line that begins with `start` and a number; INT64_MAX for any other line, so that it is dropped. */
static int64_t step_of(const char *line, const char *start) {
    size_t n = strlen(start);
    if (strncmp(line, start, n) != 0) return INT64_MAX;
    char *end;
    long long step = strtoll(line + n, &end, 10);
    return end == line + n || *end != ',' ? INT64_MAX : step;
}

static tn_status read_rows(const char *path, tn_buf *out) {
    return tn_path_exists(path) ? tn_file_read(path, (size_t)1 << 32, out) : TN_OK;
}

tn_status tn_metrics_last_step(const char *dir, int64_t *step) {
    char path[4096];
    tn_buf rows = {0};
    *step = -1;
    TN_TRY(tn_path_join(path, sizeof path, dir, "metrics.jsonl"));
    tn_status status = read_rows(path, &rows);
    for (const char *line = tn_buf_text(&rows), *end; (end = strchr(line, '\n')); line = end + 1) {
        int64_t found = step_of(line, JSON_START);
        if (found < INT64_MAX) *step = found;
    }
    tn_buf_release(&rows);
    return status;
}

static tn_status keep_rows(const char *path, const char *start, const tn_buf *head, int64_t keep) {
    tn_buf old = {0}, kept = {0};
    tn_status status = read_rows(path, &old);
    if (!status) status = tn_buf_append(&kept, tn_buf_text(head), head->len);
    const char *line = tn_buf_text(&old), *end;
    for (; !status && (end = strchr(line, '\n')); line = end + 1)
        if (step_of(line, start) <= keep) status = tn_buf_append(&kept, line, (size_t)(end + 1 - line));
    if (!status) status = tn_file_write(path, tn_buf_text(&kept), kept.len);
    tn_buf_release(&old);
    tn_buf_release(&kept);
    return status;
}

tn_status tn_metrics_open(tn_metrics *metrics, const char *dir, int64_t keep) {
    TN_TRY(tn_path_join(metrics->jsonl, sizeof metrics->jsonl, dir, "metrics.jsonl"));
    TN_TRY(tn_path_join(metrics->csv, sizeof metrics->csv, dir, "metrics.csv"));
    tn_buf head = {0};
    tn_status status = keep_rows(metrics->jsonl, JSON_START, &head, keep);
    if (!status) status = put_csv_head(&head);
    if (!status) status = keep_rows(metrics->csv, "", &head, keep);
    tn_buf_release(&head);
    return status;
}
