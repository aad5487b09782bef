/* SPDX-License-Identifier: MIT
 * session.h - one sequence of tokens on a loaded model: it is fed, remembers keys and values, and tells how the next
 * token is distributed; tn_generate writes a text with it.
 * The same forward pass as in training runs here (layers/model.h), so a session's logits equal the trainer's bit for
 * bit, however a prompt is cut into chunks.
 * Adapters attached to the model (layers/adapter.h) run in sessions, too. What a session holds is read again after one
 * comes, goes, or gets another scale, which is not to happen within tn_generate: the bits are those of a new session.
 * Owns: cache, tape, history. The loaded model is borrowed and must outlive the session; several sessions may share it.
 * Threads: one session, one thread; the products inside are parallel. */
#ifndef TN_INFER_SESSION_H
#define TN_INFER_SESSION_H
#include "infer/grammar.h"
#include "models/model_file.h"
#include "infer/sampler.h"
#include "infer/text_stream.h"

typedef struct tn_session tn_session;

/* How tn_session_pick asks the head. */
typedef enum tn_head_kind {
    TN_HEAD_SCREENED, /* bounds first, true logits of what they leave in question, for tables that have bounds */
    TN_HEAD_EXACT     /* all logits */
} tn_head_kind;

typedef struct tn_session_options {
    int context; /* tokens the session can hold; 0 = as many as the model was trained for, which is also the most */
    int chunk;   /* tokens of a prompt in one pass; 0 = 512 */
    tn_head_kind head;
    tn_kv_type kv; /* of the cache; f32 gives the bits of a pass without one */
} tn_session_options;

/* Fails: TN_E_RANGE for a context beyond the model's or below 2, TN_E_NOMEM. */
tn_status tn_session_create(tn_session **out, const tn_loaded *loaded, tn_session_options options);
void tn_session_free(tn_session *session); /* NULL is fine */

int tn_session_context(const tn_session *session);
int tn_session_length(const tn_session *session);             /* tokens fed so far */
const int32_t *tn_session_history(const tn_session *session); /* [length] */

/* Append tokens. Fails: TN_E_RANGE when they do not fit (nothing is fed then), or for an id the model does not know. */
tn_status tn_session_feed(tn_session *session, const int32_t *ids, int n);
/* The same, keeping what the head needs after each of the last `rows` of them, 1..n, for the calls at a length. */
tn_status tn_session_feed_all(tn_session *session, const int32_t *ids, int n, int rows);
/* Forget the tokens from `length` on, 0..tn_session_length(). Costs a pass over one token where what the
 * head needs after `length` tokens was not kept. */
tn_status tn_session_rewind(tn_session *session, int length);
/* Hold ids [n] and nothing else: what the session has of their beginning stays, the rest is fed. The bits are those of
 * a new session. `reused` (NULL = not asked) receives how many tokens needed no pass. Fails as tn_session_feed. */
tn_status tn_session_set_prompt(tn_session *session, const int32_t *ids, int n, int *reused);
/* The same with a pause after every 512 tokens, in which `stop` (or NULL) may end it: TN_E_STOPPED. */
tn_status tn_session_read_prompt(tn_session *session, const int32_t *ids, int n, bool (*stop)(void *context),
                                 void *context, int *reused);
/* Make room: drop half of the tokens after the first `keep` and feed the rest again, since keys are rotated by their
 * places and all that follows depends on what came before. That costs a prompt of these tokens; the bits are those of a
 * new session. Fails: TN_E_RANGE when fewer than two tokens follow the kept ones; else as tn_session_feed. */
tn_status tn_session_shift(tn_session *session, int keep);

/* Logits [vocab_size] of the token after the last one fed, by the full head; good until the next feed or rewind. NULL
 * when the session is empty, or after a failure. */
const tn_real *tn_session_logits(tn_session *session);
/* Those of the token after the first `length` tokens; NULL unless the last feed kept them. */
const tn_real *tn_session_logits_at(tn_session *session, int length);
/* Choose the next token, `allowed` as in tn_place: what tn_sampler_pick chooses from the logits, by way of the screened
 * head where the sampler goes by a part of them. At least one token was fed. Fails as tn_sampler_pick. */
tn_status tn_session_pick(tn_session *session, tn_sampler *sampler, const uint64_t *allowed, int32_t *id);
/* The same for the token after the first `length` tokens, which the last feed must have kept. */
tn_status tn_session_pick_at(tn_session *session, tn_sampler *sampler, int length, const uint64_t *allowed,
                             int32_t *id);
/* The place of the next token in the whole text: the length, and what tn_session_shift has dropped. */
int64_t tn_session_position(const tn_session *session);

/* The ids that stand for a prompt: BOS first when the tokenizer asks for it, special tokens in the text as such. An
 * empty prompt is BOS, or else EOS, which ended the document before every document of the training text.
 * Fails: TN_E_TEXT as tn_tokenizer_encode; TN_E_EMPTY when an empty prompt has no token to begin with. */
tn_status tn_prompt_encode(const tn_tokenizer *tokenizer, const char *text, size_t len, tn_ids *ids);

/* ---- generating ---- */

typedef enum tn_stop_reason {
    TN_STOP_EOS,    /* the model ended the text, or its grammar did */
    TN_STOP_STRING, /* a stop string came up; the text ends before it */
    TN_STOP_LENGTH, /* max_tokens */
    TN_STOP_CONTEXT /* no room for another token */
} tn_stop_reason;
const char *tn_stop_reason_name(tn_stop_reason reason); /* "eos", "stop", "length", "length" */

/* Told each token that is chosen, one that ends the text too, before its text is shown; logits [vocab_size] are the
 * model's, before any ban. A failure stops the text. */
typedef tn_status tn_token_seen(void *context, int32_t id, const tn_real *logits);

typedef struct tn_generate_options {
    int max_tokens;           /* -1 = until the model stops or the context is full */
    bool ignore_eos;          /* the tokens that end a text are never chosen */
    const char *const *stops; /* stop strings, borrowed */
    int n_stops;
    tn_text_piece *piece;      /* receives the text as it comes: whole characters */
    tn_token_seen *token;      /* or NULL */
    void *context;             /* for `piece` and `token` */
    int draft;                 /* tokens guessed ahead (lookup.h), 0..TN_DRAFT_MOST; 0 = none. The text is the same */
    bool shift;                /* a full context is shifted instead of ending the text (tn_session_shift) */
    int keep;                  /* how many tokens a shift leaves at the beginning */
    tn_grammar_state *grammar; /* says which tokens may come, and is moved on by them; NULL = all may. Borrowed */
} tn_generate_options;
enum { TN_DRAFT_MOST = 64 };

typedef struct tn_generated {
    tn_stop_reason reason;
    int tokens;           /* chosen, the one that ended the text not counted */
    int drafted, guessed; /* tokens that were guessed ahead, and those of them that came true */
    int32_t last;         /* token that was chosen, not fed yet; -1 = none, or it ended the text */
    double seconds;
} tn_generated;

/* Continue what was fed (at least one token). The last token of the text is chosen but not fed.
 * Fails: what the sampler, the model, the grammar, `piece` and `token` give. */
tn_status tn_generate(tn_session *session, tn_sampler *sampler, const tn_generate_options *options, tn_generated *out);

#endif
