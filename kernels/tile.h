/* SPDX-License-Identifier: MIT
 * tile.h - DO(r, WIDTH) for the rows of a tile, DO(r, j) for the registers of a row. Accumulators are named variables,
 * acc##r##j, not an array: gcc 12 keeps only those in registers. */
#ifndef TN_KERNELS_TILE_H
#define TN_KERNELS_TILE_H

#define ROWS_1(DO, WIDTH) DO(0, WIDTH)
#define ROWS_2(DO, WIDTH) ROWS_1(DO, WIDTH) DO(1, WIDTH)
#define ROWS_3(DO, WIDTH) ROWS_2(DO, WIDTH) DO(2, WIDTH)
#define ROWS_4(DO, WIDTH) ROWS_3(DO, WIDTH) DO(3, WIDTH)
#define ROWS_5(DO, WIDTH) ROWS_4(DO, WIDTH) DO(4, WIDTH)
#define ROWS_6(DO, WIDTH) ROWS_5(DO, WIDTH) DO(5, WIDTH)
#define ROWS_7(DO, WIDTH) ROWS_6(DO, WIDTH) DO(6, WIDTH)
#define ROWS_8(DO, WIDTH) ROWS_7(DO, WIDTH) DO(7, WIDTH)
#define ROWS_9(DO, WIDTH)  ROWS_8(DO, WIDTH) DO(8, WIDTH)
#define ROWS_10(DO, WIDTH) ROWS_9(DO, WIDTH) DO(9, WIDTH)
#define ROWS_11(DO, WIDTH) ROWS_10(DO, WIDTH) DO(10, WIDTH)
#define ROWS_12(DO, WIDTH) ROWS_11(DO, WIDTH) DO(11, WIDTH)
#define ROWS_13(DO, WIDTH) ROWS_12(DO, WIDTH) DO(12, WIDTH)
#define ROWS_14(DO, WIDTH) ROWS_13(DO, WIDTH) DO(13, WIDTH)
#define ROWS_15(DO, WIDTH) ROWS_14(DO, WIDTH) DO(14, WIDTH)
#define ROWS_16(DO, WIDTH) ROWS_15(DO, WIDTH) DO(15, WIDTH)
#define VRS_1(DO, r)      DO(r, 0)
#define VRS_2(DO, r)      VRS_1(DO, r) DO(r, 1)
#define VRS_3(DO, r)      VRS_2(DO, r) DO(r, 2)
#define VRS_4(DO, r)      VRS_3(DO, r) DO(r, 3)
#define VRS_8(DO, r)      VRS_4(DO, r) DO(r, 4) DO(r, 5) DO(r, 6) DO(r, 7)

#endif
