/* SPDX-License-Identifier: MIT
 * session_priv.h - the inside of a session, for session.c and generate.c. */
#ifndef TN_INFER_SESSION_PRIV_H
#define TN_INFER_SESSION_PRIV_H
#include "infer/session.h"

struct tn_session {
    const tn_loaded *loaded;
    tn_arena *arena;
    tn_tape *tape;
    tn_cache cache;
    int context, chunk;
    int32_t *history; /* [context], cache.length of them in use */
    tn_real *logits;  /* [vocab_size] after the last token */
    tn_real *choice;  /* [vocab_size] the same with what may not be chosen at minus infinity */
};

#endif
