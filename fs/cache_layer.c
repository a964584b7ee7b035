/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a layer is:
 * - a client asks for it by number; it is found by what it is (digest, and how it is cut), or made.
 * - when the directory is open, a pool job opens the layer's file and reads its map; spans that
 *   are in it are adopted, and what the file holds beside them is punched out.
 * - when its last user has gone and no job is left, another job writes the map with the times of
 *   last use, and closes the file.
 * Possible failure modes are: no memory; a file that cannot be opened: one line in the log, and the
 * layer's spans are kept in memory only.
 * On close: a layer that is asked for while its file is being closed is made anew, and waits for
 * the close.
 */
#include "engine/log.h"
#include "engine/xxh3.h"
#include "fs/cache_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- finding it */

/* Each link hashes the one before, where a span begins, and what it holds. */
struct key_link {
    XXH128_hash_t before;
    uint64_t out_off;
    uint8_t decoded[16];
    uint64_t reserved;
};

static void key_add(struct key_link *link, uint64_t out_off, const uint8_t decoded[16])
{
    link->out_off = out_off;
    memcpy(link->decoded, decoded, sizeof(link->decoded));
    link->before = XXH3_128bits(link, sizeof(*link));
}

static void key_end(const struct key_link *link, const struct digest *digest, struct cache_key *out)
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, link->before);
    memcpy(out->spans, canonical.digest, sizeof(out->spans));
    out->digest = *digest;
}

static void key_of(const struct clip_image *image, unsigned number, const struct image_layer *layer,
                   struct cache_key *out)
{
    struct key_link link = {0};
    struct image_span span;

    for (uint64_t i = 0; i < layer->n_spans; i++) {
        image_span(image, number, i, &span);
        key_add(&link, span.out_off, span.decoded);
    }
    key_end(&link, &layer->digest, out);
}

void cache_key_of(const struct writer_layer *layer, struct cache_key *out)
{
    struct key_link link = {0};

    for (size_t i = 0; i < layer->n_spans; i++)
        key_add(&link, layer->spans[i].out_off, layer->spans[i].decoded);
    key_end(&link, &layer->digest, out);
}

static struct cache_layer *layer_find(struct cache *cache, const struct cache_key *key,
                                      bool is_closing)
{
    queue_for_each(node, &cache->layers)
    {
        struct cache_layer *layer = container_of(node, struct cache_layer, node);
        if ((layer->state == LAYER_CLOSING) == is_closing &&
            memcmp(&layer->key, key, sizeof(*key)) == 0)
            return layer;
    }
    return NULL;
}

static struct cache_layer *layer_new(struct cache *cache, const struct clip_image *image,
                                     unsigned number, const struct cache_key *key)
{
    struct image_layer facts;
    struct cache_layer *layer;
    struct image_span at;

    image_layer(image, number, &facts);
    layer = calloc(1, sizeof(*layer) + facts.n_spans * sizeof(layer->spans[0]));
    if (!layer)
        return NULL;
    layer->cache = cache;
    layer->key = *key;
    layer->size = facts.uncompressed_size;
    layer->n_spans = facts.n_spans;
    layer->file.fd = -1;
    queue_init(&layer->chains);
    for (uint64_t i = 0; i < layer->n_spans; i++) {
        struct cache_span *span = &layer->spans[i];
        image_span(image, number, i, &at);
        span->layer = layer;
        span->out_off = at.out_off;
        if (at.flags & CHECKPOINT_CHAINED)
            span[-1].flags = span->flags = SPAN_CHAINED;
        queue_init(&span->in_memory);
        queue_init(&span->on_disk);
        queue_init(&span->settling);
    }
    queue_push(&cache->layers, &layer->node);
    return layer;
}

bool cache_layer_is_open(struct cache *cache, const struct cache_key *key)
{
    return layer_find(cache, key, false) || layer_find(cache, key, true);
}

struct cache_layer *cache_layer_of(struct cache_client *client, unsigned number)
{
    struct cache_layer *layer = client->layers[number];
    struct image_layer facts;
    struct cache_key key;

    if (layer)
        return layer;
    image_layer(client->image, number, &facts);
    key_of(client->image, number, &facts, &key);
    layer = layer_find(client->cache, &key, false);
    if (!layer) {
        layer = layer_new(client->cache, client->image, number, &key);
        if (!layer)
            return NULL;
        cache_layers_open(client->cache);
    }
    layer->n_users++;
    client->layers[number] = layer;
    return layer;
}

unsigned cache_layer_number(const struct cache_client *client, const struct cache_layer *layer)
{
    unsigned number = 0;

    while (client->layers[number] != layer)
        number++;
    return number;
}

/* ---- opening */

/* In the pool: what the file holds between the spans of its map. */
static void punch_the_rest(const struct cache_layer *layer)
{
    const struct disk_file *file = &layer->file;
    uint64_t from = DISK_DATA_OFF;
    uint64_t known = DISK_BLOCK + layer->n_spans * sizeof(layer->stamps[0]);

    for (uint64_t i = 0; i < layer->n_spans; i++)
        if (layer->stamps[i])
            known += disk_size(span_len(&layer->spans[i]));
    if (disk_file_size(file) <= known)
        return;
    for (uint64_t i = 0; i < layer->n_spans; i++) {
        uint64_t place = span_place(&layer->spans[i]);
        if (!layer->stamps[i])
            continue;
        disk_file_punch_range(file, from, place);
        from = place + disk_size(span_len(&layer->spans[i]));
    }
    disk_file_punch_range(file, from, disk_place(layer->n_spans + 1, layer->size));
}

static void open_run(struct work *work)
{
    struct cache_layer *layer = container_of(work, struct cache_layer, work);

    layer->status = disk_file_open(&layer->cache->dir, &layer->key, layer->n_spans, layer->size,
                                   &layer->file, layer->stamps, &layer->err);
    if (layer->status == 0)
        punch_the_rest(layer);
}

static int compare_stamps(const void *a, const void *b)
{
    const struct cache_span *x = *(struct cache_span *const *)a;
    const struct cache_span *y = *(struct cache_span *const *)b;

    return x->used_at < y->used_at ? -1 : x->used_at > y->used_at;
}

/* Oldest first, before all that this process has used. */
static void adopt_spans(struct cache_layer *layer)
{
    struct cache_span **order = malloc((layer->n_spans + 1) * sizeof(order[0]));
    size_t n = 0;

    for (uint64_t i = 0; order && i < layer->n_spans; i++) {
        layer->spans[i].used_at = layer->stamps[i];
        if (layer->stamps[i])
            order[n++] = &layer->spans[i];
    }
    if (n > 0)
        qsort(order, n, sizeof(order[0]), compare_stamps);
    while (n > 0) {
        struct cache_span *span = order[--n];
        cache_use_disk(layer->cache, disk_size(span_len(span)));
        span->flags |= SPAN_STORED;
        queue_push_front(&layer->cache->on_disk, &span->on_disk);
    }
    free(order);
}

static void layer_ready(struct cache_layer *layer)
{
    layer->state = LAYER_READY;
    flights_pump(layer->cache->hub);
}

static void open_done(struct work *work, int status)
{
    struct cache_layer *layer = container_of(work, struct cache_layer, work);
    struct cache *cache = layer->cache;

    if (status < 0)
        layer->status = err_set(&layer->err, status, "the file was not opened");
    if (layer->status < 0) {
        log_warn(cache->hub->engine, "cache %s: %s; the layer is kept in memory only", cache->path,
                 layer->err.message);
    } else {
        evict_adopt(cache, &layer->key);
        adopt_spans(layer);
    }
    free(layer->stamps);
    layer->stamps = NULL;
    layer_ready(layer);
    evict(cache, 0);
    cache_layer_job_end(layer);
}

/* Its file is being closed, removed, or getting its name. */
static bool is_in_use(struct cache_layer *layer)
{
    struct cache *cache = layer->cache;

    queue_for_each(node, &cache->finishing)
    {
        if (memcmp(&container_of(node, struct cache_finishing, node)->key, &layer->key,
                   sizeof(layer->key)) == 0)
            return true;
    }
    return layer_find(cache, &layer->key, true) || evict_is_removing(cache, &layer->key);
}

static void layer_open(struct cache_layer *layer)
{
    struct cache *cache = layer->cache;

    if (cache->dir.fd < 0) {
        layer_ready(layer);
        return;
    }
    layer->stamps = calloc(layer->n_spans + 1, sizeof(layer->stamps[0]));
    if (!layer->stamps) {
        layer_ready(layer);
        return;
    }
    layer->state = LAYER_OPENING;
    cache_layer_job_begin(layer);
    work_submit(cache->hub->engine, &layer->work, WORK_READ, open_run, open_done);
}

void cache_layers_open(struct cache *cache)
{
    if (cache->state != CACHE_OPEN)
        return;
    queue_for_each(node, &cache->layers)
    {
        struct cache_layer *layer = container_of(node, struct cache_layer, node);
        if (layer->state == LAYER_WAITS && !is_in_use(layer))
            layer_open(layer);
    }
}

/* ---- closing */

static void layer_free(struct cache_layer *layer)
{
    struct cache *cache = layer->cache;

    queue_remove(&layer->node);
    for (uint64_t i = 0; i < layer->n_spans; i++)
        free(layer->spans[i].sums);
    free(layer->stamps);
    free(layer);
    cache_layers_open(cache);
}

static void close_run(struct work *work)
{
    struct cache_layer *layer = container_of(work, struct cache_layer, work);

    disk_file_close(&layer->file, layer->stamps);
}

static void close_done(struct work *work, int status)
{
    struct cache_layer *layer = container_of(work, struct cache_layer, work);
    struct cache *cache = layer->cache;

    (void)status; /* nobody cancels it */
    layer_free(layer);
    cache_job_end(cache);
}

/* The spans leave the order of use; together they are one file that is left. */
static void leave_spans(struct cache_layer *layer)
{
    uint64_t size = 0;
    uint32_t used_at = 0;

    for (uint64_t i = 0; i < layer->n_spans; i++) {
        struct cache_span *span = &layer->spans[i];
        if (!(span->flags & SPAN_STORED))
            continue;
        if (layer->stamps)
            layer->stamps[i] = span->used_at;
        if (span->used_at > used_at)
            used_at = span->used_at;
        size += disk_size(span_len(span));
        queue_remove(&span->on_disk);
    }
    cache_free_disk(layer->cache, size);
    evict_leave(layer->cache, &layer->key, size, used_at);
}

static void close_span(struct cache_span *span)
{
    span_forget(span);
    settle_leave(span);
}

static void maybe_closed(struct cache_layer *layer)
{
    struct cache *cache = layer->cache;

    if (layer->n_users > 0 || layer->n_jobs > 0 || layer->state == LAYER_CLOSING)
        return;
    layer->state = LAYER_CLOSING;
    for (uint64_t i = 0; i < layer->n_spans; i++)
        close_span(&layer->spans[i]);
    if (layer->file.fd < 0) {
        layer_free(layer);
        return;
    }
    /* without memory for the map the file keeps the one it has, from when spans came and went */
    layer->stamps = calloc(layer->n_spans + 1, sizeof(layer->stamps[0]));
    leave_spans(layer);
    cache_job_begin(cache);
    work_submit(cache->hub->engine, &layer->work, WORK_READ, close_run, close_done);
}

void cache_layer_unuse(struct cache_layer *layer)
{
    layer->n_users--;
    maybe_closed(layer);
}

void cache_layer_job_begin(struct cache_layer *layer)
{
    layer->n_jobs++;
    cache_job_begin(layer->cache);
}

void cache_layer_job_end(struct cache_layer *layer)
{
    struct cache *cache = layer->cache;

    layer->n_jobs--;
    maybe_closed(layer);
    cache_job_end(cache);
}
