/* SPDX-License-Identifier: MIT
 * Words are four neighbouring bytes, taken together: no part of a byte reaches the next. */
#include "kernels/triples.h"

#include "kernels/kernels_priv.h"

#include <string.h>

enum { TRIPLE_TERMS = 12 /* of k in a field's unit */ };

static uint32_t each_byte(uint32_t byte) { return byte * 0x01010101U; }

/* Four fields of one output from its states at 12 places of k. */
static uint32_t field_word(const int8_t states[TRIPLE_TERMS]) {
    static const uint32_t weight[3] = {1, 3, 9};
    uint32_t word = 0;
    for (int i = 0; i < 3; i++) {
        uint32_t four;
        memcpy(&four, states + 4 * i, sizeof four);
        word += (((four & each_byte(3)) + each_byte(1)) & each_byte(3)) * weight[i];
    }
    return word;
}

/* The fields of word j of every unit into the rows, and back. */
static void join_fields(int words, const uint32_t f[TN_TRIPLE_UNITS], uint32_t *row) {
    row[0] = f[0] | (f[5] & each_byte(7)) << 5;
    row[words] = f[1] | (f[6] & each_byte(7)) << 5;
    row[2 * words] = f[2] | (f[7] & each_byte(7)) << 5;
    row[3 * words] = f[3] | (f[5] >> 3 & each_byte(3)) << 5 | (f[7] >> 3 & each_byte(1)) << 7;
    row[4 * words] = f[4] | (f[6] >> 3 & each_byte(3)) << 5 | (f[7] >> 4 & each_byte(1)) << 7;
}

static void split_fields(int words, const uint32_t *row, uint32_t f[TN_TRIPLE_UNITS]) {
    const uint32_t r[TN_TRIPLE_ROWS] = {row[0], row[words], row[2 * words], row[3 * words], row[4 * words]};
    for (int u = 0; u < TN_TRIPLE_ROWS; u++) f[u] = r[u] & each_byte(31);
    f[5] = (r[0] >> 5 & each_byte(7)) | (r[3] >> 5 & each_byte(3)) << 3;
    f[6] = (r[1] >> 5 & each_byte(7)) | (r[4] >> 5 & each_byte(3)) << 3;
    f[7] = (r[2] >> 5 & each_byte(7)) | (r[3] >> 7 & each_byte(1)) << 3 | (r[4] >> 7 & each_byte(1)) << 4;
}

/* States of an output from `at` on, `most` of them: in place, or filled up with zeros. */
static const int8_t *group_states(const int8_t *states, int at, int k, int8_t room[TN_TRIPLE_GROUP]) {
    if (states && k - at >= TN_TRIPLE_GROUP) return states + at;
    memset(room, 0, TN_TRIPLE_GROUP);
    if (states) memcpy(room, states + at, (size_t)(k - at));
    return room;
}

/* Four outputs, one of each quarter of the panel, so that states are read as they lie. */
void tn_pack_triples(int width, int count, int k, const int8_t *states, uint32_t *panel) {
    const int words = width / 4;
    for (int j = 0; j < words; j++) {
        const int8_t *outputs[4];
        for (int s = 0; s < 4; s++) outputs[s] = s * words + j < count ? states + (int64_t)(s * words + j) * k : NULL;
        uint32_t *row = panel + j;
        for (int at = 0; at < k; at += TN_TRIPLE_GROUP, row += TN_TRIPLE_ROWS * words) {
            uint32_t fields[TN_TRIPLE_UNITS];
            for (int s = 0; s < 4; s++) {
                int8_t room[TN_TRIPLE_GROUP];
                const int8_t *group = group_states(outputs[s], at, k, room);
                fields[s] = field_word(group);
                fields[4 + s] = field_word(group + TRIPLE_TERMS);
            }
            join_fields(words, fields, row);
        }
    }
}

void tn_triple_bytes(int groups, const uint32_t *panel, uint32_t *bytes) {
    const int width = tn_k->ternary_panel_width, words = width / 4;
    for (; groups > 0; groups--, panel += TN_TRIPLE_ROWS * words, bytes += TN_TRIPLE_GROUP / 4 * width)
        for (int j = 0; j < words; j++) {
            uint32_t fields[TN_TRIPLE_UNITS];
            split_fields(words, panel + j, fields);
            for (int u = 0; u < TN_TRIPLE_UNITS; u++) {
                uint8_t field[4], open[3][4];
                memcpy(field, &fields[u], sizeof field);
                for (int b = 0; b < 4; b++)
                    open[0][b] = field[b] % 3, open[1][b] = field[b] / 3 % 3, open[2][b] = field[b] / 9;
                for (int i = 0; i < 3; i++)
                    memcpy(bytes + (u / 4 * 3 + i) * width + u % 4 * words + j, open[i], sizeof open[i]);
            }
        }
}

void tn_triple_panel(int rows, int k, const int8_t *q, int64_t q_stride, const void *panel, int32_t *acc) {
    const int width = tn_k->ternary_panel_width;
    uint32_t bytes[TN_TRIPLE_GROUP / 4 * TN_TERNARY_WIDTH_MAX];
    memset(acc, 0, sizeof *acc * (size_t)(rows * width));
    for (int at = 0; at < k; at += TN_TRIPLE_GROUP) {
        tn_triple_bytes(1, (const uint32_t *)panel + at / TN_TRIPLE_GROUP * TN_TRIPLE_ROWS * (width / 4), bytes);
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < TN_MIN(k - at, (int)TN_TRIPLE_GROUP); i++)
                for (int j = 0; j < width; j++)
                    acc[r * width + j] +=
                        q[r * q_stride + at + i] * ((int)(bytes[i / 4 * width + j] >> 8 * (i % 4) & 255) - 1);
    }
}
