/* SPDX-License-Identifier: MIT
 * token_store_build.c - text to a store. The size of an HDF5 dataset is fixed when it is made, and how many tokens
 * there will be is known only at the end, so they wait in a nameless file beside the store (or in memory). */
#include "core/clock.h"
#include "data/grow.h"
#include "data/text_reader.h"
#include "data/token_store_priv.h"
#include "formats/checksum.h"
#include "formats/hdf5_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct builder {
    const char *name; /* the store's, for messages */
    const tn_tokenizer *tokenizer;
    size_t width;
    int spool;     /* file descriptor; -1 = all stays in `tokens` */
    tn_ids ids;    /* of one document */
    tn_buf tokens; /* packed; with a spool, those that are not in it yet */
    size_t sealed; /* bytes of `tokens` that have their checksum */
    uint64_t *sums;
    size_t n_sums, sums_cap;
    uint64_t *offsets; /* first token of each document; one more at the end */
    size_t n_docs, offsets_cap;
    int64_t n_tokens, n_bytes;
    int n_files;
} builder;

/* ---- tokens ---- */

static tn_status spool_write(const builder *b, const char *data, size_t len) {
    while (len) {
        ssize_t n = write(b->spool, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tn_fail_errno(b->name, "write");
        data += n;
        len -= (size_t)n;
    }
    return TN_OK;
}

/* Sum up and spool the full blocks; at the end the last, shorter one too. */
static tn_status seal(builder *b, size_t least) {
    while (b->tokens.len - b->sealed >= least) {
        size_t len = TN_MIN(b->tokens.len - b->sealed, (size_t)TN_STORE_BLOCK);
        const char *block = b->tokens.data + b->sealed;
        TN_GROW(b->sums, &b->sums_cap, b->n_sums + 1);
        b->sums[b->n_sums++] = tn_checksum64(block, len);
        if (b->spool >= 0) TN_TRY(spool_write(b, block, len));
        b->sealed += len;
    }
    if (b->spool < 0 || !b->sealed) return TN_OK;
    memmove(b->tokens.data, b->tokens.data + b->sealed, b->tokens.len - b->sealed);
    b->tokens.len -= b->sealed;
    b->sealed = 0;
    return TN_OK;
}

static tn_status put_tokens(builder *b, const int32_t *ids, size_t n) {
    TN_TRY(tn_buf_reserve(&b->tokens, n * b->width));
    char *to = b->tokens.data + b->tokens.len;
    for (size_t i = 0; i < n; i++, to += b->width) {
        uint16_t narrow = (uint16_t)ids[i];
        uint32_t wide = (uint32_t)ids[i];
        memcpy(to, b->width == 2 ? (const void *)&narrow : &wide, b->width);
    }
    b->tokens.len += n * b->width;
    b->n_tokens += (int64_t)n;
    return seal(b, TN_STORE_BLOCK);
}

/* ---- documents ---- */

static tn_status end_document(builder *b) {
    int32_t eos = tn_tokenizer_eos(b->tokenizer);
    return eos < 0 ? TN_OK : put_tokens(b, &eos, 1);
}

static tn_status add_document(void *context, const char *text, size_t len, int source, const char *name) {
    builder *b = context;
    if (b->n_docs) TN_TRY(end_document(b)); /* of the one before: whether the last gets one is not known yet */
    b->ids.count = 0;
    (void)name;
    TN_TRY(tn_tokenizer_encode(b->tokenizer, text, len, false, &b->ids));
    TN_GROW(b->offsets, &b->offsets_cap, b->n_docs + 2);
    b->offsets[b->n_docs++] = (uint64_t)b->n_tokens;
    b->n_bytes += (int64_t)len;
    b->n_files = source + 1;
    return put_tokens(b, b->ids.list, b->ids.count);
}

static tn_status collect(builder *b, const char *const *paths, int n_paths) {
    TN_TRY(tn_read_documents(paths, n_paths, add_document, b));
    bool running_text = b->n_docs == 1 && tn_tokenizer_vocabulary(b->tokenizer)->kind == TN_TOKENIZER_CHAR;
    if (!running_text) TN_TRY(end_document(b));
    b->offsets[b->n_docs] = (uint64_t)b->n_tokens;
    return seal(b, 1);
}

static builder start(const char *name, const tn_tokenizer *tokenizer) {
    return (builder){
        .name = name, .tokenizer = tokenizer, .width = tn_store_width(tn_tokenizer_size(tokenizer)), .spool = -1};
}

static void release(builder *b) {
    if (b->spool >= 0) close(b->spool);
    tn_ids_release(&b->ids);
    tn_buf_release(&b->tokens);
    tn_heap_free(b->sums);
    tn_heap_free(b->offsets);
}

static void tell(const builder *b, tn_store_report *report) {
    if (report) *report = (tn_store_report){b->n_files, (int64_t)b->n_docs, b->n_tokens, b->n_bytes};
}

/* ---- a store in memory ---- */

static tn_status keep(builder *b, tn_store *s) {
    TN_TRY(tn_tokenizer_from_vocabulary(&s->tokenizer, tn_tokenizer_vocabulary(b->tokenizer)));
    s->name = tn_heap_strdup(b->name);
    if (!s->name) return TN_E_NOMEM;
    s->tokens = s->heap = b->tokens.data;
    s->offsets = b->offsets;
    s->width = b->width;
    s->n_tokens = b->n_tokens;
    s->n_docs = (int64_t)b->n_docs;
    s->n_bytes = b->n_bytes;
    s->fingerprint = tn_store_make_fingerprint(b->sums, b->n_sums, b->n_tokens, b->tokenizer);
    b->tokens = (tn_buf){0};
    b->offsets = NULL;
    return TN_OK;
}

tn_status tn_store_build_memory(tn_store **out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                                tn_store_report *report) {
    *out = NULL;
    builder b = start(n_paths > 0 ? paths[0] : "", tokenizer);
    tn_store *store = tn_heap_zalloc(1, sizeof *store);
    tn_status status = store ? collect(&b, paths, n_paths) : TN_E_NOMEM;
    if (!status) status = keep(&b, store);
    if (!status) tell(&b, report);
    release(&b);
    if (status)
        tn_store_free(store);
    else
        *out = store;
    return status;
}

/* ---- a store in a file ---- */

/* A file without a name: it is gone when this process is, however it ends. */
static tn_status open_spool(builder *b) {
    char path[4096];
    if (tn_path_is_dir(b->name)) return TN_FAIL(IO, "%s: is a folder where a file was to be written", b->name);
    if ((size_t)snprintf(path, sizeof path, "%s.spool.%ld", b->name, (long)getpid()) >= sizeof path)
        return TN_FAIL(RANGE, "%.60s...: path is too long", b->name);
    b->spool = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (b->spool < 0 || unlink(path) != 0) return tn_fail_errno(b->name, "write");
    return TN_OK;
}

static tn_status spool_read(const builder *b, char *data, size_t len, int64_t from) {
    while (len) {
        ssize_t n = pread(b->spool, data, len, from);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tn_fail_errno(b->name, "read back");
        if (n == 0) return TN_FAIL(IO, "%s: the tokens set aside are gone", b->name);
        data += n;
        len -= (size_t)n;
        from += n;
    }
    return TN_OK;
}

static tn_status copy_tokens(builder *b, tn_h5 *file) {
    TN_TRY(tn_h5_make(file, "tokens", b->width == 2 ? TN_H5_U16 : TN_H5_U32, 1, &b->n_tokens));
    int64_t per_block = TN_STORE_BLOCK / (int64_t)b->width;
    tn_buf_reset(&b->tokens);
    TN_TRY(tn_buf_reserve(&b->tokens, TN_STORE_BLOCK));
    for (int64_t first = 0; first < b->n_tokens; first += per_block) {
        int64_t count = TN_MIN(per_block, b->n_tokens - first);
        TN_TRY(spool_read(b, b->tokens.data, (size_t)count * b->width, first * (int64_t)b->width));
        TN_TRY(tn_h5_write_range(file, "tokens", first, count, b->tokens.data));
    }
    return TN_OK;
}

static tn_status put_lists(const builder *b, tn_h5 *file) {
    int64_t n_offsets = (int64_t)b->n_docs + 1, n_sums = (int64_t)b->n_sums;
    TN_TRY(tn_h5_write(file, "doc_offsets", TN_H5_U64, 1, &n_offsets, b->offsets));
    return tn_h5_write(file, "checksums", TN_H5_U64, 1, &n_sums, b->sums);
}

static tn_status put_tokenizer(const builder *b, tn_h5 *file) {
    tn_buf json = {0};
    tn_status status = tn_tokenizer_to_json(b->tokenizer, &json);
    if (!status) status = tn_h5_write_text(file, "tokenizer_json", json.data, json.len);
    tn_buf_release(&json);
    TN_TRY(status);
    char hash[17];
    tn_tokenizer_hash(b->tokenizer, hash);
    TN_TRY(tn_h5_set_text(file, "tokenizer_hash", hash));
    const char *template = tn_tokenizer_vocabulary(b->tokenizer)->chat_template;
    snprintf(hash, sizeof hash, "%016" PRIx64, tn_checksum64(template, strlen(template)));
    TN_TRY(tn_h5_set_text(file, "template_hash", hash));
    return template[0] ? tn_h5_write_text(file, "chat_template", template, strlen(template)) : TN_OK;
}

static tn_status put_ids(const builder *b, tn_h5 *file) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(b->tokenizer);
    char eot[16] = "";
    if (v->eot >= 0) snprintf(eot, sizeof eot, "%d", v->eot);
    TN_TRY(tn_h5_set_int(file, "vocab_size", v->n_tokens));
    TN_TRY(tn_h5_set_int(file, "bos_id", v->bos));
    TN_TRY(tn_h5_set_int(file, "eos_id", v->eos));
    TN_TRY(tn_h5_set_int(file, "pad_id", v->pad));
    return tn_h5_set_text(file, "eot_ids", eot);
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
    TN_TRY(tn_h5_set_text(file, "kind", "text"));
    TN_TRY(tn_h5_set_int(file, "n_tokens", b->n_tokens));
    TN_TRY(tn_h5_set_int(file, "n_docs", (int64_t)b->n_docs));
    TN_TRY(tn_h5_set_int(file, "n_bytes", b->n_bytes));
    return tn_h5_set_text(file, "created", stamp);
}

static tn_status write_all(builder *b, tn_h5 *file, const char *const *paths, int n_paths) {
    TN_TRY(put_attributes(b, file));
    TN_TRY(put_source(file, paths, n_paths));
    TN_TRY(put_ids(b, file));
    TN_TRY(put_tokenizer(b, file));
    TN_TRY(put_lists(b, file));
    return copy_tokens(b, file);
}

static tn_status write_file(builder *b, const char *const *paths, int n_paths) {
    tn_h5 *file;
    TN_TRY(tn_h5_create(&file, b->name));
    tn_status status = write_all(b, file, paths, n_paths);
    if (!status) return tn_h5_commit(file);
    tn_h5_close(file);
    return status;
}

tn_status tn_store_build(const char *out, const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                         tn_store_report *report) {
    builder b = start(out, tokenizer);
    tn_status status = open_spool(&b);
    if (!status) status = collect(&b, paths, n_paths);
    if (!status) status = write_file(&b, paths, n_paths);
    if (!status) tell(&b, report);
    release(&b);
    return status;
}
