/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A section of an index file while it is written: bytes that grow, and where wanted each record
 * only once. For index/writer.c.
 */
#ifndef CLIP_INDEX_SECTION_H
#define CLIP_INDEX_SECTION_H

#include "engine/map.h"

struct section {
    /* read-only */
    uint8_t *bytes;
    size_t len;
    /* private */
    size_t cap;
    struct map map; /* of what is there once */
};

void section_init(struct section *section);
void section_fini(struct section *section);
/* Room for `len` bytes more. -ENOMEM, -EFBIG */
int section_reserve(struct section *section, size_t len);
/* That, for about n things of `len` bytes that are to be there once. Pages that nobody writes to
 * take no memory, and what grows by doubling writes to twice as many. -ENOMEM, -EFBIG */
int section_expect(struct section *section, uint32_t n, size_t len);
/* -ENOMEM */
int section_append(struct section *section, const void *bytes, size_t len);

/* Appends what is not there yet, and says where it is. -ENOMEM, -EFBIG past 4 GiB. */
/* A record among records of the same length: its index. */
int section_intern(struct section *section, const void *record, size_t len, uint32_t *out_index);
/* Any bytes anywhere: their offset. Nothing is interned at 0. */
int section_intern_bytes(struct section *section, const void *bytes, size_t len, uint32_t *out_off);

#endif
