/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What passes through a build, for those who want it too (the span cache, fs/fill.c): the decoded
 * bytes of each layer, and its spans when they are known to be right.
 */
#ifndef CLIP_INDEX_SINK_H
#define CLIP_INDEX_SINK_H

#include "index/layer.h"

/* Of one layer. */
struct layer_sink {
    /* In the pool, one call at a time, in order; the chunk is borrowed. What is slow in here slows
     * down the layer, and so bounds what is between the two. */
    void (*take)(struct layer_sink *sink, const struct layer_chunk *chunk);
    /* On the loop, after a take, while none runs. */
    void (*taken)(struct layer_sink *sink);
    /* Likewise: the blob was not what its digest says, and the layer begins again. */
    void (*anew)(struct layer_sink *sink);
};

/* Of a build. On the loop. */
struct build_sink {
    void *owner;
    /* The build waits as long as this is true, before it begins layers and before it ends; when it
     * becomes false, build_go_on() has to be called. */
    bool (*is_busy)(void *owner);
    /* NULL: this layer is not wanted. */
    struct layer_sink *(*begin)(void *owner, unsigned layer);
    /* The last call for a layer. `result`, borrowed, has passed all checks; NULL: it failed. */
    void (*end)(void *owner, struct layer_sink *sink, const struct writer_layer *result);
};

#endif
