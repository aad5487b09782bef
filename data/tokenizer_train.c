/* SPDX-License-Identifier: MIT
 * tokenizer_train.c - collects what a vocabulary is learnt from: the set of characters, or the pieces with their
 * counts. */
#include "core/log.h"
#include "data/grow.h"
#include "data/tokenizer_priv.h"
#include "core/utf8.h"

#include <string.h>

static const char tag[] = "tokenizer training";
static const char end_of_text[] = "<|endoftext|>";

enum { N_CODE_POINTS = 0x110000, POOL_BLOCK = 1 << 16 };

struct tn_tokenizer_trainer {
    tn_arena *arena;
    tn_tokenizer_options options; /* `specials` copied, with <|endoftext|> first */
    unsigned char *seen;          /* CHAR: [N_CODE_POINTS / 8] bits */
    tn_splitter *splitter;        /* BPE */
    tn_text_map index;            /* piece -> its place in `words` */
    tn_bpe_word *words;
    size_t n_words, words_cap;
    char *pool; /* room for texts of pieces */
    size_t pool_left;
};

/* ---- life ---- */

static tn_status check_options(const tn_tokenizer_options *o) {
    if (o->n_specials < 0 || o->n_specials > 4096)
        return TN_FAIL(RANGE, "tokenizer: %d special tokens, expected 0..4096", o->n_specials);
    int least = 256 + 1 + o->n_specials;
    if (o->kind == TN_TOKENIZER_BPE && (o->vocab_size < least || o->vocab_size > TN_TRAINED_TOKENS))
        return TN_FAIL(RANGE, "tokenizer: vocab_size %d, expected %d..%d (256 bytes and %d special tokens at least)",
                       o->vocab_size, least, TN_TRAINED_TOKENS, o->n_specials + 1);
    return TN_OK;
}

static tn_status copy_specials(tn_tokenizer_trainer *t, const tn_tokenizer_options *o) {
    const char **list;
    TN_TAKE(list, t->arena, o->n_specials + 1, tag);
    list[0] = end_of_text;
    for (int i = 0; i < o->n_specials; i++) {
        TN_TRY(tn_utf8_check("special token", 0, o->specials[i], strlen(o->specials[i])));
        if (!o->specials[i][0]) return TN_FAIL(ARG, "tokenizer: special token %d is empty", i);
        for (int k = 0; k <= i; k++)
            if (strcmp(list[k], o->specials[i]) == 0)
                return TN_FAIL(ARG, "tokenizer: special token \"%s\" is listed twice", o->specials[i]);
        list[i + 1] = tn_arena_strdup(t->arena, o->specials[i], tag);
        if (!list[i + 1]) return TN_E_NOMEM;
    }
    t->options.specials = list;
    t->options.n_specials = o->n_specials + 1;
    return TN_OK;
}

static tn_status start(tn_tokenizer_trainer *t, const tn_tokenizer_options *options) {
    TN_TRY(check_options(options));
    t->arena = tn_arena_create("tokenizer training");
    if (!t->arena) return TN_E_NOMEM;
    t->options = *options;
    TN_TRY(copy_specials(t, options));
    if (options->kind == TN_TOKENIZER_BPE) return tn_splitter_create(&t->splitter, options->split);
    TN_TAKE0(t->seen, t->arena, N_CODE_POINTS / 8, tag);
    return TN_OK;
}

tn_status tn_tokenizer_trainer_create(tn_tokenizer_trainer **out, const tn_tokenizer_options *options) {
    *out = NULL;
    tn_tokenizer_trainer *t = tn_heap_zalloc(1, sizeof *t);
    if (!t) return TN_E_NOMEM;
    tn_status status = start(t, options);
    if (status)
        tn_tokenizer_trainer_free(t);
    else
        *out = t;
    return status;
}

void tn_tokenizer_trainer_free(tn_tokenizer_trainer *t) {
    if (!t) return;
    tn_splitter_free(t->splitter);
    tn_text_map_release(&t->index);
    tn_heap_free(t->words);
    tn_arena_free(t->arena);
    tn_heap_free(t);
}

/* ---- collecting ---- */

static tn_status add_characters(tn_tokenizer_trainer *t, const char *text, size_t len) {
    for (size_t at = 0; at < len;) {
        uint32_t code;
        size_t n = tn_utf8_decode(text + at, &code);
        if (!code) return TN_FAIL(TEXT, "byte %zu of the text is NUL, which a character tokenizer does not take", at);
        t->seen[code / 8] |= (unsigned char)(1u << code % 8);
        at += n;
    }
    return TN_OK;
}

static tn_status keep_text(tn_tokenizer_trainer *t, const char *text, size_t len, const char **kept) {
    if (len > t->pool_left) {
        t->pool_left = TN_MAX(len, (size_t)POOL_BLOCK);
        TN_TAKE(t->pool, t->arena, t->pool_left, tag);
    }
    *kept = memcpy(t->pool, text, len);
    t->pool += len;
    t->pool_left -= len;
    return TN_OK;
}

static tn_status count_piece(void *context, const char *piece, size_t len) {
    tn_tokenizer_trainer *t = context;
    int32_t at = tn_text_map_find(&t->index, piece, len);
    if (at >= 0) {
        t->words[at].count++;
        return TN_OK;
    }
    if (len > INT32_MAX || t->n_words >= INT32_MAX)
        return TN_FAIL(RANGE, "tokenizer: the text has more pieces, or a longer one, than training can count");
    const char *kept;
    TN_TRY(keep_text(t, piece, len, &kept));
    TN_GROW(t->words, &t->words_cap, t->n_words + 1);
    t->words[t->n_words] = (tn_bpe_word){kept, (uint32_t)len, 1};
    return tn_text_map_put(&t->index, kept, len, (int32_t)t->n_words++);
}

tn_status tn_tokenizer_trainer_add(tn_tokenizer_trainer *t, const char *text, size_t len) {
    TN_TRY(tn_utf8_check("text", 0, text, len));
    if (!len) return TN_OK;
    return t->seen ? add_characters(t, text, len) : tn_splitter_run(t->splitter, text, len, count_piece, t);
}

/* ---- finishing ---- */

static tn_status learn_characters(tn_tokenizer_trainer *t, tn_bpe_model *out) {
    size_t n = 0;
    for (size_t i = 0; i < N_CODE_POINTS; i++) n += t->seen[i / 8] >> i % 8 & 1;
    if (!n) return TN_FAIL(EMPTY, "tokenizer: there is no text to learn characters from");
    char(*characters)[4];
    *out = (tn_bpe_model){.n_tokens = (int)n};
    TN_TAKE(characters, t->arena, n, tag);
    TN_TAKE(out->texts, t->arena, n, tag);
    TN_TAKE(out->lens, t->arena, n, tag);
    size_t id = 0;
    for (uint32_t code = 0; code < N_CODE_POINTS; code++) {
        if (!(t->seen[code / 8] >> code % 8 & 1)) continue;
        out->lens[id] = (uint32_t)tn_utf8_encode(code, characters[id]);
        out->texts[id] = characters[id];
        id++;
    }
    return TN_OK;
}

static tn_status learn_merges(tn_tokenizer_trainer *t, tn_bpe_model *out) {
    int room = t->options.vocab_size - t->options.n_specials;
    TN_TRY(tn_bpe_learn(t->arena, t->words, t->n_words, room, out));
    if (out->n_tokens < room)
        tn_log(TN_LOG_WARN, "data", "tokenizer: the text supports %d tokens, fewer than the %d asked for",
               out->n_tokens + t->options.n_specials, t->options.vocab_size);
    return TN_OK;
}

/* The learnt tokens, then the special ones. */
static tn_status assemble(tn_tokenizer_trainer *t, const tn_bpe_model *model, tn_tokenizer **out) {
    int n = model->n_tokens + t->options.n_specials;
    const char **texts;
    uint32_t *lens;
    int32_t *types;
    TN_TAKE(texts, t->arena, n, tag);
    TN_TAKE(lens, t->arena, n, tag);
    TN_TAKE(types, t->arena, n, tag);
    for (int id = 0; id < n; id++) {
        bool learnt = id < model->n_tokens;
        texts[id] = learnt ? model->texts[id] : t->options.specials[id - model->n_tokens];
        lens[id] = learnt ? model->lens[id] : (uint32_t)strlen(texts[id]);
        types[id] = learnt ? TN_TOKEN_NORMAL : TN_TOKEN_CONTROL;
    }
    int eos = model->n_tokens; /* also the token before a document, hence bos, as in GPT-2 */
    tn_vocabulary v = {.kind = t->options.kind,
                       .split = t->options.split,
                       .n_tokens = n,
                       .texts = texts,
                       .lens = lens,
                       .types = types,
                       .n_merges = model->n_merges,
                       .merges = (const int32_t(*)[2])model->merges,
                       .bos = eos,
                       .eos = eos,
                       .eot = -1,
                       .unk = -1,
                       .pad = -1,
                       .chat_template = ""};
    v.ignore_merges = tn_split_ignores_merges(v.split);
    tn_vocabulary_guess_roles(&v);
    return tn_tokenizer_from_vocabulary(out, &v);
}

tn_status tn_tokenizer_trainer_finish(tn_tokenizer_trainer *t, tn_tokenizer **out) {
    *out = NULL;
    tn_bpe_model model;
    tn_status status = t->seen ? learn_characters(t, &model) : learn_merges(t, &model);
    if (!status) status = assemble(t, &model, out);
    tn_tokenizer_trainer_free(t);
    return status;
}
