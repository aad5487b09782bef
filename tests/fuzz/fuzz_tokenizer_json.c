/* SPDX-License-Identifier: MIT
 * fuzz_tokenizer_json.c - tokenizer.json: what is accepted can be used, and what is written is read back the same. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tn_tokenizer *tokenizer;
    if (tn_tokenizer_from_json(&tokenizer, "fuzz", (const char *)data, size)) return 0;
    tn_fuzz_tokenizer(tokenizer);
    tn_fuzz_tokenizer_json(tokenizer);
    tn_tokenizer_free(tokenizer);
    return 0;
}
