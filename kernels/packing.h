/* SPDX-License-Identifier: MIT
 * packing.h - how the states of a ternary matrix lie in memory for the forward product. One packing serves single
 * tokens and prompts. */
#ifndef TN_KERNELS_PACKING_H
#define TN_KERNELS_PACKING_H

typedef enum tn_packing {
    TN_PACKING_PAIRS,  /* 2 bits a state (kernels_priv.h): what training packs anew every step */
    TN_PACKING_TRIPLES /* three states in 5 bits (triples.h): fewer bytes, fast where triples_are_fast */
} tn_packing;

#endif
