/* SPDX-License-Identifier: MIT
 * tokenizer_gguf_write.c - tokenizers into GGUF keys (docs/format.md, "tokenizer keys"). */
#include "core/log.h"
#include "data/byte_spelling.h"
#include "data/tokenizer_gguf_priv.h"


/* A name in `pre` also says whether whole pieces skip merging. Where the tokenizer differs, the file is right only if
 * it makes no difference: when every token is what merging its own bytes gives. */
static tn_status check_ignore_merges(const tn_tokenizer *t) {
    const tn_vocabulary *v = &t->vocabulary;
    if (v->kind != TN_TOKENIZER_BPE || v->ignore_merges == tn_split_ignores_merges(v->split)) return TN_OK;
    tn_tokenizer merging = *t;
    merging.vocabulary.ignore_merges = false;
    tn_bpe_scratch scratch = {0};
    tn_ids ids = {0};
    tn_status status = TN_OK;
    for (int32_t id = 0; id < v->n_tokens && !status; id++) {
        if (v->types[id] != TN_TOKEN_NORMAL) continue;
        ids.count = 0;
        status = tn_bpe_encode(&merging, &scratch, v->texts[id], v->lens[id], &ids);
        if (!status && (ids.count != 1 || ids.list[0] != id))
            status = TN_FAIL(
                UNSUPPORTED,
                "tokenizer: ignore_merges is %s, but GGUF's \"%s\" means the opposite and token %d would differ",
                v->ignore_merges ? "on" : "off", tn_split_name(v->split), id);
    }
    tn_bpe_scratch_release(&scratch);
    tn_ids_release(&ids);
    return status;
}

static tn_status put_tokens(const tn_vocabulary *v, tn_gguf_writer *w, tn_buf *text) {
    TN_TRY(tn_gguf_put_array(w, KEY("tokens"), TN_GGUF_STRING, v->n_tokens));
    for (int id = 0; id < v->n_tokens; id++) {
        tn_buf_reset(text);
        TN_TRY(tn_token_spell(v, id, text));
        TN_TRY(tn_gguf_put_element_text(w, tn_buf_text(text), text->len));
    }
    TN_TRY(tn_gguf_put_array(w, KEY("token_type"), TN_GGUF_I32, v->n_tokens));
    for (int id = 0; id < v->n_tokens; id++) TN_TRY(tn_gguf_put_element_i32(w, v->types[id]));
    return TN_OK;
}

static tn_status put_merges(const tn_vocabulary *v, tn_gguf_writer *w, tn_buf *text) {
    TN_TRY(tn_gguf_put_array(w, KEY("merges"), TN_GGUF_STRING, v->n_merges));
    for (int rank = 0; rank < v->n_merges; rank++) {
        tn_buf_reset(text);
        TN_TRY(tn_token_spell(v, v->merges[rank][0], text));
        TN_TRY(tn_buf_putc(text, ' '));
        TN_TRY(tn_token_spell(v, v->merges[rank][1], text));
        TN_TRY(tn_gguf_put_element_text(w, text->data, text->len));
    }
    return TN_OK;
}

/* Each prefix of two or more bytes of each character, once. A merge joins such a prefix to one continuation byte, and
 * a character never begins with one, so merging rebuilds the characters and nothing that crosses two of them. */
static tn_status list_prefixes(const tn_vocabulary *v, tn_text_map *prefixes) {
    for (int id = 0; id < v->n_tokens; id++)
        for (uint32_t len = 2; len <= v->lens[id] && v->types[id] == TN_TOKEN_NORMAL; len++)
            if (tn_text_map_find(prefixes, v->texts[id], len) < 0)
                TN_TRY(tn_text_map_put(prefixes, v->texts[id], len, (int32_t)prefixes->count));
    return TN_OK;
}

static tn_status put_prefixes(const tn_vocabulary *v, const tn_text_map *prefixes, tn_gguf_writer *w, tn_buf *text) {
    int32_t next = 0; /* the order in which they were listed */
    TN_TRY(tn_gguf_put_array(w, KEY("merges"), TN_GGUF_STRING, (int64_t)prefixes->count));
    for (int id = 0; id < v->n_tokens; id++)
        for (uint32_t len = 2; len <= v->lens[id] && v->types[id] == TN_TOKEN_NORMAL; len++) {
            if (tn_text_map_find(prefixes, v->texts[id], len) != next) continue;
            tn_buf_reset(text);
            TN_TRY(tn_byte_spell(v->texts[id], len - 1, text));
            TN_TRY(tn_buf_putc(text, ' '));
            TN_TRY(tn_byte_spell(v->texts[id] + len - 1, 1, text));
            TN_TRY(tn_gguf_put_element_text(w, text->data, text->len));
            next++;
        }
    return TN_OK;
}

static tn_status put_character_merges(const tn_vocabulary *v, tn_gguf_writer *w, tn_buf *text) {
    tn_text_map prefixes = {0};
    tn_status status = list_prefixes(v, &prefixes);
    if (!status) status = put_prefixes(v, &prefixes, w, text);
    tn_text_map_release(&prefixes);
    return status;
}

/* ---- SentencePiece ---- */

/* A token's rank is that of the first merge that gives it. */
static tn_status scores_of_merges(const tn_tokenizer *t, float *scores) {
    const tn_vocabulary *v = &t->vocabulary;
    int32_t group = -1;
    for (int id = 0; id < v->n_tokens; id++) scores[id] = -(float)v->n_merges;
    for (int i = 0; i < v->n_merges; i++) {
        int32_t merged = tn_pair_map_slot(&t->ranks, v->merges[i][0], v->merges[i][1])->merged;
        bool known = scores[merged] > -(float)v->n_merges;
        if (known && merged != group)
            return TN_FAIL(UNSUPPORTED, "tokenizer: merges come in an order that the scores of GGUF cannot say");
        if (!known) scores[merged] = -(float)i;
        group = merged;
    }
    return TN_OK;
}

/* GGUF has scores only, which stand for every pair that makes up a token. */
static tn_status check_scores(const tn_tokenizer *t, const float *scores) {
    tn_vocabulary v = t->vocabulary;
    v.scores = scores;
    v.n_merges = 0;
    tn_tokenizer *by_score;
    TN_TRY(tn_tokenizer_from_vocabulary(&by_score, &v));
    bool same = by_score->ranks.count == t->ranks.count;
    tn_tokenizer_free(by_score);
    if (same) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "tokenizer: has merges for some pairs of a token only, which GGUF cannot say");
}

static tn_status put_score_list(tn_gguf_writer *w, const float *scores, int n) {
    TN_TRY(tn_gguf_put_array(w, KEY("scores"), TN_GGUF_F32, n));
    for (int id = 0; id < n; id++) TN_TRY(tn_gguf_put_element_f32(w, scores[id]));
    return TN_OK;
}

static tn_status put_scores(const tn_tokenizer *t, tn_gguf_writer *w) {
    const tn_vocabulary *v = &t->vocabulary;
    if (v->scores) return put_score_list(w, v->scores, v->n_tokens);
    float *scores = tn_heap_zalloc((size_t)v->n_tokens, sizeof *scores);
    tn_status status = scores ? scores_of_merges(t, scores) : TN_E_NOMEM;
    if (!status) status = check_scores(t, scores);
    if (!status) status = put_score_list(w, scores, v->n_tokens);
    tn_heap_free(scores);
    return status;
}

static tn_status put_spaces(const tn_vocabulary *v, tn_gguf_writer *w) {
    TN_TRY(tn_gguf_put_bool(w, KEY("add_space_prefix"), v->prefix != TN_PREFIX_NONE));
    if (v->collapse_spaces) TN_TRY(tn_gguf_put_bool(w, KEY("remove_extra_whitespaces"), true));
    if (v->prefix <= TN_PREFIX_PARTS) return TN_OK;
    tn_log(TN_LOG_WARN, "data", "tokenizer: other runtimes will put spaces before more parts of a text than this one");
    return tn_gguf_put_u32(w, tn_tokenizer_prefix_key, (uint32_t)v->prefix);
}

/* ---- all kinds ---- */

static tn_status put_id(tn_gguf_writer *w, const char *key, int id) {
    return id < 0 ? TN_OK : tn_gguf_put_u32(w, key, (uint32_t)id);
}

static tn_status put_roles(const tn_vocabulary *v, tn_gguf_writer *w) {
    TN_TRY(put_id(w, KEY("bos_token_id"), v->bos));
    TN_TRY(put_id(w, KEY("eos_token_id"), v->eos));
    TN_TRY(put_id(w, KEY("eot_token_id"), v->eot));
    TN_TRY(put_id(w, KEY("unknown_token_id"), v->unk));
    TN_TRY(put_id(w, KEY("padding_token_id"), v->pad));
    TN_TRY(tn_gguf_put_bool(w, KEY("add_bos_token"), v->add_bos));
    return v->chat_template[0] ? tn_gguf_puts(w, tn_tokenizer_template_key, v->chat_template) : TN_OK;
}

static tn_status put_lists(const tn_tokenizer *t, tn_gguf_writer *w, tn_buf *text) {
    const tn_vocabulary *v = &t->vocabulary;
    TN_TRY(put_tokens(v, w, text));
    if (v->kind == TN_TOKENIZER_CHAR) return put_character_merges(v, w, text);
    if (v->kind == TN_TOKENIZER_SPM) TN_TRY(put_scores(t, w));
    return v->scores ? TN_OK : put_merges(v, w, text);
}

tn_status tn_tokenizer_put_gguf(const tn_tokenizer *tokenizer, tn_gguf_writer *writer) {
    const tn_vocabulary *v = &tokenizer->vocabulary;
    bool spm = v->kind == TN_TOKENIZER_SPM;
    TN_TRY(check_ignore_merges(tokenizer));
    TN_TRY(tn_gguf_puts(writer, KEY("model"), spm ? "llama" : "gpt2"));
    TN_TRY(tn_gguf_puts(writer, KEY("pre"), spm ? "default" : tn_split_name(v->split)));
    tn_buf text = {0};
    tn_status status = put_lists(tokenizer, writer, &text);
    tn_buf_release(&text);
    TN_TRY(status);
    TN_TRY(put_roles(v, writer));
    if (spm) TN_TRY(put_spaces(v, writer));
    if (v->nfc) TN_TRY(tn_gguf_put_bool(writer, tn_tokenizer_nfc_key, true));
    return tn_gguf_puts(writer, tn_tokenizer_kind_key, tn_tokenizer_kind_names[v->kind]);
}
