/* SPDX-License-Identifier: MIT
 * fingerprint.h - which model this is, in 32 hex digits: its settings and its ternary states. Whatever file they come
 * from, however they are packed, and whether there are latents above them, the same states have the same fingerprint;
 * scales, gains and tables, which file types round, do not count. A float twin has no states: there its matrices
 * count, as floats. What is written for one model - an adapter, a run that goes on - is refused for another. */
#ifndef TN_MODELS_FINGERPRINT_H
#define TN_MODELS_FINGERPRINT_H
#include "layers/model.h"

enum { TN_FINGERPRINT = 33 };

/* `model` is filled and refreshed. Parallel inside. Fails: TN_E_NOMEM. */
tn_status tn_model_fingerprint(const tn_model *model, char hex[TN_FINGERPRINT]);
/* The same of what the attached adapters add to passes: their pairs and scales, in the order of attaching; whatever
 * files they come from, and in whatever order a file has its pairs. "" when none adds anything. Parallel inside. */
tn_status tn_model_adapters_fingerprint(const tn_model *model, char hex[TN_FINGERPRINT]);
/* Both: the model's, and where adapters are attached, + and theirs. */
enum { TN_FINGERPRINT_WHOLE = 2 * TN_FINGERPRINT };
tn_status tn_model_whole_fingerprint(const tn_model *model, char hex[TN_FINGERPRINT_WHOLE]);

#endif
