/* SPDX-License-Identifier: MIT
 * TN_VERSION and TN_COMMIT come from the Makefile. */
#include "cmd/cmd.h"
#include "formats/hdf5_file.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"

const char *tn_cmd_commit(void) { return TN_COMMIT; }

tn_status tn_cmd_print_version(void) {
    TN_TRY(tn_kernels_init(NULL));
    char hdf5[32];
    tn_h5_library_version(hdf5, sizeof hdf5);
    return tn_cmd_print("tern %s (%s)\n"
                        "instruction set  %s\n"
                        "OpenBLAS         %s, %s\n"
                        "HDF5             %s\n",
                        TN_VERSION, TN_COMMIT, tn_kernels_isa(), tn_blas_core(), tn_blas_threading(), hdf5);
}
