/* SPDX-License-Identifier: MIT
 * tokenizer_tiktoken.h - vocabularies as tiktoken and Llama 3 keep them ("tokenizer.model" of Llama 3 is one): a line a
 * token, its bytes in base64, a space, its rank. Merges follow from the ranks. The file names neither the split nor
 * special tokens: it is read with Llama 3's split, and one of 128,000 tokens is given Llama 3's 256 special ones and
 * the chat template of BitNet b1.58 2B4T, whose vocabulary this is. */
#ifndef TN_DATA_TOKENIZER_TIKTOKEN_H
#define TN_DATA_TOKENIZER_TIKTOKEN_H
#include "data/tokenizer.h"

/* Whether the first line is "base64 rank". */
bool tn_tokenizer_looks_tiktoken(const unsigned char *data, size_t size);
/* Fails: TN_E_CORRUPT with the line. Messages start with `name`. */
tn_status tn_tokenizer_from_tiktoken(tn_tokenizer **out, const char *name, const unsigned char *data, size_t size);

#endif
