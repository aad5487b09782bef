/* SPDX-License-Identifier: MIT
 * json_schema_priv.h - what the files of JSON schemas share.
 *   json_schema.c        reads, names rules, follows $ref      json_schema_join.c   allOf, anyOf, oneOf, enum
 *   json_schema_types.c  arrays, strings, numbers              json_schema_object.c objects
 *   json_number_range.c  numbers between bounds, digit by digit
 *   json_pattern.c       regular expressions                   json_value.c         types and values of JSON */
#ifndef TN_INFER_JSON_SCHEMA_PRIV_H
#define TN_INFER_JSON_SCHEMA_PRIV_H
#include <jansson.h>

#include "core/arena.h"
#include "core/buf.h"
#include "data/text_map.h"
#include "infer/json_schema.h"

enum {
    TN_SCHEMA_TEXT = 1 << 20,  /* bytes of a schema */
    TN_SCHEMA_NESTING = 300,   /* schemas in schemas */
    TN_SCHEMA_VISITS = 20000,  /* schemas, those made by joining counted each time */
    TN_SCHEMA_LIST = 5000,     /* properties of one object, parts of one anyOf, values of one enum */
    TN_SCHEMA_PREFIX = 100,    /* prefixItems */
    TN_SCHEMA_NAME = 500,      /* bytes of a property's name where others are allowed */
    TN_SCHEMA_COUNT = 1 << 20, /* the largest minLength, maxItems and so on */
    TN_SCHEMA_NO_MAX = -1
};

typedef enum tn_json_group {
    TN_JSON_UNKNOWN,
    TN_JSON_NOTE,
    TN_JSON_LOGIC,
    TN_JSON_ANY,
    TN_JSON_OBJECT,
    TN_JSON_ARRAY,
    TN_JSON_STRING,
    TN_JSON_NUMBER,
    TN_JSON_REFUSED
} tn_json_group;

/* Types as bits; an integer is a number too. */
enum tn_json_types {
    TN_JSON_IS_OBJECT = 1 << 0,
    TN_JSON_IS_ARRAY = 1 << 1,
    TN_JSON_IS_STRING = 1 << 2,
    TN_JSON_IS_INTEGER = 1 << 3,
    TN_JSON_IS_FRACTION = 1 << 4, /* a number that is no integer */
    TN_JSON_IS_NUMBER = TN_JSON_IS_INTEGER | TN_JSON_IS_FRACTION,
    TN_JSON_IS_BOOLEAN = 1 << 5,
    TN_JSON_IS_NULL = 1 << 6,
    TN_JSON_IS_ANY = (1 << 7) - 1
};

typedef struct tn_schema_writer {
    const json_t *root;
    json_t *made; /* array: owns the schemas that joining makes */
    tn_arena *arena;
    tn_buf *out;
    tn_buf path;       /* "#/properties/age", of the schema that is being written */
    tn_text_map names; /* of rules */
    tn_text_map refs;  /* "#/$defs/node" -> in ref_names */
    const char **ref_names;
    const char *waiting; /* name of a rule that is to come, or NULL */
    size_t ref_names_cap;
    uint64_t used; /* bits of the rows of json_rules.def */
    int depth, visits, last_number;
} tn_schema_writer;

/* "JSON schema: #/properties/age: ..." */
tn_status tn_schema_fail_at(const tn_schema_writer *w, tn_status code, const char *file, int line, const char *fmt, ...)
    TN_PRINTF(5, 6);
#define TN_SCHEMA_FAIL(w, code, ...) (tn_schema_fail_at((w), TN_E_##code, __FILE__, __LINE__, __VA_ARGS__), TN_E_##code)

/* Go to a part of the schema, in messages: "/keyword/name" (name may be NULL); `*back` is for leaving. */
tn_status tn_schema_enter(tn_schema_writer *w, const char *keyword, const char *name, size_t *back);
void tn_schema_leave(tn_schema_writer *w, size_t back);

tn_json_group tn_json_keyword_group(const char *name);
/* Refuses what is no schema, and keywords that are not understood. */
tn_status tn_schema_check(const tn_schema_writer *w, const json_t *schema);
/* Whether a schema says anything about values, other than by the one keyword (NULL = by any). */
bool tn_schema_says_more(const json_t *schema, const char *but);

/* A rule of json_rules.def, by its name, which is returned; of a format, NULL when it is not known. */
const char *tn_schema_use(tn_schema_writer *w, const char *rule);
const char *tn_schema_use_format(tn_schema_writer *w, const char *format);
const char *tn_schema_formats(char *list, size_t size); /* "date, time, ..." */
/* Write `name ::= body`; the name begins like `hint` and is free. `body` is released. */
tn_status tn_schema_put_rule(tn_schema_writer *w, const char *hint, tn_buf *body, const char **name);
tn_status tn_schema_free_name(tn_schema_writer *w, const char *hint, const char **name);
/* "hint-part", with what names of rules may not have replaced. */
tn_status tn_schema_hint(tn_schema_writer *w, const char *hint, const char *part, const char **out);
/* A literal that stands for these bytes, "..." with escapes. */
tn_status tn_gbnf_put_literal(tn_buf *out, const char *bytes, size_t len);

/* Count what is visited or joined, against endless recursion: TN_E_RANGE. Each count is ended by depth--. */
tn_status tn_schema_deeper(tn_schema_writer *w);
/* The name of a rule, or an expression in parentheses, for the values that fit `schema`. */
tn_status tn_schema_visit(tn_schema_writer *w, const json_t *schema, const char *hint, const char **expression);
/* What a local "$ref" refers to. */
tn_status tn_schema_resolve(tn_schema_writer *w, const json_t *ref, const json_t **target);

/* The same schema without $ref and allOf at its top; borrowed from the writer. */
tn_status tn_schema_flatten(tn_schema_writer *w, const json_t *schema, const json_t **flat);
/* anyOf and oneOf of a flat schema; enum and const. Like visit. */
tn_status tn_schema_visit_choice(tn_schema_writer *w, const json_t *schema, const char *keyword, const char *hint,
                                 const char **expression);
tn_status tn_schema_visit_values(tn_schema_writer *w, const json_t *schema, const char *hint, const char **expression);

/* The types that a flat schema allows, as bits; those that a value of "type" names; those of a value. */
tn_status tn_schema_types(const tn_schema_writer *w, const json_t *schema, unsigned *types);
tn_status tn_schema_type_bits(const tn_schema_writer *w, const json_t *type, unsigned *types);
unsigned tn_json_types_of(const json_t *value);
tn_status tn_json_put_types(json_t *list, unsigned types); /* their names, behind what is in the list */
bool tn_json_same(const json_t *a, const json_t *b);       /* 1 and 1.0 are the same */
/* A flat schema without anyOf, oneOf, enum and const. */
tn_status tn_schema_visit_types(tn_schema_writer *w, const json_t *schema, const char *hint, const char **expression);

/* Append an expression for the objects that fit. */
tn_status tn_schema_put_object(tn_schema_writer *w, const json_t *schema, const char *hint, tn_buf *out);

/* A count such as minItems, or both of a pair; a maximum may be NO_MAX. */
tn_status tn_schema_count(const tn_schema_writer *w, const json_t *schema, const char *keyword, int64_t missing,
                          int64_t *count);
tn_status tn_schema_counts(const tn_schema_writer *w, const json_t *schema, const char *min_word, const char *max_word,
                           int64_t *min, int64_t *max);
/* Append "{min,max}"; min to max parts with commas and white space between and behind them. */
tn_status tn_schema_put_times(tn_buf *out, int64_t min, int64_t max);
tn_status tn_schema_put_commas(tn_schema_writer *w, const char *part, int64_t min, int64_t max, tn_buf *out);

/* Append an expression for the strings, quotes and all, that a regular expression of ECMAScript finds something in. */
tn_status tn_json_pattern_put(tn_schema_writer *w, const char *pattern, size_t len, tn_buf *out);

typedef struct tn_number_bound {
    const json_t *value; /* number, or NULL = none */
    bool exclusive;
} tn_number_bound;
/* Append an expression for the numbers between two bounds, exactly; whole ones when `whole`. */
tn_status tn_number_range_put(tn_schema_writer *w, tn_number_bound low, tn_number_bound high, bool whole, tn_buf *out);

/* Append JSON text without spaces; numbers as the shortest that reads as the same. */
tn_status tn_json_put(tn_buf *out, const json_t *value);
tn_status tn_json_put_number(tn_buf *out, const json_t *number);
tn_status tn_json_put_text(tn_buf *out, const char *text, size_t len); /* with quotes and escapes */

#endif
