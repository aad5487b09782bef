/* SPDX-License-Identifier: MIT */
#include "data/split.h"

#include "core/arena.h"

#include <stdio.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MAX_EXPRESSIONS = 6 };
enum flags { WHOLE = 1, BOS = 2 };

typedef struct row {
    tn_split split;
    const char *name;
    unsigned flags;
    const char *expressions[MAX_EXPRESSIONS + 1]; /* NULL after the last */
} row;

#define SPLIT(id, name, flags, ...) {TN_SPLIT_##id, name, flags, {__VA_ARGS__}},
#define ALIAS(id, name)
#define SPELLING(id, ...)
static const row rows[] = {
#include "data/split.def"
};
#undef SPLIT
#undef ALIAS
#define SPLIT(id, name, flags, ...)
#define ALIAS(id, name) {TN_SPLIT_##id, name, 0, {NULL}},
static const row aliases[] = {
#include "data/split.def"
};
#undef ALIAS
#undef SPELLING
#define ALIAS(id, name)
#define SPELLING(id, ...) {TN_SPLIT_##id, NULL, 0, {__VA_ARGS__}},
static const row spellings[] = {
#include "data/split.def"
};

static const row *row_of(tn_split split) {
    TN_ASSERT((size_t)split < TN_COUNT(rows) && rows[split].split == split);
    return &rows[split];
}

const char *tn_split_name(tn_split split) { return row_of(split)->name; }
bool tn_split_ignores_merges(tn_split split) { return row_of(split)->flags & WHOLE; }
bool tn_split_adds_bos(tn_split split) { return row_of(split)->flags & BOS; }

static int count_expressions(const row *r) {
    int n = 0;
    while (r->expressions[n]) n++;
    return n;
}

int tn_split_expressions(tn_split split, const char *const **list) {
    *list = row_of(split)->expressions;
    return count_expressions(row_of(split));
}

static bool name_in(const row *list, size_t n, const char *name, size_t len, tn_split *split) {
    for (size_t i = 0; i < n; i++) {
        if (strlen(list[i].name) != len || memcmp(list[i].name, name, len) != 0) continue;
        *split = list[i].split;
        return true;
    }
    return false;
}

bool tn_split_from_name(const char *name, size_t len, tn_split *split) {
    return name_in(rows, TN_COUNT(rows), name, len, split) || name_in(aliases, TN_COUNT(aliases), name, len, split);
}

tn_status tn_split_fail_name(const char *what, const char *name, size_t len) {
    char known[512] = "";
    for (size_t i = 0, at = 0; i < TN_COUNT(rows); i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", rows[i].name);
    return TN_FAIL(UNSUPPORTED, "%s: \"%.*s\" is not supported, expected one of %s", what, (int)TN_MIN(len, 80u), name,
                   known);
}

/* Files write the end of a line in an expression as the character or by its name. */
static bool same_expression(const char *a, const char *b) {
    for (; *a && *b; a++, b++) {
        if (*a == *b) continue;
        const char **named = *a == '\\' ? &a : &b, plain = *a == '\\' ? *b : *a;
        if (**named != '\\' || (plain != '\n' && plain != '\r')) return false;
        if (*++*named != (plain == '\n' ? 'n' : 'r')) return false;
    }
    return *a == *b;
}

static bool same_expressions(const row *r, const char *const *list, int count) {
    int same = 0;
    while (same < count && r->expressions[same] && same_expression(list[same], r->expressions[same])) same++;
    return same == count && !r->expressions[same];
}

static const row *find_expressions(const row *table, size_t n, const char *const *list, int count, bool whole) {
    for (size_t i = 0; i < n; i++)
        if (tn_split_ignores_merges(table[i].split) == whole && same_expressions(&table[i], list, count))
            return &table[i];
    return NULL;
}

/* Two names may stand for one expression and differ in whether whole pieces are taken. */
bool tn_split_from_expressions(const char *const *list, int count, bool ignore_merges, tn_split *split) {
    const row *found = NULL;
    for (int other = 0; other < 2 && !found; other++) {
        found = find_expressions(rows, TN_COUNT(rows), list, count, ignore_merges != other);
        if (!found) found = find_expressions(spellings, TN_COUNT(spellings), list, count, ignore_merges != other);
    }
    if (found) *split = found->split;
    return found;
}

struct tn_splitter {
    pcre2_general_context *memory;
    pcre2_code *codes[MAX_EXPRESSIONS];
    int n_codes;
};

static void *take(PCRE2_SIZE size, void *context) {
    (void)context;
    return tn_heap_resize(NULL, size);
}

static void give(void *piece, void *context) {
    (void)context;
    tn_heap_free(piece);
}

/* PCRE2's \s also takes U+180E, which is not white space to Unicode nor to the other runtimes. */
static tn_status translate(const char *expression, tn_buf *out) {
    for (const char *p = expression; *p; p++) {
        if (p[0] != '\\') {
            TN_TRY(tn_buf_putc(out, *p));
            continue;
        }
        p++;
        if (*p == 's' || *p == 'S')
            TN_TRY(tn_buf_puts(out, *p == 's' ? "\\p{White_Space}" : "\\P{White_Space}"));
        else
            TN_TRY(tn_buf_append(out, p - 1, 2));
    }
    return TN_OK;
}

static tn_status compile(const char *expression, pcre2_general_context *memory, pcre2_code **code) {
    tn_buf text = {0};
    tn_status status = translate(expression, &text);
    pcre2_compile_context *context = status ? NULL : pcre2_compile_context_create(memory);
    int problem = 0;
    PCRE2_SIZE place = 0;
    if (context)
        *code = pcre2_compile((PCRE2_SPTR)text.data, text.len, PCRE2_UTF | PCRE2_UCP, &problem, &place, context);
    if (!status && !*code)
        status =
            context && problem != PCRE2_ERROR_NOMEMORY && problem != PCRE2_ERROR_HEAP_FAILED
                ? TN_FAIL(UNSUPPORTED, "split expression %s: PCRE2 error %d at %zu", expression, problem, (size_t)place)
                : TN_FAIL(NOMEM, "out of memory for a split expression");
    if (!status) (void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE); /* refused = interpreted, slower but the same */
    pcre2_compile_context_free(context);
    tn_buf_release(&text);
    return status;
}

tn_status tn_splitter_create(tn_splitter **out, tn_split split) {
    *out = NULL;
    tn_splitter *s = tn_heap_zalloc(1, sizeof *s);
    if (!s) return TN_E_NOMEM;
    s->memory = pcre2_general_context_create(take, give, NULL);
    tn_status status = s->memory ? TN_OK : TN_E_NOMEM;
    const char *const *list;
    int count = tn_split_expressions(split, &list);
    while (!status && s->n_codes < count) {
        status = compile(list[s->n_codes], s->memory, &s->codes[s->n_codes]);
        s->n_codes++;
    }
    if (status)
        tn_splitter_free(s);
    else
        *out = s;
    return status;
}

void tn_splitter_free(tn_splitter *s) {
    if (!s) return;
    for (int i = 0; i < s->n_codes; i++) pcre2_code_free(s->codes[i]);
    pcre2_general_context_free(s->memory);
    tn_heap_free(s);
}

typedef struct run {
    const tn_splitter *splitter;
    pcre2_match_data *match;
    tn_piece_visit *visit;
    void *context;
} run;

static tn_status next_match(const run *r, int level, const char *text, size_t len, size_t from, size_t *begin,
                            size_t *end) {
    int found = pcre2_match(r->splitter->codes[level], (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, r->match, NULL);
    *begin = *end = len;
    if (found == PCRE2_ERROR_NOMATCH) return TN_OK;
    if (found == PCRE2_ERROR_NOMEMORY) return TN_FAIL(NOMEM, "out of memory while splitting text");
    if (found < 0)
        return TN_FAIL(RANGE, "a piece of %zu bytes of text is more than PCRE2 can split (error %d)", len, found);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(r->match);
    *begin = span[0];
    *end = span[1];
    TN_ASSERT(*end > *begin); /* no row of split.def matches nothing */
    return TN_OK;
}

/* Cut text by expression `level`; what it does not match stays as pieces of its own. */
static tn_status cut(const run *r, int level, const char *text, size_t len) {
    if (level == MAX_EXPRESSIONS || level == r->splitter->n_codes) return r->visit(r->context, text, len);
    for (size_t at = 0; at < len;) {
        size_t begin, end;
        TN_TRY(next_match(r, level, text, len, at, &begin, &end));
        if (begin > at) TN_TRY(cut(r, level + 1, text + at, begin - at));
        if (end > begin) TN_TRY(cut(r, level + 1, text + begin, end - begin));
        at = end;
    }
    return TN_OK;
}

tn_status tn_splitter_run(const tn_splitter *splitter, const char *text, size_t len, tn_piece_visit *visit,
                          void *context) {
    run r = {splitter, pcre2_match_data_create(1, splitter->memory), visit, context};
    if (!r.match) return TN_E_NOMEM;
    tn_status status = cut(&r, 0, text, len);
    pcre2_match_data_free(r.match);
    return status;
}
