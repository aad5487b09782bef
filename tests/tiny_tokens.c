/* SPDX-License-Identifier: MIT */
#include "tests/tiny_tokens.h"

#include <string.h>

#include "tests/testing.h"

enum { MOST = 1024 };

tn_tokenizer *tn_tiny_tokens(const char *const *pieces, const uint32_t *lens, int n) {
    const char *texts[MOST];
    uint32_t all_lens[MOST];
    int32_t types[MOST];
    assert_true(n < MOST);
    for (int i = 0; i <= n; i++) {
        texts[i] = i < n ? pieces[i] : "<|end|>";
        all_lens[i] = i < n ? lens[i] : 7;
        types[i] = i < n ? TN_TOKEN_NORMAL : TN_TOKEN_CONTROL;
    }
    tn_vocabulary v = {.kind = TN_TOKENIZER_BPE,
                       .n_tokens = n + 1,
                       .texts = texts,
                       .lens = all_lens,
                       .types = types,
                       .bos = -1,
                       .eos = n,
                       .eot = -1,
                       .unk = -1,
                       .pad = -1,
                       .chat_template = ""};
    tn_tokenizer *tokenizer;
    assert_ok(tn_tokenizer_from_vocabulary(&tokenizer, &v));
    return tokenizer;
}

tn_tokenizer *tn_tiny_bytes(const char *const *pieces) {
    char bytes[256];
    const char *all[MOST];
    uint32_t lens[MOST];
    int n = 0;
    for (; n < 256; n++) {
        bytes[n] = (char)n;
        all[n] = &bytes[n];
        lens[n] = 1;
    }
    for (; *pieces; pieces++, n++) {
        assert_true(n < MOST);
        all[n] = *pieces;
        lens[n] = (uint32_t)strlen(*pieces);
    }
    return tn_tiny_tokens(all, lens, n);
}
