/* SPDX-License-Identifier: MIT
 * triples.h - ternary panels of 5 bits for three states, 1.67 bits a state, for weights that come from memory; the
 * 2-bit panels of kernels_priv.h are cheaper to open. Private to kernels/.
 *
 * A panel holds `width` outputs, the ternary_panel_width of the set. Along k they lie in groups of TN_TRIPLE_GROUP, of
 * 5 rows of `width` bytes each. A field stands for the states, plus 1, at k, k + 4 and k + 8: x + 3 y + 9 z. A group
 * has 8 units of `width` fields: unit 4 h + s holds k = 12 h + b of the group at byte 4 j + b, for outputs
 * s width / 4 + j and b = 0..3, so that opening a unit gives the four neighbouring states that byte dot products take.
 * Byte i of the rows r0..r4 holds the fields f0..f7 of byte i of the units:
 *   r0 = f0 | low 3 bits of f5     r3 = f3 | bits 3, 4 of f5 | bit 3 of f7
 *   r1 = f1 | low 3 bits of f6     r4 = f4 | bits 3, 4 of f6 | bit 4 of f7     each part above the one before it
 *   r2 = f2 | low 3 bits of f7
 * Past the last k and the last output states are 0. */
#ifndef TN_KERNELS_TRIPLES_H
#define TN_KERNELS_TRIPLES_H
#include "core/compiler.h"

enum { TN_TRIPLE_GROUP = 24, TN_TRIPLE_ROWS = 5, TN_TRIPLE_UNITS = 8 };

/* One panel from states [count, k], count <= width; a multiple of 16. */
void tn_pack_triples(int width, int count, int k, const int8_t *states, uint32_t *panel);

/* The portable rows triple_panel and triple_bytes of every set, for panels as wide as tn_k says. */
void tn_triple_panel(int rows, int k, const int8_t *q, int64_t q_stride, const void *panel, int32_t *acc);
void tn_triple_bytes(int groups, const uint32_t *panel, uint32_t *bytes);

#endif
