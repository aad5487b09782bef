/* SPDX-License-Identifier: MIT
 * compiler.h - the only place where a compiler extension gets a name (besides kernels/simd.h). */
#ifndef TN_CORE_COMPILER_H
#define TN_CORE_COMPILER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define TN_NORETURN                     _Noreturn
#define TN_UNUSED                       __attribute__((unused))
#define TN_LIKELY(x)                    __builtin_expect(!!(x), 1)
#define TN_UNLIKELY(x)                  __builtin_expect(!!(x), 0)
#define TN_THREAD_LOCAL                 _Thread_local
/* One cache line, one AVX-512 register; every arena piece starts on this boundary, in bytes. */
#define TN_ALIGN 64
#define TN_COUNT(array)                 (sizeof(array) / sizeof((array)[0]))
#define TN_MIN(a, b)                    ((a) < (b) ? (a) : (b))
#define TN_MAX(a, b)                    ((a) > (b) ? (a) : (b))
#define TN_ROUND_UP(n, to)              (((n) + (to)-1) / (to) * (to))

/* The number type of activations, latents and gradients. MODE=f64 compiles the same sources in double precision, so
 * that gradient checks can be held to 1e-7; every product that ships uses float. */
#ifdef TN_F64
typedef double tn_real;
#else
typedef float tn_real;
#endif

/* A broken contract inside our own code: prints the place and aborts. Bad input is never an assertion. */
TN_NORETURN void tn_assert_failed(const char *file, int line, const char *what);
#define TN_ASSERT(cond) ((cond) ? (void)0 : tn_assert_failed(__FILE__, __LINE__, #cond))

#endif
