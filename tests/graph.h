/* SPDX-License-Identifier: MIT
 * graph.h - a tape, an arena and parameters for tests that build small graphs by hand. */
#ifndef TN_TESTS_GRAPH_H
#define TN_TESTS_GRAPH_H
#include "autograd/ops.h"

typedef struct tn_graph {
    tn_arena *arena;
    tn_tape *tape;
} tn_graph;

void tn_graph_init(tn_graph *graph);
void tn_graph_release(tn_graph *graph);
/* Start a recording pass without dropout. */
void tn_graph_begin(tn_graph *graph);

/* A float parameter [rows, cols] for products, or a vector when rows is 0. Refreshed. */
tn_param *tn_graph_param(tn_graph *graph, int rows, int cols, const tn_real *values, bool trained);
/* A ternary one. Refreshed with lambda. */
tn_param *tn_graph_latent(tn_graph *graph, int rows, int cols, const tn_real *values, tn_real lambda);
/* count numbers, normal, a function of (stream, index). */
tn_real *tn_graph_normal(tn_graph *graph, int64_t count, uint32_t stream);
/* sum y weights [1]: a loss whose gradient with respect to y is `weights` [count of y]. */
tn_tensor *tn_graph_dot(tn_graph *graph, tn_tensor *y, const tn_real *weights);

#endif
