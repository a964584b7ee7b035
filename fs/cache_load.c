/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a load is: a pool job reads the span into a slab and checks it against the
 * index; it arrives. The sums of its blocks are kept, for parts of it that are read again.
 * Possible failure modes are: no memory; a disk that fails or bytes that are not right: the span is
 * not stored any more, and who waits stands in line for a fetch.
 */
#include "engine/log.h"
#include "fs/cache_private.h"

#include <inttypes.h>
#include <stdlib.h>

struct load {
    struct work work;
    struct cache_span *span;
    struct image_span facts; /* for the check: numbers alone, no pointer of it is used */
    struct slab *slab;
    uint64_t *sums; /* NULL: no memory for them */
    int status;
};

static void load_run(struct work *work)
{
    struct load *load = container_of(work, struct load, work);
    struct cache_span *span = load->span;
    size_t len = load->slab->cap;

    load->status = disk_file_read(&span->layer->file, span_place(span), load->slab->bytes, len);
    if (load->status == 0 && !span_matches(&load->facts, load->slab->bytes))
        load->status = CLIP_EDIGEST;
    if (load->status < 0)
        return;
    load->sums = malloc(disk_n_sums(len) * sizeof(load->sums[0]));
    if (load->sums)
        disk_sums(load->slab->bytes, len, load->sums);
}

static void say_corrupt(struct cache_layer *layer, const struct load *load)
{
    char digest[DIGEST_TEXT_LEN + 1];

    cache_count(layer->cache->hub, CACHE_CORRUPT, 1);
    if (layer->said_corrupt)
        return;
    layer->said_corrupt = true;
    log_warn(layer->cache->hub->engine,
             "cache %s: span %" PRIu64 " of layer %s is not what was stored; it is fetched again",
             layer->cache->path, span_index(load->span), digest_format(&layer->key.digest, digest));
}

static void load_failed(struct load *load)
{
    struct cache_span *span = load->span;

    say_corrupt(span->layer, load);
    span_unstored(span);
    cache_free_disk(span->layer->cache, disk_size(span_len(span)));
    span_again(span->pending);
}

static void load_done(struct work *work, int status)
{
    struct load *load = container_of(work, struct load, work);
    struct cache_span *span = load->span;
    struct cache_layer *layer = span->layer;
    struct cache_hub *hub = layer->cache->hub;
    struct slab *slab = load->slab;

    (void)status; /* nobody cancels it */
    if (load->status == 0) {
        slab->len = slab->cap;
        span_verified(span, load->sums);
        cache_count(hub, CACHE_LOADED, 1);
        span_arrived(span, slab);
    } else {
        load_failed(load);
    }
    flights_end(hub, slab->cap);
    slab_unlock(slab);
    free(load);
    cache_layer_job_end(layer);
}

void load_start(struct pending *pending)
{
    static const struct clip_error no_memory = {-ENOMEM, "out of memory for a span"};
    struct cache_span *span = pending->span;
    struct cache_client *client = pending->client;
    struct cache_hub *hub = span->layer->cache->hub;
    struct load *load = calloc(1, sizeof(*load));

    if (load)
        load->slab = slab_new(hub->engine, span_len(span));
    if (!load || !load->slab) {
        free(load);
        queue_remove(&pending->node);
        span_failed(span, client, -ENOMEM, &no_memory);
        return;
    }
    load->span = span;
    settle_leave(span);
    image_span(client->image, cache_layer_number(client, span->layer), span_index(span),
               &load->facts);
    queue_remove(&pending->node);
    pending->flies = true;
    flights_begin(hub, load->slab->cap);
    cache_layer_job_begin(span->layer);
    work_submit(hub->engine, &load->work, WORK_READ, load_run, load_done);
}
