/* SPDX-License-Identifier: MIT
 * session_file.h - a session on disk: its tokens, keys and values, and the sampler's state (docs/format.md). The file
 * is sealed, and complete or absent. What is restored goes on as if it had never been away: the same logits, and with
 * the same options the same text. A file is taken only when the model itself agrees: the last token is fed again, and
 * must leave the keys and values that the file has for it, bit for bit. So a file of another model, or of a kind of CPU
 * that rounds otherwise, is refused; one of other adapters, or of other scales of them, is so by their fingerprint. */
#ifndef TN_INFER_SESSION_FILE_H
#define TN_INFER_SESSION_FILE_H
#include "infer/session.h"

/* Fails: TN_E_EMPTY for a session that holds nothing; TN_E_IO, TN_E_MISSING; TN_E_NOMEM. An older file
 * is then untouched. */
tn_status tn_session_save(tn_session *session, const tn_sampler *sampler, const char *path);
/* Replace what session and sampler hold; the sampler's seed too. Fails, each with a sentence that names the file:
 * TN_E_MISSING; TN_E_FORMAT, TN_E_CORRUPT for what is no session file or a damaged one; TN_E_UNSUPPORTED for another
 * version; TN_E_MISMATCH for another model, tokenizer or type of keys and values, for other adapters or scales;
 * TN_E_RANGE for more tokens than the session can hold; TN_E_NOMEM. The sampler is then as it was, and the session as
 * it was or empty. */
tn_status tn_session_restore(tn_session *session, tn_sampler *sampler, const char *path);

#endif
