/* SPDX-License-Identifier: MIT
 * output_guard.h - keeps a command from writing over what it reads. */
#ifndef TN_CMD_OUTPUT_GUARD_H
#define TN_CMD_OUTPUT_GUARD_H
#include "core/status.h"

/* Refuse `output` when it is one of `inputs`, or a file in a folder among them that would be read, whatever the names
 * (device and inode decide). Call it before anything is written. An input that is absent is left to its reader. Fails:
 * TN_E_CONFIG, the sentence names both; TN_E_IO. */
tn_status tn_output_guard(const char *output, const char *const *inputs, int n_inputs);
/* The same where the input is a model or an adapter: of a run folder only the checkpoints are read, and a file may
 * stand beside them. */
tn_status tn_output_guard_model(const char *output, const char *model);

#endif
