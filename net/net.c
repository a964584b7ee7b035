/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a net is:
 * - the first who fetches makes it with net_get(); proxies are read from the environment then.
 * - origins, connections and fetches hang on it; it has their limits and their counters.
 * Possible failure modes are: no memory; a proxy variable that cannot be understood, which is told
 *   by the fetches that would have used it.
 * On close: fetches still in flight are cancelled (their owners had their chance in the levels
 * before), kept connections are closed, and when nothing holds the net it is freed.
 */
#include "net/net_private.h"

#include "net/fetch.h"
#include "net/fetch_private.h"
#include "net/origin.h"
#include "net/tls.h"

#include <stdlib.h>

static const struct net_timeouts default_timeouts = {
    .connect_ms = 15 * 1000,
    .tls_ms = 15 * 1000,
    .first_byte_ms = 60 * 1000,
    .stall_ms = 30 * 1000,
    .idle_ms = 60 * 1000,
    .helper_ms = 30 * 1000,
};

static const char kind;

static void close_net(struct engine_child *child)
{
    struct net *net = container_of(child, struct net, child);

    net->closing = true;
    fetches_cancel(net);
    origins_close_idle(net);
    net_maybe_closed(net);
}

static void add_responses(struct net *net)
{
    static const char *const classes[] = {"code=\"1xx\"", "code=\"2xx\"", "code=\"3xx\"",
                                          "code=\"4xx\"", "code=\"5xx\""};

    for (unsigned i = 0; i < sizeof(classes) / sizeof(*classes); i++)
        metric_add(net->engine, &net->responses[i], METRIC_COUNTER, "clip_http_responses_total",
                   "HTTP responses, redirects and refusals too.", classes[i]);
}

static void add_metrics(struct net *net)
{
    static const char *const lanes[] = {"lane=\"read\"", "lane=\"bulk\""};
    static const char *const kinds[] = {"kind=\"full\"", "kind=\"resumed\""};

    for (unsigned i = 0; i < WORK_BLOCK; i++)
        metric_add(net->engine, &net->requests[i], METRIC_COUNTER, "clip_http_requests_total",
                   "HTTP requests sent.", lanes[i]);
    add_responses(net);
    metric_add(net->engine, &net->failures, METRIC_COUNTER, "clip_http_failures_total",
               "Fetches that ended without a complete response, cancelled ones not counted.", NULL);
    metric_add(net->engine, &net->received, METRIC_COUNTER, "clip_net_received_bytes_total",
               "Bytes that came from the network, as they were on the wire.", NULL);
    metric_add(net->engine, &net->conns, METRIC_GAUGE, "clip_net_connections",
               "Connections that are open or being opened.", NULL);
    metric_add(net->engine, &net->opened, METRIC_COUNTER, "clip_net_connections_opened_total",
               "Connections that were opened.", NULL);
    metric_add(net->engine, &net->reused, METRIC_COUNTER, "clip_net_connections_reused_total",
               "Requests that went over a kept connection.", NULL);
    for (unsigned i = 0; i < 2; i++)
        metric_add(net->engine, &net->handshakes[i], METRIC_COUNTER,
                   "clip_net_tls_handshakes_total", "TLS handshakes that succeeded.", kinds[i]);
}

static void remove_metrics(struct net *net)
{
    for (unsigned i = 0; i < WORK_BLOCK; i++)
        metric_remove(&net->requests[i]);
    for (unsigned i = 0; i < 5; i++)
        metric_remove(&net->responses[i]);
    for (unsigned i = 0; i < 2; i++)
        metric_remove(&net->handshakes[i]);
    metric_remove(&net->failures);
    metric_remove(&net->received);
    metric_remove(&net->conns);
    metric_remove(&net->opened);
    metric_remove(&net->reused);
}

static int make(struct clip_engine *engine, struct net **out, struct clip_error *err)
{
    struct net *net = calloc(1, sizeof(*net));
    int r;

    if (!net || proxies_init(&net->proxies) < 0) {
        free(net);
        return err_set(err, -ENOMEM, "out of memory for the network");
    }
    net->engine = engine;
    net->timeouts = default_timeouts;
    queue_init(&net->origins);
    queue_init(&net->idle);
    queue_init(&net->fetches);
    queue_init(&net->starved);
    queue_init(&net->tls_jobs);
    later_init(&net->later);
    r = engine_add(engine, &net->child, ENGINE_NET, &kind, close_net);
    if (r < 0) {
        proxies_fini(&net->proxies);
        free(net);
        return err_set(err, r, "the engine is closing");
    }
    add_metrics(net);
    *out = net;
    return 0;
}

int net_get(struct clip_engine *engine, struct net **out, struct clip_error *err)
{
    struct engine_child *child = engine_find(engine, &kind);
    struct net *net;

    if (!child)
        return make(engine, out, err);
    net = container_of(child, struct net, child);
    if (net->closing)
        return err_set(err, -ESHUTDOWN, "the engine is closing");
    *out = net;
    return 0;
}

struct net_timeouts *net_timeouts(struct net *net)
{
    return &net->timeouts;
}

void net_hold(struct net *net)
{
    net->n_parts++;
}

void net_release(struct net *net)
{
    net->n_parts--;
    net_maybe_closed(net);
}

void net_maybe_closed(struct net *net)
{
    if (!net->closing || net->n_parts > 0 || net->n_conns > 0 || !queue_empty(&net->fetches))
        return;
    later_cancel(&net->later);
    origins_free(net);
    tls_store_free(net->store);
    proxies_fini(&net->proxies);
    remove_metrics(net);
    engine_remove(net->engine, &net->child);
    free(net);
}

/* -------------------------------------------------------- jobs, one at a time */

static void tls_next(struct net *net);

static void tls_job_done(struct work *work, int status)
{
    struct tls_job *job = container_of(work, struct tls_job, work);
    struct net *net = job->net;

    (void)status; /* nobody cancels it */
    net->tls_busy = false;
    tls_next(net);
    job->done(job);
    net_release(net);
}

static void tls_next(struct net *net)
{
    struct queue *node = net->tls_busy ? NULL : queue_pop(&net->tls_jobs);
    struct tls_job *job;

    if (!node)
        return;
    job = container_of(node, struct tls_job, node);
    net->tls_busy = true;
    work_submit(net->engine, &job->work, job->lane, job->run, tls_job_done);
}

void net_tls_submit(struct net *net, struct tls_job *job, enum work_lane lane, work_fn run,
                    void (*done)(struct tls_job *job))
{
    net_hold(net);
    job->net = net;
    job->lane = lane;
    job->run = run;
    job->done = done;
    if (lane == WORK_READ)
        queue_push_front(&net->tls_jobs, &job->node);
    else
        queue_push(&net->tls_jobs, &job->node);
    tls_next(net);
}
