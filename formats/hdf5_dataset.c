/* SPDX-License-Identifier: MIT
 * hdf5_dataset.c - datasets: made, written, looked at, read, listed. */
#include "core/arena.h"
#include "formats/hdf5_priv.h"

#include <stdio.h>
#include <string.h>

enum { MAX_RANK = 4, MAX_PATH_BYTES = 512, MAX_LINKS = 65535 }; /* the most links the library keeps compact */

typedef struct number_type {
    size_t size;
    hid_t disk, memory; /* the library's ids; valid for the process */
} number_type;

static number_type number_type_of(tn_h5_type type) {
    switch (type) {
#define H5_TYPE(name, c_type, disk, memory)                                                                            \
    case TN_H5_##name:                                                                                                 \
        return (number_type){sizeof(c_type), disk, memory};
#include "formats/hdf5_type.def"
#undef H5_TYPE
    }
    TN_ASSERT(!"a type of hdf5_type.def");
    return (number_type){0, -1, -1};
}

size_t tn_h5_type_size(tn_h5_type type) { return number_type_of(type).size; }

/* ---- groups ---- */

bool tn_h5_keep_compact(hid_t gcpl) {
    return H5Pset_link_phase_change(gcpl, MAX_LINKS, 0) >= 0 && H5Pset_attr_phase_change(gcpl, MAX_LINKS, 0) >= 0;
}

static bool is_compact(const tn_h5 *file, const char *group, H5G_info_t *info) {
    return H5Gget_info_by_name(file->file, group, info, H5P_DEFAULT) >= 0 &&
           info->storage_type == H5G_STORAGE_TYPE_COMPACT;
}

tn_status tn_h5_check_compact(const tn_h5 *file, const char *group) {
    H5G_info_t info;
    if (H5Gget_info_by_name(file->file, group, &info, H5P_DEFAULT) < 0) return tn_h5_fail(file, "open group", group);
    if (info.storage_type == H5G_STORAGE_TYPE_COMPACT) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: group \"%s\" keeps its links in a heap or a table, expected them in its header",
                   file->path, group);
}

/* Every step of the path must be a hard link, for a soft or external one could lead out of the file, in a compact
 * group. */
static bool leads_to_object(tn_h5 *file, const char *path) {
    char part[MAX_PATH_BYTES], parent[MAX_PATH_BYTES] = "/";
    size_t len = strlen(path);
    tn_h5_silence();
    if (len == 0 || len >= sizeof part) return false;
    for (size_t end = 1; end <= len; end++) {
        if (path[end] != '/' && path[end] != '\0') continue;
        memcpy(part, path, end);
        part[end] = '\0';
        H5L_info_t link;
        H5G_info_t group;
        if (!is_compact(file, parent, &group)) return false;
        if (H5Lexists(file->file, part, H5P_DEFAULT) <= 0) return false;
        if (H5Lget_info(file->file, part, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD) return false;
        memcpy(parent, part, end + 1);
    }
    return true;
}

bool tn_h5_has(tn_h5 *file, const char *path) { return leads_to_object(file, path); }

static tn_status open_dataset(tn_h5 *file, const char *path, hid_t *dataset) {
    if (!leads_to_object(file, path)) return TN_FAIL(MISSING, "%s: has no dataset \"%s\"", file->path, path);
    *dataset = H5Dopen2(file->file, path, H5P_DEFAULT);
    return *dataset < 0 ? tn_h5_fail(file, "open dataset", path) : TN_OK;
}

/* ---- writing ---- */

/* Contiguous, with its place in the file fixed at once; fresh space of a file reads as zeros, so none is filled in.
 * No times: the same contents give the same bytes. */
static bool set_layout(hid_t dcpl) {
    return H5Pset_obj_track_times(dcpl, 0) >= 0 && H5Pset_layout(dcpl, H5D_CONTIGUOUS) >= 0 &&
           H5Pset_alloc_time(dcpl, H5D_ALLOC_TIME_EARLY) >= 0 && H5Pset_fill_time(dcpl, H5D_FILL_TIME_NEVER) >= 0;
}

static tn_status make_group(tn_h5 *file, const char *path) {
    hid_t gcpl = H5Pcreate(H5P_GROUP_CREATE), group = -1;
    if (gcpl >= 0 && H5Pset_obj_track_times(gcpl, 0) >= 0 && tn_h5_keep_compact(gcpl))
        group = H5Gcreate2(file->file, path, H5P_DEFAULT, gcpl, H5P_DEFAULT);
    tn_status status = group < 0 ? tn_h5_fail(file, "make group", path) : TN_OK;
    if (group >= 0) H5Gclose(group);
    if (gcpl >= 0) H5Pclose(gcpl);
    return status;
}

static tn_status make_parents(tn_h5 *file, const char *path) {
    char part[MAX_PATH_BYTES];
    if (strlen(path) >= sizeof part) return TN_FAIL(ARG, "%s: dataset %.60s...: name too long", file->path, path);
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t len = (size_t)(slash - path);
        memcpy(part, path, len);
        part[len] = '\0';
        if (!leads_to_object(file, part)) TN_TRY(make_group(file, part));
    }
    return TN_OK;
}

static tn_status check_room(tn_h5 *file, const char *path) {
    char part[MAX_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    snprintf(part, sizeof part, "/%.*s", slash ? (int)(slash - path) : 0, path);
    H5G_info_t info;
    if (!is_compact(file, part, &info)) return tn_h5_fail(file, "open group", part);
    if (info.nlinks < MAX_LINKS) return TN_OK;
    return TN_FAIL(RANGE, "%s: group \"%s\" is full with %d objects", file->path, part, MAX_LINKS);
}

static tn_status make_dataset(tn_h5 *file, const char *path, tn_h5_type type, int rank, const hsize_t *sizes) {
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(rank, sizes, NULL), dataset = -1;
    if (dcpl >= 0 && space >= 0 && set_layout(dcpl))
        dataset = H5Dcreate2(file->file, path, number_type_of(type).disk, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    tn_status status = dataset < 0 ? tn_h5_fail(file, "make dataset", path) : TN_OK;
    if (dataset >= 0) H5Dclose(dataset);
    if (space >= 0) H5Sclose(space);
    if (dcpl >= 0) H5Pclose(dcpl);
    return status;
}

tn_status tn_h5_make(tn_h5 *file, const char *path, tn_h5_type type, int rank, const int64_t *dims) {
    TN_ASSERT(file->writing && rank >= 1 && rank <= MAX_RANK);
    TN_TRY(tn_h5_disk_status(file));
    tn_h5_silence();
    hsize_t sizes[MAX_RANK];
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0) return TN_FAIL(ARG, "%s: dataset %s: size %lld", file->path, path, (long long)dims[i]);
        sizes[i] = (hsize_t)dims[i];
    }
    TN_TRY(make_parents(file, path));
    TN_TRY(check_room(file, path));
    TN_TRY(make_dataset(file, path, type, rank, sizes));
    return tn_h5_disk_status(file);
}

/* Select [first, first+count) of the flat order: a run of it is a box wherever it starts and ends on whole rows, planes
 * or cubes, so take the largest such box again and again. */
static bool select_flat(hid_t space, int rank, const int64_t *dims, int64_t first, int64_t count) {
    if (H5Sselect_none(space) < 0) return false;
    while (count > 0) {
        int64_t unit = 1; /* elements behind one index of dimension k */
        int k = rank - 1;
        while (k > 0 && first % (unit * dims[k]) == 0 && count >= unit * dims[k]) unit *= dims[k--];
        int64_t index = first / unit % dims[k];
        int64_t n = TN_MIN(count / unit, dims[k] - index);
        hsize_t start[MAX_RANK] = {0}, size[MAX_RANK];
        int64_t rest = first / unit / dims[k];
        for (int i = 0; i < rank; i++) size[i] = i < k ? 1 : i == k ? (hsize_t)n : (hsize_t)dims[i];
        start[k] = (hsize_t)index;
        for (int i = k - 1; i >= 0; rest /= dims[i--]) start[i] = (hsize_t)(rest % dims[i]);
        if (H5Sselect_hyperslab(space, H5S_SELECT_OR, start, NULL, size, NULL) < 0) return false;
        first += n * unit;
        count -= n * unit;
    }
    return true;
}

static tn_status write_selected(tn_h5 *file, const char *path, hid_t dataset, const tn_h5_info *info, int64_t first,
                                int64_t count, const void *data) {
    hsize_t length = (hsize_t)count;
    hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(1, &length, NULL);
    tn_status status = TN_OK;
    if (space < 0 || memory < 0 || !select_flat(space, info->rank, info->dims, first, count) ||
        H5Dwrite(dataset, number_type_of(info->type).memory, memory, space, H5P_DEFAULT, data) < 0)
        status = tn_h5_fail(file, "write dataset", path);
    if (memory >= 0) H5Sclose(memory);
    if (space >= 0) H5Sclose(space);
    return status;
}

static tn_status inspect(tn_h5 *file, const char *path, hid_t dataset, tn_h5_info *info);

tn_status tn_h5_write_range(tn_h5 *file, const char *path, int64_t first, int64_t count, const void *data) {
    TN_ASSERT(file->writing);
    TN_TRY(tn_h5_disk_status(file));
    hid_t dataset = -1;
    TN_TRY(open_dataset(file, path, &dataset));
    tn_h5_info info;
    tn_status status = inspect(file, path, dataset, &info);
    if (!status && (first < 0 || count < 0 || first > info.count || count > info.count - first))
        status = TN_FAIL(RANGE, "%s: dataset %s has %lld values, and %lld from %lld on were to be written", file->path,
                         path, (long long)info.count, (long long)count, (long long)first);
    if (!status && count) status = write_selected(file, path, dataset, &info, first, count, data);
    H5Dclose(dataset);
    return status ? status : tn_h5_disk_status(file);
}

tn_status tn_h5_write(tn_h5 *file, const char *path, tn_h5_type type, int rank, const int64_t *dims, const void *data) {
    TN_TRY(tn_h5_make(file, path, type, rank, dims));
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= dims[i];
    return tn_h5_write_range(file, path, 0, count, data);
}

tn_status tn_h5_write_text(tn_h5 *file, const char *path, const char *text, size_t len) {
    int64_t count = (int64_t)len;
    return tn_h5_write(file, path, TN_H5_U8, 1, &count, text);
}

/* ---- looking ---- */

static bool find_type(hid_t found, tn_h5_type *type) {
#define H5_TYPE(name, c_type, disk, memory)                                                                            \
    if (H5Tequal(found, disk) > 0) return *type = TN_H5_##name, true;
#include "formats/hdf5_type.def"
#undef H5_TYPE
    return false;
}

static tn_status inspect_type(tn_h5 *file, const char *path, hid_t dataset, tn_h5_info *info) {
    hid_t type = H5Dget_type(dataset);
    if (type < 0) return tn_h5_fail(file, "read the type of dataset", path);
    bool known = find_type(type, &info->type);
    H5Tclose(type);
    if (!known) return TN_FAIL(CORRUPT, "%s: dataset %s has a type that Tern does not write", file->path, path);
    return TN_OK;
}

static tn_status inspect_shape(tn_h5 *file, const char *path, hid_t dataset, tn_h5_info *info) {
    hid_t space = H5Dget_space(dataset);
    if (space < 0) return tn_h5_fail(file, "read the shape of dataset", path);
    hsize_t sizes[MAX_RANK];
    info->rank = H5Sget_simple_extent_ndims(space);
    bool fits =
        info->rank >= 1 && info->rank <= MAX_RANK && H5Sget_simple_extent_dims(space, sizes, NULL) == info->rank;
    H5Sclose(space);
    info->count = 1;
    for (int i = 0; fits && i < info->rank; i++) {
        fits = sizes[i] <= INT64_MAX / 8 && (sizes[i] == 0 || info->count <= INT64_MAX / 8 / (int64_t)sizes[i]);
        info->dims[i] = fits ? (int64_t)sizes[i] : 0;
        info->count *= info->dims[i];
    }
    if (!fits) return TN_FAIL(CORRUPT, "%s: dataset %s has an impossible shape", file->path, path);
    return TN_OK;
}

static bool is_contiguous(hid_t dataset) {
    hid_t dcpl = H5Dget_create_plist(dataset);
    if (dcpl < 0) return false;
    bool contiguous = H5Pget_layout(dcpl) == H5D_CONTIGUOUS && H5Pget_external_count(dcpl) == 0;
    H5Pclose(dcpl);
    return contiguous;
}

/* Data must lie in the file as one run: then its size is known to be real before anybody allocates for it. */
static tn_status inspect_place(tn_h5 *file, const char *path, hid_t dataset, tn_h5_info *info) {
    info->offset = -1;
    if (!is_contiguous(dataset))
        return TN_FAIL(UNSUPPORTED, "%s: dataset %s is chunked, compact or elsewhere; expected contiguous data",
                       file->path, path);
    if (file->writing || info->count == 0) return TN_OK;
    haddr_t offset = H5Dget_offset(dataset);
    int64_t bytes = info->count * (int64_t)tn_h5_type_size(info->type);
    if (offset == HADDR_UNDEF || offset > (haddr_t)file->size || bytes > file->size - (int64_t)offset)
        return TN_FAIL(CORRUPT, "%s: dataset %s needs %lld bytes that the file of %lld bytes does not hold", file->path,
                       path, (long long)bytes, (long long)file->size);
    info->offset = (int64_t)offset;
    return TN_OK;
}

static tn_status inspect(tn_h5 *file, const char *path, hid_t dataset, tn_h5_info *info) {
    *info = (tn_h5_info){.offset = -1};
    TN_TRY(inspect_type(file, path, dataset, info));
    TN_TRY(inspect_shape(file, path, dataset, info));
    return inspect_place(file, path, dataset, info);
}

tn_status tn_h5_get_info(tn_h5 *file, const char *path, tn_h5_info *info) {
    hid_t dataset = -1;
    TN_TRY(open_dataset(file, path, &dataset));
    tn_status status = inspect(file, path, dataset, info);
    H5Dclose(dataset);
    return status;
}

/* ---- reading ---- */

tn_status tn_h5_read(tn_h5 *file, const char *path, tn_h5_type type, int64_t count, void *data) {
    hid_t dataset = -1;
    TN_TRY(open_dataset(file, path, &dataset));
    tn_h5_info info;
    tn_status status = inspect(file, path, dataset, &info);
    if (!status && (info.type != type || info.count != count))
        status = TN_FAIL(
            CORRUPT, "%s: dataset %s has %lld values of %zu bytes or of another kind, expected %lld of %zu", file->path,
            path, (long long)info.count, tn_h5_type_size(info.type), (long long)count, tn_h5_type_size(type));
    if (!status && count && H5Dread(dataset, number_type_of(type).memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        status = tn_h5_fail(file, "read dataset", path);
    H5Dclose(dataset);
    return status;
}

tn_status tn_h5_read_text(tn_h5 *file, const char *path, size_t max, tn_buf *out) {
    tn_h5_info info;
    TN_TRY(tn_h5_get_info(file, path, &info));
    if ((uint64_t)info.count > max)
        return TN_FAIL(RANGE, "%s: dataset %s has %lld bytes, at most %zu are accepted", file->path, path,
                       (long long)info.count, max);
    TN_TRY(tn_buf_reserve(out, (size_t)info.count));
    TN_TRY(tn_h5_read(file, path, TN_H5_U8, info.count, out->data + out->len));
    out->len += (size_t)info.count;
    out->data[out->len] = '\0';
    return TN_OK;
}

/* ---- listing ---- */

typedef struct listing {
    tn_names names;
    tn_status status;
} listing;

static herr_t collect_name(hid_t group, const char *name, const H5L_info_t *link, void *context) {
    (void)group;
    listing *list = context;
    if (link->type == H5L_TYPE_HARD) list->status = tn_names_add(&list->names, name);
    return list->status ? -1 : 0;
}

static tn_status visit_name(tn_h5 *file, const char *group, const char *name, tn_h5_visit *visit, void *context) {
    char path[MAX_PATH_BYTES];
    if (snprintf(path, sizeof path, "%s%s%s", group, group[0] ? "/" : "", name) >= (int)sizeof path)
        return TN_FAIL(CORRUPT, "%s: an object under \"%s\" has too long a name", file->path, group);
    hid_t object = H5Oopen(file->file, path, H5P_DEFAULT);
    if (object < 0) return tn_h5_fail(file, "open", path);
    bool is_group = H5Iget_type(object) == H5I_GROUP;
    H5Oclose(object);
    return visit(context, path, is_group);
}

tn_status tn_h5_each(tn_h5 *file, const char *group, tn_h5_visit *visit, void *context) {
    tn_h5_silence();
    if (group[0] && !leads_to_object(file, group))
        return TN_FAIL(MISSING, "%s: has no group \"%s\"", file->path, group);
    TN_TRY(tn_h5_check_compact(file, group[0] ? group : "/"));
    listing list = {0};
    if (H5Literate_by_name(file->file, group[0] ? group : "/", H5_INDEX_NAME, H5_ITER_INC, NULL, collect_name, &list,
                           H5P_DEFAULT) < 0 &&
        !list.status)
        list.status = tn_h5_fail(file, "list", group[0] ? group : "/");
    for (size_t i = 0; !list.status && i < list.names.count; i++)
        list.status = visit_name(file, group, list.names.list[i], visit, context);
    tn_names_release(&list.names);
    return list.status;
}
