/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for many small things that go together: never moved, freed all at once. One thread at a
 * time.
 */
#ifndef CLIP_INDEX_ARENA_H
#define CLIP_INDEX_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_chunk;

struct arena {
    /* read-only */
    uint64_t total; /* bytes of all chunks */
    /* private */
    struct arena_chunk *chunks;
    size_t used, cap; /* of the newest chunk */
};

/* A zeroed arena is empty and ready. */
void arena_fini(struct arena *arena);
/* Aligned for any of our structs (8), not initialised. NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t len);
/* A copy with a NUL behind it, not aligned. */
char *arena_copy(struct arena *arena, const char *bytes, size_t len);

#endif
