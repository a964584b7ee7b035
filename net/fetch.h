/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request and its response: a handle that ends by itself. On the loop's thread.
 *
 * Handled in here: the connection and its limits, TLS, proxies, redirects, 401, and the one repeat
 * that is always right (a kept connection that turns out to be closed). Failures are not retried
 * and a status such as 404, 429 or 503 is a response like others: who calls knows what it means.
 */
#ifndef CLIP_NET_FETCH_H
#define CLIP_NET_FETCH_H

#include "engine/slab.h"
#include "engine/work.h"
#include "net/net.h"

struct auth;
struct fetch;

#define FETCH_SLAB_MAX (256u * 1024u)

enum fetch_method { FETCH_GET, FETCH_HEAD, FETCH_POST };

struct fetch_header {
    const char *name, *value;
};

/* The response that counts: after redirects and 401. Bodies of other responses are not shown.
 * fetch_status() and fetch_get_header() answer from here on, until on_end returns. May cancel. */
typedef void (*fetch_response_cb)(void *data, struct fetch *fetch);
/* `slab` is the receiver's to unlock; its length is taken from the credit. */
typedef void (*fetch_slab_cb)(void *data, struct slab *slab);
/* Exactly once, nothing after it, and then the fetch is gone. 0: the response is complete, by what
 * it says of its own length (a body that ends with the connection is complete when that closes, so
 * compare lengths). Without on_response before it: status < 0. */
typedef void (*fetch_end_cb)(void *data, int status, const struct clip_error *err);

struct fetch_options {
    const char *url; /* http:// or https:// */
    enum fetch_method method;
    const struct fetch_header *headers; /* Accept, Range, ... ; borrowed for the call */
    unsigned n_headers;
    const char *authorization; /* sent to the first origin only; NULL: none */
    struct auth *auth;         /* asked for a header, and again at 401; NULL: 401 is a response */
    const void *body;          /* of a POST; copied */
    size_t body_len;
    enum work_lane lane;    /* WORK_READ goes before WORK_BULK when connections are short */
    struct net_trust trust; /* copied */
    fetch_response_cb on_response;
    fetch_slab_cb on_slab;
    fetch_end_cb on_end;
    void *data;
};

/* No credit at first. What is wrong with the URL or refused by policy is told here, what the
 * network says by on_end. `auth` must stay open until on_end. */
int fetch_open(struct clip_engine *engine, const struct fetch_options *options, struct fetch **out,
               struct clip_error *err);
/* Lets `len` more body bytes come; without any the connection is not read. Not from on_end. */
void fetch_credit(struct fetch *fetch, uint64_t len);
/* A wish: on_end comes with -ECANCELED from the loop, no slab after this call. */
void fetch_cancel(struct fetch *fetch);

/* ---- of a response */

unsigned fetch_status(const struct fetch *fetch);
/* The value of the first header of that name (any case), or NULL. */
const char *fetch_get_header(const struct fetch *fetch, const char *name);
/* Where the response came from in the end, without userinfo and query. */
const char *fetch_url(const struct fetch *fetch);
/* Content-Range: bytes FIRST-LAST/TOTAL. -ENOENT if there is none, -EBADMSG if it is another form.
 * A total of "*" is UINT64_MAX. */
int fetch_content_range(const struct fetch *fetch, uint64_t *out_off, uint64_t *out_len,
                        uint64_t *out_total);
/* Content-Length; -ENOENT if there is none. */
int fetch_content_length(const struct fetch *fetch, uint64_t *out);
/* Retry-After in milliseconds from now (seconds or a date); -ENOENT if there is none that is
 * understood. */
int fetch_retry_after(const struct fetch *fetch, uint64_t *out_ms);

/* Could the same fetch end better when it is tried again? (Connections that break or time out: yes;
 * certificates, bad URLs, what is not HTTP, and cancelling: no.) */
bool fetch_may_retry(int status);

#endif
