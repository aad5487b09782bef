/* SPDX-License-Identifier: MIT
 * cmd_inspect.c - `tern inspect`: what a file holds. One description is built for each kind of file, as JSON; --json
 * prints it, else it is shown as lines and a table. Only a number that JSON does not have is put as null in the one, as
 * "nan" or "inf" in the other. */
#include "cmd/options.h"
#include "core/utf8.h"
#include "core/fs.h"
#include "data/token_store.h"
#include "formats/checkpoint_file.h"
#include "formats/checksum.h"
#include "formats/gguf.h"
#include "formats/ternary_block.h"
#include "models/adapter_reading.h"
#include "models/hf_names.h"
#include "models/model_file.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_TEXT = 4096 }; /* bytes of a text value */

/* Texts of a file may hold anything. */
static json_t *text_value(const char *data, size_t len) {
    bool valid = tn_utf8_valid_prefix(data, len, NULL) == len;
    return valid ? json_stringn(data, len) : json_sprintf("(%zu bytes that are not UTF-8)", len);
}

static json_t *real_value(double value, bool json) {
    if (isfinite(value)) return json_real(value);
    return json ? json_null() : json_sprintf("%g", value);
}

static double zero_share(const int8_t *states, int64_t n) {
    int64_t zeros = 0;
    for (int64_t i = 0; i < n; i++) zeros += states[i] == 0;
    return n ? (double)zeros / (double)n : 0;
}

static tn_status add(json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value)) return TN_FAIL(NOMEM, "cannot describe %s", key);
    return TN_OK;
}

/* ---- GGUF ---- */

static tn_status gguf_value(const tn_gguf *file, const char *key, tn_gguf_kind kind, int64_t count, bool json,
                            json_t **out) {
    tn_gguf_text text;
    int64_t whole;
    double real;
    bool flag;
    switch (kind) {
    case TN_GGUF_ARRAY: *out = json_sprintf("(array of %lld)", (long long)count); return TN_OK;
    case TN_GGUF_STRING:
        TN_TRY(tn_gguf_get_text(file, key, &text));
        *out = text_value(text.data, text.len);
        return TN_OK;
    case TN_GGUF_BOOL:
        TN_TRY(tn_gguf_get_bool(file, key, &flag));
        *out = json_boolean(flag);
        return TN_OK;
    case TN_GGUF_F32:
    case TN_GGUF_F64:
        TN_TRY(tn_gguf_get_real(file, key, &real));
        *out = real_value(real, json);
        return TN_OK;
    default:
        TN_TRY(tn_gguf_get_int(file, key, &whole));
        *out = json_integer(whole);
        return TN_OK;
    }
}

/* Keys of a file may be any bytes. */
static tn_status add_repaired(json_t *object, const char *key, json_t *value) {
    tn_buf name = {0};
    tn_status status = tn_utf8_repair(key, strlen(key), &name);
    if (!status) status = add(object, tn_buf_text(&name), value);
    tn_buf_release(&name);
    return status;
}

static tn_status gguf_keys(const tn_gguf *file, bool json, json_t *object) {
    for (int64_t i = 0; i < tn_gguf_n_keys(file); i++) {
        tn_gguf_kind kind;
        int64_t count = 0;
        json_t *value = NULL;
        const char *key = tn_gguf_key_at(file, i, &kind, NULL, &count);
        TN_TRY(gguf_value(file, key, kind, count, json, &value));
        TN_TRY(add_repaired(object, key, value));
    }
    return TN_OK;
}

static tn_status add_states(const tn_gguf_tensor *t, int64_t rows, json_t *entry) {
    if (!tn_ternary_type(t->type)) return TN_OK;
    int64_t n = rows * t->ne[0];
    float scale;
    int8_t *states = tn_heap_zalloc((size_t)n, 1);
    if (!states) return TN_E_NOMEM;
    tn_status status = tn_ternary_unpack(t->type, t->name, t->data, rows, t->ne[0], states, &scale);
    if (!status) status = add(entry, "zeros", json_real(zero_share(states, n)));
    if (!status) status = add(entry, "scale", json_real((double)scale));
    tn_heap_free(states);
    return status;
}

static tn_status gguf_tensor(const tn_gguf_tensor *t, json_t *list, int64_t *total) {
    json_t *entry = json_object(), *shape = json_array();
    int64_t rows = 1;
    for (int i = 0; i < t->n_dims; i++) json_array_append_new(shape, json_integer(t->ne[i]));
    for (int i = 1; i < t->n_dims; i++) rows *= t->ne[i];
    *total += rows * t->ne[0];
    json_array_append_new(list, entry);
    TN_TRY(add(entry, "name", text_value(t->name, strlen(t->name))));
    TN_TRY(add(entry, "type", json_string(tn_ggml_type_name(t->type))));
    TN_TRY(add(entry, "shape", shape));
    TN_TRY(add(entry, "bytes", json_integer((json_int_t)t->bytes)));
    return add_states(t, rows, entry);
}

static tn_status describe_gguf_file(const tn_gguf *file, bool json, json_t *out) {
    json_t *keys = json_object(), *tensors = json_array();
    int64_t total = 0;
    TN_TRY(add(out, "keys", keys));
    TN_TRY(add(out, "tensors", tensors));
    TN_TRY(gguf_keys(file, json, keys));
    for (int64_t i = 0; i < tn_gguf_n_tensors(file); i++)
        TN_TRY(gguf_tensor(tn_gguf_tensor_at(file, i), tensors, &total));
    return add(out, "weights", json_integer(total));
}

static tn_status describe_gguf(const char *path, bool json, json_t *out) {
    tn_gguf *file;
    TN_TRY(add(out, "kind", json_string("GGUF")));
    TN_TRY(tn_gguf_open(&file, path));
    tn_status status = describe_gguf_file(file, json, out);
    tn_gguf_close(file);
    return status;
}

/* ---- checkpoint ---- */

static tn_status add_tokenizer(const tn_tokenizer *tokenizer, json_t *keys) {
    char hash[17];
    TN_TRY(add(keys, "tokenizer.size", json_integer(tn_tokenizer_size(tokenizer))));
    tn_tokenizer_hash(tokenizer, hash);
    return add(keys, "tokenizer.hash", json_string(hash));
}

static tn_status checkpoint_keys(tn_ckpt *ckpt, const tn_tokenizer *tokenizer, json_t *keys) {
    tn_buf config = {0};
    int64_t step;
    TN_TRY(tn_ckpt_get_int(ckpt, "step", &step));
    TN_TRY(add(keys, "step", json_integer(step)));
    TN_TRY(add_tokenizer(tokenizer, keys));
    tn_status status = tn_ckpt_get_text(ckpt, TN_CKPT_CONFIG, &config);
    if (!status) status = add(keys, "config", text_value(tn_buf_text(&config), config.len));
    tn_buf_release(&config);
    return status;
}

static tn_status add_param_states(const tn_param *p, json_t *entry) {
    if (p->quantizer == TN_QUANT_NONE) return TN_OK;
    TN_TRY(add(entry, "zeros", json_real(zero_share(p->states, tn_param_count(p)))));
    return add(entry, "scale", json_real((double)p->scale));
}

static tn_status checkpoint_param(const tn_param *p, json_t *list) {
    json_t *entry = json_pack("{s:s, s:s, s:[i, i], s:I}", "name", p->name, "type", "F32", "shape", p->cols, p->rows,
                              "bytes", (json_int_t)tn_param_count(p) * 4);
    if (json_array_append_new(list, entry)) return TN_FAIL(NOMEM, "cannot describe %s", p->name);
    return add_param_states(p, entry);
}

static tn_status describe_checkpoint(tn_loaded *loaded, json_t *keys, json_t *tensors) {
    int n;
    tn_param **params = tn_model_params(loaded->model, &n);
    tn_ckpt *ckpt;
    TN_TRY(tn_ckpt_open(&ckpt, loaded->path));
    tn_status status = checkpoint_keys(ckpt, loaded->tokenizer, keys);
    tn_ckpt_close(ckpt);
    for (int i = 0; i < n && !status; i++) status = checkpoint_param(params[i], tensors);
    return status;
}

/* ---- Hugging Face folder ---- */

static tn_status add_config(const char *folder, const char *name, json_t *keys) {
    char path[4096];
    tn_buf config = {0};
    TN_TRY(tn_path_join(path, sizeof path, folder, name));
    tn_status status = tn_file_read(path, 1 << 20, &config);
    if (!status) status = add(keys, "config", text_value(tn_buf_text(&config), config.len));
    tn_buf_release(&config);
    return status;
}

/* A matrix of the model has states, whatever its tensor holds. An adapter is read without one. */
static tn_status hf_tensor(tn_model *model, const tn_safetensor *t, json_t *list) {
    json_t *entry = json_object(), *shape = json_array();
    char ours[TN_HF_NAME_SIZE];
    for (int i = 0; i < t->n_dims; i++) json_array_append_new(shape, json_integer(t->shape[i]));
    json_array_append_new(list, entry);
    TN_TRY(add(entry, "name", text_value(t->name, strlen(t->name))));
    TN_TRY(add(entry, "type", json_string(tn_safetensor_type_name(t->type))));
    TN_TRY(add(entry, "shape", shape));
    TN_TRY(add(entry, "bytes", json_integer((json_int_t)t->bytes)));
    const tn_param *p = model && tn_hf_name_to_ours(t->name, ours) ? tn_model_find(model, ours) : NULL;
    return p ? add_param_states(p, entry) : TN_OK;
}

static tn_status describe_hf(tn_loaded *loaded, json_t *keys, json_t *tensors) {
    TN_TRY(add_tokenizer(loaded->tokenizer, keys));
    TN_TRY(add_config(loaded->path, "config.json", keys));
    for (int64_t i = 0; i < tn_safetensors_count(loaded->tensors); i++)
        TN_TRY(hf_tensor(loaded->model, tn_safetensors_at(loaded->tensors, i), tensors));
    return TN_OK;
}

/* ---- PEFT folder ---- */

static tn_status describe_pairs(const tn_safetensors *file, json_t *keys, json_t *out) {
    const char *const notes[] = {TN_ADAPTER_KEY_BASE, TN_ADAPTER_KEY_INPUT};
    json_t *tensors = json_array();
    int64_t total = 0;
    TN_TRY(add(out, "tensors", tensors));
    for (size_t i = 0; i < TN_COUNT(notes); i++) {
        const char *value = tn_safetensors_get_note(file, notes[i]);
        if (value) TN_TRY(add(keys, notes[i], text_value(value, strlen(value))));
    }
    for (int64_t i = 0; i < tn_safetensors_count(file); i++) {
        const tn_safetensor *t = tn_safetensors_at(file, i);
        int64_t count = 1;
        for (int d = 0; d < t->n_dims; d++) count *= t->shape[d];
        total += count;
        TN_TRY(hf_tensor(NULL, t, tensors));
    }
    return add(out, "weights", json_integer(total));
}

static tn_status describe_peft(const char *folder, json_t *out) {
    char path[4096];
    json_t *keys = json_object();
    tn_safetensors *file;
    TN_TRY(add(out, "kind", json_string("PEFT folder")));
    TN_TRY(add(out, "keys", keys));
    TN_TRY(add_config(folder, "adapter_config.json", keys));
    TN_TRY(tn_path_join(path, sizeof path, folder, "adapter_model.safetensors"));
    TN_TRY(tn_safetensors_open(&file, path));
    tn_status status = describe_pairs(file, keys, out);
    tn_safetensors_close(file);
    return status;
}

static bool is_peft(const char *folder) {
    char path[4096];
    return !tn_path_join(path, sizeof path, folder, "adapter_config.json") && tn_path_exists(path);
}

/* ---- either ---- */

static tn_status describe_loaded(tn_loaded *loaded, json_t *out) {
    json_t *keys = json_object(), *tensors = json_array();
    TN_TRY(add(out, "keys", keys));
    TN_TRY(add(out, "tensors", tensors));
    if (loaded->source == TN_SOURCE_HF)
        TN_TRY(describe_hf(loaded, keys, tensors));
    else
        TN_TRY(describe_checkpoint(loaded, keys, tensors));
    return add(out, "weights", json_integer(tn_model_config_counts(&loaded->config).total));
}

/* A run folder stands for its best checkpoint, or its latest. */
static tn_status describe_model(const char *path, json_t *out) {
    tn_loaded loaded;
    tn_arena *arena = tn_arena_create("model");
    if (!arena) return TN_E_NOMEM;
    tn_status status = tn_model_file_load(path, arena, TN_MODEL_EXPORT, &loaded);
    if (!status) {
        status = add(out, "kind", tn_cmd_json_path(loaded.description));
        if (!status) status = add(out, "path", tn_cmd_json_path(loaded.path));
        if (!status) status = describe_loaded(&loaded, out);
        tn_loaded_release(&loaded);
    }
    tn_arena_free(arena);
    return status;
}

/* ---- token store ---- */

static tn_status describe_store(const char *path, json_t *out) {
    tn_store *store;
    char hash[17];
    TN_TRY(add(out, "kind", json_string("token store")));
    TN_TRY(tn_store_open(&store, path));
    tn_tokenizer_hash(tn_store_tokenizer(store), hash);
    json_t *keys = json_pack("{s:s, s:I, s:I, s:I, s:i, s:s, s:f, s:o}", "rows", tn_store_kind_name(store), "documents",
                             (json_int_t)tn_store_n_documents(store), "tokens", (json_int_t)tn_store_n_tokens(store),
                             "bytes_of_text", (json_int_t)tn_store_n_bytes(store), "vocab_size",
                             tn_store_vocab_size(store), "tokenizer.hash", hash, "bytes_per_token",
                             (double)tn_store_n_bytes(store) / (double)TN_MAX(tn_store_n_tokens(store), 1),
                             "fingerprint", json_sprintf("%016llx", (unsigned long long)tn_store_fingerprint(store)));
    tn_store_free(store);
    return add(out, "keys", keys);
}

/* ---- any file ---- */

static tn_status add_file(const char *path, bool hash, json_t *out) {
    tn_map map;
    TN_TRY(tn_map_init(&map, path));
    tn_status status = add(out, "bytes", json_integer((json_int_t)map.size));
    if (hash && !status) {
        char hex[33];
        tn_checksum *sum = tn_checksum_create();
        status = sum ? TN_OK : TN_E_NOMEM;
        if (sum) {
            tn_checksum_add(sum, map.data, map.size);
            tn_checksum_hex(sum, hex);
            tn_checksum_free(sum);
            status = add(out, "xxh3_128", json_string(hex));
        }
    }
    tn_map_release(&map);
    return status;
}

static bool is_gguf(const char *path) {
    tn_map map;
    if (tn_map_init(&map, path)) return false;
    bool yes = map.size >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    tn_map_release(&map);
    return yes;
}

static tn_status describe(const char *path, bool hash, bool json, json_t *out) {
    TN_TRY(add(out, "path", tn_cmd_json_path(path)));
    if (tn_path_is_dir(path)) {
        TN_TRY(is_peft(path) ? describe_peft(path, out) : describe_model(path, out));
    } else {
        TN_TRY(add_file(path, hash, out));
        if (is_gguf(path))
            TN_TRY(describe_gguf(path, json, out));
        else if (tn_store_is_store(path))
            TN_TRY(describe_store(path, out));
        else
            TN_TRY(describe_model(path, out));
    }
    return TN_OK;
}

/* ---- showing ---- */

static tn_status show_value(const char *key, const json_t *value, tn_buf *out) {
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t len = json_string_length(value),
               shown = tn_utf8_valid_prefix(text, TN_MIN(len, (size_t)SHOWN_TEXT), NULL);
        TN_TRY(tn_buf_printf(out, "%s:%s%.*s", key, memchr(text, '\n', shown) ? "\n" : " ", (int)shown, text));
        if (shown < len) TN_TRY(tn_buf_printf(out, " ... (%zu bytes)", len));
        return tn_buf_putc(out, '\n');
    }
    if (json_is_boolean(value)) return tn_buf_printf(out, "%s: %s\n", key, json_is_true(value) ? "true" : "false");
    if (json_is_real(value)) return tn_buf_printf(out, "%s: %.9g\n", key, json_real_value(value));
    return tn_buf_printf(out, "%s: %lld\n", key, (long long)json_integer_value(value));
}

static tn_status show_tensor(json_t *entry, tn_buf *out) {
    char shape[96] = "";
    size_t at = 0;
    json_t *dims = json_object_get(entry, "shape"), *zeros = json_object_get(entry, "zeros");
    for (size_t i = 0; i < json_array_size(dims) && at < sizeof shape; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, "%s%lld", i ? " x " : "",
                               (long long)json_integer_value(json_array_get(dims, i)));
    TN_TRY(tn_buf_printf(out, "%-32s %-6s %-16s %12lld", json_string_value(json_object_get(entry, "name")),
                         json_string_value(json_object_get(entry, "type")), shape,
                         (long long)json_integer_value(json_object_get(entry, "bytes"))));
    if (zeros)
        TN_TRY(tn_buf_printf(out, "   %5.1f%% zeros, scale %.6g", 100 * json_real_value(zeros),
                             json_real_value(json_object_get(entry, "scale"))));
    return tn_buf_putc(out, '\n');
}

static tn_status show(json_t *description, tn_buf *out) {
    const char *key;
    json_t *value;
    size_t i;
    json_object_foreach(description, key, value) {
        if (!json_is_object(value) && !json_is_array(value)) TN_TRY(show_value(key, value, out));
    }
    json_object_foreach(json_object_get(description, "keys"), key, value) TN_TRY(show_value(key, value, out));
    json_array_foreach(json_object_get(description, "tensors"), i, value) TN_TRY(show_tensor(value, out));
    return TN_OK;
}

static tn_status print_text(json_t *description) {
    tn_buf text = {0};
    tn_status status = show(description, &text);
    if (!status) {
        tn_utf8_tame(text.data, "\t\n");
        status = tn_cmd_write(text.data, strlen(text.data));
    }
    tn_buf_release(&text);
    return status;
}

int tn_cmd_inspect(int argc, char **argv) {
    bool json = false, hash = false;
    const tn_option options[] = {
        {"hash", 0, TN_OPT_ON, &hash, NULL, "add the XXH3-128 of the whole file", 0, 0, NULL},
        TN_OPTION_JSON(&json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "inspect",
        .synopsis = "FILE",
        .about = "Show what a GGUF file, checkpoint, run folder, Hugging Face folder, adapter or token store holds: "
                 "settings, "
                 "sizes, share of zeros.",
        .options = options,
        .min_arguments = 1,
        .max_arguments = 1,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    json_t *description = json_object();
    tn_status done = tn_cmd_start_compute(0);
    if (!done) done = describe(argv[1], hash, json, description);
    if (!done) done = json ? tn_cmd_print_json(json_incref(description)) : print_text(description);
    json_decref(description);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}
