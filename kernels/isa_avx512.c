/* SPDX-License-Identifier: MIT
 * AVX-512 with VNNI. */
#ifndef TN_F64
#include "kernels/bodies.h"
#include "kernels/bodies_vnni.h"

#define KERNEL(result, name, parameters) .name = name,
const tn_kernels tn_kernels_avx512 = {
#include "kernels/kernels.def"
    TN_KERNEL_SIZES("avx512")};
#undef KERNEL
#endif
