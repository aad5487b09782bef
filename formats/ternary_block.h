/* SPDX-License-Identifier: MIT
 * ternary_block.h - states -1, 0, +1 to and from the packed tensor types of GGUF (docs/format.md), whole tensors or
 * some of their rows. states [rows, cols] row-major int8; one scale per tensor. All layouts are the same on every CPU.
 * Every call fails with TN_E_SHAPE when cols do not fill blocks. Packing also fails with TN_E_RANGE on a state outside
 * -1..+1, or on a scale that is not finite and positive in the type that is stored. */
#ifndef TN_FORMATS_TERNARY_BLOCK_H
#define TN_FORMATS_TERNARY_BLOCK_H
#include "core/status.h"

/* Whether the type (tn_ggml_type) is I2_S, TQ2_0 or TQ1_0; the others below ask for one of them. */
bool tn_ternary_type(int type);

/* A tensor of tn_ggml_type_bytes() bytes. I2_S (cols % 128 == 0) keeps the scale as f32 behind the codes; TQ2_0 and
 * TQ1_0 (cols % 256 == 0) in every block, as f16. */
tn_status tn_ternary_pack(int type, const int8_t *states, int64_t rows, int64_t cols, float scale, unsigned char *out);
/* The bytes of `rows` rows alone, and what lies behind the last row of a tensor: returns how many bytes, which may be
 * none. */
tn_status tn_ternary_pack_rows(int type, const int8_t *states, int64_t rows, int64_t cols, float scale,
                               unsigned char *out);
enum { TN_TERNARY_TAIL_MAX = 32 };
size_t tn_ternary_tail(int type, float scale, unsigned char out[TN_TERNARY_TAIL_MAX]);

/* Unpacking wants one scale in all blocks and returns it; blocks with scale 0, as other writers store 256 zeros, unpack
 * to zeros (and *scale is 0 when there is no other block). `what` names the tensor in messages.
 * Fails: TN_E_CORRUPT on code 3, or scales that are different, negative or not finite. */
tn_status tn_ternary_unpack(int type, const char *what, const unsigned char *in, int64_t rows, int64_t cols,
                            int8_t *states, float *scale);
/* Rows first..first+count-1 of the same tensor: states [count, cols]. */
tn_status tn_ternary_unpack_rows(int type, const char *what, const unsigned char *in, int64_t rows, int64_t cols,
                                 int64_t first, int64_t count, int8_t *states, float *scale);

#endif
