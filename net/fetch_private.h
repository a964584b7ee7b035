/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a fetch, for net/fetch.c (where it goes) and net/fetch_response.c (what comes back).
 *
 * A hop is one request and its response. A fetch has one after the other: the repeat on a fresh
 * connection, redirects, and once more with better credentials.
 */
#ifndef CLIP_NET_FETCH_PRIVATE_H
#define CLIP_NET_FETCH_PRIVATE_H

#include "net/auth.h"
#include "net/fetch.h"
#include "net/http.h"
#include "net/origin.h"
#include "net/url.h"

/* What becomes of a response. */
enum fetch_next { FETCH_SHOW, FETCH_REDIRECT, FETCH_AUTHORIZE };

struct fetch {
    struct net *net;
    struct queue node;
    struct later later;
    struct fetch_options options; /* its strings are copies */
    bool ended;
    int status;
    struct clip_error err;

    /* the hop */
    struct url first, url;
    enum fetch_method method; /* a POST may become a GET on its way */
    unsigned n_redirects, n_refusals;
    struct auth_ask ask;
    bool asking, asked;
    struct origin_wait wait;
    bool waiting;
    struct conn *conn;

    /* its response */
    struct http *http;
    enum fetch_next next;
    bool in_body;
    struct slab *in; /* where bytes are read to, and then lent to http */
    size_t in_cap;   /* of the next one */
    const uint8_t *piece;
    size_t piece_len; /* of the body, waits for credit */
    uint64_t credit;
    uint64_t body_left; /* UINT64_MAX: not known */
    uint64_t n_dropped; /* of a body that is not shown */
    struct url next_url;
    char *challenges;
};

/* ---- net/fetch.c */

/* Ends it: on_end comes from the loop. `status` < 0 is in fetch->err, with its sentence. */
void fetch_end(struct fetch *fetch, int status);
/* The response is complete, or not worth reading to its end (keep_ms 0). */
void fetch_hop_done(struct fetch *fetch, uint64_t keep_ms);
/* The connection was kept and turned out to be closed: once more on a fresh one. */
void fetch_hop_again(struct fetch *fetch);
/* For the net, when it closes. */
void fetches_cancel(struct net *net);

/* ---- net/fetch_response.c */

extern const struct conn_events fetch_conn_events;

void fetch_response_start(struct fetch *fetch);
/* Goes on where there was no credit. */
void fetch_response_pump(struct fetch *fetch);

#endif
