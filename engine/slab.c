/* SPDX-License-Identifier: Apache-2.0 */
/* A slab is made by whoever reads bytes from outside, handed on, and freed by its last reader.
 * Failure: no memory, told by NULL. The allocator's own caches make reuse cheap. */
#include "engine/slab.h"

#include "engine/engine_private.h"

#include <assert.h>
#include <stdlib.h>

struct slab *slab_new(struct clip_engine *engine, size_t cap)
{
    size_t size;
    struct slab *slab;

    if (__builtin_add_overflow(sizeof(*slab), cap, &size))
        return NULL;
    /* aligned_alloc wants a multiple of the alignment */
    if (__builtin_add_overflow(size, 63, &size))
        return NULL;
    slab = aligned_alloc(64, size & ~(size_t)63);
    if (!slab)
        return NULL;
    slab->len = 0;
    slab->cap = cap;
    slab->engine = engine;
    slab->n_locks = 1;
    engine->slab_bytes.value += cap;
    return slab;
}

struct slab *slab_lock(struct slab *slab)
{
    slab->n_locks++;
    return slab;
}

void slab_unlock(struct slab *slab)
{
    if (!slab)
        return;
    assert(slab->n_locks > 0);
    if (--slab->n_locks > 0)
        return;
    slab->engine->slab_bytes.value -= slab->cap;
    free(slab);
}
