/* SPDX-License-Identifier: MIT
 * weigh_packing.h - which packing of ternary weights serves a model that is only run. */
#ifndef TN_MODELS_WEIGH_PACKING_H
#define TN_MODELS_WEIGH_PACKING_H
#include "core/status.h"

/* For a model of so many ternary weights, before it is created: time one token through a stretch of weights in both
 * packings, about 10 ms, and use the faster one (tn_kernels_use_packing). Where triples have no rows of their own, or
 * the model is so small that caches hold it, all stays as it is. Results do not depend on it. Fails: TN_E_NOMEM. */
tn_status tn_packing_weigh(int64_t weights);

#endif
