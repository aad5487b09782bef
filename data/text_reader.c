/* SPDX-License-Identifier: MIT */
#include "data/text_reader.h"

#include "data/rows.h"

typedef struct reader {
    tn_data_report report;
    tn_document_visit *visit;
    void *context;
} reader;

static tn_status visit_text(void *context, const tn_row *row) {
    reader *r = context;
    if (row->kind != TN_ROW_TEXT)
        return TN_FAIL(CORRUPT, "row is of kind %s, expected a \"text\"", tn_row_kind_names[row->kind]);
    return r->visit(r->context, row->said[0].text, row->said[0].len, (int)r->report.count - 1, row->path);
}

tn_status tn_read_documents(const char *const *paths, int n_paths, tn_document_visit *visit, void *context) {
    reader r = {.visit = visit, .context = context};
    tn_status status = tn_read_rows(paths, n_paths, &(tn_row_options){0}, &r.report, visit_text, &r);
    tn_data_report_release(&r.report);
    return status;
}
