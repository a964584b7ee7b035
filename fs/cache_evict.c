/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of an eviction is:
 * - when less than a twentieth of the budget is free, or a store does not fit, what was unused
 *   longest goes, until a tenth is free: spans of open layers, BATCH_MAX at a time, are punched out
 *   of their files; files that earlier processes left are removed whole.
 * - one pool job at a time does it; then stores that wait for room go on.
 * Possible failure modes are: no memory, or nothing that may go: who asked is told.
 * A span that is being loaded stays. One that is being evicted cannot be stored until it is gone.
 */
#include "fs/cache_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 64u

struct eviction {
    struct work work;
    struct cache *cache;
    uint64_t size;
    unsigned n; /* spans; 0: the file cache->removing */
    struct cache_span *spans[BATCH_MAX];
};

/* ---- files that are left */

void evict_adopt(struct cache *cache, const struct cache_key *key)
{
    char name[DISK_NAME_LEN + 1];

    disk_name(key, name);
    for (size_t i = cache->first_left; i < cache->n_left; i++) {
        if (strcmp(cache->left[i].name, name) != 0)
            continue;
        cache_free_disk(cache, cache->left[i].size);
        memmove(&cache->left[i], &cache->left[i + 1],
                (cache->n_left - i - 1) * sizeof(cache->left[0]));
        cache->n_left--;
        return;
    }
}

void evict_leave(struct cache *cache, const struct cache_key *key, uint64_t size, uint32_t used_at)
{
    struct disk_left *left = realloc(cache->left, (cache->n_left + 1) * sizeof(left[0]));
    size_t at;

    /* without memory it is not evicted by us, and the next process finds it */
    if (!left)
        return;
    cache->left = left;
    for (at = cache->n_left; at > cache->first_left && left[at - 1].used_at > used_at; at--)
        left[at] = left[at - 1];
    cache->n_left++;
    disk_name(key, left[at].name);
    left[at].size = size;
    left[at].used_at = used_at;
    cache_use_disk(cache, size);
}

bool evict_is_removing(const struct cache *cache, const struct cache_key *key)
{
    char name[DISK_NAME_LEN + 1];

    return cache->removing[0] && strcmp(cache->removing, disk_name(key, name)) == 0;
}

/* ---- the job */

static void evict_run(struct work *work)
{
    struct eviction *eviction = container_of(work, struct eviction, work);

    if (eviction->n == 0)
        disk_dir_remove(&eviction->cache->dir, eviction->cache->removing);
    for (unsigned i = 0; i < eviction->n; i++) {
        const struct cache_span *span = eviction->spans[i];
        disk_file_punch(&span->layer->file, span_index(span), span_place(span), span_len(span));
    }
}

static void evict_done(struct work *work, int status)
{
    struct eviction *eviction = container_of(work, struct eviction, work);
    struct cache *cache = eviction->cache;

    (void)status; /* nobody cancels it */
    cache->evicting = false;
    cache->removing[0] = '\0';
    cache_free_disk(cache, eviction->size);
    cache_count(cache->hub, CACHE_EVICTIONS, eviction->n ? eviction->n : 1);
    cache_count(cache->hub, CACHE_EVICTED_BYTES, eviction->size);
    for (unsigned i = 0; i < eviction->n; i++) {
        eviction->spans[i]->flags &= ~SPAN_EVICTING;
        cache_layer_job_end(eviction->spans[i]->layer);
    }
    free(eviction);
    cache_layers_open(cache);
    stores_go_on(cache);
    evict(cache, 0);
    cache_job_end(cache);
}

/* ---- what goes */

static struct cache_span *oldest_span(struct cache *cache)
{
    queue_for_each(node, &cache->on_disk)
    {
        struct cache_span *span = container_of(node, struct cache_span, on_disk);
        if (!span->pending || !span->pending->flies)
            return span;
    }
    return NULL;
}

static bool left_is_older(const struct cache *cache, const struct cache_span *span)
{
    return cache->first_left < cache->n_left &&
           (!span || cache->left[cache->first_left].used_at <= span->used_at);
}

static void take_left(struct cache *cache, struct eviction *eviction)
{
    const struct disk_left *left = &cache->left[cache->first_left++];

    memcpy(cache->removing, left->name, sizeof(cache->removing));
    eviction->size = left->size;
}

static void take_span(struct cache_span *span, struct eviction *eviction)
{
    span_unstored(span);
    span->flags |= SPAN_EVICTING;
    cache_layer_job_begin(span->layer);
    eviction->spans[eviction->n++] = span;
    eviction->size += disk_size(span_len(span));
}

/* At least one thing, if there is any. */
static void choose(struct cache *cache, uint64_t len, struct eviction *eviction)
{
    struct cache_span *span = oldest_span(cache);

    if (left_is_older(cache, span)) {
        take_left(cache, eviction);
        return;
    }
    while (span && eviction->n < BATCH_MAX && eviction->size < len && !left_is_older(cache, span)) {
        take_span(span, eviction);
        span = oldest_span(cache);
    }
}

/* Bytes to free: 0 as long as there is room enough. */
static uint64_t too_much(const struct cache *cache, uint64_t need)
{
    uint64_t high = cache->size - cache->size / 20;
    uint64_t low;

    if (cache->used <= high && cache->used + need <= cache->size)
        return 0;
    if (need < cache->size / 10)
        need = cache->size / 10;
    low = cache->size - need;
    return cache->used > low ? cache->used - low : 0;
}

bool evict(struct cache *cache, uint64_t need)
{
    uint64_t len = too_much(cache, need);
    struct eviction *eviction;

    if (cache->evicting)
        return true;
    if (len == 0 || cache->dir.fd < 0)
        return false;
    eviction = calloc(1, sizeof(*eviction));
    if (!eviction)
        return false;
    eviction->cache = cache;
    choose(cache, len, eviction);
    if (eviction->n == 0 && !cache->removing[0]) {
        free(eviction);
        return false;
    }
    cache->evicting = true;
    cache_job_begin(cache);
    work_submit(cache->hub->engine, &eviction->work, WORK_READ, evict_run, evict_done);
    return true;
}
