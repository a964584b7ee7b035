/* SPDX-License-Identifier: Apache-2.0 */
/* A slab is made by whoever reads bytes from outside, handed on, and freed by its last reader.
 * Large ones are pieces of areas (engine/area.h); small ones, and those that no area can hold,
 * are the allocator's. Failure: no memory, told by NULL. */
#include "engine/slab.h"

#include "engine/engine_private.h"

#include <assert.h>
#include <stdlib.h>

#define LARGE (128u << 10) /* what is smaller, the allocator keeps */

static bool is_for_area(size_t size)
{
#ifdef __SANITIZE_ADDRESS__
    (void)size;
    return false; /* so that a use after the last unlock is seen */
#else
    return size >= LARGE && size <= AREA_LEN;
#endif
}

static struct slab *slab_of_size(struct clip_engine *engine, size_t size)
{
    struct area *area = NULL;
    struct slab *slab;

    if (is_for_area(size))
        slab = areas_take(&engine->areas, size, &area);
    else
        slab = aligned_alloc(64, size);
    if (slab)
        slab->area = area;
    return slab;
}

/* Of all of it, a multiple of the alignment. 0: more than there can be. */
static size_t size_of(size_t cap)
{
    size_t size;

    if (__builtin_add_overflow(sizeof(struct slab) + 63, cap, &size))
        return 0;
    return size & ~(size_t)63;
}

struct slab *slab_new(struct clip_engine *engine, size_t cap)
{
    size_t size = size_of(cap);
    struct slab *slab = size > 0 ? slab_of_size(engine, size) : NULL;

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
    if (slab->area)
        areas_give(&slab->engine->areas, slab->area, slab, size_of(slab->cap));
    else
        free(slab);
}

void slab_trim(struct clip_engine *engine)
{
    areas_trim(&engine->areas);
}
