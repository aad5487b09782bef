/* SPDX-License-Identifier: MIT */
#include "tests/pair_rig.h"
#include "tests/network_rig.h"
#include "tests/testing.h"

#include <string.h>

enum { T = TN_PAIR_TIME };

/* Tokens of a prompt, and of what was chosen and rejected behind it. */
static const int lengths[TN_PAIRS][3] = {{5, 20, 9}, {12, 3, 17}, {1, 30, 30}, {7, 11, 2}};

void tn_pair_rig_init(tn_pair_rig *rig) {
    *rig = (tn_pair_rig){0};
    tn_model_config config = tn_network_small;
    config.context = T;
    const tn_objective_settings settings = {.kind = TN_OBJECTIVE_DPO, .beta = 0.5};
    assert_non_null(rig->arena = tn_arena_create("test"));
    assert_non_null(rig->tape = tn_tape_create());
    rig->model = tn_network_make(rig->arena, &config, TN_MODEL_TRAIN, 1);
    rig->params = tn_model_params(rig->model, &rig->n_params);
    assert_ok(tn_objective_init(&rig->objective, rig->arena, &settings, TN_PAIR_SLOTS));
    for (int i = 0; i < 2 * TN_PAIRS; i++) rig->references[i] = -3.5 * lengths[i / 2][1 + i % 2] + i % 3;
}

void tn_pair_rig_release(tn_pair_rig *rig) {
    tn_tape_free(rig->tape);
    tn_arena_free(rig->arena);
}

static int32_t token_of(int pair, int side, int i) {
    const int stream = i < lengths[pair][0] ? pair : TN_PAIRS + 2 * pair + side;
    tn_rng rng = tn_rng_make(3, TN_PURPOSE_TEST, (uint32_t)stream);
    return (int32_t)tn_rng_below(&rng, (uint64_t)i, (uint64_t)tn_network_small.vocab_size);
}

static int length_of(int pair, int side) { return lengths[pair][0] + lengths[pair][1 + side]; }

/* Padding is documents of one token without a target. */
static void clear(tn_pair_rows *rows, int count, int pairs) {
    rows->pass = (tn_objective_pass){.rows = count,
                                     .context = T,
                                     .tokens = rows->tokens,
                                     .targets = rows->targets,
                                     .first = rows->first,
                                     .pairs = rows->pairs,
                                     .n_pairs = pairs};
    for (int i = 0; i < count * T; i++) {
        rows->tokens[i] = 0;
        rows->targets[i] = -100;
        rows->first[i] = i % T;
    }
}

static void put(tn_pair_rows *rows, const tn_pair_rig *rig, tn_answer *answer, int row, int begin, int pair, int side) {
    const int n = length_of(pair, side), prompt = lengths[pair][0];
    assert_true(begin + n <= T);
    *answer = (tn_answer){.begin = row * T + begin,
                          .end = row * T + begin + n,
                          .document = 2 * pair + side,
                          .reference = rig->references[2 * pair + side]};
    for (int i = 0; i < n; i++) {
        const int at = row * T + begin + i;
        rows->tokens[at] = token_of(pair, side, i);
        rows->targets[at] = i + 1 >= prompt && i + 1 < n ? token_of(pair, side, i + 1) : -100;
        rows->first[at] = begin;
    }
}

void tn_pair_rows_spread(tn_pair_rows *rows, const tn_pair_rig *rig, int from, int count) {
    clear(rows, 2 * count, count);
    for (int i = 0; i < count; i++) {
        put(rows, rig, &rows->pairs[i].chosen, 2 * i, 0, from + i, 0);
        put(rows, rig, &rows->pairs[i].rejected, 2 * i + 1, 0, from + i, 1);
    }
}

void tn_pair_rows_pack(tn_pair_rows *rows, const tn_pair_rig *rig) {
    clear(rows, TN_PAIRS, TN_PAIRS);
    for (int i = 0; i < TN_PAIRS; i++) {
        put(rows, rig, &rows->pairs[i].chosen, i, 0, i, 0);
        put(rows, rig, &rows->pairs[i].rejected, i, length_of(i, 0), i, 1);
    }
}

tn_real *tn_pair_rig_gradients(tn_pair_rig *rig, int64_t *count) {
    *count = 0;
    for (int i = 0; i < rig->n_params; i++) *count += tn_param_count(rig->params[i]);
    tn_real *all = tn_arena_array(rig->arena, (size_t)*count, sizeof *all, "test"), *to = all;
    for (int i = 0; i < rig->n_params; i++) {
        const int64_t n = tn_param_count(rig->params[i]);
        memcpy(to, rig->params[i]->tensor.grad, (size_t)n * sizeof *to);
        to += n;
    }
    return all;
}
