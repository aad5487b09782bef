/* SPDX-License-Identifier: MIT
 * fuzz_grammar.c - a grammar, and behind a byte FF a text that follows it as far as it may. Mask, single questions and
 * moving on must agree at each byte, and forgetting changes nothing. */
#include "core/arena.h"
#include "infer/grammar_priv.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { MOST_BYTES = 64, WORK = 50000 };

static bool has(const uint64_t *words, int id) { return words[id / 64] >> id % 64 & 1; }

/* False when the text cannot go on, or that is too much work to tell. */
static bool step(tn_grammar_state *s, uint8_t byte, bool forget) {
    const uint64_t *words;
    tn_status status = tn_grammar_state_mask(s, &words);
    if (status) return false;
    bool fits = has(words, byte), may_end = has(words, tn_tokenizer_eos(s->shared->trie.tokenizer));
    TN_ASSERT(may_end == tn_grammar_state_may_end(s));
    if (forget) TN_ASSERT(!tn_places_forget(s->shared));
    TN_ASSERT(tn_grammar_state_allows(s, byte) == fits);
    tn_grammar_state *copy;
    TN_ASSERT(!tn_grammar_state_copy(&copy, s));
    TN_ASSERT(!tn_grammar_state_accept(copy, byte) == fits);
    TN_ASSERT(!tn_grammar_state_advance(s, (const char *)&byte, 1) == fits);
    TN_ASSERT(!fits || copy->place == s->place);
    if (fits && tn_grammar_state_must_end(s)) TN_ASSERT(tn_grammar_state_may_end(s));
    tn_grammar_state_free(copy);
    return fits;
}

static void follow(const tn_grammar *grammar, const uint8_t *text, size_t len) {
    tn_tokenizer *tokenizer = tn_fuzz_bytes();
    tn_grammar_state *s;
    if (!tn_grammar_state_create(&s, grammar, tokenizer)) {
        s->shared->work_limit = WORK;
        for (size_t i = 0; i < len && i < MOST_BYTES && step(s, text[i], text[i] % 3 == 0);) i++;
        tn_grammar_state_free(s);
    }
    tn_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, 0xFF, size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    tn_grammar *grammar;
    if (tn_grammar_create(&grammar, (const char *)data, len)) {
        TN_ASSERT(tn_error_message()[0]);
        return 0;
    }
    follow(grammar, data + len + (end != NULL), size - len - (end != NULL));
    tn_grammar_free(grammar);
    return 0;
}
