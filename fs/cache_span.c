/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a want is:
 * - the first for a span makes it pending and puts it in line; the others join the first.
 * - when the span has arrived, each of them gets a lock of its slab, and memory keeps another.
 * Possible failure modes are: no memory; the fetch failed: who asked through the same source fails
 * with it, the others stand in line again, each on behalf of its own.
 * On cancel: the want leaves; a span that nobody wants any more leaves the line, but goes on if it
 * flies already.
 */
#include "fs/cache_private.h"

#include <stdlib.h>
#include <time.h>

/* ---- memory */

void span_forget(struct cache_span *span)
{
    struct cache_hub *hub = span->layer->cache->hub;

    if (!span->slab)
        return;
    hub->memory_len -= span->slab->cap;
    hub->metrics[CACHE_MEMORY].value = hub->memory_len;
    queue_remove(&span->in_memory);
    slab_unlock(span->slab);
    span->slab = NULL;
}

/* The longest unused go, but for `kept` and for what is being stored: that takes its memory in any
 * case, and until it is on disk it would have to be fetched again. */
static void trim_memory(struct cache_hub *hub, const struct cache_span *kept)
{
    struct queue *next;

    for (struct queue *node = hub->memory.next; node != &hub->memory; node = next) {
        struct cache_span *span = container_of(node, struct cache_span, in_memory);
        next = node->next;
        if (hub->memory_len <= hub->memory_max)
            return;
        if (span != kept && !(span->flags & SPAN_STORING))
            span_forget(span);
    }
}

static void span_remember(struct cache_span *span, struct slab *slab)
{
    struct cache_hub *hub = span->layer->cache->hub;

    if (span->slab)
        return;
    span->slab = slab_lock(slab);
    hub->memory_len += slab->cap;
    queue_push(&hub->memory, &span->in_memory);
    trim_memory(hub, span);
    hub->metrics[CACHE_MEMORY].value = hub->memory_len;
}

void span_used(struct cache_span *span)
{
    struct cache *cache = span->layer->cache;

    span->used_at = (uint32_t)time(NULL);
    if (span->slab) {
        queue_remove(&span->in_memory);
        queue_push(&cache->hub->memory, &span->in_memory);
    }
    if (span->flags & SPAN_STORED) {
        queue_remove(&span->on_disk);
        queue_push(&cache->on_disk, &span->on_disk);
    }
}

static void count_hit(struct cache_client *client)
{
    client->counters->hits++;
    cache_count(client->cache->hub, CACHE_HITS, 1);
}

struct slab *cache_peek(struct cache_client *client, unsigned number, uint64_t index)
{
    struct cache_layer *layer = cache_layer_of(client, number);
    struct cache_span *span = layer ? &layer->spans[index] : NULL;

    if (!span || !span->slab)
        return NULL;
    span_used(span);
    count_hit(client);
    ahead_note(client, span);
    return slab_lock(span->slab);
}

/* Whole blocks around [off, off + len), checked. NULL: they would have to be waited for, or are not
 * what was stored. */
static struct slab *read_blocks(struct cache_span *span, uint64_t off, size_t len, size_t *out_skip)
{
    struct clip_engine *engine = span->layer->cache->hub->engine;
    uint64_t from = off / DISK_SUM_LEN * DISK_SUM_LEN;
    uint64_t end = (off + len + DISK_SUM_LEN - 1) / DISK_SUM_LEN * DISK_SUM_LEN;
    struct slab *slab;
    size_t n;

    if (end > span_len(span))
        end = span_len(span);
    n = (size_t)(end - from);
    slab = slab_new(engine, n);
    if (!slab || !disk_file_read_now(&span->layer->file, span_place(span) + from, slab->bytes, n)) {
        slab_unlock(slab);
        return NULL;
    }
    slab->len = n;
    if (!disk_sums_match(slab->bytes, n, span->sums + from / DISK_SUM_LEN)) {
        /* the load that follows looks at all of it, and says so */
        span->flags &= ~SPAN_VERIFIED;
        slab_unlock(slab);
        return NULL;
    }
    *out_skip = (size_t)(off - from);
    return slab;
}

struct slab *cache_read_now(struct cache_client *client, unsigned number, uint64_t index,
                            uint64_t off, size_t len, size_t *out_skip)
{
    struct cache_layer *layer = cache_layer_of(client, number);
    struct cache_span *span = layer ? &layer->spans[index] : NULL;
    const unsigned needed = SPAN_STORED | SPAN_VERIFIED;
    struct slab *slab;

    if (!span || (span->flags & needed) != needed)
        return NULL;
    slab = read_blocks(span, off, len, out_skip);
    if (!slab)
        return NULL;
    settle_leave(span);
    span_used(span);
    count_hit(client);
    ahead_note(client, span);
    return slab;
}

/* ---- who waits */

static struct pending *pending_new(struct cache_span *span, struct cache_client *client)
{
    struct pending *pending = calloc(1, sizeof(*pending));

    if (!pending)
        return NULL;
    pending->span = span;
    queue_init(&pending->node);
    queue_init(&pending->waiters);
    pending->client = client;
    span->pending = pending;
    return pending;
}

static void pending_free(struct pending *pending)
{
    queue_remove(&pending->node);
    pending->span->pending = NULL;
    free(pending);
}

/* On behalf of the first who waits. */
static void stand_in_line(struct pending *pending)
{
    struct queue *first = pending->waiters.next;

    pending->flies = false;
    pending->flight = NULL;
    pending->chain = NULL;
    pending->client = container_of(first, struct cache_want, node)->client;
    queue_push(&pending->client->wanted, &pending->node);
    flights_pump(pending->client->cache->hub);
}

void span_again(struct pending *pending)
{
    if (queue_empty(&pending->waiters))
        pending_free(pending);
    else
        stand_in_line(pending);
}

static void end_want(struct cache_want *want, int status, struct slab *slab,
                     const struct clip_error *err)
{
    share_wait_end(want->client);
    want->slab = slab ? slab_lock(slab) : NULL;
    want->err = err;
    want->done(want, status);
}

static void end_wants(struct queue *wants, int status, struct slab *slab,
                      const struct clip_error *err)
{
    struct queue *node;

    /* whoever is told may cancel others that are still in here: those leave by themselves */
    while ((node = queue_pop(wants)))
        end_want(container_of(node, struct cache_want, node), status, slab, err);
}

void span_arrived(struct cache_span *span, struct slab *slab)
{
    struct queue wants;

    queue_init(&wants);
    span_remember(span, slab);
    span_used(span);
    if (span->pending) {
        queue_splice(&wants, &span->pending->waiters);
        pending_free(span->pending);
    }
    end_wants(&wants, 0, slab, NULL);
}

void span_failed(struct cache_span *span, struct cache_client *client, int status,
                 const struct clip_error *err)
{
    struct pending *pending = span->pending;
    struct queue failing, others;
    struct queue *node;

    if (!pending)
        return;
    queue_init(&failing);
    queue_init(&others);
    queue_remove(&pending->node);
    while ((node = queue_pop(&pending->waiters))) {
        struct cache_want *want = container_of(node, struct cache_want, node);
        queue_push(want->client == client ? &failing : &others, node);
    }
    queue_splice(&pending->waiters, &others);
    span_again(pending);
    end_wants(&failing, status, NULL, err);
}

static void on_want_later(struct later *later)
{
    static const struct clip_error no_memory = {-ENOMEM, "out of memory for a span"};
    struct cache_want *want = container_of(later, struct cache_want, later);

    end_want(want, want->status, NULL, want->status == -ENOMEM ? &no_memory : NULL);
}

static void end_later(struct cache_want *want, int status)
{
    want->status = status;
    later_call(want->client->engine, &want->later, on_want_later);
}

/* It was only asked for, or read ahead, and now somebody waits. */
static void hurry(struct pending *pending)
{
    bool was_ahead = pending->is_ahead;

    pending->is_ahead = false;
    if (pending->flight)
        flight_hurry(pending->flight, span_len(pending->span));
    if (pending->flies || !was_ahead)
        return;
    queue_remove(&pending->node);
    stand_in_line(pending);
}

static void join(struct cache_want *want)
{
    struct pending *pending = want->span->pending;
    bool is_first = !pending, was_for_nobody;

    if (is_first)
        pending = pending_new(want->span, want->client);
    if (!pending) {
        end_later(want, -ENOMEM);
        return;
    }
    was_for_nobody = queue_empty(&pending->waiters);
    queue_push(&pending->waiters, &want->node);
    if (is_first)
        stand_in_line(pending);
    else if (was_for_nobody)
        hurry(pending);
}

/* False: it is here, or on its way, or there is no memory. */
static bool ask_for(struct cache_span *span, struct cache_client *client, bool is_ahead)
{
    const unsigned there = SPAN_STORED | SPAN_VERIFIED;
    struct pending *pending;

    if (client->closing || span->slab || span->pending || (span->flags & there) == there)
        return false;
    pending = pending_new(span, client);
    if (!pending)
        return false;
    pending->is_ahead = is_ahead;
    queue_push(is_ahead ? &client->ahead : &client->wanted, &pending->node);
    cache_count(client->cache->hub, CACHE_AHEAD, 1);
    flights_pump(client->cache->hub);
    return true;
}

void span_guess(struct cache_span *span, struct cache_client *client, bool is_ahead)
{
    if (!ask_for(span, client, is_ahead))
        return;
    if (!(span->flags & SPAN_GUESSED))
        span->layer->n_guessed++;
    span->flags |= SPAN_GUESSED;
}

void span_foresee(struct cache_span *span, struct cache_client *client)
{
    if (!ask_for(span, client, true))
        return;
    if (!(span->flags & SPAN_FORESEEN))
        span->layer->foreseen_len += span_len(span);
    span->flags |= SPAN_FORESEEN;
}

void cache_want_start(struct cache_client *client, unsigned number, uint64_t index,
                      struct cache_want *want, cache_want_cb done)
{
    struct cache_layer *layer = cache_layer_of(client, number);

    *want = (struct cache_want){.client = client, .done = done};
    queue_init(&want->node);
    later_init(&want->later);
    share_wait_begin(client);
    client->counters->misses++;
    cache_count(client->cache->hub, CACHE_MISSES, 1);
    if (!layer) {
        end_later(want, -ENOMEM);
        return;
    }
    want->span = &layer->spans[index];
    join(want);
    ahead_note(client, want->span);
}

void cache_want_cancel(struct cache_want *want)
{
    struct pending *pending = want->span ? want->span->pending : NULL;

    queue_remove(&want->node);
    /* nobody is left who wants it: out of the line, unless it flies */
    if (pending && queue_empty(&pending->waiters) && !pending->flies)
        pending_free(pending);
    end_later(want, -ECANCELED);
}
