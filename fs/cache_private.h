/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies behind fs/cache.h, for the modules that are the cache: cache.c (what is open),
 * cache_layer.c (a layer and its file), cache_span.c (who waits, what is in memory),
 * cache_flight.c (whose turn it is), cache_share.c (who had how much), cache_chain.c (zstd frames),
 * cache_load.c and cache_store.c (from disk and to it), cache_settle.c (out of the page cache),
 * cache_evict.c, cache_ahead.c (what will be wanted next). */
#ifndef CLIP_FS_CACHE_PRIVATE_H
#define CLIP_FS_CACHE_PRIVATE_H

#include "engine/metrics.h"
#include "engine/work.h"
#include "fs/cache.h"
#include "fs/cache_disk.h"
#include "index/writer.h"

enum cache_metric {
    CACHE_HITS,
    CACHE_MISSES,
    CACHE_FETCHED,
    CACHE_FETCHED_BYTES,
    CACHE_REQUESTS,
    CACHE_FAILED,
    CACHE_AHEAD,
    CACHE_LOADED,
    CACHE_CORRUPT,
    CACHE_STORED_BYTES,
    CACHE_STORES_FAILED,
    CACHE_EVICTIONS,
    CACHE_EVICTED_BYTES,
    CACHE_SIZE,
    CACHE_MEMORY,
    CACHE_INFLIGHT,
    CACHE_FETCH_TIME,
    CACHE_METRICS
};

/* What all caches of an engine share: its memory, and its turns to fetch. */
struct cache_hub {
    struct engine_child child;
    struct clip_engine *engine;
    bool closing;
    struct queue caches;
    struct queue clients; /* a ring: whose turn it is stands first */
    struct queue waiting; /* clients that wait for spans, or just did */
    struct queue memory;  /* spans with a slab, the longest unused first */
    uint64_t memory_len, memory_max;
    uint64_t settle_batch, settle_max; /* bytes; SETTLE_* but for tests */
    unsigned n_flights;
    uint64_t flight_len;                      /* decoded bytes that flights and loads bring */
    unsigned n_ahead;                         /* of the flights, those for nobody */
    uint64_t store_len;                       /* decoded bytes that wait to be on disk */
    struct queue held_chains, resting_chains; /* cache_chain.c */
    unsigned n_resting;
    struct later pump;
    struct metric metrics[CACHE_METRICS];
};

enum cache_state { CACHE_OPENING, CACHE_OPEN, CACHE_CLOSING };

struct cache {
    struct queue node;
    struct cache_hub *hub;
    enum cache_state state;
    char *path; /* NULL: memory only */
    struct disk_dir dir;
    uint64_t size, used; /* bytes on disk: at most, and now */
    struct queue layers;
    struct queue on_disk;   /* spans, the longest unused first */
    struct disk_left *left; /* of earlier processes; those before first_left are gone */
    size_t first_left, n_left;

    struct queue openings;       /* who waits for the directory */
    struct queue finishing;      /* files that get their names just now (fill.c) */
    struct queue stores;         /* that wait for room */
    struct queue young, settled; /* spans, the longest stored first: cache_settle.c */
    uint64_t young_len, settled_len;
    bool settling;
    bool evicting;
    char removing[DISK_NAME_LEN + 1]; /* a file that is left, while it is evicted */
    bool stores_fail;                 /* said so */
    uint64_t store_again_ns;          /* not before that */

    struct work work; /* open, and close */
    unsigned n_jobs;  /* of any sort */
    int status;
    struct clip_error err;
};

#define SPAN_STORED   1u /* in the file, as far as the map says */
#define SPAN_VERIFIED 2u /* this process has seen that it is right there, and has its sums */
#define SPAN_STORING  4u
#define SPAN_EVICTING 8u
#define SPAN_CHAINED  16u  /* can only be had through the first of its chain */
#define SPAN_GUESSED  32u  /* asked for before anybody read it, which nobody has by now */
#define SPAN_READ     64u  /* somebody has read it */
#define SPAN_SETTLED  128u /* in the cache's `settled`, no longer in `young` */
#define SPAN_FORESEEN 256u /* a profile or a file's needs name it, which nobody has read by now */

struct pending;
struct flight;
struct chain;

struct cache_span {
    struct cache_layer *layer;
    uint64_t out_off;
    struct queue in_memory; /* in the hub's, while there is a slab */
    struct queue on_disk;   /* in the cache's, while it is stored */
    struct queue settling;  /* in the cache's, young or settled */
    struct slab *slab;
    uint64_t *sums;          /* of what is stored, as this process has seen it; NULL: it has not */
    struct pending *pending; /* somebody waits for it, or it is on its way */
    uint32_t used_at;        /* seconds */
    unsigned flags;          /* SPAN_* */
};

#define CACHE_STREAMS 8u

/* A place at which a layer is being read on (cache_ahead.c). */
struct cache_stream {
    uint64_t next;   /* the span behind the last that was read; 0: none */
    uint64_t run;    /* spans that were read one after the other */
    uint64_t window; /* spans */
    uint64_t asked;  /* read ahead up to here */
    uint64_t turn;
};

enum layer_state { LAYER_WAITS, LAYER_OPENING, LAYER_READY, LAYER_CLOSING };

struct cache_layer {
    struct queue node;
    struct cache *cache;
    struct cache_key key;
    enum layer_state state;
    unsigned n_users; /* clients */
    unsigned n_jobs;  /* that use its file or its spans */
    uint64_t size;    /* decoded */
    struct disk_file file;
    bool said_corrupt;
    struct cache_stream streams[CACHE_STREAMS];
    uint64_t stream_turn;
    uint64_t n_read;       /* places that were read, a span each */
    uint64_t n_guessed;    /* spans that are SPAN_GUESSED */
    uint64_t foreseen_len; /* decoded bytes of those that are SPAN_FORESEEN */
    struct queue chains;   /* that are being decoded */

    struct work work; /* open, and close */
    uint32_t *stamps; /* while one of them runs */
    uint64_t disk_size;
    int status;
    struct clip_error err;

    uint64_t n_spans;
    struct cache_span spans[];
};

/* A span that is not there, from the first who asked until it came or failed. */
struct pending {
    struct cache_span *span;
    struct queue node;           /* in its client's `wanted` or `ahead`, unless it flies */
    struct cache_client *client; /* on whose behalf */
    struct queue waiters;        /* wants */
    bool is_ahead;               /* nobody has asked for it yet */
    bool flies;                  /* is being fetched or loaded */
    struct flight *flight;       /* it flies in that one, or in that chain; else it is loaded */
    struct chain *chain;
};

static inline uint64_t span_index(const struct cache_span *span)
{
    return (uint64_t)(span - span->layer->spans);
}

static inline uint64_t span_len(const struct cache_span *span)
{
    const struct cache_layer *layer = span->layer;
    bool is_last = span + 1 == layer->spans + layer->n_spans;

    return (is_last ? layer->size : span[1].out_off) - span->out_off;
}

static inline uint64_t span_place(const struct cache_span *span)
{
    return disk_place(span_index(span), span->out_off);
}

static inline void cache_count(struct cache_hub *hub, enum cache_metric metric, uint64_t n)
{
    hub->metrics[metric].value += n;
}

/* ---- cache.c */

/* The engine's for that directory; found, or made. */
struct cache *cache_of_dir(struct clip_engine *engine, const char *dir, uint64_t size,
                           struct clip_error *err);

/* Tells when the directory is open, or will not be; not if that is known already. */
void cache_when_open(struct cache *cache, struct cache_opening *opening, cache_opening_cb done);

/* In cache->finishing: layers with this key wait. */
struct cache_finishing {
    struct queue node;
    struct cache_key key;
};

/* Jobs of any sort: begin and end, so that close can wait for them. */
void cache_job_begin(struct cache *cache);
void cache_job_end(struct cache *cache);
void cache_use_disk(struct cache *cache, uint64_t len);
void cache_free_disk(struct cache *cache, uint64_t len);
/* To be asked wherever a flight of a client ends. */
void cache_client_maybe_closed(struct cache_client *client);

/* ---- cache_layer.c */

/* What a layer of that index has for a key. */
void cache_key_of(const struct writer_layer *layer, struct cache_key *out);
bool cache_layer_is_open(struct cache *cache, const struct cache_key *key);

/* The client's view of a layer, made when it is first asked for. NULL: no memory. */
struct cache_layer *cache_layer_of(struct cache_client *client, unsigned layer);
/* Which of the client's layers this is. */
unsigned cache_layer_number(const struct cache_client *client, const struct cache_layer *layer);
void cache_layer_unuse(struct cache_layer *layer);
/* The directory is open, or a layer is gone: those that waited for it may begin. */
void cache_layers_open(struct cache *cache);
void cache_layer_job_begin(struct cache_layer *layer);
void cache_layer_job_end(struct cache_layer *layer);

/* ---- cache_span.c */

/* The slab (not consumed) goes to all waiters, and into memory. */
void span_arrived(struct cache_span *span, struct slab *slab);
/* Fails who waits on behalf of `client`; others stay in line, by their own source. */
void span_failed(struct cache_span *span, struct cache_client *client, int status,
                 const struct clip_error *err);
/* All who wait stand in line again, if any. */
void span_again(struct pending *pending);
/* Asks for it on behalf of the client, if it is not there: behind all that is waited for
 * (`is_ahead`), or in line with it. */
void span_guess(struct cache_span *span, struct cache_client *client, bool is_ahead);
/* Behind all that is waited for, and not counted as a guess: it will be wanted. */
void span_foresee(struct cache_span *span, struct cache_client *client);
void span_forget(struct cache_span *span); /* its slab */
void span_used(struct cache_span *span);

/* ---- cache_flight.c */

/* Somebody wants something, or somebody is through: soon, whose turn is it? */
void flights_pump(struct cache_hub *hub);
void flights_cancel(struct cache_client *client);
/* Something of `len` decoded bytes is on its way, or is here. */
void flights_begin(struct cache_hub *hub, uint64_t len);
void flights_end(struct cache_hub *hub, uint64_t len);
bool flights_have_room(const struct cache_hub *hub);
/* What a fetch cost, when it is done. */
void flights_count(struct cache_client *client, const struct span_fetch *fetch, uint64_t began_ns);
/* Somebody waits for a span of `len` bytes that was on its way for nobody: the flight's spans that
 * are not decoded yet go before other such things. */
void flight_hurry(struct flight *flight, uint64_t len);
/* For tests: in which lane its next spans are decoded. */
enum work_lane flight_lane(const struct flight *flight);

/* ---- cache_share.c */

void share_init(struct cache_client *client);
void share_fini(struct cache_client *client);
/* It waits for a span, until that is here. */
void share_wait_begin(struct cache_client *client);
void share_wait_end(struct cache_client *client);
/* `len` bytes are fetched and decoded for it. */
void share_took(struct cache_client *client, uint64_t len);
/* It has had much more than somebody who waits: let that one go first. */
bool share_is_greedy(struct cache_client *client);

/* ---- cache_chain.c */

/* The span is one of a chain: it comes when the chain is decoded up to it. */
void chain_want(struct pending *pending);
/* There is room: chains that wait for it go on. */
void chains_go_on(struct cache_hub *hub);
void chains_cancel(struct cache_client *client);

/* ---- cache_ahead.c */

/* The client was given the span, or waits for it. */
void ahead_note(struct cache_client *client, struct cache_span *span);

/* ---- cache_load.c */

/* Reads a stored span, checks it, and lets it arrive; or, if it is not right, drops it from the
 * disk, and who waits stands in line again. */
void load_start(struct pending *pending);

/* ---- cache_store.c */

/* Locks the slab until it is on disk; or does nothing, where there is no disk or no room. */
void store_start(struct cache_span *span, struct slab *slab);
/* There is room, or there will be none: those that wait go on. */
void stores_go_on(struct cache *cache);
/* What is on disk is right, and has these sums, which become the span's (NULL: no memory). */
void span_verified(struct cache_span *span, uint64_t *sums);
/* It is not any more. Its bytes count until cache_free_disk(). */
void span_unstored(struct cache_span *span);

/* ---- cache_settle.c */

#define SETTLE_BATCH (16ull << 20)
#define SETTLE_MAX   (256ull << 20)

/* It is in the file now, and in the page cache, where it need not stay. */
void settle_stored(struct cache_span *span);
/* It is read from the file, or is not there any more. */
void settle_leave(struct cache_span *span);

/* ---- cache_evict.c */

/* Makes room if less than `need` is free, or if it is time. False: nothing is being done. */
bool evict(struct cache *cache, uint64_t need);
/* The file of that key is just being removed. */
bool evict_is_removing(const struct cache *cache, const struct cache_key *key);
/* A layer's file is opened: it is none of those left any more. Its bytes are not counted now. */
void evict_adopt(struct cache *cache, const struct cache_key *key);
/* A layer's file is closed: from now on it is left over. `size` bytes on disk. */
void evict_leave(struct cache *cache, const struct cache_key *key, uint64_t size, uint32_t used_at);

#endif
