/* SPDX-License-Identifier: MIT */
#include "data/jinja_priv.h"

#include "core/utf8.h"

#include <stdio.h>
#include <string.h>

/* Line and column of a byte, both from 1. */
static void find_place(tn_jinja_text source, uint32_t place, int *line, int *column) {
    *line = *column = 1;
    for (size_t i = 0; i < place && i < source.len; i++) {
        if (source.at[i] == '\n') {
            ++*line;
            *column = 1;
        } else if ((source.at[i] & 0xC0) != 0x80) {
            ++*column;
        }
    }
}

tn_status tn_jinja_fail_at(tn_status code, const char *file, int file_line, const tn_jinja *jinja, uint32_t place,
                           const char *fmt, ...) {
    char sentence[1024];
    int line, column;
    va_list args;
    va_start(args, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, args);
    va_end(args);
    find_place(jinja->source, place, &line, &column);
    return tn_fail_at(code, file, file_line, "%s: line %d, column %d: %s", jinja->name, line, column, sentence);
}

/* Every line end becomes \n; one at the very end is dropped. */
static tn_status copy_source(tn_jinja *jinja, const char *source, size_t len) {
    char *copy;
    TN_TAKE(copy, jinja->arena, len + 1, "template");
    size_t to = 0;
    for (size_t i = 0; i < len; i++) {
        if (source[i] == '\r' && i + 1 < len && source[i + 1] == '\n') continue;
        copy[to++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (to && copy[to - 1] == '\n') to--;
    copy[to] = '\0';
    jinja->source = (tn_jinja_text){copy, to};
    return TN_OK;
}

static tn_status read_source(tn_jinja *jinja, const char *source, size_t len) {
    if (len > TN_JINJA_SOURCE_MAX)
        return TN_FAIL(RANGE, "%s: a template of %zu bytes, expected at most %d", jinja->name, len,
                       TN_JINJA_SOURCE_MAX);
    TN_TRY(tn_utf8_check(jinja->name, 0, source, len));
    TN_TRY(copy_source(jinja, source, len));
    tn_jinja_tokens tokens = {.list = NULL};
    tn_status status = tn_jinja_lex(jinja, &tokens);
    if (!status) status = tn_jinja_parse(jinja, &tokens);
    tn_heap_free(tokens.list);
    return status;
}

tn_status tn_jinja_create(tn_jinja **out, const char *name, const char *source, size_t len) {
    *out = NULL;
    tn_arena *arena = tn_arena_create("template");
    tn_jinja *jinja = arena ? tn_arena_zalloc(arena, 1, sizeof *jinja, "template") : NULL;
    if (jinja) {
        jinja->arena = arena;
        jinja->name = tn_arena_strdup(arena, name, "template");
    }
    tn_status status = jinja && jinja->name ? read_source(jinja, source, len) : TN_E_NOMEM;
    if (status)
        tn_arena_free(arena);
    else
        *out = jinja;
    return status;
}

void tn_jinja_free(tn_jinja *jinja) {
    if (jinja) tn_arena_free(jinja->arena);
}

void tn_jinja_spans_release(tn_jinja_spans *spans) {
    tn_heap_free(spans->list);
    *spans = (tn_jinja_spans){0};
}
