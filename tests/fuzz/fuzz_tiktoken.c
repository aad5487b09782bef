/* SPDX-License-Identifier: MIT
 * fuzz_tiktoken.c - files of base64 tokens and ranks; what is accepted can be used, and written as tokenizer.json. */
#include "data/tokenizer_tiktoken.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tn_tokenizer *tokenizer;
    (void)tn_tokenizer_looks_tiktoken(data, size);
    if (tn_tokenizer_from_tiktoken(&tokenizer, "fuzz", data, size)) return 0;
    tn_fuzz_tokenizer(tokenizer);
    tn_fuzz_tokenizer_json(tokenizer);
    tn_tokenizer_free(tokenizer);
    return 0;
}
