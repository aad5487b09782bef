/* SPDX-License-Identifier: MIT
 * A fused op is the chain of ops it stands for: the same codes, scales and gradients, bit for bit. */
#include "core/par.h"
#include "kernels/kernels.h"
#include "tests/graph.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { N = 70, C = 33, M = 20 };

static const tn_real EPS = (tn_real)1e-5;

/* One side of a comparison: a pass from leaves to codes, on to a product, and back. */
typedef struct side {
    tn_graph g;
    tn_tensor *x[2], *codes;
    tn_param *gain, *w;
} side;

static void begin(side *s, int n_inputs) {
    tn_graph_init(&s->g);
    for (int i = 0; i < n_inputs; i++)
        s->x[i] = tn_tape_real(s->g.tape, 2, (const int[]){N, C}, tn_graph_normal(&s->g, N * C, (uint32_t)i), true);
    s->gain = tn_graph_param(&s->g, 0, C, tn_graph_normal(&s->g, C, 5), true);
    s->w = tn_graph_latent(&s->g, M, C, tn_graph_normal(&s->g, M * C, 6), 1);
}

static void finish(side *s) {
    tn_tensor *y = tn_bitlinear(s->g.tape, s->codes, s->w);
    assert_ok(tn_tape_backward(s->g.tape, tn_graph_dot(&s->g, y, tn_graph_normal(&s->g, N * M, 7))));
}

static void assert_same(const side *a, const side *b, int n_inputs) {
    assert_memory_equal(a->codes->codes, b->codes->codes, N * C);
    assert_memory_equal(a->codes->row_scale, b->codes->row_scale, N * sizeof(tn_real));
    for (int i = 0; i < n_inputs; i++) assert_memory_equal(a->x[i]->grad, b->x[i]->grad, N * C * sizeof(tn_real));
    assert_memory_equal(a->gain->tensor.grad, b->gain->tensor.grad, C * sizeof(tn_real));
    assert_memory_equal(a->w->tensor.grad, b->w->tensor.grad, M * C * sizeof(tn_real));
}

static void release(side *a, side *b) {
    tn_graph_release(&a->g);
    tn_graph_release(&b->g);
}

static void norm_quant__is_norm_then_quantiser(void **state) {
    (void)state;
    side chain, fused;
    begin(&chain, 1);
    chain.codes = tn_act_quant(chain.g.tape, tn_rms_norm(chain.g.tape, chain.x[0], chain.gain, EPS), 1);
    finish(&chain);
    begin(&fused, 1);
    fused.codes = tn_norm_quant(fused.g.tape, fused.x[0], fused.gain, EPS);
    finish(&fused);
    assert_same(&chain, &fused, 1);
    release(&chain, &fused);
}

static void gate_norm_quant__is_gate_then_norm_then_quantiser(void **state) {
    (void)state;
    for (int gate = TN_GATE_RELU2; gate <= TN_GATE_SILU; gate++) {
        side chain, fused;
        begin(&chain, 2);
        tn_tape *t = chain.g.tape;
        tn_tensor *h =
            gate == TN_GATE_SILU ? tn_silu_gate(t, chain.x[0], chain.x[1]) : tn_relu2_gate(t, chain.x[0], chain.x[1]);
        chain.codes = tn_act_quant(t, tn_rms_norm(t, h, chain.gain, EPS), 1);
        finish(&chain);
        begin(&fused, 2);
        fused.codes = tn_gate_norm_quant(fused.g.tape, fused.x[0], fused.x[1], fused.gain, EPS, (tn_gate)gate);
        finish(&fused);
        assert_same(&chain, &fused, 2);
        release(&chain, &fused);
    }
}

/* What a kept pass of readers of codes and of numbers gives: codes, numbers, and the gradients of both inputs. */
static void check_kept(side *kept, const side *chain, const tn_tensor *normed, int n_inputs) {
    assert_memory_equal(kept->codes->codes, chain->codes->codes, N * C);
    assert_memory_equal(kept->codes->real, normed->real, N * C * sizeof(tn_real));
    for (int i = 0; i < n_inputs; i++)
        for (int j = 0; j < N * C; j++) {
            const double found = (double)kept->x[i]->grad[j], expected = (double)chain->x[i]->grad[j];
            assert_true(fabs(found - expected) <= 2e-5 * (1 + fabs(expected))); /* summed in another order */
        }
}

/* A reader of codes and one of the numbers behind them; their gradients meet in one place, or in two that add up. */
static void finish_both(side *s, tn_tensor *numbers, bool raw) {
    enum { R = 3 };
    tn_param *a = tn_graph_param(&s->g, C, R, tn_graph_normal(&s->g, C * R, 11), true),
             *b = tn_graph_param(&s->g, M, R, tn_graph_normal(&s->g, M * R, 12), true);
    tn_tensor *p = tn_lora_down(s->g.tape, numbers, a, (tn_lora_reading){.raw = raw});
    tn_tensor *y = tn_lora_up(s->g.tape, tn_bitlinear(s->g.tape, s->codes, s->w), p, b, 2);
    assert_ok(tn_tape_backward(s->g.tape, tn_graph_dot(&s->g, y, tn_graph_normal(&s->g, N * M, 7))));
}

static void norm_quant__keeps_the_numbers_beside_the_codes(void **state) {
    (void)state;
    side chain, kept;
    begin(&chain, 1);
    tn_tensor *normed = tn_rms_norm(chain.g.tape, chain.x[0], chain.gain, EPS);
    chain.codes = tn_act_quant(chain.g.tape, normed, 1);
    finish_both(&chain, normed, false);
    begin(&kept, 1);
    kept.codes = tn_norm_quant_kept(kept.g.tape, kept.x[0], kept.gain, EPS);
    finish_both(&kept, kept.codes, true);
    check_kept(&kept, &chain, normed, 1);
    release(&chain, &kept);
}

static void gate_norm_quant__keeps_the_numbers_beside_the_codes(void **state) {
    (void)state;
    side chain, kept;
    begin(&chain, 2);
    tn_tensor *h = tn_relu2_gate(chain.g.tape, chain.x[0], chain.x[1]);
    tn_tensor *normed = tn_rms_norm(chain.g.tape, h, chain.gain, EPS);
    chain.codes = tn_act_quant(chain.g.tape, normed, 1);
    finish_both(&chain, normed, false);
    begin(&kept, 2);
    kept.codes = tn_gate_norm_quant_kept(kept.g.tape, kept.x[0], kept.x[1], kept.gain, EPS, TN_GATE_RELU2);
    finish_both(&kept, kept.codes, true);
    check_kept(&kept, &chain, normed, 2);
    release(&chain, &kept);
}

/* Numbers that were not kept cannot be read. */
static void lora_down__refuses_codes_without_their_numbers(void **state) {
    (void)state;
    side s;
    begin(&s, 1);
    tn_tensor *codes = tn_norm_quant(s.g.tape, s.x[0], s.gain, EPS);
    (void)tn_lora_down(s.g.tape, codes, tn_graph_param(&s.g, C, 2, tn_graph_normal(&s.g, C * 2, 11), true),
                       (tn_lora_reading){.raw = true});
    assert_int_equal(tn_tape_status(s.g.tape), TN_E_DTYPE);
    tn_graph_release(&s.g);
}

static void bitlinear_add__is_product_then_add(void **state) {
    (void)state;
    tn_tensor *results[2], *bases[2];
    side sides[2];
    for (int fuses = 0; fuses < 2; fuses++) {
        side *s = &sides[fuses];
        begin(s, 1);
        tn_tape *t = s->g.tape;
        bases[fuses] = tn_tape_real(t, 2, (const int[]){N, M}, tn_graph_normal(&s->g, N * M, 8), true);
        s->codes = tn_norm_quant(t, s->x[0], s->gain, EPS);
        /* The base is used twice, so that its gradient is found, not made, by one of its readers. */
        tn_tensor *base = tn_scale(t, bases[fuses], 3);
        tn_tensor *y =
            fuses ? tn_bitlinear_add(t, base, s->codes, s->w) : tn_add(t, base, tn_bitlinear(t, s->codes, s->w));
        results[fuses] = tn_mul(t, y, base);
        assert_ok(tn_tape_backward(t, tn_graph_dot(&s->g, results[fuses], tn_graph_normal(&s->g, N * M, 7))));
    }
    assert_memory_equal(results[0]->real, results[1]->real, N * M * sizeof(tn_real));
    assert_memory_equal(bases[0]->grad, bases[1]->grad, N * M * sizeof(tn_real));
    assert_same(&sides[0], &sides[1], 1);
    release(&sides[0], &sides[1]);
}

static void rope__in_place_is_rope(void **state) {
    (void)state;
    tn_tensor *x[2], *y[2] = {NULL, NULL};
    tn_graph g[2];
    for (int in_place = 0; in_place < 2; in_place++) {
        tn_graph_init(&g[in_place]);
        tn_tape *t = g[in_place].tape;
        tn_rope_table table;
        assert_ok(tn_rope_table_init(&table, g[in_place].arena, 16, 6));
        tn_rope_table_fill(&table, 10000, NULL);
        const int dims[] = {2, 10, 12};
        x[in_place] = tn_tape_real(t, 3, dims, tn_graph_normal(&g[in_place], 240, 1), true);
        tn_tensor *twice = tn_scale(t, x[in_place], 2);
        static const int positions[] = {3, 4, 5, 6, 7, 8, 0, 1, 2, 15, 0, 1, 0, 1, 2, 3, 4, 5, 9, 10};
        y[in_place] = in_place ? tn_rope_in_place(t, twice, &table, positions) : tn_rope(t, twice, &table, positions);
        if (in_place) assert_true(y[1]->real == twice->real);
        assert_ok(tn_tape_backward(t, tn_graph_dot(&g[in_place], y[in_place], tn_graph_normal(&g[in_place], 240, 2))));
    }
    assert_memory_equal(y[0]->real, y[1]->real, 240 * sizeof(tn_real));
    assert_memory_equal(x[0]->grad, x[1]->grad, 240 * sizeof(tn_real));
    tn_graph_release(&g[0]);
    tn_graph_release(&g[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_quant__is_norm_then_quantiser),
        cmocka_unit_test(gate_norm_quant__is_gate_then_norm_then_quantiser),
        cmocka_unit_test(norm_quant__keeps_the_numbers_beside_the_codes),
        cmocka_unit_test(gate_norm_quant__keeps_the_numbers_beside_the_codes),
        cmocka_unit_test(lora_down__refuses_codes_without_their_numbers),
        cmocka_unit_test(bitlinear_add__is_product_then_add),
        cmocka_unit_test(rope__in_place_is_rope),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("fused", tests, NULL, NULL);
}
