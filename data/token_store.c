/* SPDX-License-Identifier: MIT
 * token_store.c - opening a store, believing nothing in it, and handing out its tokens. */
#include "data/token_store.h"

#include "core/par.h"
#include "data/token_store_priv.h"
#include "formats/checksum.h"
#include "formats/hdf5_file.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_TOKENIZER_BYTES = 256 << 20 };

size_t tn_store_width(int vocab_size) { return vocab_size <= 1 << 16 ? 2 : 4; }

uint64_t tn_store_n_blocks(int64_t n_tokens, size_t width) {
    return ((uint64_t)n_tokens * width + TN_STORE_BLOCK - 1) / TN_STORE_BLOCK;
}

uint64_t tn_store_make_fingerprint(const uint64_t *sums, uint64_t n_blocks, int64_t n_tokens,
                                   const tn_tokenizer *tokenizer) {
    struct {
        uint64_t sums, n_tokens;
        char hash[16];
    } parts = {tn_checksum64(sums, n_blocks * sizeof *sums), (uint64_t)n_tokens, {0}};
    char hash[17];
    tn_tokenizer_hash(tokenizer, hash);
    memcpy(parts.hash, hash, sizeof parts.hash);
    return tn_checksum64(&parts, sizeof parts);
}

/* ---- opening ---- */

typedef struct opening {
    tn_store *store;
    tn_h5 *file;
    const char *path;
    uint64_t *sums;
    uint64_t n_blocks;
    int64_t vocab_size;
    tn_buf text; /* scratch */
} opening;

static tn_status want_text(opening *o, const char *name, const char *expected) {
    tn_buf_reset(&o->text);
    TN_TRY(tn_h5_get_text(o->file, name, &o->text));
    if (strcmp(tn_buf_text(&o->text), expected) == 0) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: \"%s\" is \"%.80s\", expected \"%s\"", o->path, name, tn_buf_text(&o->text),
                   expected);
}

static tn_status want_size(opening *o, const char *name, int64_t most, int64_t *value) {
    TN_TRY(tn_h5_get_int(o->file, name, value));
    if (*value >= 0 && *value <= most) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: \"%s\" is %" PRId64 ", expected 0..%" PRId64, o->path, name, *value, most);
}

static tn_status read_attributes(opening *o) {
    tn_store *s = o->store;
    int64_t version;
    TN_TRY(tn_h5_get_int(o->file, "format_version", &version));
    if (version != TN_STORE_VERSION)
        return TN_FAIL(UNSUPPORTED, "%s: format_version is %" PRId64 ", expected %d", o->path, version,
                       TN_STORE_VERSION);
    TN_TRY(want_text(o, "kind", "text"));
    TN_TRY(want_size(o, "n_tokens", INT64_MAX / 8, &s->n_tokens));
    TN_TRY(want_size(o, "n_docs", s->n_tokens, &s->n_docs));
    TN_TRY(want_size(o, "n_bytes", INT64_MAX, &s->n_bytes));
    TN_TRY(want_size(o, "vocab_size", INT32_MAX, &o->vocab_size));
    return s->n_tokens && s->n_docs ? TN_OK : TN_FAIL(EMPTY, "%s: the token store is empty", o->path);
}

static tn_status read_tokenizer(opening *o) {
    tn_store *s = o->store;
    tn_buf_reset(&o->text);
    TN_TRY(tn_h5_read_text(o->file, "tokenizer_json", MAX_TOKENIZER_BYTES, &o->text));
    TN_TRY(tn_tokenizer_from_json(&s->tokenizer, o->path, tn_buf_text(&o->text), o->text.len));
    if (tn_tokenizer_size(s->tokenizer) != o->vocab_size)
        return TN_FAIL(CORRUPT, "%s: \"vocab_size\" is %" PRId64 ", but its tokenizer has %d tokens", o->path,
                       o->vocab_size, tn_tokenizer_size(s->tokenizer));
    char found[17];
    tn_tokenizer_hash(s->tokenizer, found);
    tn_buf_reset(&o->text);
    TN_TRY(tn_h5_get_text(o->file, "tokenizer_hash", &o->text));
    if (strcmp(found, tn_buf_text(&o->text)) == 0) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: \"tokenizer_hash\" is %.40s, but its tokenizer has %s", o->path, tn_buf_text(&o->text),
                   found);
}

static tn_status want_dataset(opening *o, const char *name, tn_h5_type type, uint64_t count, tn_h5_info *info) {
    TN_TRY(tn_h5_get_info(o->file, name, info));
    if (info->rank == 1 && info->type == type && (uint64_t)info->count == count) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: dataset \"%s\" has %" PRId64 " values, expected %" PRIu64 " of %zu bytes each",
                   o->path, name, info->count, count, tn_h5_type_size(type));
}

static tn_status read_u64(opening *o, const char *name, uint64_t count, uint64_t **list) {
    tn_h5_info info;
    TN_TRY(want_dataset(o, name, TN_H5_U64, count, &info));
    *list = tn_heap_zalloc(count, sizeof **list);
    return *list ? tn_h5_read(o->file, name, TN_H5_U64, (int64_t)count, *list) : TN_E_NOMEM;
}

/* Use the tokens in place when the layout lets us, else bring them in. */
static tn_status reach_tokens(opening *o) {
    tn_store *s = o->store;
    tn_h5_info info;
    s->width = tn_store_width((int)o->vocab_size);
    tn_h5_type type = s->width == 2 ? TN_H5_U16 : TN_H5_U32;
    TN_TRY(want_dataset(o, "tokens", type, (uint64_t)s->n_tokens, &info));
    TN_TRY(tn_map_init(&s->map, o->path));
    size_t size = (size_t)s->n_tokens * s->width;
    if (size > s->map.size) return TN_FAIL(CORRUPT, "%s: is shorter than its tokens", o->path);
    bool in_place =
        info.offset >= 0 && (size_t)info.offset % s->width == 0 && (size_t)info.offset <= s->map.size - size;
    if (in_place) return s->tokens = s->map.data + info.offset, TN_OK;
    tn_map_release(&s->map);
    s->tokens = s->heap = tn_heap_resize(NULL, size);
    return s->heap ? tn_h5_read(o->file, "tokens", type, s->n_tokens, s->heap) : TN_E_NOMEM;
}

static tn_status check_offsets(const opening *o) {
    const tn_store *s = o->store;
    for (int64_t i = 0; i < s->n_docs; i++)
        if (s->offsets[i] >= s->offsets[i + 1])
            return TN_FAIL(CORRUPT, "%s: doc_offsets do not rise at document %" PRId64, o->path, i);
    if (s->offsets[0] == 0 && s->offsets[s->n_docs] == (uint64_t)s->n_tokens) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: doc_offsets go from %" PRIu64 " to %" PRIu64 ", expected 0 to %" PRId64, o->path,
                   s->offsets[0], s->offsets[s->n_docs], s->n_tokens);
}

/* ---- every block: its checksum and the range of its tokens ---- */

typedef enum verdict { GOOD, BAD_SUM, BAD_TOKEN } verdict;

typedef struct inspection {
    const tn_store *store;
    const uint64_t *sums;
    unsigned char *verdicts; /* [n_blocks] */
} inspection;

static uint32_t token_at(const tn_store *s, int64_t i) {
    uint32_t wide;
    uint16_t narrow;
    if (s->width == 2) return memcpy(&narrow, s->tokens + 2 * i, 2), narrow;
    return memcpy(&wide, s->tokens + 4 * i, 4), wide;
}

static bool tokens_in_range(const tn_store *s, int64_t first, int64_t count) {
    uint32_t largest = 0;
    for (int64_t i = first; i < first + count; i++) largest = TN_MAX(largest, token_at(s, i));
    return largest < (uint32_t)tn_store_vocab_size(s);
}

static void inspect(void *context, int64_t begin, int64_t end) {
    const inspection *in = context;
    const tn_store *s = in->store;
    int64_t per_block = TN_STORE_BLOCK / (int64_t)s->width;
    for (int64_t b = begin; b < end; b++) {
        int64_t first = b * per_block, count = TN_MIN(per_block, s->n_tokens - first);
        const unsigned char *bytes = s->tokens + (size_t)first * s->width;
        bool same = tn_checksum64(bytes, (size_t)count * s->width) == in->sums[b];
        in->verdicts[b] = (unsigned char)(!same ? BAD_SUM : tokens_in_range(s, first, count) ? GOOD : BAD_TOKEN);
    }
}

static tn_status check_tokens(const opening *o) {
    unsigned char *verdicts = tn_heap_zalloc(o->n_blocks, 1);
    if (!verdicts) return TN_E_NOMEM;
    tn_par_for((int64_t)o->n_blocks, 4, inspect, &(inspection){o->store, o->sums, verdicts});
    tn_status status = TN_OK;
    for (uint64_t b = 0; b < o->n_blocks && !status; b++) {
        if (verdicts[b] == BAD_SUM)
            status = TN_FAIL(CORRUPT, "%s: tokens in block %" PRIu64 " do not match their checksum", o->path, b);
        if (verdicts[b] == BAD_TOKEN)
            status = TN_FAIL(CORRUPT, "%s: block %" PRIu64 " holds a token that is not below vocab_size %" PRId64,
                             o->path, b, o->vocab_size);
    }
    tn_heap_free(verdicts);
    return status;
}

static tn_status load(opening *o) {
    tn_store *s = o->store;
    TN_TRY(tn_h5_open(&o->file, o->path, TN_STORE_FORMAT));
    TN_TRY(read_attributes(o));
    TN_TRY(read_tokenizer(o));
    if (tn_h5_has(o->file, "loss_mask"))
        return TN_FAIL(UNSUPPORTED, "%s: has a loss_mask, which \"text\" stores do not", o->path);
    TN_TRY(reach_tokens(o)); /* before anything is sized by n_tokens: the file is at least that long */
    o->n_blocks = tn_store_n_blocks(s->n_tokens, s->width);
    TN_TRY(read_u64(o, "checksums", o->n_blocks, &o->sums));
    TN_TRY(read_u64(o, "doc_offsets", (uint64_t)s->n_docs + 1, &s->offsets));
    TN_TRY(check_offsets(o));
    TN_TRY(check_tokens(o));
    s->fingerprint = tn_store_make_fingerprint(o->sums, o->n_blocks, s->n_tokens, s->tokenizer);
    s->name = tn_heap_strdup(o->path);
    return s->name ? TN_OK : TN_E_NOMEM;
}

tn_status tn_store_open(tn_store **out, const char *path) {
    *out = NULL;
    opening o = {.store = tn_heap_zalloc(1, sizeof(tn_store)), .path = path};
    if (!o.store) return TN_E_NOMEM;
    tn_status status = load(&o);
    tn_h5_close(o.file);
    tn_buf_release(&o.text);
    tn_heap_free(o.sums);
    if (status)
        tn_store_free(o.store);
    else
        *out = o.store;
    return status;
}

bool tn_store_is_store(const char *path) {
    tn_h5 *file = NULL;
    if (tn_h5_open(&file, path, TN_STORE_FORMAT)) return false;
    tn_h5_close(file);
    return true;
}

void tn_store_free(tn_store *store) {
    if (!store) return;
    tn_map_release(&store->map);
    tn_heap_free(store->heap);
    tn_heap_free(store->offsets);
    tn_heap_free(store->name);
    tn_tokenizer_free(store->tokenizer);
    tn_heap_free(store);
}

/* ---- questions ---- */

int64_t tn_store_n_tokens(const tn_store *store) { return store->n_tokens; }
int64_t tn_store_n_documents(const tn_store *store) { return store->n_docs; }
int64_t tn_store_n_bytes(const tn_store *store) { return store->n_bytes; }
int tn_store_vocab_size(const tn_store *store) { return tn_tokenizer_size(store->tokenizer); }
const char *tn_store_name(const tn_store *store) { return store->name; }
uint64_t tn_store_fingerprint(const tn_store *store) { return store->fingerprint; }
const tn_tokenizer *tn_store_tokenizer(const tn_store *store) { return store->tokenizer; }

static void assert_range(const tn_store *store, int64_t first, int64_t count) {
    TN_ASSERT(first >= 0 && count >= 0 && first <= store->n_tokens && count <= store->n_tokens - first);
}

void tn_store_get(const tn_store *store, int64_t first, int64_t count, int32_t *out) {
    assert_range(store, first, count);
    for (int64_t i = 0; i < count; i++) out[i] = (int32_t)token_at(store, first + i);
}

int64_t tn_store_doc_offset(const tn_store *store, int64_t i) {
    TN_ASSERT(i >= 0 && i <= store->n_docs);
    return (int64_t)store->offsets[i];
}

void tn_store_count(const tn_store *store, int64_t first, int64_t count, int64_t *counts) {
    assert_range(store, first, count);
    memset(counts, 0, (size_t)tn_store_vocab_size(store) * sizeof *counts);
    for (int64_t i = first; i < first + count; i++) counts[token_at(store, i)]++;
}
