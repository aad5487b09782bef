/* SPDX-License-Identifier: MIT
 * tokenizer_json_write.c - tokenizer.json in the layout of Hugging Face, which loads the BPE ones as they are. What
 * that layout has no place for (special ids, chat template, rare token types) is the object "tern" inside "model". */
#include "data/byte_spelling.h"
#include "data/tokenizer_priv.h"

#include <jansson.h>
#include <string.h>

typedef struct writer {
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

/* The token as the layout spells it: bytes in GPT-2's alphabet, all else plain. Appended to w->text. */
static tn_status spell(writer *w, int32_t id) {
    const tn_vocabulary *v = w->v;
    bool bytes = v->kind == TN_TOKENIZER_BPE && v->types[id] == TN_TOKEN_NORMAL;
    return bytes ? tn_byte_spell(v->texts[id], v->lens[id], &w->text)
                 : tn_buf_append(&w->text, v->texts[id], v->lens[id]);
}

static tn_status put_vocab(writer *w, json_t *model) {
    json_t *vocab = json_object();
    TN_TRY(put(model, "vocab", vocab));
    for (int32_t id = 0; id < w->v->n_tokens; id++) {
        if (w->v->types[id] != TN_TOKEN_NORMAL) continue;
        tn_buf_reset(&w->text);
        TN_TRY(spell(w, id));
        if (json_object_setn_new(vocab, w->text.data, w->text.len, json_integer(id))) return no_memory();
    }
    return TN_OK;
}

static tn_status put_merges(writer *w, json_t *model) {
    json_t *merges = json_array();
    TN_TRY(put(model, "merges", merges));
    for (int rank = 0; rank < w->v->n_merges; rank++) {
        tn_buf_reset(&w->text);
        TN_TRY(spell(w, w->v->merges[rank][0]));
        TN_TRY(tn_buf_putc(&w->text, ' '));
        TN_TRY(spell(w, w->v->merges[rank][1]));
        TN_TRY(append(merges, json_stringn(w->text.data, w->text.len)));
    }
    return TN_OK;
}

static tn_status put_added(const tn_vocabulary *v, json_t *root) {
    json_t *added = json_array();
    TN_TRY(put(root, "added_tokens", added));
    for (int32_t id = 0; id < v->n_tokens; id++) {
        if (v->types[id] == TN_TOKEN_NORMAL) continue;
        TN_TRY(append(added, json_pack("{s:i, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", v->texts[id],
                                       (size_t)v->lens[id], "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0,
                                       "special", v->types[id] == TN_TOKEN_CONTROL)));
    }
    return TN_OK;
}

/* Types that a reader of `added_tokens` would not come to. */
static tn_status put_types(const tn_vocabulary *v, json_t *own) {
    json_t *types = json_array();
    TN_TRY(put(own, "types", types));
    for (int32_t id = 0; id < v->n_tokens; id++) {
        bool plain_user = v->types[id] == TN_TOKEN_USER && !tn_text_looks_special(v->texts[id], v->lens[id]);
        if (v->types[id] == TN_TOKEN_NORMAL || v->types[id] == TN_TOKEN_CONTROL || plain_user) continue;
        TN_TRY(append(types, json_pack("[i, i]", id, (int)v->types[id])));
    }
    return TN_OK;
}

static tn_status put_own(const tn_vocabulary *v, json_t *model) {
    json_t *own = json_pack("{s:i, s:i, s:i, s:i, s:i, s:b, s:s}", "bos", v->bos, "eos", v->eos, "eot", v->eot, "unk",
                            v->unk, "pad", v->pad, "add_bos", v->add_bos, "chat_template", v->chat_template);
    TN_TRY(put(model, "tern", own));
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

static tn_status put_model(writer *w, json_t *root) {
    const tn_vocabulary *v = w->v;
    bool characters = v->kind == TN_TOKENIZER_CHAR;
    json_t *model = characters ? json_pack("{s:s}", "type", "TernChar")
                               : json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b}", "type", "BPE", "dropout",
                                           "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                                           0, "byte_fallback", 0, "ignore_merges", v->ignore_merges);
    TN_TRY(put(root, "model", model));
    TN_TRY(put_own(v, model));
    TN_TRY(put_vocab(w, model));
    return characters ? TN_OK : put_merges(w, model);
}

static tn_status put_all(writer *w, json_t *root) {
    bool characters = w->v->kind == TN_TOKENIZER_CHAR;
    TN_TRY(put(root, "version", json_string("1.0")));
    TN_TRY(put(root, "truncation", json_null()));
    TN_TRY(put(root, "padding", json_null()));
    TN_TRY(put_added(w->v, root));
    TN_TRY(put(root, "normalizer", json_null()));
    TN_TRY(characters ? put(root, "pre_tokenizer", json_null()) : put_split(w->v->split, root));
    TN_TRY(put_processor(w->v, root));
    TN_TRY(put(root, "decoder", characters ? json_null() : byte_level(true)));
    return put_model(w, root);
}

static int append_dump(const char *text, size_t len, void *out) { return tn_buf_append(out, text, len) ? -1 : 0; }

tn_status tn_tokenizer_to_json(const tn_tokenizer *tokenizer, tn_buf *out) {
    writer w = {tn_tokenizer_vocabulary(tokenizer), {0}};
    json_t *root = json_object();
    tn_status status = root ? put_all(&w, root) : no_memory();
    if (!status && json_dump_callback(root, append_dump, out, JSON_COMPACT)) status = no_memory();
    json_decref(root);
    tn_buf_release(&w.text);
    return status;
}
