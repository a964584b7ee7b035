/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a job is:
 * - work_submit() puts it in line; pump() gives it to a runner as soon as its lane may have one
 *   more thread, the lanes asked in order.
 * - a runner is a request of the uv pool. It runs its job, leaves it for the loop to answer, and
 *   takes the next in line: a job does not wait for a turn of the loop and a thread's waking where
 *   a thread is awake. It ends when nothing is in line for it, or after RUNNER_JOBS, so that who
 *   else uses the uv pool gets a place in it.
 * - what was submitted behind a job is put in front of the line when that has run: the same runner
 *   takes it, if it may take one more.
 * - answer() on the loop calls done of all that have ended.
 * Possible failure modes are: none of its own. uv_queue_work() fails only for a NULL callback.
 * On close: the engine waits until work_pool_idle(); owners cancel what they wait for. A cancelled
 * job that was still in line is answered from a later, never from inside work_cancel().
 */
#include "engine/work.h"

#include "engine/engine_private.h"

#include <assert.h>
#include <stdlib.h>

#define READ_LINGERS_NS 20000000ull /* who reads one thing after the other comes again */
#define RUNNER_JOBS     8u          /* that a runner takes in a row */

struct runner {
    uv_work_t req;
    struct clip_engine *engine;
    struct work *work; /* its first job; NULL: it is free */
};

static void pump(struct clip_engine *engine);

static unsigned max_of(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

static unsigned min_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* ---- in line; under the lock */

/* The end of a job of BULK asks again: there is always one while others wait. */
static unsigned limit_of(const struct work_pool *pool, enum work_lane lane)
{
    bool beside = lane == WORK_BULK && (pool->running[WORK_READ] > 0 ||
                                        engine_now_ns() - pool->read_ns < READ_LINGERS_NS);

    return beside ? pool->limit_beside : pool->limit[lane];
}

/* NULL: none, or none that may run. The job counts as running from here on. */
static struct work *take_next(struct work_pool *pool)
{
    if (pool->n_running >= pool->n_threads)
        return NULL;
    for (int lane = 0; lane < WORK_LANES; lane++) {
        if (queue_empty(&pool->waiting[lane]) || pool->running[lane] >= limit_of(pool, lane))
            continue;
        struct work *work = container_of(queue_pop(&pool->waiting[lane]), struct work, node);
        work->in_line = false;
        pool->running[lane]++;
        pool->n_running++;
        return work;
    }
    return NULL;
}

/* What was waiting for it is next. */
static void release(struct work_pool *pool, struct work *work)
{
    struct work *behind = work->behind;

    work->has_run = true;
    if (!behind)
        return;
    work->behind = behind->before = NULL;
    behind->in_line = true;
    queue_push_front(&pool->waiting[behind->lane], &behind->node);
}

static void leave_for_answer(struct work_pool *pool, struct work *work)
{
    release(pool, work);
    if (work->lane == WORK_READ)
        pool->read_ns = engine_now_ns();
    pool->running[work->lane]--;
    pool->n_running--;
    if (queue_empty(&pool->done))
        uv_async_send(&pool->wake);
    queue_push(&pool->done, &work->node);
}

/* ---- runners */

static void on_run(uv_work_t *req)
{
    struct runner *runner = container_of(req, struct runner, req);
    struct work_pool *pool = &runner->engine->pool;
    struct work *work = runner->work;

    for (unsigned n = 1; work; n++) {
        work->run(work);
        uv_mutex_lock(&pool->lock);
        leave_for_answer(pool, work);
        work = n < RUNNER_JOBS ? take_next(pool) : NULL;
        uv_mutex_unlock(&pool->lock);
    }
}

static void answer(struct clip_engine *engine)
{
    struct work_pool *pool = &engine->pool;
    struct queue now;
    struct queue *node;

    queue_init(&now);
    uv_mutex_lock(&pool->lock);
    queue_splice(&now, &pool->done);
    uv_mutex_unlock(&pool->lock);
    while ((node = queue_pop(&now))) {
        struct work *work = container_of(node, struct work, node);
        work->engine = NULL;
        pool->n_open--;
        work->done(work, 0);
    }
    pump(engine);
    engine_maybe_closed(engine);
}

static void on_wake(uv_async_t *wake)
{
    answer(wake->data);
}

/* Runners keep the loop alive and `wake` does not: nothing may be left when the last has ended. */
static void on_runner_end(uv_work_t *req, int status)
{
    struct runner *runner = container_of(req, struct runner, req);

    assert(status == 0); /* nobody cancels it */
    (void)status;
    runner->work = NULL;
    runner->engine->pool.n_out--;
    answer(runner->engine);
}

static struct runner *free_runner(struct work_pool *pool)
{
    for (unsigned i = 0; i < pool->n_threads; i++)
        if (!pool->runners[i].work)
            return &pool->runners[i];
    return NULL;
}

static void pump(struct clip_engine *engine)
{
    struct work_pool *pool = &engine->pool;

    while (pool->n_out < pool->n_threads) {
        struct runner *runner = free_runner(pool);
        uv_mutex_lock(&pool->lock);
        runner->work = take_next(pool);
        uv_mutex_unlock(&pool->lock);
        if (!runner->work)
            break;
        pool->n_out++;
        int r = uv_queue_work(engine->loop, &runner->req, on_run, on_runner_end);
        assert(r == 0);
        (void)r;
    }
}

/* ---- public */

void work_submit(struct clip_engine *engine, struct work *work, enum work_lane lane, work_fn run,
                 work_cb done)
{
    work_submit_behind(engine, work, lane, run, done, NULL);
}

void work_submit_behind(struct clip_engine *engine, struct work *work, enum work_lane lane,
                        work_fn run, work_cb done, struct work *before)
{
    struct work_pool *pool = &engine->pool;

    work->engine = engine;
    work->lane = lane;
    work->run = run;
    work->done = done;
    work->has_run = false;
    work->behind = work->before = NULL;
    pool->n_open++;
    engine_busy(engine);
    uv_mutex_lock(&pool->lock);
    work->in_line = !before || before->has_run;
    if (work->in_line) {
        queue_push(&pool->waiting[lane], &work->node);
    } else {
        before->behind = work;
        work->before = before;
    }
    uv_mutex_unlock(&pool->lock);
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
        engine->pool.n_open--;
        work->done(work, -ECANCELED);
    }
}

static bool leave_line(struct work_pool *pool, struct work *work)
{
    bool waits;

    uv_mutex_lock(&pool->lock);
    waits = work->in_line || work->before;
    if (work->in_line)
        queue_remove(&work->node);
    if (work->before)
        work->before->behind = NULL;
    work->in_line = false;
    work->before = NULL;
    if (waits)
        release(pool, work);
    uv_mutex_unlock(&pool->lock);
    return waits;
}

void work_cancel(struct work *work)
{
    struct clip_engine *engine = work->engine;

    if (!engine || !leave_line(&engine->pool, work))
        return;
    queue_push(&engine->pool.cancelled, &work->node);
    later_call(engine, &engine->pool.later, answer_cancelled);
    pump(engine);
}

unsigned work_pool_threads(const struct clip_engine *engine)
{
    return engine->pool.n_threads;
}

bool work_pool_idle(const struct work_pool *pool)
{
    return pool->n_open == 0 && pool->n_out == 0;
}

int work_pool_init(struct clip_engine *engine, unsigned n_threads)
{
    struct work_pool *pool = &engine->pool;

    pool->runners = calloc(n_threads, sizeof(pool->runners[0]));
    if (!pool->runners)
        return -ENOMEM;
    if (uv_async_init(engine->loop, &pool->wake, on_wake) < 0) {
        free(pool->runners);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n_threads; i++)
        pool->runners[i].engine = engine;
    pool->wake.data = engine;
    uv_unref((uv_handle_t *)&pool->wake);
    uv_mutex_init(&pool->lock);
    for (int lane = 0; lane < WORK_LANES; lane++)
        queue_init(&pool->waiting[lane]);
    queue_init(&pool->done);
    queue_init(&pool->cancelled);
    later_init(&pool->later);
    pool->n_threads = n_threads;
    pool->limit[WORK_READ] = n_threads;
    pool->limit[WORK_BULK] = max_of(1, n_threads - 1);
    pool->limit[WORK_BLOCK] = n_threads > 2 ? n_threads - 2 : 1;
    pool->limit_beside = min_of(pool->limit[WORK_BULK], max_of(1, uv_available_parallelism() - 1));
    return 0;
}

void work_pool_fini(struct work_pool *pool)
{
    uv_mutex_destroy(&pool->lock);
    free(pool->runners);
}
