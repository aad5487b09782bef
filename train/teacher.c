/* SPDX-License-Identifier: MIT */
#include "train/teacher.h"

#include "layers/adapter.h"
#include "train/base.h"

#include <string.h>

static tn_status open_source(tn_teacher_file *teacher, const char *path) {
    if (!*path)
        return TN_FAIL(CONFIG, "distill.teacher is missing: the model whose distribution is learnt (run folder, "
                               "checkpoint, GGUF file or Hugging Face folder)");
    tn_status status = tn_model_file_open(path, &teacher->source);
    return status ? tn_fail_at(status, __FILE__, __LINE__, "%s (distill.teacher)", tn_error_message()) : TN_OK;
}

/* The first id with another text, or of which one of the two has none; -1: they agree. */
static int first_difference(const tn_vocabulary *a, const tn_vocabulary *b) {
    const int both = TN_MIN(a->n_tokens, b->n_tokens);
    for (int i = 0; i < both; i++)
        if (a->lens[i] != b->lens[i] || memcmp(a->texts[i], b->texts[i], a->lens[i]) != 0) return i;
    return a->n_tokens == b->n_tokens ? -1 : both;
}

/* The data are tokenised once, and what the two make of a position is compared id by id. */
static tn_status check_vocabulary(const tn_loaded *teacher, const tn_loaded *base) {
    if (teacher->config.vocab_size != base->config.vocab_size)
        return TN_FAIL(CONFIG, "%s has %d ids, the base %s %d: to distill, both need one vocabulary (distill.teacher)",
                       teacher->path, teacher->config.vocab_size, base->path, base->config.vocab_size);
    const int id =
        first_difference(tn_tokenizer_vocabulary(teacher->tokenizer), tn_tokenizer_vocabulary(base->tokenizer));
    if (id < 0) return TN_OK;
    return TN_FAIL(CONFIG,
                   "%s has another tokenizer than the base %s, from id %d on: to distill, both need one vocabulary "
                   "(distill.teacher)",
                   teacher->path, base->path, id);
}

static tn_status check_context(const tn_loaded *teacher, int row_length) {
    if (teacher->config.context >= row_length) return TN_OK;
    return TN_FAIL(CONFIG, "%s has a context of %d tokens, but the rows of this run have %d; set data.max_length %d",
                   teacher->path, teacher->config.context, row_length, teacher->config.context);
}

tn_status tn_teacher_open(tn_teacher_file *teacher, tn_run_config *run) {
    *teacher = (tn_teacher_file){0};
    if (!run->finetunes || run->finetune.objective != TN_OBJECTIVE_DISTILL) return TN_OK;
    TN_TRY(open_source(teacher, run->finetune.distill.teacher));
    TN_TRY(check_vocabulary(&teacher->source, &run->base->source));
    TN_TRY(check_context(&teacher->source, tn_run_config_row_length(run)));
    run->teacher = teacher;
    return TN_OK;
}

tn_status tn_teacher_make(tn_model **model, tn_arena *arena, const tn_run_config *run) {
    const tn_loaded *source = &run->teacher->source;
    TN_TRY(tn_model_create(model, arena, &source->config, TN_MODEL_RUN));
    return tn_model_file_place(source, *model, arena);
}

tn_status tn_teacher_fill(tn_teacher_file *teacher, tn_model *model) {
    TN_TRY(tn_model_file_read(&teacher->source, model));
    if (tn_model_head_adapted(model))
        return TN_FAIL(UNSUPPORTED, "%s has an adapter beside its head, which a teacher must not (distill.teacher)",
                       teacher->source.path);
    return tn_model_whole_fingerprint(model, teacher->id);
}

void tn_teacher_release(tn_teacher_file *teacher) { tn_loaded_release(&teacher->source); }
