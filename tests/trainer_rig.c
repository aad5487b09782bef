/* SPDX-License-Identifier: MIT */
#include "tests/trainer_rig.h"
#include "core/log.h"
#include "data/stories.h"
#include "train/trainer_priv.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

void tn_place_write_stories(const char *path, uint64_t count) {
    tn_buf text = {0};
    for (uint64_t i = 0; i < count; i++) {
        assert_ok(tn_story_write(1, i, &text));
        assert_ok(tn_buf_putc(&text, '\n'));
    }
    assert_ok(tn_file_write(path, text.data, text.len));
    tn_buf_release(&text);
}

int tn_place_set_up(void **state) {
    tn_place *p = tn_heap_zalloc(1, sizeof *p);
    tn_test_dir_make(p->dir);
    assert_ok(tn_path_join(p->text, sizeof p->text, p->dir, "stories.txt"));
    tn_place_write_stories(p->text, 60);
    *state = p;
    return 0;
}

int tn_place_set_up_base(void **state) {
    tn_place_set_up(state);
    tn_place_add_run(*state, "base", "");
    return 0;
}

int tn_place_tear_down(void **state) {
    tn_place *p = *state;
    tn_test_dir_remove(p->dir);
    tn_heap_free(p);
    return 0;
}

static const char settings[] =
    "model: {d_model: 32, n_layer: 2, n_head: 2, d_ff: 64, context: 16}\n"
    "data: {tokenizer: char}\n"
    "train: {max_steps: 24, batch_size: 4, learning_rate: 1e-2, eval_steps: 8, eval_batches: 4, save_steps: 8, "
    "log_steps: 4}\n";
static const char finetune_settings[] =
    "train: {max_steps: 12, epochs: 0, batch_size: 2, grad_accumulation: 2, learning_rate: 1e-2, eval_steps: 4, "
    "eval_batches: 4, save_steps: 4, log_steps: 2}\n";

static void set_all(tn_run *r, const tn_place *p, const char *name, const char *text, const char *sets) {
    char one[TN_TEST_PATH + 32];
    assert_ok(tn_path_join(r->dir, sizeof r->dir, p->dir, name));
    assert_ok(tn_config_load_text(&r->config.config, "settings", text, strlen(text)));
    snprintf(one, sizeof one, "data.train=%s", p->text);
    assert_ok(tn_config_set(&r->config.config, one));
    for (int n; sscanf(sets, "%255s%n", one, &n) == 1; sets += n) assert_ok(tn_config_set(&r->config.config, one));
}

void tn_run_init(tn_run *r, const tn_place *p, const char *name, const char *sets) {
    *r = (tn_run){.arena = tn_arena_create("test")};
    assert_ok(tn_run_config_init(&r->config, r->arena));
    set_all(r, p, name, settings, sets);
}

void tn_run_init_finetune(tn_run *r, const tn_place *p, const char *name, const char *base, const char *sets) {
    char one[TN_TEST_PATH + 32];
    *r = (tn_run){.arena = tn_arena_create("test")};
    assert_ok(tn_run_config_init_finetune(&r->config, r->arena));
    snprintf(one, sizeof one, "model.base=%.200s/%.32s", p->dir, base);
    assert_ok(tn_config_set(&r->config.config, one));
    set_all(r, p, name, finetune_settings, sets);
}

static void on_progress(void *context, const tn_progress *progress) {
    tn_run *r = context;
    r->last = *progress;
    if (progress->step == r->stop_at) r->stop = SIGINT;
}

static tn_status on_sample(void *context, tn_model *model, const tn_tokenizer *tokenizer, const char *prompt,
                           int n_tokens, uint64_t seed, tn_buf *out) {
    (void)tokenizer, (void)n_tokens, (void)seed;
    tn_run *r = context;
    int n;
    tn_param **params = tn_model_params(model, &n);
    for (int i = 0; i < n; i++) /* what is sampled is what will be run */
        if (params[i]->quantizer != TN_QUANT_NONE) assert_true(params[i]->lambda >= 1);
    r->samples++;
    return r->fails_samples ? TN_FAIL(RANGE, "nothing to say") : tn_buf_puts(out, prompt);
}

tn_status tn_run_open(tn_run *r, bool resume) {
    const tn_trainer_options options = {
        .run_dir = r->dir,
        .resume = resume,
        .max_ram = r->max_ram,
        .hooks = {.context = r, .progress = on_progress, .sample = on_sample, .stop = &r->stop},
    };
    return tn_trainer_create(&r->trainer, &r->config, &options);
}

void tn_run_go(tn_run *r, bool resume) {
    assert_ok(tn_run_open(r, resume));
    assert_ok(tn_trainer_run(r->trainer, &r->summary));
}

void tn_run_release(tn_run *r) {
    tn_trainer_free(r->trainer);
    tn_arena_free(r->arena);
}

void tn_run_once(tn_run *r, const tn_place *p, const char *name, const char *sets) {
    tn_run_init(r, p, name, sets);
    tn_run_go(r, false);
}

void tn_place_add_run(const tn_place *p, const char *name, const char *sets) {
    tn_run r;
    tn_run_once(&r, p, name, sets);
    tn_run_release(&r);
}

void tn_place_load_base(const tn_place *p, tn_arena *arena, tn_model_use use, tn_loaded *loaded) {
    char path[TN_RUN_PATH];
    assert_ok(tn_path_join(path, sizeof path, p->dir, "base"));
    assert_ok(tn_model_file_load(path, arena, use, loaded));
}

static void go_until(tn_run *r, int64_t step) {
    r->stop_at = step;
    tn_run_go(r, false);
    assert_int_equal(r->summary.end, TN_END_STOPPED);
    assert_int_equal(r->summary.step, step);
    tn_run_release(r);
}

void tn_run_in_two_parts(tn_run *r, const tn_place *p, const char *name, const char *sets, int64_t step) {
    tn_run_init(r, p, name, sets);
    go_until(r, step);
    tn_run_init(r, p, name, sets);
    tn_run_go(r, true);
}

void tn_finetune_once(tn_run *r, const tn_place *p, const char *name, const char *sets) {
    tn_run_init_finetune(r, p, name, "base", sets);
    tn_run_go(r, false);
}

void tn_finetune_in_two_parts(tn_run *r, const tn_place *p, const char *name, const char *sets, int64_t step) {
    tn_run_init_finetune(r, p, name, "base", sets);
    go_until(r, step);
    tn_run_init_finetune(r, p, name, "base", sets);
    tn_run_go(r, true);
}

static void keep_message(void *context, tn_log_level level, const char *room, const char *text) {
    (void)level, (void)room;
    assert_ok(tn_buf_printf(context, "%s\n", text));
}

void tn_hear(tn_buf *out) { tn_log_set_sink(out ? keep_message : NULL, out); }

/* ---- comparing ---- */

bool tn_same_values(const tn_param *a, const tn_param *b) {
    return memcmp(a->tensor.real, b->tensor.real, (size_t)tn_param_count(a) * sizeof(tn_real)) == 0;
}

void tn_assert_same_weights(tn_run *a, tn_run *b) {
    int n, m;
    tn_param **x = tn_model_params(tn_trainer_model(a->trainer), &n);
    tn_param **y = tn_model_params(tn_trainer_model(b->trainer), &m);
    assert_int_equal(n, m);
    for (int i = 0; i < n; i++)
        assert_memory_equal(x[i]->tensor.real, y[i]->tensor.real, (size_t)tn_param_count(x[i]) * sizeof(tn_real));
}

void tn_assert_same_trained(const tn_run *a, const tn_run *b) {
    const tn_trained *x = &a->trainer->engine.trained, *y = &b->trainer->engine.trained;
    assert_int_equal(x->count, y->count);
    for (int i = 0; i < x->count; i++)
        if (!tn_same_values(x->list[i], y->list[i]))
            fail_msg("%s and %s: other values of %s", a->dir, b->dir, x->list[i]->name);
}

void tn_assert_same_slots(tn_run *a, tn_run *b) {
    const tn_optimizer *x = tn_trainer_optimizer(a->trainer), *y = tn_trainer_optimizer(b->trainer);
    assert_int_equal(tn_optimizer_slot_count(x), tn_optimizer_slot_count(y));
    assert_int_equal(tn_optimizer_updates(x), tn_optimizer_updates(y));
    for (int i = 0; i < tn_optimizer_slot_count(x); i++) {
        tn_slot s = tn_optimizer_slot(x, i), t = tn_optimizer_slot(y, i);
        assert_memory_equal(s.values, t.values, tn_slot_bytes(&s));
    }
}

json_t *tn_run_read_rows(const tn_run *r) {
    char path[TN_RUN_PATH];
    tn_buf text = {0};
    json_t *rows = json_array();
    assert_ok(tn_path_join(path, sizeof path, r->dir, "metrics.jsonl"));
    assert_ok(tn_file_read(path, 1 << 24, &text));
    for (char *line = text.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        json_t *row = json_loadb(line, (size_t)(end - line), 0, NULL);
        assert_non_null(row);
        json_array_append_new(rows, row);
    }
    tn_buf_release(&text);
    return rows;
}

static void drop_times(json_t *rows) {
    static const char *const timed[] = {"step_seconds", "tokens_per_second", "rss_bytes", "time"};
    for (size_t i = 0; i < json_array_size(rows); i++)
        for (size_t j = 0; j < TN_COUNT(timed); j++) json_object_del(json_array_get(rows, i), timed[j]);
}

void tn_assert_same_rows(const tn_run *a, const tn_run *b) {
    json_t *x = tn_run_read_rows(a), *y = tn_run_read_rows(b);
    drop_times(x);
    drop_times(y);
    assert_true(json_equal(x, y));
    json_decref(x);
    json_decref(y);
}

bool tn_run_has_checkpoint(const tn_run *r, int64_t step) {
    char path[TN_RUN_PATH];
    tn_run_dir dir = {.lock = {-1}};
    assert_ok(tn_path_join(dir.checkpoints, sizeof dir.checkpoints, r->dir, "checkpoints"));
    assert_ok(tn_run_dir_checkpoint(&dir, step, path));
    return tn_path_exists(path);
}

void tn_assert_mark(const tn_run *r, const char *mark, const char *expected) {
    char path[TN_RUN_PATH];
    tn_buf text = {0};
    snprintf(path, sizeof path, "%.3000s/checkpoints/%s", r->dir, mark);
    assert_ok(tn_file_read(path, 100, &text));
    assert_string_equal(tn_buf_text(&text), expected);
    tn_buf_release(&text);
}
