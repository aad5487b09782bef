/* SPDX-License-Identifier: MIT
 * clock.h - time for people and for rates. No result of a computation may depend on it. */
#ifndef TN_CORE_CLOCK_H
#define TN_CORE_CLOCK_H
#include "core/compiler.h"

double tn_clock_seconds(void); /* monotonic, arbitrary start */
double tn_clock_unix(void);    /* seconds since 1970, UTC */
/* "2026-01-31T12:00:00Z" (20 characters and a NUL). */
void tn_clock_stamp(double unix_seconds, char out[21]);

#endif
