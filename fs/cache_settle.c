/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is stored lies in the kernel's page cache twice: as the mount's pages, and as the file's
 * until it is written and somebody else wants the memory. Whoever reads gigabytes would drive
 * everything else out with the second copy, and fill new pages all the time.
 *
 * The happy path of a span that was stored is:
 * - it is young; with SETTLE_BATCH bytes of young ones a job has the kernel begin to write.
 * - then it is settled; beyond SETTLE_MAX bytes of those the job drops the pages of the longest
 *   stored, which by then are written. What a program starts from is less, and stays.
 * - read again from the file, it leaves: its pages are wanted, and the kernel may judge.
 * One job at a time; nobody waits for it and no store does, however slow the disk.
 * Possible failure modes are: no memory, or a file system that knows nothing of it: all stays as it
 * is. A page that is not written yet is not dropped.
 */
#include "fs/cache_private.h"

#include <stdlib.h>

#define SPANS_MAX 64u /* of a job */

struct settling {
    struct work work;
    struct cache *cache;
    struct cache_span *young[SPANS_MAX], *old[SPANS_MAX];
    unsigned n_young, n_old;
};

static void settle(struct cache *cache);

void settle_leave(struct cache_span *span)
{
    struct cache *cache = span->layer->cache;

    if (queue_empty(&span->settling))
        return;
    queue_remove(&span->settling);
    if (span->flags & SPAN_SETTLED)
        cache->settled_len -= span_len(span);
    else
        cache->young_len -= span_len(span);
    span->flags &= ~SPAN_SETTLED;
}

void settle_stored(struct cache_span *span)
{
    struct cache *cache = span->layer->cache;

    settle_leave(span);
    queue_push(&cache->young, &span->settling);
    cache->young_len += span_len(span);
    settle(cache);
}

/* ---- the job */

static void settle_run(struct work *work)
{
    struct settling *self = container_of(work, struct settling, work);

    for (unsigned i = 0; i < self->n_young; i++) {
        const struct cache_span *span = self->young[i];
        disk_file_write_out(&span->layer->file, span_place(span), span_len(span));
    }
    for (unsigned i = 0; i < self->n_old; i++) {
        const struct cache_span *span = self->old[i];
        disk_file_drop_pages(&span->layer->file, span_place(span), span_len(span));
    }
}

static void end_all(struct cache_span *const *spans, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cache_layer_job_end(spans[i]->layer);
}

static void settle_done(struct work *work, int status)
{
    struct settling *self = container_of(work, struct settling, work);
    struct cache *cache = self->cache;

    (void)status; /* nobody cancels it */
    cache->settling = false;
    settle(cache);
    end_all(self->young, self->n_young);
    end_all(self->old, self->n_old);
    free(self);
    cache_job_end(cache);
}

/* ---- what it is for */

static void choose_young(struct cache *cache, struct settling *self)
{
    while (self->n_young < SPANS_MAX && !queue_empty(&cache->young)) {
        struct cache_span *span = container_of(cache->young.next, struct cache_span, settling);
        settle_leave(span);
        queue_push(&cache->settled, &span->settling);
        cache->settled_len += span_len(span);
        span->flags |= SPAN_SETTLED;
        cache_layer_job_begin(span->layer);
        self->young[self->n_young++] = span;
    }
}

static void choose_old(struct cache *cache, struct settling *self)
{
    while (self->n_old < SPANS_MAX && cache->settled_len > cache->hub->settle_max) {
        struct cache_span *span = container_of(cache->settled.next, struct cache_span, settling);
        settle_leave(span);
        cache_layer_job_begin(span->layer);
        self->old[self->n_old++] = span;
    }
}

static void settle(struct cache *cache)
{
    const struct cache_hub *hub = cache->hub;
    struct settling *self;

    if (cache->settling ||
        (cache->young_len < hub->settle_batch && cache->settled_len <= hub->settle_max))
        return;
    self = calloc(1, sizeof(*self));
    if (!self)
        return;
    self->cache = cache;
    choose_old(cache, self);
    choose_young(cache, self);
    cache->settling = true;
    cache_job_begin(cache);
    work_submit(cache->hub->engine, &self->work, WORK_BULK, settle_run, settle_done);
}
