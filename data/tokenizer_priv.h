/* SPDX-License-Identifier: MIT
 * tokenizer_priv.h - what the tokenizer's own files share. */
#ifndef TN_DATA_TOKENIZER_PRIV_H
#define TN_DATA_TOKENIZER_PRIV_H
#include "core/arena.h"
#include "data/split.h"
#include "data/text_map.h"
#include "data/tokenizer.h"

enum { TN_MAX_TOKENS = 1 << 22, TN_TRAINED_TOKENS = 1 << 20, TN_SPM_MAX_TOKEN = 1024 };

/* Texts that are read as tokens before anything else. */
typedef struct tn_special_set {
    uint64_t pairs[1024]; /* bit a << 8 | b: some of them begin with bytes a, b (any b where the text is one byte) */
    uint32_t *lens;       /* [n_lens] their lengths, longest first */
    int n_lens;
} tn_special_set;

struct tn_tokenizer {
    tn_arena *arena; /* all that `vocabulary` points at */
    tn_vocabulary vocabulary;
    tn_text_map normal;        /* bytes of NORMAL tokens -> id */
    tn_text_map others;        /* texts of all other tokens but BYTE -> id */
    tn_pair_map ranks;         /* pair of symbols -> rank of the merge (lowest first), the id it gives */
    int32_t byte_ids[256];     /* SPM: BYTE tokens; else NORMAL tokens of one byte; -1 = none */
    tn_splitter *splitter;     /* BPE only */
    tn_special_set special[2]; /* USER tokens; and CONTROL and UNKNOWN too */
    tn_text_map lone;          /* SPM: characters within tokens that are no tokens themselves -> n_tokens and up */
    int32_t ascii[128];        /* SPM: symbols of these characters; -1 = none */
    bool words_apart;          /* SPM: no token has a space behind another character, so no merge crosses one */
    char hash[17];
};

/* A special token's place in a text. */
typedef struct tn_special_hit {
    size_t at;
    int32_t id;
    uint32_t len;
} tn_special_hit;

tn_status tn_specials_index(tn_tokenizer *tokenizer);
/* List the special tokens in `text`, from left to right, on the heap (`*hits` may be NULL): the longest first wherever
 * it stands, of equally long ones the leftmost. */
tn_status tn_specials_find(const tn_tokenizer *tokenizer, const char *text, size_t len, bool specials,
                           tn_special_hit **hits, size_t *n_hits);

/* ---- SPM ---- */

tn_status tn_spm_index(tn_tokenizer *tokenizer);
/* The symbol of the character that `text`, valid UTF-8, begins with; -1 = none. Returns the character's length. */
size_t tn_spm_symbol(const tn_tokenizer *tokenizer, const char *text, int32_t *id);
/* Append a part of a text as it is merged: with the prefix and without extra spaces. */
tn_status tn_spm_normalise(const tn_tokenizer *tokenizer, const char *text, size_t len, bool at_start, tn_buf *out);
/* Call `visit` for stretches that no merge crosses. */
tn_status tn_spm_run(const tn_tokenizer *tokenizer, const char *text, size_t len, tn_piece_visit *visit, void *context);
/* U+2581, which stands for a space in files: put spaces for the marks, and marks for the spaces. Appended. */
tn_status tn_spm_unmark(const char *text, size_t len, tn_buf *out);
tn_status tn_spm_mark(const char *text, size_t len, tn_buf *out);
/* "<0x0A>", how files spell a BYTE token. */
bool tn_byte_token_read(const char *text, size_t len, unsigned char *byte);
void tn_byte_token_write(unsigned char byte, char text[8]);

/* What the merging of one piece needs; reused from piece to piece. */
typedef struct tn_bpe_queue_entry {
    int32_t rank;
    uint32_t at;         /* the left symbol */
    int32_t left, right; /* ids when the entry was made; other ids now = stale */
    int32_t merged;
} tn_bpe_queue_entry;

typedef struct tn_bpe_symbol {
    int32_t id;          /* -1 = what has no token, or swallowed by a merge */
    uint32_t prev, next; /* UINT32_MAX at either end */
    uint32_t begin;      /* place in the piece */
} tn_bpe_symbol;

typedef struct tn_bpe_scratch {
    tn_bpe_symbol *symbols;
    tn_bpe_queue_entry *queue; /* binary heap: lowest rank, then leftmost, on top */
    size_t symbols_cap, queue_cap, queue_len;
} tn_bpe_scratch;

/* Append the ids of one piece: any bytes for BPE, valid UTF-8 for SPM. */
tn_status tn_bpe_encode(const tn_tokenizer *tokenizer, tn_bpe_scratch *scratch, const char *piece, size_t len,
                        tn_ids *ids);
void tn_bpe_scratch_release(tn_bpe_scratch *scratch);
/* Append the tokens of single bytes, else the unknown token. Fails: TN_E_TEXT when there is none. */
tn_status tn_bpe_spell(const tn_tokenizer *tokenizer, const char *text, size_t len, tn_ids *ids);

/* Distinct pieces of the training text and how often each occurs. */
typedef struct tn_bpe_word {
    const char *text;
    uint32_t len;
    int64_t count;
} tn_bpe_word;

/* What training finds: tokens 0..255 are the bytes in GPT-2's order, the others follow by rank. In the caller's arena.
 */
typedef struct tn_bpe_model {
    const char **texts; /* [n_tokens] */
    uint32_t *lens;
    int n_tokens;
    int32_t (*merges)[2]; /* [n_merges]; two merges may give one token, so there can be more than n_tokens - 256 */
    int n_merges;
} tn_bpe_model;

/* Merge the most frequent pair until there are `max_tokens` tokens or no pair occurs twice. */
tn_status tn_bpe_learn(tn_arena *arena, const tn_bpe_word *words, size_t n_words, int max_tokens, tn_bpe_model *out);

/* Fill bos, eos and eot that are -1 from the texts of special tokens (special_names.def). */
void tn_vocabulary_guess_roles(tn_vocabulary *vocabulary);
/* The chat template 2B-4T was trained with. The one inside its GGUF is another, made for a different model. */
extern const char tn_bitnet_chat_template[];
/* Append a token as files spell it: NORMAL bytes in GPT-2's alphabet, SPM's spaces as marks, BYTE as <0xHH>, all else
 * plain. */
tn_status tn_token_spell(const tn_vocabulary *vocabulary, int32_t id, tn_buf *out);
/* Sort out the two halves of "left right" (split at the first space at or after byte 1). False: there is no such space.
 */
bool tn_merge_halves(const char *text, size_t len, size_t *left_len);
/* "<|...|>": special by its shape. */
bool tn_text_looks_special(const char *text, size_t len);

#endif
