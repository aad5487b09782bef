/* SPDX-License-Identifier: MIT
 * half.h - f16 and bf16 to and from f32, rounding half to even; the portable truth for every reader and writer. */
#ifndef TN_CORE_HALF_H
#define TN_CORE_HALF_H
#include "core/compiler.h"

float tn_f16_to_f32(uint16_t h);
uint16_t tn_f32_to_f16(float f); /* overflow goes to infinity; a NaN stays one */
float tn_bf16_to_f32(uint16_t h);
uint16_t tn_f32_to_bf16(float f);

#endif
