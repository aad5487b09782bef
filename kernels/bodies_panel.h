/* SPDX-License-Identifier: MIT
 * bodies_panel.h - the real product that panels and attention share: C[rows, cols] += A[rows, inner] B[inner, cols].
 * Every element of C is one chain of multiply-adds over ascending `inner` that starts from C's old value; how rows and
 * columns are grouped into registers therefore changes no bit. Included once by every isa_*.c. */
#include "kernels/tile.h"

/* Registers for accumulators: TILE_ROWS x TILE_VRS of them, chosen so that none spills. */
#if VP_BYTES == 64
enum { TILE_ROWS = 6, TILE_VRS = 4 };
#elif VP_BYTES == 32 || defined(VP_NEON)
enum { TILE_ROWS = 6, TILE_VRS = 1 };
#else
enum { TILE_ROWS = 2, TILE_VRS = 1 };
#endif

typedef struct product {
    int rows, cols, inner; /* cols: a multiple of LANES */
    const tn_real *a;      /* A[r,t] = a[r * a_row + t * a_step], so A may be read transposed */
    int64_t a_row, a_step;
    const tn_real *b; /* rows b_row apart */
    int64_t b_row;
    tn_real *c; /* rows c_row apart */
    int64_t c_row;
} product;

#define ACC_LOAD(r, j)  vr acc##r##j = vr_load(c + r * p->c_row + j * LANES);
#define ACC_STORE(r, j) vr_store(c + r * p->c_row + j * LANES, acc##r##j);
#define ACC_STEP(r, j)  acc##r##j = vr_mul_add(a##r, b##j, acc##r##j);
#define B_LOAD(r, j)    const vr b##j = vr_load(b + j * LANES);

#define ROW_LOAD(r, WIDTH)  VRS_##WIDTH(ACC_LOAD, r)
#define ROW_STORE(r, WIDTH) VRS_##WIDTH(ACC_STORE, r)
#define ROW_STEP(r, WIDTH)                                                                                             \
    const vr a##r = vr_set(a[r * p->a_row]);                                                                           \
    VRS_##WIDTH(ACC_STEP, r)

#define DEFINE_TILE(ROWS, WIDTH)                                                                                       \
    static void tile_##ROWS##x##WIDTH(const product *p, const tn_real *a, const tn_real *b, tn_real *restrict c) {     \
        int left = p->inner;                                                                                           \
        if (left <= 0) return;                                                                                         \
        ROWS_##ROWS(ROW_LOAD, WIDTH);                                                                                  \
        do {                                                                                                           \
            VRS_##WIDTH(B_LOAD, 0);                                                                                    \
            ROWS_##ROWS(ROW_STEP, WIDTH);                                                                              \
            a += p->a_step;                                                                                            \
            b += p->b_row;                                                                                             \
        } while (--left > 0);                                                                                          \
        ROWS_##ROWS(ROW_STORE, WIDTH);                                                                                 \
    }

typedef void tile_fn(const product *p, const tn_real *a, const tn_real *b, tn_real *restrict c);

DEFINE_TILE(1, 1)
DEFINE_TILE(2, 1)
#if VP_BYTES >= 32 || defined(VP_NEON)
DEFINE_TILE(3, 1)
DEFINE_TILE(4, 1)
DEFINE_TILE(5, 1)
DEFINE_TILE(6, 1)
static tile_fn *const narrow_tiles[] = {NULL, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1};
#else
static tile_fn *const narrow_tiles[] = {NULL, tile_1x1, tile_2x1};
#endif
#if VP_BYTES == 64
DEFINE_TILE(1, 4)
DEFINE_TILE(2, 4)
DEFINE_TILE(3, 4)
DEFINE_TILE(4, 4)
DEFINE_TILE(5, 4)
DEFINE_TILE(6, 4)
static tile_fn *const wide_tiles[] = {NULL, tile_1x4, tile_2x4, tile_3x4, tile_4x4, tile_5x4, tile_6x4};
#else
#define wide_tiles narrow_tiles
#endif

/* Rows to take at once when `left` are left: no small rest, which would wait for its multiply-adds. */
static int product_rows(int left) {
    return left > TILE_ROWS && left < 2 * TILE_ROWS ? (left + 1) / 2 : TN_MIN(left, (int)TILE_ROWS);
}

static void product_add(const product *p) {
    for (int col = 0, width; col < p->cols; col += width) {
        width = p->cols - col >= TILE_VRS * LANES ? TILE_VRS * LANES : LANES;
        tile_fn *const *tiles = width == LANES ? narrow_tiles : wide_tiles;
        for (int row = 0, rows; row < p->rows; row += rows) {
            rows = product_rows(p->rows - row);
            tiles[rows](p, p->a + row * p->a_row, p->b + col, p->c + row * p->c_row + col);
        }
    }
}

static void turn(int rows, int cols, const tn_real *x, int64_t x_stride, tn_real *y, int64_t y_stride) {
    const int whole_rows = rows / PART_LANES * PART_LANES, whole_cols = cols / PART_LANES * PART_LANES;
    for (int r = 0; r < whole_rows; r += PART_LANES)
        for (int c = 0; c < whole_cols; c += PART_LANES)
            vp_turn(y + c * y_stride + r, y_stride, x + r * x_stride + c, x_stride);
    for (int c = 0; c < cols; c++)
        for (int r = c < whole_cols ? whole_rows : 0; r < rows; r++) y[c * y_stride + r] = x[r * x_stride + c];
}

static void real_panel(int rows, int k, const tn_real *x, int64_t x_stride, const tn_real *panel, tn_real *y,
                       int64_t y_stride) {
    const product p = {.rows = rows,
                       .cols = TILE_VRS * LANES,
                       .inner = k,
                       .a = x,
                       .a_row = x_stride,
                       .a_step = 1,
                       .b = panel,
                       .b_row = TILE_VRS * LANES,
                       .c = y,
                       .c_row = y_stride};
    wide_tiles[rows](&p, x, panel, y);
}
