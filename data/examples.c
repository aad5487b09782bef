/* SPDX-License-Identifier: MIT
 * examples.c - rows to documents: which way a kind goes, limits, duplicates, and what is counted on the way. */
#include "data/examples.h"

#include "core/log.h"
#include "data/examples_priv.h"
#include "data/grow.h"
#include "formats/checksum.h"

#include <inttypes.h>
#include <string.h>

/* Hashes of what was seen, in open addressing; 0 stands for an empty place. */
typedef struct seen {
    uint64_t *list; /* [cap], a power of two, at most half full */
    size_t count, cap;
} seen;

typedef struct reader {
    tn_example_maker maker;
    const tn_example_options *options;
    tn_data_report *report;
    tn_example_visit *visit;
    void *context;
    tn_tokens tokens[2];
    seen seen;
    int64_t samples;
    bool full; /* max_samples is reached */
} reader;

/* ---- duplicates ---- */

static bool put_hash(const seen *s, uint64_t hash) {
    size_t at = (size_t)hash & (s->cap - 1);
    while (s->list[at] && s->list[at] != hash) at = (at + 1) & (s->cap - 1);
    if (s->list[at]) return false;
    s->list[at] = hash;
    return true;
}

static tn_status grow_seen(seen *s) {
    seen larger = {.cap = s->cap ? 2 * s->cap : 1024, .count = s->count};
    larger.list = tn_heap_zalloc(larger.cap, sizeof *larger.list);
    if (!larger.list) return TN_E_NOMEM;
    for (size_t i = 0; i < s->cap; i++)
        if (s->list[i]) put_hash(&larger, s->list[i]);
    tn_heap_free(s->list);
    *s = larger;
    return TN_OK;
}

static tn_status look_up(reader *r, const tn_example *example, bool *again) {
    uint64_t sums[5] = {(uint64_t)example->count + 1}, hash;
    for (int i = 0; i < example->count; i++) {
        const tn_document *d = &example->documents[i];
        sums[1 + 2 * i] = tn_checksum64(d->ids, d->count * sizeof *d->ids);
        sums[2 + 2 * i] = tn_checksum64(d->mask, d->count);
    }
    hash = tn_checksum64(sums, sizeof sums);
    if (2 * r->seen.count >= r->seen.cap) TN_TRY(grow_seen(&r->seen));
    *again = !put_hash(&r->seen, hash + !hash);
    r->seen.count += !*again;
    return TN_OK;
}

/* ---- limits ---- */

int64_t tn_overflow_pieces(int overflow, int64_t count, int64_t limit) {
    if (!limit || count <= limit) return 1;
    if (overflow == TN_OVERFLOW_CUT) return 1;
    return overflow == TN_OVERFLOW_SPLIT ? (count - 2) / (limit - 1) + 1 : 0;
}

static int64_t limit_of(const reader *r, const tn_row *row) {
    return row->kind == TN_ROW_TEXT && r->options->running_text ? 0 : r->options->max_length;
}

static bool is_long(const tn_example *e, int64_t limit) {
    for (int i = 0; i < e->count; i++)
        if (limit && (int64_t)e->documents[i].count > limit) return true;
    return false;
}

static tn_status fail_long(const tn_example *e, int64_t limit) {
    size_t longest = e->documents[0].count;
    if (e->count > 1) longest = TN_MAX(longest, e->documents[1].count);
    return TN_FAIL(
        RANGE, "comes to %zu tokens, more than the %" PRId64 " of data.max_length (data.overflow cut, split or drop)",
        longest, limit);
}

/* ---- counting and handing on ---- */

static void count_document(const reader *r, const tn_row *row, const tn_document *d, tn_file_report *file) {
    file->documents++;
    file->tokens += (int64_t)d->count;
    file->bytes += (int64_t)d->bytes;
    for (size_t i = 0; i < d->count; i++) {
        file->targets += d->mask[i];
        file->turn_ends += d->mask[i] && tn_example_is_end(&r->maker, d->ids[i]);
    }
    if ((int64_t)d->count <= file->longest) return;
    file->longest = (int64_t)d->count;
    file->longest_line = row->line;
}

static bool has_target(const tn_document *d) { return memchr(d->mask, 1, d->count); }

/* Whether every document has something to be learnt; running text may be short. */
static bool is_of_use(const reader *r, const tn_example *e, tn_file_report *file) {
    int64_t empty = 0;
    if (e->row->kind == TN_ROW_TEXT && r->options->running_text) return true;
    for (int i = 0; i < e->count; i++) empty += !has_target(&e->documents[i]);
    file->zero_target += empty;
    return !empty;
}

/* `fate` becomes TN_DROPS, nothing is wrong, when a document is handed on. */
static tn_status hand_on(reader *r, const tn_example *e, tn_drop *fate) {
    tn_file_report *file = tn_data_report_now(r->report);
    bool used = is_of_use(r, e, file);
    if (used) *fate = TN_DROPS;
    for (int i = 0; i < e->count && used; i++) count_document(r, e->row, &e->documents[i], file);
    return used || r->options->shows_all ? r->visit(r->context, e) : TN_OK;
}

/* A document in pieces of `limit` tokens, each beginning with the last token of the one before. */
static tn_status hand_on_pieces(reader *r, const tn_example *e, int64_t limit, tn_drop *fate) {
    const tn_document whole = e->documents[0];
    tn_example piece = *e;
    int64_t pieces = tn_overflow_pieces(TN_OVERFLOW_SPLIT, (int64_t)whole.count, limit);
    for (int64_t i = 0; i < pieces; i++) {
        size_t from = (size_t)(i * (limit - 1)), count = TN_MIN(whole.count - from, (size_t)limit);
        r->tokens[0].mask[from] = 0;
        piece.documents[0] = (tn_document){.ids = whole.ids + from, .mask = whole.mask + from, .count = count};
        piece.documents[0].bytes = whole.bytes * (from + count) / whole.count - whole.bytes * from / whole.count;
        TN_TRY(hand_on(r, &piece, fate));
    }
    return TN_OK;
}

static void cut(tn_example *e, size_t limit) {
    for (int i = 0; i < e->count; i++) {
        tn_document *d = &e->documents[i];
        if (d->count <= limit) continue;
        d->bytes = d->bytes * limit / d->count;
        d->count = limit;
    }
    e->prompt_tokens = TN_MIN(e->prompt_tokens, limit);
}

static tn_status fit(reader *r, tn_example *e, tn_drop *fate) {
    int64_t limit = limit_of(r, e->row);
    int overflow = r->options->overflow;
    if (!is_long(e, limit)) return hand_on(r, e, fate);
    if (overflow == TN_OVERFLOW_ERROR) return fail_long(e, limit);
    if (overflow == TN_OVERFLOW_DROP) return *fate = TN_DROP_LONG, TN_OK;
    if (overflow == TN_OVERFLOW_SPLIT && e->count > 1)
        return TN_FAIL(MISMATCH,
                       "is a preference of more than %" PRId64
                       " tokens, which cannot be split (data.overflow cut or drop)",
                       limit);
    tn_data_report_now(r->report)->cut++;
    if (overflow == TN_OVERFLOW_SPLIT) return hand_on_pieces(r, e, limit, fate);
    cut(e, (size_t)limit);
    return hand_on(r, e, fate);
}

static tn_status take_example(reader *r, tn_example *e) {
    tn_file_report *file = tn_data_report_now(r->report);
    tn_drop fate = TN_DROP_NO_TARGET;
    bool again = false;
    if (e->row->kind != TN_ROW_TEXT || r->options->dedup || r->options->counts_texts) TN_TRY(look_up(r, e, &again));
    file->duplicates += again;
    if (again && r->options->dedup)
        fate = TN_DROP_DUPLICATE;
    else
        TN_TRY(fit(r, e, &fate));
    if (fate == TN_DROPS)
        file->kept++;
    else
        file->dropped[fate]++;
    r->samples += fate == TN_DROPS;
    r->full = r->options->max_samples && r->samples >= r->options->max_samples;
    return TN_OK;
}

/* ---- from a row to tokens ---- */

bool tn_example_wants_bos(const tn_tokenizer *tokenizer, const char *text, size_t len) {
    const tn_vocabulary *v = tn_tokenizer_vocabulary(tokenizer);
    if (!v->add_bos || v->bos < 0) return false;
    return len < v->lens[v->bos] || memcmp(text, v->texts[v->bos], v->lens[v->bos]) != 0;
}

/* A string as it is: its completion is a turn, a text is learnt as a whole. */
static tn_status plain_text(const reader *r, const tn_row *row, const tn_said *said, tn_marked_text *out) {
    int loss_on = r->options->loss_on;
    bool text = row->kind == TN_ROW_TEXT, running = text && r->options->running_text;
    bool completion = row->kind == TN_ROW_PREFERENCE || row->kind == TN_ROW_KTO;
    if (text && (loss_on == TN_LOSS_COMPLETION || loss_on == TN_LOSS_ASSISTANT))
        return TN_FAIL(MISMATCH, "is a text, which has no answer to learn (data.loss_on auto or all)");
    out->text = said->text;
    out->len = said->len;
    out->all = text || (loss_on == TN_LOSS_ALL && !completion);
    out->specials = !running;
    out->wants_bos = !running && tn_example_wants_bos(r->maker.tokenizer, said->text, said->len);
    out->wants_eos = !running;
    return text ? TN_OK : tn_regions_add(&out->turns, said->answer, said->len, true);
}

static tn_status make_document(reader *r, const tn_row *row, const tn_said *said, tn_tokens *tokens, tn_document *out) {
    tn_marked_text text = {0};
    tn_status status =
        said->messages ? tn_conversation_text(&r->maker, row, said, &text) : plain_text(r, row, said, &text);
    if (!status) status = tn_tokens_make(&r->maker, &text, tokens);
    *out = (tn_document){.ids = tokens->ids.list, .mask = tokens->mask, .count = tokens->ids.count, .bytes = text.len};
    out->ends_open = row->kind == TN_ROW_TEXT && r->options->running_text;
    tn_marked_text_release(&text);
    return status || out->count ? status : TN_FAIL(EMPTY, "comes to no tokens");
}

/* Tokens that are given: in range, with their own mask. */
static tn_status take_tokens(reader *r, const tn_row *row, tn_tokens *tokens, tn_document *out) {
    int size = tn_tokenizer_size(r->maker.tokenizer);
    TN_GROW(tokens->mask, &tokens->mask_cap, row->n_ids);
    tokens->ids.count = 0;
    for (size_t i = 0; i < row->n_ids; i++) {
        if (row->ids[i] >= size)
            return TN_FAIL(RANGE, "has the token %d, but the vocabulary has %d", row->ids[i], size);
        TN_TRY(tn_ids_append(&tokens->ids, row->ids[i]));
        tokens->mask[i] = i && (row->wanted[i] || r->options->loss_on == TN_LOSS_ALL);
        out->bytes += tn_tokenizer_vocabulary(r->maker.tokenizer)->lens[row->ids[i]];
    }
    out->ids = tokens->ids.list;
    out->mask = tokens->mask;
    out->count = row->n_ids;
    return TN_OK;
}

/* What both begin with, and is learnt of neither. */
static size_t shared_prompt(const tn_example *e) {
    const tn_document *a = &e->documents[0], *b = &e->documents[1];
    size_t n = 0, most = TN_MIN(a->count, b->count);
    while (n < most && a->ids[n] == b->ids[n] && !a->mask[n] && !b->mask[n]) n++;
    return n;
}

static tn_status visit_row(void *context, const tn_row *row) {
    reader *r = context;
    tn_example example = {.row = row, .count = TN_MAX(row->n_said, 1)};
    if (!row->n_said) TN_TRY(take_tokens(r, row, &r->tokens[0], &example.documents[0]));
    for (int i = 0; i < row->n_said; i++)
        TN_TRY(make_document(r, row, &row->said[i], &r->tokens[i], &example.documents[i]));
    if (example.count > 1) example.prompt_tokens = shared_prompt(&example);
    TN_TRY(take_example(r, &example));
    return r->full ? TN_E_STOPPED : TN_OK;
}

/* ---- all of it ---- */

static tn_status find_ends(reader *r) {
    for (int i = 0; i < r->options->n_eot_tokens; i++) {
        const char *text = r->options->eot_tokens[i];
        int32_t id = tn_tokenizer_find(r->maker.tokenizer, text, strlen(text));
        if (id < 0) return TN_FAIL(CONFIG, "data.eot_tokens has \"%.60s\", which is no token of the tokenizer", text);
        TN_TRY(tn_ids_append(&r->maker.ends, id));
    }
    return TN_OK;
}

static void release(reader *r) {
    tn_chat_template_free(r->maker.chat_template);
    tn_ids_release(&r->maker.ends);
    for (int i = 0; i < 2; i++) tn_tokens_release(&r->tokens[i]);
    tn_heap_free(r->seen.list);
}

tn_status tn_read_examples(const char *const *paths, int n_paths, const tn_tokenizer *tokenizer,
                           const tn_example_options *options, tn_data_report *report, tn_example_visit *visit,
                           void *context) {
    reader r = {.maker = {.tokenizer = tokenizer, .options = options},
                .options = options,
                .report = report,
                .visit = visit,
                .context = context};
    if (options->max_length == 1)
        return TN_FAIL(CONFIG, "data.max_length is 1, but nothing can be learnt of one token");
    tn_status status = find_ends(&r);
    if (!status) status = tn_read_rows(paths, n_paths, &options->rows, report, visit_row, &r);
    if (status == TN_E_STOPPED && r.full) status = TN_OK;
    release(&r);
    return status;
}

tn_status tn_example_template(const tn_example_options *options, char **source) {
    const char *setting = options->chat_template;
    tn_chat_template *t;
    *source = NULL;
    if (!setting || strcmp(setting, "model") == 0) return TN_OK;
    TN_TRY(tn_chat_template_open(&t, setting));
    *source = tn_heap_strdup(tn_chat_template_source(t));
    tn_chat_template_free(t);
    return *source ? TN_OK : TN_E_NOMEM;
}
