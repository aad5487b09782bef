/* SPDX-License-Identifier: MIT
 * metrics.h - what a run writes down about itself: metrics.jsonl, one object a line, and metrics.csv with the same
 * scalars in fixed columns (metrics.def). What is not known is NAN: left out of the object, empty in the CSV. */
#ifndef TN_TRAIN_METRICS_H
#define TN_TRAIN_METRICS_H
#include "core/buf.h"

typedef struct tn_metrics_row {
#define METRIC(name, kind) double name;
#include "train/metrics.def"
#undef METRIC
} tn_metrics_row;

typedef struct tn_metrics {
    char jsonl[4096], csv[4096]; /* paths */
} tn_metrics;

tn_metrics_row tn_metrics_row_empty(void); /* all NAN */
/* The step of the last whole row in run folder `dir`, -1 when there is none. Fails: TN_E_IO. */
tn_status tn_metrics_last_step(const char *dir, int64_t *step);
/* Keep the rows up to step `keep` (-1 = none) and drop the others, and what a killed process left half written. */
tn_status tn_metrics_open(tn_metrics *metrics, const char *dir, int64_t keep);
/* `layers`: a JSON object that goes under "layers", or NULL. Both files are with the kernel when it returns. */
tn_status tn_metrics_append(const tn_metrics *metrics, const tn_metrics_row *row, const char *layers);

#endif
