/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU work and blocking calls on uv's pool, bounded, reads before bulk.
 *
 * A `struct work` is a request, embedded in whoever waits for it. `run` runs on a pool thread and
 * sees the struct that its work is embedded in and nothing else; `done` fires on the loop, exactly
 * once, and then the memory is its owner's again (it may be submitted anew from inside done).
 * Submitting cannot fail. Jobs should take a few milliseconds. A thread that is through with a job
 * takes the next in line by itself, and gives its place up for the host's own jobs now and then.
 *
 * Lanes: READ goes before BULK; BULK never takes the last thread, BLOCK (calls that may wait for
 * us, such as mount(2)) never the last two, so that somebody is always left to answer. While there
 * are jobs of READ, or were just now, BULK leaves one of the machine's cores, too.
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
    struct clip_engine *engine; /* NULL: not submitted */
    enum work_lane lane;
    bool in_line, has_run;
    struct work *behind, *before; /* what runs after it, and what it runs after */
    work_fn run;
    work_cb done;
};

/* status is 0 if run() ran, -ECANCELED if it did not. */
void work_submit(struct clip_engine *engine, struct work *work, enum work_lane lane, work_fn run,
                 work_cb done);
/* Once `before` has run or was cancelled, which may be already; ahead of all others of the lane,
 * and without a turn of the loop in between. There is nobody else behind `before`. */
void work_submit_behind(struct clip_engine *engine, struct work *work, enum work_lane lane,
                        work_fn run, work_cb done, struct work *before);
/* A wish: a job that has not begun ends with -ECANCELED, from the loop. */
void work_cancel(struct work *work);

/* For engine.c: the queues of an engine. Threads and the loop share what is under the lock. */
struct runner;
struct work_pool {
    uv_mutex_t lock;
    struct queue waiting[WORK_LANES];
    struct queue done; /* what the loop has to answer */
    unsigned running[WORK_LANES];
    unsigned n_running;
    uint64_t read_ns; /* when READ was busy last */

    unsigned limit[WORK_LANES];
    unsigned limit_beside; /* of BULK, beside READ */
    unsigned n_threads;

    /* the loop's alone */
    struct runner *runners; /* n_threads of them */
    unsigned n_out;         /* of the runners: with uv */
    unsigned n_open;        /* jobs that are not answered */
    uv_async_t wake;        /* there is something to answer */
    struct queue cancelled;
    struct later later;
};
/* -ENOMEM. Does not keep the loop alive; `wake` has to be closed before work_pool_fini(). */
int work_pool_init(struct clip_engine *engine, unsigned n_threads);
void work_pool_fini(struct work_pool *pool);
bool work_pool_idle(const struct work_pool *pool);
unsigned work_pool_threads(const struct clip_engine *engine);

#endif
