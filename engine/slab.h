/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A piece of memory on its way through the pipe: one writer, then any number of readers.
 *
 * Counted on the loop's thread only (a pool job borrows what its owner holds). The bytes are
 * counted in clip_slab_bytes; what bounds them is the credit of whoever hands them on.
 */
#ifndef CLIP_ENGINE_SLAB_H
#define CLIP_ENGINE_SLAB_H

#include "engine/engine.h"

struct area;

struct slab {
    /* public: the writer fills bytes[0..len), len <= cap */
    size_t len;
    /* read-only */
    uint8_t *bytes; /* at a multiple of 64 */
    size_t cap;
    /* private */
    struct clip_engine *engine;
    struct area *area; /* that it is a piece of; NULL: the allocator's */
    unsigned n_locks;
};

/* Locked once, for the caller; len 0, bytes not initialised. NULL: no memory. */
struct slab *slab_new(struct clip_engine *engine, size_t cap);
struct slab *slab_lock(struct slab *slab);
/* NULL is allowed; the last unlock frees. */
void slab_unlock(struct slab *slab);

/* Gives back the memory that is kept for the next slabs: none will be asked for in a while. */
void slab_trim(struct clip_engine *engine);

#endif
