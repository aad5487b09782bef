/* SPDX-License-Identifier: MIT */
#include "core/fs.h"
#include "core/par.h"
#include "data/stories.h"
#include "kernels/kernels.h"
#include "tests/testing.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/plan.h"
#include "train/run_dir.h"
#include "train/trainer.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A folder with a text of 60 stories, and runs beside it. */
typedef struct place {
    char dir[TN_TEST_PATH], text[TN_TEST_PATH];
} place;

static void write_stories(const char *path, uint64_t count) {
    tn_buf text = {0};
    for (uint64_t i = 0; i < count; i++) {
        assert_ok(tn_story_write(1, i, &text));
        assert_ok(tn_buf_putc(&text, '\n'));
    }
    assert_ok(tn_file_write(path, text.data, text.len));
    tn_buf_release(&text);
}

static int set_up(void **state) {
    place *p = tn_heap_zalloc(1, sizeof *p);
    tn_test_dir_make(p->dir);
    assert_ok(tn_path_join(p->text, sizeof p->text, p->dir, "stories.txt"));
    write_stories(p->text, 60);
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    place *p = *state;
    tn_test_dir_remove(p->dir);
    tn_heap_free(p);
    return 0;
}

/* One run: its settings, its trainer, what it told. */
typedef struct run {
    char dir[TN_RUN_PATH];
    tn_arena *arena;
    tn_run_config config;
    tn_trainer *trainer;
    tn_run_summary summary;
    volatile sig_atomic_t stop;
    int64_t stop_at; /* step at which the hook asks to stop; 0 = never */
    int64_t samples;
    tn_progress last;
} run;

static const char base[] = "model: {d_model: 32, n_layer: 2, n_head: 2, d_ff: 64, context: 16}\n"
                           "data: {tokenizer: char}\n"
                           "train: {max_steps: 24, batch_size: 4, learning_rate: 1e-2, eval_steps: 8, eval_batches: 4, "
                           "save_steps: 8, log_steps: 4}\n";

/* `sets`: overrides between spaces. */
static void run_init(run *r, const place *p, const char *name, const char *sets) {
    char one[TN_TEST_PATH + 32];
    *r = (run){.arena = tn_arena_create("test")};
    assert_ok(tn_path_join(r->dir, sizeof r->dir, p->dir, name));
    assert_ok(tn_run_config_init(&r->config, r->arena));
    assert_ok(tn_config_load_text(&r->config.config, "base", base, strlen(base)));
    snprintf(one, sizeof one, "data.train=%s", p->text);
    assert_ok(tn_config_set(&r->config.config, one));
    for (int n; sscanf(sets, "%255s%n", one, &n) == 1; sets += n) assert_ok(tn_config_set(&r->config.config, one));
}

static void on_progress(void *context, const tn_progress *progress) {
    run *r = context;
    r->last = *progress;
    if (progress->step == r->stop_at) r->stop = SIGINT;
}

static tn_status on_sample(void *context, tn_model *model, const tn_tokenizer *tokenizer, const char *prompt,
                           int n_tokens, uint64_t seed, tn_buf *out) {
    (void)model, (void)tokenizer, (void)n_tokens, (void)seed;
    ((run *)context)->samples++;
    return tn_buf_puts(out, prompt);
}

static tn_status run_open(run *r, bool resume) {
    const tn_trainer_options options = {
        .run_dir = r->dir,
        .resume = resume,
        .hooks = {.context = r, .progress = on_progress, .sample = on_sample, .stop = &r->stop},
    };
    return tn_trainer_create(&r->trainer, &r->config, &options);
}

static void run_go(run *r, bool resume) {
    assert_ok(run_open(r, resume));
    assert_ok(tn_trainer_run(r->trainer, &r->summary));
}

static void run_release(run *r) {
    tn_trainer_free(r->trainer);
    tn_arena_free(r->arena);
}

/* A whole run in one call. */
static void run_once(run *r, const place *p, const char *name, const char *sets) {
    run_init(r, p, name, sets);
    run_go(r, false);
}

/* A run that is stopped after `step` and resumed by another trainer. */
static void run_in_two_parts(run *r, const place *p, const char *name, const char *sets, int64_t step) {
    run first;
    run_init(&first, p, name, sets);
    first.stop_at = step;
    run_go(&first, false);
    assert_int_equal(first.summary.end, TN_END_STOPPED);
    assert_int_equal(first.summary.step, step);
    run_release(&first);
    run_init(r, p, name, sets);
    run_go(r, true);
}

/* ---- comparing ---- */

static void assert_same_weights(run *a, run *b) {
    int n, m;
    tn_param **x = tn_model_params(tn_trainer_model(a->trainer), &n);
    tn_param **y = tn_model_params(tn_trainer_model(b->trainer), &m);
    assert_int_equal(n, m);
    for (int i = 0; i < n; i++)
        assert_memory_equal(x[i]->tensor.real, y[i]->tensor.real, (size_t)tn_param_count(x[i]) * sizeof(tn_real));
}

static void assert_same_slots(run *a, run *b) {
    const tn_optimizer *x = tn_trainer_optimizer(a->trainer), *y = tn_trainer_optimizer(b->trainer);
    assert_int_equal(tn_optimizer_slot_count(x), tn_optimizer_slot_count(y));
    assert_int_equal(tn_optimizer_updates(x), tn_optimizer_updates(y));
    for (int i = 0; i < tn_optimizer_slot_count(x); i++) {
        tn_slot s = tn_optimizer_slot(x, i), t = tn_optimizer_slot(y, i);
        assert_memory_equal(s.values, t.values, (size_t)s.count * sizeof(tn_real));
    }
}

static json_t *read_rows(const run *r) {
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

static void assert_same_rows(const run *a, const run *b) {
    json_t *x = read_rows(a), *y = read_rows(b);
    drop_times(x);
    drop_times(y);
    assert_true(json_equal(x, y));
    json_decref(x);
    json_decref(y);
}

static bool has_checkpoint(const run *r, int64_t step) {
    char path[TN_RUN_PATH];
    tn_run_dir dir = {.lock = {-1}};
    assert_ok(tn_path_join(dir.checkpoints, sizeof dir.checkpoints, r->dir, "checkpoints"));
    assert_ok(tn_run_dir_checkpoint(&dir, step, path));
    return tn_path_exists(path);
}

static void assert_mark(const run *r, const char *mark, const char *expected) {
    char path[TN_RUN_PATH];
    tn_buf text = {0};
    snprintf(path, sizeof path, "%.3000s/checkpoints/%s", r->dir, mark);
    assert_ok(tn_file_read(path, 100, &text));
    assert_string_equal(tn_buf_text(&text), expected);
    tn_buf_release(&text);
}

/* ---- learning ---- */

static void loss__falls(void **state) {
    run r;
    run_once(&r, *state, "a", "train.max_steps=120 train.eval_steps=0 train.eval_at_start=true train.save_steps=0");
    json_t *rows = read_rows(&r);
    double first = json_number_value(json_object_get(json_array_get(rows, 0), "val_loss"));
    int vocab = tn_tokenizer_size(tn_trainer_tokenizer(r.trainer));
    assert_true(fabs(first - log(vocab)) < 0.1); /* untrained: every character is as likely */
    assert_true(r.summary.val_loss < first - 0.9);
    assert_int_equal(r.summary.end, TN_END_STEPS);
    assert_int_equal(r.summary.best_step, 120);
    json_decref(rows);
    run_release(&r);
}

static void weights__are_the_same_bits_for_any_threads(void **state) {
    run one, three;
    assert_ok(tn_par_set_threads(1));
    run_once(&one, *state, "one", "");
    assert_ok(tn_par_set_threads(3));
    run_once(&three, *state, "three", "");
    assert_same_weights(&one, &three);
    assert_same_slots(&one, &three);
    assert_same_rows(&one, &three);
    run_release(&one);
    run_release(&three);
}

static void accumulation__equals_one_large_batch(void **state) {
    run large, split;
    const double tolerance = 1e-4; /* of weights near 1 after a step at rate 1; only the order of sums differs */
    run_once(&large, *state, "large", "train.max_steps=1 train.batch_size=8 train.optimizer=sgd train.learning_rate=1");
    run_once(
        &split, *state, "split",
        "train.max_steps=1 train.batch_size=2 train.grad_accumulation=4 train.optimizer=sgd train.learning_rate=1");
    assert_true(fabs(large.summary.train_loss - split.summary.train_loss) < tolerance);
    int n, m;
    tn_param **x = tn_model_params(tn_trainer_model(large.trainer), &n);
    tn_param **y = tn_model_params(tn_trainer_model(split.trainer), &m);
    for (int i = 0; i < n; i++)
        for (int64_t j = 0; j < tn_param_count(x[i]); j++)
            assert_true(fabs((double)(x[i]->tensor.real[j] - y[i]->tensor.real[j])) < tolerance);
    run_release(&large);
    run_release(&split);
}

static void evaluation__of_a_blank_model_is_the_logarithm_of_the_vocabulary(void **state) {
    run r;
    run_init(&r, *state, "a", "train.eval_at_start=true");
    assert_ok(run_open(&r, false));
    int n;
    tn_model *model = tn_trainer_model(r.trainer);
    tn_param **params = tn_model_params(model, &n);
    memset(params[0]->tensor.real, 0, (size_t)tn_param_count(params[0]) * sizeof(tn_real)); /* the table: logits 0 */
    tn_model_refresh(model, 1);

    tn_store *store;
    tn_store_report report;
    tn_batches batches;
    tn_evaluation e;
    const tn_tokenizer *tokenizer = tn_trainer_tokenizer(r.trainer);
    const char *path = ((place *)*state)->text;
    tn_tape *tape = tn_tape_create();
    assert_ok(tn_store_build_memory(&store, &path, 1, tokenizer, &report));
    assert_ok(tn_batches_init(&batches, store, 0, tn_store_n_tokens(store), 16, 0, false));
    assert_ok(tn_evaluate(&e, model, tape, &batches, tokenizer, 3, 0));
    double expected = log(tn_tokenizer_size(tokenizer));
    assert_true(fabs(e.loss - expected) < 1e-5);
    assert_true(fabs(e.perplexity - exp(e.loss)) < 1e-9);
    assert_true(fabs(e.bits_per_byte - e.loss / log(2)) < 1e-9); /* ASCII: a character is a byte */
    assert_int_equal(e.targets, report.tokens - 1);
    assert_int_equal(e.bytes, report.bytes - 1);
    tn_store_free(store);
    tn_tape_free(tape);
    run_release(&r);
}

/* ---- resuming ---- */

static void resumed_run__equals_a_straight_one(void **state) {
    static const char *const variants[] = {"train.optimizer=adamw",
                                           "train.optimizer=sgd train.learning_rate=1e-1",
                                           "train.optimizer=lion train.learning_rate=1e-3",
                                           "train.optimizer=muon train.max_grad_norm=0",
                                           "model.dropout=0.1 train.grad_accumulation=2",
                                           "train.quant_warmup_tokens=900 train.schedule=cosine",
                                           "model.quantization=none train.patience=5"};
    for (size_t i = 0; i < TN_COUNT(variants); i++) {
        run straight, parts;
        char a[32], b[32];
        snprintf(a, sizeof a, "straight%zu", i);
        snprintf(b, sizeof b, "parts%zu", i);
        run_once(&straight, *state, a, variants[i]);
        run_in_two_parts(&parts, *state, b, variants[i], 9 + (int64_t)i);
        assert_same_weights(&straight, &parts);
        assert_same_slots(&straight, &parts);
        assert_same_rows(&straight, &parts);
        assert_int_equal(straight.summary.best_step, parts.summary.best_step);
        assert_true(straight.summary.best_loss == parts.summary.best_loss);
        run_release(&straight);
        run_release(&parts);
    }
}

static void folder_without_checkpoint__begins_again(void **state) {
    run straight, killed, again;
    char path[TN_RUN_PATH];
    run_once(&straight, *state, "straight", "");
    run_init(&killed, *state, "killed", "");
    assert_ok(run_open(&killed, false)); /* has written config.yaml and nothing else */
    run_release(&killed);
    run_init(&again, *state, "killed", "");
    assert_ok(tn_path_join(path, sizeof path, again.dir, "metrics.jsonl"));
    assert_ok(tn_file_append(path, "{\"step\": 4, \"tr", 15)); /* a row that was cut off */
    run_go(&again, true);
    assert_same_weights(&straight, &again);
    assert_same_rows(&straight, &again);
    run_release(&straight);
    run_release(&again);
}

static void damaged_checkpoint__is_passed_over(void **state) {
    run straight, again;
    char path[TN_RUN_PATH];
    run_once(&straight, *state, "a", "");
    assert_ok(tn_path_join(path, sizeof path, straight.dir, "checkpoints/step-00000024.h5"));
    tn_buf text = {0};
    assert_ok(tn_file_read(path, 1 << 24, &text));
    text.data[text.len / 2] ^= 1;
    assert_ok(tn_file_write(path, text.data, text.len));
    tn_buf_release(&text);
    tn_trainer_free(straight.trainer);
    straight.trainer = NULL;

    run_init(&again, *state, "a", "");
    assert_ok(run_open(&again, true));
    assert_int_equal(tn_optimizer_updates(tn_trainer_optimizer(again.trainer)), 16); /* the one before */
    assert_mark(&again, "latest", "step-00000016.h5\n");
    assert_ok(tn_trainer_run(again.trainer, &again.summary));
    assert_true(again.summary.val_loss == straight.summary.val_loss);
    assert_mark(&again, "latest", "step-00000024.h5\n");
    run_release(&straight);
    run_release(&again);
}

static void other_settings__are_refused_by_name(void **state) {
    static const struct {
        const char *set, *expected;
    } changes[] = {
        {"model.d_model=48", "model.d_model: 32, but this run has model.d_model: 48"},
        {"model.activation=silu", "model.activation: relu2, but this run has model.activation: silu"},
        {"train.optimizer=lion", "train.optimizer: adamw, but this run has train.optimizer: lion"},
        {"train.seed=1", "train.seed: 42, but this run has train.seed: 1"},
    };
    run r, other;
    run_once(&r, *state, "a", "train.max_steps=8");
    run_release(&r);
    for (size_t i = 0; i < TN_COUNT(changes); i++) {
        run_init(&other, *state, "a", changes[i].set);
        assert_int_equal(run_open(&other, true), TN_E_MISMATCH);
        assert_non_null(strstr(tn_error_message(), changes[i].expected));
        run_release(&other);
    }
}

static void other_data__are_refused(void **state) {
    place *p = *state;
    run r, other;
    run_once(&r, p, "a", "train.max_steps=8");
    run_release(&r);
    write_stories(p->text, 59);
    run_init(&other, p, "a", "");
    assert_int_equal(run_open(&other, true), TN_E_MISMATCH);
    assert_non_null(strstr(tn_error_message(), "the training data are not those the run began with"));
    run_release(&other);
}

static void longer_run__goes_on_from_a_finished_one(void **state) {
    run r, more;
    run_once(&r, *state, "a", "train.max_steps=8");
    run_release(&r);
    run_init(&more, *state, "a", "train.max_steps=8");
    run_go(&more, true); /* nothing is left to do */
    assert_int_equal(more.summary.step, 8);
    run_release(&more);
    run_init(&more, *state, "a", "train.max_steps=12");
    run_go(&more, true);
    assert_int_equal(more.summary.step, 12);
    run_release(&more);
}

/* ---- the folder ---- */

static void used_folder__is_refused_without_resume(void **state) {
    run r, other;
    run_once(&r, *state, "a", "train.max_steps=1");
    run_release(&r);
    run_init(&other, *state, "a", "");
    assert_int_equal(run_open(&other, false), TN_E_ARG);
    assert_non_null(strstr(tn_error_message(), "is not empty; go on with its run by --resume"));
    run_release(&other);
    run_init(&other, *state, "absent", "");
    assert_int_equal(run_open(&other, true), TN_E_MISSING);
    run_release(&other);
}

static void folder_in_use__is_refused(void **state) {
    run r, second;
    run_init(&r, *state, "a", "");
    assert_ok(run_open(&r, false));
    run_init(&second, *state, "a", "");
    assert_int_equal(run_open(&second, true), TN_E_BUSY); /* flock is per open file, so this process counts as two */
    assert_non_null(strstr(tn_error_message(), "another process is training in this folder"));
    run_release(&second);
    run_release(&r);
}

static void save_total_limit__keeps_the_newest_and_the_best(void **state) {
    run r;
    /* Learning stops paying when the rate is far too high: the best evaluation is an early one. */
    run_once(&r, *state, "a",
             "train.max_steps=20 train.eval_steps=2 train.save_steps=2 train.save_total_limit=2 "
             "train.eval_at_start=true train.learning_rate=0.5 train.schedule=constant");
    assert_int_equal(r.summary.best_step, 0);
    for (int64_t step = 0; step <= 20; step++)
        assert_int_equal(has_checkpoint(&r, step), step == 0 || step == 18 || step == 20);
    assert_mark(&r, "best", "step-00000000.h5\n");
    assert_mark(&r, "latest", "step-00000020.h5\n");
    run_release(&r);
}

static void metrics__have_a_row_for_every_logged_step(void **state) {
    static const char *const every_row[] = {"step",          "epoch",        "tokens",    "train_loss",
                                            "learning_rate", "weight_decay", "grad_norm", "tokens_per_second",
                                            "step_seconds",  "rss_bytes",    "skipped",   "time"};
    static const char *const evaluated[] = {"val_loss", "val_bits_per_byte", "zero_share", "flip_share", "layers"};
    run r;
    run_once(&r, *state, "a", "train.sample_steps=6 train.sample_prompt=One");
    json_t *rows = read_rows(&r);
    assert_int_equal(json_array_size(rows), 6);
    for (size_t i = 0; i < 6; i++) {
        json_t *row = json_array_get(rows, i);
        assert_int_equal(json_integer_value(json_object_get(row, "step")), 4 * (i + 1));
        assert_int_equal(json_integer_value(json_object_get(row, "tokens")), 4 * (i + 1) * 4 * 16);
        for (size_t j = 0; j < TN_COUNT(every_row); j++) assert_non_null(json_object_get(row, every_row[j]));
        for (size_t j = 0; j < TN_COUNT(evaluated); j++)
            assert_int_equal(json_object_get(row, evaluated[j]) != NULL, i % 2 == 1); /* eval_steps 8, log_steps 4 */
    }
    json_t *layers = json_object_get(json_array_get(rows, 1), "layers");
    assert_int_equal(json_object_size(layers), 14); /* 7 ternary matrices in each of 2 blocks */
    json_t *down = json_object_get(layers, "blk.1.ffn_down.weight");
    static const char *const of_layer[] = {"zero_share", "flip_share", "scale", "saturation"};
    for (size_t j = 0; j < TN_COUNT(of_layer); j++) assert_non_null(json_object_get(down, of_layer[j]));
    double zeros = json_number_value(json_object_get(json_array_get(rows, 1), "zero_share"));
    assert_true(zeros > 0.2 && zeros < 0.45); /* .31 at Gaussian weights (training.md 1.5) */
    assert_int_equal(r.samples, 4);
    json_decref(rows);
    run_release(&r);
}

static void csv__has_the_scalars_of_the_objects(void **state) {
    run r;
    char path[TN_RUN_PATH];
    tn_buf text = {0};
    run_once(&r, *state, "a", "");
    json_t *rows = read_rows(&r);
    assert_ok(tn_path_join(path, sizeof path, r.dir, "metrics.csv"));
    assert_ok(tn_file_read(path, 1 << 20, &text));
    const char *names[] = {
#define METRIC(name, kind) #name,
#include "train/metrics.def"
#undef METRIC
    };
    char *line = strchr(text.data, '\n') + 1;
    for (size_t i = 0; i < json_array_size(rows); i++, line = strchr(line, '\n') + 1) {
        char *cell = line;
        for (size_t j = 0; j < TN_COUNT(names); j++) {
            json_t *value = json_object_get(json_array_get(rows, i), names[j]);
            if (value) assert_true(strtod(cell, &cell) == json_number_value(value));
            assert_int_equal(*cell++, j + 1 < TN_COUNT(names) ? ',' : '\n');
        }
    }
    assert_int_equal(*line, '\0');
    json_decref(rows);
    tn_buf_release(&text);
    run_release(&r);
}

/* ---- limits and guards ---- */

static void patience__ends_a_run_that_no_longer_improves(void **state) {
    run r;
    run_once(&r, *state, "a", "train.max_steps=100 train.eval_steps=2 train.patience=3 train.learning_rate=1e-30");
    assert_int_equal(r.summary.end, TN_END_PATIENCE);
    assert_int_equal(r.summary.step, 8); /* the first evaluation is the best, three more equal it */
    assert_int_equal(r.summary.best_step, 2);
    run_release(&r);
}

static void limits__end_the_run_at_the_first_one(void **state) {
    run r;
    run_once(&r, *state, "tokens", "train.max_tokens=300"); /* 64 a step */
    assert_int_equal(r.summary.step, 5);
    run_release(&r);
    run_once(&r, *state, "batch", "train.max_steps=3 train.batch_tokens=130");
    assert_int_equal(r.summary.tokens, 3 * 3 * 64);
    run_release(&r);
    run_once(&r, *state, "time", "train.max_steps=0 train.max_time=0.2s train.schedule=constant train.warmup_steps=0");
    assert_int_equal(r.summary.end, TN_END_TIME);
    run_release(&r);
}

static void contradictory_settings__are_refused(void **state) {
    static const char *const sets[] = {"train.max_steps=0",
                                       "train.max_steps=0 train.max_time=1h",
                                       "train.batch_tokens=100 train.grad_accumulation=2",
                                       "train.warmup_steps=1 train.warmup_ratio=0.1",
                                       "train.patience=1 data.validation_fraction=0",
                                       "model.quantization=none train.quant_warmup_tokens=10",
                                       "train.learning_rate=0",
                                       "model.vocab_size=5",
                                       "data.tokenizer="};
    for (size_t i = 0; i < TN_COUNT(sets); i++) {
        run r;
        char name[16];
        snprintf(name, sizeof name, "r%zu", i);
        run_init(&r, *state, name, sets[i]);
        assert_int_equal(run_open(&r, false), TN_E_CONFIG);
        run_release(&r);
    }
}

static void short_held_out_data__is_named(void **state) {
    run r;
    run_init(&r, *state, "a", "data.validation_fraction=0.0001");
    assert_int_equal(run_open(&r, false), TN_E_RANGE);
    assert_non_null(strstr(tn_error_message(), "but one window takes model.context + 1 = 17"));
    run_release(&r);
}

static void broken_weight__skips_steps_then_stops_on_the_last_good_checkpoint(void **state) {
    run r;
    run_init(&r, *state, "a", "train.guard_patience=3 train.max_steps=24");
    r.stop_at = 10;
    run_go(&r, false);
    int n;
    tn_param **params = tn_model_params(tn_trainer_model(r.trainer), &n);
    params[n - 1]->tensor.real[0] = (tn_real)NAN;
    r.stop = 0;
    assert_int_equal(tn_trainer_run(r.trainer, &r.summary), TN_E_NAN);
    assert_non_null(strstr(tn_error_message(), "stopped at step 13 after 3 steps without an update"));
    assert_non_null(strstr(tn_error_message(), "is of step 10"));
    assert_int_equal(r.last.skipped, 2); /* the third failure ends the run before it is reported */
    for (int64_t step = 11; step <= 24; step++) assert_false(has_checkpoint(&r, step));
    run_release(&r);
    run_init(&r, *state, "a", "");
    run_go(&r, true);
    assert_int_equal(r.summary.step, 24);
    assert_int_equal(r.summary.skipped, 0);
    run_release(&r);
}

static void overflowing_gradient__is_skipped_and_counted(void **state) {
    run r;
    run_init(&r, *state, "a", "train.max_steps=4 train.z_loss=1 train.guard_patience=2");
    assert_ok(run_open(&r, false));
    int n;
    tn_param **params = tn_model_params(tn_trainer_model(r.trainer), &n);
    for (int i = 0; i < params[n - 1]->cols; i++) params[n - 1]->tensor.real[i] = 3e38f;
    assert_int_equal(tn_trainer_run(r.trainer, &r.summary), TN_E_NAN);
    assert_non_null(strstr(tn_error_message(), "the last good checkpoint"));
    assert_true((double)params[n - 1]->tensor.real[0] > 1e38); /* skipped steps moved nothing */
    run_release(&r);
}

/* ---- plans ---- */

static void plan__counts_what_the_run_takes(void **state) {
    run r;
    tn_plan plan;
    run_init(&r, *state, "a", "");
    assert_ok(tn_plan_make(&plan, &r.config, TN_PLAN_TIME, 0));
    assert_int_equal(plan.steps, 24);
    assert_int_equal(plan.tokens, 24 * 64);
    assert_true(plan.seconds > 0 && plan.tokens_per_second > 0);
    int64_t total = 0, weights = 0;
    for (int i = 0; i < plan.n_memory; i++) {
        total += plan.memory[i].bytes;
        if (strcmp(plan.memory[i].name, "gradients") == 0) weights = plan.memory[i].bytes;
    }
    assert_int_equal(total, plan.memory_total);
    assert_true(weights >= plan.parameters.total * (int64_t)sizeof(tn_real));
    assert_true(weights < plan.parameters.total * (int64_t)sizeof(tn_real) + 64 * 100); /* alignment of each piece */
    assert_int_equal(plan.parameters.total, plan.parameters.ternary + plan.parameters.table + plan.parameters.gain);
    assert_ok(tn_plan_check_ram(&plan, 0));
    assert_ok(tn_plan_check_ram(&plan, plan.memory_total));
    assert_int_equal(tn_plan_check_ram(&plan, plan.memory_total - 1), TN_E_RANGE);
    assert_false(tn_path_exists(r.dir)); /* a plan leaves nothing behind */
    run_release(&r);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(loss__falls),
        TEST(weights__are_the_same_bits_for_any_threads),
        TEST(accumulation__equals_one_large_batch),
        TEST(evaluation__of_a_blank_model_is_the_logarithm_of_the_vocabulary),
        TEST(resumed_run__equals_a_straight_one),
        TEST(folder_without_checkpoint__begins_again),
        TEST(damaged_checkpoint__is_passed_over),
        TEST(other_settings__are_refused_by_name),
        TEST(other_data__are_refused),
        TEST(longer_run__goes_on_from_a_finished_one),
        TEST(used_folder__is_refused_without_resume),
        TEST(folder_in_use__is_refused),
        TEST(save_total_limit__keeps_the_newest_and_the_best),
        TEST(metrics__have_a_row_for_every_logged_step),
        TEST(csv__has_the_scalars_of_the_objects),
        TEST(patience__ends_a_run_that_no_longer_improves),
        TEST(limits__end_the_run_at_the_first_one),
        TEST(contradictory_settings__are_refused),
        TEST(short_held_out_data__is_named),
        TEST(broken_weight__skips_steps_then_stops_on_the_last_good_checkpoint),
        TEST(overflowing_gradient__is_skipped_and_counted),
        TEST(plan__counts_what_the_run_takes),
    };
    if (tn_kernels_init(NULL) || tn_par_set_threads(2)) return 1;
    return cmocka_run_group_tests_name("trainer", tests, NULL, NULL);
}
