/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index run, which may fill the span cache on its way: clip_index_start().
 *
 * The happy path of a fill is:
 * - the build waits until the cache's directory is open.
 * - what is decoded of a layer is written into a file with a passing name, where its spans belong.
 * - when the layer has passed all checks, the map is put in front and the file gets its name: from
 *   then on it is one that an earlier process might have left.
 * Possible failure modes are: a disk that is full or fails, or a layer that takes more than half of
 * the budget: that layer is not kept, and the index is made all the same. A layer that a reader has
 * open is not kept either: it has a file already.
 * On cancel: the layers that are not whole are removed before the build ends.
 */
#include "engine/log.h"
#include "fs/cache_private.h"
#include "index/build.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fill {
    struct clip_engine *engine;
    struct cache *cache;
    struct cache_opening opening;
    struct build_sink sink;
    struct clip_index *index;
    unsigned n_jobs;
    clip_index_cb done;
    void *data;
};

struct fill_layer {
    struct layer_sink sink;
    struct fill *fill;
    unsigned number;
    struct disk_file file;
    char name[DISK_PARTIAL_LEN];
    int status; /* the first failure: it is not kept */
    bool restarts;

    /* where the next byte belongs */
    uint64_t index, out_off, span_done;
    uint64_t size;    /* on disk, of the spans before */
    uint64_t counted; /* as part of the cache's */

    struct work work; /* the last one */
    struct cache_finishing finishing;
    uint32_t *stamps;
};

static uint64_t size_of(const struct fill_layer *layer)
{
    return layer->size + disk_size(layer->span_done);
}

/* ---- in the pool, while the layer passes */

static int begin_file(struct fill_layer *layer)
{
    layer->restarts = false;
    layer->index = UINT64_MAX; /* the first cut begins span 0 */
    layer->out_off = layer->span_done = layer->size = 0;
    if (layer->file.fd < 0)
        return disk_partial_open(&layer->fill->cache->dir, layer->number, &layer->file,
                                 layer->name);
    return disk_partial_clear(&layer->file);
}

static void begin_span(struct fill_layer *layer)
{
    layer->out_off += layer->span_done;
    layer->size += disk_size(layer->span_done);
    layer->span_done = 0;
    layer->index++;
}

static int write_chunk(struct fill_layer *layer, const struct layer_chunk *chunk)
{
    size_t off = 0;
    int r = 0;

    for (unsigned i = 0; r == 0 && i <= chunk->n_cuts; i++) {
        size_t to = i < chunk->n_cuts ? chunk->cuts[i] : chunk->len;
        if (to > off)
            r = disk_partial_write(&layer->file,
                                   disk_place(layer->index, layer->out_off) + layer->span_done,
                                   chunk->bytes + off, to - off);
        layer->span_done += to - off;
        off = to;
        if (i < chunk->n_cuts)
            begin_span(layer);
    }
    return r;
}

static void take(struct layer_sink *sink, const struct layer_chunk *chunk)
{
    struct fill_layer *layer = container_of(sink, struct fill_layer, sink);

    if (layer->status == 0 && (layer->file.fd < 0 || layer->restarts))
        layer->status = begin_file(layer);
    if (layer->status == 0)
        layer->status = write_chunk(layer, chunk);
}

/* ---- and on the loop */

static void count(struct fill_layer *layer)
{
    struct cache *cache = layer->fill->cache;
    uint64_t size = size_of(layer);

    if (size > layer->counted)
        cache_use_disk(cache, size - layer->counted);
    else
        cache_free_disk(cache, layer->counted - size);
    layer->counted = size;
}

static void taken(struct layer_sink *sink)
{
    struct fill_layer *layer = container_of(sink, struct fill_layer, sink);
    struct cache *cache = layer->fill->cache;

    if (layer->status < 0)
        return;
    count(layer);
    evict(cache, 0);
    if (layer->counted > cache->size / 2 || (cache->used > cache->size && !cache->evicting))
        layer->status = -EFBIG;
}

static void anew(struct layer_sink *sink)
{
    container_of(sink, struct fill_layer, sink)->restarts = true;
}

/* ---- a layer's end */

static void layer_gone(struct fill_layer *layer)
{
    struct fill *fill = layer->fill;
    struct cache *cache = fill->cache;

    queue_remove(&layer->finishing.node);
    free(layer->stamps);
    free(layer);
    cache_layers_open(cache);
    stores_go_on(cache);
    evict(cache, 0);
    cache_job_end(cache);
    fill->n_jobs--;
    build_go_on(fill->index);
}

static void discard_run(struct work *work)
{
    struct fill_layer *layer = container_of(work, struct fill_layer, work);

    disk_partial_discard(&layer->fill->cache->dir, &layer->file, layer->name);
}

static void discard_done(struct work *work, int status)
{
    struct fill_layer *layer = container_of(work, struct fill_layer, work);

    (void)status; /* nobody cancels it */
    cache_free_disk(layer->fill->cache, layer->counted);
    layer_gone(layer);
}

static void finish_run(struct work *work)
{
    struct fill_layer *layer = container_of(work, struct fill_layer, work);

    layer->status = disk_partial_finish(&layer->fill->cache->dir, &layer->finishing.key,
                                        &layer->file, layer->stamps, layer->name);
}

static void say_not_kept(const struct fill_layer *layer)
{
    const char *why =
        layer->status == -EFBIG ? "it takes too much of the budget" : strerror(-layer->status);

    log_warn(layer->fill->engine, "cache %s: layer %u is not kept: %s", layer->fill->cache->path,
             layer->number + 1, why);
}

static void finish_done(struct work *work, int status)
{
    struct fill_layer *layer = container_of(work, struct fill_layer, work);
    struct cache *cache = layer->fill->cache;

    (void)status; /* nobody cancels it */
    cache_free_disk(cache, layer->counted);
    if (layer->status < 0) {
        say_not_kept(layer);
    } else {
        evict_adopt(cache, &layer->finishing.key);
        evict_leave(cache, &layer->finishing.key, layer->counted, (uint32_t)time(NULL));
        cache_count(cache->hub, CACHE_STORED_BYTES, layer->counted);
    }
    layer_gone(layer);
}

/* What the index says of the layer is what was written, span by span. */
static int prepare_map(struct fill_layer *layer, const struct writer_layer *result)
{
    uint32_t now = (uint32_t)time(NULL);

    if (layer->status < 0)
        return layer->status;
    if (layer->file.fd < 0 || layer->index + 1 != result->n_spans ||
        layer->out_off + layer->span_done != result->uncompressed_size)
        return -ENODATA;
    layer->stamps = malloc((result->n_spans + 1) * sizeof(layer->stamps[0]));
    if (!layer->stamps)
        return -ENOMEM;
    for (size_t i = 0; i < result->n_spans; i++)
        layer->stamps[i] = now;
    layer->file.n_spans = result->n_spans;
    cache_key_of(result, &layer->finishing.key);
    return 0;
}

static void end_layer(void *owner, struct layer_sink *sink, const struct writer_layer *result)
{
    struct fill *fill = owner;
    struct fill_layer *layer = container_of(sink, struct fill_layer, sink);
    struct cache *cache = fill->cache;
    bool is_kept = false;

    if (result && result->n_spans > 0) {
        layer->status = prepare_map(layer, result);
        if (layer->status < 0)
            say_not_kept(layer);
        else
            is_kept = !cache_layer_is_open(cache, &layer->finishing.key);
    }
    fill->n_jobs++;
    cache_job_begin(cache);
    if (is_kept)
        queue_push(&cache->finishing, &layer->finishing.node);
    work_submit(fill->engine, &layer->work, WORK_BULK, is_kept ? finish_run : discard_run,
                is_kept ? finish_done : discard_done);
}

static struct layer_sink *begin_layer(void *owner, unsigned number)
{
    struct fill *fill = owner;
    struct fill_layer *layer;

    if (fill->cache->dir.fd < 0)
        return NULL;
    layer = calloc(1, sizeof(*layer));
    if (!layer)
        return NULL;
    layer->sink = (struct layer_sink){take, taken, anew};
    layer->fill = fill;
    layer->number = number;
    layer->file.fd = -1;
    queue_init(&layer->finishing.node);
    return &layer->sink;
}

/* ---- the run */

static bool is_busy(void *owner)
{
    struct fill *fill = owner;

    return fill->cache->state == CACHE_OPENING || fill->n_jobs > 0;
}

static void on_cache_open(struct cache_opening *opening)
{
    build_go_on(container_of(opening, struct fill, opening)->index);
}

static void on_built(void *data, int status, const struct clip_error *err,
                     const struct clip_index_result *result)
{
    struct fill *fill = data;
    clip_index_cb done = fill->done;
    void *done_data = fill->data;

    free(fill);
    done(done_data, status, err, result);
}

static int start_filling(struct clip_engine *engine, const struct clip_index_options *options,
                         clip_index_cb done, void *data, struct clip_index **out,
                         struct clip_error *err)
{
    struct fill *fill = calloc(1, sizeof(*fill));
    int r;

    if (!fill)
        return err_set(err, -ENOMEM, "out of memory");
    fill->engine = engine;
    fill->done = done;
    fill->data = data;
    fill->sink = (struct build_sink){fill, is_busy, begin_layer, end_layer};
    fill->cache = cache_of_dir(engine, options->cache_dir, 0, err);
    if (!fill->cache) {
        free(fill);
        return -ENOMEM;
    }
    r = build_start(engine, options, &fill->sink, on_built, fill, &fill->index, err);
    if (r < 0) {
        free(fill);
        return r;
    }
    cache_when_open(fill->cache, &fill->opening, on_cache_open);
    *out = fill->index;
    return 0;
}

int clip_index_start(struct clip_engine *engine, const struct clip_index_options *options,
                     clip_index_cb done, void *data, struct clip_index **out,
                     struct clip_error *err)
{
    if (!options->fill_cache)
        return build_start(engine, options, NULL, done, data, out, err);
    if (!options->cache_dir)
        return err_set(err, -EINVAL, "to fill a cache, its directory is needed");
    return start_filling(engine, options, done, data, out, err);
}
