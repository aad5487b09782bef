/* SPDX-License-Identifier: MIT
 * cmd_eval.c - `tern eval`: how well a model predicts a text, or answers questions. */
#include "cmd/data_settings.h"
#include "cmd/lora_options.h"
#include "core/log.h"
#include "infer/exact_match.h"
#include "models/model_file.h"
#include "train/evaluate.h"
#include "train/train_data.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

typedef struct settings {
    const char *model;
    const char *const *texts;
    int n_texts, batch_size, context, threads;
    int parallel, max_tokens; /* with exact_match */
    tn_data_settings data;
    tn_lora_options lora;
    bool exact_match, json;
} settings;

/* One token store, or texts and rows that the model's tokenizer encodes. */
static tn_status open_texts(tn_store **out, const settings *s, const tn_loaded *loaded, int context) {
    if (s->n_texts > 1 || !tn_store_is_store(s->texts[0])) {
        const tn_example_options options = tn_data_examples(&s->data.config, context);
        tn_data_report report = {0};
        tn_status status =
            tn_store_build_examples_memory(out, s->texts, s->n_texts, loaded->tokenizer, &options, &report);
        tn_data_report_release(&report);
        return status;
    }
    TN_TRY(tn_store_open(out, s->texts[0]));
    char stored[17], own[17];
    tn_tokenizer_hash(tn_store_tokenizer(*out), stored);
    tn_tokenizer_hash(loaded->tokenizer, own);
    if (strcmp(stored, own) == 0) return TN_OK;
    tn_store_free(*out);
    *out = NULL;
    return TN_FAIL(MISMATCH, "%s was made with another tokenizer (%s) than %s has (%s); evaluate on the text itself",
                   s->texts[0], stored, loaded->path, own);
}

static tn_status evaluate_on(tn_evaluation *out, const settings *s, const tn_loaded *loaded,
                             const tn_batches *batches) {
    tn_tape *tape = tn_tape_create();
    if (!tape) return TN_E_NOMEM;
    tn_status status = tn_evaluate(out, loaded->model, tape, batches, loaded->tokenizer, s->batch_size, 0);
    tn_tape_free(tape);
    return status;
}

static tn_status evaluate_text(tn_evaluation *out, const settings *s, const tn_loaded *loaded, const tn_store *store,
                               int context) {
    tn_batches batches;
    int64_t tokens = tn_store_n_tokens(store);
    if (tokens < 2)
        return TN_FAIL(EMPTY, "%s: one token cannot be evaluated; the first one is never predicted",
                       tn_store_name(store));
    if (tokens < context + 1) context = (int)tokens - 1;
    TN_TRY(tn_batches_init(&batches, store, 0, tokens, context, 0, false));
    return evaluate_on(out, s, loaded, &batches);
}

static tn_status evaluate_documents(tn_evaluation *out, const settings *s, const tn_loaded *loaded,
                                    const tn_store *store, int context) {
    const tn_data_config *c = &s->data.config;
    const tn_row_packing_options options = {
        .how = c->packing, .context = context, .max_length = c->max_length, .overflow = c->overflow};
    int64_t count = tn_store_n_documents(store);
    tn_row_packing *packing;
    tn_row_packing_report report;
    tn_batches batches;
    TN_TRY(tn_row_packing_create(&packing, store, 0, count, &options, &report));
    tn_batches_init_documents(&batches, packing, 0, count, 0, false, c->document_mask);
    tn_status status = evaluate_on(out, s, loaded, &batches);
    tn_row_packing_free(packing);
    return status;
}

static tn_status evaluate(tn_evaluation *out, const settings *s, const tn_loaded *loaded) {
    tn_store *store = NULL;
    int context = tn_model_get_config(loaded->model)->context;
    if (s->context > context)
        return TN_FAIL(RANGE, "--ctx-size %d is more than the %d tokens the model was trained for", s->context,
                       context);
    if (s->context) context = s->context;
    tn_status status = open_texts(&store, s, loaded, context);
    if (!status)
        status = (tn_train_data_has_documents(&s->data.config, store) ? evaluate_documents
                                                                      : evaluate_text)(out, s, loaded, store, context);
    tn_store_free(store);
    return status;
}

static tn_status print_result(const settings *s, const tn_evaluation *e) {
    if (!isfinite(e->loss)) return TN_FAIL(NAN, "the loss is not a finite number");
    if (!s->json)
        return tn_cmd_print("loss %.6f  perplexity %.4f  bits per byte %.4f  tokens %lld\n", e->loss, e->perplexity,
                            e->bits_per_byte, (long long)e->targets);
    json_t *object =
        json_pack("{s:f, s:f, s:I}", "loss", e->loss, "perplexity", e->perplexity, "tokens", (json_int_t)e->targets);
    if (isfinite(e->bits_per_byte)) json_object_set_new(object, "bits_per_byte", json_real(e->bits_per_byte));
    return tn_cmd_print_json(object);
}

/* ---- how well it answers ---- */

static tn_status print_matches(const settings *s, const tn_exact_match *m) {
    const double share = (double)m->matched / (double)m->count;
    if (s->json)
        return tn_cmd_print_json(json_pack("{s:f, s:I, s:I}", "exact_match", share, "count", (json_int_t)m->count,
                                           "answered", (json_int_t)m->answered));
    return tn_cmd_print("exact match %.2f %%  %lld of %lld answers, of which the model ended %lld itself\n",
                        100 * share, (long long)m->matched, (long long)m->count, (long long)m->answered);
}

static tn_status examine(const settings *s, const tn_loaded *loaded) {
    const tn_example_options examples = tn_data_examples(&s->data.config, 0);
    const tn_exact_match_options options = {
        .examples = &examples, .batch = {.slots = s->parallel, .context = s->context}, .max_tokens = s->max_tokens};
    tn_exact_match matches;
    TN_TRY(tn_exact_match_count(&matches, loaded, s->texts, s->n_texts, &options));
    return print_matches(s, &matches);
}

static tn_status predict(const settings *s, const tn_loaded *loaded) {
    tn_evaluation result;
    TN_TRY(evaluate(&result, s, loaded));
    return print_result(s, &result);
}

static tn_status run(settings *s, tn_arena *arena) {
    tn_loaded loaded;
    TN_TRY(tn_cmd_start_compute(s->threads));
    TN_TRY(tn_lora_open(&s->lora, arena));
    TN_TRY(tn_model_file_load(s->model, arena, TN_MODEL_RUN, &loaded));
    tn_log(TN_LOG_INFO, "eval", "%s: %s", loaded.path, loaded.description);
    tn_status status = tn_lora_load(&s->lora, arena, &loaded);
    if (!status) status = (s->exact_match ? examine : predict)(s, &loaded);
    tn_loaded_release(&loaded);
    return status;
}

int tn_cmd_eval(int argc, char **argv) {
    settings s = {.batch_size = 8, .parallel = 16};
    const tn_option options[] = {
        {"batch-size|b", 0, TN_OPT_INT, &s.batch_size, "N", "windows in one pass", 1, 65536, NULL},
        {"ctx-size", 'c', TN_OPT_INT, &s.context, "N", "tokens in a window; 0 = the model's context", 0, 1 << 20, NULL},
        {"exact-match", 0, TN_OPT_ON, &s.exact_match, NULL,
         "answer the questions in TEXT and count answers that are those of the rows word for word; -v shows some that "
         "are not",
         0, 0, NULL},
        {"parallel|np", 0, TN_OPT_INT, &s.parallel, "N", "questions under way at once", 1, TN_BATCH_SLOTS, NULL},
        {"predict|n-predict", 'n', TN_OPT_INT, &s.max_tokens, "N",
         "tokens of an answer; 0 = as many as the row's has bytes, and a few", 0, 1 << 20, NULL},
        TN_OPTIONS_LORA(&s.lora),
        TN_OPTION_DATA_SETTINGS(&s.data),
        TN_OPTION_THREADS(&s.threads),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "eval",
        .synopsis = "MODEL TEXT...",
        .about =
            "Tell the loss, perplexity and bits per byte of a model (run folder, checkpoint, GGUF file or Hugging\n"
            "Face folder) on texts, or on a token store. Every token but the first is predicted once. With\n"
            "--exact-match: how many questions of rows of JSONL it answers as the rows do.",
        .options = options,
        .min_arguments = 2,
        .max_arguments = -1,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    s.model = argv[1];
    s.texts = (const char *const *)argv + 2;
    s.n_texts = argc - 2;
    tn_arena *arena = tn_arena_create("model");
    tn_status done = arena ? tn_data_settings_open(&s.data) : TN_E_NOMEM;
    if (!done) done = run(&s, arena);
    tn_data_settings_close(&s.data);
    tn_arena_free(arena);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}
