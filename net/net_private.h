/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a net, for the modules that fetch: net.c, dial.c, conn.c, origin.c, fetch.c. */
#ifndef CLIP_NET_NET_PRIVATE_H
#define CLIP_NET_NET_PRIVATE_H

#include "engine/metrics.h"
#include "engine/work.h"
#include "net/net.h"
#include "net/proxy.h"

#define NET_CONNS_MAX       64u /* open or opening, of all origins */
#define NET_CONNS_BULK_MAX  56u /* so that a read need not wait for a stream's end */
#define NET_ORIGIN_MAX      16u
#define NET_ORIGIN_BULK_MAX 12u
#define NET_ORIGINS_KEPT    64u /* without a connection; they remember TLS sessions */

struct tls_store;

struct net {
    struct clip_engine *engine;
    struct net_timeouts timeouts;
    struct proxies proxies;
    struct queue origins; /* oldest use first */
    unsigned n_origins;
    unsigned n_conns;  /* of all origins */
    struct queue idle; /* conns that are kept, oldest first */
    struct queue fetches;
    struct queue starved; /* origins that wait for a connection of others to end */
    struct later later;   /* asks them again */

    struct tls_store *store; /* the system's CAs, once they are read */
    struct queue tls_jobs;
    bool tls_busy;

    struct engine_child child;
    unsigned n_parts;
    bool closing;

    struct metric requests[WORK_BLOCK], responses[5], failures, received;
    struct metric conns, opened, reused, handshakes[2];
};

/* What must end before the net may go: handles, lookups, jobs. */
void net_hold(struct net *net);
void net_release(struct net *net);
/* To be asked wherever a fetch or a connection ends. */
void net_maybe_closed(struct net *net);

/* A job on keys and certificates. One at a time in a net: verifying writes to what it caches in
 * the CAs' keys, and those are shared. Cannot be cancelled; takes milliseconds. */
struct tls_job {
    struct queue node;
    struct work work;
    enum work_lane lane;
    work_fn run;
    void (*done)(struct tls_job *job);
    struct net *net;
};
void net_tls_submit(struct net *net, struct tls_job *job, enum work_lane lane, work_fn run,
                    void (*done)(struct tls_job *job));

#endif
