/* SPDX-License-Identifier: MIT
 * conversation.h - messages that take turns on a session: each answer is written after all that was said before, of
 * which only what is new is computed.
 * Life: create -> (set_system) -> say, say ... -> free. What is said is kept as messages {"role", "content"}; each turn
 * renders all of them through the chat template, so that the model reads what it was taught, and the session keeps the
 * tokens that are as they were.
 * Owns: the messages. The session and the template are borrowed. Threads: as the session. */
#ifndef TN_INFER_CONVERSATION_H
#define TN_INFER_CONVERSATION_H
#include "data/chat_prompt.h"
#include "infer/session.h"

typedef struct tn_conversation tn_conversation;

typedef struct tn_conversation_options {
    const tn_loaded *loaded;
    const tn_chat_template *chat_template;
    const json_t *variables; /* for the template, an object; or NULL */
    bool shift;              /* a full context loses the oldest turns, never the system message; else it is an end */
    int threads, prompt_threads; /* while an answer is written, while a prompt is read; as tn_par_set_threads */
    bool (*stop)(void *context); /* asked while a long prompt is read; or NULL */
    void *context;
} tn_conversation_options;

/* Fails: TN_E_NOMEM. */
tn_status tn_conversation_create(tn_conversation **out, tn_session *session, const tn_conversation_options *options);
void tn_conversation_free(tn_conversation *conversation); /* NULL is fine */

/* The message in front of all others; NULL takes it away. Fails: TN_E_TEXT, TN_E_NOMEM. */
tn_status tn_conversation_set_system(tn_conversation *conversation, const char *text);
/* Forget all but the system message. */
void tn_conversation_reset(tn_conversation *conversation);
/* Array of all messages, good until the next change. */
const json_t *tn_conversation_messages(const tn_conversation *conversation);
/* Take other messages, which are copied. Fails: TN_E_FORMAT, naming the message, when they are no list of objects with
 * texts "role" and "content"; the conversation is then as it was. */
tn_status tn_conversation_set_messages(tn_conversation *conversation, const json_t *messages);

typedef struct tn_turn {
    int prompt_tokens; /* all that was said, with the question */
    int reused;        /* of these, tokens that were there already */
    int dropped;       /* messages that a full context cost */
    double prompt_seconds;
    tn_generated answer;
} tn_turn;

/* Say `text` as the user and have it answered: `options` tell how, their piece receives the answer as it comes, and it
 * becomes a message. `turn` is filled as far as it came.
 * Fails, and the question is taken back: TN_E_RANGE when what was said does not fit in the context; what the template,
 * tn_generate and the piece give. TN_E_STOPPED (by `stop`, or from the piece) keeps question and answer as far as they
 * came, when a part of the answer did. */
tn_status tn_conversation_say(tn_conversation *conversation, const char *text, tn_sampler *sampler,
                              const tn_generate_options *options, tn_turn *turn);

#endif
