/* SPDX-License-Identifier: MIT
 * writer.h - one text being written, token by token, without the forward pass: which tokens may come, what of them is
 * shown, when it ends. tn_generate and batches write with it, so that both write the same.
 * Life: tn_writer_begin; while not `ended`: tn_writer_allowed, choose an id, tn_writer_take; tn_writer_end. */
#ifndef TN_INFER_WRITER_H
#define TN_INFER_WRITER_H
#include "infer/session.h"

typedef struct tn_writer {
    const tn_loaded *loaded;
    const tn_generate_options *options; /* borrowed */
    tn_generated out;
    bool ended;        /* out.reason tells why */
    uint64_t *usable;  /* heap, token_mask.h: what may come without the grammar */
    uint64_t *allowed; /* heap, the same with it; NULL without one */
    tn_text_stream stream;
    tn_buf bytes; /* of one token */
    double start;
} tn_writer;

/* A text of no tokens has ended already. Fails: as tn_text_stream_init; TN_E_NOMEM. To be ended in any case. */
tn_status tn_writer_begin(tn_writer *writer, const tn_loaded *loaded, const tn_generate_options *options);
/* What may come next, as in tn_place; the text may end here, where the grammar lets nothing follow. Fails: what the
 * grammar gives; TN_E_EMPTY when it expects what no token can begin. */
tn_status tn_writer_allowed(tn_writer *writer, const uint64_t **allowed);
/* The token that was chosen; logits [vocab_size] are for options->token, NULL without one. Fails: what the grammar, the
 * piece and the token's observer give. */
tn_status tn_writer_take(tn_writer *writer, int32_t id, const tn_real *logits);
/* No room for another token. */
void tn_writer_stop(tn_writer *writer);
/* Show what was held back, unless `status` is a failure, and let go of all. Returns the first failure. */
tn_status tn_writer_end(tn_writer *writer, tn_status status);

#endif
