/* SPDX-License-Identifier: MIT
 * data_report.h - what became of the rows of each file, counted while they are read (data/rows.h), made into documents
 * (data/examples.h) and stored. Starts as {0}; release gives it back. */
#ifndef TN_DATA_DATA_REPORT_H
#define TN_DATA_DATA_REPORT_H
#include "core/buf.h"

typedef enum tn_drop {
#define DROP(id, name, text) TN_DROP_##id,
#include "data/drop_reasons.def"
#undef DROP
    TN_DROPS
} tn_drop;

extern const char *const tn_drop_names[TN_DROPS]; /* "no_target" */
extern const char *const tn_drop_texts[TN_DROPS]; /* "nothing to learn from" */

typedef struct tn_file_report {
    char *path;   /* NULL in a total */
    int64_t rows; /* read, blank lines not counted; a text file is one */
    int64_t kept; /* that gave at least one document */
    int64_t cut;  /* that were longer than data.max_length and cut or split */
    int64_t dropped[TN_DROPS];
    int64_t documents, tokens, bytes; /* bytes of text */
    int64_t targets;                  /* tokens that are learnt */
    int64_t turn_ends;                /* of these, tokens that end a turn or a text */
    int64_t zero_target;              /* documents without a target */
    int64_t longest, longest_line;    /* tokens of the longest document, and where it is */
    int64_t duplicates;               /* rows that were there before; dropped with data.dedup alone */
} tn_file_report;

typedef struct tn_data_report {
    tn_file_report *files; /* in the order in which they were read */
    size_t count, cap;
} tn_data_report;

/* Begin with the next file; tn_data_report_now is then its entry. */
tn_status tn_data_report_add(tn_data_report *report, const char *path);
tn_file_report *tn_data_report_now(tn_data_report *report);
/* Count the EOS that is put behind running text of `file`. */
void tn_data_report_end_text(tn_file_report *file, bool learnt);
tn_file_report tn_data_report_total(const tn_data_report *report);
/* Append "; left out: 2 bad rows, 1 empty", or nothing. */
tn_status tn_data_report_put_dropped(const tn_file_report *file, tn_buf *out);
void tn_data_report_release(tn_data_report *report);

#endif
