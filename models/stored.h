/* SPDX-License-Identifier: MIT
 * stored.h - a parameter out of a mapped file of whatever format: numbers of a type of kernels/table.h, or rows of
 * states. Matrices are unpacked a stretch of rows at a time, on all threads, straight into what products read; what was
 * read of the file is given back. */
#ifndef TN_MODELS_STORED_H
#define TN_MODELS_STORED_H
#include "autograd/param.h"
#include "core/buf.h"

enum { TN_ZEROS_NAMED = 8 };

/* How the parameters of one model are read, and what was found. Life: set the arena, read, tn_reading_end. */
typedef struct tn_reading {
    tn_arena *scratch; /* rewound after each parameter */
    int n_zero;        /* matrices so far whose every weight is zero */
    tn_buf zeros;      /* names of the first TN_ZEROS_NAMED of them, with commas */
} tn_reading;

/* The sentence for values of a tensor, from element `first` on, of which one is not finite. TN_E_CORRUPT. */
tn_status tn_fail_not_finite(const char *path, const char *name, int64_t first, const tn_real *values);

/* Warn of the matrices of zeros in the file of that path, and release. */
void tn_reading_end(tn_reading *reading, const char *path);

typedef struct tn_stored tn_stored;
/* states [cols] of row `row` as the file counts them, and its scale, which stays as it is where the row has none.
 * Several threads call it. Fails: TN_E_CORRUPT. */
typedef tn_status tn_unpack_row(const tn_stored *stored, const tn_param *param, int64_t row, int8_t *states,
                                float *scale);
/* Which row of the file is row `row` of the parameter. */
typedef int64_t tn_find_row(const tn_param *param, int paired_heads, int64_t row);

/* What the file has for one parameter; its shape was compared already. */
struct tn_stored {
    const char *path, *name; /* for sentences */
    const unsigned char *data;
    size_t bytes;
    tn_unpack_row *unpack; /* NULL: numbers */
    tn_table_type type;    /* of the numbers */
    int kind;              /* for unpack: the format's type */
    tn_find_row *find_row; /* NULL: the same row */
    int paired_heads;      /* for find_row */
    float factor;          /* the scale of the matrix is that of its rows times this */
};

/* Fill the value of a parameter, or the table of one that has no value: then the map must live as long as the model.
 * Fails: TN_E_CORRUPT for a number that is not finite. */
tn_status tn_reading_take_floats(tn_reading *reading, const tn_stored *stored, tn_param *param);
/* Fill states and scale of a frozen ternary parameter from rows of states, or from numbers -s, 0, s.
 * Fails: TN_E_CORRUPT for a damaged matrix (a code that is none, a scale that is not finite and positive);
 * TN_E_UNSUPPORTED for numbers that are not ternary. */
tn_status tn_reading_take_states(tn_reading *reading, const tn_stored *stored, tn_param *param);
/* The same from numbers that the parameter's quantizer is yet to make ternary. */
tn_status tn_reading_take_latents(tn_reading *reading, const tn_stored *stored, tn_param *param);

#endif
