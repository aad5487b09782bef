/* SPDX-License-Identifier: MIT */
#include "cmd/tokenizer_source.h"
#include "cmd/output_guard.h"
#include "data/tokenizer_file.h"
#include "models/model_file.h"

#include <string.h>

static bool is_learnt(const tn_tokenizer_flags *flags) { return tn_tokenizer_is_learnt(flags->source); }

tn_status tn_tokenizer_flags_guard(const tn_tokenizer_flags *flags, const char *output, const char *const *paths,
                                   int n_paths) {
    TN_TRY(tn_output_guard(output, paths, n_paths));
    return is_learnt(flags) ? TN_OK : tn_output_guard(output, &flags->source, 1);
}

/* A model's own, with its chat template, wherever the model's files keep it; else a file of a tokenizer alone. */
static tn_status load(tn_tokenizer **out, const char *source, int *context) {
    tn_loaded loaded;
    if (tn_model_file_open(source, &loaded)) return tn_tokenizer_load(out, source);
    *out = loaded.tokenizer;
    if (context) *context = loaded.config.context;
    loaded.tokenizer = NULL;
    tn_loaded_release(&loaded);
    return TN_OK;
}

tn_status tn_tokenizer_from_flags(tn_tokenizer **out, const tn_tokenizer_flags *flags, const tn_row_options *rows,
                                  const char *const *paths, int n_paths, int *context) {
    if (context) *context = 0;
    bool character = strcmp(flags->source, "char") == 0;
    if (!is_learnt(flags)) return load(out, flags->source, context);
    tn_tokenizer_options options = {
        .kind = character ? TN_TOKENIZER_CHAR : TN_TOKENIZER_BPE,
        .split = (tn_split)flags->split,
        .vocab_size = flags->vocab_size,
        .specials = flags->specials.items,
        .n_specials = flags->specials.count,
    };
    return tn_tokenizer_learn(out, &options, rows, paths, n_paths);
}
