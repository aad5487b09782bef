/* SPDX-License-Identifier: MIT
 * grammar.h - what a generated text may be: rules in the GBNF that users of llama.cpp write, compiled once, and states
 * that follow a text byte by byte and tell which tokens may come next.
 *
 *   root  ::= greeting ", " name [.!]{1,3}        # `root` is what the whole text must be
 *   name  ::= [A-Z] [a-z]* | "\u00c9mile"         # . any character, [^...] negation, * + ? {m} {m,} {m,n}
 *
 * Life:  tn_grammar_create(&g, text, len);  tn_grammar_state_create(&s, g, tokenizer);
 *        each token:  tn_grammar_state_bans(s, logits, n_vocab); choose id;  tn_grammar_state_accept(s, id);
 *        until a stop token is chosen, or tn_grammar_state_must_end(s) where the tokenizer has none.
 * Grammar and tokenizer are borrowed and must outlive the state. Characters may be cut anywhere between tokens.
 * A text that was followed so far can always be completed, provided the vocabulary can spell it.
 * Threads: a grammar is read-only; a state and its copies share tables, so they belong to one thread at a time. */
#ifndef TN_INFER_GRAMMAR_H
#define TN_INFER_GRAMMAR_H
#include "data/tokenizer.h"

typedef struct tn_grammar tn_grammar;
typedef struct tn_grammar_state tn_grammar_state;

/* Compile `text` [len], UTF-8. Fails with line and column: TN_E_FORMAT what was found and what was expected, a rule
 * that is undefined, defined twice, left-recursive (the cycle is named) or without an end; TN_E_RANGE a limit
 * (1 MiB of text, 2^20 compiled steps, 200 levels of parentheses); TN_E_TEXT; TN_E_NOMEM. */
tn_status tn_grammar_create(tn_grammar **out, const char *text, size_t len);
void tn_grammar_free(tn_grammar *grammar); /* NULL is fine */

/* A state at the beginning of the text. The vocabulary is sorted here (some 40 ms for 128k tokens): for many texts
 * with one grammar make one state and copy it. Fails: TN_E_NOMEM. */
tn_status tn_grammar_state_create(tn_grammar_state **out, const tn_grammar *grammar, const tn_tokenizer *tokenizer);
/* A second state at the same place, for speculation and n-best; cheap, whatever the length of the text. */
tn_status tn_grammar_state_copy(tn_grammar_state **out, const tn_grammar_state *state);
/* Put `state` where `other` is, which is a copy of it or it of other. */
void tn_grammar_state_set(tn_grammar_state *state, const tn_grammar_state *other);
void tn_grammar_state_reset(tn_grammar_state *state); /* back to the beginning of the text */
void tn_grammar_state_free(tn_grammar_state *state);  /* NULL is fine */

/* Set to minus infinity the logits [n_vocab] of tokens that cannot come next: those whose bytes do not fit, stop tokens
 * unless the text may end here, tokens that print nothing, and ids beyond the tokenizer. Fails: TN_E_EMPTY when no
 * token is left; TN_E_RANGE for a grammar so ambiguous that following it has no bound; TN_E_NOMEM. */
tn_status tn_grammar_state_bans(tn_grammar_state *state, tn_real *logits, int n_vocab);
/* The same as bits: bit id % 64 of word id / 64 is set for a token that may come next, [(tokenizer size + 63) / 64].
 * The words belong to the state and are good until its next use. */
tn_status tn_grammar_state_mask(tn_grammar_state *state, const uint64_t **words);
/* Whether this one token may come next: far cheaper than a mask. Limits and want of memory read as no. */
bool tn_grammar_state_allows(tn_grammar_state *state, int32_t id);

/* Go on by a token. Fails and stays where it is: TN_E_MISMATCH for a token that may not come next, or after a stop
 * token; TN_E_RANGE for an unknown id, or past the limits on depth (10,000 open rules) and ambiguity; TN_E_NOMEM. */
tn_status tn_grammar_state_accept(tn_grammar_state *state, int32_t id);
/* Go on by bytes; the sentence of TN_E_MISMATCH gives the offset of the first that does not fit. */
tn_status tn_grammar_state_advance(tn_grammar_state *state, const char *bytes, size_t len);

bool tn_grammar_state_may_end(const tn_grammar_state *state);  /* the text so far is whole */
bool tn_grammar_state_must_end(const tn_grammar_state *state); /* and no byte may follow, or a stop token came */

#endif
