/* SPDX-License-Identifier: MIT
 * trainer_rig.h - tiny training runs for tests: a folder with a text, runs beside it, and what two runs must share.
 * Everything asserts by itself. */
#ifndef TN_TESTS_TRAINER_RIG_H
#define TN_TESTS_TRAINER_RIG_H
#include "models/model_file.h"
#include "tests/testing.h"
#include "train/run_dir.h"
#include "train/trainer.h"

struct json_t;

/* A folder with a text of 60 stories, and runs beside it. */
typedef struct tn_place {
    char dir[TN_TEST_PATH], text[TN_TEST_PATH];
} tn_place;

/* For cmocka_unit_test_setup_teardown: the state is a tn_place. */
int tn_place_set_up(void **state);
int tn_place_set_up_base(void **state); /* with run "base", of the defaults */
int tn_place_tear_down(void **state);
void tn_place_write_stories(const char *path, uint64_t count);
/* A finished run: what stays is its folder. */
void tn_place_add_run(const tn_place *p, const char *name, const char *sets);
/* The model of run "base". */
void tn_place_load_base(const tn_place *p, tn_arena *arena, tn_model_use use, tn_loaded *loaded);

/* One run: its settings, its trainer, what it told. */
typedef struct tn_run {
    char dir[TN_RUN_PATH];
    tn_arena *arena;
    tn_run_config config;
    tn_trainer *trainer;
    tn_run_summary summary;
    volatile sig_atomic_t stop;
    int64_t max_ram; /* for the trainer; 0 = no limit */
    int64_t stop_at; /* step at which the hook asks to stop; 0 = never */
    int64_t samples;
    bool fails_samples; /* the hook gives TN_E_RANGE */
    tn_progress last;
} tn_run;

/* A run in folder `name` of the place. Defaults: width 32, 2 blocks, 24 steps of 4 x 16 characters, evaluation and
 * checkpoint every 8, a row every 4. `sets`: overrides with spaces between. */
void tn_run_init(tn_run *r, const tn_place *p, const char *name, const char *sets);
/* The same that starts from the model of run folder `base` of the place and takes 12 steps of 2 passes. */
void tn_run_init_finetune(tn_run *r, const tn_place *p, const char *name, const char *base, const char *sets);
tn_status tn_run_open(tn_run *r, bool resume); /* the trainer alone */
void tn_run_go(tn_run *r, bool resume);        /* the trainer, and the whole run */
void tn_run_release(tn_run *r);
void tn_run_once(tn_run *r, const tn_place *p, const char *name, const char *sets); /* init and go */
/* Stopped after `step` and resumed by another trainer. */
void tn_run_in_two_parts(tn_run *r, const tn_place *p, const char *name, const char *sets, int64_t step);
/* The same two of runs that start from the model of run "base". */
void tn_finetune_once(tn_run *r, const tn_place *p, const char *name, const char *sets);
void tn_finetune_in_two_parts(tn_run *r, const tn_place *p, const char *name, const char *sets, int64_t step);

/* Log messages go to `out`, one a line, until it is called with NULL. */
void tn_hear(tn_buf *out);

struct json_t *tn_run_read_rows(const tn_run *r); /* metrics.jsonl as an array; json_decref it */
bool tn_run_has_checkpoint(const tn_run *r, int64_t step);
void tn_assert_mark(const tn_run *r, const char *mark, const char *expected); /* the text of "latest" or "best" */
bool tn_same_values(const tn_param *a, const tn_param *b);                    /* bit for bit */
void tn_assert_same_weights(tn_run *a, tn_run *b);
void tn_assert_same_trained(const tn_run *a, const tn_run *b); /* what an optimizer moves, and nothing else */
void tn_assert_same_slots(tn_run *a, tn_run *b);
void tn_assert_same_rows(const tn_run *a, const tn_run *b); /* but for times */

#endif
