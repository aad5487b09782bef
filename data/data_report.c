/* SPDX-License-Identifier: MIT */
#include "data/data_report.h"

#include "data/grow.h"

#define DROP(id, name, text) name,
const char *const tn_drop_names[TN_DROPS] = {
#include "data/drop_reasons.def"
};
#undef DROP
#define DROP(id, name, text) text,
const char *const tn_drop_texts[TN_DROPS] = {
#include "data/drop_reasons.def"
};
#undef DROP

tn_status tn_data_report_add(tn_data_report *report, const char *path) {
    TN_GROW(report->files, &report->cap, report->count + 1);
    char *copy = tn_heap_strdup(path);
    if (!copy) return TN_E_NOMEM;
    report->files[report->count++] = (tn_file_report){.path = copy};
    return TN_OK;
}

tn_file_report *tn_data_report_now(tn_data_report *report) {
    TN_ASSERT(report->count);
    return &report->files[report->count - 1];
}

void tn_data_report_end_text(tn_file_report *file, bool learnt) {
    file->tokens++;
    file->targets += learnt;
    file->turn_ends += learnt;
}

tn_file_report tn_data_report_total(const tn_data_report *report) {
    tn_file_report total = {0};
    for (size_t i = 0; i < report->count; i++) {
        const tn_file_report *f = &report->files[i];
        total.rows += f->rows;
        total.kept += f->kept;
        total.cut += f->cut;
        for (int j = 0; j < TN_DROPS; j++) total.dropped[j] += f->dropped[j];
        total.documents += f->documents;
        total.tokens += f->tokens;
        total.bytes += f->bytes;
        total.targets += f->targets;
        total.turn_ends += f->turn_ends;
        total.zero_target += f->zero_target;
        total.duplicates += f->duplicates;
        if (f->longest <= total.longest) continue;
        total.longest = f->longest;
        total.longest_line = f->longest_line;
    }
    return total;
}

tn_status tn_data_report_put_dropped(const tn_file_report *file, tn_buf *out) {
    const char *between = "; left out: ";
    for (int i = 0; i < TN_DROPS; i++) {
        if (!file->dropped[i]) continue;
        TN_TRY(tn_buf_printf(out, "%s%lld %s", between, (long long)file->dropped[i], tn_drop_texts[i]));
        between = ", ";
    }
    return TN_OK;
}

void tn_data_report_release(tn_data_report *report) {
    for (size_t i = 0; i < report->count; i++) tn_heap_free(report->files[i].path);
    tn_heap_free(report->files);
    *report = (tn_data_report){0};
}
