/* SPDX-License-Identifier: MIT
 * grow.h - heap lists that grow by half: `list = tn_grown(list, &cap, need, sizeof *list)`. */
#ifndef TN_DATA_GROW_H
#define TN_DATA_GROW_H
#include "core/arena.h"

/* `list` with room for `need` items of `size` bytes; `*cap` is kept in items. NULL when memory is out: `list` then
 * stays valid, so the caller must not overwrite its pointer before looking. */
static inline void *tn_grown(void *list, size_t *cap, size_t need, size_t size) {
    if (list && need <= *cap) return list;
    size_t more = TN_MAX(need, *cap + *cap / 2 + 16);
    void *grown = more > SIZE_MAX / size ? NULL : tn_heap_resize(list, more * size);
    if (grown) *cap = more;
    return grown;
}

/* Make room for `need` items in `list` or return TN_E_NOMEM from the calling function. */
#define TN_GROW(list, cap, need)                                                                                       \
    do {                                                                                                               \
        void *tn_grown_ = tn_grown((list), (cap), (need), sizeof *(list));                                             \
        if (TN_UNLIKELY(!tn_grown_)) return TN_E_NOMEM;                                                                \
        (list) = tn_grown_;                                                                                            \
    } while (0)

#endif
