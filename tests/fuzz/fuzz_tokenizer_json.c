/* SPDX-License-Identifier: MIT
 * fuzz_tokenizer_json.c - tokenizer.json: what is accepted can be used, and what is written is read back the same. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void write_and_read(const tn_tokenizer *tokenizer) {
    tn_buf text = {0};
    tn_tokenizer *back = NULL;
    if (!tn_tokenizer_to_json(tokenizer, &text)) {
        char hash[17], hash_back[17];
        TN_ASSERT(!tn_tokenizer_from_json(&back, "written", tn_buf_text(&text), text.len));
        tn_tokenizer_hash(tokenizer, hash);
        tn_tokenizer_hash(back, hash_back);
        TN_ASSERT(strcmp(hash, hash_back) == 0);
    }
    tn_tokenizer_free(back);
    tn_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tn_tokenizer *tokenizer;
    if (tn_tokenizer_from_json(&tokenizer, "fuzz", (const char *)data, size)) return 0;
    tn_fuzz_tokenizer(tokenizer);
    write_and_read(tokenizer);
    tn_tokenizer_free(tokenizer);
    return 0;
}
