/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What everything runs on: the host's loop, its options, the things that are open on it, and their
 * close. Knows none of its passengers. Everything here belongs to the loop's thread.
 */
#ifndef CLIP_ENGINE_ENGINE_H
#define CLIP_ENGINE_ENGINE_H

#include "engine/err.h"
#include "engine/queue.h"

#include <uv.h>

/* ---- children: whatever must be closed before the engine is */

/* Closed level by level, a level when the one before is empty. */
enum engine_level {
    ENGINE_USER,  /* an index run, a reader, a mount */
    ENGINE_CACHE, /* what users share */
    ENGINE_NET,   /* what caches and users fetch with */
    ENGINE_LEVELS
};

struct engine_child;
/* Ask the child to close; it calls engine_remove() when it is gone. Called at most once, and never
 * for a child that removed itself. The host may have asked for the close before: both must work. */
typedef void (*engine_close_fn)(struct engine_child *child);

struct engine_child {
    /* private */
    struct queue node;
    enum engine_level level;
    engine_close_fn close;
    const void *kind;
};

/* `kind` is any address that names the sort of child, for engine_find(); may be NULL. -ESHUTDOWN
 * when the engine is closing. */
int engine_add(struct clip_engine *engine, struct engine_child *child, enum engine_level level,
               const void *kind, engine_close_fn close);
void engine_remove(struct clip_engine *engine, struct engine_child *child);
/* The first child of that kind, or NULL: how one net is shared by all that fetch. */
struct engine_child *engine_find(const struct clip_engine *engine, const void *kind);

uv_loop_t *engine_loop(const struct clip_engine *engine);

/* ---- later: a callback from the loop, never from inside the call that asked for it */

struct later;
typedef void (*later_cb)(struct later *later);

struct later {
    /* private */
    struct queue node;
    later_cb cb;
};

void later_init(struct later *later);
/* Once per init or firing; a second ask before it fired changes only the callback. */
void later_call(struct clip_engine *engine, struct later *later, later_cb cb);
void later_cancel(struct later *later);

/* Something came that somebody waits for: where there is enough of it, idle CPUs do not halt
 * (engine/awake.h). */
void engine_busy(struct clip_engine *engine);

/* Milliseconds and nanoseconds of the monotonic clock. */
uint64_t engine_now_ns(void);

#endif
