/* SPDX-License-Identifier: MIT
 * config.h - settings of a run from one schema: defaults < YAML file < "section.key=value" overrides.
 * Each room owns a section: a table of keys over a plain struct. Parser, range checks, "did you mean", the printed
 * effective config, --help and the copy in a checkpoint all come from that table; this file knows no key.
 * Types come from the schema, never from YAML guessing. Refused, with file:line:column: unknown keys (nearest name, or
 * ours when it is a peer's name, peer_names.def), duplicates, tags, anchors, aliases, a second document, depth above 8,
 * files above 1 MiB. */
#ifndef TN_CORE_CONFIG_H
#define TN_CORE_CONFIG_H
#include "core/arena.h"
#include "core/buf.h"

typedef enum tn_key_type {
    TN_KEY_INT,    /* int;      "4096", "4k" (k M G are powers of 1000) */
    TN_KEY_COUNT,  /* int64_t;  the same */
    TN_KEY_REAL,   /* double;   "3e-4" */
    TN_KEY_BOOL,   /* bool;     true on yes 1 enabled / false off no 0 disabled */
    TN_KEY_CHOICE, /* int;      position in `choices`, "adamw|sgd|lion|muon" */
    TN_KEY_TEXT,   /* const char *, never NULL, "" when unset; lives in the config's arena */
    TN_KEY_LIST    /* tn_text_list; one scalar, or a list of scalars; "" is refused as an item */
} tn_key_type;

typedef struct tn_text_list {
    const char *const *items;
    int count;
} tn_text_list;

/* The C type of the field behind a key, for tables that make the struct too. */
#define TN_FIELD_INT    int
#define TN_FIELD_COUNT  int64_t
#define TN_FIELD_REAL   double
#define TN_FIELD_BOOL   bool
#define TN_FIELD_CHOICE int
#define TN_FIELD_TEXT   const char *
#define TN_FIELD_LIST   tn_text_list

typedef struct tn_key {
    const char *name; /* without the section: "n_layer" */
    tn_key_type type;
    size_t offset;       /* of the field in the section's struct */
    const char *initial; /* the default as text; for LIST: "" = empty */
    double min, max;     /* INT, COUNT, REAL: inclusive */
    const char *choices; /* CHOICE only, else NULL */
    const char *help;    /* one line, with unit */
} tn_key;

typedef struct tn_section {
    const char *name; /* "model"; "" for top-level keys */
    const tn_key *keys;
    int n_keys;
    void *values; /* the section's struct, filled by the calls below */
    bool *given;  /* [n_keys] receives which keys a text or an override has named; or NULL */
} tn_section;

typedef struct tn_config {
    tn_arena *arena; /* keeps texts */
    tn_section *sections;
    int n_sections;
    bool ignore_other_sections; /* read a whole run's config while knowing only some of its sections */
} tn_config;

tn_status tn_config_defaults(tn_config *config);
tn_status tn_config_load_file(tn_config *config, const char *path);
/* `name` stands for the source in messages. */
tn_status tn_config_load_text(tn_config *config, const char *name, const char *text, size_t len);
tn_status tn_config_set(tn_config *config, const char *assignment); /* "train.max_steps=100" */
/* The value of one key as text, "d_model: 512"; replaces what is in `out`. */
tn_status tn_config_value_text(const tn_section *section, const tn_key *key, tn_buf *out);
/* The effective settings as YAML that loads back to the same values. */
tn_status tn_config_dump(const tn_config *config, tn_buf *out);
tn_status tn_config_help(const tn_config *config, tn_buf *out); /* a table of all keys */
/* Text of a CHOICE value, "adamw". */
const char *tn_config_choice_name(const char *choices, int value, char *out, size_t size);

/* Shared with the command line. Numbers refuse trailing text; the message names `what`.
 * Sizes take KiB MiB GiB (bare = bytes), times s m h (bare = seconds), counts k M G. */
tn_status tn_parse_int(const char *what, const char *text, int min, int max, int *out);
tn_status tn_parse_count(const char *what, const char *text, int64_t min, int64_t max, int64_t *out);
tn_status tn_parse_real(const char *what, const char *text, double min, double max, double *out);
tn_status tn_parse_bool(const char *what, const char *text, bool *out);
/* `choices` are words with bars between them, "adamw|sgd"; `out` gets the position. */
tn_status tn_parse_choice(const char *what, const char *text, const char *choices, int *out);
tn_status tn_parse_size(const char *what, const char *text, int64_t *bytes);
tn_status tn_parse_seconds(const char *what, const char *text, double *seconds);
/* Insertions, deletions, replacements and swaps of neighbours between two names (Damerau 1964, Levenshtein 1966);
 * INT_MAX when one is above 63 bytes. */
int tn_edit_distance(const char *a, const char *b);
/* The name in `names` nearest to `text` (edit distance at most a third of its length), or NULL. */
const char *tn_nearest_name(const char *text, const char *const *names, int count);

#endif
