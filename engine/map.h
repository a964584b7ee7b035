/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of numbers. The caller keeps the things, in an array say; the map finds the number
 * of the one that equals a key. Eight bytes a slot, two thirds of them used at most.
 *
 * The hash (XXH3) has a random seed, so that names chosen by others cannot be made to collide;
 * nothing may depend on the order in which things lie. One thread at a time.
 */
#ifndef CLIP_ENGINE_MAP_H
#define CLIP_ENGINE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_NONE UINT32_MAX

struct map_slot;

struct map {
    /* read-only */
    uint32_t n;
    /* private */
    uint32_t n_slots; /* a power of two, or 0 */
    struct map_slot *slots;
    uint64_t seed;
};

/* Is the thing with this number what `key` asks for? */
typedef bool (*map_equal_fn)(const void *owner, uint32_t value, const void *key);

void map_init(struct map *map);
void map_fini(struct map *map);

/* `salt` tells equal bytes in different places apart (the directory of a name, say). */
uint32_t map_hash(const struct map *map, uint64_t salt, const void *bytes, size_t len);

/* The number, or MAP_NONE. */
uint32_t map_find(const struct map *map, uint32_t hash, map_equal_fn equal, const void *owner,
                  const void *key);
/* Room for n things, so that adding them neither fails nor moves what is there. -ENOMEM, -EFBIG. */
int map_reserve(struct map *map, uint32_t n);
/* `value` < MAP_NONE; the caller has looked that nothing equal is there. -ENOMEM, -EFBIG. */
int map_add(struct map *map, uint32_t hash, uint32_t value);
/* Takes out what was added with just these two. */
void map_remove(struct map *map, uint32_t hash, uint32_t value);

#endif
