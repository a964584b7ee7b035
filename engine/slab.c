/* SPDX-License-Identifier: Apache-2.0 */
/* A slab is made by whoever reads bytes from outside, handed on, and freed by its last reader.
 * Large ones are pieces of areas (engine/area.h); small ones, and those that no area can hold,
 * are the allocator's. Failure: no memory, told by NULL. */
#include "engine/slab.h"

#include "engine/engine_private.h"

#include <assert.h>
#include <stdlib.h>

#define LARGE     (128u << 10) /* what is smaller, the allocator keeps */
#define ALIGNMENT 64u
/* What small ones begin with. */
#define HEADER_LEN ((sizeof(struct slab) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)

static bool is_for_area(size_t cap)
{
#ifdef __SANITIZE_ADDRESS__
    (void)cap;
    return false; /* so that a use after the last unlock is seen */
#else
    return cap >= LARGE && cap <= AREA_LEN;
#endif
}

/* The loop does not touch the bytes: a page that is new is its writer's to wait for. */
static struct slab *slab_of_area(struct clip_engine *engine, size_t cap)
{
    struct slab *slab = malloc(sizeof(*slab));

    if (!slab)
        return NULL;
    slab->bytes = areas_take(&engine->areas, cap, &slab->area);
    if (slab->bytes)
        return slab;
    free(slab);
    return NULL;
}

static struct slab *slab_of_allocator(size_t cap)
{
    struct slab *slab;
    size_t size;

    if (__builtin_add_overflow(HEADER_LEN + ALIGNMENT - 1, cap, &size))
        return NULL;
    slab = aligned_alloc(ALIGNMENT, size / ALIGNMENT * ALIGNMENT);
    if (!slab)
        return NULL;
    slab->area = NULL;
    slab->bytes = (uint8_t *)slab + HEADER_LEN;
    return slab;
}

struct slab *slab_new(struct clip_engine *engine, size_t cap)
{
    struct slab *slab = is_for_area(cap) ? slab_of_area(engine, cap) : slab_of_allocator(cap);

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
        areas_give(&slab->engine->areas, slab->area, slab->bytes, slab->cap);
    free(slab);
}

void slab_trim(struct clip_engine *engine)
{
    areas_trim(&engine->areas);
}
