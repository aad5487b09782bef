/* SPDX-License-Identifier: MIT
 * hdf5_priv.h - what the three hdf5_*.c share; the only file that includes <hdf5.h>. */
#ifndef TN_FORMATS_HDF5_PRIV_H
#define TN_FORMATS_HDF5_PRIV_H
#include "core/fs.h"
#include "formats/hdf5_file.h"

#include <hdf5.h>

struct tn_h5 {
    hid_t file;   /* negative when not open */
    char *path;   /* for messages, and where a written file will appear */
    hid_t driver; /* ours, when writing; negative when not registered */
    bool writing;
    bool sealed;      /* a seal was there and matched, when reading */
    int write_error;  /* errno of the first write that failed; from then on nothing is written */
    int64_t size;     /* of the file in bytes, when reading */
    tn_atomic atomic; /* when writing */
};

/* Make `fapl` write through our own driver, which keeps the errno of the first failed write in `*error` and swallows
 * every later write. The library thus never meets a failed write: some of its versions cannot close a file after one.
 * The driver's id is returned, negative on failure. Give it to H5FDunregister, but only when the file is closed: the
 * library looks the driver up once more while it closes. */
hid_t tn_h5_disk_use(hid_t fapl, int *error);

/* Make a group (or the root, by a file's creation properties) keep its links and attributes in its own header, however
 * many there are: the dense storage that the library otherwise turns to has crashed it when a byte of it was damaged.
 */
bool tn_h5_keep_compact(hid_t gcpl);
/* TN_E_UNSUPPORTED unless the links of `group` ("/" = root) are kept so. */
tn_status tn_h5_check_compact(const tn_h5 *file, const char *group);

/* Put the seal behind a file that is closed (hdf5_seal.c). */
tn_status tn_h5_seal(const char *path);
/* TN_E_CORRUPT when the bytes of the file carry a seal that does not match them; `sealed` tells whether they carry one.
 */
tn_status tn_h5_check_seal(const tn_h5 *file, const tn_map *map, bool *sealed);

/* The library prints its error stack per thread unless told not to; every entry point says so. */
void tn_h5_silence(void);
/* "PATH: cannot DOING OBJECT: what the library said"; TN_E_IO when writing, TN_E_CORRUPT when reading. */
tn_status tn_h5_fail(const tn_h5 *file, const char *doing, const char *object);
/* The status of the first write that failed, TN_OK when none did. */
tn_status tn_h5_disk_status(const tn_h5 *file);

#endif
