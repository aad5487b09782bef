/* SPDX-License-Identifier: MIT
 * token_store_open.c - opening a store, believing nothing in it. */
#include "core/par.h"
#include "data/token_store_priv.h"
#include "formats/checksum.h"
#include "formats/hdf5_file.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_TOKENIZER_BYTES = 256 << 20 };

typedef struct opening {
    tn_store *store;
    tn_h5 *file;
    const char *path;
    uint64_t *sums;
    uint64_t n_blocks, n_token_blocks; /* of tokens and mask; of tokens alone */
    int64_t vocab_size;
    tn_buf text; /* scratch */
} opening;

static tn_status want_size(opening *o, const char *name, int64_t most, int64_t *value) {
    TN_TRY(tn_h5_get_int(o->file, name, value));
    if (*value >= 0 && *value <= most) return TN_OK;
    return TN_FAIL(CORRUPT, "%s: \"%s\" is %" PRId64 ", expected 0..%" PRId64, o->path, name, *value, most);
}

static tn_status read_kind(opening *o) {
    int kind = 0;
    tn_buf_reset(&o->text);
    TN_TRY(tn_h5_get_text(o->file, "kind", &o->text));
    while (kind < TN_ROW_KINDS && strcmp(tn_buf_text(&o->text), tn_row_kind_names[kind]) != 0) kind++;
    o->store->kind = (tn_row_kind)kind;
    if (kind < TN_ROW_KINDS || strcmp(tn_buf_text(&o->text), TN_STORE_MIXED) == 0) return TN_OK;
    return TN_FAIL(UNSUPPORTED, "%s: \"kind\" is \"%.80s\", which is no kind of rows that this version knows", o->path,
                   tn_buf_text(&o->text));
}

static tn_status read_attributes(opening *o) {
    tn_store *s = o->store;
    int64_t version;
    TN_TRY(tn_h5_get_int(o->file, "format_version", &version));
    if (version != TN_STORE_VERSION)
        return TN_FAIL(UNSUPPORTED, "%s: format_version is %" PRId64 ", expected %d", o->path, version,
                       TN_STORE_VERSION);
    TN_TRY(read_kind(o));
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

/* A list of n_docs, or NULL where there is none. */
static tn_status read_list(opening *o, const char *name, tn_h5_type type, size_t size, void **list) {
    tn_h5_info info;
    if (!tn_h5_has(o->file, name)) return TN_OK;
    TN_TRY(want_dataset(o, name, type, (uint64_t)o->store->n_docs, &info));
    *list = tn_heap_zalloc((size_t)o->store->n_docs, size);
    return *list ? tn_h5_read(o->file, name, type, o->store->n_docs, *list) : TN_E_NOMEM;
}

/* Use a dataset of n_tokens in place when the layout lets us, else bring it in. */
static tn_status reach(opening *o, const char *name, tn_h5_type type, const unsigned char **data, void **heap) {
    tn_store *s = o->store;
    tn_h5_info info;
    TN_TRY(want_dataset(o, name, type, (uint64_t)s->n_tokens, &info));
    if (!s->map.data) TN_TRY(tn_map_init(&s->map, o->path));
    size_t width = tn_h5_type_size(type), size = (size_t)s->n_tokens * width;
    if (size > s->map.size) return TN_FAIL(CORRUPT, "%s: is shorter than its %s", o->path, name);
    bool in_place = info.offset >= 0 && (size_t)info.offset % width == 0 && (size_t)info.offset <= s->map.size - size;
    if (in_place) return *data = s->map.data + info.offset, TN_OK;
    *data = *heap = tn_heap_resize(NULL, size);
    return *heap ? tn_h5_read(o->file, name, type, s->n_tokens, *heap) : TN_E_NOMEM;
}

static tn_status reach_tokens(opening *o) {
    tn_store *s = o->store;
    s->width = tn_store_width((int)o->vocab_size);
    TN_TRY(reach(o, "tokens", s->width == 2 ? TN_H5_U16 : TN_H5_U32, &s->tokens, &s->heap));
    o->n_token_blocks = o->n_blocks = tn_store_n_blocks(s->n_tokens, s->width);
    if (!tn_h5_has(o->file, "loss_mask")) return TN_OK;
    TN_TRY(reach(o, "loss_mask", TN_H5_U8, &s->mask, &s->mask_heap));
    o->n_blocks += tn_store_n_blocks(s->n_tokens, 1);
    return TN_OK;
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

/* ---- every block: its checksum and the range of what is in it ---- */

typedef enum verdict { GOOD, BAD_SUM, BAD_VALUE } verdict;

typedef struct inspection {
    const opening *opening;
    unsigned char *verdicts; /* [n_blocks] those of the tokens, then those of the mask */
} inspection;

static bool mask_in_range(const uint8_t *mask, int64_t count) {
    uint8_t all = 0;
    for (int64_t i = 0; i < count; i++) all |= mask[i];
    return all <= 1;
}

static void inspect(void *context, int64_t begin, int64_t end) {
    const inspection *in = context;
    const opening *o = in->opening;
    const tn_store *s = o->store;
    for (int64_t b = begin; b < end; b++) {
        bool tokens = b < (int64_t)o->n_token_blocks;
        size_t width = tokens ? s->width : 1;
        int64_t per_block = TN_STORE_BLOCK / (int64_t)width, number = tokens ? b : b - (int64_t)o->n_token_blocks;
        int64_t first = number * per_block, count = TN_MIN(per_block, s->n_tokens - first);
        const unsigned char *bytes = (tokens ? s->tokens : s->mask) + (size_t)first * width;
        bool same = tn_checksum64(bytes, (size_t)count * width) == o->sums[b];
        bool fits =
            tokens ? tn_store_largest(s, first, count) < (uint32_t)tn_store_vocab_size(s) : mask_in_range(bytes, count);
        in->verdicts[b] = (unsigned char)(!same ? BAD_SUM : fits ? GOOD : BAD_VALUE);
    }
}

static tn_status judge_block(const opening *o, uint64_t b, verdict found) {
    bool tokens = b < o->n_token_blocks;
    uint64_t number = tokens ? b : b - o->n_token_blocks;
    if (found == BAD_SUM)
        return TN_FAIL(CORRUPT, "%s: block %" PRIu64 " of the %s does not match its checksum", o->path, number,
                       tokens ? "tokens" : "loss_mask");
    if (found == GOOD) return TN_OK;
    if (!tokens) return TN_FAIL(CORRUPT, "%s: block %" PRIu64 " of the loss_mask has a value above 1", o->path, number);
    return TN_FAIL(CORRUPT, "%s: block %" PRIu64 " holds a token that is not below vocab_size %" PRId64, o->path,
                   number, o->vocab_size);
}

static tn_status check_blocks(const opening *o) {
    unsigned char *verdicts = tn_heap_zalloc(o->n_blocks, 1);
    if (!verdicts) return TN_E_NOMEM;
    tn_par_for((int64_t)o->n_blocks, 4, inspect, &(inspection){o, verdicts});
    tn_status status = TN_OK;
    for (uint64_t b = 0; b < o->n_blocks && !status; b++) status = judge_block(o, b, (verdict)verdicts[b]);
    tn_heap_free(verdicts);
    return status;
}

/* ---- lists of some kinds ---- */

/* Documents of preferences come in pairs whose prompts are as long as they say. */
static tn_status check_preferences(const opening *o) {
    const tn_store *s = o->store;
    if (s->n_docs % 2)
        return TN_FAIL(CORRUPT, "%s: has %" PRId64 " documents, expected pairs of chosen and rejected", o->path,
                       s->n_docs);
    for (int64_t i = 0; i < s->n_docs; i++)
        if (s->prompts[i] > s->offsets[i + 1] - s->offsets[i] || s->prompts[i] != s->prompts[i / 2 * 2])
            return TN_FAIL(CORRUPT, "%s: prompt_len of document %" PRId64 " is %u, which does not fit", o->path, i,
                           s->prompts[i]);
    return TN_OK;
}

static tn_status read_lists(opening *o) {
    tn_store *s = o->store;
    TN_TRY(read_list(o, "prompt_len", TN_H5_U32, sizeof *s->prompts, (void **)&s->prompts));
    TN_TRY(read_list(o, "label", TN_H5_I8, sizeof *s->labels, (void **)&s->labels));
    if ((s->kind == TN_ROW_PREFERENCE) != !!s->prompts || (s->kind == TN_ROW_KTO) != !!s->labels)
        return TN_FAIL(CORRUPT, "%s: of kind %s, %s", o->path, tn_store_kind_name(s),
                       s->prompts || s->labels ? "but has what another kind has" : "but lacks prompt_len or label");
    return s->prompts ? check_preferences(o) : TN_OK;
}

static tn_status load(opening *o) {
    tn_store *s = o->store;
    TN_TRY(tn_h5_open(&o->file, o->path, TN_STORE_FORMAT));
    TN_TRY(read_attributes(o));
    TN_TRY(read_tokenizer(o));
    TN_TRY(reach_tokens(o)); /* before anything is sized by n_tokens: the file is at least that long */
    TN_TRY(read_u64(o, "checksums", o->n_blocks, &o->sums));
    TN_TRY(read_u64(o, "doc_offsets", (uint64_t)s->n_docs + 1, &s->offsets));
    TN_TRY(check_offsets(o));
    TN_TRY(check_blocks(o));
    TN_TRY(read_lists(o));
    s->fingerprint = tn_store_make_fingerprint(o->sums, o->n_blocks, s->kind, s->n_tokens, s->tokenizer);
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
