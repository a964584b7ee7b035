/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a flight is:
 * - flights_pump() waits for the end of the loop's turn, so that what one turn wants can be asked
 *   for together. Then clients take turns: the span that stands first in line, with its neighbours
 *   that are in line too, becomes one fetch, as long as the hub has room.
 * - what a small file is asked for whole stands in line like what is waited for.
 * - what is read ahead has its turn when nobody waits, and leaves room for those who will. What is
 *   foreseen goes along behind what is waited for, too; by a profile, it is decoded as that is.
 * - spans arrive as they are decoded; the flight ends when the fetch does, and makes room.
 * A client that has flights leaves a quarter of the room, stores counted. When it waits for more
 * than a small share its spans are decoded in the lane for bulk, where all are stored; what it only
 * may want does not count. Who is new finds room at once.
 * A greedy client (cache_share.c) has GREEDY_FLIGHTS_MAX, and none ahead, while others wait.
 * Possible failure modes are: no memory, or what the fetch says; it fails the spans that it is
 * about and nothing else.
 * On close of a client: its flights are cancelled; what others wait for is asked for again.
 */
#include "engine/log.h"
#include "fs/cache_private.h"

#include <inttypes.h>
#include <stdlib.h>

#define CLIENT_FLIGHTS_MAX (CACHE_FLIGHTS_MAX * 3 / 4)
#define CLIENT_FLIGHT_MAX  (CACHE_FLIGHT_MAX * 3 / 4)
#define CLIENT_SHARE       (2ull << 20) /* decoded bytes waited for, from which a client is bulk */
#define GREEDY_FLIGHTS_MAX 2u           /* of a greedy client, while others wait */

struct flight {
    struct span_fetch fetch;
    struct queue node; /* in its client's */
    struct cache_client *client;
    struct cache_layer *layer;
    uint64_t len;        /* decoded bytes */
    uint64_t waited_len; /* of spans that somebody waits for, or did */
    bool is_ahead;
    uint64_t began_ns;
};

/* ---- on its way */

static void on_decoded(struct span_fetch *req, uint64_t index, int status, struct slab *slab)
{
    struct flight *flight = container_of(req, struct flight, fetch);
    struct cache_span *span = &flight->layer->spans[index];
    struct cache_hub *hub = flight->layer->cache->hub;

    if (status < 0) {
        if (status != -ECANCELED)
            cache_count(hub, CACHE_FAILED, 1);
        span_failed(span, flight->client, status, &req->err);
        return;
    }
    cache_count(hub, CACHE_FETCHED, 1);
    flight->client->counters->spans_fetched++;
    store_start(span, slab);
    span_arrived(span, slab);
    slab_unlock(slab);
}

void flights_count(struct cache_client *client, const struct span_fetch *fetch, uint64_t began_ns)
{
    struct cache_hub *hub = client->cache->hub;

    client->counters->bytes_fetched += fetch->fetched;
    client->counters->range_requests += fetch->n_requests;
    cache_count(hub, CACHE_FETCHED_BYTES, fetch->fetched);
    cache_count(hub, CACHE_REQUESTS, fetch->n_requests);
    metric_observe(&hub->metrics[CACHE_FETCH_TIME], engine_now_ns() - began_ns);
}

static void flight_end(struct flight *flight)
{
    struct cache_client *client = flight->client;
    struct cache_hub *hub = flight->layer->cache->hub;

    hub->n_ahead -= flight->is_ahead;
    client->n_flights--;
    client->waited_len -= flight->waited_len;
    flights_end(hub, flight->len);
    queue_remove(&flight->node);
    free(flight);
    cache_client_maybe_closed(client);
}

static void on_fetched(struct span_fetch *req, int status)
{
    struct flight *flight = container_of(req, struct flight, fetch);

    if (status < 0 && status != -ECANCELED)
        log_debug(flight->client->engine, "cache: %s", req->err.message);
    flights_count(flight->client, req, flight->began_ns);
    flight_end(flight);
}

/* ---- whose turn it is */

/* May it go with a span that is, or is not, read ahead? */
static bool may_join(const struct cache_span *span, bool is_ahead)
{
    return span->pending && !span->pending->flies && span->pending->is_ahead == is_ahead &&
           !(span->flags & (SPAN_STORED | SPAN_CHAINED));
}

/* What is waited for takes along what is foreseen behind it: it is decoded first all the same, and
 * a request has its price. */
static bool may_follow(const struct cache_span *span, bool is_ahead)
{
    return may_join(span, is_ahead) || (may_join(span, true) && span->flags & SPAN_FORESEEN);
}

/* Grows the run around a span with neighbours that are wanted too. */
static void choose_run(struct cache_span *span, struct flight *out)
{
    struct cache_layer *layer = span->layer;
    bool is_ahead = span->pending->is_ahead;
    uint64_t first = span_index(span), end = first + 1;
    uint64_t len = span_len(span);

    while (first > 0 && may_join(&layer->spans[first - 1], is_ahead) &&
           len + span_len(&layer->spans[first - 1]) <= CACHE_RUN_MAX)
        len += span_len(&layer->spans[--first]);
    while (end < layer->n_spans && may_follow(&layer->spans[end], is_ahead) &&
           len + span_len(&layer->spans[end]) <= CACHE_RUN_MAX)
        len += span_len(&layer->spans[end++]);
    out->fetch.first = first;
    out->fetch.n = end - first;
    out->len = len;
    out->is_ahead = is_ahead;
}

static void fail_run(struct cache_client *client, struct cache_layer *layer, uint64_t first,
                     uint64_t n)
{
    static const struct clip_error no_memory = {-ENOMEM, "out of memory for a fetch"};

    for (uint64_t i = first; i < first + n; i++)
        span_failed(&layer->spans[i], client, -ENOMEM, &no_memory);
}

static void count_waited(struct flight *flight, uint64_t len)
{
    flight->waited_len += len;
    flight->client->waited_len += len;
}

static void take_off(struct flight *flight)
{
    struct cache_layer *layer = flight->layer;

    for (uint64_t i = 0; i < flight->fetch.n; i++) {
        struct pending *pending = layer->spans[flight->fetch.first + i].pending;
        queue_remove(&pending->node);
        pending->flies = true;
        pending->flight = flight;
        if (!queue_empty(&pending->waiters))
            count_waited(flight, span_len(pending->span));
    }
    flight->began_ns = engine_now_ns();
    queue_push(&flight->client->flights, &flight->node);
    flight->client->n_flights++;
    layer->cache->hub->n_ahead += flight->is_ahead;
    share_took(flight->client, flight->len);
    flights_begin(layer->cache->hub, flight->len);
}

/* For what a client waits for. */
static enum work_lane lane_of(struct cache_client *client)
{
    return client->waited_len > CLIENT_SHARE || share_is_greedy(client) ? WORK_BULK : WORK_READ;
}

/* Nobody waits for it yet. But what a profile names will be waited for soon. */
static enum work_lane lane_ahead(struct cache_client *client)
{
    return client->profile ? lane_of(client) : WORK_BULK;
}

static void start_flight(struct cache_client *client, struct pending *pending)
{
    struct cache_layer *layer = pending->span->layer;
    struct flight *flight = calloc(1, sizeof(*flight));

    if (!flight) {
        fail_run(client, layer, span_index(pending->span), 1);
        return;
    }
    flight->client = client;
    flight->layer = layer;
    choose_run(pending->span, flight);
    flight->fetch.image = client->image;
    flight->fetch.layer = cache_layer_number(client, layer);
    flight->fetch.lane = flight->is_ahead ? lane_ahead(client) : lane_of(client);
    flight->fetch.on_decoded = on_decoded;
    flight->fetch.on_done = on_fetched;
    take_off(flight);
    if (span_fetch_start(client->source, &flight->fetch, 0) < 0) {
        fail_run(client, layer, flight->fetch.first, flight->fetch.n);
        flight_end(flight);
    }
}

/* The first in a client's line whose layer is ready. */
static struct pending *first_ready(struct queue *line)
{
    queue_for_each(node, line)
    {
        struct pending *pending = container_of(node, struct pending, node);
        if (pending->span->layer->state == LAYER_READY)
            return pending;
    }
    return NULL;
}

/* What is left of the hub's room is for those who have nothing yet, however many have much. */
static bool client_has_room(const struct cache_hub *hub, struct cache_client *client, bool is_ahead)
{
    if (share_is_greedy(client))
        return !is_ahead && client->n_flights < GREEDY_FLIGHTS_MAX;
    return client->n_flights == 0 || (hub->n_flights < CLIENT_FLIGHTS_MAX &&
                                      hub->flight_len + hub->store_len < CLIENT_FLIGHT_MAX);
}

/* The next in the ring that stands in line; its client goes to the ring's end. */
static struct pending *next_in_line(struct cache_hub *hub, bool is_ahead)
{
    queue_for_each(node, &hub->clients)
    {
        struct cache_client *client = container_of(node, struct cache_client, node);
        struct pending *pending = first_ready(is_ahead ? &client->ahead : &client->wanted);
        if (!pending || !client_has_room(hub, client, is_ahead))
            continue;
        queue_remove(&client->node);
        queue_push(&hub->clients, &client->node);
        return pending;
    }
    return NULL;
}

bool flights_have_room(const struct cache_hub *hub)
{
    return hub->n_flights == 0 || (hub->n_flights < CACHE_FLIGHTS_MAX &&
                                   hub->flight_len + hub->store_len < CACHE_FLIGHT_MAX);
}

static bool has_room_ahead(const struct cache_hub *hub)
{
    return hub->n_ahead < CACHE_AHEAD_MAX &&
           hub->flight_len + hub->store_len < CACHE_FLIGHT_MAX / 4;
}

static void set_out(struct pending *pending)
{
    if (pending->span->flags & SPAN_STORED)
        load_start(pending);
    else if (pending->span->flags & SPAN_CHAINED)
        chain_want(pending);
    else
        start_flight(pending->client, pending);
}

static void pump_now(struct later *later)
{
    struct cache_hub *hub = container_of(later, struct cache_hub, pump);
    struct pending *pending;

    chains_go_on(hub);
    while (flights_have_room(hub) && (pending = next_in_line(hub, false)))
        set_out(pending);
    while (flights_have_room(hub) && has_room_ahead(hub) && (pending = next_in_line(hub, true)))
        set_out(pending);
}

void flight_hurry(struct flight *flight, uint64_t len)
{
    flight->fetch.lane = lane_of(flight->client);
    count_waited(flight, len);
}

enum work_lane flight_lane(const struct flight *flight)
{
    return flight->fetch.lane;
}

void flights_pump(struct cache_hub *hub)
{
    later_call(hub->engine, &hub->pump, pump_now);
}

void flights_begin(struct cache_hub *hub, uint64_t len)
{
    hub->n_flights++;
    hub->flight_len += len;
    hub->metrics[CACHE_INFLIGHT].value = hub->n_flights;
}

void flights_end(struct cache_hub *hub, uint64_t len)
{
    hub->n_flights--;
    hub->flight_len -= len;
    hub->metrics[CACHE_INFLIGHT].value = hub->n_flights;
    flights_pump(hub);
}

void flights_cancel(struct cache_client *client)
{
    queue_for_each(node, &client->flights)
        span_fetch_cancel(&container_of(node, struct flight, node)->fetch);
    chains_cancel(client);
}
