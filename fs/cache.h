/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoded spans, on disk and in memory: one cache for each cache directory of an engine, shared by
 * all readers, mounts and images. A span is fetched once, however many wait for it, and goes to
 * all of them. docs/cache.md says what lies on disk and what happens when it fails.
 *
 * A client is one reader's part in it. Fetches are given out to clients in turn, so that a greedy
 * one does not starve the others, and what is waited for goes before what is read ahead. Memory has
 * ceilings (below); what would pass them stands in line. On the loop's thread.
 */
#ifndef CLIP_FS_CACHE_H
#define CLIP_FS_CACHE_H

#include "index/image.h"
#include "index/span_source.h"

#define CACHE_MEMORY_MAX  (16ull << 20) /* decoded bytes kept for answers, of an engine */
#define CACHE_FLIGHTS_MAX 12u           /* fetches and loads at once, of an engine */
#define CACHE_FLIGHT_MAX  (64ull << 20) /* decoded bytes that they may bring */
#define CACHE_AHEAD_MAX   6u            /* flights for what is only read ahead, among them */
#define CACHE_RUN_MAX     (8ull << 20)  /* decoded bytes of one Range request */

struct cache;
struct cache_layer;
struct cache_span;

/* A request: cache_when_open() of fs/cache_private.h. */
struct cache_opening;
typedef void (*cache_opening_cb)(struct cache_opening *opening);
struct cache_opening {
    struct queue node;
    cache_opening_cb done;
};

struct cache_client {
    /* public, set by the caller before open */
    struct clip_engine *engine;
    struct clip_image *image; /* borrowed until closed */
    struct source *source;    /* likewise */
    struct clip_counters *counters;
    /* private */
    struct cache *cache;
    struct cache_layer **layers; /* by number of the image's; NULL: not asked for yet */
    struct queue node;           /* in the hub's ring */
    struct queue wanted;         /* pending spans in line */
    struct queue ahead;          /* likewise, that nobody waits for */
    struct queue flights, chains;
    unsigned n_flights;
    uint64_t waited_len;  /* decoded bytes of those spans in them that somebody waits for */
    struct queue waiting; /* in the hub's, while it waits for spans and a little longer */
    unsigned n_waits;
    uint64_t waited_ns;                      /* when the last of them ended */
    uint64_t had_ns, had_at_ns;              /* cache_share.c */
    const struct clip_profile_span *profile; /* the image's, n_profile of it; NULL: none is used */
    size_t n_profile;
    struct cache_opening opening; /* that the profile waits for */
    bool closing;
    struct later later;
    clip_close_cb on_close;
    void *close_data;
};

/* `dir` NULL: nothing on disk. `size` 0: chosen. Does no I/O: the directory is opened behind the
 * first reads. -ENOMEM, -ESHUTDOWN. */
int cache_client_open(struct cache_client *client, const char *dir, uint64_t size,
                      struct clip_error *err);
/* Its wants have ended, or were cancelled. Flights of its own end before on_close. */
void cache_client_close(struct cache_client *client, clip_close_cb on_close, void *data);

/* For tests: how much of CACHE_MEMORY_MAX there is, from the next span on. */
void cache_set_memory(struct cache_client *client, uint64_t len);
/* At once: for a client that nothing was asked of yet. */
void cache_client_drop(struct cache_client *client);

/* The loop worked `took_ns` for its requests: how many ns others go first now. */
uint64_t cache_client_rest(struct cache_client *client, uint64_t took_ns);

/* The span if it is in memory, locked for the caller; else NULL. */
struct slab *cache_peek(struct cache_client *client, unsigned layer, uint64_t index);

/* Bytes of a span that is on disk, without waiting: out of the kernel's page cache, and checked; or
 * NULL. What was asked for lies `skip` bytes into the slab. */
struct slab *cache_read_now(struct cache_client *client, unsigned layer, uint64_t index,
                            uint64_t off, size_t len, size_t *out_skip);

struct cache_want;
typedef void (*cache_want_cb)(struct cache_want *want, int status);

/* A request: waits for one span, wherever it comes from. */
struct cache_want {
    /* public, when it has ended */
    struct slab *slab;            /* with status 0: locked for the receiver */
    const struct clip_error *err; /* else: why; borrowed during the callback */
    /* private */
    struct cache_client *client;
    struct cache_span *span;
    struct queue node;
    struct later later;
    int status;
    cache_want_cb done;
};

void cache_want_start(struct cache_client *client, unsigned layer, uint64_t index,
                      struct cache_want *want, cache_want_cb done);
/* A wish: `done` comes with -ECANCELED. The fetch goes on. */
void cache_want_cancel(struct cache_want *want);

/* The spans from `first` to `last` will be wanted, most likely: they are asked for together with
 * what is waited for now, unless too much was asked for in vain before. */
void cache_ask(struct cache_client *client, unsigned layer, uint64_t first, uint64_t last);

/* They will be wanted, by what the index says: read ahead, unless too much of the layer was
 * foreseen that nobody has read by now. False: that is so, or there is no directory to keep it in.
 */
#define FORESEE_MAX (256ull << 20) /* decoded bytes; at most half of the cache */
bool cache_foresee(struct cache_client *client, unsigned layer, uint64_t first, uint64_t last);

/* The image's profile, lent until the client is closed: read ahead in that order as soon as the
 * directory is open, as far as PREFETCH_MAX goes. Then nothing is guessed for this client any more
 * but what follows a place that is read on. Without a directory there is nowhere to keep it, and
 * nothing happens. Once. */
#define PREFETCH_MAX (1ull << 30) /* decoded bytes, and at most half of the cache */
void cache_prefetch(struct cache_client *client, const struct clip_profile_span *spans, size_t n);

#endif
