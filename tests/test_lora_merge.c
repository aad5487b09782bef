/* SPDX-License-Identifier: MIT
 * Adapters merged into weights: floats and latents take the sum, states the nearest to it, and what is lost is told as
 * it is. */
#include "core/fs.h"
#include "core/par.h"
#include "models/adapter_writing.h"
#include "models/export.h"
#include "models/hf_export.h"
#include "models/lora_merge_file.h"
#include "tests/model_rig.h"
#include "tests/tiny_model.h"

#include <math.h>
#include <string.h>

enum { N = 12 };

static const char *const floats[] = {"model.quantization=none", "model.tie_embeddings=false", NULL};

static void load(tn_model_rig *f, const char *const *settings, tn_model_use use) {
    tn_test_tiny_checkpoint(f->checkpoint, TN_TOKENIZER_BPE, settings);
    tn_loaded_release(&f->loaded);
    assert_ok(tn_model_file_load(f->checkpoint, f->arena, use, &f->loaded));
}

/* Of rank 3, B of numbers of size `b`. */
static tn_adapter *make(tn_model_rig *f, const char *modules, double b, uint64_t seed) {
    tn_adapter *adapter;
    assert_ok(tn_adapter_create(&adapter, f->arena, &f->loaded.config, &(tn_adapter_options){0}));
    assert_ok(tn_adapter_add_modules(adapter, modules, 3, 6, NULL, 0));
    tn_adapter_init(adapter, seed);
    for (int i = 0; i < adapter->n_pairs; i++) {
        tn_param *half = &adapter->pairs[i].b;
        const tn_rng rng = tn_rng_make(seed, TN_PURPOSE_TEST, (uint32_t)i);
        for (int64_t j = 0; j < tn_param_count(half); j++)
            half->tensor.real[j] = (tn_real)(float)(b * tn_rng_normal(&rng, (uint64_t)j));
        if (strcmp(adapter->pairs[i].target, "token_embd.weight") != 0) continue;
        half = &adapter->pairs[i].a;
        for (int64_t j = 0; j < tn_param_count(half); j++) half->tensor.real[j] = (tn_real)0.1;
    }
    return adapter;
}

/* What the parts add to one weight. */
static double added(const tn_merge_part *parts, int n, const char *target, int row, int col) {
    double sum = 0;
    const bool embedding = strcmp(target, "token_embd.weight") == 0;
    for (int i = 0; i < n; i++) {
        const tn_adapter_pair *pair = tn_adapter_find((tn_adapter *)(uintptr_t)parts[i].adapter, target);
        for (int r = 0; pair && r < pair->rank; r++)
            sum += parts[i].scale * (double)pair->c *
                   (double)pair->b.tensor.real[(embedding ? col : row) * pair->rank + r] *
                   (double)pair->a.tensor.real[(embedding ? row : col) * pair->rank + r];
    }
    return sum;
}

static void *copy(tn_model_rig *f, const void *data, size_t bytes) {
    void *out = tn_arena_alloc(f->arena, bytes, "test");
    return memcpy(out, data, bytes);
}

/* ---- floats ---- */

static void merge__adds_to_floats_of_every_kind(void **state) {
    tn_model_rig *f = *state;
    load(f, floats, TN_MODEL_EVAL);
    tn_model *model = f->loaded.model;
    tn_adapter *first = make(f, "all-linear embed_tokens lm_head", 0.3, 1), *second = make(f, "q_proj", 0.3, 2);
    const tn_merge_part parts[] = {{first, 0.5}, {second, -2}};
    const char *const targets[] = {"blk.1.attn_q.weight", "blk.0.ffn_down.weight", "token_embd.weight",
                                   "output.weight"};
    const tn_real *before[TN_COUNT(targets)];
    tn_merge_report report;
    for (size_t i = 0; i < TN_COUNT(targets); i++) {
        const tn_param *p = tn_model_find(model, targets[i]);
        before[i] = copy(f, p->tensor.real, sizeof(tn_real) * (size_t)tn_param_count(p));
    }
    assert_ok(tn_merge_adapters(model, parts, 2, f->arena, &report));
    for (size_t i = 0; i < TN_COUNT(targets); i++) {
        const tn_param *p = tn_model_find(model, targets[i]);
        for (int row = 0; row < p->rows; row++)
            for (int col = 0; col < p->cols; col++) {
                const int64_t at = (int64_t)row * p->cols + col;
                const double expected = (double)before[i][at] + added(parts, 2, targets[i], row, col);
                assert_true(fabs((double)p->tensor.real[at] - expected) <= 1e-6);
            }
    }
    assert_int_equal(report.all.matrices, 16);
    assert_int_equal(report.all.states, 0);
    assert_int_equal(report.n_modules, 9);
    assert_true(tn_merge_share_lost(&report.all) < 1e-6);
}

static void merge__of_a_float_twin_is_the_adapter_beside_it(void **state) {
    tn_model_rig *f = *state;
    int32_t ids[N];
    load(f, floats, TN_MODEL_EVAL);
    tn_adapter *adapter = make(f, "all-linear lm_head", 0.1, 3);
    const int vocab = f->loaded.config.vocab_size;
    for (int i = 0; i < N; i++) ids[i] = (i * 13 + 1) % vocab;
    assert_ok(tn_model_attach(f->loaded.model, adapter, 0.5));
    const tn_real *beside = tn_test_logits(f->loaded.model, ids, N, f->arena);
    tn_model_detach(f->loaded.model, adapter);
    const tn_real *alone = tn_test_logits(f->loaded.model, ids, N, f->arena);
    tn_merge_report report;
    assert_ok(tn_merge_adapters(f->loaded.model, &(tn_merge_part){adapter, 0.5}, 1, f->arena, &report));
    const tn_real *merged = tn_test_logits(f->loaded.model, ids, N, f->arena);
    double moved = 0, off = 0;
    for (int i = 0; i < N * vocab; i++) {
        moved = fmax(moved, fabs((double)(alone[i] - merged[i])));
        off = fmax(off, fabs((double)(beside[i] - merged[i])));
    }
    print_message("  logits moved by %.2f, off by %.1e\n", moved, off);
    assert_true(moved > 0.1 && off < 1e-3 * moved);
}

/* ---- latents ---- */

static void check_lost(const tn_merge_part *part, const tn_param *p, const int8_t *before, double scale_before,
                       const tn_merge_sum *sum) {
    double change = 0, lost = 0;
    int64_t flipped = 0;
    for (int row = 0; row < p->rows; row++)
        for (int col = 0; col < p->cols; col++) {
            const int64_t at = (int64_t)row * p->cols + col;
            const double d = added(part, 1, p->name, row, col);
            const double off = (double)p->scale * p->states[at] - scale_before * before[at] - d;
            change += d * d;
            lost += off * off;
            flipped += p->states[at] != before[at];
        }
    assert_true(sum->flipped == flipped && sum->states == tn_param_count(p));
    assert_true(fabs(sum->change / change - 1) < 1e-5 && fabs(sum->lost / lost - 1) < 1e-5);
}

static void merge__adds_to_latents_and_tells_what_states_take(void **state) {
    tn_model_rig *f = *state;
    tn_merge_report report;
    load(f, NULL, TN_MODEL_EVAL);
    tn_adapter *adapter;
    assert_ok(tn_adapter_create(&adapter, f->arena, &f->loaded.config, &(tn_adapter_options){0}));
    assert_ok(tn_adapter_add(adapter, "blk.1.attn_v.weight", 2, 2));
    tn_adapter_init(adapter, 5);
    for (int64_t j = 0; j < tn_param_count(&adapter->pairs[0].b); j++)
        adapter->pairs[0].b.tensor.real[j] = (tn_real)1.5;
    const tn_param *p = tn_model_find(f->loaded.model, "blk.1.attn_v.weight");
    const tn_real *values = copy(f, p->tensor.real, sizeof(tn_real) * (size_t)tn_param_count(p));
    const int8_t *states = copy(f, p->states, (size_t)tn_param_count(p));
    const double scale = (double)p->scale;
    const tn_merge_part part = {adapter, 1};
    assert_ok(tn_merge_adapters(f->loaded.model, &part, 1, f->arena, &report));
    for (int row = 0; row < p->rows; row++)
        for (int col = 0; col < p->cols; col++) {
            const int64_t at = (int64_t)row * p->cols + col;
            const double expected = (double)values[at] + added(&part, 1, p->name, row, col);
            assert_true(fabs((double)p->tensor.real[at] - expected) <= 1e-6);
        }
    check_lost(&part, p, states, scale, &report.all);
    assert_string_equal(report.modules[0].module, "v_proj");
}

/* ---- states ---- */

static void merge__into_states_takes_the_nearest_and_keeps_the_scale(void **state) {
    tn_model_rig *f = *state;
    tn_merge_report reports[2];
    const int8_t *states[2] = {NULL, NULL};
    for (int threads = 1; threads <= 2; threads++) {
        tn_par_set_threads(threads == 1 ? 1 : 3);
        load(f, NULL, TN_MODEL_EXPORT);
        tn_adapter *adapter = make(f, "up_proj", 0.3, 4);
        const tn_param *p = tn_model_find(f->loaded.model, "blk.1.ffn_up.weight");
        const int8_t *before = copy(f, p->states, (size_t)tn_param_count(p));
        const double scale = (double)p->scale;
        const tn_merge_part part = {adapter, 1};
        assert_ok(tn_merge_adapters(f->loaded.model, &part, 1, f->arena, &reports[threads - 1]));
        assert_true((double)p->scale == scale);
        for (int row = 0; row < p->rows; row++)
            for (int col = 0; col < p->cols; col++) {
                const int64_t at = (int64_t)row * p->cols + col;
                const double wanted = before[at] + added(&part, 1, p->name, row, col) / scale;
                const double off = fabs(wanted - p->states[at]);
                for (int t = -1; t <= 1; t++) assert_true(off <= fabs(wanted - t) + 1e-5);
            }
        states[threads - 1] = copy(f, p->states, (size_t)tn_param_count(p));
        assert_true(reports[threads - 1].all.flipped > 0);
    }
    tn_par_set_threads(0);
    assert_memory_equal(states[0], states[1], 256 * 512);
    assert_memory_equal(&reports[0].all, &reports[1].all, sizeof reports[0].all);
}

/* A change that states can say is not lost: one row turned to +1. */
static void merge__of_whole_states_loses_nothing(void **state) {
    tn_model_rig *f = *state;
    tn_merge_report report;
    tn_adapter *adapter;
    load(f, NULL, TN_MODEL_EXPORT);
    tn_param *p = tn_model_find(f->loaded.model, "blk.0.attn_q.weight");
    assert_ok(tn_adapter_create(&adapter, f->arena, &f->loaded.config, &(tn_adapter_options){0}));
    assert_ok(tn_adapter_add(adapter, p->name, 1, 1));
    for (int col = 0; col < p->cols; col++)
        adapter->pairs[0].a.tensor.real[col] = (tn_real)(1 - p->states[7 * p->cols + col]);
    memset(adapter->pairs[0].b.tensor.real, 0, sizeof(tn_real) * (size_t)p->rows);
    adapter->pairs[0].b.tensor.real[7] = p->scale;
    int64_t flips = 0;
    for (int col = 0; col < p->cols; col++) flips += p->states[7 * p->cols + col] != 1;
    assert_ok(tn_merge_adapters(f->loaded.model, &(tn_merge_part){adapter, 1}, 1, f->arena, &report));
    for (int col = 0; col < p->cols; col++) assert_int_equal(p->states[7 * p->cols + col], 1);
    assert_int_equal(report.all.flipped, flips);
    assert_true(tn_merge_share_lost(&report.all) < 1e-6);
}

static void merge__of_a_tied_table_is_refused(void **state) {
    tn_model_rig *f = *state;
    static const char *const modules[] = {"embed_tokens", "lm_head"};
    for (int i = 0; i < 2; i++) {
        tn_merge_report report;
        load(f, NULL, TN_MODEL_EVAL);
        tn_adapter *adapter = make(f, modules[i], 0.1, 1);
        assert_int_equal(tn_merge_adapters(f->loaded.model, &(tn_merge_part){adapter, 1}, 1, f->arena, &report),
                         TN_E_UNSUPPORTED);
        assert_non_null(strstr(tn_error_message(), "embedding and head are one table"));
    }
}

/* ---- files ---- */

static void write_adapter(tn_model_rig *f, const char *modules, double b) {
    int64_t bytes;
    assert_ok(tn_adapter_write_peft(make(f, modules, b, 6), &(tn_adapter_origin){0}, f->folder, &bytes));
}

static tn_status merge_to_gguf(tn_model_rig *f, tn_export_type type, tn_model_use use, double max_loss,
                               tn_merge_job *job) {
    const tn_merge_file file = {f->folder, 1};
    tn_export_report report;
    *job = (tn_merge_job){.files = &file, .n_files = 1, .max_loss = max_loss};
    const tn_export_edit edit = {use, tn_merge_apply, job};
    return tn_export_edited(f->checkpoint, f->out, (tn_export_options){type, TN_TABLE_F32}, &edit, &report);
}

static void merge__that_loses_too_much_writes_nothing_unless_told(void **state) {
    tn_model_rig *f = *state;
    tn_merge_job job;
    load(f, NULL, TN_MODEL_RUN);
    write_adapter(f, "all-linear", 1e-4);
    assert_int_equal(merge_to_gguf(f, TN_EXPORT_I2_S, TN_MODEL_EXPORT, 0.05, &job), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "rounding to ternary weights would lose"));
    assert_false(tn_path_exists(f->out));
    assert_true(job.report.all.matrices == 14 && tn_merge_share_lost(&job.report.all) > 0.9);
    assert_ok(merge_to_gguf(f, TN_EXPORT_I2_S, TN_MODEL_EXPORT, (double)INFINITY, &job));
    assert_true(tn_path_exists(f->out));
}

static void merge__of_a_float_twin_is_written_and_proven(void **state) {
    tn_model_rig *f = *state;
    tn_merge_job job;
    tn_loaded merged;
    load(f, floats, TN_MODEL_EVAL);
    write_adapter(f, "all-linear, embed_tokens", 0.2);
    assert_ok(merge_to_gguf(f, TN_EXPORT_F32, TN_MODEL_EVAL, 0, &job));
    assert_ok(tn_model_file_load(f->out, f->arena, TN_MODEL_EVAL, &merged));
    const tn_param *p = tn_model_find(f->loaded.model, "blk.1.ffn_gate.weight"), *q = NULL;
    tn_adapter *adapter = make(f, "all-linear, embed_tokens", 0.2, 6);
    q = tn_model_find(merged.model, p->name);
    for (int col = 0; col < p->cols; col++) {
        const double expected = (double)p->tensor.real[col] + added(&(tn_merge_part){adapter, 1}, 1, p->name, 0, col);
        assert_true(fabs((double)q->tensor.real[col] - expected) <= 1e-6);
    }
    tn_loaded_release(&merged);
    /* tables of a file become values */
    assert_ok(tn_model_file_load(f->out, f->arena, TN_MODEL_EXPORT, &merged));
    const float first = ((const float *)tn_model_find(merged.model, "token_embd.weight")->table.data)[0];
    assert_ok(tn_merge_adapters(merged.model, &(tn_merge_part){adapter, -1}, 1, f->arena, &job.report));
    const double back = (double)tn_model_find(merged.model, "token_embd.weight")->tensor.real[0];
    assert_true(fabs(back - (double)first + added(&(tn_merge_part){adapter, 1}, 1, "token_embd.weight", 0, 0)) < 1e-6);
    tn_loaded_release(&merged);
}

static void merge__into_latents_is_a_folder_that_can_be_trained(void **state) {
    tn_model_rig *f = *state;
    const tn_merge_file file = {f->folder, 1};
    tn_loaded merged;
    tn_export_report report;
    load(f, NULL, TN_MODEL_EVAL);
    write_adapter(f, "o_proj", 0.2);
    tn_merge_job job = {.files = &file, .n_files = 1, .keeps_latents = true};
    const tn_export_edit edit = {TN_MODEL_EVAL, tn_merge_apply, &job};
    assert_ok(tn_export_hf_edited(f->checkpoint, f->out, (tn_hf_export_options){TN_HF_TYPE_LATENTS, TN_TABLE_F32},
                                  &edit, &report));
    assert_ok(tn_model_file_load(f->out, f->arena, TN_MODEL_EVAL, &merged));
    const tn_param *p = tn_model_find(f->loaded.model, "blk.0.attn_output.weight");
    const tn_param *q = tn_model_find(merged.model, p->name);
    tn_adapter *adapter = make(f, "o_proj", 0.2, 6);
    const double expected = (double)p->tensor.real[3] + added(&(tn_merge_part){adapter, 1}, 1, p->name, 0, 3);
    assert_true(fabs((double)q->tensor.real[3] - expected) <= 1e-6);
    tn_loaded_release(&merged);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, tn_model_rig_set_up_folder, tn_model_rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(merge__adds_to_floats_of_every_kind),
        TEST(merge__of_a_float_twin_is_the_adapter_beside_it),
        TEST(merge__adds_to_latents_and_tells_what_states_take),
        TEST(merge__into_states_takes_the_nearest_and_keeps_the_scale),
        TEST(merge__of_whole_states_loses_nothing),
        TEST(merge__of_a_tied_table_is_refused),
        TEST(merge__that_loses_too_much_writes_nothing_unless_told),
        TEST(merge__of_a_float_twin_is_written_and_proven),
        TEST(merge__into_latents_is_a_folder_that_can_be_trained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
