/* SPDX-License-Identifier: MIT */
#include "data/spool.h"

#include "core/fs.h"
#include "data/grow.h"
#include "formats/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

tn_status tn_spool_open(tn_spool *s, const char *name, const char *what) {
    char path[4096];
    s->name = name;
    if (tn_path_is_dir(name)) return TN_FAIL(IO, "%s: is a folder where a file was to be written", name);
    if ((size_t)snprintf(path, sizeof path, "%s.%s.%ld", name, what, (long)getpid()) >= sizeof path)
        return TN_FAIL(RANGE, "%.60s...: path is too long", name);
    s->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->fd < 0 || unlink(path) != 0) return tn_fail_errno(name, "write");
    return TN_OK;
}

static tn_status write_out(const tn_spool *s, const char *data, size_t len) {
    while (len) {
        ssize_t n = write(s->fd, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tn_fail_errno(s->name, "write");
        data += n;
        len -= (size_t)n;
    }
    return TN_OK;
}

/* Sum up and write out the full blocks; at the end the last, shorter one too. */
static tn_status seal(tn_spool *s, size_t least) {
    while (s->bytes.len - s->sealed >= least) {
        size_t len = TN_MIN(s->bytes.len - s->sealed, (size_t)TN_SPOOL_BLOCK);
        const char *block = s->bytes.data + s->sealed;
        TN_GROW(s->sums, &s->sums_cap, s->n_sums + 1);
        s->sums[s->n_sums++] = tn_checksum64(block, len);
        if (s->fd >= 0) TN_TRY(write_out(s, block, len));
        s->sealed += len;
    }
    if (s->fd < 0 || !s->sealed) return TN_OK;
    memmove(s->bytes.data, s->bytes.data + s->sealed, s->bytes.len - s->sealed);
    s->bytes.len -= s->sealed;
    s->sealed = 0;
    return TN_OK;
}

tn_status tn_spool_put(tn_spool *s, const void *data, size_t len) {
    TN_TRY(tn_buf_append(&s->bytes, data, len));
    s->size += (int64_t)len;
    return seal(s, TN_SPOOL_BLOCK);
}

tn_status tn_spool_finish(tn_spool *s) { return seal(s, 1); }

tn_status tn_spool_read(const tn_spool *s, int64_t from, void *data, size_t len) {
    TN_ASSERT(from >= 0 && (int64_t)len <= s->size - from);
    if (s->fd < 0) return memcpy(data, s->bytes.data + from, len), TN_OK;
    for (char *to = data; len;) {
        ssize_t n = pread(s->fd, to, len, from);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tn_fail_errno(s->name, "read back");
        if (n == 0) return TN_FAIL(IO, "%s: what was set aside is gone", s->name);
        to += n;
        len -= (size_t)n;
        from += n;
    }
    return TN_OK;
}

void tn_spool_release(tn_spool *s) {
    if (s->fd >= 0) close(s->fd);
    tn_buf_release(&s->bytes);
    tn_heap_free(s->sums);
    *s = (tn_spool){.fd = -1};
}
