/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for large things that come and go: pieces of areas that are kept, and that the kernel may
 * back with huge pages. The allocator would give each piece back to the kernel and take new pages
 * for the next, and a page that is new costs more than to fill it. On the loop's thread.
 */
#ifndef CLIP_ENGINE_AREA_H
#define CLIP_ENGINE_AREA_H

#include "engine/queue.h"

#include <stdint.h>

#define AREA_LEN   (16u << 20)
#define AREA_PIECE (64u << 10) /* pieces are multiples of it, and begin at one */

struct area;

struct areas {
    /* private */
    struct queue all;
};

void areas_init(struct areas *areas);
/* All pieces have been given back. */
void areas_fini(struct areas *areas);

/* `size` bytes, at most AREA_LEN. NULL: no memory. */
void *areas_take(struct areas *areas, size_t size, struct area **out);
/* An area of which nothing is used any more is kept, one of them. */
void areas_give(struct areas *areas, struct area *area, void *piece, size_t size);
/* Not even that one. */
void areas_trim(struct areas *areas);

#endif
