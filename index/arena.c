/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of 64 KiB; what is larger than a quarter of one gets a chunk of its own, put behind the
 * one that is being filled so that its rest is not lost. */
#include "index/arena.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_LEN (64u << 10)
#define LARGE_LEN (CHUNK_LEN / 4)

struct arena_chunk {
    struct arena_chunk *next;
    _Alignas(8) char bytes[];
};

void arena_fini(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    *arena = (struct arena){0};
}

static struct arena_chunk *chunk_new(struct arena *arena, size_t len)
{
    struct arena_chunk *chunk;

    if (len > SIZE_MAX - sizeof(struct arena_chunk))
        return NULL;
    chunk = malloc(sizeof(struct arena_chunk) + len);
    if (chunk)
        arena->total += len;
    return chunk;
}

static void *alloc_large(struct arena *arena, size_t len)
{
    struct arena_chunk *chunk = chunk_new(arena, len);
    struct arena_chunk **after = arena->chunks ? &arena->chunks->next : &arena->chunks;

    if (!chunk)
        return NULL;
    chunk->next = *after;
    *after = chunk; /* when it is the only one: used and cap are 0, nothing more fits in it */
    return chunk->bytes;
}

static void *alloc_at(struct arena *arena, size_t at, size_t len)
{
    if (len > LARGE_LEN)
        return alloc_large(arena, len);
    if (!arena->chunks || at > arena->cap || len > arena->cap - at) {
        struct arena_chunk *chunk = chunk_new(arena, CHUNK_LEN);
        if (!chunk)
            return NULL;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->cap = CHUNK_LEN;
        at = 0;
    }
    arena->used = at + len;
    return arena->chunks->bytes + at;
}

void *arena_alloc(struct arena *arena, size_t len)
{
    return alloc_at(arena, (arena->used + 7) & ~(size_t)7, len);
}

char *arena_copy(struct arena *arena, const char *bytes, size_t len)
{
    char *copy = alloc_at(arena, arena->used, len + 1);

    if (!copy)
        return NULL;
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}
