/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU work and blocking calls on uv's pool, bounded, reads before bulk.
 *
 * A `struct work` is a request, embedded in whoever waits for it. `run` runs on a pool thread and
 * sees the struct that its work is embedded in and nothing else; `done` fires on the loop, exactly
 * once, and then the memory is its owner's again (it may be submitted anew from inside done).
 * Submitting cannot fail. Jobs should take a few milliseconds.
 *
 * Lanes: READ goes before BULK; BULK never takes the last thread, BLOCK (calls that may wait for
 * us, such as mount(2)) never the last two, so that somebody is always left to answer.
 */
#ifndef CLIP_ENGINE_WORK_H
#define CLIP_ENGINE_WORK_H

#include "engine/engine.h"

enum work_lane { WORK_READ, WORK_BULK, WORK_BLOCK, WORK_LANES };

struct work;
typedef void (*work_fn)(struct work *work);
typedef void (*work_cb)(struct work *work, int status);

struct work {
    /* private */
    struct queue node;
    uv_work_t req;
    struct clip_engine *engine;
    enum work_lane lane;
    work_fn run;
    work_cb done;
};

/* status is 0 if run() ran, -ECANCELED if it did not. */
void work_submit(struct clip_engine *engine, struct work *work, enum work_lane lane, work_fn run,
                 work_cb done);
/* A wish: a job that has not begun ends with -ECANCELED, from the loop. */
void work_cancel(struct work *work);

/* For engine.c: the queues of an engine. */
struct work_pool {
    struct queue waiting[WORK_LANES];
    struct queue cancelled;
    struct later later;
    unsigned running[WORK_LANES];
    unsigned limit[WORK_LANES];
    unsigned n_running, n_threads;
};
void work_pool_init(struct work_pool *pool, unsigned n_threads);
bool work_pool_idle(const struct work_pool *pool);
unsigned work_pool_threads(const struct clip_engine *engine);

#endif
