/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections to one origin, as one sort of trust sees it: kept for a while, limited in number
 * here and in the net, lent to one fetch at a time. On the loop's thread.
 *
 * Waiters stand in line without a ceiling of our own: there is one for each fetch. Those of lane
 * READ go first, and the limits leave some connections that BULK never takes.
 */
#ifndef CLIP_NET_ORIGIN_H
#define CLIP_NET_ORIGIN_H

#include "net/conn.h"

struct origin;

/* Finds or makes one. It stays while something waits in it or is lent by it. */
int origin_get(struct net *net, const struct url *url, const struct net_trust *trust,
               struct origin **out, struct clip_error *err);
/* NULL, or what HTTP requests are sent to instead. */
const struct proxy *origin_proxy(const struct origin *origin);

struct origin_wait;
typedef void (*origin_wait_cb)(struct origin_wait *wait, int status);

/* A request: embedded in who waits. */
struct origin_wait {
    /* public, set with 0: the caller's until origin_return() */
    struct conn *conn;
    bool reused; /* it was kept: the other end may have closed it by now */
    struct clip_error err;
    /* private */
    struct queue node;
    struct origin *origin;
    enum work_lane lane;
    bool fresh;
    struct conn *opening;
    origin_wait_cb done;
};

/* `fresh`: none that was kept. 1: `conn` is there; 0: `done` will fire. */
int origin_ask(struct origin *origin, struct origin_wait *wait, enum work_lane lane, bool fresh,
               origin_wait_cb done);
/* `done` does not fire after it. */
void origin_ask_cancel(struct origin_wait *wait);
/* Back from the fetch: kept for `keep_ms` at most (0: closed). */
void origin_return(struct conn *conn, uint64_t keep_ms);
/* A kept connection was found closed: the others that are kept are, too. */
void origin_distrust(struct origin *origin);

/* ---- for net.c */

void origins_close_idle(struct net *net);
void origins_free(struct net *net);

#endif
