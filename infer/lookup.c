/* SPDX-License-Identifier: MIT */
#include "infer/lookup.h"

/* How many tokens before place `end` equal the last ones of history [n], at most TN_LOOKUP_MOST. */
static int match_before(const int32_t *history, int n, int end) {
    int len = 0;
    while (len < TN_LOOKUP_MOST && len < end && history[end - 1 - len] == history[n - 1 - len]) len++;
    return len;
}

int tn_lookup_draft(int32_t *draft, int most, const int32_t *history, int n) {
    int best = TN_LOOKUP_LEAST - 1, from = n;
    for (int end = n - 1; end > 0 && best < TN_LOOKUP_MOST; end--) {
        int len = match_before(history, n, end);
        if (len <= best) continue;
        best = len;
        from = end;
    }
    if (from == n) return 0;
    for (int i = 0; i < most; i++) draft[i] = from + i < n ? history[from + i] : draft[from + i - n];
    return most;
}
