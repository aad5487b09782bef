/* SPDX-License-Identifier: MIT
 * process.h - what Linux says of memory; 0 where it says nothing. */
#ifndef TN_TRAIN_PROCESS_H
#define TN_TRAIN_PROCESS_H
#include "core/compiler.h"

int64_t tn_process_resident_bytes(void); /* of this process, now */
/* The most that was resident at once since the process began, or since the last reset of this figure. */
int64_t tn_process_peak_bytes(void);
bool tn_process_reset_peak(void);         /* false where Linux does not allow it */
int64_t tn_process_available_bytes(void); /* that could still be taken without swapping */

#endif
