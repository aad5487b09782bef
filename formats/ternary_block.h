/* SPDX-License-Identifier: MIT
 * ternary_block.h - states -1, 0, +1 to and from the packed tensor types of GGUF (docs/format.md), whole tensors only.
 * states [rows, cols] row-major int8; one scale per tensor. All layouts are the same on every CPU.
 * Every call fails with TN_E_SHAPE when cols do not fill blocks. Packing also fails with TN_E_RANGE on a state outside
 * -1..+1, or on a scale that is not finite and positive in the type that is stored. */
#ifndef TN_FORMATS_TERNARY_BLOCK_H
#define TN_FORMATS_TERNARY_BLOCK_H
#include "core/status.h"

/* I2_S: cols % 128 == 0; out has rows*cols/4 + 32 bytes, the f32 scale behind the codes. */
tn_status tn_i2_s_pack(const int8_t *states, int64_t rows, int64_t cols, float scale, unsigned char *out);
/* Fails: TN_E_CORRUPT on code 3, or a scale that is not finite and positive. `what` names the tensor in messages. */
tn_status tn_i2_s_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states,
                         float *scale);

/* TQ2_0 and TQ1_0: cols % 256 == 0; `d` goes into every block as f16. Unpacking wants one d in all blocks and returns
 * it; blocks with d = 0, as other writers store 256 zeros, unpack to zeros (and *d is 0 when there is no other block).
 * Fails: TN_E_CORRUPT on code 3, or blocks with different, negative or non-finite d. */
tn_status tn_tq2_0_pack(const int8_t *states, int64_t rows, int64_t cols, float d, unsigned char *out);
tn_status tn_tq2_0_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states,
                          float *d);
tn_status tn_tq1_0_pack(const int8_t *states, int64_t rows, int64_t cols, float d, unsigned char *out);
tn_status tn_tq1_0_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states,
                          float *d);

#endif
