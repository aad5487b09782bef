/* SPDX-License-Identifier: MIT */
#include "cmd/tokenizer_source.h"
#include "data/tokenizer_file.h"

#include <string.h>

tn_status tn_tokenizer_from_flags(tn_tokenizer **out, const tn_tokenizer_flags *flags, const char *const *paths,
                                  int n_paths) {
    bool character = strcmp(flags->source, "char") == 0;
    if (!character && strcmp(flags->source, "bpe") != 0) return tn_tokenizer_load(out, flags->source);
    tn_tokenizer_options options = {
        .kind = character ? TN_TOKENIZER_CHAR : TN_TOKENIZER_BPE,
        .split = (tn_split)flags->split,
        .vocab_size = flags->vocab_size,
        .specials = flags->specials.items,
        .n_specials = flags->specials.count,
    };
    return tn_tokenizer_learn(out, &options, paths, n_paths);
}
