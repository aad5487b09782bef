/* SPDX-License-Identifier: MIT
 * The forward product of real matrices: panels.h in parallel. One task is a panel of weights and a block of rows. */
#include "core/par.h"
#include "kernels/gemm.h"
#include "kernels/kernels_priv.h"
#include "kernels/panels.h"

enum {
    ROW_BLOCK = 384,
    COPY_WORK = 16 /* multiply-adds that take as long as copying a number */
};

size_t tn_pack_real_bytes(int m, int k) { return sizeof(tn_real) * (size_t)tn_panels_count(k, m); }

/* A product, or the packing of its weights. */
typedef struct real_job {
    int n, m, k;
    const tn_real *x, *w;
    tn_real *panels, *y;
} real_job;

static int panels_of(const real_job *p) { return (p->m + tn_k->real_panel_width - 1) / tn_k->real_panel_width; }

static void pack_panels(void *context, int64_t begin, int64_t end) {
    const real_job *p = context;
    const int64_t width = tn_k->real_panel_width, first = begin * width, last = TN_MIN(end * width, (int64_t)p->m);
    tn_panels_pack_turned(p->k, (int)(last - first), p->w + first * p->k, p->k, p->panels + first * p->k);
}

void tn_pack_real(int m, int k, const tn_real *w, void *packed) {
    real_job p = {.m = m, .k = k, .w = w, .panels = packed};
    tn_par_for(panels_of(&p), tn_grain_of((int64_t)tn_k->real_panel_width * k * COPY_WORK), pack_panels, &p);
}

static void multiply_panels(void *context, int64_t begin, int64_t end) {
    const real_job *p = context;
    const int width = tn_k->real_panel_width, panels = panels_of(p);
    for (int64_t task = begin; task < end; task++) {
        const int64_t row = task / panels * ROW_BLOCK;
        const int col = (int)(task % panels) * width;
        tn_panels_multiply((int)TN_MIN((int64_t)ROW_BLOCK, p->n - row), TN_MIN(width, p->m - col), p->k,
                           p->x + row * p->k, p->k, p->panels + (int64_t)col * p->k, TN_SUM_SET,
                           p->y + row * p->m + col, p->m);
    }
}

void tn_gemm_real(int n, int m, int k, const tn_real *x, const void *packed, tn_real *y) {
    real_job p = {.n = n, .m = m, .k = k, .x = x, .panels = (tn_real *)(uintptr_t)packed, .y = y};
    const int64_t work = (int64_t)TN_MIN(n, (int)ROW_BLOCK) * tn_k->real_panel_width * k;
    tn_par_for(((int64_t)n + ROW_BLOCK - 1) / ROW_BLOCK * panels_of(&p), tn_grain_of(work), multiply_panels, &p);
}
