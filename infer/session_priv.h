/* SPDX-License-Identifier: MIT
 * session_priv.h - the inside of a session, for session.c, generate.c and session_file.c. */
#ifndef TN_INFER_SESSION_PRIV_H
#define TN_INFER_SESSION_PRIV_H
#include "infer/session.h"
#include "kernels/screen.h"

struct tn_session {
    const tn_loaded *loaded;
    tn_arena *arena;
    tn_tape *tape;
    tn_cache cache;
    int context, chunk;
    int32_t *history;         /* [context], cache.length of them in use */
    int64_t dropped;          /* tokens that shifts took out */
    uint64_t adapter_changes; /* of the model when the cache was filled */
    /* What the head reads, and tells, after first_row tokens, after first_row + 1 ... n_rows of them. */
    int first_row, n_rows;
    tn_real *hidden; /* heap, [n_rows, d_model] */
    tn_real *logits; /* heap, [n_rows, vocab_size], when they are known */
    size_t hidden_cap, logits_cap;
    bool knows_logits;
    tn_screen *screen;        /* NULL: the full head alone */
    tn_candidate *candidates; /* [vocab_size] what it leaves in question */
};

/* Read all again where adapters of the model, or their scales, are others than those that filled the cache. */
tn_status tn_session_catch_up(tn_session *session);
/* Forget from `length` on without a pass, so that nothing may be asked of the head until the next feed. */
void tn_session_cut(tn_session *session, int length);

#endif
