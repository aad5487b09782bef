/* SPDX-License-Identifier: MIT
 * fuzz_hf_config.c - config.json of Hugging Face: what is accepted and has a class is written and read back the same.
 */
#include "models/hf_config.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tn_hf_config c, again;
    tn_buf text = {0};
    if (tn_hf_config_read("fuzz", (const char *)data, size, &c)) return 0;
    const tn_hf_config_options options = {
        .weights = c.weights == TN_HF_DIVIDED ? TN_HF_MULTIPLIED : c.weights, .dtype = "float32", .bos = c.bos};
    TN_ASSERT(c.model.n_layer > 0 && c.model.head_dim > 0 && c.eos.count <= TN_HF_IDS);
    if (!tn_hf_config_write(&c.model, &options, &text)) {
        TN_ASSERT(!tn_hf_config_read("again", tn_buf_text(&text), text.len, &again));
        TN_ASSERT(memcmp(&again.model, &c.model, sizeof c.model) == 0 && again.bos == c.bos);
    }
    tn_buf_release(&text);
    return 0;
}
