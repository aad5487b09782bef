/* SPDX-License-Identifier: MIT
 * token_store_build.c - documents to a store. The size of an HDF5 dataset is fixed when it is made, and how many tokens
 * there will be is known only at the end, so they wait in a spool. */
#include "core/clock.h"
#include "data/grow.h"
#include "data/token_store_priv.h"
#include "formats/checksum.h"
#include "formats/hdf5_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct builder {
    const char *name; /* the store's, for messages */
    const tn_tokenizer *tokenizer;
    const tn_example_options *options;
    tn_data_report *report;
    bool in_file;
    size_t width;
    tn_buf packed; /* tokens on their way */
    tn_spool tokens, mask;
    bool masked;       /* something is not learnt, so there is a mask */
    uint64_t *offsets; /* first token of each document; one more at the end */
    uint32_t *prompts;
    int8_t *labels;
    size_t n_docs, offsets_cap, prompts_cap, labels_cap;
    int64_t n_tokens;
    int kind;                 /* of all documents so far; -1 = none, TN_ROW_KINDS = several */
    bool open;                /* the last document waits for its EOS: */
    size_t open_in;           /* in that file of the report */
    tn_vocabulary vocabulary; /* of the store's tokenizer */
    char *chat_template;      /* behind it, or NULL */
} builder;

/* ---- tokens and mask ---- */

static tn_status put_tokens(builder *b, const int32_t *ids, size_t n) {
    tn_buf_reset(&b->packed);
    TN_TRY(tn_buf_reserve(&b->packed, n * b->width));
    for (size_t i = 0; i < n; i++) {
        uint16_t narrow = (uint16_t)ids[i];
        uint32_t wide = (uint32_t)ids[i];
        memcpy(b->packed.data + i * b->width, b->width == 2 ? (const void *)&narrow : &wide, b->width);
    }
    b->n_tokens += (int64_t)n;
    return tn_spool_put(&b->tokens, b->packed.data, n * b->width);
}

/* The mask of the documents before the first that has one: all but their first tokens. */
static tn_status begin_mask(builder *b) {
    const uint8_t none = 0;
    uint8_t all[256];
    memset(all, 1, sizeof all);
    if (b->in_file) TN_TRY(tn_spool_open(&b->mask, b->name, "mask"));
    b->masked = true;
    for (size_t i = 0; i < b->n_docs; i++) {
        uint64_t end = i + 1 < b->n_docs ? b->offsets[i + 1] : (uint64_t)b->n_tokens;
        TN_TRY(tn_spool_put(&b->mask, &none, 1));
        for (uint64_t left = end - b->offsets[i] - 1, n; left; left -= n) {
            n = TN_MIN(left, (uint64_t)sizeof all);
            TN_TRY(tn_spool_put(&b->mask, all, n));
        }
    }
    return TN_OK;
}

/* Of a document that is not in offsets yet. */
static tn_status put_mask(builder *b, const uint8_t *mask, size_t n) {
    if (!b->masked && memchr(mask + 1, 0, n - 1)) TN_TRY(begin_mask(b));
    return b->masked ? tn_spool_put(&b->mask, mask, n) : TN_OK;
}

/* ---- documents ---- */

/* EOS behind running text, learnt unless no end is. */
static tn_status close_document(builder *b) {
    int32_t eos = tn_tokenizer_eos(b->tokenizer);
    uint8_t learnt = b->options->train_on_eos != TN_EOS_NONE;
    if (!b->open || eos < 0) return TN_OK;
    b->open = false;
    tn_data_report_end_text(&b->report->files[b->open_in], learnt);
    if (!b->masked && !learnt) TN_TRY(begin_mask(b));
    if (b->masked) TN_TRY(tn_spool_put(&b->mask, &learnt, 1));
    return put_tokens(b, &eos, 1);
}

static tn_status check_kind(builder *b, tn_row_kind kind) {
    if (b->kind < 0 || b->kind == (int)kind) return b->kind = (int)kind, TN_OK;
    const int alone[] = {TN_ROW_PREFERENCE, TN_ROW_KTO};
    for (size_t i = 0; i < TN_COUNT(alone); i++)
        if ((int)kind == alone[i] || b->kind == alone[i])
            return TN_FAIL(MISMATCH, "row is of kind %s, which goes with no rows of another kind",
                           tn_row_kind_names[(int)kind == alone[i] ? (int)kind : b->kind]);
    b->kind = TN_ROW_KINDS;
    return TN_OK;
}

static tn_status add_lists(builder *b, const tn_example *e) {
    if (b->kind == TN_ROW_PREFERENCE) {
        TN_GROW(b->prompts, &b->prompts_cap, b->n_docs + 1);
        b->prompts[b->n_docs] = (uint32_t)e->prompt_tokens;
    }
    if (b->kind == TN_ROW_KTO) {
        TN_GROW(b->labels, &b->labels_cap, b->n_docs + 1);
        b->labels[b->n_docs] = (int8_t)e->row->label;
    }
    return TN_OK;
}

static tn_status add_document(builder *b, const tn_example *e, const tn_document *d) {
    TN_TRY(close_document(b)); /* of the one before: whether the last gets an EOS is not known yet */
    TN_GROW(b->offsets, &b->offsets_cap, b->n_docs + 2);
    TN_TRY(add_lists(b, e));
    TN_TRY(put_mask(b, d->mask, d->count));
    b->offsets[b->n_docs++] = (uint64_t)b->n_tokens;
    b->open = d->ends_open;
    b->open_in = b->report->count - 1;
    return put_tokens(b, d->ids, d->count);
}

static tn_status add_example(void *context, const tn_example *e) {
    builder *b = context;
    TN_TRY(check_kind(b, e->row->kind));
    for (int i = 0; i < e->count; i++) TN_TRY(add_document(b, e, &e->documents[i]));
    return TN_OK;
}

/* The tokenizer as it is, but for a template that was asked for. */
static tn_status take_vocabulary(builder *b) {
    b->vocabulary = *tn_tokenizer_vocabulary(b->tokenizer);
    TN_TRY(tn_example_template(b->options, &b->chat_template));
    if (b->chat_template) b->vocabulary.chat_template = b->chat_template;
    return TN_OK;
}

static tn_status fail_empty(const builder *b, const char *path) {
    tn_file_report total = tn_data_report_total(b->report);
    if (!total.cut) return TN_FAIL(EMPTY, "%s: no row gives anything to learn", path);
    return TN_FAIL(EMPTY, "%s: no row gives anything to learn, %lld of %lld because they were cut to %lld tokens", path,
                   (long long)total.cut, (long long)total.rows, (long long)b->options->max_length);
}

static tn_status collect(builder *b, const char *const *paths, int n_paths) {
    TN_TRY(take_vocabulary(b));
    TN_TRY(tn_read_examples(paths, n_paths, b->tokenizer, b->options, b->report, add_example, b));
    if (!b->n_docs) return fail_empty(b, paths[0]);
    bool running_text = b->n_docs == 1 && b->vocabulary.kind == TN_TOKENIZER_CHAR;
    if (!running_text) TN_TRY(close_document(b));
    b->offsets[b->n_docs] = (uint64_t)b->n_tokens;
    TN_TRY(tn_spool_finish(&b->tokens));
    return tn_spool_finish(&b->mask);
}

static builder start(const char *name, const tn_tokenizer *tokenizer, const tn_example_options *options,
                     tn_data_report *report) {
    return (builder){.name = name,
                     .tokenizer = tokenizer,
                     .options = options,
                     .report = report,
                     .width = tn_store_width(tn_tokenizer_size(tokenizer)),
                     .tokens = {.name = name, .fd = -1},
                     .mask = {.name = name, .fd = -1},
                     .kind = -1};
}

static void release(builder *b) {
    tn_spool_release(&b->tokens);
    tn_spool_release(&b->mask);
    tn_buf_release(&b->packed);
    tn_heap_free(b->offsets);
    tn_heap_free(b->prompts);
    tn_heap_free(b->labels);
    tn_heap_free(b->chat_template);
}

/* The sums of all blocks, those of the mask behind those of the tokens; heap. */
static tn_status join_sums(const builder *b, uint64_t **sums, int64_t *count) {
    *count = (int64_t)(b->tokens.n_sums + b->mask.n_sums);
    *sums = tn_heap_zalloc((size_t)*count, sizeof **sums);
    if (!*sums) return TN_E_NOMEM;
    memcpy(*sums, b->tokens.sums, b->tokens.n_sums * sizeof **sums);
    if (b->mask.n_sums) memcpy(*sums + b->tokens.n_sums, b->mask.sums, b->mask.n_sums * sizeof **sums);
    return TN_OK;
}

/* ---- a store in memory ---- */

/* What was collected belongs to the store from here on. */
static tn_status keep(builder *b, tn_store *s) {
    uint64_t *sums;
    int64_t n_sums;
    TN_TRY(tn_tokenizer_from_vocabulary(&s->tokenizer, &b->vocabulary));
    s->name = tn_heap_strdup(b->name);
    if (!s->name) return TN_E_NOMEM;
    TN_TRY(join_sums(b, &sums, &n_sums));
    s->fingerprint = tn_store_make_fingerprint(sums, (uint64_t)n_sums, (tn_row_kind)b->kind, b->n_tokens, b->tokenizer);
    tn_heap_free(sums);
    s->kind = (tn_row_kind)b->kind;
    s->tokens = s->heap = b->tokens.bytes.data;
    s->mask = s->mask_heap = b->mask.bytes.data;
    s->offsets = b->offsets;
    s->prompts = b->prompts;
    s->labels = b->labels;
    s->width = b->width;
    s->n_tokens = b->n_tokens;
    s->n_docs = (int64_t)b->n_docs;
    s->n_bytes = tn_data_report_total(b->report).bytes;
    b->tokens.bytes = b->mask.bytes = (tn_buf){0};
    b->offsets = NULL;
    b->prompts = NULL;
    b->labels = NULL;
    return TN_OK;
}

tn_status tn_store_build_examples_memory(tn_store **out, const char *const *paths, int n_paths,
                                         const tn_tokenizer *tokenizer, const tn_example_options *options,
                                         tn_data_report *report) {
    *out = NULL;
    builder b = start(n_paths > 0 ? paths[0] : "", tokenizer, options, report);
    tn_store *store = tn_heap_zalloc(1, sizeof *store);
    tn_status status = store ? collect(&b, paths, n_paths) : TN_E_NOMEM;
    if (!status) status = keep(&b, store);
    release(&b);
    if (status)
        tn_store_free(store);
    else
        *out = store;
    return status;
}

/* ---- a store in a file ---- */

static tn_status copy_spool(builder *b, tn_h5 *file, const char *name, tn_h5_type type, const tn_spool *from) {
    int64_t size = (int64_t)tn_h5_type_size(type), per_block = TN_STORE_BLOCK / size;
    TN_TRY(tn_h5_make(file, name, type, 1, &b->n_tokens));
    tn_buf_reset(&b->packed);
    TN_TRY(tn_buf_reserve(&b->packed, TN_STORE_BLOCK));
    for (int64_t first = 0; first < b->n_tokens; first += per_block) {
        int64_t count = TN_MIN(per_block, b->n_tokens - first);
        TN_TRY(tn_spool_read(from, first * size, b->packed.data, (size_t)(count * size)));
        TN_TRY(tn_h5_write_range(file, name, first, count, b->packed.data));
    }
    return TN_OK;
}

static tn_status put_lists(const builder *b, tn_h5 *file) {
    int64_t n_offsets = (int64_t)b->n_docs + 1, n_docs = (int64_t)b->n_docs, n_sums;
    uint64_t *sums;
    TN_TRY(tn_h5_write(file, "doc_offsets", TN_H5_U64, 1, &n_offsets, b->offsets));
    TN_TRY(join_sums(b, &sums, &n_sums));
    tn_status status = tn_h5_write(file, "checksums", TN_H5_U64, 1, &n_sums, sums);
    tn_heap_free(sums);
    if (!status && b->prompts) status = tn_h5_write(file, "prompt_len", TN_H5_U32, 1, &n_docs, b->prompts);
    if (!status && b->labels) status = tn_h5_write(file, "label", TN_H5_I8, 1, &n_docs, b->labels);
    return status;
}

static tn_status put_json(tn_h5 *file, const tn_vocabulary *v) {
    tn_buf json = {0};
    tn_tokenizer *tokenizer;
    TN_TRY(tn_tokenizer_from_vocabulary(&tokenizer, v));
    tn_status status = tn_tokenizer_to_json(tokenizer, &json);
    if (!status) status = tn_h5_write_text(file, "tokenizer_json", json.data, json.len);
    tn_buf_release(&json);
    tn_tokenizer_free(tokenizer);
    return status;
}

static tn_status put_tokenizer(const builder *b, tn_h5 *file) {
    TN_TRY(put_json(file, &b->vocabulary));
    char hash[17];
    tn_tokenizer_hash(b->tokenizer, hash);
    TN_TRY(tn_h5_set_text(file, "tokenizer_hash", hash));
    const char *template = b->vocabulary.chat_template;
    snprintf(hash, sizeof hash, "%016" PRIx64, tn_checksum64(template, strlen(template)));
    TN_TRY(tn_h5_set_text(file, "template_hash", hash));
    return template[0] ? tn_h5_write_text(file, "chat_template", template, strlen(template)) : TN_OK;
}

/* Ids with spaces between: that of the tokenizer, and those that were asked for. */
static tn_status put_ends(const builder *b, tn_h5 *file) {
    tn_buf list = {0};
    int eot = b->vocabulary.eot;
    tn_status status = eot >= 0 ? tn_buf_printf(&list, "%d", eot) : TN_OK;
    for (int i = 0; i < b->options->n_eot_tokens && !status; i++) {
        const char *text = b->options->eot_tokens[i];
        int32_t id = tn_tokenizer_find(b->tokenizer, text, strlen(text));
        if (id != eot) status = tn_buf_printf(&list, "%s%d", list.len ? " " : "", id);
    }
    if (!status) status = tn_h5_set_text(file, "eot_ids", tn_buf_text(&list));
    tn_buf_release(&list);
    return status;
}

static tn_status put_ids(const builder *b, tn_h5 *file) {
    const tn_vocabulary *v = &b->vocabulary;
    TN_TRY(tn_h5_set_int(file, "vocab_size", v->n_tokens));
    TN_TRY(tn_h5_set_int(file, "bos_id", v->bos));
    TN_TRY(tn_h5_set_int(file, "eos_id", v->eos));
    TN_TRY(tn_h5_set_int(file, "pad_id", v->pad));
    return put_ends(b, file);
}

static tn_status put_source(tn_h5 *file, const char *const *paths, int n_paths) {
    tn_buf list = {0};
    tn_status status = tn_buf_puts(&list, paths[0]);
    for (int i = 1; i < n_paths && !status && list.len < 4096; i++) status = tn_buf_printf(&list, "\n%s", paths[i]);
    if (!status) status = tn_h5_set_text(file, "source", list.data);
    tn_buf_release(&list);
    return status;
}

static tn_status put_attributes(const builder *b, tn_h5 *file) {
    char stamp[21];
    tn_clock_stamp(tn_clock_unix(), stamp);
    TN_TRY(tn_h5_set_text(file, "format", TN_STORE_FORMAT));
    TN_TRY(tn_h5_set_int(file, "format_version", TN_STORE_VERSION));
    TN_TRY(tn_h5_set_text(file, "kind", b->kind == TN_ROW_KINDS ? TN_STORE_MIXED : tn_row_kind_names[b->kind]));
    TN_TRY(tn_h5_set_int(file, "n_tokens", b->n_tokens));
    TN_TRY(tn_h5_set_int(file, "n_docs", (int64_t)b->n_docs));
    TN_TRY(tn_h5_set_int(file, "n_bytes", tn_data_report_total(b->report).bytes));
    return tn_h5_set_text(file, "created", stamp);
}

static tn_status write_all(builder *b, tn_h5 *file, const char *const *paths, int n_paths) {
    TN_TRY(put_attributes(b, file));
    TN_TRY(put_source(file, paths, n_paths));
    TN_TRY(put_ids(b, file));
    TN_TRY(put_tokenizer(b, file));
    TN_TRY(put_lists(b, file));
    TN_TRY(copy_spool(b, file, "tokens", b->width == 2 ? TN_H5_U16 : TN_H5_U32, &b->tokens));
    return b->masked ? copy_spool(b, file, "loss_mask", TN_H5_U8, &b->mask) : TN_OK;
}

static tn_status write_file(builder *b, const char *const *paths, int n_paths) {
    tn_h5 *file;
    TN_TRY(tn_h5_create(&file, b->name));
    tn_status status = write_all(b, file, paths, n_paths);
    if (!status) return tn_h5_commit(file);
    tn_h5_close(file);
    return status;
}

tn_status tn_store_build_examples(const char *out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                                  const tn_example_options *options, tn_data_report *report) {
    builder b = start(out, tokenizer, options, report);
    b.in_file = true;
    tn_status status = tn_spool_open(&b.tokens, out, "spool");
    if (!status) status = collect(&b, paths, n_paths);
    if (!status) status = write_file(&b, paths, n_paths);
    release(&b);
    return status;
}

/* ---- texts ---- */

static const tn_example_options texts = {.running_text = true};

/* What is left of the report of a build of texts. */
static void tell(tn_data_report *from, tn_status status, tn_store_report *report) {
    tn_file_report total = tn_data_report_total(from);
    if (!status && report)
        *report = (tn_store_report){(int64_t)from->count, total.documents, total.tokens, total.bytes};
    tn_data_report_release(from);
}

tn_status tn_store_build(const char *out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                         tn_store_report *report) {
    tn_data_report rows = {0};
    tn_status status = tn_store_build_examples(out, paths, n_paths, tokenizer, &texts, &rows);
    tell(&rows, status, report);
    return status;
}

tn_status tn_store_build_memory(tn_store **out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                                tn_store_report *report) {
    tn_data_report rows = {0};
    tn_status status = tn_store_build_examples_memory(out, paths, n_paths, tokenizer, &texts, &rows);
    tell(&rows, status, report);
    return status;
}
