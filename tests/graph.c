/* SPDX-License-Identifier: MIT */
#include "tests/graph.h"

#include "tests/testing.h"

#include <string.h>

void tn_graph_init(tn_graph *graph) {
    assert_non_null(graph->arena = tn_arena_create("test"));
    assert_non_null(graph->tape = tn_tape_create());
    tn_graph_begin(graph);
}

void tn_graph_release(tn_graph *graph) {
    tn_tape_free(graph->tape);
    tn_arena_free(graph->arena);
}

void tn_graph_begin(tn_graph *graph) { tn_tape_begin(graph->tape, TN_TAPE_RECORD, NULL); }

static tn_param *make(tn_graph *graph, tn_param like, const tn_real *values, bool trained) {
    tn_param *param = tn_arena_alloc(graph->arena, sizeof *param, "test");
    assert_non_null(param);
    *param = like;
    strcpy(param->name, "weight");
    assert_ok(tn_param_init(param, graph->arena, trained ? TN_PARAM_TRAINED : TN_PARAM_FIXED));
    memcpy(param->tensor.real, values, (size_t)tn_param_count(param) * sizeof *values);
    return param;
}

tn_param *tn_graph_param(tn_graph *graph, int rows, int cols, const tn_real *values, bool trained) {
    tn_param like = {.rows = rows ? rows : 1, .cols = cols, .product = rows != 0};
    tn_param *param = make(graph, like, values, trained);
    tn_param_refresh(param, 1);
    return param;
}

tn_param *tn_graph_latent(tn_graph *graph, int rows, int cols, const tn_real *values, tn_real lambda) {
    tn_param like = {.rows = rows, .cols = cols, .product = true, .quantizer = TN_QUANT_ABSMEAN_TERNARY};
    tn_param *param = make(graph, like, values, true);
    if (lambda < 1) assert_ok(tn_param_allow_mixing(param, graph->arena));
    tn_param_refresh(param, lambda);
    return param;
}

tn_real *tn_graph_normal(tn_graph *graph, int64_t count, uint32_t stream) {
    tn_real *values = tn_arena_array(graph->arena, (size_t)count, sizeof *values, "test");
    assert_non_null(values);
    tn_rng rng = tn_rng_make(2, TN_PURPOSE_TEST, stream);
    for (int64_t i = 0; i < count; i++) values[i] = (tn_real)tn_rng_normal(&rng, (uint64_t)i);
    return values;
}

tn_tensor *tn_graph_dot(tn_graph *graph, tn_tensor *y, const tn_real *weights) {
    int count = (int)tn_tensor_count(y);
    y = tn_reshape(graph->tape, y, 2, (const int[]){1, count});
    return tn_linear(graph->tape, y, tn_graph_param(graph, 1, count, weights, false));
}
