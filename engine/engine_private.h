/* SPDX-License-Identifier: Apache-2.0 */
/* The body of an engine, for the modules of this folder alone. */
#ifndef CLIP_ENGINE_PRIVATE_H
#define CLIP_ENGINE_PRIVATE_H

#include "engine/area.h"
#include "engine/awake.h"
#include "engine/metrics.h"
#include "engine/slab.h"
#include "engine/work.h"

struct clip_engine {
    uv_loop_t *loop;
    struct clip_engine_options options;
    struct queue children[ENGINE_LEVELS];
    struct queue laters;
    struct work_pool pool;
    struct queue metrics;
    struct areas areas; /* of slabs */

    uv_idle_t idle;       /* active while laters wait */
    uv_check_t check;     /* the end of a loop turn */
    uv_prepare_t prepare; /* its other end */
    uint64_t turn_began_ns, idle_ns;
    struct awake awake;
    unsigned n_handles;

    bool closing;
    clip_close_cb on_close;
    void *close_data;

    struct metric turns, slab_bytes;
};

/* To be asked wherever a part of an engine ends. */
void engine_maybe_closed(struct clip_engine *engine);

#endif
