/* SPDX-License-Identifier: MIT */
#include "tests/example_rig.h"

#include "core/fs.h"

#include <stdio.h>
#include <string.h>

/* ---- tokenizers ---- */

static const char *const specials[] = {
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<turn>"};
static const char lesson[] = "say yes say yes say no user assistant user assistant\n hello hello hello";

tn_tokenizer *tn_example_tokenizer(bool add_bos, const char *chat_template) {
    const tn_tokenizer_options options = {.kind = TN_TOKENIZER_BPE,
                                          .split = TN_SPLIT_GPT2,
                                          .vocab_size = 300,
                                          .specials = specials,
                                          .n_specials = TN_COUNT(specials)};
    tn_tokenizer_trainer *trainer;
    tn_tokenizer *learnt, *made;
    assert_ok(tn_tokenizer_trainer_create(&trainer, &options));
    assert_ok(tn_tokenizer_trainer_add(trainer, lesson, strlen(lesson)));
    assert_ok(tn_tokenizer_trainer_finish(trainer, &learnt));
    tn_vocabulary v = *tn_tokenizer_vocabulary(learnt);
    v.bos = tn_tokenizer_find(learnt, "<s>", 3);
    v.eos = tn_tokenizer_find(learnt, "</s>", 4);
    v.add_bos = add_bos;
    v.chat_template = chat_template;
    assert_ok(tn_tokenizer_from_vocabulary(&made, &v));
    tn_tokenizer_free(learnt);
    return made;
}

/* ---- documents, written down ---- */

/* Learnt tokens stand in brackets, documents between bars; "+" stands for an EOS that may follow. */
tn_status tn_note_example(void *context, const tn_example *e) {
    tn_notes *n = context;
    for (int i = 0; i < e->count; i++) {
        const tn_document *d = &e->documents[i];
        for (size_t j = 0; j < d->count; j++) {
            if (d->mask[j] && !d->mask[j - 1]) TN_TRY(tn_buf_putc(&n->text, '['));
            TN_TRY(tn_tokenizer_decode(n->tokenizer, d->ids[j], true, &n->text));
            if (d->mask[j] && (j + 1 == d->count || !d->mask[j + 1])) TN_TRY(tn_buf_putc(&n->text, ']'));
        }
        TN_TRY(tn_buf_puts(&n->text, d->ends_open ? "+|" : "|"));
    }
    if (e->prompt_tokens) TN_TRY(tn_buf_printf(&n->text, "(%zu)", e->prompt_tokens));
    return TN_OK;
}

const char *tn_put_rows(tn_test_files *f, const char *text) {
    snprintf(f->path, sizeof f->path, "%s/a.jsonl", f->dir);
    assert_ok(tn_file_write(f->path, text, strlen(text)));
    return f->path;
}

tn_status tn_note_examples(tn_notes *n, const char *path, const tn_example_options *options, tn_file_report *total) {
    tn_data_report report = {0};
    tn_status status = tn_read_examples(&path, 1, n->tokenizer, options, &report, tn_note_example, n);
    if (total) *total = tn_data_report_total(&report);
    tn_data_report_release(&report);
    return status;
}

tn_file_report tn_assert_documents(void **state, const tn_tokenizer *tokenizer, tn_example_options options,
                                   const char *rows, const char *expected) {
    tn_notes n = {.tokenizer = tokenizer};
    tn_file_report total;
    assert_ok(tn_note_examples(&n, tn_put_rows(*state, rows), &options, &total));
    assert_string_equal(tn_buf_text(&n.text), expected);
    tn_buf_release(&n.text);
    return total;
}

void tn_assert_bad_rows(void **state, const tn_tokenizer *tokenizer, tn_example_options options, const char *rows,
                        const char *sentence) {
    tn_notes n = {.tokenizer = tokenizer};
    if (!tn_note_examples(&n, tn_put_rows(*state, rows), &options, NULL))
        fail_msg("%s was taken: %s", rows, tn_buf_text(&n.text));
    if (!strstr(tn_error_message(), sentence)) fail_msg("\"%s\" lacks \"%s\"", tn_error_message(), sentence);
    tn_buf_release(&n.text);
}
