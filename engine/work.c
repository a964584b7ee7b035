/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a job is:
 * - work_submit() puts it in line; pump() hands it to the uv pool as soon as its lane may have one
 *   more thread, the lanes asked in order.
 * - run() on a pool thread; on_done() back on the loop counts it out, calls done, and pumps again.
 * Possible failure modes are: none of its own. uv_queue_work() fails only for a NULL callback.
 * On close: the engine waits until work_pool_idle(); owners cancel what they wait for. A cancelled
 * job that was still in line is answered from a later, never from inside work_cancel().
 */
#include "engine/work.h"

#include "engine/engine_private.h"

#include <assert.h>

static void pump(struct clip_engine *engine);

static unsigned max_of(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

void work_pool_init(struct work_pool *pool, unsigned n_threads)
{
    for (int lane = 0; lane < WORK_LANES; lane++)
        queue_init(&pool->waiting[lane]);
    queue_init(&pool->cancelled);
    later_init(&pool->later);
    pool->n_threads = n_threads;
    pool->limit[WORK_READ] = n_threads;
    pool->limit[WORK_BULK] = max_of(1, n_threads - 1);
    pool->limit[WORK_BLOCK] = n_threads > 2 ? n_threads - 2 : 1;
}

bool work_pool_idle(const struct work_pool *pool)
{
    for (int lane = 0; lane < WORK_LANES; lane++)
        if (!queue_empty(&pool->waiting[lane]))
            return false;
    return pool->n_running == 0 && queue_empty(&pool->cancelled);
}

unsigned work_pool_threads(const struct clip_engine *engine)
{
    return engine->pool.n_threads;
}

static void on_run(uv_work_t *req)
{
    struct work *work = container_of(req, struct work, req);

    work->run(work);
}

static void on_done(uv_work_t *req, int status)
{
    struct work *work = container_of(req, struct work, req);
    struct clip_engine *engine = work->engine;
    struct work_pool *pool = &engine->pool;

    pool->running[work->lane]--;
    pool->n_running--;
    work->engine = NULL;
    work->done(work, status == UV_ECANCELED ? -ECANCELED : 0);
    pump(engine);
    engine_maybe_closed(engine);
}

static struct work *next_in_line(struct work_pool *pool)
{
    if (pool->n_running >= pool->n_threads)
        return NULL;
    for (int lane = 0; lane < WORK_LANES; lane++) {
        if (pool->running[lane] >= pool->limit[lane])
            continue;
        struct queue *node = queue_pop(&pool->waiting[lane]);
        if (node)
            return container_of(node, struct work, node);
    }
    return NULL;
}

static void pump(struct clip_engine *engine)
{
    struct work_pool *pool = &engine->pool;
    struct work *work;

    while ((work = next_in_line(pool))) {
        pool->running[work->lane]++;
        pool->n_running++;
        int r = uv_queue_work(engine->loop, &work->req, on_run, on_done);
        assert(r == 0);
        (void)r;
    }
}

void work_submit(struct clip_engine *engine, struct work *work, enum work_lane lane, work_fn run,
                 work_cb done)
{
    work->engine = engine;
    work->lane = lane;
    work->run = run;
    work->done = done;
    queue_init(&work->node);
    queue_push(&engine->pool.waiting[lane], &work->node);
    pump(engine);
}

static void answer_cancelled(struct later *later)
{
    struct clip_engine *engine = container_of(later, struct clip_engine, pool.later);
    struct queue now;
    struct queue *node;

    queue_init(&now);
    queue_splice(&now, &engine->pool.cancelled);
    while ((node = queue_pop(&now))) {
        struct work *work = container_of(node, struct work, node);
        work->engine = NULL;
        work->done(work, -ECANCELED);
    }
}

void work_cancel(struct work *work)
{
    struct clip_engine *engine = work->engine;

    if (!engine)
        return;
    if (queue_empty(&work->node)) {
        uv_cancel((uv_req_t *)&work->req); /* refused by uv when it already runs: then it ends */
        return;
    }
    queue_remove(&work->node);
    queue_push(&engine->pool.cancelled, &work->node);
    later_call(engine, &engine->pool.later, answer_cancelled);
}
