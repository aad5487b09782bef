/* SPDX-License-Identifier: MIT
 * cmd_data_inspect.c - `tern data inspect`: what training would make of rows: tokens, those that are learnt, and what
 * became of every row; or the same of a token store. */
#include "cmd/cmd_data.h"
#include "cmd/data_report_print.h"
#include "cmd/data_settings.h"
#include "cmd/token_view.h"
#include "cmd/tokenizer_source.h"
#include "core/arena.h"
#include "data/token_store.h"

#include <jansson.h>
#include <string.h>

typedef struct settings {
    tn_tokenizer_flags tokenizer;
    tn_data_settings data;
    int64_t shown;
    int context;
    bool json;
} settings;

typedef struct view {
    const settings *settings;
    const tn_tokenizer *tokenizer;
    tn_data_report report;
    int64_t shown;
    bool color;
    json_t *examples; /* with --json */
} view;

/* ---- documents ---- */

static const char *title_of(const tn_example *e, int i) {
    if (e->row->kind == TN_ROW_PREFERENCE) return i ? "rejected" : "chosen";
    return tn_row_kind_names[e->row->kind];
}

static tn_status show_text(const view *v, const tn_example *e, int i) {
    const tn_document *d = &e->documents[i];
    tn_buf out = {0};
    size_t learnt = 0;
    for (size_t k = 0; k < d->count; k++) learnt += d->mask[k];
    tn_status status = tn_buf_printf(&out, "%s%s", v->shown + i ? "\n" : "", e->row->path);
    if (!status && e->row->line) status = tn_buf_printf(&out, ":%lld", (long long)e->row->line);
    if (!status)
        status = tn_buf_printf(&out, ": %s, %zu tokens, %zu learnt%s\n", title_of(e, i), d->count, learnt,
                               d->ends_open ? ", EOS follows" : "");
    if (!status) status = tn_token_view_put(v->tokenizer, d, v->color, &out);
    if (!status) status = tn_cmd_write(tn_buf_text(&out), out.len);
    tn_buf_release(&out);
    return status;
}

static tn_status show_json(const view *v, const tn_example *e, int i) {
    json_t *object = tn_token_view_json(v->tokenizer, &e->documents[i]);
    json_object_set_new(object, "path", tn_cmd_json_path(e->row->path));
    json_object_set_new(object, "line", json_integer((json_int_t)e->row->line));
    json_object_set_new(object, "kind", json_string(title_of(e, i)));
    return json_array_append_new(v->examples, object) ? TN_FAIL(NOMEM, "out of memory for a document") : TN_OK;
}

static tn_status visit(void *context, const tn_example *e) {
    view *v = context;
    for (int i = 0; i < e->count; i++)
        if (e->documents[i].ends_open)
            tn_data_report_end_text(tn_data_report_now(&v->report),
                                    v->settings->data.config.train_on_eos != TN_EOS_NONE);
    if (v->shown >= v->settings->shown) return TN_OK;
    for (int i = 0; i < e->count; i++) TN_TRY((v->examples ? show_json : show_text)(v, e, i));
    v->shown++;
    return TN_OK;
}

static tn_status read_files(view *v, const char *const *paths, int n_paths) {
    tn_example_options options = tn_data_examples(&v->settings->data.config, v->settings->context);
    options.counts_texts = options.shows_all = true;
    return tn_read_examples(paths, n_paths, v->tokenizer, &options, &v->report, visit, v);
}

/* ---- stores ---- */

/* A document of a store as an example; `ids` and `mask` have room for it. */
static tn_status visit_stored(view *v, const tn_store *store, int64_t document, int32_t *ids, uint8_t *mask) {
    tn_row_kind kind = tn_store_kind(store);
    const tn_row row = {
        .kind = kind == TN_ROW_KINDS ? TN_ROW_TEXT : kind, .path = tn_store_name(store), .line = document + 1};
    const uint8_t *all = tn_store_mask(store);
    int64_t first = tn_store_doc_offset(store, document), count = tn_store_doc_length(store, document);
    tn_file_report *file = tn_data_report_now(&v->report);
    tn_store_get(store, first, count, ids);
    for (int64_t i = 0; i < count; i++) {
        mask[i] = i && (!all || all[first + i]);
        file->targets += mask[i];
        file->turn_ends += mask[i] && tn_tokenizer_is_stop(v->tokenizer, ids[i]);
    }
    file->zero_target += !memchr(mask, 1, (size_t)count);
    if (count > file->longest) file->longest = count, file->longest_line = document + 1;
    if (document >= v->settings->shown) return TN_OK;
    tn_example example = {.row = &row, .count = 1};
    int side = kind == TN_ROW_PREFERENCE && document % 2;
    example.documents[side] = (tn_document){.ids = ids, .mask = mask, .count = (size_t)count};
    TN_TRY((v->examples ? show_json : show_text)(v, &example, side));
    v->shown++;
    return TN_OK;
}

static tn_status read_store(view *v, const tn_store *store) {
    int64_t n = tn_store_n_documents(store), longest = 0;
    TN_TRY(tn_data_report_add(&v->report, tn_store_name(store)));
    for (int64_t i = 0; i < n; i++) longest = TN_MAX(longest, tn_store_doc_length(store, i));
    int32_t *ids = tn_heap_zalloc((size_t)longest, sizeof *ids);
    uint8_t *mask = tn_heap_zalloc((size_t)longest, sizeof *mask);
    tn_status status = ids && mask ? TN_OK : TN_E_NOMEM;
    for (int64_t i = 0; i < n && !status; i++) status = visit_stored(v, store, i, ids, mask);
    tn_heap_free(ids);
    tn_heap_free(mask);
    tn_file_report *file = tn_data_report_now(&v->report);
    file->rows = file->kept = tn_store_kind(store) == TN_ROW_PREFERENCE ? n / 2 : n;
    file->documents = n;
    file->tokens = tn_store_n_tokens(store);
    file->bytes = tn_store_n_bytes(store);
    return status;
}

/* ---- the verdict ---- */

static tn_status print_report(view *v) {
    if (!v->examples) {
        if (v->shown) TN_TRY(tn_cmd_print("\n"));
        return tn_data_report_print(&v->report);
    }
    json_t *object = json_pack("{s:o, s:O}", "files", tn_data_report_json(&v->report), "examples", v->examples);
    return tn_cmd_print_json(object);
}

/* Nothing to learn, or no end to learn, is a fault of the settings, not of a row. */
static tn_status judge(const view *v) {
    tn_file_report total = tn_data_report_total(&v->report);
    if (!total.targets)
        return TN_FAIL(EMPTY,
                       "everything is masked: no token of %lld rows is learnt (data.loss_on, data.max_length, weights "
                       "of messages)",
                       (long long)total.rows);
    if (!total.turn_ends)
        return TN_FAIL(EMPTY,
                       "no token that ends a turn is learnt, so the model would not learn to stop (data.train_on_eos, "
                       "data.eot_tokens, data.chat_template, data.max_length)");
    return TN_OK;
}

static tn_status inspect(view *v, const tn_store *store, const char *const *paths, int n_paths) {
    v->color = tn_token_view_has_color();
    v->examples = v->settings->json ? json_array() : NULL;
    tn_status status = store ? read_store(v, store) : read_files(v, paths, n_paths);
    if (!status) status = print_report(v);
    if (!status) status = judge(v);
    json_decref(v->examples);
    tn_data_report_release(&v->report);
    return status;
}

static tn_status inspect_store(const settings *s, const char *path) {
    tn_store *store;
    TN_TRY(tn_store_open(&store, path));
    view v = {.settings = s, .tokenizer = tn_store_tokenizer(store)};
    tn_status status = inspect(&v, store, NULL, 0);
    tn_store_free(store);
    return status;
}

/* Of a model, its context is the limit too. */
static tn_status open_tokenizer(settings *s, const char *const *paths, int n_paths, tn_tokenizer **out) {
    const tn_example_options options = tn_data_examples(&s->data.config, 0);
    int context;
    TN_TRY(tn_tokenizer_from_flags(out, &s->tokenizer, &options.rows, paths, n_paths, &context));
    if (!s->context) s->context = context;
    return TN_OK;
}

static tn_status inspect_files(settings *s, const char *const *paths, int n_paths) {
    tn_tokenizer *tokenizer;
    if (!*s->tokenizer.source)
        return TN_FAIL(CONFIG, "-m is missing: the model, or the tokenizer, that the rows are for");
    TN_TRY(open_tokenizer(s, paths, n_paths, &tokenizer));
    view v = {.settings = s, .tokenizer = tokenizer};
    tn_status status = inspect(&v, NULL, paths, n_paths);
    tn_tokenizer_free(tokenizer);
    return status;
}

int tn_cmd_data_inspect(int argc, char **argv) {
    settings s = {.tokenizer = TN_TOKENIZER_FLAGS_DEFAULT, .shown = 2};
    s.tokenizer.source = "";
    const tn_option options[] = {
        {"model|tokenizer", 'm', TN_OPT_TEXT, &s.tokenizer.source, "F",
         "a model or a file with its tokenizer; bpe or char: learnt from the input. Token stores have their own", 0, 0,
         NULL},
        {"rows", 'n', TN_OPT_COUNT, &s.shown, "N", "rows to show as tokens", 0, 1e12, NULL},
        {"ctx-size", 'c', TN_OPT_INT, &s.context, "N",
         "tokens of a document at most, unless data.max_length says; 0 = the model's context", 0, 1 << 24, NULL},
        TN_OPTION_DATA_SETTINGS(&s.data),
        TN_OPTION_JSON(&s.json),
        TN_OPTIONS_END,
    };
    const tn_usage usage = {
        .command = "data inspect",
        .synopsis = "INPUT... -m MODEL | STORE",
        .about =
            "Show rows as the tokens that training makes of them, the learnt ones marked (green, or in brackets), and\n"
            "what became of every row. Fails when everything is masked, or no end of a turn is learnt.",
        .more = tn_data_settings_help,
        .options = options,
        .min_arguments = 1,
        .max_arguments = -1,
    };
    int status = tn_options_parse(&usage, &argc, argv);
    if (status != TN_OPTIONS_GO) return status;
    tn_status done = tn_data_settings_open(&s.data);
    if (!done && argc == 2 && tn_store_is_store(argv[1]))
        done = inspect_store(&s, argv[1]);
    else if (!done)
        done = inspect_files(&s, (const char *const *)argv + 1, argc - 1);
    tn_data_settings_close(&s.data);
    return done ? tn_cmd_fail(done) : TN_EXIT_DONE;
}
