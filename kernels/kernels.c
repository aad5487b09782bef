/* SPDX-License-Identifier: MIT
 * Chooses the rows of the table; the list of instruction sets is here, in rising order. */
#include "kernels/kernels_priv.h"
#include "kernels/blas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if TN_KERNELS_X86
#include <cpuid.h>
#elif TN_KERNELS_ARM
#include <sys/auxv.h>
#endif

const tn_kernels *const tn_k = &tn_kernels_table;

static bool cpu_has_generic(void) { return true; }
#if TN_KERNELS_X86
static bool cpu_has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
/* gcc 12 does not know its name; that the system keeps the registers is in cpu_has_avx2. */
static bool cpu_has_avxvnni(void) {
    unsigned a, b, c, d;
    return cpu_has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1U << 4);
}
static bool cpu_has_avx512(void) {
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
static void tn_kernels_add_avx512(tn_kernels *table) {
    tn_kernels_add_bf16(table);
    tn_kernels_add_vbmi(table);
}
#define X86(name)            &tn_kernels_##name, cpu_has_##name, NULL
#define X86_MORE(than, name) &tn_kernels_##than, cpu_has_##name, tn_kernels_add_##name
#else
#define X86(name)            NULL, NULL, NULL
#define X86_MORE(than, name) NULL, NULL, NULL
#endif

#if TN_KERNELS_ARM
static bool cpu_has_neon(void) { return true; }
static bool cpu_has_dotprod(void) { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
/* And bfloat16: every CPU with one has the other. */
static bool cpu_has_i8mm(void) {
    const unsigned long wanted = HWCAP2_I8MM | HWCAP2_BF16;
    return cpu_has_dotprod() && (getauxval(AT_HWCAP2) & wanted) == wanted;
}
#define ARM(name)            &tn_kernels_##name, cpu_has_##name, NULL
#define ARM_MORE(than, name) &tn_kernels_##than, cpu_has_##name, tn_kernels_add_##name
#else
#define ARM(name)            NULL, NULL, NULL
#define ARM_MORE(than, name) NULL, NULL, NULL
#endif

static const struct {
    const char *name;
    const tn_kernels *rows; /* NULL: not in this build */
    bool (*cpu_has)(void);
    void (*add)(tn_kernels *table); /* NULL or: puts more rows on top of `rows` */
} sets[] = {
    {"generic", &tn_kernels_generic, cpu_has_generic, NULL},
    {"avx2", X86(avx2)},
    {"avxvnni", X86_MORE(avx2, avxvnni)},
    {"avx512", X86_MORE(avx512, avx512)},
    {"neon", ARM(neon)},
    {"dotprod", ARM_MORE(neon, dotprod)},
    {"i8mm", ARM_MORE(neon, i8mm)},
};

static size_t best_set(void) {
    size_t i = TN_COUNT(sets) - 1;
    while (!sets[i].rows || !sets[i].cpu_has()) i--;
    return i;
}

static void use_set(size_t i) {
    tn_kernels_table = *sets[i].rows;
    if (sets[i].add) sets[i].add(&tn_kernels_table);
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
        use_set(best_set());
        return TN_OK;
    }
    size_t i = 0;
    while (i < TN_COUNT(sets) && strcmp(isa, sets[i].name) != 0) i++;
    if (i == TN_COUNT(sets)) return fail_unknown(isa);
    if (!sets[i].rows) return TN_FAIL(UNSUPPORTED, "instruction set \"%s\": not in this build", isa);
    if (!sets[i].cpu_has()) return TN_FAIL(UNSUPPORTED, "instruction set \"%s\": this CPU does not have it", isa);
    use_set(i);
    return TN_OK;
}

void tn_kernels_use_packing(tn_packing packing) { tn_kernels_table.run_packing = packing; }
const char *tn_kernels_isa(void) { return tn_k->isa; }
bool tn_bf16_pays(void) { return tn_k->bf16_pays; }
