/* SPDX-License-Identifier: MIT
 * spool.h - bytes that wait until it is known how many they will be: in memory, or in a file without a name, which is
 * gone when this process is, however it ends. On the way, a checksum of every block.
 * Life: {.fd = -1}, tn_spool_open for a file, put ..., finish, read ..., release. */
#ifndef TN_DATA_SPOOL_H
#define TN_DATA_SPOOL_H
#include "core/buf.h"

enum { TN_SPOOL_BLOCK = 1 << 20 };

typedef struct tn_spool {
    const char *name; /* the file it is for, for messages; borrowed */
    int fd;           /* -1 = all stays in `bytes` */
    tn_buf bytes;     /* with a file, what is not in it yet */
    size_t sealed;    /* of `bytes`, those that have their checksum */
    uint64_t *sums;   /* XXH3-64 of each block; the last may be shorter */
    size_t n_sums, sums_cap;
    int64_t size; /* bytes in all */
} tn_spool;

/* A file beside `name`, told apart by `what`. Fails: TN_E_IO, TN_E_RANGE. */
tn_status tn_spool_open(tn_spool *spool, const char *name, const char *what);
tn_status tn_spool_put(tn_spool *spool, const void *data, size_t len);
tn_status tn_spool_finish(tn_spool *spool); /* sums up the last block */
/* Bytes [from, from + len), after finish. */
tn_status tn_spool_read(const tn_spool *spool, int64_t from, void *data, size_t len);
void tn_spool_release(tn_spool *spool);

#endif
