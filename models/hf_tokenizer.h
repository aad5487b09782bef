/* SPDX-License-Identifier: MIT
 * hf_tokenizer.h - the tokenizer of a Hugging Face folder: tokenizer.json (or another file that holds one), and what
 * the files beside it say of its special tokens and its chat template. */
#ifndef TN_MODELS_HF_TOKENIZER_H
#define TN_MODELS_HF_TOKENIZER_H
#include "data/tokenizer.h"
#include "models/hf_config.h"

/* The roles of tokens are those of tokenizer.json, completed by tokenizer_config.json, special_tokens_map.json and the
 * ids of config.json and generation_config.json. A text ends at the first of these eos ids, and at the end of a turn:
 * the token known for that by its name, else tokenizer_config's eos, else the second id; further ids are named in a
 * warning. The chat template is that of chat_template.jinja, else of tokenizer_config.json (a text, or of a list the
 * one called "default").
 * Fails: what reading a tokenizer gives (data/tokenizer_file.h); TN_E_FORMAT and TN_E_CORRUPT for the files beside. */
tn_status tn_hf_tokenizer_load(tn_tokenizer **out, const char *folder, const tn_hf_config *config);

/* ---- writing ---- */

/* The ids that end a text: eos, the end of a turn, then those known by name. At most TN_HF_IDS. */
tn_hf_ids tn_hf_tokenizer_ends(const tn_tokenizer *tokenizer);
/* Write tokenizer.json, tokenizer_config.json (with the chat template; its eos is the end of a turn, where there is
 * one) and generation_config.json. `context` is what a text may have. Fails: TN_E_IO, TN_E_NOMEM, TN_E_TEXT. */
tn_status tn_hf_tokenizer_save(const tn_tokenizer *tokenizer, int context, const char *folder);

#endif
