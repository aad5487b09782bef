/* SPDX-License-Identifier: MIT
 * status.h - errors as values: a code to branch on, and one sentence for the person.
 * The failing site writes the sentence once with TN_FAIL; callers forward the code with TN_TRY.
 * Threads: the message is per thread; it stays until the next TN_FAIL on that thread. */
#ifndef TN_CORE_STATUS_H
#define TN_CORE_STATUS_H
#include "core/compiler.h"

typedef int tn_status; /* 0 is OK, errors are negative */

enum tn_status_code {
    TN_STATUS_FIRST = -1000,
#define STATUS(name, text) TN_E_##name,
#include "core/status.def"
#undef STATUS
    TN_STATUS_END,
    TN_OK = 0
};

const char *tn_status_name(tn_status status); /* "TN_E_NOMEM" */
const char *tn_status_text(tn_status status); /* "out of memory" */

/* The sentence of the last failure on this thread, without a final newline; "" when none. */
const char *tn_error_message(void);
/* Source place of the last failure, "core/fs.c:41", for debug logs. */
const char *tn_error_place(void);
void tn_error_clear(void);

/* Keep the message (at most 1023 bytes are kept) and return `code`. A sentence names file, line or field, what was
 * found and what was expected; it starts lower-case after its subject and has no final full stop. */
tn_status tn_fail_at(tn_status code, const char *file, int line, const char *fmt, ...) TN_PRINTF(4, 5);

/* The code is named twice so that the compiler sees a failure that is not TN_OK, and no variable left unset after it.
 */
#define TN_FAIL(code, ...) (tn_fail_at(TN_E_##code, __FILE__, __LINE__, __VA_ARGS__), TN_E_##code)
#define TN_TRY(call)                                                                                                   \
    do {                                                                                                               \
        tn_status tn_try_ = (call);                                                                                    \
        if (TN_UNLIKELY(tn_try_)) return tn_try_;                                                                      \
    } while (0)

#endif
