/* SPDX-License-Identifier: MIT
 * bodies_kv.h - keys and values of one position into the tiles of a cache, and in and out of rows that a file keeps.
 * Included by bodies_attention.h, which reads the tiles. Contracts: attention.h. */
typedef struct kv_tile {
    int key_numbers, value_numbers; /* of k [d][TN_KEY_TILE] and of v [TN_KEY_TILE][pitch] */
    int pitch;
} kv_tile;

static kv_tile kv_tile_of(int d) {
    const int pitch = TN_ROUND_UP(d, LANES);
    return (kv_tile){d * TN_KEY_TILE, pitch * TN_KEY_TILE, pitch};
}

static void kv_put_real(int d, int at, const tn_real *k, const tn_real *v, tn_real *tile) {
    const kv_tile t = kv_tile_of(d);
    for (int i = 0; i < d; i++) tile[i * TN_KEY_TILE + at] = k[i];
    memcpy(tile + t.key_numbers + at * t.pitch, v, sizeof *v * (size_t)d);
}

static void kv_put_f16(int d, int at, const tn_real *k, const tn_real *v, uint16_t *tile) {
    const kv_tile t = kv_tile_of(d);
    uint16_t halves[HEAD_PAD];
    for (int i = 0; i < d; i += LANES) vr_to_f16(halves + i, vr_load_n(k + i, TN_MIN(d - i, (int)LANES)));
    for (int i = 0; i < d; i++) tile[i * TN_KEY_TILE + at] = halves[i];
    uint16_t *row = tile + t.key_numbers + at * t.pitch;
    for (int i = 0; i < d; i += LANES) vr_to_f16(row + i, vr_load_n(v + i, TN_MIN(d - i, (int)LANES)));
}

/* The tile ends with what the codes of each position are multiplied by: [TN_KEY_TILE] for keys, then for values. */
static void kv_put_q8(int d, int at, const tn_real *k, const tn_real *v, int8_t *tile) {
    const kv_tile t = kv_tile_of(d);
    tn_real *units = (tn_real *)(void *)(tile + t.key_numbers + t.value_numbers);
    int8_t codes[HEAD_PAD];
    units[at] = 1 / quantize_row(d, k, codes);
    for (int i = 0; i < d; i++) tile[i * TN_KEY_TILE + at] = codes[i];
    units[TN_KEY_TILE + at] = 1 / quantize_row(d, v, tile + t.key_numbers + at * t.pitch);
}

static void kv_put(tn_kv_type type, int d, int at, const tn_real *k, const tn_real *v, void *tile) {
    switch (type) {
    case TN_KV_F32: kv_put_real(d, at, k, v, tile); break;
    case TN_KV_F16: kv_put_f16(d, at, k, v, tile); break;
    case TN_KV_Q8_0: kv_put_q8(d, at, k, v, tile); break;
    case TN_KV_TYPES: break;
    }
}

/* The numbers of one position, of `size` bytes each, to `row` (k, then v) or, with `back`, from there. */
static void kv_copy(size_t size, int d, int at, char *tile, char *row, bool back) {
    const kv_tile t = kv_tile_of(d);
    for (int i = 0; i < d; i++) {
        char *number = tile + (size_t)(i * TN_KEY_TILE + at) * size;
        if (back)
            memcpy(number, row + (size_t)i * size, size);
        else
            memcpy(row + (size_t)i * size, number, size);
    }
    char *v = tile + (size_t)(t.key_numbers + at * t.pitch) * size, *v_row = row + (size_t)d * size;
    memcpy(back ? v : v_row, back ? v_row : v, (size_t)d * size);
}

static void kv_copy_units(int d, int at, char *tile, char *row, bool back) {
    const kv_tile t = kv_tile_of(d);
    char *units = tile + t.key_numbers + t.value_numbers, *unit_row = row + 2 * d;
    for (int i = 0; i < 2; i++) {
        char *unit = units + (size_t)(i * TN_KEY_TILE + at) * sizeof(tn_real);
        char *saved = unit_row + (size_t)i * sizeof(tn_real);
        memcpy(back ? unit : saved, back ? saved : unit, sizeof(tn_real));
    }
}

static void kv_move(tn_kv_type type, int d, int at, char *tile, char *row, bool back) {
    static const size_t sizes[] = {[TN_KV_F32] = sizeof(tn_real), [TN_KV_F16] = 2, [TN_KV_Q8_0] = 1};
    kv_copy(sizes[type], d, at, tile, row, back);
    if (type == TN_KV_Q8_0) kv_copy_units(d, at, tile, row, back);
}

static void kv_save(tn_kv_type type, int d, int at, const void *tile, void *row) {
    kv_move(type, d, at, (char *)(uintptr_t)tile, row, false);
}

static void kv_restore(tn_kv_type type, int d, int at, const void *row, void *tile) {
    kv_move(type, d, at, tile, (char *)(uintptr_t)row, true);
}
