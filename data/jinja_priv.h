/* SPDX-License-Identifier: MIT
 * jinja_priv.h - tokens, tree, values and runs of jinja.h.
 *   jinja_lex -> jinja_parse, jinja_expression -> nodes -> jinja_run (statements), jinja_eval (expressions)
 *   jinja_value, jinja_compare, jinja_print: values; jinja_filters, jinja_lists, jinja_texts, jinja_tests,
 * jinja_globals: the functions of jinja.def. Tokens and nodes live in the arena of the template; values, scopes and
 * texts in the arena of a run. */
#ifndef TN_DATA_JINJA_PRIV_H
#define TN_DATA_JINJA_PRIV_H
#include "core/arena.h"
#include "data/jinja.h"

/* Nesting of a source, and of calls and values in a run: what the C stack of any thread bears. */
enum { TN_JINJA_SOURCE_MAX = 1 << 20, TN_JINJA_NEST_MAX = 100, TN_JINJA_DEPTH_MAX = 600 };

/* ---- values ---- */

typedef enum tn_jinja_kind {
#define KIND(name, words) TN_JINJA_##name,
#include "data/jinja.def"
} tn_jinja_kind;

/* UTF-8, not ended by a NUL. */
typedef struct tn_jinja_text {
    const char *at;
    size_t len;
} tn_jinja_text;

typedef struct tn_jinja_value tn_jinja_value;
typedef struct tn_jinja_run tn_jinja_run;
typedef struct tn_jinja_node tn_jinja_node;
typedef struct tn_jinja_scope tn_jinja_scope;

/* How a list came to be: Python tells these apart when it prints, compares and asks for truth. */
typedef enum tn_jinja_flavor {
    TN_JINJA_PLAIN,
    TN_JINJA_TUPLE,
    TN_JINJA_RANGE,
    TN_JINJA_VIEW,     /* of a mapping */
    TN_JINJA_GENERATOR /* is true, has no length, and gives each item once */
} tn_jinja_flavor;

typedef struct tn_jinja_list {
    tn_jinja_value *items; /* [count]; lists that came of slicing share them */
    size_t count, cap;
    tn_jinja_flavor flavor;
} tn_jinja_list;

/* Pairs in the order they came; no two keys are equal. */
typedef struct tn_jinja_map {
    tn_jinja_value *keys, *values; /* [count] */
    size_t count, cap;
} tn_jinja_map;

/* A loop under way. What its `if` lets through is found out no sooner than it is needed, as in Python. */
typedef struct tn_jinja_loop {
    const tn_jinja_node *node;
    tn_jinja_scope *outside;
    const tn_jinja_list *source;
    size_t taken;         /* items of `source` looked at */
    tn_jinja_list passed; /* those of them that the loop visits */
    size_t at;            /* index of the present item in `passed` */
} tn_jinja_loop;

struct tn_jinja_value {
    tn_jinja_kind kind;
    union {
        bool safe;           /* TEXT: a plain text that is added to it gets HTML escapes */
        tn_jinja_kind owner; /* UNDEFINED: what lacks it; ABSENT = the template */
    };
    union {
        bool truth;
        int64_t integer;
        double real;
        tn_jinja_text text; /* TEXT; UNDEFINED: the name that was asked for, "" = none */
        tn_jinja_list *list;
        tn_jinja_map *map; /* MAPPING, NAMESPACE */
        const struct tn_jinja_callable *callable;
        tn_jinja_loop *loop;
    };
};

typedef struct tn_jinja_named {
    tn_jinja_text name;
    tn_jinja_value value;
} tn_jinja_named;

/* The arguments of a call; a function with parameters finds one value for each in `list`. */
typedef struct tn_jinja_args {
    const tn_jinja_value *list;
    size_t count;
    const tn_jinja_named *named;
    size_t n_named;
} tn_jinja_args;

enum { TN_JINJA_PARAMS_MAX = 4 };

/* `self` is what a filter, test or method is applied to; NULL for a global. */
typedef tn_status tn_jinja_function(tn_jinja_run *run, const tn_jinja_value *self, const tn_jinja_args *args,
                                    tn_jinja_value *out);
typedef struct tn_jinja_builtin {
    const char *name;
    tn_jinja_function *function;
    const char *params; /* NULL = the arguments as they stand */
    tn_jinja_kind kind; /* METHOD: whose */
} tn_jinja_builtin;

typedef struct tn_jinja_callable {
    const tn_jinja_builtin *builtin;
    tn_jinja_value self;
    const tn_jinja_node *macro; /* when there is no `builtin` */
    tn_jinja_scope *scope;      /* where the macro was defined */
} tn_jinja_callable;

#define FILTER(name, function, params)       tn_jinja_function tn_jinja_do_##function;
#define TEST(name, function, params)         tn_jinja_function tn_jinja_do_##function;
#define METHOD(kind, name, function, params) tn_jinja_function tn_jinja_do_##function;
#define GLOBAL(name, function, params)       tn_jinja_function tn_jinja_do_##function;
#include "data/jinja.def"

/* NULL when there is none of that name. */
const tn_jinja_builtin *tn_jinja_find_filter(tn_jinja_text name);
const tn_jinja_builtin *tn_jinja_find_test(tn_jinja_text name);
const tn_jinja_builtin *tn_jinja_find_method(tn_jinja_kind kind, tn_jinja_text name);
const tn_jinja_builtin *tn_jinja_find_global(tn_jinja_text name);

/* ---- tokens and nodes ---- */

typedef enum tn_jinja_token_kind {
    TN_JINJA_TOKEN_DATA,
    TN_JINJA_TOKEN_OPEN_PRINT, /* {{ */
    TN_JINJA_TOKEN_OPEN_BLOCK, /* {% */
    TN_JINJA_TOKEN_CLOSE,      /* }} or %} */
    TN_JINJA_TOKEN_NAME,
    TN_JINJA_TOKEN_LITERAL, /* a string or a number */
    TN_JINJA_TOKEN_SIGN,    /* an operator or a bracket */
    TN_JINJA_TOKEN_END
} tn_jinja_token_kind;

typedef struct tn_jinja_token {
    tn_jinja_token_kind kind;
    uint32_t place;       /* byte in the source */
    tn_jinja_text text;   /* as written; DATA: what it puts out */
    tn_jinja_value value; /* LITERAL */
} tn_jinja_token;

typedef struct tn_jinja_tokens {
    tn_jinja_token *list;
    size_t count, cap;
} tn_jinja_tokens;

typedef enum tn_jinja_operator {
#define OPERATOR(name, spelling, level) TN_JINJA_##name,
#include "data/jinja.def"
    TN_JINJA_OPERATORS
} tn_jinja_operator;
const char *tn_jinja_operator_text(tn_jinja_operator op);

/* `next` links the nodes of a list: statements, items, arguments, branches. */
typedef enum tn_jinja_node_kind {
    /* expressions */
    TN_JINJA_CONST,      /* value */
    TN_JINJA_CAPTURED,   /* the text of the block whose filters these are */
    TN_JINJA_NAME,       /* text */
    TN_JINJA_LIST_OF,    /* list; TUPLE_OF too */
    TN_JINJA_TUPLE_OF,   /* also what `for` and `set` assign to */
    TN_JINJA_MAPPING_OF, /* list: key, value, key, value ... */
    TN_JINJA_ATTRIBUTE,  /* a.text */
    TN_JINJA_ITEM,       /* a[b] */
    TN_JINJA_SLICE,      /* a[b:c:d], each of the three may be NULL */
    TN_JINJA_CALL,       /* a(list) */
    TN_JINJA_KEYWORD,    /* in the list of a call: text=a */
    TN_JINJA_FILTER,     /* a|text(list) */
    TN_JINJA_TEST,       /* a is text(list) */
    TN_JINJA_NOT,        /* not a */
    TN_JINJA_MINUS,      /* -a */
    TN_JINJA_PLUS,       /* +a */
    TN_JINJA_AND,        /* a and b */
    TN_JINJA_OR,         /* a or b */
    TN_JINJA_BINARY,     /* a op b */
    TN_JINJA_COMPARE,    /* a, then list of OPERAND */
    TN_JINJA_OPERAND,    /* op a */
    TN_JINJA_TERNARY,    /* b if a else c; c may be NULL */
    /* statements */
    TN_JINJA_DATA,       /* text */
    TN_JINJA_PRINT,      /* a */
    TN_JINJA_IF,         /* list of BRANCH */
    TN_JINJA_BRANCH,     /* condition a (NULL = else), list */
    TN_JINJA_FOR,        /* target a, iterable b, test c or NULL, body list, else d */
    TN_JINJA_SET,        /* target a, value b */
    TN_JINJA_SET_BLOCK,  /* target a (NULL: {% filter %}, which prints), filters b over CAPTURED, body list */
    TN_JINJA_MACRO,      /* name text, list of PARAM, body a */
    TN_JINJA_PARAM,      /* text=a; a may be NULL */
    TN_JINJA_GENERATION, /* body list */
    TN_JINJA_BREAK,
    TN_JINJA_CONTINUE
} tn_jinja_node_kind;

struct tn_jinja_node {
    uint8_t kind, op;
    uint32_t place;              /* byte in the source */
    tn_jinja_text text;          /* a name or data */
    const tn_jinja_value *value; /* CONST */
    tn_jinja_node *a, *b, *c, *d, *list, *next;
};

struct tn_jinja {
    tn_arena *arena;
    const char *name;
    tn_jinja_text source; /* with \n as its only line ends and without the last one */
    const tn_jinja_node *body;
};

tn_status tn_jinja_lex(const tn_jinja *jinja, tn_jinja_tokens *out); /* the list is on the heap, also after a failure */
tn_status tn_jinja_parse(tn_jinja *jinja, const tn_jinja_tokens *tokens);

/* ---- parsing: what statements and expressions share ---- */

typedef struct tn_jinja_parser {
    const tn_jinja *jinja;
    const tn_jinja_token *token; /* the next one; the last of all is END */
    int depth;
    bool in_loop, in_macro, in_generation;
} tn_jinja_parser;

typedef enum tn_jinja_tuple {
    TN_JINJA_TARGET,        /* names only */
    TN_JINJA_UNCONDITIONAL, /* no `x if y else z` but in parentheses */
    TN_JINJA_FULL
} tn_jinja_tuple;

tn_status tn_jinja_parse_expression(tn_jinja_parser *p, tn_jinja_node **out);
/* One expression, or several with commas between, up to a word that ends it or the end of the tag. */
tn_status tn_jinja_parse_tuple(tn_jinja_parser *p, tn_jinja_tuple how, tn_jinja_node **out);
/* All of |f(...)|g(...); `bare`: the first bar is not there. */
tn_status tn_jinja_parse_filters(tn_jinja_parser *p, bool bare, tn_jinja_node **node);

tn_status tn_jinja_new_node(const tn_jinja_parser *p, tn_jinja_node_kind kind, uint32_t place, tn_jinja_node **out);
tn_status tn_jinja_deeper(tn_jinja_parser *p); /* the caller counts `depth` down again */
bool tn_jinja_at_sign(const tn_jinja_parser *p, const char *sign);
bool tn_jinja_at_word(const tn_jinja_parser *p, const char *word);
bool tn_jinja_skip_sign(tn_jinja_parser *p, const char *sign);
bool tn_jinja_skip_word(tn_jinja_parser *p, const char *word);
tn_status tn_jinja_expect_sign(tn_jinja_parser *p, const char *sign);
tn_status tn_jinja_expect_name(tn_jinja_parser *p, tn_jinja_text *out);
tn_status tn_jinja_unexpected(const tn_jinja_parser *p, const char *expected);

/* ---- failures ---- */

/* The sentence gets the name of the template, line and column in front. */
tn_status tn_jinja_fail_at(tn_status code, const char *file, int line, const tn_jinja *jinja, uint32_t place,
                           const char *fmt, ...) TN_PRINTF(6, 7);
#define JINJA_FAIL(jinja, place, code, ...)                                                                            \
    (tn_jinja_fail_at(TN_E_##code, __FILE__, __LINE__, (jinja), (place), __VA_ARGS__), TN_E_##code)
#define RUN_FAIL(run, code, ...) JINJA_FAIL((run)->jinja, (run)->place, code, __VA_ARGS__)
/* For "%.*s": at most 60 bytes of a text. */
#define TEXT_SHOWN(t) (int)TN_MIN((t).len, (size_t)60), (t).at

/* ---- a run ---- */

struct tn_jinja_scope {
    tn_jinja_scope *parent;
    tn_jinja_named *vars; /* [count] */
    size_t count, cap;
    bool kept; /* a macro was defined in it and may look at it later */
};

typedef enum tn_jinja_flow { TN_JINJA_GO_ON, TN_JINJA_BREAK_OFF, TN_JINJA_NEXT_ROUND } tn_jinja_flow;

struct tn_jinja_run {
    const tn_jinja *jinja;
    const json_t *context;
    tn_jinja_options options; /* every limit set */
    tn_arena *arena;
    int64_t steps;                 /* left */
    size_t memory;                 /* left */
    char *chunk, *tail, *tail_end; /* where texts go, and the next one */
    tn_buf *out;
    size_t out_start;
    int captures; /* texts under way that are not output yet */
    int depth;
    uint32_t place; /* of the node that is evaluated */
    tn_jinja_scope *scope;
    const tn_jinja_value *captured;
    const tn_jinja_builtin *builtin; /* the one that runs, for sentences */
    tn_jinja_flow flow;
    void *locale; /* for letters, made when it is needed */
};

tn_status tn_jinja_spend(tn_jinja_run *run, size_t steps);
tn_status tn_jinja_enter(tn_jinja_run *run); /* one level deeper; the caller counts `depth` down again */
tn_status tn_jinja_take(tn_jinja_run *run, size_t count, size_t size, void **out); /* cleared */

tn_status tn_jinja_refuse_undefined(tn_jinja_run *run, const tn_jinja_value *v); /* TN_OK when it is defined */
tn_status tn_jinja_eval(tn_jinja_run *run, const tn_jinja_node *node, tn_jinja_value *out);
tn_status tn_jinja_call(tn_jinja_run *run, const tn_jinja_value *callee, const tn_jinja_args *args,
                        tn_jinja_value *out);
tn_status tn_jinja_call_builtin(tn_jinja_run *run, const tn_jinja_builtin *builtin, const tn_jinja_value *self,
                                const tn_jinja_args *args, tn_jinja_value *out);
tn_status tn_jinja_call_macro(tn_jinja_run *run, const tn_jinja_callable *callable, const tn_jinja_args *args,
                              tn_jinja_value *out);
tn_status tn_jinja_lookup(tn_jinja_run *run, tn_jinja_text name, tn_jinja_value *out);
tn_status tn_jinja_assign(tn_jinja_run *run, const tn_jinja_node *target, const tn_jinja_value *value);
tn_status tn_jinja_loop_attribute(tn_jinja_run *run, tn_jinja_loop *loop, tn_jinja_text name, tn_jinja_value *out);
/* a[key] and a.name, undefined where there is no such thing. */
tn_status tn_jinja_item(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *key, tn_jinja_value *out);
tn_status tn_jinja_attribute(tn_jinja_run *run, const tn_jinja_value *a, tn_jinja_text name, tn_jinja_value *out);
/* a[from:to:step]; a bound is ABSENT or none where it was left out. */
tn_status tn_jinja_slice(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value bounds[3],
                         tn_jinja_value *out);
tn_status tn_jinja_arithmetic(tn_jinja_run *run, tn_jinja_operator op, const tn_jinja_value *a, const tn_jinja_value *b,
                              tn_jinja_value *out);

/* ---- making values ---- */

tn_jinja_value tn_jinja_none(void);
tn_jinja_value tn_jinja_boolean(bool truth);
tn_jinja_value tn_jinja_integer(int64_t integer);
tn_jinja_value tn_jinja_real(double real);
tn_jinja_value tn_jinja_text_value(tn_jinja_text text);
tn_jinja_value tn_jinja_undefined(tn_jinja_kind owner, tn_jinja_text name);
tn_jinja_text tn_jinja_chars(const char *text); /* of a C string */
/* An empty list or mapping with room for `cap` at first. */
tn_status tn_jinja_new_list(tn_jinja_run *run, tn_jinja_flavor flavor, size_t cap, tn_jinja_value *out);
tn_status tn_jinja_push(tn_jinja_run *run, tn_jinja_list *list, const tn_jinja_value *item);
tn_status tn_jinja_new_map(tn_jinja_run *run, tn_jinja_kind kind, size_t cap, tn_jinja_value *out);
tn_status tn_jinja_put_key(tn_jinja_run *run, tn_jinja_map *map, const tn_jinja_value *key,
                           const tn_jinja_value *value);
/* NULL in `out` when it is not there. */
tn_status tn_jinja_find_key(tn_jinja_run *run, const tn_jinja_map *map, const tn_jinja_value *key,
                            const tn_jinja_value **out);
tn_status tn_jinja_pair(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, tn_jinja_value *out);
tn_status tn_jinja_from_json(tn_jinja_run *run, const json_t *json, tn_jinja_value *out);
tn_status tn_jinja_copy_text(tn_jinja_run *run, const char *at, size_t len, tn_jinja_value *out);
tn_status tn_jinja_join_texts(tn_jinja_run *run, tn_jinja_text a, tn_jinja_text b, tn_jinja_value *out);

/* ---- looking at values ---- */

const char *tn_jinja_words(tn_jinja_kind kind); /* "a mapping" */
bool tn_jinja_truth(const tn_jinja_value *v);
bool tn_jinja_is_number(const tn_jinja_value *v);                    /* booleans are 0 and 1 */
bool tn_jinja_as_integer(const tn_jinja_value *v, int64_t *integer); /* INTEGER, BOOLEAN */
double tn_jinja_as_real(const tn_jinja_value *v);                    /* of a number */
bool tn_jinja_text_is(tn_jinja_text t, const char *word);
/* The items that a loop over `v` visits; those of a generator are then gone. Fails where Python cannot iterate. */
tn_status tn_jinja_iterate(tn_jinja_run *run, const tn_jinja_value *v, const tn_jinja_list **out);
tn_status tn_jinja_equal(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, bool *out);
tn_status tn_jinja_compare(tn_jinja_run *run, tn_jinja_operator op, const tn_jinja_value *a, const tn_jinja_value *b,
                           bool *out);
/* Below 0, 0, above 0: the order of `a` and `b`, which must be numbers, texts or lists. */
tn_status tn_jinja_order(tn_jinja_run *run, const tn_jinja_value *a, const tn_jinja_value *b, int *out);
/* The stable order of `keys` [n], as indices. */
tn_status tn_jinja_sort(tn_jinja_run *run, const tn_jinja_value *keys, size_t n, bool reverse, size_t *order);

/* ---- texts ---- */

/* A text is put together at the end of the output and taken away from there: begin, put ..., finish. */
size_t tn_jinja_begin(tn_jinja_run *run);
tn_status tn_jinja_put(tn_jinja_run *run, const char *at, size_t len);
tn_status tn_jinja_finish(tn_jinja_run *run, size_t mark, tn_jinja_value *out);

tn_status tn_jinja_print(tn_jinja_run *run, const tn_jinja_value *v);                      /* str(v) */
tn_status tn_jinja_string(tn_jinja_run *run, const tn_jinja_value *v, tn_jinja_text *out); /* the same, kept */
typedef struct tn_jinja_json_style {
    tn_jinja_text indent; /* of a level, when `lines` */
    bool lines, ascii, sort_keys;
    tn_jinja_text between, after_key;
} tn_jinja_json_style;
tn_status tn_jinja_print_json(tn_jinja_run *run, const tn_jinja_value *v, const tn_jinja_json_style *style);

/* ---- letters ---- */

bool tn_jinja_is_space(uint32_t code);
enum tn_jinja_sides { TN_JINJA_LEFT = 1, TN_JINJA_RIGHT = 2 };
/* Without the white space, or the characters of `chars`, at the ends. */
tn_jinja_text tn_jinja_stripped(tn_jinja_text t, const tn_jinja_text *chars, int sides);
size_t tn_jinja_length(tn_jinja_text t); /* characters */
/* Where `part` begins in `t` from byte `from` on; SIZE_MAX when it does not. */
size_t tn_jinja_search(tn_jinja_text t, size_t from, tn_jinja_text part);
bool tn_jinja_starts(tn_jinja_text t, tn_jinja_text start);
bool tn_jinja_ends(tn_jinja_text t, tn_jinja_text end);
typedef enum tn_jinja_case {
    TN_JINJA_LOWER,
    TN_JINJA_UPPER,
    TN_JINJA_CAPITAL, /* the first letter of all */
    TN_JINJA_WORDS,   /* the first after white space and some signs: the filter title */
    TN_JINJA_TITLE    /* the first of each run of letters: the method title */
} tn_jinja_case;
tn_status tn_jinja_put_case(tn_jinja_run *run, tn_jinja_text t, tn_jinja_case how);
tn_status tn_jinja_prints(tn_jinja_run *run, uint32_t code, bool *out); /* as str.isprintable() */
void tn_jinja_letters_release(tn_jinja_run *run);

/* ---- arguments of the functions in jinja.def ---- */

bool tn_jinja_given(const tn_jinja_args *args, size_t i); /* neither absent nor none */
tn_status tn_jinja_text_argument(tn_jinja_run *run, const tn_jinja_args *args, size_t i, tn_jinja_text *out);
/* `out` stays as it is when the argument was not given. */
tn_status tn_jinja_integer_argument(tn_jinja_run *run, const tn_jinja_args *args, size_t i, int64_t *out);

#endif
