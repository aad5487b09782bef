/* SPDX-License-Identifier: MIT
 * config_yaml.c - reads settings from YAML by libyaml's events. libyaml limits nothing, so this file does: what a
 * configuration does not need (tags, anchors, aliases, second documents, deep nesting, duplicates) is refused. */
#include "core/config_priv.h"
#include "core/fs.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 8, MAX_TEXT = 1 << 20 };

typedef struct reader {
    const tn_config *config;
    const char *name;     /* of the source, for messages */
    const char *override; /* when reading the value of an override: the text instead of line and column */
    yaml_parser_t parser;
    yaml_event_t event; /* the last one; owns its texts until the next */
    char where[TN_CONFIG_WHERE];
    int depth;
    bool *seen; /* sections first, then the keys of section 0, 1, ... */
} reader;

static const char *locate(reader *r, yaml_mark_t mark) {
    if (r->override)
        snprintf(r->where, sizeof r->where, "%s", r->override);
    else
        snprintf(r->where, sizeof r->where, "%.280s:%zu:%zu", r->name, mark.line + 1, mark.column + 1);
    return r->where;
}

static tn_status fail_syntax(reader *r) {
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "cannot be parsed";
    switch (p->error) {
    case YAML_MEMORY_ERROR: return TN_FAIL(NOMEM, "%s: out of memory while parsing", r->name);
    case YAML_READER_ERROR: return TN_FAIL(CONFIG, "%s: byte %zu: %s", r->name, p->problem_offset, problem);
    default: return TN_FAIL(CONFIG, "%s: %s", locate(r, p->problem_mark), problem);
    }
}

/* What is refused wherever it stands. */
static tn_status check_decorations(reader *r) {
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT: return TN_FAIL(CONFIG, "%s: aliases (*name) are not accepted", r->where);
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
        break;
    default: break;
    }
    if (anchor) return TN_FAIL(CONFIG, "%s: anchors (&name) are not accepted", r->where);
    if (tag) return TN_FAIL(CONFIG, "%s: tags (!name) are not accepted", r->where);
    return TN_OK;
}

static tn_status next(reader *r) {
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event)) return fail_syntax(r);
    locate(r, r->event.start_mark);
    yaml_event_type_t type = r->event.type;
    if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT) r->depth++;
    if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT) r->depth--;
    if (r->depth > MAX_DEPTH) return TN_FAIL(CONFIG, "%s: nested more than %d deep", r->where, MAX_DEPTH);
    return check_decorations(r);
}

static bool is(const reader *r, yaml_event_type_t type) { return r->event.type == type; }

/* "key:" with nothing behind it. */
static bool is_nothing(const reader *r) {
    return is(r, YAML_SCALAR_EVENT) && r->event.data.scalar.length == 0 &&
           r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static tn_status scalar_text(reader *r, const char **text) {
    *text = (const char *)r->event.data.scalar.value;
    if (strlen(*text) != r->event.data.scalar.length)
        return TN_FAIL(CONFIG, "%s: text with a NUL character is not accepted", r->where);
    return TN_OK;
}

/* The event at hand began a value nobody wants; read past its end. */
static tn_status skip_value(reader *r) {
    int outside = r->depth - (is(r, YAML_MAPPING_START_EVENT) || is(r, YAML_SEQUENCE_START_EVENT));
    while (r->depth > outside) TN_TRY(next(r));
    return TN_OK;
}

static tn_status collect_items(reader *r, const char *name, tn_names *items) {
    for (;;) {
        TN_TRY(next(r));
        if (is(r, YAML_SEQUENCE_END_EVENT)) return TN_OK;
        if (!is(r, YAML_SCALAR_EVENT))
            return TN_FAIL(CONFIG, "%s: %s: expected a text in the list, found a list or a mapping", r->where, name);
        const char *text;
        TN_TRY(scalar_text(r, &text));
        TN_TRY(tn_names_add(items, text));
    }
}

static tn_status read_list(reader *r, const tn_section *section, const tn_key *key) {
    char name[TN_CONFIG_NAME], where[TN_CONFIG_WHERE];
    tn_config_full_name(name, section->name, key->name);
    snprintf(where, sizeof where, "%s", r->where);
    tn_names items = {0};
    tn_status status = collect_items(r, name, &items);
    if (!status)
        status =
            tn_config_store_list(r->config, section, key, where, (const char *const *)items.list, (int)items.count);
    tn_names_release(&items);
    return status;
}

static tn_status read_value(reader *r, const tn_section *section, const tn_key *key) {
    char name[TN_CONFIG_NAME];
    tn_config_full_name(name, section->name, key->name);
    TN_TRY(next(r));
    bool list = key->type == TN_KEY_LIST;
    if (list && is(r, YAML_SEQUENCE_START_EVENT)) return read_list(r, section, key);
    if (list && is_nothing(r)) return tn_config_store_list(r->config, section, key, r->where, NULL, 0);
    if (!is(r, YAML_SCALAR_EVENT))
        return TN_FAIL(CONFIG, "%s: %s: expected %s, found %s", r->where, name,
                       list ? "a text or a list of texts" : "one value",
                       is(r, YAML_MAPPING_START_EVENT) ? "a mapping" : "a list");
    const char *text;
    TN_TRY(scalar_text(r, &text));
    return tn_config_store(r->config, section, key, r->where, text);
}

static tn_status mark_seen(reader *r, int slot, const char *section, const char *key) {
    char name[TN_CONFIG_NAME];
    tn_config_full_name(name, section, key);
    if (r->seen[slot]) return TN_FAIL(CONFIG, "%s: key \"%s\" is given twice", r->where, name);
    r->seen[slot] = true;
    return TN_OK;
}

/* Slot of a section's first key in `seen`. */
static int key_slot(const tn_config *config, int section) {
    int slot = config->n_sections;
    for (int s = 0; s < section; s++) slot += config->sections[s].n_keys;
    return slot;
}

/* The key at hand in section number s; its value follows. */
static tn_status read_key(reader *r, int s, const char *name) {
    const tn_section *section = &r->config->sections[s];
    int k = tn_config_find_key(section, name);
    if (k < 0) return tn_config_fail_unknown(r->config, r->where, section->name, name);
    TN_TRY(mark_seen(r, key_slot(r->config, s) + k, section->name, name));
    tn_config_mark_given(section, &section->keys[k]);
    return read_value(r, section, &section->keys[k]);
}

static tn_status next_key(reader *r, char name[TN_CONFIG_NAME], bool *end) {
    TN_TRY(next(r));
    *end = is(r, YAML_MAPPING_END_EVENT);
    if (*end) return TN_OK;
    if (!is(r, YAML_SCALAR_EVENT)) return TN_FAIL(CONFIG, "%s: a key must be a name", r->where);
    const char *text;
    TN_TRY(scalar_text(r, &text));
    snprintf(name, TN_CONFIG_NAME, "%s", text);
    return TN_OK;
}

static tn_status read_section(reader *r, int s) {
    const char *section = r->config->sections[s].name;
    TN_TRY(mark_seen(r, s, "", section));
    TN_TRY(next(r));
    if (is_nothing(r)) return TN_OK;
    if (!is(r, YAML_MAPPING_START_EVENT))
        return TN_FAIL(CONFIG, "%s: %s: expected \"key: value\" lines below this section", r->where, section);
    char name[TN_CONFIG_NAME];
    for (bool end = false;;) {
        TN_TRY(next_key(r, name, &end));
        if (end) return TN_OK;
        TN_TRY(read_key(r, s, name));
    }
}

/* A name at the top: a section, or a key of section "". */
static tn_status read_top_name(reader *r, const char *name) {
    const tn_config *config = r->config;
    int s = *name ? tn_config_find_section(config, name) : -1;
    if (s >= 0) return read_section(r, s);
    int top = tn_config_find_section(config, "");
    if (top >= 0 && tn_config_find_key(&config->sections[top], name) >= 0) return read_key(r, top, name);
    if (!config->ignore_other_sections) return tn_config_fail_unknown(config, r->where, "", name);
    TN_TRY(next(r));
    return skip_value(r);
}

static tn_status read_document(reader *r) {
    if (is_nothing(r)) return TN_OK;
    if (!is(r, YAML_MAPPING_START_EVENT))
        return TN_FAIL(CONFIG, "%s: expected sections of \"key: value\" lines", r->where);
    char name[TN_CONFIG_NAME];
    for (bool end = false;;) {
        TN_TRY(next_key(r, name, &end));
        if (end) return TN_OK;
        TN_TRY(read_top_name(r, name));
    }
}

static tn_status read_stream(reader *r) {
    TN_TRY(next(r)); /* stream start */
    TN_TRY(next(r));
    if (is(r, YAML_STREAM_END_EVENT)) return TN_OK; /* nothing but comments */
    TN_TRY(next(r));
    TN_TRY(read_document(r));
    TN_TRY(next(r)); /* document end */
    TN_TRY(next(r));
    if (!is(r, YAML_STREAM_END_EVENT)) return TN_FAIL(CONFIG, "%s: a second document is not accepted", r->where);
    return TN_OK;
}

static tn_status reader_init(reader *r, const char *text, size_t len) {
    if (!yaml_parser_initialize(&r->parser)) return TN_FAIL(NOMEM, "%s: out of memory while parsing", r->name);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
    return TN_OK;
}

static void reader_release(reader *r) {
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
}

tn_status tn_config_load_text(tn_config *config, const char *name, const char *text, size_t len) {
    if (len > MAX_TEXT) return TN_FAIL(CONFIG, "%s: is larger than %d bytes", name, MAX_TEXT);
    reader r = {.config = config, .name = name};
    TN_TRY(reader_init(&r, text, len));
    r.seen = tn_heap_zalloc((size_t)key_slot(config, config->n_sections), sizeof *r.seen);
    tn_status status = r.seen ? read_stream(&r) : TN_E_NOMEM;
    tn_heap_free(r.seen);
    reader_release(&r);
    return status;
}

static tn_status read_flow_list(reader *r, const tn_section *section, const tn_key *key) {
    TN_TRY(next(r)); /* stream start */
    TN_TRY(next(r)); /* document start */
    TN_TRY(read_value(r, section, key));
    TN_TRY(next(r)); /* document end */
    TN_TRY(next(r));
    if (!is(r, YAML_STREAM_END_EVENT)) return TN_FAIL(CONFIG, "%s: expected nothing after the list", r->where);
    return TN_OK;
}

tn_status tn_config_store_flow_list(const tn_config *config, const tn_section *section, const tn_key *key,
                                    const char *where, const char *text) {
    reader r = {.config = config, .name = where, .override = where};
    TN_TRY(reader_init(&r, text, strlen(text)));
    tn_status status = read_flow_list(&r, section, key);
    reader_release(&r);
    return status;
}
