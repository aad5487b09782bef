/* SPDX-License-Identifier: MIT
 * tokenizer_source.h - the options of a command that needs a tokenizer, learnt from texts or out of a file. */
#ifndef TN_CMD_TOKENIZER_SOURCE_H
#define TN_CMD_TOKENIZER_SOURCE_H
#include "cmd/options.h"
#include "data/rows.h"
#include "data/tokenizer.h"

typedef struct tn_tokenizer_flags {
    const char *source; /* "bpe", "char" or a file */
    int vocab_size, split;
    tn_option_list specials;
} tn_tokenizer_flags;

#define TN_TOKENIZER_FLAGS_DEFAULT                                                                                     \
    { .source = "bpe", .vocab_size = 4096 }
/* Rows for a tn_tokenizer_flags *. */
#define TN_OPTIONS_TOKENIZER(f)                                                                                        \
    {                                                                                                                  \
        "tokenizer", 0,                                                                                                \
        TN_OPT_TEXT, &(f)->source,                                                                                     \
        "T",         "bpe or char, learnt from the input; or a model or file with one",                                \
        0,           0,                                                                                                \
        NULL},                                                                                                         \
        {"vocab-size", 0, TN_OPT_INT, &(f)->vocab_size, "N", "tokens of a bpe vocabulary", 257, 1 << 20, NULL},        \
        {"split", 0, TN_OPT_CHOICE, &(f)->split, "NAME", "how bpe cuts text", 0, 0, "gpt2|llama3|qwen2"}, {            \
        "special", 0, TN_OPT_LIST, &(f)->specials, "TEXT", "one more special token; may be repeated", 0, 0, NULL       \
    }

/* Refuse an output that is one of the texts or the file with the tokenizer (cmd/output_guard.h). */
tn_status tn_tokenizer_flags_guard(const tn_tokenizer_flags *flags, const char *output, const char *const *paths,
                                   int n_paths);
/* Learn from all that rows of `paths` say (data/rows.h; `rows` NULL: the defaults), or load `flags->source`, a model or
 * a file with a tokenizer. `context` (may be NULL) receives the model's; 0 = there is none. */
tn_status tn_tokenizer_from_flags(tn_tokenizer **out, const tn_tokenizer_flags *flags, const tn_row_options *rows,
                                  const char *const *paths, int n_paths, int *context);

#endif
