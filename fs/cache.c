/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a cache is:
 * - cache_client_open() finds the engine's hub and in it the cache of its directory, or makes them;
 *   the directory is opened, locked and looked through by a pool job.
 * - layers wait for that (cache_layer.c), and spans for layers.
 * Possible failure modes are: no memory; a directory that cannot be used: one line in the log, and
 * the cache keeps spans in memory only.
 * On close of a client: what it stood in line for is handed to others or dropped, its flights are
 * cancelled and waited for. The caches stay until the engine closes, so that a directory has one
 * owner as long as that lives; then jobs are waited for, and a last one closes the directory.
 */
#include "fs/cache.h"

#include "engine/log.h"
#include "fs/cache_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define SIZE_DEFAULT_MAX (20ull << 30) /* or half of what is free, if that is less */
#define PRIVATE_PART     4             /* a private directory may have size / this */

static const char hub_kind;

static const struct {
    enum metric_kind kind;
    const char *name, *help;
} metrics[CACHE_METRICS] = {
    [CACHE_HITS] = {METRIC_COUNTER, "clip_cache_hits_total",
                    "Spans that were asked for and there."},
    [CACHE_MISSES] = {METRIC_COUNTER, "clip_cache_misses_total",
                      "Spans that were asked for and had to be waited for."},
    [CACHE_FETCHED] = {METRIC_COUNTER, "clip_cache_spans_fetched_total",
                       "Spans fetched, verified and decoded."},
    [CACHE_FETCHED_BYTES] = {METRIC_COUNTER, "clip_cache_fetched_bytes_total",
                             "Compressed bytes fetched for spans."},
    [CACHE_REQUESTS] = {METRIC_COUNTER, "clip_cache_range_requests_total",
                        "Range requests made for spans."},
    [CACHE_FAILED] = {METRIC_COUNTER, "clip_cache_spans_failed_total",
                      "Spans that could not be fetched, after all retries."},
    [CACHE_AHEAD] = {METRIC_COUNTER, "clip_cache_spans_ahead_total",
                     "Spans fetched or loaded before anybody asked for them."},
    [CACHE_LOADED] = {METRIC_COUNTER, "clip_cache_spans_loaded_total",
                      "Spans read from disk and verified."},
    [CACHE_CORRUPT] = {METRIC_COUNTER, "clip_cache_spans_corrupt_total",
                       "Spans on disk that were not right and were fetched again."},
    [CACHE_STORED_BYTES] = {METRIC_COUNTER, "clip_cache_stored_bytes_total",
                            "Decoded bytes written to disk."},
    [CACHE_STORES_FAILED] = {METRIC_COUNTER, "clip_cache_stores_failed_total",
                             "Spans that could not be written to disk."},
    [CACHE_EVICTIONS] = {METRIC_COUNTER, "clip_cache_evictions_total",
                         "Spans, and files left by earlier processes, thrown out for room."},
    [CACHE_EVICTED_BYTES] = {METRIC_COUNTER, "clip_cache_evicted_bytes_total",
                             "Bytes on disk freed for room."},
    [CACHE_SIZE] = {METRIC_GAUGE, "clip_cache_size_bytes", "Bytes on disk."},
    [CACHE_MEMORY] = {METRIC_GAUGE, "clip_cache_memory_bytes", "Decoded bytes kept in memory."},
    [CACHE_INFLIGHT] = {METRIC_GAUGE, "clip_cache_inflight", "Fetches and loads on their way."},
    [CACHE_FETCH_TIME] = {METRIC_HISTOGRAM, "clip_cache_fetch_seconds",
                          "From a Range request's start to its last span decoded."},
};

/* ---- the hub */

static void hub_maybe_closed(struct cache_hub *hub)
{
    if (!hub->closing || !queue_empty(&hub->caches))
        return;
    later_cancel(&hub->pump);
    for (int i = 0; i < CACHE_METRICS; i++)
        metric_remove(&hub->metrics[i]);
    engine_remove(hub->engine, &hub->child);
    free(hub);
}

static void cache_maybe_closed(struct cache *cache);

/* All users are gone when the engine asks. */
static void on_engine_close(struct engine_child *child)
{
    struct cache_hub *hub = container_of(child, struct cache_hub, child);
    struct queue *next;

    hub->closing = true;
    if (queue_empty(&hub->caches)) {
        hub_maybe_closed(hub);
        return;
    }
    /* the last cache that goes takes the hub with it */
    for (struct queue *node = hub->caches.next, *end = hub->caches.prev;; node = next) {
        bool is_last = node == end;
        next = node->next;
        cache_maybe_closed(container_of(node, struct cache, node));
        if (is_last)
            return;
    }
}

static struct cache_hub *hub_new(struct clip_engine *engine, struct clip_error *err)
{
    struct cache_hub *hub = calloc(1, sizeof(*hub));

    if (!hub) {
        err_set(err, -ENOMEM, "out of memory for the cache");
        return NULL;
    }
    hub->engine = engine;
    queue_init(&hub->caches);
    queue_init(&hub->clients);
    queue_init(&hub->waiting);
    queue_init(&hub->memory);
    hub->memory_max = CACHE_MEMORY_MAX;
    hub->settle_batch = SETTLE_BATCH;
    hub->settle_max = SETTLE_MAX;
    queue_init(&hub->held_chains);
    queue_init(&hub->resting_chains);
    later_init(&hub->pump);
    if (engine_add(engine, &hub->child, ENGINE_CACHE, &hub_kind, on_engine_close) < 0) {
        err_set(err, -ESHUTDOWN, "the engine is closing");
        free(hub);
        return NULL;
    }
    for (int i = 0; i < CACHE_METRICS; i++)
        metric_add(engine, &hub->metrics[i], metrics[i].kind, metrics[i].name, metrics[i].help,
                   NULL);
    return hub;
}

static struct cache_hub *hub_get(struct clip_engine *engine, struct clip_error *err)
{
    struct engine_child *child = engine_find(engine, &hub_kind);

    return child ? container_of(child, struct cache_hub, child) : hub_new(engine, err);
}

/* ---- opening a cache */

static uint64_t choose_size(const struct disk_dir *dir, uint64_t used)
{
    struct statvfs st;
    uint64_t half;

    if (fstatvfs(dir->fd, &st) < 0)
        return SIZE_DEFAULT_MAX;
    half = ((uint64_t)st.f_bavail * st.f_frsize + used) / 2;
    return half < SIZE_DEFAULT_MAX ? half : SIZE_DEFAULT_MAX;
}

static void open_run(struct work *work)
{
    struct cache *cache = container_of(work, struct cache, work);

    cache->status = disk_dir_open(cache->path, &cache->dir, &cache->err);
    if (cache->status < 0)
        return;
    cache->status = disk_dir_scan(&cache->dir, &cache->left, &cache->n_left);
    if (cache->status < 0) {
        err_sys(&cache->err, cache->status, "%s cannot be looked through", cache->path);
        disk_dir_close(&cache->dir);
        return;
    }
    for (size_t i = 0; i < cache->n_left; i++)
        cache->used += cache->left[i].size;
    if (cache->size == 0)
        cache->size = choose_size(&cache->dir, cache->used);
    if (cache->dir.name[0])
        cache->size /= PRIVATE_PART;
}

static void say_how_it_is(struct cache *cache)
{
    struct clip_engine *engine = cache->hub->engine;

    if (cache->status < 0)
        log_warn(engine, "cache: %s; spans are kept in memory only", cache->err.message);
    else if (cache->dir.name[0])
        log_warn(engine, "cache: another process uses %s; a private one is made in it, for now",
                 cache->path);
    else
        log_debug(engine, "cache %s: %" PRIu64 " of %" PRIu64 " bytes used", cache->path,
                  cache->used, cache->size);
}

static void tell_opened(struct cache *cache)
{
    struct queue *node;

    while ((node = queue_pop(&cache->openings))) {
        struct cache_opening *opening = container_of(node, struct cache_opening, node);
        opening->done(opening);
    }
}

static void open_done(struct work *work, int status)
{
    struct cache *cache = container_of(work, struct cache, work);

    if (status < 0)
        cache->status = err_set(&cache->err, status, "the directory was not opened");
    cache->state = CACHE_OPEN;
    cache->hub->metrics[CACHE_SIZE].value += cache->used;
    say_how_it_is(cache);
    cache_layers_open(cache);
    tell_opened(cache);
    evict(cache, 0);
    cache_job_end(cache);
}

static struct cache *cache_new(struct cache_hub *hub, const char *path, uint64_t size)
{
    struct cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return NULL;
    if (path) {
        cache->path = strdup(path);
        if (!cache->path) {
            free(cache);
            return NULL;
        }
    }
    cache->hub = hub;
    cache->size = size;
    cache->dir.fd = -1;
    queue_init(&cache->layers);
    queue_init(&cache->on_disk);
    queue_init(&cache->stores);
    queue_init(&cache->young);
    queue_init(&cache->settled);
    queue_init(&cache->openings);
    queue_init(&cache->finishing);
    queue_push(&hub->caches, &cache->node);
    cache->state = path ? CACHE_OPENING : CACHE_OPEN;
    if (path) {
        cache_job_begin(cache);
        work_submit(hub->engine, &cache->work, WORK_READ, open_run, open_done);
    }
    return cache;
}

static struct cache *cache_get(struct cache_hub *hub, const char *path, uint64_t size)
{
    queue_for_each(node, &hub->caches)
    {
        struct cache *cache = container_of(node, struct cache, node);
        if (path && cache->path ? strcmp(path, cache->path) == 0 : path == cache->path)
            return cache;
    }
    return cache_new(hub, path, size);
}

struct cache *cache_of_dir(struct clip_engine *engine, const char *dir, uint64_t size,
                           struct clip_error *err)
{
    struct cache_hub *hub = hub_get(engine, err);
    struct cache *cache = hub ? cache_get(hub, dir, size) : NULL;

    if (hub && !cache)
        err_set(err, -ENOMEM, "out of memory for the cache");
    return cache;
}

void cache_when_open(struct cache *cache, struct cache_opening *opening, cache_opening_cb done)
{
    opening->done = done;
    if (cache->state == CACHE_OPENING)
        queue_push(&cache->openings, &opening->node);
}

/* ---- and closing it */

static void close_run(struct work *work)
{
    disk_dir_close(&container_of(work, struct cache, work)->dir);
}

static void close_done(struct work *work, int status)
{
    struct cache *cache = container_of(work, struct cache, work);
    struct cache_hub *hub = cache->hub;

    (void)status; /* nobody cancels it */
    cache_free_disk(cache, cache->used);
    queue_remove(&cache->node);
    free(cache->left);
    free(cache->path);
    free(cache);
    hub_maybe_closed(hub);
}

static void cache_maybe_closed(struct cache *cache)
{
    if (!cache->hub->closing || cache->n_jobs > 0 || cache->state != CACHE_OPEN)
        return;
    assert(queue_empty(&cache->layers));
    cache->state = CACHE_CLOSING;
    work_submit(cache->hub->engine, &cache->work, WORK_READ, close_run, close_done);
}

void cache_job_begin(struct cache *cache)
{
    cache->n_jobs++;
}

void cache_job_end(struct cache *cache)
{
    cache->n_jobs--;
    cache_maybe_closed(cache);
}

void cache_use_disk(struct cache *cache, uint64_t len)
{
    cache->used += len;
    cache->hub->metrics[CACHE_SIZE].value += len;
}

void cache_free_disk(struct cache *cache, uint64_t len)
{
    assert(len <= cache->used);
    cache->used -= len;
    cache->hub->metrics[CACHE_SIZE].value -= len;
}

/* ---- clients */

int cache_client_open(struct cache_client *client, const char *dir, uint64_t size,
                      struct clip_error *err)
{
    unsigned n = image_n_layers(client->image);

    client->cache = cache_of_dir(client->engine, dir, size, err);
    if (!client->cache)
        return err ? err->code : -ENOMEM;
    client->layers = calloc(n ? n : 1, sizeof(client->layers[0]));
    if (!client->layers)
        return err_set(err, -ENOMEM, "out of memory for %u layers", n);
    queue_init(&client->wanted);
    queue_init(&client->ahead);
    client->n_flights = 0;
    client->waited_len = 0;
    share_init(client);
    queue_init(&client->flights);
    queue_init(&client->chains);
    later_init(&client->later);
    client->profile = NULL;
    queue_init(&client->opening.node);
    client->closing = false;
    queue_push(&client->cache->hub->clients, &client->node);
    return 0;
}

void cache_set_memory(struct cache_client *client, uint64_t len)
{
    client->cache->hub->memory_max = len;
}

void cache_client_drop(struct cache_client *client)
{
    for (unsigned i = 0; i < image_n_layers(client->image); i++)
        if (client->layers[i])
            cache_layer_unuse(client->layers[i]);
    free(client->layers);
    queue_remove(&client->node);
    queue_remove(&client->opening.node);
    share_fini(client);
}

static void client_closed(struct later *later)
{
    struct cache_client *client = container_of(later, struct cache_client, later);

    cache_client_drop(client);
    client->on_close(client->close_data);
}

void cache_client_maybe_closed(struct cache_client *client)
{
    if (client->closing && queue_empty(&client->flights) && queue_empty(&client->chains))
        later_call(client->engine, &client->later, client_closed);
}

void cache_client_close(struct cache_client *client, clip_close_cb on_close, void *data)
{
    struct queue leaving;
    struct queue *node;

    queue_init(&leaving);
    client->closing = true;
    client->on_close = on_close;
    client->close_data = data;
    queue_splice(&leaving, &client->wanted);
    queue_splice(&leaving, &client->ahead);
    while ((node = queue_pop(&leaving)))
        span_again(container_of(node, struct pending, node));
    flights_cancel(client);
    cache_client_maybe_closed(client);
}
