/* SPDX-License-Identifier: MIT
 * checksum.h - XXH3 sums, to notice damage; not for secrets. The only place that knows xxHash. */
#ifndef TN_FORMATS_CHECKSUM_H
#define TN_FORMATS_CHECKSUM_H
#include "core/fs.h"

uint64_t tn_checksum64(const void *data, size_t len); /* XXH3-64, seed 0 */
/* The same of bytes [begin, begin + len) of a map, of which only a small part is in memory at a time. */
uint64_t tn_checksum64_map(const tn_map *map, size_t begin, size_t len);

/* XXH3-128 over pieces. */
typedef struct tn_checksum tn_checksum;

tn_checksum *tn_checksum_create(void); /* NULL and a TN_E_NOMEM message when memory is out */
void tn_checksum_add(tn_checksum *sum, const void *data, size_t len);
/* Bytes [begin, end) of a map, of which only a small part is in memory at a time. */
void tn_checksum_add_map(tn_checksum *sum, const tn_map *map, size_t begin, size_t end);
/* The sum as 32 lower-case hex digits, high half first, and a NUL. */
void tn_checksum_hex(const tn_checksum *sum, char hex[33]);
void tn_checksum_free(tn_checksum *sum); /* NULL is fine */

#endif
