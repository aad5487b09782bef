/* SPDX-License-Identifier: MIT
 * tokenizer.h - text to token ids and back: characters, byte-level BPE (Sennrich 2016; GPT-2 byte alphabet), or
 * SentencePiece's BPE (Kudo 2018), which merges characters, keeps spaces in its tokens and spells what it does not know
 * in byte tokens. Training (characters, byte-level BPE) is deterministic: same text, same vocabulary. A tokenizer
 * travels as text in the layout of Hugging Face's tokenizer.json (kept in token stores and checkpoints), and as GGUF
 * keys (tokenizer_gguf.h).
 * Threads: a tokenizer is read-only after creation; any number of threads may encode with it. */
#ifndef TN_DATA_TOKENIZER_H
#define TN_DATA_TOKENIZER_H
#include "core/buf.h"

typedef struct tn_tokenizer tn_tokenizer;

typedef enum tn_tokenizer_kind { TN_TOKENIZER_CHAR, TN_TOKENIZER_BPE, TN_TOKENIZER_SPM } tn_tokenizer_kind;
/* How text is cut into words, TN_SPLIT_GPT2 ... from the rows of data/split.def: only what GGUF can name. */
typedef enum tn_split {
#define SPLIT(id, ...) TN_SPLIT_##id,
#define ALIAS(id, name)
#define SPELLING(id, ...)
#include "data/split.def"
#undef SPLIT
#undef ALIAS
#undef SPELLING
    TN_N_SPLITS
} tn_split;

typedef struct tn_ids {
    int32_t *list; /* heap */
    size_t count, cap;
} tn_ids;

tn_status tn_ids_append(tn_ids *ids, int32_t id);
void tn_ids_release(tn_ids *ids);

typedef struct tn_tokenizer_options {
    tn_tokenizer_kind kind;
    tn_split split;
    int vocab_size;              /* BPE: 256 + specials .. 1 << 20, special tokens included; CHAR: ignored */
    const char *const *specials; /* CONTROL tokens besides <|endoftext|>, which every trained tokenizer has */
    int n_specials;
} tn_tokenizer_options;

/* Learns from texts pushed one document at a time; finish builds the tokenizer and frees the trainer.
 * Ids: CHAR: characters by code point, then specials. BPE: 256 bytes (GPT-2 order), merges by rank, then specials.
 * bos and eos are <|endoftext|>. Ties in pair counts go to the smaller pair of ids; a pair must occur twice. Fewer
 * merges than asked for (small text) is fine, said in the log. */
typedef struct tn_tokenizer_trainer tn_tokenizer_trainer;
tn_status tn_tokenizer_trainer_create(tn_tokenizer_trainer **out, const tn_tokenizer_options *options);
tn_status tn_tokenizer_trainer_add(tn_tokenizer_trainer *trainer, const char *text, size_t len); /* valid UTF-8 */
tn_status tn_tokenizer_trainer_finish(tn_tokenizer_trainer *trainer, tn_tokenizer **out);
void tn_tokenizer_trainer_free(tn_tokenizer_trainer *trainer); /* to give up early */

/* Byte-level BPE of Hugging Face, or what to_json wrote; what this layout cannot say is in "model"."tern" (their reader
 * refuses strange keys at the top). Fails: TN_E_FORMAT no JSON, TN_E_CORRUPT, TN_E_UNSUPPORTED; messages start with
 * `name`. */
tn_status tn_tokenizer_from_json(tn_tokenizer **out, const char *name, const char *text, size_t len);
tn_status tn_tokenizer_to_json(const tn_tokenizer *tokenizer, tn_buf *out);
void tn_tokenizer_free(tn_tokenizer *tokenizer);

/* What a vocabulary is made of, for building one from a foreign file (GGUF, tiktoken) and for writing one. */
typedef enum tn_token_type {
    TN_TOKEN_NORMAL = 1,
    TN_TOKEN_UNKNOWN,
    TN_TOKEN_CONTROL,
    TN_TOKEN_USER,
    TN_TOKEN_UNUSED,
    TN_TOKEN_BYTE
} tn_token_type;

/* Where SPM puts a space of its own. PARTS are the text's stretches between special tokens. */
typedef enum tn_prefix {
    TN_PREFIX_NONE,
    TN_PREFIX_PARTS,      /* before each part */
    TN_PREFIX_BARE_PARTS, /* before each part that does not begin with a space */
    TN_PREFIX_BARE_START, /* before a text that does not begin with a space or a special token */
    TN_N_PREFIXES
} tn_prefix;

typedef struct tn_vocabulary {
    tn_tokenizer_kind kind;
    tn_split split;     /* BPE */
    bool ignore_merges; /* a whole piece that is a token is taken without merging */
    bool add_bos;
    tn_prefix prefix;     /* SPM */
    bool collapse_spaces; /* SPM: runs of spaces become one, and those at either end of a part go */
    bool nfc;             /* text is brought into Unicode's normal form C first */
    int n_tokens;
    const char **texts; /* what a token decodes to: raw bytes of NORMAL tokens (spaces, not the marks of GPT-2 or
                           SentencePiece), the one byte of BYTE tokens, plain text of the others */
    const uint32_t *lens;
    const int32_t *types; /* tn_token_type */
    const float *scores;  /* [n_tokens] SPM without merges: the token of highest score is merged first. Else NULL */
    int n_merges;
    /* Pairs of ids of NORMAL tokens, by rank; the merged bytes must be a token. A merge with a token that is not NORMAL
     * is left out, for text never comes to it. CHAR and SPM with scores: none. */
    const int32_t (*merges)[2];
    int bos, eos, eot, unk, pad; /* -1 = none */
    const char *chat_template;   /* "" = none */
} tn_vocabulary;

tn_status tn_tokenizer_from_vocabulary(tn_tokenizer **out, const tn_vocabulary *vocabulary); /* copies */
const tn_vocabulary *tn_tokenizer_vocabulary(const tn_tokenizer *tokenizer);

int tn_tokenizer_size(const tn_tokenizer *tokenizer); /* number of ids */
int tn_tokenizer_eos(const tn_tokenizer *tokenizer);  /* end of a document; -1 = none */
/* True for eos, eot and every other id that ends a generation. */
bool tn_tokenizer_is_stop(const tn_tokenizer *tokenizer, int32_t id);
bool tn_tokenizer_is_special(const tn_tokenizer *tokenizer, int32_t id); /* CONTROL, UNKNOWN, UNUSED: never printed */
int32_t tn_tokenizer_find(const tn_tokenizer *tokenizer, const char *text, size_t len); /* id of that token, or -1 */
/* 16 hex digits and a NUL: XXH3 of the vocabulary, merges, split and special ids. */
void tn_tokenizer_hash(const tn_tokenizer *tokenizer, char out[17]);

/* Append the ids of `text`. With `specials`, texts of CONTROL tokens are read as those tokens (those of USER tokens
 * always are). BOS is never added here. Bytes that are not valid UTF-8 are words of their own. What has no token is the
 * unknown token, or TN_E_TEXT where there is none; CHAR refuses invalid UTF-8 with its offset. */
tn_status tn_tokenizer_encode(const tn_tokenizer *tokenizer, const char *text, size_t len, bool specials, tn_ids *ids);
/* Append the bytes of one token, as it stands within a text. CONTROL tokens print only with `specials`. Fails:
 * TN_E_RANGE for an unknown id. */
tn_status tn_tokenizer_decode(const tn_tokenizer *tokenizer, int32_t id, bool specials, tn_buf *out);
/* Append the text of `ids`: what encode made them from, without the spaces that SPM had put before it. The same bytes
 * come back unless a token was unknown, or the vocabulary changes text (nfc, collapse_spaces, prefixes of BARE kind;
 * SPM without byte tokens takes U+2581 for a space). */
tn_status tn_tokenizer_decode_all(const tn_tokenizer *tokenizer, const int32_t *ids, size_t count, bool specials,
                                  tn_buf *out);

#endif
