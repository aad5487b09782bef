/* SPDX-License-Identifier: MIT
 * rounding.h - parameters with the roundings that a file will give them, so that a model equals what is read back. */
#ifndef TN_MODELS_ROUNDING_H
#define TN_MODELS_ROUNDING_H
#include "autograd/param.h"

/* Turn a tabular parameter, whatever it is, into a table of that type in `arena`. Parallel inside. Fails: TN_E_RANGE
 * naming the row with a number that the type cannot hold. */
tn_status tn_round_to_table(tn_param *param, tn_table_type type, tn_arena *arena);
/* Round the value [rows, cols] of a parameter to the numbers of a type, in place. Fails as above. */
tn_status tn_round_value(tn_param *param, tn_table_type type);

#endif
