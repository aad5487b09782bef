/* SPDX-License-Identifier: MIT
 * logits [--lora ADAPTER] MODEL ID... - one line of JSON: [[logit of each token at the first place, ...], ...], for
 * other libraries' answers to be held against. Whole passes, as the trainer computes them. */
#include "autograd/tape.h"
#include "core/arena.h"
#include "kernels/kernels.h"
#include "models/adapter_file.h"
#include "models/model_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print(const tn_tensor *logits, int places, int vocab) {
    printf("[");
    for (int i = 0; i < places * vocab; i++)
        printf("%s%.9g", i % vocab ? "," : i ? "],[" : "[", (double)logits->real[i]);
    printf("]]\n");
}

static tn_status attach(const char *path, tn_arena *arena, const tn_loaded *loaded) {
    tn_adapter_base base = {.config = &loaded->config, .model = loaded->model};
    tn_adapter *adapter;
    if (!path) return TN_OK;
    TN_TRY(tn_adapter_file_load(&adapter, arena, path, &base, NULL));
    return tn_model_attach(loaded->model, adapter, 1);
}

static tn_status answer(const char *path, const char *adapter, int n, char **texts, tn_arena *arena,
                        tn_loaded *loaded) {
    int32_t *ids;
    TN_TRY(tn_kernels_init(NULL));
    TN_TRY(tn_model_file_load(path, arena, TN_MODEL_RUN, loaded));
    TN_TRY(attach(adapter, arena, loaded));
    TN_TAKE(ids, arena, n, "ids");
    for (int i = 0; i < n; i++) ids[i] = (int32_t)strtol(texts[i], NULL, 10);
    tn_tape *tape = tn_tape_create();
    if (!tape) return TN_E_NOMEM;
    tn_tape_begin(tape, TN_TAPE_FORWARD, NULL);
    tn_tensor *in = tn_tape_ids(tape, 2, (const int[]){1, n}, ids);
    tn_tensor *logits = tn_model_logits(loaded->model, tape, tn_model_hidden(loaded->model, tape, in, NULL));
    tn_status status = tn_tape_status(tape);
    if (!status) print(logits, n, tn_model_get_config(loaded->model)->vocab_size);
    tn_tape_free(tape);
    return status;
}

int main(int argc, char **argv) {
    tn_loaded loaded = {0};
    tn_arena *arena = tn_arena_create("model");
    const char *adapter = argc > 3 && strcmp(argv[1], "--lora") == 0 ? argv[2] : NULL;
    const int first = adapter ? 3 : 1;
    if (argc < first + 2 || !arena) return 2;
    tn_status status = answer(argv[first], adapter, argc - first - 1, argv + first + 1, arena, &loaded);
    if (status) fprintf(stderr, "logits: %s\n", tn_error_message());
    tn_loaded_release(&loaded);
    tn_arena_free(arena);
    return status != TN_OK;
}
