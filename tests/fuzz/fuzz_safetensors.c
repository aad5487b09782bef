/* SPDX-License-Identifier: MIT
 * fuzz_safetensors.c - files of tensors: every byte of what is accepted can be read, once. */
#include "formats/safetensors.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tn_safetensors *file;
    char shape[128];
    size_t bytes = 0;
    if (tn_safetensors_open(&file, tn_fuzz_file(data, size))) return 0;
    for (int64_t i = 0; i < tn_safetensors_count(file); i++) {
        const tn_safetensor *t = tn_safetensors_at(file, i);
        volatile unsigned char sum = 0;
        TN_ASSERT(tn_safetensors_find(file, t->name) == t && tn_safetensor_shape(t, shape)[0] == '[');
        for (size_t k = 0; k < t->bytes; k++) sum = (unsigned char)(sum + t->data[k]);
        bytes += t->bytes;
    }
    TN_ASSERT(bytes + 8 <= size);
    tn_safetensors_close(file);
    return 0;
}
