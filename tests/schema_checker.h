/* SPDX-License-Identifier: MIT
 * schema_checker.h - whether a JSON value fits a schema, by the letter of each keyword: the other opinion to what
 * infer/json_schema.h writes. Keywords that Tern refuses are not looked at. */
#ifndef TN_TESTS_SCHEMA_CHECKER_H
#define TN_TESTS_SCHEMA_CHECKER_H
#include <jansson.h>
#include <stdbool.h>

/* NULL when `value` fits `schema`, a part of `root`; else the keyword that it does not fit. */
const char *tn_schema_misfit(const json_t *root, const json_t *schema, const json_t *value);

#endif
