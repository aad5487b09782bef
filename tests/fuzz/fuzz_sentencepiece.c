/* SPDX-License-Identifier: MIT
 * fuzz_sentencepiece.c - SentencePiece's model files; what is accepted can be used, and written as tokenizer.json. */
#include "data/tokenizer_spm_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tn_tokenizer *tokenizer;
    (void)tn_tokenizer_looks_spm(data, size);
    if (tn_tokenizer_from_spm(&tokenizer, "fuzz", data, size)) return 0;
    tn_fuzz_tokenizer(tokenizer);
    tn_fuzz_tokenizer_json(tokenizer);
    tn_tokenizer_free(tokenizer);
    return 0;
}
