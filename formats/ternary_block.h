/* SPDX-License-Identifier: MIT
 * ternary_block.h - states -1, 0, +1 to and from the packed tensor types of GGUF (docs/format.md), whole tensors only.
 * states [rows, cols] row-major int8; one scale per tensor. All layouts are the same on every CPU. */
#ifndef TN_FORMATS_TERNARY_BLOCK_H
#define TN_FORMATS_TERNARY_BLOCK_H
#include "core/status.h"

/* I2_S: cols % 128 == 0; out has rows*cols/4 + 32 bytes, the f32 scale behind the codes. */
tn_status tn_i2_s_pack(const int8_t *states, int64_t rows, int64_t cols, float scale, unsigned char *out);
/* Fails: TN_E_CORRUPT on code 3, or a scale that is not finite and positive. `what` names the tensor in messages. */
tn_status tn_i2_s_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states, float *scale);

/* TQ2_0 and TQ1_0: cols % 256 == 0; `d` goes into every block as f16. Unpacking wants one d in all blocks and returns it. */
tn_status tn_tq2_0_pack(const int8_t *states, int64_t rows, int64_t cols, float d, unsigned char *out);
tn_status tn_tq2_0_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states, float *d);
tn_status tn_tq1_0_pack(const int8_t *states, int64_t rows, int64_t cols, float d, unsigned char *out);
tn_status tn_tq1_0_unpack(const char *what, const unsigned char *in, int64_t rows, int64_t cols, int8_t *states, float *d);

#endif
