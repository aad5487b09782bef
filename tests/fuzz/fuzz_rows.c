/* SPDX-License-Identifier: MIT
 * fuzz_rows.c - rows of training data: whatever is accepted is a conversation with roles and contents, a text, or
 * tokens that are none too many; leaving bad rows out accepts no less. */
#include "data/examples.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void remove_link(void) { unlink(path); }

/* The bytes under a name that says what they are. */
static const char *rows_file(const uint8_t *data, size_t size) {
    const char *file = tn_fuzz_file(data, size);
    if (*path) return path;
    snprintf(path, sizeof path, "/tmp/tern-fuzz-%ld.jsonl", (long)getpid());
    TN_ASSERT(symlink(file, path) == 0 && atexit(remove_link) == 0);
    return path;
}

static void use_said(const tn_said *said) {
    size_t count = said->messages ? json_array_size(said->messages) : said->len;
    TN_ASSERT(said->answer <= count);
    for (size_t i = 0; i < json_array_size(said->messages); i++) {
        const json_t *message = json_array_get(said->messages, i);
        TN_ASSERT(json_is_string(json_object_get(message, "role")) && json_object_get(message, "content"));
        (void)tn_message_is_learnt(message);
    }
}

static tn_status use(void *context, const tn_row *row) {
    ++*(int *)context;
    TN_ASSERT((row->n_said > 0) != (row->n_ids > 0) &&
              row->n_said == (row->kind == TN_ROW_PREFERENCE ? 2 : row->n_said));
    for (int i = 0; i < row->n_said; i++) use_said(&row->said[i]);
    for (size_t i = 0; i < row->n_ids; i++) TN_ASSERT(row->ids[i] >= 0);
    return TN_OK;
}

/* ---- examples ---- */

enum { LONGEST = 40 };

static tn_status use_example(void *context, const tn_example *e) {
    const tn_tokenizer *tokenizer = context;
    TN_ASSERT(e->count == (e->row->kind == TN_ROW_PREFERENCE ? 2 : 1));
    for (int i = 0; i < e->count; i++) {
        const tn_document *d = &e->documents[i];
        TN_ASSERT(d->count > 0 && d->count <= LONGEST && !d->mask[0] && memchr(d->mask, 1, d->count));
        TN_ASSERT(e->prompt_tokens <= d->count);
        for (size_t k = 0; k < d->count; k++) {
            TN_ASSERT(d->mask[k] <= 1 && d->ids[k] >= 0 && d->ids[k] < tn_tokenizer_size(tokenizer));
            TN_ASSERT(k >= e->prompt_tokens || (!d->mask[k] && d->ids[k] == e->documents[0].ids[k]));
        }
    }
    return TN_OK;
}

/* Bytes with a template of their own, which marks no answers and, of two, writes the past otherwise. */
static tn_tokenizer *make_tokenizer(bool forgets) {
    static const char remembers[] = "{% for m in messages %}{{ m.role + ':' + m.content + ';' }}{% endfor %}"
                                    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}",
                      last[] = "{% for m in messages %}{{ m.content if loop.last else m.content | upper }}{% endfor %}";
    tn_tokenizer *bytes = tn_fuzz_bytes(), *own;
    tn_vocabulary v = *tn_tokenizer_vocabulary(bytes);
    v.chat_template = forgets ? last : remembers;
    TN_ASSERT(tn_tokenizer_from_vocabulary(&own, &v) == TN_OK);
    tn_tokenizer_free(bytes);
    return own;
}

/* Every choice by some bits of the size. */
static void make_examples(const char *file, size_t size) {
    static const char *const templates[] = {"chatml", "none", "llama3", "model"};
    tn_tokenizer *tokenizer = make_tokenizer(size / 512 % 2);
    const tn_example_options options = {.rows = {.kind = TN_ROWS_MIXED, .skips_bad = true},
                                        .chat_template = templates[size % 4],
                                        .loss_on = (int)(size / 4 % 4),
                                        .train_on_eos = (int)(size / 16 % 4),
                                        .overflow = (int)(size / 64 % 4),
                                        .max_length = LONGEST,
                                        .dedup = size / 256 % 2};
    tn_data_report report = {0};
    tn_status status = tn_read_examples(&file, 1, tokenizer, &options, &report, use_example, tokenizer);
    tn_file_report total = tn_data_report_total(&report);
    int64_t dropped = 0;
    for (int i = 0; i < TN_DROPS; i++) dropped += total.dropped[i];
    TN_ASSERT(status || (total.kept + dropped == total.rows && total.longest <= LONGEST));
    tn_data_report_release(&report);
    tn_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *file = rows_file(data, size);
    int taken[2] = {0};
    for (int skips = 0; skips < 2; skips++) {
        const tn_row_options options = {.kind = size % 2 ? TN_ROWS_AUTO : TN_ROWS_MIXED, .skips_bad = skips};
        tn_data_report report = {0};
        tn_status status = tn_read_rows(&file, 1, &options, &report, use, &taken[skips]);
        TN_ASSERT(status || tn_data_report_total(&report).rows >= taken[skips]);
        tn_data_report_release(&report);
    }
    TN_ASSERT(taken[1] >= taken[0]);
    make_examples(file, size);
    return 0;
}
