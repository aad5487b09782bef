/* SPDX-License-Identifier: MIT
 * schema_model.h - random JSON schemas out of all that Tern understands, also such that nothing fits. */
#ifndef TN_TESTS_SCHEMA_MODEL_H
#define TN_TESTS_SCHEMA_MODEL_H
#include <jansson.h>
#include <stdint.h>

json_t *tn_schema_model(uint32_t number); /* json_decref it */

#endif
