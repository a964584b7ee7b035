/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to an origin: TCP, through a proxy's tunnel if there is one, under TLS if the origin
 * is https. A handle, on the loop's thread. It speaks no HTTP but the proxy's CONNECT.
 */
#ifndef CLIP_NET_CONN_H
#define CLIP_NET_CONN_H

#include "engine/work.h"
#include "net/net_private.h"
#include "net/tls.h"

struct conn;
struct dial;
struct http;
struct origin;

/* None of them fires from inside a call. After a failure all that may be done is conn_close(). */
struct conn_events {
    void (*on_open)(void *data, int status, const struct clip_error *err);
    /* Where the next bytes shall go. 0 bytes: not now, go on with conn_read(). */
    void (*on_alloc)(void *data, void **out, size_t *out_len);
    /* So many bytes are there; 0: the other end has closed; below: a failure. */
    void (*on_read)(void *data, ssize_t n, const struct clip_error *err);
};

struct conn_options {
    const struct url *url;             /* borrowed while the conn lives */
    const struct proxy *proxy;         /* NULL: none; borrowed too */
    struct tls_trust *trust;           /* NULL: not under TLS; borrowed too */
    const struct tls_session *session; /* to begin from, or NULL; borrowed for the call */
    enum work_lane lane;
    const struct conn_events *events;
    void *data;
};

/* What the owner waits for; each has its time. */
enum conn_wait { CONN_WAIT_NONE, CONN_WAIT_FIRST_BYTE, CONN_WAIT_STALL, CONN_WAIT_IDLE };

enum conn_state {
    CONN_DIALLING,
    CONN_TUNNELLING,
    CONN_SHAKING_HANDS,
    CONN_OPEN,
    CONN_FAILED,
    CONN_CLOSING
};

struct conn {
    /* the owner's, who embeds nothing else in it */
    struct origin *origin;
    struct queue node, idle_node;
    uint64_t idle_ms;
    enum work_lane lane;
    /* read-only */
    struct net *net;
    enum conn_state state;
    /* private */
    const struct conn_events *events;
    void *data;
    const struct url *url;
    const struct proxy *proxy;
    struct dial *dial;
    uv_tcp_t *tcp;
    uv_timer_t timer;
    struct later later;
    unsigned n_parts;
    enum conn_wait wait;
    bool reading;      /* the owner wants bytes */
    bool kept;         /* does not keep the loop alive */
    struct http *http; /* the proxy's answer to CONNECT */
    struct tls *tls;
    struct tls_job job;
    int job_status;
    struct clip_error job_err;
    uint8_t *scratch;  /* what comes before it is decrypted or understood */
    bool scratch_used; /* something in there is not read yet */
    size_t burst;      /* bytes that came without uv looking at anybody else */
    struct clip_error err;
};

int conn_open(struct net *net, const struct conn_options *options, struct conn **out,
              struct clip_error *err);
/* In every state; no event after it. */
void conn_close(struct conn *conn);
void conn_set_owner(struct conn *conn, const struct conn_events *events, void *data);

/* Copies. A failure is told by on_read. */
void conn_write(struct conn *conn, const void *bytes, size_t len);
/* Lets bytes come until on_alloc has no place for them. */
void conn_read(struct conn *conn);
/* No event comes until conn_read(). */
void conn_pause(struct conn *conn);
/* The clock for CONN_WAIT_STALL starts anew with every byte and stops while none are wanted. */
void conn_expect(struct conn *conn, enum conn_wait wait);
/* Kept for later, it does not keep the loop alive. */
void conn_keep(struct conn *conn, bool kept);

/* Of one under TLS that is open; NULL otherwise. The caller frees it. */
struct tls_session *conn_session(const struct conn *conn);
/* HTTP requests go to a proxy as they are. */
bool conn_by_plain_proxy(const struct conn *conn);

#endif
