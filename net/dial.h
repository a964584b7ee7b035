/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name and a port made into a TCP connection: lookup, then its addresses raced as RFC 8305 says
 * (families in turn, 250 ms apart, the first that answers wins). A handle that ends by itself. On
 * the loop's thread.
 */
#ifndef CLIP_NET_DIAL_H
#define CLIP_NET_DIAL_H

#include "net/net.h"

#include <sys/socket.h>

#define DIAL_ADDRESSES_MAX 16u
#define DIAL_NEXT_MS       250u

struct dial;

/* With 0: `tcp` is the receiver's, malloc'ed, to be closed and freed. The error names host, port
 * and cause. Exactly once, then the dial is gone. */
typedef void (*dial_cb)(void *data, int status, uv_tcp_t *tcp, const struct clip_error *err);

struct dial_options {
    const char *host; /* a name or an address; copied */
    uint16_t port;
    uint64_t timeout_ms;                      /* lookup and all attempts together */
    const struct sockaddr_storage *addresses; /* known already: no lookup; NULL: look up */
    unsigned n_addresses;
    dial_cb done;
    void *data;
};

int dial_start(struct net *net, const struct dial_options *options, struct dial **out);
/* `done` does not fire any more; what is in flight ends by itself, before the net. */
void dial_cancel(struct dial *dial);

#endif
