/* SPDX-License-Identifier: MIT
 * clip.h - the norm of all gradients together, and the factor that brings it down to a limit. */
#ifndef TN_OPTIM_CLIP_H
#define TN_OPTIM_CLIP_H
#include "optim/param_blocks.h"

typedef struct tn_clip {
    const tn_param_blocks *blocks; /* borrowed */
    double *squares;               /* [blocks->count] */
} tn_clip;

tn_status tn_clip_init(tn_clip *clip, tn_arena *arena, const tn_param_blocks *blocks);
/* sqrt(sum g^2) over every parameter, in double, block sums added in order; an empty gradient is
 * cleared and counts 0. Not finite when any gradient is not. */
double tn_clip_norm(const tn_clip *clip);
/* min(1, max_norm / norm); 1 when max_norm is 0 (no limit). */
double tn_clip_scale(double norm, double max_norm);

#endif
