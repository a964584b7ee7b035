/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a chain is:
 * - the first span of it that is wanted starts its decoding from the front; whoever wants another
 *   that is still to come is attached, and is served as it passes.
 * - where there is a disk that can hold it, the chain goes on to its end for nobody, in the lane
 *   for bulk, so that it is decoded once. Else it rests when nobody is attached, and goes on for
 *   the next who is.
 * - between two spans it waits for room, as all flights do.
 * Possible failure modes are: no memory, or what the fetch says: who is attached fails; the others
 * stand in line. A span that has passed already and was not kept is missed: it waits until the
 * chain has ended, or would rest, and starts it anew. RESTING_MAX chains rest, then the one that
 * has rested longest ends. On close of a client: its chains are cancelled, and what others wait for
 * is asked for again.
 */
#include "engine/log.h"
#include "fs/cache_private.h"

#include <stdlib.h>

#define RESTING_MAX 4u

enum chain_state { CHAIN_DECODES, CHAIN_HELD, CHAIN_RESTS, CHAIN_ENDS };

struct chain {
    struct span_fetch fetch;
    struct queue node;     /* in its client's */
    struct queue in_layer; /* in its layer's */
    struct queue in_hub;   /* held, or resting */
    struct queue missed;   /* pending spans that have passed */
    struct cache_client *client;
    struct cache_layer *layer;
    enum chain_state state;
    uint64_t next;       /* the span that comes next */
    uint64_t len;        /* decoded bytes in flight: the largest span */
    uint64_t size;       /* decoded bytes of all */
    unsigned n_attached; /* of them some wait, some are read ahead */
    uint64_t began_ns;
};

static struct cache_hub *hub_of(const struct chain *chain)
{
    return chain->layer->cache->hub;
}

/* ---- in flight, or at rest */

static void enter_flight(struct chain *chain)
{
    chain->client->n_flights++;
    chain->client->waited_len += chain->len;
    flights_begin(hub_of(chain), chain->len);
}

static void leave_flight(struct chain *chain)
{
    chain->client->n_flights--;
    chain->client->waited_len -= chain->len;
    flights_end(hub_of(chain), chain->len);
}

static void set_state(struct chain *chain, enum chain_state state)
{
    struct cache_hub *hub = hub_of(chain);

    queue_remove(&chain->in_hub);
    if (chain->state == CHAIN_RESTS)
        hub->n_resting--;
    chain->state = state;
    if (state == CHAIN_HELD)
        queue_push(&hub->held_chains, &chain->in_hub);
    if (state == CHAIN_RESTS) {
        queue_push(&hub->resting_chains, &chain->in_hub);
        hub->n_resting++;
    }
}

static void cancel(struct chain *chain)
{
    if (chain->state == CHAIN_ENDS)
        return;
    if (chain->state == CHAIN_RESTS)
        enter_flight(chain);
    set_state(chain, CHAIN_ENDS);
    span_fetch_cancel(&chain->fetch);
}

static void rest(struct chain *chain)
{
    struct cache_hub *hub = hub_of(chain);

    set_state(chain, CHAIN_RESTS);
    leave_flight(chain);
    if (hub->n_resting > RESTING_MAX)
        cancel(container_of(hub->resting_chains.next, struct chain, in_hub));
}

static void go_on(struct chain *chain)
{
    set_state(chain, CHAIN_DECODES);
    chain->fetch.lane = chain->n_attached > 0 ? WORK_READ : WORK_BULK;
    span_fetch_resume(&chain->fetch);
}

static bool is_worth_keeping(const struct chain *chain)
{
    const struct cache *cache = chain->layer->cache;

    return chain->layer->file.fd >= 0 && chain->size <= cache->size / 2 && !cache->stores_fail;
}

/* What was given is on its way to disk: it may wait there, but not without end. */
static bool has_room(const struct cache_hub *hub)
{
    return hub->store_len <= CACHE_FLIGHT_MAX / 2;
}

/* Nobody is attached, and nothing is gained by going on. */
static void stop(struct chain *chain)
{
    if (queue_empty(&chain->missed))
        rest(chain);
    else
        cancel(chain);
}

/* A span has passed: what now? */
static void next_step(struct chain *chain)
{
    if (chain->next == chain->fetch.first + chain->fetch.n || chain->state == CHAIN_ENDS)
        return;
    if (chain->n_attached == 0 && !is_worth_keeping(chain))
        stop(chain);
    else if (has_room(hub_of(chain)))
        go_on(chain);
    else
        set_state(chain, CHAIN_HELD);
}

void chains_go_on(struct cache_hub *hub)
{
    while (!queue_empty(&hub->held_chains) && has_room(hub))
        go_on(container_of(hub->held_chains.next, struct chain, in_hub));
}

/* ---- spans that pass */

static void pass(struct chain *chain, struct cache_span *span, struct slab *slab)
{
    bool is_attached = span->pending && span->pending->chain == chain;

    chain->n_attached -= is_attached;
    if (!is_attached && (span->slab || (span->flags & SPAN_STORED)))
        return;
    cache_count(hub_of(chain), CACHE_FETCHED, 1);
    chain->client->counters->spans_fetched++;
    store_start(span, slab);
    span_arrived(span, slab);
}

static void fail(struct chain *chain, struct cache_span *span, int status)
{
    if (!span->pending || span->pending->chain != chain)
        return;
    chain->n_attached--;
    if (status != -ECANCELED)
        cache_count(hub_of(chain), CACHE_FAILED, 1);
    span_failed(span, chain->client, status, &chain->fetch.err);
}

static void on_decoded(struct span_fetch *req, uint64_t index, int status, struct slab *slab)
{
    struct chain *chain = container_of(req, struct chain, fetch);
    struct cache_span *span = &chain->layer->spans[index];

    chain->next = index + 1;
    if (status < 0) {
        fail(chain, span, status);
        return;
    }
    pass(chain, span, slab);
    slab_unlock(slab);
    next_step(chain);
}

static void on_fetched(struct span_fetch *req, int status)
{
    struct chain *chain = container_of(req, struct chain, fetch);
    struct cache_client *client = chain->client;
    struct cache_layer *layer = chain->layer;
    struct queue *node;

    if (status < 0 && status != -ECANCELED)
        log_debug(client->engine, "cache: %s", req->err.message);
    flights_count(client, req, chain->began_ns);
    set_state(chain, CHAIN_ENDS);
    leave_flight(chain);
    queue_remove(&chain->node);
    queue_remove(&chain->in_layer);
    while ((node = queue_pop(&chain->missed)))
        span_again(container_of(node, struct pending, node));
    free(chain);
    cache_client_maybe_closed(client);
    cache_layer_job_end(layer);
}

/* ---- who wants one */

static struct chain *chain_find(struct cache_layer *layer, uint64_t index)
{
    queue_for_each(node, &layer->chains)
    {
        struct chain *chain = container_of(node, struct chain, in_layer);
        if (index >= chain->fetch.first && index < chain->fetch.first + chain->fetch.n)
            return chain;
    }
    return NULL;
}

static void attach(struct chain *chain, struct pending *pending)
{
    queue_remove(&pending->node);
    pending->flies = true;
    if (chain->state == CHAIN_ENDS || span_index(pending->span) < chain->next) {
        queue_push(&chain->missed, &pending->node);
        if (chain->state == CHAIN_RESTS)
            cancel(chain);
        return;
    }
    pending->chain = chain;
    chain->n_attached++;
    if (chain->state != CHAIN_RESTS)
        return;
    enter_flight(chain);
    go_on(chain);
}

static struct chain *chain_new(struct cache_client *client, struct cache_span *span)
{
    struct cache_layer *layer = span->layer;
    struct chain *chain = calloc(1, sizeof(*chain));

    if (!chain)
        return NULL;
    chain->client = client;
    chain->layer = layer;
    chain->fetch.image = client->image;
    chain->fetch.layer = cache_layer_number(client, layer);
    chain->fetch.lane = WORK_READ;
    chain->fetch.on_decoded = on_decoded;
    chain->fetch.on_done = on_fetched;
    span_chain(client->image, chain->fetch.layer, span_index(span), &chain->fetch.first,
               &chain->fetch.n);
    chain->next = chain->fetch.first;
    for (uint64_t i = 0; i < chain->fetch.n; i++) {
        uint64_t len = span_len(&layer->spans[chain->fetch.first + i]);
        chain->size += len;
        if (len > chain->len)
            chain->len = len;
    }
    chain->began_ns = engine_now_ns();
    queue_init(&chain->in_hub);
    queue_init(&chain->missed);
    return chain;
}

static bool begin(struct cache_client *client, struct cache_span *span)
{
    struct chain *chain = chain_new(client, span);

    if (!chain || span_fetch_start(client->source, &chain->fetch, 0) < 0) {
        free(chain);
        return false;
    }
    queue_push(&client->chains, &chain->node);
    queue_push(&span->layer->chains, &chain->in_layer);
    cache_layer_job_begin(span->layer);
    enter_flight(chain);
    return true;
}

void chain_want(struct pending *pending)
{
    static const struct clip_error no_memory = {-ENOMEM, "out of memory for a fetch"};
    struct cache_span *span = pending->span;

    if (!chain_find(span->layer, span_index(span)) && !begin(pending->client, span)) {
        span_failed(span, pending->client, -ENOMEM, &no_memory);
        return;
    }
    attach(chain_find(span->layer, span_index(span)), pending);
}

void chains_cancel(struct cache_client *client)
{
    struct queue *next;

    for (struct queue *node = client->chains.next; node != &client->chains; node = next) {
        next = node->next;
        cancel(container_of(node, struct chain, node));
    }
}
