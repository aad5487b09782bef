/* SPDX-License-Identifier: MIT
 * json_schema.h - a JSON schema as a grammar: every text of the grammar is JSON that the schema accepts. Not all that
 * it accepts: a text is written one way (properties in the schema's order, little white space, no needless escapes), so
 * that a model has fewer ways to go astray.
 *
 * Understood: type, enum, const, properties, required, additionalProperties, minProperties 1, maxProperties of maps,
 * items, prefixItems, additionalItems, minItems, maxItems, minLength, maxLength, pattern, format (json_rules.def),
 * minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf, allOf, $ref to places in the schema, recursive
 * ones too.
 *
 * Narrowed: properties without additionalProperties, where no others are written; a schema without type has the types
 * that its other keywords speak of; oneOf is read as anyOf, with a warning where two of its parts may both fit. As in
 * llama.cpp, the empty schema {} at the top stands for any JSON object.
 *
 * Refused by name: every other keyword that is not a mere annotation (json_keywords.def). */
#ifndef TN_INFER_JSON_SCHEMA_H
#define TN_INFER_JSON_SCHEMA_H
#include "core/buf.h"
#include "infer/grammar.h"

/* The schema for response_format json_object. */
#define TN_JSON_ANY_OBJECT "{\"type\": \"object\"}"

/* Append the GBNF of the schema `text` [len]. Fails with the place in the schema ("#/properties/age"): TN_E_FORMAT no
 * JSON, or not what a keyword takes; TN_E_UNSUPPORTED a keyword, format or expression that is not understood;
 * TN_E_EMPTY a schema that nothing fits; TN_E_RANGE nested too deep or too large; TN_E_NOMEM. */
tn_status tn_json_schema_to_gbnf(const char *text, size_t len, tn_buf *out);
/* The same, compiled. */
tn_status tn_grammar_from_json_schema(tn_grammar **out, const char *text, size_t len);

#endif
