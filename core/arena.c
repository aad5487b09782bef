/* SPDX-License-Identifier: MIT */
#include "core/arena.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    FIRST_CHUNK = 64 * 1024,
    BIG_CHUNK = 64 << 20,
    RETURNED = 1 << 20,
    WRITTEN = 4096,
    SMALL_PAGE = 4096,
    HUGE_PAGE = 2 << 20,
    HUGE_FROM = 16 << 20
};

typedef struct chunk {
    unsigned char *data;
    size_t size;
} chunk;

struct tn_arena {
    const char *name;
    bool is_virtual;
    chunk *chunks; /* [room] */
    size_t n_chunks, room;
    size_t current; /* chunk in use */
    size_t used;    /* bytes used in it */
    size_t total;   /* bytes handed out over all chunks */
    size_t peak;
    tn_arena_tag tags[TN_ARENA_TAGS];
    int n_tags;
};

static atomic_uint_least64_t fail_countdown;
static atomic_int_least64_t alive;

void tn_memory_fail_at(uint64_t n) { atomic_store(&fail_countdown, n); }
int64_t tn_memory_alive(void) { return atomic_load(&alive); }

static bool must_fail(void) {
    if (TN_LIKELY(atomic_load(&fail_countdown) == 0)) return false;
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

static void *no_memory(size_t size) {
    (void)TN_FAIL(NOMEM, "out of memory: %zu bytes asked for", size);
    return NULL;
}

static void *no_memory_for_product(size_t count, size_t size) {
    (void)TN_FAIL(NOMEM, "out of memory: %zu times %zu bytes asked for", count, size);
    return NULL;
}

void *tn_heap_resize(void *p, size_t size) {
    if (must_fail()) return no_memory(size);
    void *q = realloc(p, size ? size : 1);
    if (!q) return no_memory(size);
    if (!p) atomic_fetch_add(&alive, 1);
    return q;
}

void *tn_heap_zalloc(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return no_memory_for_product(count, size);
    void *p = tn_heap_resize(NULL, count * size);
    if (p) memset(p, 0, count * size);
    return p;
}

char *tn_heap_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = tn_heap_resize(NULL, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

void tn_heap_free(void *p) {
    if (!p) return;
    atomic_fetch_sub(&alive, 1);
    free(p);
}

void tn_heap_return_large(void) {
#ifdef M_MMAP_THRESHOLD
    (void)mallopt(M_MMAP_THRESHOLD, RETURNED);
#endif
}

tn_arena *tn_arena_create(const char *name) {
    tn_arena *arena = tn_heap_zalloc(1, sizeof *arena);
    if (arena) arena->name = name;
    return arena;
}

tn_arena *tn_arena_create_virtual(const char *name) {
    tn_arena *arena = tn_arena_create(name);
    if (arena) arena->is_virtual = true;
    return arena;
}

static void *reserve(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void chunk_free(const tn_arena *arena, chunk *c) {
    if (arena->is_virtual)
        munmap(c->data, c->size);
    else
        free(c->data);
    atomic_fetch_sub(&alive, 1);
    *c = (chunk){0};
}

void tn_arena_free(tn_arena *arena) {
    if (!arena) return;
    for (size_t i = 0; i < arena->n_chunks; i++) chunk_free(arena, &arena->chunks[i]);
    tn_heap_free(arena->chunks);
    tn_heap_free(arena);
}

static bool make_room(tn_arena *arena) {
    if (arena->n_chunks < arena->room) return true;
    size_t room = TN_MAX(2 * arena->room, (size_t)16);
    chunk *chunks = tn_heap_resize(arena->chunks, room * sizeof *chunks);
    if (!chunks) return false;
    arena->chunks = chunks;
    arena->room = room;
    return true;
}

/* Real memory. Large pieces ask for huge pages, by default off for a process on most systems: rows of matrices are read
 * across, and each row of a few kilobytes would need an entry of its own in the translation cache. */
static void *take(size_t size) {
    if (size < HUGE_FROM) return aligned_alloc(TN_ALIGN, size);
    void *data = aligned_alloc(HUGE_PAGE, TN_ROUND_UP(size, HUGE_PAGE));
    /* A wish: a system without says no. The rest of the last one would be taken for nothing. */
    if (data) (void)madvise(data, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    return data;
}

/* A chunk of `size` bytes at the end. False, with a message, when memory is out. */
static bool chunk_add(tn_arena *arena, size_t size) {
    size = TN_ROUND_UP(size, 4096);
    if (!make_room(arena)) return false;
    unsigned char *data = NULL;
    if (!must_fail()) data = arena->is_virtual ? reserve(size) : take(size);
    if (!data) {
        (void)TN_FAIL(NOMEM, "out of memory: %s arena: %zu bytes asked for, %zu in use", arena->name, size,
                      arena->total);
        return false;
    }
    atomic_fetch_add(&alive, 1);
    arena->chunks[arena->n_chunks++] = (chunk){data, size};
    return true;
}

/* Doubling wastes at most half; above 64 MiB that is too much, so big pieces get a chunk of their own size. */
static size_t next_size(const tn_arena *arena, size_t need) {
    size_t size = arena->n_chunks ? 2 * arena->chunks[arena->n_chunks - 1].size : FIRST_CHUNK;
    return TN_MAX(TN_MIN(size, (size_t)BIG_CHUNK), need);
}

tn_status tn_arena_reserve(tn_arena *arena, size_t size) {
    TN_ASSERT(!arena->n_chunks);
    return !size || chunk_add(arena, size) ? TN_OK : TN_E_NOMEM;
}

static tn_arena_tag *find_tag(tn_arena *arena, const char *name) {
    for (int i = 0; i < arena->n_tags; i++)
        if (arena->tags[i].name == name || strcmp(arena->tags[i].name, name) == 0) return &arena->tags[i];
    TN_ASSERT(arena->n_tags < TN_ARENA_TAGS);
    arena->tags[arena->n_tags] = (tn_arena_tag){.name = name};
    return &arena->tags[arena->n_tags++];
}

static void count_piece(tn_arena *arena, size_t size, const char *name) {
    tn_arena_tag *tag = find_tag(arena, name);
    tag->bytes += size;
    tag->peak = TN_MAX(tag->peak, tag->bytes);
    arena->total += size;
    arena->peak = TN_MAX(arena->peak, arena->total);
}

void *tn_arena_alloc(tn_arena *arena, size_t size, const char *tag) {
    if (size > SIZE_MAX - 2 * TN_ALIGN - 4096) return no_memory(size);
    size_t need = TN_MAX(TN_ROUND_UP(size, TN_ALIGN), (size_t)TN_ALIGN);
    while (arena->current < arena->n_chunks && arena->used + need > arena->chunks[arena->current].size) {
        arena->current++;
        arena->used = 0;
    }
    if (arena->current == arena->n_chunks) {
        arena->used = 0;
        if (!chunk_add(arena, next_size(arena, need))) return NULL;
    }
    void *piece = arena->chunks[arena->current].data + arena->used;
    arena->used += need;
    count_piece(arena, need, tag);
    return piece;
}

void *tn_arena_alloc_growing(tn_arena *arena, size_t size, const char *tag) {
    unsigned char *piece = tn_arena_alloc(arena, size, tag);
    if (!piece || size < HUGE_PAGE) return piece;
    const size_t before = TN_ROUND_UP((uintptr_t)piece, SMALL_PAGE) - (uintptr_t)piece;
    (void)madvise(piece + before, (size - before) / SMALL_PAGE * SMALL_PAGE, MADV_NOHUGEPAGE); /* a wish */
    return piece;
}

void *tn_arena_array(tn_arena *arena, size_t count, size_t size, const char *tag) {
    if (size && count > SIZE_MAX / size) return no_memory_for_product(count, size);
    return tn_arena_alloc(arena, count * size, tag);
}

void *tn_arena_zalloc(tn_arena *arena, size_t count, size_t size, const char *tag) {
    void *piece = tn_arena_array(arena, count, size, tag);
    /* Large pieces of a virtual arena are zero and must stay untouched; small ones are structs, which are written, and
     * which a rewind may have handed out before. */
    if (piece && (!arena->is_virtual || count * size <= WRITTEN)) memset(piece, 0, count * size);
    return piece;
}

char *tn_arena_strdup(tn_arena *arena, const char *text, const char *tag) {
    size_t size = strlen(text) + 1;
    char *copy = tn_arena_alloc(arena, size, tag);
    return copy ? memcpy(copy, text, size) : NULL;
}

/* Between rounds the chunks melt into one of the same total, so that a steady round touches one piece of memory. */
static void melt(tn_arena *arena) {
    if (arena->n_chunks < 2) return;
    size_t total = 0;
    for (size_t i = 0; i < arena->n_chunks; i++) total += arena->chunks[i].size;
    for (size_t i = 0; i < arena->n_chunks; i++) chunk_free(arena, &arena->chunks[i]);
    arena->n_chunks = 0;
    (void)chunk_add(arena, total); /* when it fails, the next piece asks again */
}

void tn_arena_reset(tn_arena *arena) {
    melt(arena);
    arena->current = 0;
    arena->used = 0;
    arena->total = 0;
    for (int i = 0; i < arena->n_tags; i++) arena->tags[i].bytes = 0;
}

tn_arena_mark tn_arena_get_mark(const tn_arena *arena) {
    tn_arena_mark mark = {.chunk = arena->current, .used = arena->used, .total = arena->total};
    for (int i = 0; i < arena->n_tags; i++) mark.tag_bytes[i] = arena->tags[i].bytes;
    return mark;
}

void tn_arena_rewind(tn_arena *arena, const tn_arena_mark *mark) {
    TN_ASSERT(mark->total <= arena->total);
    arena->current = mark->chunk;
    arena->used = mark->used;
    arena->total = mark->total;
    for (int i = 0; i < arena->n_tags; i++) arena->tags[i].bytes = mark->tag_bytes[i];
}

size_t tn_arena_used(const tn_arena *arena) { return arena->total; }
size_t tn_arena_peak(const tn_arena *arena) { return arena->peak; }
const char *tn_arena_name(const tn_arena *arena) { return arena->name; }

const tn_arena_tag *tn_arena_tags(const tn_arena *arena, int *count) {
    *count = arena->n_tags;
    return arena->tags;
}
