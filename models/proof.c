/* SPDX-License-Identifier: MIT
 * proof.c - the questions that an exported file must answer as its source does. */
#include "models/proof.h"
#include "core/utf8.h"

#include <math.h>
#include <string.h>

#include "autograd/tape.h"

enum { PROBE_IDS = 64, MADE_TEXTS = 200, TOKENS_PER_TEXT = 12 };

/* ---- logits ---- */

static tn_status keep_logits(tn_probe *probe, const tn_tensor *logits, tn_arena *arena) {
    int64_t n = tn_tensor_count(logits);
    TN_TAKE(probe->logits, arena, n, "proof");
    memcpy(probe->logits, logits->real, (size_t)n * sizeof *probe->logits);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(probe->logits[i]))
            return TN_FAIL(NAN, "logit %lld at place %lld of the probe is %g", (long long)(i % probe->vocab),
                           (long long)(i / probe->vocab), (double)probe->logits[i]);
    return TN_OK;
}

tn_status tn_probe_ask(const tn_loaded *loaded, tn_arena *arena, tn_probe *out) {
    const tn_model_config *c = tn_model_get_config(loaded->model);
    *out = (tn_probe){.n_ids = TN_MIN(c->context, PROBE_IDS), .vocab = c->vocab_size};
    TN_TAKE(out->ids, arena, out->n_ids, "proof");
    tn_rng rng = tn_rng_make(0, TN_PURPOSE_TEST, 0);
    for (int i = 0; i < out->n_ids; i++) out->ids[i] = (int32_t)tn_rng_below(&rng, (uint64_t)i, (uint64_t)out->vocab);
    tn_tape *tape = tn_tape_create();
    if (!tape) return TN_E_NOMEM;
    tn_tape_begin(tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *ids = tn_tape_ids(tape, 2, (const int[]){1, out->n_ids}, out->ids);
    tn_tensor *logits = tn_model_logits(loaded->model, tape, tn_model_hidden(loaded->model, tape, ids, NULL));
    tn_status status = tn_tape_status(tape);
    if (!status) status = keep_logits(out, logits, arena);
    tn_tape_free(tape);
    return status;
}

tn_status tn_probe_compare(const tn_probe *source, const tn_probe *copy) {
    if (source->n_ids != copy->n_ids || source->vocab != copy->vocab)
        return TN_FAIL(MISMATCH, "the file has %d tokens and a context of at least %d, the source %d and %d",
                       copy->vocab, copy->n_ids, source->vocab, source->n_ids);
    for (int64_t i = 0; i < (int64_t)source->n_ids * source->vocab; i++)
        if (memcmp(&source->logits[i], &copy->logits[i], sizeof *copy->logits) != 0)
            return TN_FAIL(MISMATCH, "logit %lld at place %lld of the probe is %.9g in the file and %.9g in the source",
                           (long long)(i % copy->vocab), (long long)(i / copy->vocab), (double)copy->logits[i],
                           (double)source->logits[i]);
    return TN_OK;
}

double tn_probe_distance(const tn_probe *a, const tn_probe *b) {
    double most = 0;
    for (int64_t i = 0; i < (int64_t)a->n_ids * a->vocab; i++)
        most = fmax(most, fabs((double)a->logits[i] - (double)b->logits[i]));
    return most;
}

/* ---- tokens ---- */

typedef struct comparison {
    const tn_tokenizer *source, *copy;
    tn_buf a, b; /* bytes of a token in each; or a made text and its next token */
    tn_ids ids_a, ids_b;
    int texts, ids;
} comparison;

static tn_status compare_token(comparison *c, int32_t id) {
    tn_buf_reset(&c->a);
    tn_buf_reset(&c->b);
    TN_TRY(tn_tokenizer_decode(c->source, id, true, &c->a));
    TN_TRY(tn_tokenizer_decode(c->copy, id, true, &c->b));
    bool same = c->a.len == c->b.len && memcmp(tn_buf_text(&c->a), tn_buf_text(&c->b), c->a.len) == 0 &&
                tn_tokenizer_is_special(c->source, id) == tn_tokenizer_is_special(c->copy, id) &&
                tn_tokenizer_is_stop(c->source, id) == tn_tokenizer_is_stop(c->copy, id);
    if (same) return TN_OK;
    return TN_FAIL(MISMATCH, "token %d is \"%.40s\" in the file and \"%.40s\" in the source, or of another kind", id,
                   tn_buf_text(&c->b), tn_buf_text(&c->a));
}

static tn_status compare_roles(const comparison *c) {
    const tn_vocabulary *a = tn_tokenizer_vocabulary(c->source), *b = tn_tokenizer_vocabulary(c->copy);
    if (a->n_tokens != b->n_tokens)
        return TN_FAIL(MISMATCH, "the file has %d tokens, the source %d", b->n_tokens, a->n_tokens);
    if (a->bos != b->bos || a->eos != b->eos || a->eot != b->eot || a->add_bos != b->add_bos)
        return TN_FAIL(MISMATCH, "begin, end and turn tokens are %d %d %d in the file, %d %d %d in the source", b->bos,
                       b->eos, b->eot, a->bos, a->eos, a->eot);
    if (a->kind == TN_TOKENIZER_BPE && b->kind == TN_TOKENIZER_BPE && a->split != b->split)
        return TN_FAIL(MISMATCH, "the file cuts text by another pattern than the source");
    if (strcmp(a->chat_template, b->chat_template) != 0)
        return TN_FAIL(MISMATCH, "the chat template of the file is not that of the source");
    return TN_OK;
}

static tn_status compare_text(comparison *c, const char *text, size_t len) {
    c->ids_a.count = c->ids_b.count = 0;
    tn_status status = tn_tokenizer_encode(c->source, text, len, true, &c->ids_a);
    if (status == TN_E_TEXT) return TN_OK; /* a character it never saw */
    TN_TRY(status);
    TN_TRY(tn_tokenizer_encode(c->copy, text, len, true, &c->ids_b));
    size_t n = c->ids_a.count;
    if (n != c->ids_b.count || (n && memcmp(c->ids_a.list, c->ids_b.list, n * sizeof *c->ids_a.list) != 0))
        return TN_FAIL(MISMATCH, "\"%.60s\" has %zu tokens in the file and %zu in the source, or others", text,
                       c->ids_b.count, n);
    c->texts++;
    c->ids += (int)n;
    return TN_OK;
}

static const char *const fixed_texts[] = {
    "Once upon a time there was a little girl named Lily.",
    "  two  spaces,   three, and a tail  ",
    "I'm, you'll, they've, WE'RE, don't, 'twas, d'accord",
    "one 1, twelve 12, many 1234567890 and 3.14 or 1,000",
    "lines\n\nand\ttabs\r\nand \n spaces\n",
    "na\xc3\xafve caf\xc3\xa9, \xce\xb1\xce\xb2\xce\xb3, \xe4\xb8\xad\xe6\x96\x87, \xf0\x9f\x98\x80!",
    "a+b=c; x<y>z | ~^ $5 @home #1 {braces} [brackets] (parens) \"quotes\"",
    "<|endoftext|> <|not a token|>",
};

/* Texts in the vocabulary's own words, however foreign it is: runs of tokens drawn at random, parts of characters left
 * out. */
static tn_status compare_made_text(comparison *c, uint32_t number) {
    tn_rng rng = tn_rng_make(1, TN_PURPOSE_TEST, number);
    uint64_t n_tokens = (uint64_t)tn_tokenizer_size(c->source);
    tn_buf_reset(&c->a);
    for (uint64_t i = 0; i < TOKENS_PER_TEXT; i++) {
        tn_buf_reset(&c->b);
        TN_TRY(tn_tokenizer_decode(c->source, (int32_t)tn_rng_below(&rng, i, n_tokens), true, &c->b));
        bool whole = tn_utf8_valid_prefix(tn_buf_text(&c->b), c->b.len, NULL) == c->b.len;
        if (whole) TN_TRY(tn_buf_append(&c->a, tn_buf_text(&c->b), c->b.len));
    }
    return compare_text(c, tn_buf_text(&c->a), c->a.len);
}

static tn_status compare_all(comparison *c) {
    TN_TRY(compare_roles(c));
    for (int32_t id = 0; id < tn_tokenizer_size(c->source); id++) TN_TRY(compare_token(c, id));
    for (size_t i = 0; i < TN_COUNT(fixed_texts); i++) TN_TRY(compare_text(c, fixed_texts[i], strlen(fixed_texts[i])));
    for (uint32_t i = 0; i < MADE_TEXTS; i++) TN_TRY(compare_made_text(c, i));
    return TN_OK;
}

tn_status tn_tokenizer_compare(const tn_tokenizer *source, const tn_tokenizer *copy, int *texts, int *ids) {
    comparison c = {.source = source, .copy = copy};
    tn_status status = compare_all(&c);
    *texts = c.texts;
    *ids = c.ids;
    tn_buf_release(&c.a);
    tn_buf_release(&c.b);
    tn_ids_release(&c.ids_a);
    tn_ids_release(&c.ids_b);
    return status;
}
