/* SPDX-License-Identifier: MIT
 * Adapters over a frozen base against adapter.h5, which PyTorch wrote in double (golden/make_adapter_golden.py). */
#include "core/par.h"
#include "formats/hdf5_file.h"
#include "kernels/kernels.h"
#include "layers/adapter.h"
#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct {
    tn_arena *arena;
    tn_h5 *file;
    tn_tape *tape;
    tn_model_config config;
    int32_t *tokens, *targets;
    int batch, time, rank;
    double z_loss, divisor, alpha;
} g;

static int attribute(const char *name) {
    int64_t value;
    assert_ok(tn_h5_get_int(g.file, name, &value));
    return (int)value;
}

static double real_attribute(const char *name) {
    double value;
    assert_ok(tn_h5_get_real(g.file, name, &value));
    return value;
}

static void *read_values(const char *group, const char *name, tn_h5_type type, int64_t count) {
    char path[128];
    snprintf(path, sizeof path, "%s%s%s", group, *group ? "/" : "", name);
    void *values = tn_arena_array(g.arena, (size_t)count, tn_h5_type_size(type), "test");
    assert_non_null(values);
    assert_ok(tn_h5_read(g.file, path, type, count, values));
    return values;
}

static int open_golden(void **state) {
    (void)state;
    g.arena = tn_arena_create("test");
    g.tape = tn_tape_create();
    if (!g.arena || !g.tape || tn_h5_open(&g.file, "tests/golden/adapter.h5", "tern-golden")) {
        print_error("%s\n", tn_error_message());
        return -1;
    }
    g.batch = attribute("batch"), g.time = attribute("time"), g.rank = attribute("rank");
    g.z_loss = real_attribute("z_loss"), g.alpha = real_attribute("alpha");
    g.config = (tn_model_config){.vocab_size = attribute("vocab_size"),
                                 .d_model = attribute("d_model"),
                                 .n_layer = attribute("n_layer"),
                                 .n_head = attribute("n_head"),
                                 .n_kv_head = attribute("n_kv_head"),
                                 .d_ff = attribute("d_ff"),
                                 .context = g.time,
                                 .tie_embeddings = true,
                                 .sub_norms = true,
                                 .rope_factor = 1,
                                 .norm_eps = real_attribute("norm_eps"),
                                 .rope_theta = real_attribute("rope_theta")};
    assert_ok(tn_model_config_complete(&g.config));
    g.tokens = read_values("", "tokens", TN_H5_I32, g.batch * g.time);
    g.targets = read_values("", "targets", TN_H5_I32, g.batch * g.time);
    for (int i = 0; i < g.batch * g.time; i++) g.divisor += g.targets[i] >= 0;
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    tn_h5_close(g.file);
    tn_tape_free(g.tape);
    tn_arena_free(g.arena);
    return 0;
}

/* A frozen, packed parameter out of the values behind it. */
static void fill(tn_param *p) {
    const int64_t count = tn_param_count(p);
    const float *values = read_values("init", p->name, TN_H5_F32, count);
    tn_real *reals = p->tensor.real;
    if (p->quantizer != TN_QUANT_NONE) {
        int8_t *states = tn_arena_array(g.arena, (size_t)count, 1, "test");
        reals = tn_arena_array(g.arena, (size_t)count, sizeof *reals, "test");
        for (int64_t i = 0; i < count; i++) reals[i] = (tn_real)values[i];
        tn_param_quantize(p->quantizer, p->rows, p->cols, reals, states, &p->scale);
        tn_param_put_states(p, 0, p->rows, states);
        return;
    }
    if (!reals) assert_ok(tn_param_take_value(p, g.arena));
    for (int64_t i = 0; i < count; i++) p->tensor.real[i] = (tn_real)values[i];
}

static tn_model *load_base(int quantization) {
    tn_model *model;
    int count;
    tn_model_config config = g.config;
    config.quantization = quantization;
    assert_ok(tn_model_create(&model, g.arena, &config, TN_MODEL_RUN));
    tn_param **params = tn_model_params(model, &count);
    for (int i = 0; i < count; i++) fill(params[i]);
    tn_model_refresh(model, 1);
    return model;
}

static tn_adapter *load_adapter(tn_adapter_input input) {
    tn_adapter *adapter;
    const tn_adapter_options options = {.input = input, .trains = true};
    assert_ok(tn_adapter_create(&adapter, g.arena, &g.config, &options));
    assert_ok(tn_adapter_add_modules(adapter, "all-linear", g.rank, g.alpha, NULL, 0));
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_param *a = &adapter->pairs[i].a, *b = &adapter->pairs[i].b;
        const float *down = read_values("init", a->name, TN_H5_F32, tn_param_count(a)),
                    *up = read_values("init", b->name, TN_H5_F32, tn_param_count(b));
        for (int row = 0; row < a->rows; row++) /* [r,k] there */
            for (int j = 0; j < g.rank; j++) a->tensor.real[row * g.rank + j] = (tn_real)down[j * a->rows + row];
        for (int64_t j = 0; j < tn_param_count(b); j++) b->tensor.real[j] = (tn_real)up[j];
    }
    return adapter;
}

static double run(tn_model *model) {
    const int dims[] = {g.batch, g.time};
    tn_tape_begin(g.tape, TN_TAPE_RECORD, NULL);
    tn_tensor *tokens = tn_tape_ids(g.tape, 2, dims, g.tokens), *targets = tn_tape_ids(g.tape, 2, dims, g.targets);
    tn_tensor *loss =
        tn_model_loss(model, g.tape, tokens, targets, NULL,
                      (tn_loss_options){.divisor = g.divisor, .z_loss = (tn_real)g.z_loss, .final = true});
    assert_ok(tn_tape_backward(g.tape, loss));
    return (double)loss->real[0];
}

/* Each number against the largest of its tensor, and the tensor against its norm. Returns the worse of the two. */
static double error_of(const char *name, const tn_param *p, const float *expected, bool turned) {
    double largest = 0, worst = 0, norm = 0, distance = 0;
    for (int row = 0; row < p->rows; row++)
        for (int j = 0; j < p->cols; j++) {
            const double e = (double)expected[turned ? j * p->rows + row : row * p->cols + j];
            const double d = (double)p->tensor.grad[row * p->cols + j] - e;
            largest = fmax(largest, fabs(e));
            worst = fmax(worst, fabs(d));
            norm += e * e;
            distance += d * d;
        }
    if (!(largest > 0)) fail_msg("%s: the expected gradient is empty", name);
    return fmax(worst / largest, sqrt(distance / norm));
}

/* The worst of all pairs. */
static double check_gradients(const char *name, const tn_adapter *adapter, double tolerance) {
    double worst = 0;
    for (int i = 0; i < adapter->n_pairs; i++)
        for (int half = 0; half < 2; half++) {
            const tn_param *p = half ? &adapter->pairs[i].b : &adapter->pairs[i].a;
            const double error =
                error_of(p->name, p, read_values(name, p->name, TN_H5_F32, tn_param_count(p)), half == 0);
            if (!(error <= tolerance)) fail_msg("%s, %s: off by %.1e, tolerance %.0e", name, p->name, error, tolerance);
            worst = fmax(worst, error);
        }
    return worst;
}

/* In f32 what differs is rounding. Exact sums over 16-bit fixed point, which is what a run takes, round the gradients
 * that enter a product with a ternary matrix to 2^-16 of the largest of their row; the frozen head is in f32. */
static void check_case(const char *name, int quantization, tn_adapter_input input, tn_backward arithmetic,
                       double tolerance) {
    tn_model *model = load_base(quantization);
    tn_adapter *adapter = load_adapter(input);
    tn_tape_set_backward(g.tape, arithmetic);
    assert_ok(tn_model_attach(model, adapter, 1));
    const double loss = run(model), *expected = read_values(name, "loss", TN_H5_F64, 1);
    const double worst = check_gradients(name, adapter, tolerance);
    print_message("  %-9s %s: loss off by %.1e, gradients of %d pairs by at most %.1e, tolerance %.0e\n", name,
                  arithmetic == TN_BACKWARD_F32 ? "f32  " : "int16", fabs(loss / *expected - 1), adapter->n_pairs,
                  worst, tolerance);
    if (!(fabs(loss - *expected) <= tolerance * *expected)) fail_msg("%s: loss %.9f for %.9f", name, loss, *expected);
}

static void adapter_golden__gradients_agree_with_pytorch(void **state) {
    (void)state;
    check_case("raw", TN_QUANTIZATION_BITNET, TN_ADAPTER_RAW, TN_BACKWARD_F32, 1e-5);
    check_case("quantized", TN_QUANTIZATION_BITNET, TN_ADAPTER_QUANTIZED, TN_BACKWARD_F32, 1e-5);
    check_case("float", TN_QUANTIZATION_NONE, TN_ADAPTER_RAW, TN_BACKWARD_F32, 1e-5);
}

static void adapter_golden__integer_backward_stays_near(void **state) {
    (void)state;
    check_case("raw", TN_QUANTIZATION_BITNET, TN_ADAPTER_RAW, TN_BACKWARD_INT16, 1e-4);
    check_case("quantized", TN_QUANTIZATION_BITNET, TN_ADAPTER_QUANTIZED, TN_BACKWARD_INT16, 1e-4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapter_golden__gradients_agree_with_pytorch),
        cmocka_unit_test(adapter_golden__integer_backward_stays_near),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("adapter_golden", tests, open_golden, close_golden);
}
