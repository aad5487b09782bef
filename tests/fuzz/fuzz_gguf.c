/* SPDX-License-Identifier: MIT
 * fuzz_gguf.c - GGUF files: the reader, the keys of a model's shape, the tokenizer. */
#include "data/tokenizer_gguf.h"
#include "models/gguf_config.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Every lookup of whatever kind, right or wrong for the key. */
static void look_up(const tn_gguf *file, int64_t i) {
    tn_gguf_kind kind, element;
    tn_gguf_text text;
    int64_t count = 0, whole;
    double real;
    bool truth;
    const char *key = tn_gguf_key_at(file, i, &kind, &element, &count);
    TN_ASSERT(tn_gguf_has(file, key));
    (void)tn_gguf_get_int(file, key, &whole);
    (void)tn_gguf_get_real(file, key, &real);
    (void)tn_gguf_get_bool(file, key, &truth);
    if (!tn_gguf_get_text(file, key, &text)) (void)!memchr(text.data, 0, text.len);
    for (int64_t k = -1; k <= count; k += k < 8 || k >= count - 2 ? 1 : count - 8) {
        (void)tn_gguf_array_int(file, key, k, &whole);
        (void)tn_gguf_array_real(file, key, k, &real);
        if (!tn_gguf_array_text(file, key, k, &text)) (void)!memchr(text.data, 0, text.len);
    }
}

static void touch(const tn_gguf_tensor *tensor) {
    volatile unsigned char sum = 0;
    TN_ASSERT(strlen(tensor->name) > 0);
    if (tensor->bytes) sum = (unsigned char)(sum + tensor->data[0] + tensor->data[tensor->bytes - 1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tn_gguf *file;
    if (tn_gguf_open(&file, tn_fuzz_file(data, size))) return 0;
    for (int64_t i = 0; i < tn_gguf_n_keys(file); i++) look_up(file, i);
    for (int64_t i = 0; i < tn_gguf_n_tensors(file); i++) touch(tn_gguf_tensor_at(file, i));
    tn_model_config config;
    (void)tn_gguf_read_config(file, &config);
    tn_tokenizer *tokenizer;
    if (!tn_tokenizer_from_gguf(&tokenizer, file)) tn_fuzz_tokenizer(tokenizer);
    tn_tokenizer_free(tokenizer);
    tn_gguf_close(file);
    return 0;
}
