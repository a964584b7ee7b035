/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing: a thing lies at the slot that its hash names, or in the
 * next free one. Removing moves later ones of the run back, so that there are no tombstones.
 */
#include "engine/map.h"

#include "engine/xxh3.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define SLOTS_MIN 64u
#define SLOTS_MAX (1u << 31)

struct map_slot {
    uint32_t hash;
    uint32_t value; /* MAP_NONE: free */
};

void map_init(struct map *map)
{
    *map = (struct map){0};
    /* without randomness (early boot) the map still works: it only loses its guard */
    if (getrandom(&map->seed, sizeof(map->seed), GRND_NONBLOCK) != sizeof(map->seed))
        map->seed = 0;
}

void map_fini(struct map *map)
{
    free(map->slots);
    map->slots = NULL;
    map->n = map->n_slots = 0;
}

uint32_t map_hash(const struct map *map, uint64_t salt, const void *bytes, size_t len)
{
    uint64_t seed = map->seed + salt * 0x9E3779B97F4A7C15ull;

    return (uint32_t)XXH3_64bits_withSeed(bytes, len, seed);
}

static uint32_t next_slot(const struct map *map, uint32_t at)
{
    return (at + 1) & (map->n_slots - 1);
}

uint32_t map_find(const struct map *map, uint32_t hash, map_equal_fn equal, const void *owner,
                  const void *key)
{
    if (map->n == 0)
        return MAP_NONE;
    for (uint32_t at = hash & (map->n_slots - 1);; at = next_slot(map, at)) {
        const struct map_slot *slot = &map->slots[at];
        if (slot->value == MAP_NONE)
            return MAP_NONE;
        if (slot->hash == hash && equal(owner, slot->value, key))
            return slot->value;
    }
}

static void place(struct map *map, struct map_slot what)
{
    uint32_t at = what.hash & (map->n_slots - 1);

    while (map->slots[at].value != MAP_NONE)
        at = next_slot(map, at);
    map->slots[at] = what;
}

static int to_slots(struct map *map, uint32_t n_slots)
{
    struct map old = *map;

    map->slots = malloc(n_slots * sizeof(*map->slots));
    if (!map->slots) {
        map->slots = old.slots;
        return -ENOMEM;
    }
    map->n_slots = n_slots;
    for (uint32_t i = 0; i < n_slots; i++)
        map->slots[i].value = MAP_NONE;
    for (uint32_t i = 0; i < old.n_slots; i++)
        if (old.slots[i].value != MAP_NONE)
            place(map, old.slots[i]);
    free(old.slots);
    return 0;
}

static bool has_room(uint32_t n_slots, uint32_t n)
{
    return n < n_slots / 3 * 2;
}

int map_reserve(struct map *map, uint32_t n)
{
    uint32_t n_slots = map->n_slots ? map->n_slots : SLOTS_MIN;

    while (n > 0 && !has_room(n_slots, n - 1)) {
        if (n_slots >= SLOTS_MAX)
            return -EFBIG;
        n_slots *= 2;
    }
    return n_slots == map->n_slots ? 0 : to_slots(map, n_slots);
}

int map_add(struct map *map, uint32_t hash, uint32_t value)
{
    assert(value != MAP_NONE);
    if (!has_room(map->n_slots, map->n)) {
        int r = map_reserve(map, map->n + 1);
        if (r < 0)
            return r;
    }
    place(map, (struct map_slot){.hash = hash, .value = value});
    map->n++;
    return 0;
}

/* May the thing in slot `from` move back to the free slot `to`? Only if its own place is not
 * between the two. */
static bool may_move(const struct map *map, uint32_t from, uint32_t to)
{
    uint32_t mask = map->n_slots - 1;
    uint32_t home = map->slots[from].hash & mask;

    return ((from - home) & mask) >= ((from - to) & mask);
}

void map_remove(struct map *map, uint32_t hash, uint32_t value)
{
    uint32_t gap = hash & (map->n_slots - 1);

    while (map->slots[gap].value != value) {
        assert(map->slots[gap].value != MAP_NONE);
        gap = next_slot(map, gap);
    }
    for (uint32_t at = next_slot(map, gap); map->slots[at].value != MAP_NONE;
         at = next_slot(map, at)) {
        if (!may_move(map, at, gap))
            continue;
        map->slots[gap] = map->slots[at];
        gap = at;
    }
    map->slots[gap].value = MAP_NONE;
    map->n--;
}
