/* SPDX-License-Identifier: MIT
 * grammar_check.c - what cannot be followed is refused before a text is: rules that call themselves before they take a
 * byte would open without end, and rules that can never return would leave no way to end the text. */
#include "infer/grammar_priv.h"

#include <string.h>

static const char tag[] = "grammar check";

typedef struct checker {
    tn_grammar *g;
    const tn_written *w;
    uint32_t *todo; /* [2 n_steps + n_parts] steps */
    size_t n_todo;
} checker;

static tn_status fail(const checker *c, uint32_t rule, const char *what) {
    const tn_written_rule *r = &c->w->rules[rule];
    tn_text_place place = tn_written_place(c->w, r->at);
    return TN_FAIL(FORMAT, "grammar: line %d, column %d: rule \"%.*s\" %s", place.line, place.column,
                   (int)TN_MIN(r->len, 80u), r->name, what);
}

/* ---- left recursion ---- */

typedef enum colour { WHITE, OPEN, CLOSED } colour;

typedef struct opening {
    uint32_t part;
    size_t n_todo; /* below it are the steps of parts that were opened before */
} opening;

typedef struct left_walk {
    checker *c;
    uint8_t *colours;  /* [n_parts] */
    bool *visited;     /* [n_steps] */
    opening *openings; /* [n_parts] from the first to the one being looked at */
    size_t n_openings;
    uint32_t n_closed;
} left_walk;

/* The names on the way from `part` back to itself: "a -> b -> a". */
static tn_status fail_cycle(const left_walk *walk, uint32_t part) {
    const checker *c = walk->c;
    char names[400] = "begins with itself: ";
    size_t len = strlen(names), from = 0, first = SIZE_MAX;
    while (walk->openings[from].part != part) from++;
    for (size_t i = from; i <= walk->n_openings; i++) {
        const tn_part *p = &c->g->parts[i < walk->n_openings ? walk->openings[i].part : part];
        if (!p->named) continue;
        if (first == SIZE_MAX) first = i;
        const tn_written_rule *r = &c->w->rules[p->rule];
        size_t n = TN_MIN(r->len, 60u);
        if (len + n + 8 > sizeof names) break;
        if (i > first) memcpy(names + len, " -> ", 4), len += 4;
        memcpy(names + len, r->name, n);
        len += n;
    }
    names[len] = '\0';
    return fail(c, c->g->parts[walk->openings[first].part].rule, names);
}

static void open_part(left_walk *walk, uint32_t part) {
    checker *c = walk->c;
    walk->colours[part] = OPEN;
    walk->openings[walk->n_openings++] = (opening){part, c->n_todo};
    c->todo[c->n_todo++] = c->g->parts[part].start;
}

/* A call that may come before any byte. The step is looked at again when its part is closed. */
static tn_status left_call(left_walk *walk, uint32_t step) {
    checker *c = walk->c;
    uint32_t part = c->g->steps[step].arg;
    if (walk->colours[part] == OPEN) return fail_cycle(walk, part);
    if (walk->colours[part] == WHITE) {
        c->todo[c->n_todo++] = step;
        open_part(walk, part);
        return TN_OK;
    }
    walk->visited[step] = true;
    if (c->g->parts[part].nullable) c->todo[c->n_todo++] = step + 1;
    return TN_OK;
}

static tn_status left_step(left_walk *walk, uint32_t step) {
    checker *c = walk->c;
    const tn_step *s = &c->g->steps[step];
    if (walk->visited[step]) return TN_OK;
    if (s->kind == TN_STEP_CALL) return left_call(walk, step);
    walk->visited[step] = true;
    if (s->kind == TN_STEP_FORK) c->todo[c->n_todo++] = step + 1;
    if (s->kind == TN_STEP_FORK || s->kind == TN_STEP_JUMP) c->todo[c->n_todo++] = s->arg;
    if (s->kind == TN_STEP_RETURN) c->g->parts[walk->openings[walk->n_openings - 1].part].nullable = true;
    return TN_OK;
}

static tn_status refuse_left_recursion(checker *c, tn_arena *scratch) {
    left_walk walk = {.c = c};
    TN_TAKE0(walk.colours, scratch, c->g->n_parts, tag);
    TN_TAKE0(walk.visited, scratch, c->g->n_steps, tag);
    TN_TAKE(walk.openings, scratch, c->g->n_parts, tag);
    for (uint32_t part = 0; part < c->g->n_parts; part++) {
        if (walk.colours[part] != WHITE) continue;
        open_part(&walk, part);
        while (walk.n_openings > 0) {
            const opening *top = &walk.openings[walk.n_openings - 1];
            if (c->n_todo > top->n_todo) {
                TN_TRY(left_step(&walk, c->todo[--c->n_todo]));
            } else {
                walk.colours[top->part] = CLOSED;
                c->g->parts[top->part].rank = walk.n_closed++;
                walk.n_openings--;
            }
        }
    }
    return TN_OK;
}

/* ---- rules without an end ---- */

typedef struct end_walk {
    checker *c;
    bool *visited;     /* [n_steps] can be reached from the start of its part */
    bool *ends;        /* [n_parts] */
    uint32_t *waiting; /* [n_steps] the next call that waits for the same part */
    uint32_t *waiters; /* [n_parts] the first one */
    uint32_t *owners;  /* [n_steps] */
} end_walk;

static void reach(end_walk *walk, uint32_t step) {
    if (walk->visited[step]) return;
    walk->visited[step] = true;
    walk->c->todo[walk->c->n_todo++] = step;
}

static void part_ends(end_walk *walk, uint32_t part) {
    if (walk->ends[part]) return;
    walk->ends[part] = true;
    for (uint32_t call = walk->waiters[part]; call != UINT32_MAX; call = walk->waiting[call]) reach(walk, call + 1);
}

static void end_step(end_walk *walk, uint32_t step) {
    const tn_step *s = &walk->c->g->steps[step];
    switch ((tn_step_kind)s->kind) {
    case TN_STEP_FORK:
        reach(walk, s->arg);
        reach(walk, step + 1);
        return;
    case TN_STEP_BYTE:
    case TN_STEP_CLASS: reach(walk, step + 1); return;
    case TN_STEP_JUMP: reach(walk, s->arg); return;
    case TN_STEP_RETURN: part_ends(walk, walk->owners[step]); return;
    case TN_STEP_CALL:
        if (walk->ends[s->arg]) {
            reach(walk, step + 1);
        } else {
            walk->waiting[step] = walk->waiters[s->arg];
            walk->waiters[s->arg] = step;
        }
    }
}

static tn_status refuse_endless(checker *c, tn_arena *scratch) {
    end_walk walk = {.c = c};
    size_t n_steps = c->g->n_steps;
    TN_TAKE0(walk.visited, scratch, n_steps, tag);
    TN_TAKE0(walk.ends, scratch, c->g->n_parts, tag);
    TN_TAKE(walk.waiting, scratch, n_steps, tag);
    TN_TAKE(walk.waiters, scratch, c->g->n_parts, tag);
    TN_TAKE(walk.owners, scratch, n_steps, tag);
    memset(walk.waiters, -1, c->g->n_parts * sizeof *walk.waiters);
    for (uint32_t part = 0, step = 0; part < c->g->n_parts; part++) {
        size_t end = part + 1 < c->g->n_parts ? c->g->parts[part + 1].start : n_steps;
        while (step < end) walk.owners[step++] = part;
    }
    for (uint32_t part = 0; part < c->g->n_parts; part++) reach(&walk, c->g->parts[part].start);
    while (c->n_todo > 0) end_step(&walk, c->todo[--c->n_todo]);
    for (uint32_t part = 0; part < c->g->n_parts; part++)
        if (!walk.ends[part])
            return fail(c, c->g->parts[part].rule, "has no end: every way through it needs a rule that does not end");
    return TN_OK;
}

/* ---- calls ---- */

static void make_tail_calls(tn_grammar *g) {
    for (uint32_t i = 0; i < g->n_steps; i++) {
        if (g->steps[i].kind != TN_STEP_CALL) continue;
        uint32_t after = i + 1;
        while (g->steps[after].kind == TN_STEP_JUMP && g->steps[after].arg > after) after = g->steps[after].arg;
        if (g->steps[after].kind == TN_STEP_RETURN)
            g->steps[i] = (tn_step){TN_STEP_JUMP, g->parts[g->steps[i].arg].start};
    }
}

tn_status tn_grammar_check(tn_grammar *g, const tn_written *w) {
    tn_arena *scratch = tn_arena_create("grammar check");
    if (!scratch) return TN_E_NOMEM;
    checker c = {g, w, NULL, 0};
    c.todo = tn_arena_array(scratch, 2 * (size_t)g->n_steps + g->n_parts, sizeof *c.todo, tag);
    tn_status status = c.todo ? refuse_left_recursion(&c, scratch) : TN_E_NOMEM;
    if (!status) status = refuse_endless(&c, scratch);
    if (!status) make_tail_calls(g);
    tn_arena_free(scratch);
    return status;
}
