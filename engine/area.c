/* SPDX-License-Identifier: Apache-2.0 */
/* The first area that has room gives its first place that is large enough, so that the last ones
 * empty. An area is mapped at a multiple of a huge page. Failure: no memory, told by NULL. */
#include "engine/area.h"

#include "engine/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE (2u << 20)
#define N_PIECES  (AREA_LEN / AREA_PIECE)

struct area {
    struct queue node; /* in the order that they were made */
    uint8_t *bytes;
    unsigned n_used;
    bool used[N_PIECES];
};

static unsigned pieces_of(size_t size)
{
    return (unsigned)((size + AREA_PIECE - 1) / AREA_PIECE);
}

/* More than that is mapped, for its beginning is not ours to choose. */
static uint8_t *map_aligned(void)
{
    const size_t len = AREA_LEN + HUGE_PAGE;
    uint8_t *all = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;

    if (all == MAP_FAILED)
        return NULL;
    before = -(uintptr_t)all % HUGE_PAGE;
    if (before > 0)
        munmap(all, before);
    munmap(all + before + AREA_LEN, HUGE_PAGE - before);
    madvise(all + before, AREA_LEN, MADV_HUGEPAGE); /* or not, as the kernel likes */
    return all + before;
}

static struct area *area_new(struct areas *areas)
{
    struct area *area = calloc(1, sizeof(*area));

    if (!area)
        return NULL;
    area->bytes = map_aligned();
    if (!area->bytes) {
        free(area);
        return NULL;
    }
    queue_push(&areas->all, &area->node);
    return area;
}

static void area_free(struct area *area)
{
    queue_remove(&area->node);
    munmap(area->bytes, AREA_LEN);
    free(area);
}

/* Where n pieces in a row are free; N_PIECES: nowhere. */
static unsigned find_room(const struct area *area, unsigned n)
{
    unsigned first = 0;

    if (n > N_PIECES - area->n_used)
        return N_PIECES;
    for (unsigned i = 0; i < N_PIECES; i++) {
        if (area->used[i])
            first = i + 1;
        else if (i + 1 - first == n)
            return first;
    }
    return N_PIECES;
}

static void *take_at(struct area *area, unsigned first, unsigned n)
{
    memset(&area->used[first], true, n);
    area->n_used += n;
    return area->bytes + (size_t)first * AREA_PIECE;
}

void *areas_take(struct areas *areas, size_t size, struct area **out)
{
    const unsigned n = pieces_of(size);
    struct area *area;

    queue_for_each(node, &areas->all)
    {
        unsigned first;
        area = container_of(node, struct area, node);
        first = find_room(area, n);
        if (first < N_PIECES) {
            *out = area;
            return take_at(area, first, n);
        }
    }
    area = area_new(areas);
    if (!area)
        return NULL;
    *out = area;
    return take_at(area, 0, n);
}

static void free_unused(struct areas *areas, unsigned n_kept)
{
    struct queue *next;

    for (struct queue *node = areas->all.next; node != &areas->all; node = next) {
        struct area *area = container_of(node, struct area, node);
        next = node->next;
        if (area->n_used > 0)
            continue;
        if (n_kept > 0)
            n_kept--;
        else
            area_free(area);
    }
}

void areas_give(struct areas *areas, struct area *area, void *piece, size_t size)
{
    const unsigned n = pieces_of(size);

    memset(&area->used[((uint8_t *)piece - area->bytes) / AREA_PIECE], false, n);
    area->n_used -= n;
    if (area->n_used == 0)
        free_unused(areas, 1);
}

void areas_trim(struct areas *areas)
{
    free_unused(areas, 0);
}

void areas_init(struct areas *areas)
{
    queue_init(&areas->all);
}

void areas_fini(struct areas *areas)
{
    areas_trim(areas);
    assert(queue_empty(&areas->all));
}
