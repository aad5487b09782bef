/* SPDX-License-Identifier: MIT
 * grammar_priv.h - what the files of the grammar share.
 *   grammar_parse.c   text -> trees           grammar_class.c  sets of characters -> tables over bytes
 *   grammar_compile.c trees -> steps          grammar_check.c  refuses what never ends, makes tail calls
 *   grammar_tables.c  places in a text: sets of stacks, and the moves between them, found when first asked for
 *   grammar_memory.c  the life of those tables          grammar_state.c   states, and masks by a walk over the
 * vocabulary */
#ifndef TN_INFER_GRAMMAR_PRIV_H
#define TN_INFER_GRAMMAR_PRIV_H
#include "core/arena.h"
#include "data/text_map.h"
#include "infer/char_set.h"
#include "infer/grammar.h"
#include "infer/token_trie.h"

enum {
    TN_GRAMMAR_TEXT = 1 << 20,    /* bytes of a grammar */
    TN_GRAMMAR_STEPS = 1 << 20,   /* compiled */
    TN_GRAMMAR_NESTING = 200,     /* parentheses in parentheses */
    TN_GRAMMAR_REPEATS = 1 << 20, /* the largest number in braces */
    TN_GRAMMAR_CLASSES = 1 << 14,
    TN_GRAMMAR_DEPTH = 10000,  /* open rules */
    TN_GRAMMAR_WIDTH = 1 << 16 /* steps that are looked at for one move */
};

/* ---- sets of characters ---- */

/* How a set takes the next byte: not at all, as the last of a character, or as one after which row `value - FIRST`
 * takes the next. A row is indexed by the low six bits of a continuation byte (80..BF). */
enum { TN_TAKES_NO, TN_TAKES_WHOLE, TN_TAKES_FIRST_ROW, TN_TAKES_MOST = UINT16_MAX };
typedef uint16_t tn_lead_row[256];
typedef uint16_t tn_tail_row[64];

typedef struct tn_class_list {
    tn_arena *arena;    /* borrowed */
    tn_text_map known;  /* ranges as bytes -> class */
    tn_lead_row *leads; /* heap [count] */
    tn_tail_row *tails; /* heap [n_tails] */
    size_t count, n_tails, leads_cap, tails_cap;
} tn_class_list;

/* The number of the class of a set, which is tidied and loses its surrogates. TN_E_EMPTY when nothing is left. */
tn_status tn_class_list_put(tn_class_list *list, tn_char_set *set, uint32_t *number);
void tn_class_list_release(tn_class_list *list);

/* ---- rules as they are written ---- */

typedef enum tn_tree_kind {
    TN_TREE_TEXT,     /* bytes [len] */
    TN_TREE_CLASS,    /* number of a class */
    TN_TREE_RULE,     /* number of a rule */
    TN_TREE_CHOICE,   /* inner: its sequences */
    TN_TREE_SEQUENCE, /* inner: its parts */
    TN_TREE_REPEAT    /* inner: the part; min..max times */
} tn_tree_kind;

enum { TN_TREE_NO_MAX = -1 };

typedef struct tn_tree {
    tn_tree_kind kind;
    uint32_t at; /* byte offset in the grammar, for messages */
    struct tn_tree *inner, *next;
    const char *bytes;
    size_t len;
    uint32_t number;
    int32_t min, max;
} tn_tree;

typedef struct tn_written_rule {
    const char *name; /* [len] in the text */
    size_t len;
    uint32_t at;   /* where it is defined, or else first used */
    tn_tree *body; /* CHOICE; NULL = never defined */
} tn_written_rule;

typedef struct tn_written {
    const char *text;
    size_t len;
    tn_arena *arena; /* of the trees */
    tn_class_list classes;
    tn_text_map names;
    tn_written_rule *rules; /* heap [n_rules] */
    size_t n_rules, rules_cap;
} tn_written;

tn_status tn_grammar_parse(tn_written *written);
/* "line 3, column 7" of a byte offset; columns count characters. */
typedef struct tn_text_place {
    int line, column;
} tn_text_place;
tn_text_place tn_written_place(const tn_written *written, size_t at);

/* ---- rules as steps ---- */

typedef enum tn_step_kind {
    TN_STEP_BYTE,  /* takes the byte `arg` */
    TN_STEP_CLASS, /* takes a character of class `arg` */
    TN_STEP_FORK,  /* goes on behind it, and at `arg` too */
    TN_STEP_JUMP,  /* goes on at `arg` */
    TN_STEP_CALL,  /* goes on where part `arg` starts, and behind it after the RETURN */
    TN_STEP_RETURN
} tn_step_kind;

typedef struct tn_step {
    uint32_t kind, arg;
} tn_step;

/* A rule, or the body of a repetition that is used more than once. */
typedef struct tn_part {
    uint32_t start;      /* step */
    uint32_t rule;       /* the rule it is or is in */
    uint32_t rank;       /* above the ranks of all parts that it may call before it takes a byte */
    bool named;          /* is that rule */
    bool nullable;       /* may take no byte at all */
    const tn_tree *body; /* while compiling */
} tn_part;

struct tn_grammar {
    tn_arena *arena;
    tn_step *steps; /* [n_steps] */
    tn_part *parts; /* [n_parts] */
    uint32_t n_steps, n_parts;
    uint32_t root; /* step */
    const tn_lead_row *leads;
    const tn_tail_row *tails;
    /* Bytes that no step can tell apart are of one kind. */
    uint8_t kinds[256];
    uint8_t examples[256]; /* a byte of each kind */
    int n_kinds;
};

/* Everything after parsing; fills all of `grammar` but its arena. */
tn_status tn_grammar_compile(tn_grammar *grammar, const tn_written *written);
/* TN_E_FORMAT when a part calls itself before it takes a byte, or can never return. Sets ranks and what is nullable.
 * Calls that are followed by a RETURN become jumps, so that rules which end in themselves need no stack. */
tn_status tn_grammar_check(tn_grammar *grammar, const tn_written *written);

/* ---- places in a text ---- */

/* A place is the set of the steps that may take the next byte, each with the stack to return to. A stack is a set too:
 * of the steps to go on at after a RETURN, each with the stack below it; the empty set is the bottom, where a RETURN
 * ends the text. So however many ways there are to read a text, they share what they agree on (Tomita 1987). Equal sets
 * have one number. Places that no state is at are forgotten when there are many. */
enum { TN_PLACE_UNKNOWN, TN_PLACE_DEAD, TN_PLACE_TOO_DEEP, TN_PLACE_TOO_WIDE, TN_PLACE_FIRST };

/* `step` may also be the end of the text, or a row for the rest of a character, on a stack of what follows it. */
enum { TN_ITEM_ROW = 1 << 30, TN_ITEM_END = INT32_MAX };
typedef struct tn_item {
    uint32_t step;
    uint32_t stack; /* set; inside a closure, TN_STACK_NEW + number of an opened part */
} tn_item;
enum { TN_STACK_NEW = 1 << 30 };

typedef struct tn_item_set {
    uint32_t first, count; /* in items, in ascending order */
    uint32_t depth;        /* of the stack */
    uint32_t place;        /* that it is the set of; 0 = none */
} tn_item_set;

typedef struct tn_place {
    uint32_t set;
    bool may_end;
    int32_t mask; /* number in the cache; -1 = none */
} tn_place;

/* Enough for the places that a list of records comes by once an item; each takes a bit a token of the vocabulary. */
enum { TN_MASKS = 128 };

typedef struct tn_visit {
    tn_item item;
    uint32_t round; /* of the closure in which it was noted */
} tn_visit;

/* A part that a closure opens: once, for all who call it. */
typedef struct tn_opened {
    uint32_t part;
    uint32_t callers; /* the last one, 0 = none */
    uint32_t stack;   /* set, when the closure is done */
} tn_opened;

typedef struct tn_caller {
    tn_item item;    /* where to go on */
    uint32_t before; /* another caller of the same, 0 = none */
} tn_caller;

/* What the copies of a state share. All lists are on the heap. */
typedef struct tn_places {
    const tn_grammar *grammar;
    tn_token_trie trie;
    tn_grammar_state *states; /* a list */
    uint32_t start;           /* place */
    tn_item *items;
    tn_item_set *sets;
    uint32_t *lookup; /* [n_lookup] sets by their items, open addressing, a power of two, 0 = free */
    tn_place *places;
    uint32_t *moves; /* [n_places][n_kinds] places */
    size_t n_items, n_sets, n_lookup, n_places, items_cap, sets_cap, places_cap, moves_cap;
    size_t weight_limit; /* forget beyond it */
    /* One closure. */
    tn_item *todo;
    tn_visit *seen;          /* [seen_cap] open addressing, a power of two; entries of other rounds are free */
    uint32_t *opened_number; /* [n_parts] in opened, or beyond it or of another part: not opened */
    tn_opened *opened;
    tn_caller *callers; /* [0] is none */
    uint64_t *order;    /* [n_parts] */
    tn_item *kept;      /* that wait for a byte */
    size_t n_todo, n_seen, n_opened, n_callers, n_kept, todo_cap, seen_cap, opened_cap, callers_cap, kept_cap;
    uint32_t round;
    bool too_deep;
    uint64_t work, work_limit; /* items looked at for the question of now */
    /* The places of the text being followed; [0] is where it begins. */
    uint32_t *trail;
    size_t n_trail;
    /* Masks that are kept, in turn. */
    uint64_t *masks[TN_MASKS];      /* NULL = none yet */
    uint32_t mask_places[TN_MASKS]; /* 0 = no place */
    int next_mask;
    tn_buf token; /* bytes of one token */
} tn_places;

struct tn_grammar_state {
    tn_places *shared;
    tn_grammar_state *prev, *next;
    uint32_t place;
    bool ended; /* a stop token came */
};

tn_status tn_places_create(tn_places **out, const tn_grammar *grammar, const tn_tokenizer *tokenizer);
void tn_places_free(tn_places *places);
/* Follow a text from a place: move sets trail[depth + 1] to the place, or a reason why there is none, after
 * trail[depth] and a byte; depth up to that of the vocabulary's deepest token. Fails: TN_E_RANGE for too much work,
 * TN_E_NOMEM. */
void tn_places_begin(tn_places *places, uint32_t place);
tn_status tn_places_move(tn_places *places, uint32_t depth, uint8_t byte);
/* Find the place where every text begins. */
tn_status tn_places_start(tn_places *places);
void tn_places_index(tn_places *places);          /* fill `lookup` anew */
size_t tn_places_weight(const tn_places *places); /* words in tables */
/* Keep only what states and the trail are at; they get new numbers. Fails: TN_E_NOMEM, and nothing has changed. */
tn_status tn_places_forget(tn_places *places);

#endif
