/* SPDX-License-Identifier: MIT
 * data_report_print.h - what became of the rows of each file, for people and as JSON. */
#ifndef TN_CMD_DATA_REPORT_PRINT_H
#define TN_CMD_DATA_REPORT_PRINT_H
#include "cmd/cmd.h"
#include "data/data_report.h"

/* Some lines a file. */
tn_status tn_data_report_print(const tn_data_report *report);
/* An array of objects, one a file; NULL when memory is out. */
struct json_t *tn_data_report_json(const tn_data_report *report);
/* {"read", "kept", "dropped": {reason: rows}}; NULL when memory is out. */
struct json_t *tn_data_rows_json(const tn_file_report *total);

#endif
