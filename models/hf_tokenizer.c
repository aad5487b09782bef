/* SPDX-License-Identifier: MIT */
#include "models/hf_tokenizer.h"

#include "core/fs.h"
#include "core/log.h"
#include "data/tokenizer_file.h"
#include "models/hf_json.h"

#include <string.h>

enum { PATH_SIZE = 4096, MAX_TEMPLATE = 1 << 20 };

/* The files beside a tokenizer, and what becomes of its vocabulary. */
typedef struct reading {
    const char *folder;
    const tn_tokenizer *bare; /* of tokenizer.json alone */
    json_t *tokenizer, *map;  /* tokenizer_config.json, special_tokens_map.json; NULL when absent */
    char tokenizer_path[PATH_SIZE], map_path[PATH_SIZE];
    tn_hf_ids ends;
    tn_buf chat_template;
    tn_vocabulary v;
} reading;

/* ---- special tokens ---- */

/* A token is its text, or an object that has it as "content". */
static const char *token_text(const json_t *object, const char *key) {
    const json_t *value = tn_hf_json_get(object, key);
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

/* The id of the token that the files call so; -1 = they call none so, or one that the tokenizer does not have. */
static int token_id(const reading *r, const char *key) {
    const char *text = token_text(r->tokenizer, key);
    if (!text) text = token_text(r->map, key);
    return text ? tn_tokenizer_find(r->bare, text, strlen(text)) : -1;
}

static bool exists(const reading *r, int id) { return id >= 0 && id < r->v.n_tokens; }

static void complete(const reading *r, int *role, int id) {
    if (!exists(r, *role) && exists(r, id)) *role = id;
}

/* The first end of a text, and the end of a turn when it is another. */
static void set_ends(reading *r) {
    const int named = token_id(r, "eos_token");
    int first = -1, second = -1;
    for (int i = 0; i < r->ends.count; i++) {
        const int id = r->ends.list[i];
        if (!exists(r, id))
            tn_log(TN_LOG_WARN, "models", "%s: eos_token_id %d is no token of the tokenizer", r->folder, id);
        else if (first < 0)
            first = id;
        else if (second < 0)
            second = id;
    }
    if (first < 0) first = named;
    if (first >= 0) r->v.eos = first;
    if (r->v.eot == r->v.eos) r->v.eot = -1;
    if (named != r->v.eos) complete(r, &r->v.eot, named);
    if (second != r->v.eos) complete(r, &r->v.eot, second);
}

static void warn_of_lost_ends(const reading *r, const tn_tokenizer *tokenizer) {
    for (int i = 0; i < r->ends.count; i++)
        if (exists(r, r->ends.list[i]) && !tn_tokenizer_is_stop(tokenizer, r->ends.list[i]))
            tn_log(TN_LOG_WARN, "models", "%s: eos_token_id %d will not end a text: Tern keeps two ends, %d and %d",
                   r->folder, r->ends.list[i], r->v.eos, r->v.eot);
}

static tn_status set_roles(reading *r, const tn_hf_config *config) {
    complete(r, &r->v.bos, token_id(r, "bos_token"));
    complete(r, &r->v.bos, config->bos);
    complete(r, &r->v.pad, token_id(r, "pad_token"));
    complete(r, &r->v.unk, token_id(r, "unk_token"));
    set_ends(r);
    bool ends = false;
    TN_TRY(tn_hf_json_get_bool(r->tokenizer_path, r->tokenizer, "add_bos_token", &r->v.add_bos));
    TN_TRY(tn_hf_json_get_bool(r->tokenizer_path, r->tokenizer, "add_eos_token", &ends));
    if (ends) tn_log(TN_LOG_WARN, "models", "%s: add_eos_token is not followed", r->tokenizer_path);
    if (r->v.bos < 0) r->v.add_bos = false;
    return TN_OK;
}

/* ---- the chat template ---- */

static tn_status read_template_list(reading *r, const json_t *list) {
    const char *chosen = NULL;
    const json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry) {
        const char *name = NULL, *text = NULL;
        TN_TRY(tn_hf_json_get_text(r->tokenizer_path, entry, "name", &name));
        TN_TRY(tn_hf_json_get_text(r->tokenizer_path, entry, "template", &text));
        if (!name || !text)
            return TN_FAIL(CORRUPT, "%s: entry %zu of chat_template has no \"name\" or no \"template\"",
                           r->tokenizer_path, i);
        if (!chosen || strcmp(name, "default") == 0) chosen = text;
    }
    return chosen ? tn_buf_puts(&r->chat_template, chosen) : TN_OK;
}

static tn_status read_template(reading *r) {
    char path[PATH_SIZE];
    const char *text = NULL;
    TN_TRY(tn_path_join(path, sizeof path, r->folder, "chat_template.jinja"));
    if (tn_path_exists(path)) return tn_file_read(path, MAX_TEMPLATE, &r->chat_template);
    const json_t *value = tn_hf_json_get(r->tokenizer, "chat_template");
    if (json_is_array(value)) return read_template_list(r, value);
    TN_TRY(tn_hf_json_get_text(r->tokenizer_path, r->tokenizer, "chat_template", &text));
    return text ? tn_buf_puts(&r->chat_template, text) : TN_OK;
}

/* ---- the whole ---- */

static tn_status read_generation(reading *r) {
    char path[PATH_SIZE];
    json_t *root;
    TN_TRY(tn_hf_json_load(&root, r->folder, "generation_config.json", path));
    tn_status status = tn_hf_json_get_ids(path, root, "eos_token_id", &r->ends);
    json_decref(root);
    return status;
}

static tn_status read_files(reading *r, const tn_hf_config *config) {
    r->ends = config->eos;
    TN_TRY(read_generation(r));
    TN_TRY(tn_hf_json_load(&r->tokenizer, r->folder, "tokenizer_config.json", r->tokenizer_path));
    TN_TRY(tn_hf_json_load(&r->map, r->folder, "special_tokens_map.json", r->map_path));
    TN_TRY(set_roles(r, config));
    TN_TRY(read_template(r));
    if (r->chat_template.len) r->v.chat_template = tn_buf_text(&r->chat_template);
    return TN_OK;
}

tn_status tn_hf_tokenizer_load(tn_tokenizer **out, const char *folder, const tn_hf_config *config) {
    tn_tokenizer *bare;
    *out = NULL;
    TN_TRY(tn_tokenizer_load(&bare, folder));
    reading r = {.folder = folder, .bare = bare, .v = *tn_tokenizer_vocabulary(bare)};
    tn_status status = read_files(&r, config);
    if (!status) status = tn_tokenizer_from_vocabulary(out, &r.v);
    if (!status) warn_of_lost_ends(&r, *out);
    tn_tokenizer_free(bare);
    json_decref(r.tokenizer);
    json_decref(r.map);
    tn_buf_release(&r.chat_template);
    return status;
}
