/* SPDX-License-Identifier: MIT */
#include "data/tokenizer_file.h"

#include "core/fs.h"
#include "data/token_store.h"
#include "data/tokenizer_gguf.h"
#include "data/tokenizer_spm_file.h"
#include "data/tokenizer_tiktoken.h"
#include "formats/checkpoint_file.h"

#include <string.h>

enum { MAX_TOKENIZER = 256 << 20 };

/* ---- learning ---- */

static tn_status add_text(tn_tokenizer_trainer *trainer, const json_t *text) {
    if (!json_is_string(text)) return TN_OK;
    return tn_tokenizer_trainer_add(trainer, json_string_value(text), json_string_length(text));
}

/* What is said, be it one text or in parts; what templates put around it is not known here. */
static tn_status add_message(tn_tokenizer_trainer *trainer, const json_t *message) {
    const json_t *content = json_object_get(message, "content");
    for (size_t i = 0; i < json_array_size(content); i++)
        TN_TRY(add_text(trainer, json_object_get(json_array_get(content, i), "text")));
    return add_text(trainer, content);
}

static tn_status add_row(void *context, const tn_row *row) {
    if (!row->n_said) return TN_FAIL(UNSUPPORTED, "is a row of tokens, which has no text to learn a tokenizer from");
    for (int i = 0; i < row->n_said; i++) {
        const tn_said *said = &row->said[i];
        size_t from = i ? said->answer : 0; /* both sides of a preference have the same prompt */
        if (!said->messages && said->len > from)
            TN_TRY(tn_tokenizer_trainer_add(context, said->text + from, said->len - from));
        for (size_t m = from; m < json_array_size(said->messages); m++)
            TN_TRY(add_message(context, json_array_get(said->messages, m)));
    }
    return TN_OK;
}

bool tn_tokenizer_is_learnt(const char *setting) { return strcmp(setting, "char") == 0 || strcmp(setting, "bpe") == 0; }

tn_status tn_tokenizer_learn(tn_tokenizer **out, const tn_tokenizer_options *options, const tn_row_options *rows,
                             const char *const *paths, int n_paths) {
    const tn_row_options defaults = {0};
    tn_data_report report = {0};
    tn_tokenizer_trainer *trainer;
    TN_TRY(tn_tokenizer_trainer_create(&trainer, options));
    tn_status status = tn_read_rows(paths, n_paths, rows ? rows : &defaults, &report, add_row, trainer);
    tn_data_report_release(&report);
    if (!status) return tn_tokenizer_trainer_finish(trainer, out);
    tn_tokenizer_trainer_free(trainer);
    return status;
}

/* ---- files ---- */

/* The store owns its tokenizer, so the caller gets a copy by way of its text. */
static tn_status load_from_store(tn_tokenizer **out, const char *path) {
    tn_store *store;
    TN_TRY(tn_store_open(&store, path));
    tn_buf text = {0};
    tn_status status = tn_tokenizer_to_json(tn_store_tokenizer(store), &text);
    if (!status) status = tn_tokenizer_from_json(out, path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    tn_store_free(store);
    return status;
}

static tn_status load_from_checkpoint(tn_tokenizer **out, const char *path) {
    tn_ckpt *ckpt;
    TN_TRY(tn_ckpt_open(&ckpt, path));
    tn_buf text = {0};
    tn_status status = tn_ckpt_get_text(ckpt, TN_CKPT_TOKENIZER, &text);
    if (!status) status = tn_tokenizer_from_json(out, path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    tn_ckpt_close(ckpt);
    return status;
}

static tn_status load_from_gguf(tn_tokenizer **out, const char *path) {
    tn_gguf *file;
    TN_TRY(tn_gguf_open(&file, path));
    tn_status status = tn_tokenizer_from_gguf(out, file);
    tn_gguf_close(file);
    return status;
}

/* A tokenizer.json begins with '{' behind white space and perhaps a byte-order mark. */
static bool looks_json(const unsigned char *data, size_t size) {
    size_t at = size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (at < size && memchr(" \t\r\n", data[at], 4)) at++;
    return at < size && data[at] == '{';
}

typedef enum content { GGUF, JSON, SPM, TIKTOKEN, OTHER } content;

static content content_of(const tn_map *map) {
    if (map->size >= 4 && memcmp(map->data, "GGUF", 4) == 0) return GGUF;
    if (looks_json(map->data, map->size)) return JSON;
    if (tn_tokenizer_looks_spm(map->data, map->size)) return SPM;
    return tn_tokenizer_looks_tiktoken(map->data, map->size) ? TIKTOKEN : OTHER;
}

static tn_status load_mapped(tn_tokenizer **out, const char *path, const tn_map *map) {
    if (map->size > MAX_TOKENIZER)
        return TN_FAIL(RANGE, "%s: has %zu bytes, a tokenizer has at most %d", path, map->size, MAX_TOKENIZER);
    switch (content_of(map)) {
    case JSON: return tn_tokenizer_from_json(out, path, (const char *)map->data, map->size);
    case SPM: return tn_tokenizer_from_spm(out, path, map->data, map->size);
    case TIKTOKEN: return tn_tokenizer_from_tiktoken(out, path, map->data, map->size);
    default: break;
    }
    return TN_FAIL(FORMAT,
                   "%s: is no tokenizer, expected a tokenizer.json, a SentencePiece model, a tiktoken file, a "
                   "GGUF file, a token store or a checkpoint",
                   path);
}

static tn_status load_file(tn_tokenizer **out, const char *path) {
    tn_map map;
    TN_TRY(tn_map_init(&map, path));
    bool gguf = content_of(&map) == GGUF;
    tn_status status = TN_OK;
    if (gguf)
        status = load_from_gguf(out, path);
    else if (tn_store_is_store(path))
        status = load_from_store(out, path);
    else if (tn_ckpt_is_checkpoint(path))
        status = load_from_checkpoint(out, path);
    else
        status = load_mapped(out, path, &map);
    tn_map_release(&map);
    return status;
}

/* ---- folders ---- */

static bool ends_with(const char *name, const char *end) {
    size_t len = strlen(name), n = strlen(end);
    return len >= n && strcmp(name + len - n, end) == 0;
}

/* The first name that ends so; files of tokenizers before files that have one beside other things. */
static const char *choose(const tn_names *names) {
    static const char *const ends[] = {"tokenizer.json", "tokenizer.model", ".tiktoken", ".model", ".gguf"};
    for (size_t i = 0; i < TN_COUNT(ends); i++)
        for (size_t k = 0; k < names->count; k++)
            if (ends_with(names->list[k], ends[i])) return names->list[k];
    return NULL;
}

static tn_status load_from_folder(tn_tokenizer **out, const char *path) {
    tn_names names = {0};
    char file[4096];
    tn_status status = tn_dir_list(path, &names);
    const char *name = choose(&names);
    if (!status && !name)
        status = TN_FAIL(MISSING, "%s: holds no tokenizer.json, tokenizer.model, .tiktoken or .gguf file", path);
    if (!status) status = tn_path_join(file, sizeof file, path, name);
    if (!status) status = load_file(out, file);
    tn_names_release(&names);
    return status;
}

tn_status tn_tokenizer_load(tn_tokenizer **out, const char *path) {
    *out = NULL;
    return tn_path_is_dir(path) ? load_from_folder(out, path) : load_file(out, path);
}
