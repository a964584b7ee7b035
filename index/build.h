/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All the bytes in order: N blobs become N layers, a tree, an index file.
 *
 * A build is a child of the engine and ends by itself; `done` fires once, from the loop. At most
 * `jobs` layers are in flight, each with a bounded amount of memory between its stages
 * (index/build_layer.h), whatever its size. On the loop's thread.
 */
#ifndef CLIP_INDEX_BUILD_H
#define CLIP_INDEX_BUILD_H

#include "engine/engine.h"
#include "index/sink.h"

#define BUILD_SPAN_DEFAULT (1ull << 20)
#define BUILD_SPAN_MIN     (64ull << 10)
#define BUILD_SPAN_MAX     (64ull << 20)
#define BUILD_JOBS_DEFAULT 3u
#define BUILD_JOBS_MAX     64u

/* clip_index_start() for fs/fill.c, which is that. `sink` NULL: nobody else wants what passes; else
 * it is borrowed until `done`. */
int build_start(struct clip_engine *engine, const struct clip_index_options *options,
                const struct build_sink *sink, clip_index_cb done, void *data,
                struct clip_index **out, struct clip_error *err);
/* The sink is not busy any more. */
void build_go_on(struct clip_index *index);

#endif
