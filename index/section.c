/* SPDX-License-Identifier: Apache-2.0 */
/* The map holds offsets of bytes, indexes of records, or numbers of runs: each section is used in
 * one way only. */
#include "index/section.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEN_MIN 4096u

void section_init(struct section *section)
{
    *section = (struct section){0};
    map_init(&section->map);
}

void section_fini(struct section *section)
{
    map_fini(&section->map);
    free(section->bytes);
    section->bytes = NULL;
    section->len = section->cap = 0;
}

static int set_cap(struct section *section, size_t cap)
{
    uint8_t *bytes = realloc(section->bytes, cap);

    if (!bytes)
        return -ENOMEM;
    section->bytes = bytes;
    section->cap = cap;
    return 0;
}

static int grow(struct section *section, size_t len)
{
    size_t cap = section->cap ? section->cap : LEN_MIN;

    if (len > SIZE_MAX / 2 - section->len)
        return -EFBIG;
    while (cap < section->len + len)
        cap *= 2;
    return cap == section->cap ? 0 : set_cap(section, cap);
}

int section_reserve(struct section *section, size_t len)
{
    if (len > SIZE_MAX / 2 - section->len)
        return -EFBIG;
    return section->len + len <= section->cap ? 0 : set_cap(section, section->len + len);
}

int section_expect(struct section *section, uint32_t n, size_t len)
{
    int r = section_reserve(section, n * len);

    return r < 0 ? r : map_reserve(&section->map, n);
}

int section_append(struct section *section, const void *bytes, size_t len)
{
    int r = grow(section, len);

    if (r < 0 || len == 0)
        return r;
    memcpy(section->bytes + section->len, bytes, len);
    section->len += len;
    return 0;
}

struct key {
    const void *bytes;
    size_t len;
};

static bool lies_at(const struct section *section, size_t off, const struct key *key)
{
    return off <= section->len && key->len <= section->len - off &&
           memcmp(section->bytes + off, key->bytes, key->len) == 0;
}

static bool is_record(const void *owner, uint32_t value, const void *key)
{
    const struct key *k = key;

    return lies_at(owner, value * k->len, k);
}

static bool is_at_offset(const void *owner, uint32_t value, const void *key)
{
    return lies_at(owner, value, key);
}

/* A new thing behind the others, known as `value`. */
static int add(struct section *section, uint32_t hash, const struct key *key, size_t value)
{
    int r;

    if (value >= MAP_NONE || key->len > MAP_NONE - value)
        return -EFBIG;
    r = section_append(section, key->bytes, key->len);
    if (r < 0)
        return r;
    return map_add(&section->map, hash, (uint32_t)value);
}

static int intern(struct section *section, const struct key *key, map_equal_fn equal, size_t next,
                  uint32_t *out)
{
    uint32_t hash = map_hash(&section->map, key->len, key->bytes, key->len);
    uint32_t found = map_find(&section->map, hash, equal, section, key);
    int r;

    if (found == MAP_NONE) {
        r = add(section, hash, key, next);
        if (r < 0)
            return r;
        found = (uint32_t)next;
    }
    *out = found;
    return 0;
}

int section_intern(struct section *section, const void *record, size_t len, uint32_t *out_index)
{
    const struct key key = {record, len};

    return intern(section, &key, is_record, section->len / len, out_index);
}

int section_intern_bytes(struct section *section, const void *bytes, size_t len, uint32_t *out_off)
{
    const struct key key = {bytes, len};

    if (len == 0) {
        *out_off = 0;
        return 0;
    }
    return intern(section, &key, is_at_offset, section->len, out_off);
}
