/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a share is:
 * - what is done for a client is added to what it has had: the loop's time for its requests, and
 *   an estimate of the pool's for its spans. It is halved every HALF_NS, so that the past counts
 *   less and less.
 * - a client that has had more than twice as much as another, which waits for a span or just did,
 *   is greedy. As long as it is, it has few flights, in the lane for bulk, nothing is read ahead
 *   for it (cache_flight.c), and after each bit of the loop's time it rests (fs/channel.c). It
 *   always has a part, so that who waits for a slow source holds nobody up. Who is alone, or among
 *   equals, has what there is.
 * Possible failure modes are: none.
 */
#include "fs/cache_private.h"

#define HALF_NS     64000000ull
#define LINGER_NS   20000000ull /* after a wait: who reads one thing after the other waits again */
#define LITTLE_NS   4000000ull  /* who has had no more is not greedy */
#define NS_PER_BYTE 3u          /* of decoding, about */
#define REST_PART   3u          /* so that a greedy one has a quarter of the loop */

static uint64_t had_lately(struct cache_client *client, uint64_t now)
{
    uint64_t n = (now - client->had_at_ns) / HALF_NS;

    client->had_ns = n < 64 ? client->had_ns >> n : 0;
    client->had_at_ns += n * HALF_NS;
    return client->had_ns;
}

void share_init(struct cache_client *client)
{
    queue_init(&client->waiting);
    client->n_waits = 0;
    client->had_ns = 0;
    client->had_at_ns = client->waited_ns = engine_now_ns();
}

void share_fini(struct cache_client *client)
{
    queue_remove(&client->waiting);
}

void share_wait_begin(struct cache_client *client)
{
    client->n_waits++;
    if (queue_empty(&client->waiting))
        queue_push(&client->cache->hub->waiting, &client->waiting);
}

void share_wait_end(struct cache_client *client)
{
    client->n_waits--;
    client->waited_ns = engine_now_ns();
}

static void took(struct cache_client *client, uint64_t ns)
{
    had_lately(client, engine_now_ns());
    client->had_ns += ns;
}

void share_took(struct cache_client *client, uint64_t len)
{
    took(client, len * NS_PER_BYTE);
}

static bool waits(const struct cache_client *client, uint64_t now)
{
    return client->n_waits > 0 || now - client->waited_ns < LINGER_NS;
}

bool share_is_greedy(struct cache_client *client)
{
    struct cache_hub *hub = client->cache->hub;
    uint64_t now = engine_now_ns();
    uint64_t had = had_lately(client, now);
    struct queue *next;

    if (had <= LITTLE_NS)
        return false;
    for (struct queue *node = hub->waiting.next; node != &hub->waiting; node = next) {
        struct cache_client *other = container_of(node, struct cache_client, waiting);
        next = node->next;
        if (!waits(other, now))
            queue_remove(node);
        else if (other != client && had_lately(other, now) < had / 2)
            return true;
    }
    return false;
}

uint64_t cache_client_rest(struct cache_client *client, uint64_t took_ns)
{
    took(client, took_ns);
    return share_is_greedy(client) ? took_ns * REST_PART : 0;
}
