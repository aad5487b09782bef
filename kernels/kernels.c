/* SPDX-License-Identifier: MIT
 * Chooses the rows of the table; the list of instruction sets is here, in rising order. */
#include "kernels/kernels_priv.h"
#include "kernels/blas.h"

#include <stdio.h>
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
#define X86(name) &tn_kernels_##name, cpu_has_##name
#else
#define X86(name) NULL, NULL
#endif

static const struct {
    const char *name;
    const tn_kernels *rows; /* NULL: not in this build */
    bool (*cpu_has)(void);
} sets[] = {
    {"generic", &tn_kernels_generic, cpu_has_generic},
    {"avx2", X86(avx2)},
    {"avx512", X86(avx512)},
};

static const tn_kernels *best_set(void) {
    size_t i = TN_COUNT(sets) - 1;
    while (!sets[i].rows || !sets[i].cpu_has()) i--;
    return sets[i].rows;
}

const char *tn_kernels_known(size_t number) { return number < TN_COUNT(sets) ? sets[number].name : NULL; }

static tn_status fail_unknown(const char *isa) {
    char known[128] = "";
    size_t len = 0;
    for (size_t i = 0; i < TN_COUNT(sets) && len < sizeof known; i++)
        len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", i ? ", " : "", sets[i].name);
    return TN_FAIL(ARG, "instruction set \"%s\": expected one of %s", isa, known);
}

tn_status tn_kernels_init(const char *isa) {
    tn_blas_init();
    if (!isa) isa = getenv("TN_ISA");
    if (!isa || !*isa) {
        tn_kernels_table = *best_set();
        return TN_OK;
    }
    size_t i = 0;
    while (i < TN_COUNT(sets) && strcmp(isa, sets[i].name) != 0) i++;
    if (i == TN_COUNT(sets)) return fail_unknown(isa);
    if (!sets[i].rows) return TN_FAIL(UNSUPPORTED, "instruction set \"%s\": not in this build", isa);
    if (!sets[i].cpu_has()) return TN_FAIL(UNSUPPORTED, "instruction set \"%s\": this CPU does not have it", isa);
    tn_kernels_table = *sets[i].rows;
    return TN_OK;
}

const char *tn_kernels_isa(void) { return tn_k->isa; }
