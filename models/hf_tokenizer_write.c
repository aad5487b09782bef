/* SPDX-License-Identifier: MIT
 * hf_tokenizer_write.c - the files of a tokenizer in a Hugging Face folder. */
#include "models/hf_tokenizer.h"

#include "core/fs.h"
#include "models/hf_json.h"

#include <string.h>

enum { PATH_SIZE = 4096 };

static void add_end(tn_hf_ids *ids, int id) {
    for (int i = 0; i < ids->count; i++)
        if (ids->list[i] == id) return;
    if (id >= 0 && ids->count < TN_HF_IDS) ids->list[ids->count++] = id;
}

tn_hf_ids tn_hf_tokenizer_ends(const tn_tokenizer *tokenizer) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(tokenizer);
    tn_hf_ids ids = {.count = 0};
    add_end(&ids, v->eos);
    add_end(&ids, v->eot);
    for (int id = 0; id < v->n_tokens; id++)
        if (tn_tokenizer_is_stop(tokenizer, id)) add_end(&ids, id);
    return ids;
}

static tn_status save(const char *folder, const char *name, const tn_buf *text) {
    char path[PATH_SIZE];
    TN_TRY(tn_path_join(path, sizeof path, folder, name));
    return tn_file_write(path, tn_buf_text(text), text->len);
}

static int put_bytes(const char *bytes, size_t len, void *out) { return tn_buf_append(out, bytes, len) ? -1 : 0; }

/* Takes `object` over. */
static tn_status save_object(const char *folder, const char *name, json_t *object) {
    tn_buf text = {0};
    tn_status status = TN_OK;
    if (!object || json_dump_callback(object, put_bytes, &text, JSON_INDENT(2) | JSON_REAL_PRECISION(17)))
        status = TN_FAIL(TEXT, "%s: cannot be written as JSON", name);
    if (!status) status = tn_buf_putc(&text, '\n');
    if (!status) status = save(folder, name, &text);
    tn_buf_release(&text);
    json_decref(object);
    return status;
}

/* The texts of special tokens alone: those of others are bytes in a spelling. */
static void set_token(json_t *object, const char *key, const tn_vocabulary *v, int id) {
    if (id >= 0 && v->types[id] != TN_TOKEN_NORMAL)
        json_object_set_new(object, key, json_stringn(v->texts[id], v->lens[id]));
}

static tn_status save_config(const tn_vocabulary *v, int context, const char *folder) {
    json_t *object = json_pack("{s:s, s:b, s:i}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "clean_up_tokenization_spaces", 0, "model_max_length", context);
    set_token(object, "bos_token", v, v->bos);
    set_token(object, "eos_token", v, v->eot >= 0 ? v->eot : v->eos);
    set_token(object, "unk_token", v, v->unk);
    set_token(object, "pad_token", v, v->pad);
    if (v->chat_template[0]) json_object_set_new(object, "chat_template", json_string(v->chat_template));
    return save_object(folder, "tokenizer_config.json", object);
}

static tn_status save_generation(const tn_tokenizer *tokenizer, const char *folder) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(tokenizer);
    const tn_hf_ids ends = tn_hf_tokenizer_ends(tokenizer);
    json_t *object = json_object(), *list = json_array();
    for (int i = 0; i < ends.count; i++) json_array_append_new(list, json_integer(ends.list[i]));
    if (v->bos >= 0) json_object_set_new(object, "bos_token_id", json_integer(v->bos));
    if (ends.count) json_object_set(object, "eos_token_id", list);
    if (v->pad >= 0) json_object_set_new(object, "pad_token_id", json_integer(v->pad));
    json_decref(list);
    return save_object(folder, "generation_config.json", object);
}

tn_status tn_hf_tokenizer_save(const tn_tokenizer *tokenizer, int context, const char *folder) {
    tn_buf json = {0};
    tn_status status = tn_tokenizer_to_json(tokenizer, &json);
    if (!status) status = save(folder, "tokenizer.json", &json);
    tn_buf_release(&json);
    if (!status) status = save_config(tn_tokenizer_vocabulary(tokenizer), context, folder);
    return status ? status : save_generation(tokenizer, folder);
}
