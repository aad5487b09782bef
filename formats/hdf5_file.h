/* SPDX-License-Identifier: MIT
 * hdf5_file.h - the HDF5 library behind a small, checked surface; only formats/hdf5_*.c know <hdf5.h>.
 * Writing is atomic (core/fs.h): a file appears under its name only after it was closed, fsynced and renamed, with the
 * root attribute `complete` = 1 written last. All datasets are contiguous, little-endian and page-aligned, so each is
 * one byte range of the file that can be mapped. All metadata has the library's own checksums (superblock version 2);
 * files without them, and data that is not one byte range, are refused. So are groups that do not keep their links in
 * their own header; a group holds at most 65535 objects. One thread at a time may use a handle. */
#ifndef TN_FORMATS_HDF5_FILE_H
#define TN_FORMATS_HDF5_FILE_H
#include "core/buf.h"

/* TN_H5_U8 ... from the rows of formats/hdf5_type.def. */
typedef enum tn_h5_type {
#define H5_TYPE(name, c_type, disk, memory) TN_H5_##name,
#include "formats/hdf5_type.def"
#undef H5_TYPE
} tn_h5_type;

typedef struct tn_h5 tn_h5;

size_t tn_h5_type_size(tn_h5_type type);

tn_status tn_h5_create(tn_h5 **out, const char *path);
/* Fails: TN_E_MISSING; TN_E_FORMAT when it is no HDF5 file; TN_E_CORRUPT when it is truncated or not `complete`;
 * TN_E_UNSUPPORTED when its root group is of another kind than Tern writes; TN_E_MISMATCH when attribute "format" is
 * not `format` (NULL accepts any). */
tn_status tn_h5_open(tn_h5 **out, const char *path, const char *format);
/* Write `complete`, close, read back the metadata, fsync, rename. The handle is gone afterwards, also on failure (then
 * so is what was written, and an older file under that name is untouched). Fails: TN_E_IO, with what the system said.
 */
tn_status tn_h5_commit(tn_h5 *file);
void tn_h5_close(tn_h5 *file); /* readers; a writer's file is thrown away. NULL is fine */

/* Root attributes: small texts (below 60000 bytes) and numbers; setting one again replaces it. Groups named in a
 * dataset path ("params/x") are made on the way. */
tn_status tn_h5_set_text(tn_h5 *file, const char *name, const char *text);
tn_status tn_h5_set_int(tn_h5 *file, const char *name, int64_t value);
tn_status tn_h5_set_real(tn_h5 *file, const char *name, double value);
tn_status tn_h5_get_text(tn_h5 *file, const char *name, tn_buf *out); /* TN_E_CORRUPT when absent or of another type */
tn_status tn_h5_get_int(tn_h5 *file, const char *name, int64_t *value);
tn_status tn_h5_get_real(tn_h5 *file, const char *name, double *value);
bool tn_h5_has(tn_h5 *file, const char *path); /* a dataset or group in this file; links elsewhere do not count */

/* Datasets. `dims` has `rank` sizes, 1..4. Writing a whole dataset at once: */
tn_status tn_h5_write(tn_h5 *file, const char *path, tn_h5_type type, int rank, const int64_t *dims, const void *data);
/* or making it and filling ranges of its flat order: */
tn_status tn_h5_make(tn_h5 *file, const char *path, tn_h5_type type, int rank, const int64_t *dims);
tn_status tn_h5_write_range(tn_h5 *file, const char *path, int64_t first, int64_t count, const void *data);

typedef struct tn_h5_info {
    tn_h5_type type;
    int rank;
    int64_t dims[4];
    int64_t count;  /* product of dims */
    int64_t offset; /* of the data in the file; -1 when it is empty or the file is being written */
} tn_h5_info;

/* Fails: TN_E_MISSING; TN_E_UNSUPPORTED for chunked or external data; TN_E_CORRUPT for a type that is not in the list,
 * or data that reaches beyond the end of the file. */
tn_status tn_h5_get_info(tn_h5 *file, const char *path, tn_h5_info *info);
/* Read all of it into `data`; refuses with TN_E_CORRUPT unless type and count are as expected. */
tn_status tn_h5_read(tn_h5 *file, const char *path, tn_h5_type type, int64_t count, void *data);
tn_status tn_h5_read_text(tn_h5 *file, const char *path, size_t max, tn_buf *out); /* a u8 dataset, appended */
tn_status tn_h5_write_text(tn_h5 *file, const char *path, const char *text, size_t len);

/* Names under a group ("" = root), sorted by name; each call to `visit` gets "group/name". */
typedef tn_status tn_h5_visit(void *context, const char *path, bool is_group);
tn_status tn_h5_each(tn_h5 *file, const char *group, tn_h5_visit *visit, void *context);
const char *tn_h5_path(const tn_h5 *file);

/* Of the library that is loaded, "1.10.8". */
void tn_h5_library_version(char *out, size_t size);

#endif
