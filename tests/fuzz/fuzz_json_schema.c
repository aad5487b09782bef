/* SPDX-License-Identifier: MIT
 * fuzz_json_schema.c - a schema: what is written for it is a grammar, but for recursion without an end, and a text that
 * is drawn from it is JSON. */
#include "core/arena.h"
#include "infer/grammar_priv.h"
#include "infer/json_schema.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <string.h>

enum { STEPS = 80, WORK = 50000 };

/* The next allowed token behind a number that the bytes of the schema make up; -1 = none. */
static int32_t draw(const uint64_t *words, int n, uint64_t *random) {
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    int32_t first = (int32_t)((*random >> 33) % (uint64_t)n);
    for (int32_t i = 0; i < n; i++) {
        int32_t id = (first + i) % n;
        if (words[id / 64] >> id % 64 & 1) return id;
    }
    return -1;
}

static void walk(tn_grammar_state *s, const tn_tokenizer *tokenizer, uint64_t random) {
    tn_buf text = {0};
    const uint64_t *words;
    int32_t end = tn_tokenizer_eos(tokenizer), id = 0;
    for (int i = 0; i < STEPS && id != end; i++) {
        if (tn_grammar_state_mask(s, &words)) break;
        id = tn_grammar_state_may_end(s) && i > STEPS / 2 ? end : draw(words, end + 1, &random);
        TN_ASSERT(id >= 0 && !tn_grammar_state_accept(s, id));
        if (id != end) TN_ASSERT(!tn_tokenizer_decode(tokenizer, id, false, &text));
    }
    if (id == end) {
        json_t *value = json_loadb(tn_buf_text(&text), text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
        TN_ASSERT(value);
        json_decref(value);
    }
    tn_buf_release(&text);
}

static void use(const tn_buf *gbnf, uint64_t random) {
    tn_tokenizer *tokenizer = tn_fuzz_bytes();
    tn_grammar *grammar;
    tn_grammar_state *s;
    tn_status status = tn_grammar_create(&grammar, tn_buf_text(gbnf), gbnf->len);
    bool recursion = strstr(tn_error_message(), "begins with itself") || strstr(tn_error_message(), "has no end");
    TN_ASSERT(!status || status == TN_E_RANGE || recursion);
    if (!status && !tn_grammar_state_create(&s, grammar, tokenizer)) {
        s->shared->work_limit = WORK;
        walk(s, tokenizer, random);
        tn_grammar_state_free(s);
    }
    tn_grammar_free(grammar);
    tn_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tn_buf gbnf = {0};
    uint64_t random = size;
    for (size_t i = 0; i < size; i++) random = random * 31 + data[i];
    if (!tn_json_schema_to_gbnf((const char *)data, size, &gbnf)) use(&gbnf, random);
    tn_buf_release(&gbnf);
    return 0;
}
