/* SPDX-License-Identifier: MIT */
#include "data/tokenizer_file.h"

#include "core/fs.h"
#include "data/text_reader.h"
#include "data/token_store.h"
#include "data/tokenizer_gguf.h"
#include "formats/checkpoint_file.h"

#include <string.h>

enum { MAX_TOKENIZER = 256 << 20 };

/* ---- learning ---- */

static tn_status add_document(void *context, const char *text, size_t len, int source, const char *name) {
    (void)source, (void)name;
    return tn_tokenizer_trainer_add(context, text, len);
}

bool tn_tokenizer_is_learnt(const char *setting) { return strcmp(setting, "char") == 0 || strcmp(setting, "bpe") == 0; }

tn_status tn_tokenizer_learn(tn_tokenizer **out, const tn_tokenizer_options *options, const char *const *paths,
                             int n_paths) {
    tn_tokenizer_trainer *trainer;
    TN_TRY(tn_tokenizer_trainer_create(&trainer, options));
    tn_status status = tn_read_documents(paths, n_paths, add_document, trainer);
    if (!status) return tn_tokenizer_trainer_finish(trainer, out);
    tn_tokenizer_trainer_free(trainer);
    return status;
}

/* ---- files ---- */

static tn_status load_json(tn_tokenizer **out, const char *path) {
    tn_buf text = {0};
    tn_status status = tn_file_read(path, MAX_TOKENIZER, &text);
    if (!status) status = tn_tokenizer_from_json(out, path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

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

static tn_status is_gguf(const char *path, bool *yes) {
    tn_map map;
    TN_TRY(tn_map_init(&map, path));
    *yes = map.size >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    tn_map_release(&map);
    return TN_OK;
}

tn_status tn_tokenizer_load(tn_tokenizer **out, const char *path) {
    bool gguf;
    TN_TRY(is_gguf(path, &gguf));
    if (gguf) return load_from_gguf(out, path);
    if (tn_store_is_store(path)) return load_from_store(out, path);
    if (tn_ckpt_is_checkpoint(path)) return load_from_checkpoint(out, path);
    return load_json(out, path);
}
