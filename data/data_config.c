/* SPDX-License-Identifier: MIT */
#include "data/data_config.h"

#define ROW_KIND(id, name, keys, more_keys) "|" name
static const char tn_data_kinds[] = "auto|mixed"
#include "data/row_kinds.def"
    ;
#undef ROW_KIND

static const tn_key keys[] = {
#define KEY(type, field, initial, min, max, choices, help)                                                             \
    {#field, TN_KEY_##type, offsetof(tn_data_config, field), initial, min, max, choices, help},
#include "data/data_keys.def"
#undef KEY
};

tn_section tn_data_section(tn_data_config *values) {
    return (tn_section){.name = "data", .keys = keys, .n_keys = (int)TN_COUNT(keys), .values = values};
}

tn_example_options tn_data_examples(const tn_data_config *c, int context) {
    int longest = c->max_length ? c->max_length : c->packing == TN_PACKING_WRAPPED ? 0 : context;
    return (tn_example_options){.rows = {.kind = c->kind,
                                         .skips_bad = c->on_bad_row == TN_BAD_ROW_SKIP,
                                         .fields = c->fields.items,
                                         .n_fields = c->fields.count},
                                .chat_template = c->chat_template,
                                .loss_on = c->loss_on,
                                .train_on_eos = c->train_on_eos,
                                .eot_tokens = c->eot_tokens.items,
                                .n_eot_tokens = c->eot_tokens.count,
                                .max_length = longest,
                                .overflow = c->packing == TN_PACKING_BFD_SPLIT ? TN_OVERFLOW_SPLIT : c->overflow,
                                .max_samples = c->max_samples,
                                .dedup = c->dedup,
                                .running_text = c->packing == TN_PACKING_AUTO};
}
