/* SPDX-License-Identifier: MIT
 * tokenizer_gguf.h - the tokenizer.* keys of a GGUF file. A CHAR tokenizer goes out as `gpt2` BPE whose merges build
 * each character from its bytes, so that any runtime finds the same ids. Published 2B4T files are repaired on import:
 * they name no pre-tokenizer, though theirs is Llama-3's, and carry a chat template the model was not trained on. */
#ifndef TN_DATA_TOKENIZER_GGUF_H
#define TN_DATA_TOKENIZER_GGUF_H
#include "data/tokenizer.h"
#include "formats/gguf.h"

/* Fails: TN_E_UNSUPPORTED for what GGUF cannot say. */
tn_status tn_tokenizer_put_gguf(const tn_tokenizer *tokenizer, tn_gguf_writer *writer);
/* SentencePiece ("llama") and byte-level BPE ("gpt2"). Fails: TN_E_UNSUPPORTED for other models and for a pre-tokenizer
 * Tern does not know, TN_E_MISSING, TN_E_CORRUPT; messages start with the file's name. */
tn_status tn_tokenizer_from_gguf(tn_tokenizer **out, const tn_gguf *file);

#endif
