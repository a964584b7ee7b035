/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a store is:
 * - a span that was decoded keeps its slab locked while a pool job writes it into the file, once
 *   the budget has room for it; else it waits for evictions (cache_evict.c).
 * - then it takes its place in the order of use, and settles (cache_settle.c).
 * Possible failure modes are: no room can be made, then the span is not stored; the disk is full,
 * read-only or broken: one line in the log, and nothing is stored for STORE_PAUSE_NS. The span is
 * in memory in any case, and who waited for it has it already.
 */
#include "engine/log.h"
#include "fs/cache_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STORE_PAUSE_NS 10000000000ull

struct store {
    struct queue node;
    struct work work;
    struct cache_span *span;
    struct slab *slab;
    uint64_t *sums; /* NULL: no memory for them */
    uint32_t stamp;
    int status;
};

void span_verified(struct cache_span *span, uint64_t *sums)
{
    free(span->sums);
    span->sums = sums;
    if (sums)
        span->flags |= SPAN_VERIFIED;
}

void span_unstored(struct cache_span *span)
{
    span_verified(span, NULL);
    span->flags &= ~(SPAN_STORED | SPAN_VERIFIED);
    queue_remove(&span->on_disk);
    settle_leave(span);
}

static uint64_t store_size(const struct store *store)
{
    return disk_size(store->slab->len);
}

static void store_free(struct store *store)
{
    struct cache_layer *layer = store->span->layer;
    struct cache_hub *hub = layer->cache->hub;

    store->span->flags &= ~SPAN_STORING;
    free(store->sums);
    hub->store_len -= store->slab->len;
    slab_unlock(store->slab);
    free(store);
    flights_pump(hub);
    cache_layer_job_end(layer);
}

static void store_run(struct work *work)
{
    struct store *store = container_of(work, struct store, work);
    struct cache_span *span = store->span;

    store->sums = malloc(disk_n_sums(store->slab->len) * sizeof(store->sums[0]));
    if (store->sums)
        disk_sums(store->slab->bytes, store->slab->len, store->sums);
    store->status = disk_file_store(&span->layer->file, span_index(span), span_place(span),
                                    store->slab->bytes, store->slab->len, store->stamp);
}

static void store_failed(struct cache *cache, int status)
{
    struct clip_engine *engine = cache->hub->engine;

    cache_count(cache->hub, CACHE_STORES_FAILED, 1);
    cache->store_again_ns = engine_now_ns() + STORE_PAUSE_NS;
    if (cache->stores_fail)
        return;
    cache->stores_fail = true;
    log_warn(engine, "cache %s: %s; spans are fetched without being stored until it is better",
             cache->path, strerror(-status));
}

static void store_succeeded(struct store *store)
{
    struct cache *cache = store->span->layer->cache;

    store->span->flags |= SPAN_STORED;
    queue_push(&cache->on_disk, &store->span->on_disk);
    span_verified(store->span, store->sums);
    store->sums = NULL;
    settle_stored(store->span);
    cache_count(cache->hub, CACHE_STORED_BYTES, store->slab->len);
    if (cache->stores_fail)
        log_info(cache->hub->engine, "cache %s: spans are stored again", cache->path);
    cache->stores_fail = false;
}

static void store_done(struct work *work, int status)
{
    struct store *store = container_of(work, struct store, work);
    struct cache *cache = store->span->layer->cache;

    (void)status; /* nobody cancels it */
    if (store->status < 0) {
        cache_free_disk(cache, store_size(store));
        store_failed(cache, store->status);
    } else {
        store_succeeded(store);
    }
    evict(cache, 0);
    store_free(store);
}

/* May it be written, and will it be? */
static bool wants_store(const struct cache_span *span, size_t len)
{
    const struct cache *cache = span->layer->cache;

    return span->layer->file.fd >= 0 &&
           !(span->flags & (SPAN_STORED | SPAN_STORING | SPAN_EVICTING)) &&
           disk_size(len) <= cache->size / 2 && engine_now_ns() >= cache->store_again_ns;
}

static void submit(struct store *store)
{
    struct cache *cache = store->span->layer->cache;

    cache_use_disk(cache, store_size(store));
    work_submit(cache->hub->engine, &store->work, WORK_BULK, store_run, store_done);
}

static bool fits(const struct cache *cache, const struct store *store)
{
    return cache->used + store_size(store) <= cache->size;
}

void store_start(struct cache_span *span, struct slab *slab)
{
    struct cache *cache = span->layer->cache;
    struct store *store = wants_store(span, slab->len) ? calloc(1, sizeof(*store)) : NULL;

    if (!store)
        return;
    store->span = span;
    store->slab = slab_lock(slab);
    store->stamp = (uint32_t)time(NULL);
    span->flags |= SPAN_STORING;
    cache->hub->store_len += slab->len;
    cache_layer_job_begin(span->layer);
    queue_push(&cache->stores, &store->node);
    stores_go_on(cache);
}

static void give_up(struct store *store)
{
    queue_remove(&store->node);
    store_free(store);
}

void stores_go_on(struct cache *cache)
{
    while (!queue_empty(&cache->stores)) {
        struct store *store = container_of(cache->stores.next, struct store, node);
        if (fits(cache, store)) {
            queue_remove(&store->node);
            submit(store);
        } else if (evict(cache, store_size(store))) {
            return;
        } else {
            give_up(store);
        }
    }
}
