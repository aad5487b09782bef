/* SPDX-License-Identifier: MIT
 * hdf5_disk.c - the file driver behind written files: plain pwrite with a sticky error (hdf5_priv.h says why). */
#include "formats/hdf5_priv.h"

#include "core/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

typedef struct disk_info {
    int *error;
} disk_info;

typedef struct disk {
    H5FD_t base; /* first, as the library asks for */
    int fd;
    int *error;
    haddr_t eoa, eof; /* end of the addresses in use; end of the bytes written */
} disk;

static H5FD_t *disk_open(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr) {
    (void)maxaddr;
    const disk_info *info = H5Pget_driver_info(fapl);
    disk *d = info ? tn_heap_zalloc(1, sizeof *d) : NULL;
    if (!d) return NULL;
    d->error = info->error;
    d->fd = open(name, O_RDWR | O_CLOEXEC | (flags & H5F_ACC_TRUNC ? O_TRUNC : 0));
    if (d->fd >= 0) return &d->base;
    *d->error = errno;
    tn_heap_free(d);
    return NULL;
}

static herr_t disk_close(H5FD_t *file) {
    disk *d = (disk *)file;
    if (close(d->fd) != 0 && !*d->error) *d->error = errno;
    tn_heap_free(d);
    return 0;
}

static herr_t disk_query(const H5FD_t *file, unsigned long *flags) {
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t disk_get_eoa(const H5FD_t *file, H5FD_mem_t type) {
    (void)type;
    return ((const disk *)file)->eoa;
}

static herr_t disk_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t addr) {
    (void)type;
    ((disk *)file)->eoa = addr;
    return 0;
}

static haddr_t disk_get_eof(const H5FD_t *file, H5FD_mem_t type) {
    (void)type;
    return ((const disk *)file)->eof;
}

static herr_t disk_read(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t addr, size_t size, void *buffer) {
    (void)type, (void)dxpl;
    char *p = buffer;
    while (size) {
        ssize_t n = pread(((disk *)file)->fd, p, size, (off_t)addr);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        p += n;
        addr += (haddr_t)n;
        size -= (size_t)n;
    }
    if (size) memset(p, 0, size); /* space in use that was not written yet */
    return 0;
}

static herr_t disk_write(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t addr, size_t size, const void *buffer) {
    (void)type, (void)dxpl;
    disk *d = (disk *)file;
    const char *p = buffer;
    if (d->eof < addr + size) d->eof = addr + size;
    while (size && !*d->error) {
        ssize_t n = pwrite(d->fd, p, size, (off_t)addr);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            *d->error = n < 0 ? errno : EIO;
            break;
        }
        p += n;
        addr += (haddr_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static herr_t disk_truncate(H5FD_t *file, hid_t dxpl, hbool_t closing) {
    (void)dxpl, (void)closing;
    disk *d = (disk *)file;
    if (d->eof != d->eoa && !*d->error && ftruncate(d->fd, (off_t)d->eoa) != 0) *d->error = errno;
    d->eof = d->eoa;
    return 0;
}

hid_t tn_h5_disk_use(hid_t fapl, int *error) {
    static const H5FD_class_t driver = {
        .name = "tern",
        .maxaddr = INT64_MAX,
        .fc_degree = H5F_CLOSE_STRONG,
        .fapl_size = sizeof(disk_info),
        .open = disk_open,
        .close = disk_close,
        .query = disk_query,
        .get_eoa = disk_get_eoa,
        .set_eoa = disk_set_eoa,
        .get_eof = disk_get_eof,
        .read = disk_read,
        .write = disk_write,
        .truncate = disk_truncate,
        .fl_map = H5FD_FLMAP_DICHOTOMY,
    };
    hid_t id = H5FDregister(&driver);
    disk_info info = {error};
    if (id < 0 || H5Pset_driver(fapl, id, &info) >= 0) return id;
    H5FDunregister(id);
    return -1;
}
