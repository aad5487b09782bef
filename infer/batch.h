/* SPDX-License-Identifier: MIT
 * batch.h - many texts at once: requests take slots, and each step is one forward pass that feeds the last token of
 * every text under way and, in what room is left, the next stretch of the prompts that wait.
 * What a request is answered depends on its prompt and options alone: not on its neighbours, the number of slots, how
 * prompts are cut, or threads; it is what tn_generate answers, bit for bit, by the adapters that are attached to the
 * model. Texts under way are read again, from their beginning, when adapters or their scales change. A slot that is
 * taken again keeps what the new prompt has in common with the old text.
 * Life: tn_batch_create; while there is work: tn_batch_add for as long as tn_batch_free_slots, tn_batch_step;
 *       tn_batch_free.
 * Owns: caches, tape, samplers. The loaded model is borrowed. Threads: one batch, one thread; parallel inside. */
#ifndef TN_INFER_BATCH_H
#define TN_INFER_BATCH_H
#include "infer/session.h"

typedef struct tn_batch tn_batch;

enum { TN_BATCH_SLOTS = 256 };

typedef struct tn_batch_options {
    int slots;     /* 1..TN_BATCH_SLOTS; 0 = 8 */
    int context;   /* tokens a slot can hold; 0 = as many as the model was trained for, which is also the most */
    tn_kv_type kv; /* of the caches */
    int chunk;     /* rows of one pass while prompts wait, at least one of them a prompt's; 0 = 512 */
} tn_batch_options;

/* Called when a text has ended, and with a failure when it could not be written (tn_error_message tells why); its slot
 * is free then. What it returns ends the step when it is a failure. */
typedef tn_status tn_batch_done(void *context, tn_status status, const tn_generated *generated);

typedef struct tn_batch_request {
    const int32_t *ids; /* [n_ids], n_ids > 0: the prompt; copied */
    int n_ids;
    const tn_sampler_options *sampler; /* what it borrows must live until `done` */
    tn_generate_options generate;      /* likewise */
    tn_batch_done *done;
    void *context; /* for `done` */
} tn_batch_request;

/* Fails: TN_E_RANGE for options, TN_E_NOMEM. */
tn_status tn_batch_create(tn_batch **out, const tn_loaded *loaded, tn_batch_options options);
void tn_batch_free(tn_batch *batch); /* NULL is fine; texts under way are dropped */

int tn_batch_context(const tn_batch *batch);
int tn_batch_free_slots(const tn_batch *batch);
int tn_batch_under_way(const tn_batch *batch);

/* Take a free slot, of which there must be one. Fails, and the slot stays free: TN_E_RANGE for a prompt that does not
 * fit in the context, or an id that the model does not know; what tn_sampler_create and tn_text_stream_init give. */
tn_status tn_batch_add(tn_batch *batch, const tn_batch_request *request);
/* One pass, and a token for each text that is due. Fails: what the model and `done` give; then only _free is left. */
tn_status tn_batch_step(tn_batch *batch);

/* Rows that were computed so far, for rates. */
typedef struct tn_batch_counts {
    int64_t prompt, reused, text; /* tokens of prompts computed, and kept from before; tokens written */
    int64_t passes;
} tn_batch_counts;
tn_batch_counts tn_batch_get_counts(const tn_batch *batch);

#endif
