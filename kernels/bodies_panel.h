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
    bool fresh;   /* C starts from 0, whatever it holds; inner > 0 */
    bool slanted; /* row r has inner + r terms */
} product;

#define ACC_NAME(r, j)  vr acc##r##j;
#define ACC_ZERO(r, j)  acc##r##j = vr_set(0);
#define ACC_LOAD(r, j)  acc##r##j = vr_load(c + r * p->c_row + j * LANES);
#define ACC_STORE(r, j) vr_store(c + r * p->c_row + j * LANES, acc##r##j);
#define ACC_STEP(r, j)  acc##r##j = vr_mul_add(a##r, b##j, acc##r##j);
#define B_LOAD(r, j)    const vr b##j = vr_load(b + j * LANES);

#define ROW_NAME(r, WIDTH)  VRS_##WIDTH(ACC_NAME, r)
#define ROW_ZERO(r, WIDTH)  VRS_##WIDTH(ACC_ZERO, r)
#define ROW_LOAD(r, WIDTH)  VRS_##WIDTH(ACC_LOAD, r)
#define ROW_STORE(r, WIDTH) VRS_##WIDTH(ACC_STORE, r)
#define ROW_STEP(r, WIDTH)                                                                                             \
    const vr a##r = vr_set(a[r * p->a_row]);                                                                           \
    VRS_##WIDTH(ACC_STEP, r)
#define ROW_STEP_BELOW(r, WIDTH)                                                                                       \
    if (r > step) {                                                                                                    \
        ROW_STEP(r, WIDTH)                                                                                             \
    }

/* `left` terms, and r more in row r when slanted. */
#define DEFINE_TILE(ROWS, WIDTH)                                                                                       \
    static void tile_##ROWS##x##WIDTH(const product *p, int left, const tn_real *a, const tn_real *b,                  \
                                      tn_real *restrict c) {                                                           \
        if (left <= 0) return;                                                                                         \
        ROWS_##ROWS(ROW_NAME, WIDTH);                                                                                  \
        if (p->fresh) {                                                                                                \
            ROWS_##ROWS(ROW_ZERO, WIDTH);                                                                              \
        } else {                                                                                                       \
            ROWS_##ROWS(ROW_LOAD, WIDTH);                                                                              \
        }                                                                                                              \
        do {                                                                                                           \
            VRS_##WIDTH(B_LOAD, 0);                                                                                    \
            ROWS_##ROWS(ROW_STEP, WIDTH);                                                                              \
            a += p->a_step;                                                                                            \
            b += p->b_row;                                                                                             \
        } while (--left > 0);                                                                                          \
        for (int step = 0; p->slanted && step < ROWS - 1; step++) {                                                    \
            VRS_##WIDTH(B_LOAD, 0);                                                                                    \
            ROWS_##ROWS(ROW_STEP_BELOW, WIDTH);                                                                        \
            a += p->a_step;                                                                                            \
            b += p->b_row;                                                                                             \
        }                                                                                                              \
        ROWS_##ROWS(ROW_STORE, WIDTH);                                                                                 \
    }

typedef void tile_fn(const product *p, int left, const tn_real *a, const tn_real *b, tn_real *restrict c);

#if VP_BYTES >= 32 || defined(VP_NEON)
#define DEFINE_TILES(WIDTH)                                                                                            \
    DEFINE_TILE(1, WIDTH)                                                                                              \
    DEFINE_TILE(2, WIDTH)                                                                                              \
    DEFINE_TILE(3, WIDTH)                                                                                              \
    DEFINE_TILE(4, WIDTH)                                                                                              \
    DEFINE_TILE(5, WIDTH)                                                                                              \
    DEFINE_TILE(6, WIDTH)
#define TILES(WIDTH)                                                                                                   \
    { NULL, tile_1x##WIDTH, tile_2x##WIDTH, tile_3x##WIDTH, tile_4x##WIDTH, tile_5x##WIDTH, tile_6x##WIDTH }
#else
#define DEFINE_TILES(WIDTH) DEFINE_TILE(1, WIDTH) DEFINE_TILE(2, WIDTH)
#define TILES(WIDTH)                                                                                                   \
    { NULL, tile_1x##WIDTH, tile_2x##WIDTH }
#endif

DEFINE_TILES(1)
#if VP_BYTES == 64
DEFINE_TILES(2)
DEFINE_TILES(3)
DEFINE_TILES(4)
static tile_fn *const tiles[][TILE_ROWS + 1] = {{NULL}, TILES(1), TILES(2), TILES(3), TILES(4)};
#else
static tile_fn *const tiles[][TILE_ROWS + 1] = {{NULL}, TILES(1)};
#endif

/* Rows to take at once when `left` are left: no small rest, which would wait for its multiply-adds. */
static int product_rows(int left) {
    return left > TILE_ROWS && left < 2 * TILE_ROWS ? (left + 1) / 2 : TN_MIN(left, (int)TILE_ROWS);
}

static void product_add(const product *p) {
    for (int col = 0, vrs; col < p->cols; col += vrs * LANES) {
        vrs = TN_MIN((p->cols - col) / LANES, (int)TILE_VRS);
        for (int row = 0, rows; row < p->rows; row += rows) {
            rows = product_rows(p->rows - row);
            tiles[vrs][rows](p, p->inner + (p->slanted ? row : 0), p->a + row * p->a_row, p->b + col,
                             p->c + row * p->c_row + col);
        }
    }
}

/* ---- B of one register's width: more rows hide what a multiply-add waits for ---- */
#if VP_BYTES == 64
enum { THIN_ROWS = 12 };
DEFINE_TILE(7, 1)
DEFINE_TILE(8, 1)
DEFINE_TILE(9, 1)
DEFINE_TILE(10, 1)
DEFINE_TILE(11, 1)
DEFINE_TILE(12, 1)
static tile_fn *const thin_tiles[] = {NULL,     tile_1x1, tile_2x1, tile_3x1,  tile_4x1,  tile_5x1, tile_6x1,
                                      tile_7x1, tile_8x1, tile_9x1, tile_10x1, tile_11x1, tile_12x1};
#else
enum { THIN_ROWS = TILE_ROWS };
#define thin_tiles tiles[1]
#endif

static void turn(int rows, int cols, const tn_real *x, int64_t x_stride, tn_real *y, int64_t y_stride) {
    const int whole_rows = rows / PART_LANES * PART_LANES, whole_cols = cols / PART_LANES * PART_LANES;
    for (int r = 0; r < whole_rows; r += PART_LANES)
        for (int c = 0; c < whole_cols; c += PART_LANES)
            vp_turn(y + c * y_stride + r, y_stride, x + r * x_stride + c, x_stride);
    for (int c = 0; c < cols; c++)
        for (int r = c < whole_cols ? whole_rows : 0; r < rows; r++) y[c * y_stride + r] = x[r * x_stride + c];
}

static void thin_panel(int rows, int k, const tn_real *x, int64_t x_row, const tn_real *b, int64_t b_row, tn_real *y,
                       int64_t y_row) {
    const product p = {.a_row = x_row, .a_step = 1, .b_row = b_row, .c_row = y_row};
    for (int count; rows > 0; rows -= count, x += count * x_row, y += count * y_row) {
        count = rows > THIN_ROWS && rows < 2 * THIN_ROWS ? (rows + 1) / 2 : TN_MIN(rows, (int)THIN_ROWS);
        thin_tiles[count](&p, k, x, b, y);
    }
}

/* y[16 of b][16 of x] += b' x, a square of the turned product. */
#if VP_BYTES == 64
#define S_LOAD(r, _)  vr acc##r = vr_load(y + r * LANES);
#define S_STORE(r, _) vr_store(y + r * LANES, acc##r);
#define S_STEP(r, _)  acc##r = vr_mul_add(vr_set(b[r]), line, acc##r);
static void thin_square(int k, const tn_real *x, int64_t x_row, const tn_real *b, int64_t b_row, tn_real *restrict y) {
    ROWS_16(S_LOAD, 0)
    for (int t = 0; t < k; t++, x += x_row, b += b_row) {
        const vr line = vr_load(x);
        __builtin_prefetch(x + 32 * x_row, 0, 2); /* for the next square */
        ROWS_16(S_STEP, 0)
    }
    ROWS_16(S_STORE, 0)
}
#else
static void thin_square(int k, const tn_real *x, int64_t x_row, const tn_real *b, int64_t b_row, tn_real *y) {
    product_add(&(product){.rows = LANES,
                           .cols = LANES,
                           .inner = k,
                           .a = b,
                           .a_row = 1,
                           .a_step = b_row,
                           .b = x,
                           .b_row = x_row,
                           .c = y,
                           .c_row = LANES});
}
#endif

static void thin_outer(int cols, int k, const tn_real *x, int64_t x_row, const tn_real *b, int64_t b_row, tn_real *y,
                       int64_t y_row) {
    tn_real square[LANES * LANES];
    for (; cols >= LANES; cols -= LANES, x += LANES, y += LANES * y_row) {
        turn(LANES, LANES, y, y_row, square, LANES);
        thin_square(k, x, x_row, b, b_row, square);
        turn(LANES, LANES, square, LANES, y, y_row);
    }
    const product p = {.a_row = 1, .a_step = x_row, .b_row = b_row, .c_row = y_row};
    for (; cols > 0; cols--, x++, y += y_row) thin_tiles[1](&p, k, x, b, y);
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
    tiles[TILE_VRS][rows](&p, k, x, panel, y);
}
