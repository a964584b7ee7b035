/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all fetches of an engine share: origins with their connections, tokens, what is known about
 * proxies, time limits. One per engine, made by the first who asks, closed with the engine. On the
 * loop's thread.
 */
#ifndef CLIP_NET_NET_H
#define CLIP_NET_NET_H

#include "engine/engine.h"

struct net;

/* What is believed about the other end. Strings are copied by whoever keeps them. */
struct net_trust {
    const char *ca_file;   /* PEM, in addition to the system's store; NULL: none */
    const char *certs_dir; /* a certs.d directory; NULL: the usual places */
    bool plain_http;       /* http:// also to hosts that are not loopback */
};

struct net_timeouts {
    uint64_t connect_ms;    /* name and address, all attempts together */
    uint64_t tls_ms;        /* handshake, and a proxy's answer to CONNECT */
    uint64_t first_byte_ms; /* from the request's end to the response's first byte */
    uint64_t stall_ms;      /* no byte while some are asked for */
    uint64_t idle_ms;       /* how long a connection is kept for the next request */
    uint64_t helper_ms;     /* a credential helper's run */
};

/* Finds or makes the engine's. -ESHUTDOWN when the engine is closing, -ENOMEM. */
int net_get(struct clip_engine *engine, struct net **out, struct clip_error *err);

/* For tests, and for hosts with other networks: takes effect from the next connection on. */
struct net_timeouts *net_timeouts(struct net *net);

#endif
