/* SPDX-License-Identifier: MIT
 * sampler.h - from the logits of one position to the next token: a chain of samplers in the order that users know from
 * llama.cpp (samplers.def), each with llama.cpp's meaning:
 *   logit bias, then penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature, then the draw
 * With mirostat the rows that cut are left out and mirostat cuts before the draw.
 * The draws are a function of (seed, position), so the same seed tells the same text for any number of threads, and
 * equal logits are ordered by id, so nothing depends on a sort. Probabilities are computed in double.
 * Only mirostat remembers anything from pick to pick; that is one number, to be saved and set back.
 * Threads: one sampler, one thread. */
#ifndef TN_INFER_SAMPLER_H
#define TN_INFER_SAMPLER_H
#include "core/config.h"
#include "data/tokenizer.h"

typedef struct tn_sampler tn_sampler;

/* The rows of samplers.def: TN_SAMPLER_penalties ... */
enum tn_sampler_row {
#define SAMPLER(name, letter, traits, on, text) TN_SAMPLER_##name,
#include "infer/samplers.def"
#undef SAMPLER
    TN_SAMPLERS
};

/* Which samplers run, in which order. */
enum { TN_SAMPLER_STEPS = 32 };
typedef struct tn_sampler_order {
    int count; /* 0 = the rows of the table, in its order */
    uint8_t rows[TN_SAMPLER_STEPS];
} tn_sampler_order;

/* Read "top_k;top_p;temperature" (dashes serve for underscores), or letters "kpt". Fails: TN_E_RANGE for a name that is
 * not in the table, with the list of those that are; for none, and for more than TN_SAMPLER_STEPS. */
tn_status tn_sampler_order_parse(const char *text, tn_sampler_order *out);
tn_status tn_sampler_order_parse_letters(const char *text, tn_sampler_order *out);
const char *tn_sampler_name(int row); /* "top_k" */

typedef struct tn_logit_bias {
    int32_t id;
    double bias; /* added to the logit before everything; minus infinity bans the token */
} tn_logit_bias;

typedef struct tn_sampler_options {
#define OPTION(type, field, initial, min, max, flags, arg, help) TN_FIELD_##type field;
#include "infer/sampler_options.def"
#undef OPTION
    uint64_t seed; /* default 0 */
    tn_sampler_order order;
    const tn_logit_bias *biases; /* [n_biases], borrowed by tn_sampler_create alone */
    int n_biases;
    /* A repetition that dry looks for never reaches across one of these texts; borrowed for the sampler's life. */
    const char *const *dry_breakers; /* [n_dry_breakers]; default newline, colon, double quote, asterisk */
    int n_dry_breakers;
    const tn_tokenizer *tokenizer; /* tells the texts of tokens; NULL: dry knows no breakers. Borrowed likewise */
} tn_sampler_options;

tn_sampler_options tn_sampler_defaults(void);

/* Fails: TN_E_RANGE naming the option, or a bias for an id beyond n_vocab > 0; TN_E_NOMEM. */
tn_status tn_sampler_create(tn_sampler **out, int n_vocab, const tn_sampler_options *options);
void tn_sampler_free(tn_sampler *sampler); /* NULL is fine */
/* The same chain from its beginning, with another seed: one prompt, several texts. */
void tn_sampler_set_seed(tn_sampler *sampler, uint64_t seed);
uint64_t tn_sampler_seed(const tn_sampler *sampler);

/* What the sampler carries from one pick to the next. */
typedef struct tn_sampler_state {
    double mu; /* mirostat: the surprise it allows now, bits */
} tn_sampler_state;
tn_sampler_state tn_sampler_get_state(const tn_sampler *sampler);
void tn_sampler_set_state(tn_sampler *sampler, tn_sampler_state state);

/* Where a token is to be chosen. */
typedef struct tn_place {
    const int32_t *history; /* [n] the ids so far, prompt included */
    int64_t n;
    int64_t position;        /* numbers the draw: the place the token will take in the sequence */
    const uint64_t *allowed; /* bit id % 64 of word id / 64 is set for ids that may be chosen; NULL = all */
} tn_place;

/* Choose the token for a place. logits [n_vocab]; minus infinity bans a token.
 * Fails: TN_E_NAN for a logit that is NaN or plus infinity, TN_E_EMPTY when every token is banned, TN_E_NOMEM. */
tn_status tn_sampler_pick(tn_sampler *sampler, const tn_real *logits, const tn_place *at, int32_t *id);

typedef struct tn_candidate {
    int32_t id;
    double logit; /* of the model; in a distribution, after all samplers */
    double p;
} tn_candidate;

/* How much of the logits a pick at this place goes by: the `best` largest of the ids allowed there, and those of the
 * `extra` ids, allowed or not, which a bias or a penalty below 1 could lift. best = 0: all logits are needed. */
typedef struct tn_sampler_needs {
    int best;
    const int32_t *extra; /* [n_extra], the sampler's, good until its next use; may repeat an id */
    int n_extra;
} tn_sampler_needs;
tn_status tn_sampler_get_needs(tn_sampler *sampler, const tn_place *at, tn_sampler_needs *needs);
/* tn_sampler_pick from a part of the logits, with the same result: `list` [n], in any order and each id once, has at
 * least what tn_sampler_get_needs says (ties at the end of `best` go to the smaller id), with the model's logits; `p`
 * is not read. Where `best` was 0 the list must have every id that is allowed. */
tn_status tn_sampler_pick_from(tn_sampler *sampler, const tn_candidate *list, int n, const tn_place *at, int32_t *id);

/* What a draw would be made from: the tokens left, most likely first, with probabilities that sum to 1.
 * `list` is the sampler's, good until its next use. Fails as tn_sampler_pick. */
tn_status tn_sampler_distribution(tn_sampler *sampler, const tn_real *logits, const tn_place *at,
                                  const tn_candidate **list, int *count);

#endif
