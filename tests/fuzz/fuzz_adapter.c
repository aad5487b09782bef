/* SPDX-License-Identifier: MIT
 * fuzz_adapter.c - adapters: a GGUF file, or a folder of peft as its adapter_config.json, a zero byte, and
 * adapter_model.safetensors. What is accepted is finite, and its terms are written and read back the same. */
#include "models/adapter_file.h"
#include "models/peft_config.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const tn_model_config tiny = {.vocab_size = 4,
                                     .d_model = 8,
                                     .n_layer = 1,
                                     .n_head = 1,
                                     .n_kv_head = 1,
                                     .head_dim = 8,
                                     .d_ff = 8,
                                     .context = 8,
                                     .tie_embeddings = true,
                                     .sub_norms = true,
                                     .norm_eps = 1e-5,
                                     .rope_theta = 10000};

/* ---- a folder whose files are those in memory ---- */

static char folder[32] = "/tmp/tern-fuzz-XXXXXX", names[2][64];

static void remove_folder(void) {
    (void)unlink(names[0]);
    (void)unlink(names[1]);
    (void)rmdir(folder);
}

static int make_folder(const char *tensors) {
    char config[64];
    const int fd = memfd_create("config", MFD_CLOEXEC);
    TN_ASSERT(fd >= 0 && mkdtemp(folder));
    snprintf(names[0], sizeof names[0], "%s/adapter_config.json", folder);
    snprintf(names[1], sizeof names[1], "%s/adapter_model.safetensors", folder);
    snprintf(config, sizeof config, "/proc/self/fd/%d", fd);
    TN_ASSERT(symlink(config, names[0]) == 0 && symlink(tensors, names[1]) == 0 && atexit(remove_folder) == 0);
    return fd;
}

static const char *peft_folder(const uint8_t *data, size_t size) {
    static int fd = -1;
    const uint8_t *zero = memchr(data, 0, size);
    const size_t len = zero ? (size_t)(zero - data) : size;
    const char *tensors = tn_fuzz_file(zero ? zero + 1 : data, zero ? size - len - 1 : 0);
    if (fd < 0) fd = make_folder(tensors);
    TN_ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, data, len, 0) == (ssize_t)len);
    return folder;
}

/* ---- what holds of an adapter ---- */

static void check_half(const tn_param *p) {
    for (int64_t i = 0; i < tn_param_count(p); i++) TN_ASSERT(isfinite(p->tensor.real[i]));
}

static void check(const tn_adapter *adapter) {
    tn_buf text = {0};
    tn_peft_config config;
    TN_ASSERT(adapter->n_pairs > 0 && !tn_peft_config_write(adapter, "base", &text));
    TN_ASSERT(!tn_peft_config_read(&config, "again", tn_buf_text(&text), text.len));
    for (int i = 0; i < adapter->n_pairs; i++) {
        const tn_adapter_pair *pair = &adapter->pairs[i];
        char module[TN_HF_NAME_SIZE];
        double alpha;
        int rank;
        check_half(&pair->a);
        check_half(&pair->b);
        TN_ASSERT(!tn_peft_config_terms(&config, tn_peft_module(pair->target, module), &rank, &alpha));
        TN_ASSERT(rank == pair->rank && alpha == pair->alpha);
        TN_ASSERT(tn_peft_config_names(&config, module) == TN_PEFT_YES);
    }
    tn_peft_config_release(&config);
    tn_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const bool gguf = size >= 4 && memcmp(data, "GGUF", 4) == 0;
    tn_adapter_base base = {.config = &tiny};
    tn_adapter *adapter;
    tn_arena *arena = tn_arena_create("fuzz");
    TN_ASSERT(arena);
    if (!tn_adapter_file_load(&adapter, arena, gguf ? tn_fuzz_file(data, size) : peft_folder(data, size), &base, NULL))
        check(adapter);
    tn_arena_free(arena);
    return 0;
}
