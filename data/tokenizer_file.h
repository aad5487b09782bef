/* SPDX-License-Identifier: MIT
 * tokenizer_file.h - where a tokenizer comes from: texts it is learnt from, or a file that has one. */
#ifndef TN_DATA_TOKENIZER_FILE_H
#define TN_DATA_TOKENIZER_FILE_H
#include "data/rows.h"
#include "data/tokenizer.h"

/* Whether a setting asks for a tokenizer learnt from the texts ("char", "bpe") rather than naming a file. */
bool tn_tokenizer_is_learnt(const char *setting);
/* Learn from all that rows of `paths` say, each text and each message a document; `rows` NULL: the defaults. Fails:
 * what reading them (data/rows.h) and training (tokenizer.h) give; TN_E_UNSUPPORTED for rows of tokens. */
tn_status tn_tokenizer_learn(tn_tokenizer **out, const tn_tokenizer_options *options, const tn_row_options *rows,
                             const char *const *paths, int n_paths);
/* Out of a tokenizer.json, a SentencePiece model, a tiktoken file, a GGUF file, a token store or a checkpoint, told by
 * content; or out of the first of these in a folder, by name. Fails: TN_E_MISSING, TN_E_IO, TN_E_FORMAT for a file that
 * is none of them; what reading such a file gives. */
tn_status tn_tokenizer_load(tn_tokenizer **out, const char *path);

#endif
