/* SPDX-License-Identifier: MIT
 * train_progress.h - how a training run shows where it stands: one line redrawn on a terminal, elsewhere one line for
 * each row of the metrics, or one JSON object a line. All of it goes to stderr. */
#ifndef TN_CMD_TRAIN_PROGRESS_H
#define TN_CMD_TRAIN_PROGRESS_H
#include "train/trainer.h"

#define TN_PROGRESS_STYLES "auto|bar|plain|json|off"
typedef enum tn_progress_style {
    TN_PROGRESS_AUTO, /* bar on a terminal that can redraw a line, else plain */
    TN_PROGRESS_BAR,
    TN_PROGRESS_PLAIN,
    TN_PROGRESS_JSON,
    TN_PROGRESS_OFF
} tn_progress_style;

typedef struct tn_progress_view {
    tn_progress_style style;
    double drawn; /* clock of the last redraw */
} tn_progress_view;

tn_progress_view tn_progress_view_make(tn_progress_style style);
void tn_progress_view_show(tn_progress_view *view, const tn_progress *progress);
void tn_progress_view_end(tn_progress_view *view); /* takes the line away */
/* "2h05m", "3m20s", "45s"; "?" for what is not a time */
const char *tn_duration_text(double seconds, char out[24]);

#endif
