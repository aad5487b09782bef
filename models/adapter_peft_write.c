/* SPDX-License-Identifier: MIT
 * adapter_peft_write.c - adapters into PEFT folders. */
#include "models/adapter_writing.h"

#include "core/fs.h"
#include "formats/safetensors.h"
#include "models/adapter_reading.h"
#include "models/peft_config.h"

enum { PATH_SIZE = 4096 + 64 };

const char *const tn_peft_files[TN_PEFT_FILES] = {"adapter_config.json", "adapter_model.safetensors"};

static tn_status write_config(const tn_adapter *adapter, const char *base, const char *path) {
    tn_buf text = {0};
    tn_status status = tn_peft_config_write(adapter, base, &text);
    if (!status) status = tn_file_write(path, tn_buf_text(&text), text.len);
    tn_buf_release(&text);
    return status;
}

/* ---- tensors ---- */

static tn_status put_notes(tn_safetensors_writer *w, const tn_adapter *adapter, const tn_adapter_origin *origin) {
    TN_TRY(tn_safetensors_note(w, "format", "pt"));
    if (*origin->base_id) TN_TRY(tn_safetensors_note(w, TN_ADAPTER_KEY_BASE, origin->base_id));
    if (adapter->options.input == TN_ADAPTER_RAW) return TN_OK;
    return tn_safetensors_note(w, TN_ADAPTER_KEY_INPUT, "quantized");
}

static tn_status announce(tn_safetensors_writer *w, const tn_adapter_pair *pair, int half, int *number) {
    char name[TN_PEFT_NAME_SIZE];
    const tn_param *p = tn_adapter_half_of(pair, half);
    const bool turned = half == TN_ADAPTER_A;
    const int64_t shape[2] = {turned ? p->cols : p->rows, turned ? p->rows : p->cols};
    tn_peft_name(name, TN_PEFT_PREFIX, pair->target, (tn_adapter_half)half);
    return tn_safetensors_announce(w, name, TN_SAFETENSOR_F32, 2, shape, number);
}

static tn_status put(tn_safetensors_writer *w, const tn_adapter_pair *pair, int half, int number, float *room) {
    const tn_param *p = tn_adapter_half_of(pair, half);
    const size_t n = (size_t)tn_param_count(p);
    tn_adapter_put_floats(p, half == TN_ADAPTER_A, 1, room);
    return tn_safetensors_put_piece(w, number, room, n * sizeof *room);
}

static tn_status put_tensors(tn_safetensors_writer *w, const tn_adapter *adapter, const tn_adapter_origin *origin,
                             tn_arena *scratch) {
    int *numbers;
    float *room;
    TN_TRY(put_notes(w, adapter, origin));
    TN_TAKE(numbers, scratch, 2 * adapter->n_pairs, "export");
    TN_TAKE(room, scratch, tn_adapter_largest_half(adapter), "export");
    for (int i = 0; i < 2 * adapter->n_pairs; i++) TN_TRY(announce(w, &adapter->pairs[i / 2], i % 2, &numbers[i]));
    for (int i = 0; i < 2 * adapter->n_pairs; i++) TN_TRY(put(w, &adapter->pairs[i / 2], i % 2, numbers[i], room));
    return TN_OK;
}

static tn_status write_tensors(const tn_adapter *adapter, const tn_adapter_origin *origin, const char *path,
                               int64_t *bytes) {
    tn_safetensors_writer *w;
    tn_arena *scratch = tn_arena_create("export");
    if (!scratch) return TN_E_NOMEM;
    tn_status status = tn_safetensors_create(&w, path);
    if (!status) {
        status = put_tensors(w, adapter, origin, scratch);
        if (status)
            tn_safetensors_discard(w);
        else
            status = tn_safetensors_commit(w, bytes);
    }
    tn_arena_free(scratch);
    return status;
}

tn_status tn_adapter_write_peft(const tn_adapter *adapter, const tn_adapter_origin *origin, const char *folder,
                                int64_t *bytes) {
    char path[PATH_SIZE];
    TN_TRY(tn_path_join(path, sizeof path, folder, tn_peft_files[0]));
    TN_TRY(write_config(adapter, origin->base, path));
    TN_TRY(tn_path_join(path, sizeof path, folder, tn_peft_files[1]));
    return write_tensors(adapter, origin, path, bytes);
}
