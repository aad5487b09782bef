/* SPDX-License-Identifier: MIT
 * tokenizer_gguf_priv.h - names that the reader and the writer of GGUF's tokenizer keys share. */
#ifndef TN_DATA_TOKENIZER_GGUF_PRIV_H
#define TN_DATA_TOKENIZER_GGUF_PRIV_H
#include "data/tokenizer_gguf.h"
#include "data/tokenizer_priv.h"

#define KEY(name) "tokenizer.ggml." name

extern const char tn_tokenizer_template_key[];
/* Keys of Tern's own: the kind, by tn_tokenizer_kind_names; a tn_prefix that `add_space_prefix` cannot say; the normal
 * form of the text. */
extern const char tn_tokenizer_kind_key[], tn_tokenizer_prefix_key[], tn_tokenizer_nfc_key[];
extern const char *const tn_tokenizer_kind_names[];

#endif
