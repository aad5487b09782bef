/* SPDX-License-Identifier: MIT
 * generation_options.h - the flags of every command that writes text: samplers, limits, what ends a text, what it may
 * be. Names, defaults and meaning are llama.cpp's.
 * Life: tn_usage.shared = tn_generation_init(&g); tn_options_parse; tn_generation_check; load a model;
 *       tn_generation_open; use sampler and how; tn_generation_release. */
#ifndef TN_CMD_GENERATION_OPTIONS_H
#define TN_CMD_GENERATION_OPTIONS_H
#include "cmd/options.h"
#include "infer/request.h"
#include "infer/session.h"

enum { TN_GENERATION_ROWS = 64 };

/* Texts of a list, escapes read. */
typedef struct tn_text_values {
    tn_buf texts;
    const char *items[TN_OPTION_VALUES]; /* [count] into texts */
    int count;
} tn_text_values;

typedef struct tn_generation {
    tn_sampler_options sampler; /* complete after tn_generation_open, but for the seed */
    tn_generate_options how;    /* likewise; the caller sets piece, token, context; keep is adjusted to a prompt by
                                 * tn_generation_keep */
    int64_t seed;               /* negative: not said */
    bool escape;                /* read backslash escapes in texts */
    /* As given. */
    bool lookup;
    tn_option_list stop_list, bias_list, breaker_list;
    const char *order, *letters, *grammar_text, *grammar_file, *schema_text, *schema_file;
    /* Made of these. */
    tn_text_values stops, breakers;
    tn_logit_bias biases[TN_OPTION_VALUES];
    tn_grammar *grammar;
    char grammar_hash[17]; /* of the grammar or schema, "" = none; after tn_generation_open */
    tn_option rows[TN_GENERATION_ROWS];
} tn_generation;

/* Fill in defaults; gives the table of flags over `g`, for tn_usage.shared. */
const tn_option *tn_generation_init(tn_generation *g);
/* After tn_options_parse: TN_OPTIONS_GO, or the exit status for a value that makes no sense. */
int tn_generation_check(tn_generation *g);
/* What needs a tokenizer (borrowed from then on): the grammar, in its first state, and breakers. */
tn_status tn_generation_open(tn_generation *g, const tn_tokenizer *tokenizer);
void tn_generation_release(tn_generation *g);

/* The seed that was given, or one drawn from the clock, 32 bits. */
uint64_t tn_generation_seed(const tn_generation *g);
/* What a request says by itself that says nothing: these settings, but the seed and the grammar. Borrows. */
tn_request tn_generation_request(const tn_generation *g);
/* Tokens that a shift keeps of a prompt: as many as --keep says and BOS, or all. */
int tn_generation_keep(const tn_generation *g, const tn_tokenizer *tokenizer, const tn_ids *prompt);

#endif
