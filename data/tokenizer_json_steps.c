/* SPDX-License-Identifier: MIT */
#include "data/tokenizer_json_steps.h"

#include "data/split.h"

#include <string.h>

enum { MAX_DEPTH = 4 };

static const char mark[] = "\xE2\x96\x81";

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool has_text(const json_t *object, const char *key, const char *text) {
    return strcmp(text_of(object, key), text) == 0;
}

static bool is_type(const json_t *object, const char *type) { return has_text(object, "type", type); }
static bool is_true(const json_t *object, const char *key) { return json_is_true(json_object_get(object, key)); }
static bool is_false(const json_t *object, const char *key) { return json_is_false(json_object_get(object, key)); }

static const char *pattern_of(const json_t *step, const char *kind) {
    return json_string_value(json_object_get(json_object_get(step, "pattern"), kind));
}

static tn_status fail_step(const char *where, const json_t *step, const char *known) {
    return TN_FAIL(UNSUPPORTED, "%s: step \"%.40s\" is not one Tern knows with these settings, expected %s", where,
                   text_of(step, "type"), known);
}

typedef tn_status read_step(const json_t *step, tn_json_steps *s);

/* A step, or a Sequence of them under `list`. */
static tn_status read_each(const json_t *step, const char *list, int depth, read_step *read, tn_json_steps *s) {
    if (!step || json_is_null(step)) return TN_OK;
    if (!is_type(step, "Sequence")) return read(step, s);
    size_t i;
    const json_t *one;
    if (depth == MAX_DEPTH) return TN_FAIL(UNSUPPORTED, "%s: sequences in %d sequences", list, depth);
    json_array_foreach(json_object_get(step, list), i, one) TN_TRY(read_each(one, list, depth + 1, read, s));
    return TN_OK;
}

/* ---- normalizer ---- */

static bool replaces(const json_t *step, const char *from, const char *to) {
    const char *pattern = pattern_of(step, "String");
    return is_type(step, "Replace") && pattern && strcmp(pattern, from) == 0 && has_text(step, "content", to);
}

static tn_status read_normalizer(const json_t *step, tn_json_steps *s) {
    if (is_type(step, "NFC") && !s->marks)
        s->nfc = true;
    else if (is_type(step, "Prepend") && has_text(step, "prepend", mark) && s->prefix == TN_PREFIX_NONE)
        s->prefix = TN_PREFIX_PARTS;
    else if (replaces(step, " ", mark))
        s->marks = true;
    else
        return fail_step("normalizer", step, "NFC, or Prepend and Replace of spaces by U+2581");
    return TN_OK;
}

/* ---- pre_tokenizer ---- */

static tn_status add_expression(const json_t *step, const char *expression, tn_json_steps *s) {
    if (s->n_expressions == TN_JSON_EXPRESSIONS)
        return TN_FAIL(UNSUPPORTED, "pre_tokenizer: has more than %d expressions at \"%.40s\"", TN_JSON_EXPRESSIONS,
                       text_of(step, "type"));
    s->expressions[s->n_expressions++] = expression;
    return TN_OK;
}

static const char *first_expression(tn_split split) {
    const char *const *list;
    tn_split_expressions(split, &list);
    return list[0];
}

static tn_status read_byte_level(const json_t *step, tn_json_steps *s) {
    if (is_true(step, "add_prefix_space"))
        return TN_FAIL(UNSUPPORTED, "pre_tokenizer: add_prefix_space is not supported");
    s->bytes = true;
    if (is_false(step, "use_regex")) return TN_OK;
    return add_expression(step, first_expression(TN_SPLIT_GPT2), s);
}

static tn_status read_metaspace(const json_t *step, tn_json_steps *s) {
    const char *scheme = text_of(step, "prepend_scheme");
    bool known = has_text(step, "replacement", mark) && !s->marks && s->prefix == TN_PREFIX_NONE;
    if (!*scheme) scheme = is_false(step, "add_prefix_space") ? "never" : "always";
    if (strcmp(scheme, "always") == 0)
        s->prefix = TN_PREFIX_BARE_PARTS;
    else if (strcmp(scheme, "first") == 0)
        s->prefix = TN_PREFIX_BARE_START;
    else
        known &= strcmp(scheme, "never") == 0;
    s->marks = true;
    s->cuts_at_marks = !is_false(step, "split");
    return known ? TN_OK : fail_step("pre_tokenizer", step, "U+2581 for spaces, once");
}

/* The expression a step cuts text by; NULL for a step that does something else. */
static const char *expression_of(const json_t *step) {
    if (is_type(step, "Digits")) return is_true(step, "individual_digits") ? "\\p{N}" : "\\p{N}+";
    if (is_type(step, "Punctuation"))
        return has_text(step, "behavior", "Contiguous") ? first_expression(TN_SPLIT_FALCON) : NULL;
    if (!is_type(step, "Split")) return NULL;
    bool keeps =
        is_true(step, "invert") ? has_text(step, "behavior", "Removed") : has_text(step, "behavior", "Isolated");
    return keeps ? pattern_of(step, "Regex") : NULL;
}

/* A cut at spaces finds none when all have become marks. */
static bool does_nothing(const json_t *step, const tn_json_steps *s) {
    const char *pattern = pattern_of(step, "String");
    return s->marks && is_type(step, "Split") && pattern && strcmp(pattern, " ") == 0;
}

static tn_status read_pre_tokenizer(const json_t *step, tn_json_steps *s) {
    if (is_type(step, "ByteLevel")) return read_byte_level(step, s);
    if (is_type(step, "Metaspace")) return read_metaspace(step, s);
    if (does_nothing(step, s)) return TN_OK;
    const char *expression = expression_of(step);
    if (expression) return add_expression(step, expression, s);
    return fail_step("pre_tokenizer", step,
                     "Split by an expression, Digits, contiguous Punctuation, ByteLevel or Metaspace");
}

/* ---- decoder ---- */

static tn_status read_decoder(const json_t *step, tn_json_steps *s) {
    bool strips = is_type(step, "Strip") && has_text(step, "content", " ") && s->prefix != TN_PREFIX_NONE;
    bool known = s->marks ? replaces(step, mark, " ") || is_type(step, "ByteFallback") || is_type(step, "Fuse") ||
                                is_type(step, "Metaspace") || strips
                          : is_type(step, "ByteLevel");
    if (known) return TN_OK;
    return fail_step("decoder", step,
                     s->marks ? "Replace of U+2581, ByteFallback, Fuse, Strip or Metaspace" : "ByteLevel");
}

/* ---- all three ---- */

tn_status tn_json_read_steps(const json_t *root, tn_json_steps *s) {
    *s = (tn_json_steps){.prefix = TN_PREFIX_NONE};
    TN_TRY(read_each(json_object_get(root, "normalizer"), "normalizers", 0, read_normalizer, s));
    TN_TRY(read_each(json_object_get(root, "pre_tokenizer"), "pretokenizers", 0, read_pre_tokenizer, s));
    TN_TRY(read_each(json_object_get(root, "decoder"), "decoders", 0, read_decoder, s));
    if (s->marks && !s->bytes && !s->n_expressions) return TN_OK;
    if (s->bytes && !s->marks && s->prefix == TN_PREFIX_NONE) return TN_OK;
    return TN_FAIL(UNSUPPORTED,
                   "pre_tokenizer: text is neither split and spelled in bytes (ByteLevel) nor given U+2581 "
                   "for its spaces");
}
