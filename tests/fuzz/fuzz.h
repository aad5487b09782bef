/* SPDX-License-Identifier: MIT
 * fuzz.h - what the fuzzers of readers share. A fuzzer gives any bytes to one reader; whatever they are, the reader
 * returns, and what it accepts can be used. It runs under libFuzzer (`make fuzz`) and, in every test run, over the
 * files of its corpus (replay.c). */
#ifndef TN_TESTS_FUZZ_FUZZ_H
#define TN_TESTS_FUZZ_FUZZ_H
#include "data/tokenizer.h"

/* Defined by each fuzz_<reader>.c; returns 0. A finding is a crash, a sanitizer's report or a failed TN_ASSERT. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The path of a file in memory that holds these bytes until the next call, for readers that map files. */
const char *tn_fuzz_file(const uint8_t *data, size_t size);

/* Use a tokenizer that a reader gave: every id decodes, text comes back from its ids. */
void tn_fuzz_tokenizer(const tn_tokenizer *tokenizer);
/* Written as tokenizer.json it is read back the same. */
void tn_fuzz_tokenizer_json(const tn_tokenizer *tokenizer);

/* A tokenizer whose ids 0..255 are the bytes, then come some pieces of text and the end; free it. */
tn_tokenizer *tn_fuzz_bytes(void);

#endif
