/* SPDX-License-Identifier: MIT
 * token_view.h - documents as tokens, the learnt ones marked: green on a terminal, in brackets elsewhere. */
#ifndef TN_CMD_TOKEN_VIEW_H
#define TN_CMD_TOKEN_VIEW_H
#include "cmd/cmd.h"
#include "data/examples.h"

/* Whether stdout is a terminal that shows colours (NO_COLOR unset, not TERM=dumb). */
bool tn_token_view_has_color(void);
/* Append the tokens with dots between them, and a newline; of a document of more than 2048 tokens the first and the
 * last 1024. Control characters but tabs and newlines become '?'. */
tn_status tn_token_view_put(const tn_tokenizer *tokenizer, const tn_document *document, bool color, tn_buf *out);
/* {"tokens": [ids], "pieces": [texts], "learnt": [0 or 1]}; NULL when memory is out. */
struct json_t *tn_token_view_json(const tn_tokenizer *tokenizer, const tn_document *document);

#endif
