/* SPDX-License-Identifier: MIT
 * tokenizer_spm_file.h - SentencePiece's own files, "tokenizer.model": a protocol buffer (sentencepiece_model.proto).
 */
#ifndef TN_DATA_TOKENIZER_SPM_FILE_H
#define TN_DATA_TOKENIZER_SPM_FILE_H
#include "data/tokenizer.h"

/* Whether bytes look like such a file: they begin with a piece. */
bool tn_tokenizer_looks_spm(const unsigned char *data, size_t size);
/* Fails: TN_E_CORRUPT; TN_E_UNSUPPORTED for a model of another type than BPE, a normalizer other than identity, spaces
 * at the end of words. Messages start with `name`. */
tn_status tn_tokenizer_from_spm(tn_tokenizer **out, const char *name, const unsigned char *data, size_t size);

#endif
