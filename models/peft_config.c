/* SPDX-License-Identifier: MIT */
#include "models/peft_config.h"

#include <math.h>
#include <string.h>

#include "formats/json_text.h"
#include "models/hf_json.h"

static const struct {
    const char *key, *what;
} refused[] = {
#define PEFT_REFUSED(key, what) {key, what},
#include "models/peft_refused.def"
#undef PEFT_REFUSED
};

/* Ways to begin that take from the weights of the base what they put into A and B: the pairs belong to what is left. */
static const char *const inits_that_change_the_base[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};

/* ---- reading ---- */

static bool says_nothing(const json_t *value) {
    if (json_is_array(value)) return json_array_size(value) == 0;
    if (json_is_object(value)) return json_object_size(value) == 0;
    if (json_is_string(value)) return strcmp(json_string_value(value), "none") == 0 || !json_string_length(value);
    return !value || json_is_null(value) || json_is_false(value);
}

static tn_status check_refused(const tn_peft_config *c) {
    for (size_t i = 0; i < TN_COUNT(refused); i++) {
        char found[64];
        const json_t *value = json_object_get(c->root, refused[i].key);
        if (says_nothing(value)) continue;
        return TN_FAIL(UNSUPPORTED, "%s: %s is %s: %s; Tern reads pairs of low rank alone", c->path, refused[i].key,
                       tn_json_text_describe(value, found), refused[i].what);
    }
    return TN_OK;
}

static tn_status check_init(const tn_peft_config *c) {
    const json_t *value = json_object_get(c->root, "init_lora_weights");
    const char *word = json_string_value(value);
    for (size_t i = 0; word && i < TN_COUNT(inits_that_change_the_base); i++)
        if (strncmp(word, inits_that_change_the_base[i], strlen(inits_that_change_the_base[i])) == 0)
            return TN_FAIL(
                UNSUPPORTED,
                "%s: init_lora_weights is \"%.40s\", which changed the weights of the base; save the adapter "
                "converted to the unchanged base",
                c->path, word);
    return TN_OK;
}

static tn_status check_type(const tn_peft_config *c) {
    const char *type = NULL;
    TN_TRY(tn_hf_json_get_text(c->path, c->root, "peft_type", &type));
    if (!type) return TN_FAIL(CORRUPT, "%s: peft_type is missing, expected \"LORA\"", c->path);
    if (strcmp(type, "LORA") == 0) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: peft_type is \"%.40s\", Tern reads \"LORA\"", c->path, type);
}

static bool is_list_of_texts(const json_t *value) {
    size_t i;
    const json_t *entry;
    json_array_foreach(value, i, entry) if (!json_is_string(entry)) return false;
    return json_is_array(value);
}

static tn_status check_targets(const tn_peft_config *c) {
    const json_t *targets = tn_hf_json_get(c->root, "target_modules");
    char found[64];
    if (!targets || json_is_string(targets) || is_list_of_texts(targets)) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: target_modules is %s, expected a text or a list of texts", c->path,
                   tn_json_text_describe(targets, found));
}

static tn_status check_rank(const char *path, const char *what, double value, int *rank) {
    if (!(value >= 1 && value <= TN_ADAPTER_RANK_MAX && value == floor(value)))
        return TN_FAIL(RANGE, "%s: %s is %g, expected a whole number from 1 to %d", path, what, value,
                       (int)TN_ADAPTER_RANK_MAX);
    *rank = (int)value;
    return TN_OK;
}

static tn_status check_alpha(const char *path, const char *what, double value) {
    if (value > 0 && isfinite(value)) return TN_OK;
    return TN_FAIL(RANGE, "%s: %s is %g, expected a positive number", path, what, value);
}

static tn_status read_all(tn_peft_config *c) {
    double rank = 8; /* PEFT's own defaults */
    c->alpha = 8;
    TN_TRY(check_type(c));
    TN_TRY(check_refused(c));
    TN_TRY(check_init(c));
    TN_TRY(check_targets(c));
    TN_TRY(tn_hf_json_get_number(c->path, c->root, "r", &rank));
    TN_TRY(tn_hf_json_get_number(c->path, c->root, "lora_alpha", &c->alpha));
    TN_TRY(tn_hf_json_get_number(c->path, c->root, "lora_dropout", &c->dropout));
    TN_TRY(tn_hf_json_get_bool(c->path, c->root, "use_rslora", &c->rslora));
    TN_TRY(tn_hf_json_get_text(c->path, c->root, "base_model_name_or_path", &c->base));
    TN_TRY(check_rank(c->path, "r", rank, &c->rank));
    TN_TRY(check_alpha(c->path, "lora_alpha", c->alpha));
    if (c->dropout >= 0 && c->dropout < 1) return TN_OK;
    return TN_FAIL(RANGE, "%s: lora_dropout is %g, expected a number from 0 to below 1", c->path, c->dropout);
}

tn_status tn_peft_config_read(tn_peft_config *out, const char *path, const char *text, size_t len) {
    *out = (tn_peft_config){.path = path};
    TN_TRY(tn_hf_json_parse(&out->root, path, text, len));
    tn_status status = read_all(out);
    if (status) tn_peft_config_release(out);
    return status;
}

void tn_peft_config_release(tn_peft_config *config) {
    json_decref(config->root);
    *config = (tn_peft_config){0};
}

/* ---- patterns and targets ---- */

/* "q_proj", "self_attn.q_proj" or the whole. */
static bool is_end_of(const char *module, const char *name) {
    const size_t len = strlen(module), tail = strlen(name);
    if (!tail || tail > len || strcmp(module + len - tail, name) != 0) return false;
    return tail == len || module[len - tail - 1] == '.';
}

static const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

/* The number that a pattern has for a module, which goes to *out. */
static tn_status look_up(const tn_peft_config *c, const char *key, const char *module, double *out) {
    const json_t *patterns = tn_hf_json_get(c->root, key);
    const char *name;
    json_t *value;
    char found[64];
    if (!patterns) return TN_OK;
    if (!json_is_object(patterns))
        return TN_FAIL(CORRUPT, "%s: %s is %s, expected an object of names and numbers", c->path, key,
                       tn_json_text_describe(patterns, found));
    json_object_foreach((json_t *)(uintptr_t)patterns, name, value) {
        const char *plain = name + (name[0] == '^');
        if (plain[strspn(plain, name_characters)])
            return TN_FAIL(UNSUPPORTED, "%s: %s: \"%.80s\" is a regular expression, Tern reads names of modules alone",
                           c->path, key, name);
        if (!json_is_number(value))
            return TN_FAIL(CORRUPT, "%s: %s.%.80s is %s, expected a number", c->path, key, name,
                           tn_json_text_describe(value, found));
        if (name[0] == '^' ? strcmp(module, plain) != 0 : !is_end_of(module, plain)) continue;
        *out = json_number_value(value);
        return TN_OK;
    }
    return TN_OK;
}

tn_status tn_peft_config_terms(const tn_peft_config *c, const char *module, int *rank, double *alpha) {
    double r = c->rank;
    *alpha = c->alpha;
    TN_TRY(look_up(c, "rank_pattern", module, &r));
    TN_TRY(look_up(c, "alpha_pattern", module, alpha));
    TN_TRY(check_rank(c->path, "rank_pattern", r, rank));
    return check_alpha(c->path, "alpha_pattern", *alpha);
}

static bool lists(const json_t *list, const char *module) {
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i,
                       entry) if (json_is_string(entry) && is_end_of(module, json_string_value(entry))) return true;
    return false;
}

tn_peft_named tn_peft_config_names(const tn_peft_config *c, const char *module) {
    const json_t *targets = tn_hf_json_get(c->root, "target_modules");
    const char *word = json_string_value(targets);
    const bool all_linear = word && strcmp(word, "all-linear") == 0;
    if (!json_is_array(targets) && !all_linear) return TN_PEFT_MAYBE;
    if (all_linear ? !strstr(module, ".layers.") : !lists(targets, module)) return TN_PEFT_NO;
    const bool some = tn_hf_json_get(c->root, "exclude_modules") || tn_hf_json_get(c->root, "layers_to_transform");
    return some ? TN_PEFT_MAYBE : TN_PEFT_YES;
}
