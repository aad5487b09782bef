/* SPDX-License-Identifier: MIT */
#include "cmd/train_progress.h"

#include "cmd/console.h"
#include "core/clock.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static const double REDRAW_SECONDS = 0.1;

tn_progress_view tn_progress_view_make(tn_progress_style style) {
    if (style == TN_PROGRESS_AUTO) style = tn_console_can_redraw() ? TN_PROGRESS_BAR : TN_PROGRESS_PLAIN;
    return (tn_progress_view){.style = style};
}

const char *tn_duration_text(double seconds, char out[24]) {
    if (!(seconds >= 0) || seconds > 1e9) return snprintf(out, 24, "?"), out;
    long all = lrint(seconds);
    if (all >= 3600)
        snprintf(out, 24, "%ldh%02ldm", all / 3600, all / 60 % 60);
    else if (all >= 60)
        snprintf(out, 24, "%ldm%02lds", all / 60, all % 60);
    else
        snprintf(out, 24, "%lds", all);
    return out;
}

static const char *number(char out[24], const char *format, double value) {
    if (isfinite(value))
        snprintf(out, 24, format, value);
    else
        snprintf(out, 24, "-");
    return out;
}

/* What tells more of an objective than its loss. */
static void describe_objective(const tn_progress *p, char out[80]) {
    char train[24], val[24];
    *out = '\0';
    if (isfinite(p->train.accuracy))
        snprintf(out, 80, "  accuracy %s  val %s", number(train, "%.3f", p->train.accuracy),
                 number(val, "%.3f", p->val.accuracy));
    if (isfinite(p->train.divergence))
        snprintf(out, 80, "  kl %s  val %s", number(train, "%.4f", p->train.divergence),
                 number(val, "%.4f", p->val.divergence));
}

static void describe(const tn_progress *p, char out[256]) {
    char total[32] = "", loss[24], val[24], objective[80], rate[24], norm[24], left[24];
    if (p->total) snprintf(total, sizeof total, "/%lld", (long long)p->total);
    describe_objective(p, objective);
    int n = snprintf(out, 256, "step %lld%s  loss %s  val %s%s  lr %s  norm %s  %.0f tok/s  left %s  %.0f MiB",
                     (long long)p->step, total, number(loss, "%.4f", p->train.loss), number(val, "%.4f", p->val.loss),
                     objective, number(rate, "%.2e", p->learning_rate), number(norm, "%.3f", p->grad_norm),
                     p->tokens_per_second, p->total ? tn_duration_text(p->seconds_left, left) : "-",
                     (double)p->rss_bytes / 0x1p20);
    if (p->skipped && n > 0 && n < 256) snprintf(out + n, 256 - (size_t)n, "  skipped %lld", (long long)p->skipped);
}

static void set_known(json_t *object, const char *name, double value) {
    if (isfinite(value)) json_object_set_new(object, name, json_real(value));
}

static void print_json(const tn_progress *p) {
    json_t *object = json_pack("{s:I, s:I, s:I}", "step", (json_int_t)p->step, "total", (json_int_t)p->total, "skipped",
                               (json_int_t)p->skipped);
    set_known(object, "train_loss", p->train.loss);
    set_known(object, "val_loss", p->val.loss);
    set_known(object, "kl", p->train.divergence);
    set_known(object, "val_kl", p->val.divergence);
    set_known(object, "rewards_accuracies", p->train.accuracy);
    set_known(object, "val_rewards_accuracies", p->val.accuracy);
    set_known(object, "rewards_margins", p->train.margin);
    set_known(object, "val_rewards_margins", p->val.margin);
    set_known(object, "learning_rate", p->learning_rate);
    set_known(object, "grad_norm", p->grad_norm);
    set_known(object, "tokens_per_second", p->tokens_per_second);
    set_known(object, "seconds_left", p->total ? p->seconds_left : (double)NAN);
    (void)json_dumpf(object, stderr, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', stderr);
    json_decref(object);
}

void tn_progress_view_show(tn_progress_view *view, const tn_progress *progress) {
    char line[256];
    double now = tn_clock_seconds();
    switch (view->style) {
    case TN_PROGRESS_BAR:
        if (now - view->drawn < REDRAW_SECONDS) return;
        view->drawn = now;
        describe(progress, line);
        tn_console_progress(line);
        return;
    case TN_PROGRESS_PLAIN:
        if (!progress->row) return;
        describe(progress, line);
        fprintf(stderr, "%s\n", line);
        return;
    case TN_PROGRESS_JSON:
        if (progress->row) print_json(progress);
        return;
    default: return;
    }
}

void tn_progress_view_end(tn_progress_view *view) {
    if (view->style == TN_PROGRESS_BAR) tn_console_progress("");
}
