/* SPDX-License-Identifier: MIT */
#include "infer/logprobs.h"

#include <math.h>

/* The n largest logits: each id moves up past the smaller ones. Ids rise, so an equal one stays behind. */
static void find_best(tn_logprob *best, int n, const tn_real *logits, int n_vocab) {
    int found = 0;
    for (int32_t id = 0; id < n_vocab; id++) {
        double logit = (double)logits[id];
        if (found == n && logit <= best[n - 1].value) continue;
        int at = found < n ? found++ : n - 1;
        for (; at > 0 && best[at - 1].value < logit; at--) best[at] = best[at - 1];
        best[at] = (tn_logprob){id, logit};
    }
}

double tn_logprobs(tn_logprob *best, int n, const tn_real *logits, int n_vocab, int32_t id) {
    TN_ASSERT(n >= 0 && n <= TN_LOGPROBS_MOST && n <= n_vocab && id >= 0 && id < n_vocab);
    double most = -HUGE_VAL, sum = 0;
    if (n > 0) find_best(best, n, logits, n_vocab);
    for (int i = 0; i < n_vocab; i++) most = fmax(most, (double)logits[i]);
    for (int i = 0; i < n_vocab; i++) sum += exp((double)logits[i] - most);
    double total = most + log(sum);
    for (int i = 0; i < n; i++) best[i].value -= total;
    return (double)logits[id] - total;
}
