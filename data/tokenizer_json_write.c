/* SPDX-License-Identifier: MIT
 * tokenizer_json_write.c - tokenizer.json in the layout of Hugging Face, which loads the BPE ones as they are. What
 * that layout has no place for (special ids, chat template, rare token types) is the object "tern" inside "model". */
#include "data/byte_spelling.h"
#include "data/tokenizer_priv.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    const tn_tokenizer *t;
    const tn_vocabulary *v;
    tn_buf text; /* scratch */
} writer;

static tn_status no_memory(void) { return TN_FAIL(NOMEM, "out of memory while writing a tokenizer"); }

/* Give `value` (taken over, NULL = out of memory) to the object or list. */
static tn_status put(json_t *object, const char *key, json_t *value) {
    return value && json_object_set_new(object, key, value) == 0 ? TN_OK : no_memory();
}

static tn_status append(json_t *list, json_t *value) {
    return value && json_array_append_new(list, value) == 0 ? TN_OK : no_memory();
}

/* The token as the layout spells it, in w->text. */
static tn_status spell(writer *w, int32_t id) {
    const tn_vocabulary *v = w->v;
    tn_buf_reset(&w->text);
    return v->kind == TN_TOKENIZER_CHAR ? tn_buf_append(&w->text, v->texts[id], v->lens[id])
                                        : tn_token_spell(v, id, &w->text);
}

/* SentencePiece's vocabularies list every token that text can give, the others only what is made of bytes. */
static bool is_in_vocab(const tn_vocabulary *v, int32_t id) {
    return v->types[id] == TN_TOKEN_NORMAL || (v->kind == TN_TOKENIZER_SPM && v->types[id] != TN_TOKEN_UNUSED);
}

static bool is_added(const tn_vocabulary *v, int32_t id) {
    return v->types[id] != TN_TOKEN_NORMAL && !(v->kind == TN_TOKENIZER_SPM && v->types[id] == TN_TOKEN_BYTE);
}

/* Other readers number the added tokens that are not in the vocabulary by themselves, from its size on. */
static bool is_numbered_alike(const tn_vocabulary *v) {
    int32_t size = 0;
    for (int32_t id = 0; id < v->n_tokens; id++) size += is_in_vocab(v, id);
    for (int32_t id = 0; id < size; id++)
        if (!is_in_vocab(v, id)) return false;
    return true;
}

static tn_status put_token(writer *w, json_t *vocab, int32_t id) {
    TN_TRY(spell(w, id));
    const char *text = tn_buf_text(&w->text);
    if (!is_in_vocab(w->v, id) && json_object_getn(vocab, text, w->text.len)) return TN_OK; /* spelled like another */
    return json_object_setn_new(vocab, text, w->text.len, json_integer(id)) ? no_memory() : TN_OK;
}

static tn_status put_vocab(writer *w, json_t *model) {
    json_t *vocab = json_object();
    const bool whole = !is_numbered_alike(w->v);
    TN_TRY(put(model, "vocab", vocab));
    for (int32_t id = 0; id < w->v->n_tokens; id++)
        if (is_in_vocab(w->v, id)) TN_TRY(put_token(w, vocab, id));
    for (int32_t id = 0; id < w->v->n_tokens && whole; id++)
        if (!is_in_vocab(w->v, id)) TN_TRY(put_token(w, vocab, id));
    return TN_OK;
}

static tn_status put_merge(writer *w, json_t *merges, int32_t left, int32_t right) {
    tn_buf both = {0};
    tn_status status = spell(w, left);
    if (!status) status = tn_buf_append(&both, w->text.data, w->text.len);
    if (!status) status = tn_buf_putc(&both, ' ');
    if (!status) status = spell(w, right);
    if (!status) status = tn_buf_append(&both, w->text.data, w->text.len);
    if (!status) status = append(merges, json_stringn(both.data, both.len));
    tn_buf_release(&both);
    return status;
}

static int by_rank(const void *a, const void *b) {
    const tn_pair_slot *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

/* Scores have no place in the layout: the merges they stand for, which other readers then go by. */
static tn_status put_score_merges(writer *w, json_t *merges) {
    const tn_pair_map *ranks = &w->t->ranks;
    tn_pair_slot *list = tn_heap_zalloc(ranks->count + 1, sizeof *list);
    size_t n = 0;
    tn_status status = list ? TN_OK : TN_E_NOMEM;
    for (size_t i = 0; i < ranks->n_slots && !status; i++) {
        const tn_pair_slot *slot = &ranks->slots[i];
        if (slot->value >= 0 && TN_MAX(slot->left, slot->right) < w->v->n_tokens) list[n++] = *slot;
    }
    if (n) qsort(list, n, sizeof *list, by_rank);
    for (size_t i = 0; i < n && !status; i++) status = put_merge(w, merges, list[i].left, list[i].right);
    tn_heap_free(list);
    return status;
}

static tn_status put_merges(writer *w, json_t *model) {
    json_t *merges = json_array();
    TN_TRY(put(model, "merges", merges));
    if (w->v->scores) return put_score_merges(w, merges);
    for (int rank = 0; rank < w->v->n_merges; rank++)
        TN_TRY(put_merge(w, merges, w->v->merges[rank][0], w->v->merges[rank][1]));
    return TN_OK;
}

static tn_status put_added(writer *w, json_t *root) {
    const tn_vocabulary *v = w->v;
    json_t *added = json_array();
    TN_TRY(put(root, "added_tokens", added));
    for (int32_t id = 0; id < v->n_tokens; id++) {
        if (!is_added(v, id)) continue;
        TN_TRY(spell(w, id));
        TN_TRY(append(added, json_pack("{s:i, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", id, "content",
                                       tn_buf_text(&w->text), w->text.len, "single_word", 0, "lstrip", 0, "rstrip", 0,
                                       "normalized", 0, "special", v->types[id] == TN_TOKEN_CONTROL)));
    }
    return TN_OK;
}

/* Types that a reader of `added_tokens` would not come to. */
static tn_status put_types(const tn_vocabulary *v, json_t *own) {
    json_t *types = json_array();
    TN_TRY(put(own, "types", types));
    for (int32_t id = 0; id < v->n_tokens; id++) {
        bool plain_user = v->types[id] == TN_TOKEN_USER && !tn_text_looks_special(v->texts[id], v->lens[id]);
        if (!is_added(v, id) || v->types[id] == TN_TOKEN_CONTROL || plain_user) continue;
        TN_TRY(append(types, json_pack("[i, i]", id, (int)v->types[id])));
    }
    return TN_OK;
}

static tn_status put_scores(const tn_vocabulary *v, json_t *own) {
    json_t *scores = json_array();
    TN_TRY(put(own, "scores", scores));
    for (int32_t id = 0; id < v->n_tokens; id++) TN_TRY(append(scores, json_real((double)v->scores[id])));
    return TN_OK;
}

static tn_status put_own(const tn_vocabulary *v, json_t *model) {
    json_t *own = json_pack("{s:i, s:i, s:i, s:i, s:i, s:b, s:s}", "bos", v->bos, "eos", v->eos, "eot", v->eot, "unk",
                            v->unk, "pad", v->pad, "add_bos", v->add_bos, "chat_template", v->chat_template);
    TN_TRY(put(model, "tern", own));
    if (v->collapse_spaces) TN_TRY(put(own, "collapse_spaces", json_true()));
    if (v->scores) TN_TRY(put_scores(v, own));
    return put_types(v, own);
}

static json_t *byte_level(bool with_expression) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
                     with_expression);
}

static tn_status put_split(tn_split split, json_t *root) {
    const char *const *list;
    int n = tn_split_expressions(split, &list);
    if (split == TN_SPLIT_GPT2) return put(root, "pre_tokenizer", byte_level(true));
    json_t *steps = json_array();
    TN_TRY(put(root, "pre_tokenizer", json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps)));
    for (int i = 0; i < n; i++)
        TN_TRY(append(steps, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", list[i],
                                       "behavior", "Isolated", "invert", 0)));
    return append(steps, byte_level(false));
}

/* ---- SentencePiece ---- */

static const char mark[] = "\xE2\x96\x81";

static bool is_bare(const tn_vocabulary *v) {
    return v->prefix == TN_PREFIX_BARE_PARTS || v->prefix == TN_PREFIX_BARE_START;
}

static json_t *replace(const char *from, const char *to) {
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content", to);
}

/* What is done to text before all else: normal form, and the marks unless the pre-tokenizer sets them. */
static tn_status put_normalizer(const tn_vocabulary *v, json_t *root) {
    bool marks = v->kind == TN_TOKENIZER_SPM && !is_bare(v);
    if (!marks && !v->nfc) return put(root, "normalizer", json_null());
    json_t *steps = json_array();
    TN_TRY(put(root, "normalizer", json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", steps)));
    if (v->nfc) TN_TRY(append(steps, json_pack("{s:s}", "type", "NFC")));
    if (!marks) return TN_OK;
    if (v->prefix == TN_PREFIX_PARTS)
        TN_TRY(append(steps, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", mark)));
    return append(steps, replace(" ", mark));
}

static tn_status put_metaspace(const tn_vocabulary *v, json_t *root) {
    const char *scheme = v->prefix == TN_PREFIX_BARE_START ? "first" : "always";
    return put(root, "pre_tokenizer",
               is_bare(v) ? json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", mark,
                                      "prepend_scheme", scheme, "split", 0)
                          : json_null());
}

static tn_status put_spm_decoder(const tn_vocabulary *v, json_t *root) {
    json_t *steps = json_pack("[o, {s:s}, {s:s}]", replace(mark, " "), "type", "ByteFallback", "type", "Fuse");
    TN_TRY(put(root, "decoder", json_pack("{s:s, s:o}", "type", "Sequence", "decoders", steps)));
    if (v->prefix == TN_PREFIX_NONE) return TN_OK;
    return append(steps, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
}

static bool has_byte_tokens(const tn_vocabulary *v) {
    for (int32_t id = 0; id < v->n_tokens; id++)
        if (v->types[id] == TN_TOKEN_BYTE) return true;
    return false;
}

/* ---- the whole ---- */

static json_t *sequence(const char *name, int type) {
    return json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", type);
}

static tn_status put_processor(const tn_vocabulary *v, json_t *root) {
    if (!v->add_bos || v->bos < 0 || v->types[v->bos] == TN_TOKEN_NORMAL)
        return put(root, "post_processor", json_null());
    const char *text = v->texts[v->bos];
    json_t *bos = json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", text, "type_id", 0);
    json_t *single = json_pack("[O, o]", bos, sequence("A", 0));
    json_t *both = json_pack("[o, o, o]", bos, sequence("A", 0), sequence("B", 1));
    json_t *specials = json_pack("{s:{s:s, s:[i], s:[s]}}", text, "id", text, "ids", v->bos, "tokens", text);
    return put(root, "post_processor",
               json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair", both,
                         "special_tokens", specials));
}

static json_t *unknown_text(const tn_vocabulary *v) {
    return v->kind == TN_TOKENIZER_SPM && v->unk >= 0 ? json_stringn(v->texts[v->unk], v->lens[v->unk]) : json_null();
}

static tn_status put_model(writer *w, json_t *root) {
    const tn_vocabulary *v = w->v;
    bool characters = v->kind == TN_TOKENIZER_CHAR, spm = v->kind == TN_TOKENIZER_SPM;
    json_t *model = characters
                        ? json_pack("{s:s}", "type", "TernChar")
                        : json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b}", "type", "BPE", "dropout", "unk_token",
                                    unknown_text(v), "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", spm,
                                    "byte_fallback", spm && has_byte_tokens(v), "ignore_merges", v->ignore_merges);
    TN_TRY(put(root, "model", model));
    TN_TRY(put_own(v, model));
    TN_TRY(put_vocab(w, model));
    return characters ? TN_OK : put_merges(w, model);
}

static tn_status put_text_steps(const tn_vocabulary *v, json_t *root) {
    TN_TRY(put_normalizer(v, root));
    switch (v->kind) {
    case TN_TOKENIZER_CHAR: return put(root, "pre_tokenizer", json_null());
    case TN_TOKENIZER_BPE: return put_split(v->split, root);
    case TN_TOKENIZER_SPM: return put_metaspace(v, root);
    }
    return TN_OK;
}

static tn_status put_decoder(const tn_vocabulary *v, json_t *root) {
    if (v->kind == TN_TOKENIZER_SPM) return put_spm_decoder(v, root);
    return put(root, "decoder", v->kind == TN_TOKENIZER_CHAR ? json_null() : byte_level(true));
}

static tn_status put_all(writer *w, json_t *root) {
    TN_TRY(put(root, "version", json_string("1.0")));
    TN_TRY(put(root, "truncation", json_null()));
    TN_TRY(put(root, "padding", json_null()));
    TN_TRY(put_added(w, root));
    TN_TRY(put_text_steps(w->v, root));
    TN_TRY(put_processor(w->v, root));
    TN_TRY(put_decoder(w->v, root));
    return put_model(w, root);
}

static int append_dump(const char *text, size_t len, void *out) { return tn_buf_append(out, text, len) ? -1 : 0; }

tn_status tn_tokenizer_to_json(const tn_tokenizer *tokenizer, tn_buf *out) {
    writer w = {.t = tokenizer, .v = &tokenizer->vocabulary};
    json_t *root = json_object();
    tn_status status = root ? put_all(&w, root) : no_memory();
    if (!status && json_dump_callback(root, append_dump, out, JSON_COMPACT | JSON_REAL_PRECISION(9)))
        status = no_memory();
    json_decref(root);
    tn_buf_release(&w.text);
    return status;
}
