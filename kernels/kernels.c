/* SPDX-License-Identifier: MIT
 * Chooses the rows of the table; the list of instruction sets is here, in rising order. */
#include "kernels/kernels_priv.h"
#include "kernels/blas.h"

#include <stdlib.h>
#include <string.h>

const tn_kernels *const tn_k = &tn_kernels_table;

static bool cpu_has_generic(void) { return true; }
#if TN_KERNELS_X86
static bool cpu_has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
static bool cpu_has_avx512(void) {
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

static const struct {
    const tn_kernels *rows;
    bool (*cpu_has)(void);
} sets[] = {
    {&tn_kernels_generic, cpu_has_generic},
#if TN_KERNELS_X86
    {&tn_kernels_avx2, cpu_has_avx2},
    {&tn_kernels_avx512, cpu_has_avx512},
#endif
};

static const tn_kernels *best_set(void) {
    size_t i = TN_COUNT(sets) - 1;
    while (!sets[i].cpu_has()) i--;
    return sets[i].rows;
}

/* Names of all builds, also those this one has no rows for. */
static bool is_known(const char *isa) {
    return strcmp(isa, "generic") == 0 || strcmp(isa, "avx2") == 0 || strcmp(isa, "avx512") == 0;
}

tn_status tn_kernels_init(const char *isa) {
    tn_blas_init();
    if (!isa) isa = getenv("TN_ISA");
    if (!isa || !*isa) {
        tn_kernels_table = *best_set();
        return TN_OK;
    }
    for (size_t i = 0; i < TN_COUNT(sets); i++) {
        if (strcmp(isa, sets[i].rows->isa) != 0) continue;
        if (!sets[i].cpu_has()) return TN_FAIL(UNSUPPORTED, "instruction set \"%s\": this CPU does not have it", isa);
        tn_kernels_table = *sets[i].rows;
        return TN_OK;
    }
    if (is_known(isa)) return TN_FAIL(UNSUPPORTED, "instruction set \"%s\": not in this build", isa);
    return TN_FAIL(ARG, "instruction set \"%s\": expected generic, avx2 or avx512", isa);
}

const char *tn_kernels_isa(void) { return tn_k->isa; }
