/* SPDX-License-Identifier: MIT */
#include "data/row_packing.h"

#include "core/arena.h"
#include "data/grow.h"
#include "data/shuffle.h"

#include <inttypes.h>
#include <string.h>

enum { ROW_KEY = 0, LENGTH_KEY = 1 }; /* permutations: of rows; of the documents of a length, + that length */
enum { LONGEST = 1 << 30 };           /* tokens of a piece, so that its inputs are an int */

/* What stands in a row as a whole: a piece of a document, or the two documents of a preference. */
typedef struct item {
    int64_t document, from;
    int inputs[2]; /* of the document, and of the one behind it; 0 = that has no part in it */
} item;

struct tn_row_packing {
    const tn_store *store;
    tn_row_packing_options options;
    int group; /* documents of an item: 2 = preferences */
    item *items;
    size_t n_items, items_cap;
    size_t *places;   /* [n_items] items row by row; of bfd, places among items sorted by length */
    size_t *row_ends; /* [n_rows] of places */
    size_t n_rows, row_ends_cap;
    size_t *sorted;  /* [n_items] bfd: items, the longest first; else NULL */
    size_t *lengths; /* [T + 2] bfd: where the items of a length begin in `sorted`; [T + 1] are the longest's */
};

static int length_of(const item *i) { return i->inputs[0] + i->inputs[1]; }

/* ---- documents to items ---- */

typedef struct layout {
    tn_row_packing *p;
    tn_row_packing_report *report;
} layout;

/* Targets that `inputs` tokens from `from` on predict. */
static int64_t targets_of(const tn_row_packing *p, int64_t document, int64_t from, int64_t inputs) {
    const uint8_t *mask = tn_store_mask(p->store);
    int64_t first = tn_store_doc_offset(p->store, document) + from + 1, n = 0;
    if (!mask) return inputs;
    for (int64_t i = first; i < first + inputs; i++) n += mask[i];
    return n;
}

/* An item whose parts all have something to learn; else it is left out. */
static tn_status add_item(layout *l, item i) {
    tn_row_packing *p = l->p;
    for (int k = 0; k < p->group; k++) {
        int64_t targets = targets_of(p, i.document + k, i.from, i.inputs[k]);
        if (!targets) return l->report->zero_target++, TN_OK;
        l->report->targets += targets;
    }
    TN_GROW(p->items, &p->items_cap, p->n_items + 1);
    p->items[p->n_items++] = i;
    l->report->places += length_of(&i);
    return TN_OK;
}

static tn_status fail_long(const tn_row_packing *p, int64_t document, int64_t tokens, int64_t limit) {
    return TN_FAIL(RANGE,
                   "%s: document %" PRId64 " has %" PRId64 " tokens, more than the %" PRId64
                   " of data.max_length and model.context (data.overflow cut, split or drop)",
                   tn_store_name(p->store), document, tokens, limit);
}

static tn_status add_document(layout *l, int64_t document) {
    tn_row_packing *p = l->p;
    int64_t tokens = tn_store_doc_length(p->store, document), limit = p->options.max_length;
    int overflow = p->options.overflow;
    int64_t pieces = tn_overflow_pieces(overflow, tokens, limit), left = tokens - 1;
    if (!pieces && overflow == TN_OVERFLOW_ERROR) return fail_long(p, document, tokens, limit);
    if (!pieces) return l->report->too_long++, TN_OK;
    l->report->cut += tokens > limit;
    size_t before = p->n_items;
    for (int64_t i = 0, from = 0, inputs; i < pieces; i++, from += inputs, left -= inputs) {
        inputs = TN_MIN(left, limit - 1);
        TN_TRY(add_item(l, (item){document, from, {(int)inputs, 0}}));
    }
    l->report->documents += p->n_items > before;
    return TN_OK;
}

/* Both documents of a pair in one row: the longer one gives way first. */
static tn_status add_pair(layout *l, int64_t document) {
    tn_row_packing *p = l->p;
    const int context = p->options.context, most = p->options.max_length - 1;
    const int64_t a = tn_store_doc_length(p->store, document) - 1, b = tn_store_doc_length(p->store, document + 1) - 1;
    int64_t x = TN_MIN(a, most), y = TN_MIN(b, most);
    if (x + y > context) {
        int64_t shorter = TN_MIN(TN_MIN(x, y), context / 2);
        x = TN_MIN(x, context - shorter);
        y = TN_MIN(y, context - x);
    }
    if (x < a || y < b) {
        if (p->options.overflow == TN_OVERFLOW_ERROR) return fail_long(p, document, TN_MAX(a, b) + 1, context);
        if (p->options.overflow == TN_OVERFLOW_DROP) return l->report->too_long++, TN_OK;
        l->report->cut++;
    }
    size_t before = p->n_items;
    TN_TRY(add_item(l, (item){document, 0, {(int)x, (int)y}}));
    l->report->documents += p->n_items > before ? 2 : 0;
    return TN_OK;
}

/* ---- rows ---- */

static tn_status end_row(tn_row_packing *p, size_t end) {
    TN_GROW(p->row_ends, &p->row_ends_cap, p->n_rows + 1);
    p->row_ends[p->n_rows++] = end;
    return TN_OK;
}

static tn_status take_places(tn_row_packing *p) {
    p->places = tn_heap_zalloc(p->n_items, sizeof *p->places);
    if (!p->places) return TN_E_NOMEM;
    for (size_t i = 0; i < p->n_items; i++) p->places[i] = i;
    return TN_OK;
}

static tn_status lay_apart(tn_row_packing *p) {
    TN_TRY(take_places(p));
    for (size_t i = 0; i < p->n_items; i++) TN_TRY(end_row(p, i + 1));
    return TN_OK;
}

/* The row that is being filled end to end. */
typedef struct strip {
    tn_row_packing *p; /* of which `items` are those of the rows so far */
    size_t first;      /* the row's first item */
    int room;          /* places left */
    int64_t targets;
} strip;

/* A row of which nothing is learnt is none. */
static tn_status close_strip(strip *s) {
    tn_row_packing *p = s->p;
    if (!s->targets) p->n_items = s->first;
    if (s->targets) TN_TRY(end_row(p, p->n_items));
    *s = (strip){p, p->n_items, p->options.context, 0};
    return TN_OK;
}

static tn_status put_on_strip(strip *s, item rest) {
    tn_row_packing *p = s->p;
    while (rest.inputs[0]) {
        item part = rest;
        part.inputs[0] = TN_MIN(rest.inputs[0], s->room);
        TN_GROW(p->items, &p->items_cap, p->n_items + 1);
        p->items[p->n_items++] = part;
        s->targets += targets_of(p, part.document, part.from, part.inputs[0]);
        s->room -= part.inputs[0];
        rest.from += part.inputs[0];
        rest.inputs[0] -= part.inputs[0];
        if (!s->room) TN_TRY(close_strip(s));
    }
    return TN_OK;
}

/* Documents end to end; where one is cut at the end of a row, the rest begins the next. */
static tn_status lay_wrapped(tn_row_packing *p) {
    item *whole = p->items;
    size_t count = p->n_items;
    strip s = {p, 0, p->options.context, 0};
    tn_status status = TN_OK;
    p->items = NULL;
    p->n_items = p->items_cap = 0;
    for (size_t i = 0; i < count && !status; i++) status = put_on_strip(&s, whole[i]);
    if (!status) status = close_strip(&s);
    tn_heap_free(whole);
    return status ? status : take_places(p);
}

/* Items by falling length; those of a length in their order. */
static tn_status sort_items(tn_row_packing *p) {
    int context = p->options.context;
    size_t at = 0;
    p->sorted = tn_heap_zalloc(p->n_items, sizeof *p->sorted);
    p->lengths = tn_heap_zalloc((size_t)context + 2, sizeof *p->lengths);
    size_t *next = tn_heap_zalloc((size_t)context + 1, sizeof *next);
    if (!p->sorted || !p->lengths || !next) return tn_heap_free(next), TN_E_NOMEM;
    for (size_t i = 0; i < p->n_items; i++) next[length_of(&p->items[i])]++;
    for (int length = context; length >= 0; length--) {
        size_t n = next[length];
        p->lengths[length] = next[length] = at;
        at += n;
    }
    for (size_t i = 0; i < p->n_items; i++) p->sorted[next[length_of(&p->items[i])]++] = i;
    tn_heap_free(next);
    return TN_OK;
}

/* Rows by the places they have left, to find the one that is filled best. */
typedef struct shelf {
    size_t *newest; /* [T + 1] the row opened last of those with that many places, + 1; 0 = none */
    uint64_t *used; /* a bit for each number of places: there is such a row */
    size_t *older;  /* [rows] the row before it in that list, + 1 */
    size_t *row_of; /* [n_items] of `sorted` */
    int *left;      /* [rows] places */
} shelf;

static tn_status take_shelf(shelf *s, const tn_row_packing *p) {
    size_t places = (size_t)p->options.context + 1;
    s->newest = tn_heap_zalloc(places, sizeof *s->newest);
    s->used = tn_heap_zalloc(places / 64 + 1, sizeof *s->used);
    s->older = tn_heap_zalloc(p->n_items, sizeof *s->older);
    s->row_of = tn_heap_zalloc(p->n_items, sizeof *s->row_of);
    s->left = tn_heap_zalloc(p->n_items, sizeof *s->left);
    return s->newest && s->used && s->older && s->row_of && s->left ? TN_OK : TN_E_NOMEM;
}

static void release_shelf(shelf *s) {
    tn_heap_free(s->newest);
    tn_heap_free(s->used);
    tn_heap_free(s->older);
    tn_heap_free(s->row_of);
    tn_heap_free(s->left);
}

/* The least number of places >= length that a row has; -1: none. */
static int find_room(const shelf *s, int length, int context) {
    int word = length / 64;
    uint64_t bits = s->used[word] >> length % 64 << length % 64;
    while (!bits && ++word <= context / 64) bits = s->used[word];
    if (!bits) return -1;
    int bit = 0;
    while (!(bits >> bit & 1)) bit++;
    return word * 64 + bit;
}

static void put_row(shelf *s, size_t row, int left) {
    s->left[row] = left;
    s->older[row] = s->newest[left];
    s->newest[left] = row + 1;
    s->used[left / 64] |= (uint64_t)1 << left % 64;
}

static size_t take_row(shelf *s, int left) {
    size_t row = s->newest[left] - 1;
    s->newest[left] = s->older[row];
    if (!s->newest[left]) s->used[left / 64] &= ~((uint64_t)1 << left % 64);
    return row;
}

static size_t place_items(tn_row_packing *p, shelf *s) {
    int context = p->options.context;
    size_t rows = 0;
    for (size_t rank = 0; rank < p->n_items; rank++) {
        int length = length_of(&p->items[p->sorted[rank]]), room = find_room(s, length, context);
        size_t row = room < 0 ? rows++ : take_row(s, room);
        put_row(s, row, (room < 0 ? context : room) - length);
        s->row_of[rank] = row;
    }
    return rows;
}

/* Ranks row by row, in a row the longest first. */
static tn_status gather_rows(tn_row_packing *p, const shelf *s, size_t rows) {
    p->places = tn_heap_zalloc(p->n_items, sizeof *p->places);
    p->row_ends = tn_heap_zalloc(rows, sizeof *p->row_ends);
    if (!p->places || !p->row_ends) return TN_E_NOMEM;
    p->n_rows = rows;
    for (size_t rank = 0; rank < p->n_items; rank++) p->row_ends[s->row_of[rank]]++;
    for (size_t row = 0, at = 0; row < rows; row++) { /* counts to beginnings, which then grow to ends */
        size_t n = p->row_ends[row];
        p->row_ends[row] = at;
        at += n;
    }
    for (size_t rank = 0; rank < p->n_items; rank++) p->places[p->row_ends[s->row_of[rank]]++] = rank;
    return TN_OK;
}

static tn_status lay_best_fit(tn_row_packing *p) {
    shelf s = {0};
    tn_status status = sort_items(p);
    if (!status) status = take_shelf(&s, p);
    if (!status) status = gather_rows(p, &s, place_items(p, &s));
    release_shelf(&s);
    return status;
}

/* ---- life ---- */

static tn_status collect(layout *l, int64_t first, int64_t count) {
    tn_row_packing *p = l->p;
    TN_ASSERT(first % p->group == 0 && count % p->group == 0);
    for (int64_t d = first; d < first + count; d += p->group)
        TN_TRY(p->group > 1 ? add_pair(l, d) : add_document(l, d));
    if (p->n_items) return TN_OK;
    return TN_FAIL(EMPTY, "%s: none of its %" PRId64 " documents has anything to learn%s", tn_store_name(p->store),
                   count, l->report->too_long ? " and fits into data.max_length and model.context" : "");
}

static tn_status build(layout *l, int64_t first, int64_t count) {
    tn_row_packing *p = l->p;
    if (p->group > 1 && (p->options.overflow == TN_OVERFLOW_SPLIT || p->options.how == TN_PACKING_WRAPPED))
        return TN_FAIL(CONFIG,
                       "%s: has preferences, which cannot be split; data.packing off or bfd, and data.overflow cut "
                       "or drop, keep them whole",
                       tn_store_name(p->store));
    TN_TRY(collect(l, first, count));
    TN_TRY(p->options.how == TN_PACKING_OFF       ? lay_apart(p)
           : p->options.how == TN_PACKING_WRAPPED ? lay_wrapped(p)
                                                  : lay_best_fit(p));
    l->report->rows = (int64_t)p->n_rows;
    return TN_OK;
}

tn_status tn_row_packing_create(tn_row_packing **out, const tn_store *store, int64_t first, int64_t count,
                                const tn_row_packing_options *options, tn_row_packing_report *report) {
    tn_row_packing *p = tn_heap_zalloc(1, sizeof *p);
    *out = NULL;
    *report = (tn_row_packing_report){0};
    if (!p) return TN_E_NOMEM;
    p->store = store;
    p->options = *options;
    p->group = tn_store_kind(store) == TN_ROW_PREFERENCE ? 2 : 1;
    if (options->how == TN_PACKING_BFD_SPLIT) p->options.overflow = TN_OVERFLOW_SPLIT;
    int limit = options->max_length ? TN_MIN(options->max_length, options->context) : options->context;
    p->options.max_length = options->how == TN_PACKING_WRAPPED ? TN_MAX(options->max_length, 0) : limit;
    if (!p->options.max_length) { /* in rows end to end any length has its place */
        p->options.max_length = LONGEST;
        p->options.overflow = TN_OVERFLOW_SPLIT;
    }
    tn_status status = build(&(layout){p, report}, first, count);
    if (status)
        tn_row_packing_free(p);
    else
        *out = p;
    return status;
}

void tn_row_packing_free(tn_row_packing *packing) {
    if (!packing) return;
    tn_heap_free(packing->items);
    tn_heap_free(packing->places);
    tn_heap_free(packing->row_ends);
    tn_heap_free(packing->sorted);
    tn_heap_free(packing->lengths);
    tn_heap_free(packing);
}

/* ---- a row ---- */

const tn_store *tn_row_packing_store(const tn_row_packing *packing) { return packing->store; }
int tn_row_packing_context(const tn_row_packing *packing) { return packing->options.context; }
int64_t tn_row_packing_rows(const tn_row_packing *packing) { return (int64_t)packing->n_rows; }

/* Documents of a length stand in for each other. */
static const item *item_at(const tn_row_packing *p, const tn_rng *rng, size_t place) {
    if (!p->sorted) return &p->items[p->places[place]];
    size_t rank = p->places[place];
    if (rng) {
        int length = length_of(&p->items[p->sorted[rank]]);
        size_t first = p->lengths[length], end = length ? p->lengths[length - 1] : p->n_items;
        rank = first + (size_t)tn_shuffled(rng, LENGTH_KEY + (uint64_t)length, end - first, rank - first);
    }
    return &p->items[p->sorted[rank]];
}

tn_row_packing_cursor tn_row_packing_begin(const tn_row_packing *p, uint64_t seed, int64_t epoch, int64_t row,
                                           bool shuffle) {
    tn_row_packing_cursor c = {
        .packing = p, .rng = tn_rng_make(seed, TN_PURPOSE_PACKING, (uint32_t)epoch), .shuffle = shuffle};
    TN_ASSERT(row >= 0 && row < (int64_t)p->n_rows);
    size_t number = (size_t)row;
    if (shuffle) number = (size_t)tn_shuffled(&c.rng, ROW_KEY, p->n_rows, number);
    c.item = number ? p->row_ends[number - 1] : 0;
    c.end = p->row_ends[number];
    return c;
}

bool tn_row_packing_next(tn_row_packing_cursor *c, tn_piece *piece) {
    const tn_row_packing *p = c->packing;
    if (c->item == c->end) return false;
    const item *i = item_at(p, c->shuffle ? &c->rng : NULL, c->item);
    *piece = (tn_piece){i->document + c->part, i->from, c->begin, i->inputs[c->part]};
    c->begin += piece->inputs;
    if (++c->part == p->group) c->part = 0, c->item++;
    return true;
}
