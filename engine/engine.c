/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of an engine is:
 * - clip_engine_open() takes the host's loop and puts five handles on it, none of which keeps the
 *   loop alive: `idle` runs the laters, `prepare` and `check` measure how long a turn takes,
 *   one is the pool's (work.c) and one awake's.
 * - passengers add themselves as children and remove themselves when they are gone.
 * Possible failure modes are: no memory, at open only.
 * On close: the children of a level are asked to close; when the last has removed itself the next
 * level is asked; when all are gone and no job is in flight the handles are closed, and the last
 * close callback frees the engine and tells the host.
 */
#include "engine/engine.h"

#include "engine/engine_private.h"
#include "engine/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_POOL_THREADS 4u /* what libuv has unless UV_THREADPOOL_SIZE says otherwise */
#define MAX_POOL_THREADS     1024u

uint64_t engine_now_ns(void)
{
    return uv_hrtime();
}

uv_loop_t *engine_loop(const struct clip_engine *engine)
{
    return engine->loop;
}

static void run_laters(uv_idle_t *idle)
{
    struct clip_engine *engine = idle->data;
    struct queue now;
    struct queue *node;

    /* only those of this moment: a later that asks again waits for the next turn */
    queue_init(&now);
    queue_splice(&now, &engine->laters);
    while ((node = queue_pop(&now))) {
        struct later *later = container_of(node, struct later, node);
        later->cb(later);
    }
    if (queue_empty(&engine->laters))
        uv_idle_stop(&engine->idle);
    engine_maybe_closed(engine);
}

void later_init(struct later *later)
{
    queue_init(&later->node);
}

void later_call(struct clip_engine *engine, struct later *later, later_cb cb)
{
    later->cb = cb;
    if (!queue_empty(&later->node))
        return;
    queue_push(&engine->laters, &later->node);
    uv_idle_start(&engine->idle, run_laters);
}

void later_cancel(struct later *later)
{
    queue_remove(&later->node);
}

/* A turn is what the loop does between two waits: prepare comes just before the wait, check just
 * after what the wait brought has been handled; the wait itself is not counted. */
static void on_turn_end(uv_prepare_t *prepare)
{
    struct clip_engine *engine = prepare->data;

    engine->turn_began_ns = uv_hrtime();
    engine->idle_ns = uv_metrics_idle_time(engine->loop);
}

static void on_turn(uv_check_t *check)
{
    struct clip_engine *engine = check->data;
    uint64_t waited = uv_metrics_idle_time(engine->loop) - engine->idle_ns;
    uint64_t passed = uv_hrtime() - engine->turn_began_ns;

    metric_observe(&engine->turns, passed > waited ? passed - waited : 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct clip_engine *engine = handle->data;
    clip_close_cb on_close = engine->on_close;
    void *data = engine->close_data;

    if (--engine->n_handles > 0)
        return;
    work_pool_fini(&engine->pool);
    free(engine);
    if (on_close)
        on_close(data);
}

/* Asks the lowest level that still has children; true if there was one to wait for. */
static bool close_children(struct clip_engine *engine)
{
    for (int level = 0; level < ENGINE_LEVELS; level++) {
        if (queue_empty(&engine->children[level]))
            continue;
        /* a child may remove itself, or others, while it is asked: look from the start again */
        for (;;) {
            struct engine_child *child = NULL;
            queue_for_each(node, &engine->children[level])
            {
                child = container_of(node, struct engine_child, node);
                if (child->close)
                    break;
                child = NULL;
            }
            if (!child)
                break;
            engine_close_fn close = child->close;
            child->close = NULL;
            close(child);
        }
        if (!queue_empty(&engine->children[level]))
            return true;
    }
    return false;
}

void engine_maybe_closed(struct clip_engine *engine)
{
    if (!engine->closing || uv_is_closing((uv_handle_t *)&engine->idle))
        return;
    if (close_children(engine))
        return;
    if (!work_pool_idle(&engine->pool) || !queue_empty(&engine->laters))
        return;
    metric_remove(&engine->turns);
    metric_remove(&engine->slab_bytes);
    metric_remove(&engine->awake.held);
    assert(engine->slab_bytes.value == 0);
    areas_fini(&engine->areas);
    uv_close((uv_handle_t *)&engine->idle, on_handle_closed);
    uv_close((uv_handle_t *)&engine->check, on_handle_closed);
    uv_close((uv_handle_t *)&engine->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&engine->pool.wake, on_handle_closed);
    awake_fini(&engine->awake);
    uv_close((uv_handle_t *)&engine->awake.timer, on_handle_closed);
}

int engine_add(struct clip_engine *engine, struct engine_child *child, enum engine_level level,
               const void *kind, engine_close_fn close)
{
    if (engine->closing)
        return -ESHUTDOWN;
    child->level = level;
    child->kind = kind;
    child->close = close;
    queue_push(&engine->children[level], &child->node);
    return 0;
}

void engine_remove(struct clip_engine *engine, struct engine_child *child)
{
    queue_remove(&child->node);
    child->close = NULL;
    /* the next level from the loop, because the caller is still on its way out */
    if (engine->closing)
        uv_idle_start(&engine->idle, run_laters);
}

struct engine_child *engine_find(const struct clip_engine *engine, const void *kind)
{
    for (int level = 0; level < ENGINE_LEVELS; level++) {
        queue_for_each(node, &engine->children[level])
        {
            struct engine_child *child = container_of(node, struct engine_child, node);
            if (child->kind == kind)
                return child;
        }
    }
    return NULL;
}

static unsigned pool_threads(const struct clip_engine_options *options)
{
    const char *text = getenv("UV_THREADPOOL_SIZE");
    unsigned long n = options->pool_threads;

    if (n == 0 && text)
        n = strtoul(text, NULL, 10);
    if (n == 0)
        n = DEFAULT_POOL_THREADS;
    return n < MAX_POOL_THREADS ? (unsigned)n : MAX_POOL_THREADS;
}

static void open_handles(struct clip_engine *engine)
{
    uv_idle_init(engine->loop, &engine->idle);
    uv_check_init(engine->loop, &engine->check);
    uv_prepare_init(engine->loop, &engine->prepare);
    engine->idle.data = engine->check.data = engine->prepare.data = engine;
    engine->n_handles = 5; /* with the pool's and awake's */
    uv_loop_configure(engine->loop, UV_METRICS_IDLE_TIME);
    engine->turn_began_ns = uv_hrtime();
    engine->idle_ns = uv_metrics_idle_time(engine->loop);
    uv_check_start(&engine->check, on_turn);
    uv_prepare_start(&engine->prepare, on_turn_end);
    uv_unref((uv_handle_t *)&engine->check);
    uv_unref((uv_handle_t *)&engine->prepare);
}

void engine_busy(struct clip_engine *engine)
{
    awake_busy(&engine->awake);
}

static void open_awake(struct clip_engine *engine)
{
    unsigned n_cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    bool wanted = awake_wanted(engine->options.idle_polling, AWAKE_GOVERNOR, n_cpus);
    enum clip_log_level level =
        engine->options.idle_polling == CLIP_IDLE_POLLING_ON ? CLIP_LOG_WARN : CLIP_LOG_INFO;
    int r = awake_init(&engine->awake, engine->loop, wanted ? AWAKE_DEVICE : NULL);

    engine->awake.timer.data = engine;
    if (r < 0)
        log_at(engine, level, "engine: idle CPUs halt, %s: %s", AWAKE_DEVICE, strerror(-r));
}

int clip_engine_open(struct uv_loop_s *loop, const struct clip_engine_options *options,
                     struct clip_engine **out, struct clip_error *err)
{
    struct clip_engine *engine = calloc(1, sizeof(*engine));

    if (!engine)
        return err_set(err, -ENOMEM, "engine: out of memory");
    engine->loop = loop;
    if (options)
        engine->options = *options;
    for (int level = 0; level < ENGINE_LEVELS; level++)
        queue_init(&engine->children[level]);
    queue_init(&engine->laters);
    queue_init(&engine->metrics);
    areas_init(&engine->areas);
    if (work_pool_init(engine, pool_threads(&engine->options)) < 0) {
        free(engine);
        return err_set(err, -ENOMEM, "engine: out of memory");
    }
    open_handles(engine);
    open_awake(engine);
    metric_add(engine, &engine->turns, METRIC_HISTOGRAM, "clip_loop_turn_seconds",
               "How long the loop worked between two waits.", NULL);
    metric_add(engine, &engine->slab_bytes, METRIC_GAUGE, "clip_slab_bytes",
               "Bytes in slabs on their way through the pipe.", NULL);
    metric_add(engine, &engine->awake.held, METRIC_HISTOGRAM, "clip_idle_polling_seconds",
               "How long idle CPUs were kept from halting at a time.", NULL);
    *out = engine;
    return 0;
}

void clip_engine_close(struct clip_engine *engine, clip_close_cb on_close, void *data)
{
    assert(!engine->closing);
    engine->closing = true;
    engine->on_close = on_close;
    engine->close_data = data;
    /* the rest from the loop: on_close must not fire from inside this call */
    uv_idle_start(&engine->idle, run_laters);
}

const char *clip_version(void)
{
    return CLIP_VERSION;
}
