/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel asks of us, counted for all mounts of an engine: clip_fuse_requests_total by
 * opcode, clip_fuse_read_seconds, clip_mounts. They last as long as the engine, so that counters
 * never go back when a mount ends. On the loop's thread.
 */
#ifndef CLIP_FS_REQUESTS_H
#define CLIP_FS_REQUESTS_H

#include "engine/metrics.h"

#define REQUESTS_OPCODES 64u /* the last counts all that are unknown to us */

struct requests {
    /* public: observed and set by the mounts */
    struct metric read_time, mounts;
    /* private */
    struct engine_child child;
    struct clip_engine *engine;
    struct metric by_opcode[REQUESTS_OPCODES];
};

/* The engine's one, made if this is the first to ask. -ENOMEM, -ESHUTDOWN. */
int requests_get(struct clip_engine *engine, struct requests **out);
void requests_count(struct requests *requests, uint32_t opcode);

#endif
