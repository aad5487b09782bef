/* SPDX-License-Identifier: MIT
 * arena.h - memory by lifetime: an arena hands out pieces and gives all of them back at once.
 * Three arenas carry a run: model (the process), step (one step or one decoded token), scratch (inside one op).
 * Every piece has a tag, a string literal such as "activations"; peaks are kept per tag.
 * The heap calls serve the few things that must grow (buffers, tokenizer tables). Nothing else calls malloc.
 * Threads: an arena belongs to one thread; the counters of tn_memory_* are atomic. */
#ifndef TN_CORE_ARENA_H
#define TN_CORE_ARENA_H
#include "core/status.h"

enum { TN_ARENA_TAGS = 24 };

typedef struct tn_arena tn_arena;

typedef struct tn_arena_tag {
    const char *name;
    size_t bytes; /* handed out now */
    size_t peak;  /* most ever handed out at once */
} tn_arena_tag;

typedef struct tn_arena_mark {
    size_t chunk, used, total;
    size_t tag_bytes[TN_ARENA_TAGS];
} tn_arena_mark;

/* `name` is borrowed and must outlive the arena. NULL (and a TN_E_NOMEM message) when memory is out. */
tn_arena *tn_arena_create(const char *name);
/* An arena that only reserves address space: its pieces read as zeros and cost nothing until they are written. For
 * plans, which ask how much a run would take without taking it. */
tn_arena *tn_arena_create_virtual(const char *name);
void tn_arena_free(tn_arena *arena); /* NULL is fine */
/* Let an arena that holds nothing yet begin with `size` bytes in one piece: pieces that add up to no more, each rounded
 * up to 64 bytes, will not fail. Fails: TN_E_NOMEM. */
tn_status tn_arena_reserve(tn_arena *arena, size_t size);

/* A piece of `size` bytes on a 64-byte boundary, not cleared. NULL and a TN_E_NOMEM message when memory is out.
 * Size 0 gives a valid pointer. */
void *tn_arena_alloc(tn_arena *arena, size_t size, const char *tag);
/* The same for a piece that is filled from its beginning on, perhaps never to its end: memory is taken in small pages
 * as they are written. */
void *tn_arena_alloc_growing(tn_arena *arena, size_t size, const char *tag);
/* `count` x `size` bytes, cleared; refuses an overflowing product with TN_E_NOMEM. */
void *tn_arena_zalloc(tn_arena *arena, size_t count, size_t size, const char *tag);
void *tn_arena_array(tn_arena *arena, size_t count, size_t size, const char *tag); /* not cleared */
char *tn_arena_strdup(tn_arena *arena, const char *text, const char *tag);

/* Take everything back but keep the memory for the next round. */
void tn_arena_reset(tn_arena *arena);
tn_arena_mark tn_arena_get_mark(const tn_arena *arena);
void tn_arena_rewind(tn_arena *arena, const tn_arena_mark *mark);

size_t tn_arena_used(const tn_arena *arena); /* bytes handed out now */
size_t tn_arena_peak(const tn_arena *arena);
/* The tags seen so far; `count` receives how many. */
const tn_arena_tag *tn_arena_tags(const tn_arena *arena, int *count);
const char *tn_arena_name(const tn_arena *arena);

/* Get a typed array or return TN_E_NOMEM from the calling function. TN_TAKE does not clear, TN_TAKE0 does. */
#define TN_TAKE(ptr, arena, count, tag)                                                                                \
    do {                                                                                                               \
        (ptr) = tn_arena_array((arena), (size_t)(count), sizeof *(ptr), (tag));                                        \
        if (TN_UNLIKELY(!(ptr))) return TN_E_NOMEM;                                                                    \
    } while (0)
#define TN_TAKE0(ptr, arena, count, tag)                                                                               \
    do {                                                                                                               \
        (ptr) = tn_arena_zalloc((arena), (size_t)(count), sizeof *(ptr), (tag));                                       \
        if (TN_UNLIKELY(!(ptr))) return TN_E_NOMEM;                                                                    \
    } while (0)

/* Resize a heap piece (p may be NULL). NULL and a TN_E_NOMEM message when memory is out; `p` is then still valid. */
void *tn_heap_resize(void *p, size_t size);
void *tn_heap_zalloc(size_t count, size_t size); /* cleared */
char *tn_heap_strdup(const char *text);
void tn_heap_free(void *p); /* NULL is fine */

/* Let every piece of 1 MiB or more go back to the system when it is freed, for the start of a program. The C library
 * otherwise comes to keep such pieces, and the process then weighs more than it has in use. */
void tn_heap_return_large(void);

/* Tests: let the n-th allocation from now (1 = the next) fail, then go on as usual; 0 switches it off. */
void tn_memory_fail_at(uint64_t n);
/* Heap pieces and arena chunks alive, to find leaks. */
int64_t tn_memory_alive(void);

#endif
