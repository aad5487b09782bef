/* SPDX-License-Identifier: MIT
 * session_priv.h - the inside of a session, for session.c and generate.c. */
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
    int32_t *history; /* [context], cache.length of them in use */
    tn_real *hidden;  /* [d_model] after the last token: what the head reads */
    tn_real *logits;  /* [vocab_size] of it, when they are known */
    bool knows_logits;
    uint64_t *allowed;        /* [vocab_size] bits: what generating may choose */
    tn_screen *screen;        /* NULL: the full head alone */
    tn_candidate *candidates; /* [vocab_size] what it leaves in question */
};

#endif
