/* SPDX-License-Identifier: MIT
 * hdf5_file.c - the life of a file, and its root attributes. */
#include "core/arena.h"
#include "formats/hdf5_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ATTRIBUTE = 60000 }; /* bytes; the library refuses attributes above 64 KiB with their header */

void tn_h5_silence(void) { H5Eset_auto2(H5E_DEFAULT, NULL, NULL); }

static herr_t keep_innermost(unsigned n, const H5E_error2_t *entry, void *context) {
    if (n == 0) *(const char **)context = entry->desc;
    return 0;
}

tn_status tn_h5_fail(const tn_h5 *file, const char *doing, const char *object) {
    TN_TRY(tn_h5_disk_status(file));
    const char *reason = NULL;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
    if (!reason) reason = "the HDF5 library gives no reason";
    if (file->writing) return TN_FAIL(IO, "%s: cannot %s %s: %s", file->path, doing, object, reason);
    return TN_FAIL(CORRUPT, "%s: cannot %s %s: %s", file->path, doing, object, reason);
}

tn_status tn_h5_disk_status(const tn_h5 *file) {
    if (!file->write_error) return TN_OK;
    errno = file->write_error;
    return tn_fail_errno(file->path, "write");
}

static tn_h5 *handle_create(const char *path) {
    tn_h5_silence();
    tn_h5 *file = tn_heap_zalloc(1, sizeof *file);
    if (!file) return NULL;
    file->file = file->driver = -1;
    file->path = tn_heap_strdup(path);
    if (file->path) return file;
    tn_heap_free(file);
    return NULL;
}

void tn_h5_close(tn_h5 *file) {
    if (!file) return;
    tn_h5_silence();
    if (file->writing && !file->write_error) file->write_error = ECANCELED; /* thrown away: write nothing more */
    if (file->file >= 0) H5Fclose(file->file);
    if (file->driver >= 0) H5FDunregister(file->driver);
    tn_atomic_abort(&file->atomic);
    tn_heap_free(file->path);
    tn_heap_free(file);
}

/* ---- writing ---- */

/* The bounds give every piece of metadata a checksum of the library's own (superblock 2, version 2 headers). No times:
 * the same contents give the same bytes. */
static bool set_write_properties(hid_t fapl, hid_t fcpl) {
    return H5Pset_obj_track_times(fcpl, 0) >= 0 && tn_h5_keep_compact(fcpl) &&
           H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG) >= 0 && H5Pset_alignment(fapl, 1, 4096) >= 0 &&
           H5Pset_libver_bounds(fapl, H5F_LIBVER_V18, H5F_LIBVER_V110) >= 0;
}

static tn_status create_temp(tn_h5 *file) {
    TN_TRY(tn_atomic_begin(&file->atomic, file->path));
    tn_status status = TN_OK;
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS), fcpl = H5Pcreate(H5P_FILE_CREATE);
    if (fapl >= 0 && fcpl >= 0 && set_write_properties(fapl, fcpl))
        file->driver = tn_h5_disk_use(fapl, &file->write_error);
    if (file->driver >= 0) file->file = H5Fcreate(file->atomic.temp, H5F_ACC_TRUNC, fcpl, fapl);
    if (file->file < 0) status = tn_h5_fail(file, "create", "the file");
    if (fcpl >= 0) H5Pclose(fcpl);
    if (fapl >= 0) H5Pclose(fapl);
    return status;
}

tn_status tn_h5_create(tn_h5 **out, const char *path) {
    *out = NULL;
    tn_h5 *file = handle_create(path);
    if (!file) return TN_E_NOMEM;
    file->writing = true;
    tn_status status = create_temp(file);
    if (status)
        tn_h5_close(file);
    else
        *out = file;
    return status;
}

static tn_status close_written(tn_h5 *file) {
    TN_TRY(tn_h5_set_int(file, "sealed", 1));
    TN_TRY(tn_h5_set_int(file, "complete", 1));
    herr_t closed = H5Fclose(file->file);
    file->file = -1;
    if (closed < 0) return tn_h5_fail(file, "close", "the file");
    return tn_h5_disk_status(file);
}

static tn_status verify_written(const tn_h5 *file) {
    tn_h5 *check;
    TN_TRY(tn_h5_open(&check, file->atomic.temp, NULL));
    tn_h5_close(check);
    return TN_OK;
}

tn_status tn_h5_commit(tn_h5 *file) {
    TN_ASSERT(file->writing);
    tn_h5_silence();
    tn_status status = close_written(file);
    if (!status) status = tn_h5_seal(file->atomic.temp);
    if (!status) status = verify_written(file);
    if (!status) status = tn_atomic_commit(&file->atomic);
    tn_h5_close(file);
    return status;
}

/* ---- reading ---- */

/* Only files with checksummed metadata are given to the library: parsing the older layouts from a damaged or hostile
 * file is where its memory errors have been. */
static tn_status check_superblock(tn_h5 *file) {
    static const char signature[] = "\211HDF\r\n\032\n";
    tn_map map;
    TN_TRY(tn_map_init(&map, file->path));
    file->size = (int64_t)map.size;
    bool hdf5 = map.size > 8 && memcmp(map.data, signature, 8) == 0;
    int version = hdf5 ? map.data[8] : 0;
    tn_status status = hdf5 ? tn_h5_check_seal(file, &map, &file->sealed) : TN_OK;
    tn_map_release(&map);
    TN_TRY(status);
    if (!hdf5) return TN_FAIL(FORMAT, "%s: is not an HDF5 file", file->path);
    if (version != 2 && version != 3)
        return TN_FAIL(FORMAT, "%s: has HDF5 superblock version %d, whose metadata has no checksums; expected 2 or 3",
                       file->path, version);
    return TN_OK;
}

static tn_status open_file(tn_h5 *file) {
    TN_TRY(check_superblock(file));
    tn_status status = TN_OK;
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    /* No locks: a model on a read-only network mount must open. */
    if (fapl >= 0 && H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG) >= 0 && H5Pset_file_locking(fapl, 0, 1) >= 0)
        file->file = H5Fopen(file->path, H5F_ACC_RDONLY, fapl);
    if (file->file < 0) status = tn_h5_fail(file, "open", "the file");
    if (fapl >= 0) H5Pclose(fapl);
    return status ? status : tn_h5_check_compact(file, "/");
}

static bool has_attribute(tn_h5 *file, const char *name) {
    tn_h5_silence();
    return H5Aexists(file->file, name) > 0;
}

static tn_status check_format(tn_h5 *file, const char *format) {
    tn_buf found = {0};
    tn_status status = TN_OK;
    if (has_attribute(file, "format")) status = tn_h5_get_text(file, "format", &found);
    if (!status && strcmp(tn_buf_text(&found), format) != 0)
        status = TN_FAIL(MISMATCH, "%s: attribute \"format\" is \"%.60s\", expected \"%s\"", file->path,
                         tn_buf_text(&found), format);
    tn_buf_release(&found);
    return status;
}

static tn_status check_complete(tn_h5 *file) {
    int64_t complete = 0;
    if (has_attribute(file, "complete")) TN_TRY(tn_h5_get_int(file, "complete", &complete));
    if (complete != 1) return TN_FAIL(CORRUPT, "%s: was never finished: attribute \"complete\" is not 1", file->path);
    int64_t sealed = 0; /* files from elsewhere have no seal, and need none */
    if (has_attribute(file, "sealed")) TN_TRY(tn_h5_get_int(file, "sealed", &sealed));
    if (sealed && !file->sealed) return TN_FAIL(CORRUPT, "%s: is damaged: its end is missing", file->path);
    return TN_OK;
}

tn_status tn_h5_open(tn_h5 **out, const char *path, const char *format) {
    *out = NULL;
    tn_h5 *file = handle_create(path);
    if (!file) return TN_E_NOMEM;
    tn_status status = open_file(file);
    if (!status && format) status = check_format(file, format);
    if (!status) status = check_complete(file);
    if (status)
        tn_h5_close(file);
    else
        *out = file;
    return status;
}

const char *tn_h5_path(const tn_h5 *file) { return file->path; }

/* ---- root attributes ---- */

static tn_status write_attribute(tn_h5 *file, const char *name, hid_t disk, hid_t memory, const void *value) {
    TN_ASSERT(file->writing);
    TN_TRY(tn_h5_disk_status(file));
    tn_h5_silence();
    hid_t space = H5Screate(H5S_SCALAR), attribute = -1;
    if (has_attribute(file, name)) H5Adelete(file->file, name);
    if (space >= 0) attribute = H5Acreate2(file->file, name, disk, space, H5P_DEFAULT, H5P_DEFAULT);
    tn_status status = TN_OK;
    if (attribute < 0 || H5Awrite(attribute, memory, value) < 0) status = tn_h5_fail(file, "write attribute", name);
    if (attribute >= 0) H5Aclose(attribute);
    if (space >= 0) H5Sclose(space);
    return status ? status : tn_h5_disk_status(file);
}

tn_status tn_h5_set_text(tn_h5 *file, const char *name, const char *text) {
    size_t size = strlen(text) + 1;
    if (size > MAX_ATTRIBUTE)
        return TN_FAIL(RANGE, "%s: attribute %s would have %zu bytes, at most %d fit", file->path, name, size,
                       MAX_ATTRIBUTE);
    tn_status status;
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type < 0 || H5Tset_size(type, size) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)
        status = tn_h5_fail(file, "write attribute", name);
    else
        status = write_attribute(file, name, type, type, text);
    if (type >= 0) H5Tclose(type);
    return status;
}

tn_status tn_h5_set_int(tn_h5 *file, const char *name, int64_t value) {
    return write_attribute(file, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

tn_status tn_h5_set_real(tn_h5 *file, const char *name, double value) {
    return write_attribute(file, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

typedef tn_status read_value(tn_h5 *file, const char *name, hid_t attribute, hid_t type, void *out);

/* Open the attribute, check that it is one value of the class, and let `read` fetch it. */
static tn_status read_attribute(tn_h5 *file, const char *name, H5T_class_t class, read_value *read, void *out) {
    if (!has_attribute(file, name)) return TN_FAIL(CORRUPT, "%s: has no attribute \"%s\"", file->path, name);
    tn_status status;
    hid_t attribute = H5Aopen(file->file, name, H5P_DEFAULT), type = -1, space = -1;
    if (attribute >= 0) type = H5Aget_type(attribute);
    if (attribute >= 0) space = H5Aget_space(attribute);
    if (type < 0 || space < 0)
        status = tn_h5_fail(file, "read attribute", name);
    else if (H5Tget_class(type) != class || H5Sget_simple_extent_npoints(space) != 1)
        status = TN_FAIL(CORRUPT, "%s: attribute \"%s\" is not of the expected type", file->path, name);
    else
        status = read(file, name, attribute, type, out);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (attribute >= 0) H5Aclose(attribute);
    return status;
}

static tn_status read_text(tn_h5 *file, const char *name, hid_t attribute, hid_t type, void *out) {
    tn_buf *buf = out;
    size_t size = H5Tget_size(type);
    if (H5Tis_variable_str(type) != 0 || size > MAX_ATTRIBUTE)
        return TN_FAIL(CORRUPT, "%s: attribute \"%s\" is not a text of fixed size", file->path, name);
    TN_TRY(tn_buf_reserve(buf, size));
    char *text = buf->data + buf->len;
    if (H5Aread(attribute, type, text) < 0) return tn_h5_fail(file, "read attribute", name);
    buf->len += strnlen(text, size);
    buf->data[buf->len] = '\0';
    return TN_OK;
}

static tn_status read_int(tn_h5 *file, const char *name, hid_t attribute, hid_t type, void *out) {
    (void)type;
    if (H5Aread(attribute, H5T_NATIVE_INT64, out) < 0) return tn_h5_fail(file, "read attribute", name);
    return TN_OK;
}

static tn_status read_real(tn_h5 *file, const char *name, hid_t attribute, hid_t type, void *out) {
    (void)type;
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, out) < 0) return tn_h5_fail(file, "read attribute", name);
    return TN_OK;
}

tn_status tn_h5_get_text(tn_h5 *file, const char *name, tn_buf *out) {
    return read_attribute(file, name, H5T_STRING, read_text, out);
}

tn_status tn_h5_get_int(tn_h5 *file, const char *name, int64_t *value) {
    return read_attribute(file, name, H5T_INTEGER, read_int, value);
}

tn_status tn_h5_get_real(tn_h5 *file, const char *name, double *value) {
    return read_attribute(file, name, H5T_FLOAT, read_real, value);
}

void tn_h5_library_version(char *out, size_t size) {
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    snprintf(out, size, "%u.%u.%u", major, minor, release);
}
