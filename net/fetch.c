/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a fetch is:
 * - authorize() asks auth for a header, where there is an auth and the origin is the first one;
 *   find_conn() asks the origin for a connection; ask() writes the request.
 * - net/fetch_response.c reads the response and says what becomes of it: it is shown, or it leads
 * to another hop, which begins when its body is passed.
 * - the connection goes back to its origin, and on_end comes from the loop.
 * Possible failure modes are: what auth, origin, connection and http say; too many redirects, one
 *   from https to http, http:// where it is not allowed. Each ends the fetch, with the URL in
 *   front.
 * On cancel: whatever is waited for is cancelled, a connection in use is closed.
 */
#include "net/fetch.h"

#include "engine/log.h"
#include "net/basic.h"
#include "net/fetch_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REFUSALS_MAX 3u /* 401 one after the other: a new token, other credentials, and no more */

static void find_conn(struct fetch *fetch, bool fresh);

/* --------------------------------------------------------------------- the end */

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void free_options(struct fetch_options *options)
{
    for (unsigned i = 0; options->headers && i < options->n_headers; i++) {
        free((char *)options->headers[i].name);
        free((char *)options->headers[i].value);
    }
    free((struct fetch_header *)options->headers);
    wipe((char *)options->authorization);
    if (options->body)
        explicit_bzero((void *)options->body, options->body_len);
    free((void *)options->body);
    free((char *)options->trust.ca_file);
    free((char *)options->trust.certs_dir);
}

static void free_fetch(struct fetch *fetch)
{
    slab_unlock(fetch->in);
    http_free(fetch->http);
    url_fini(&fetch->first);
    url_fini(&fetch->url);
    url_fini(&fetch->next_url);
    wipe(fetch->ask.header);
    free(fetch->challenges);
    free_options(&fetch->options);
    free(fetch);
}

static void on_end(struct later *later)
{
    struct fetch *fetch = container_of(later, struct fetch, later);
    struct net *net = fetch->net;

    if (fetch->status < 0 && fetch->status != -ECANCELED)
        net->failures.value++;
    queue_remove(&fetch->node);
    fetch->options.on_end(fetch->options.data, fetch->status, &fetch->err);
    free_fetch(fetch);
    net_maybe_closed(net);
}

static void leave(struct fetch *fetch, uint64_t keep_ms)
{
    struct conn *conn = fetch->conn;

    fetch->conn = NULL;
    if (conn)
        origin_return(conn, keep_ms);
}

void fetch_end(struct fetch *fetch, int status)
{
    if (fetch->ended)
        return;
    fetch->ended = true;
    fetch->status = status;
    if (status < 0)
        err_prefix(&fetch->err, "%s", fetch->url.shown);
    else
        err_clear(&fetch->err);
    if (fetch->asking)
        auth_ask_cancel(&fetch->ask);
    if (fetch->waiting)
        origin_ask_cancel(&fetch->wait);
    fetch->asking = fetch->waiting = false;
    leave(fetch, 0);
    later_call(fetch->net->engine, &fetch->later, on_end);
}

static void fail(struct fetch *fetch, int status, const struct clip_error *err)
{
    if (err != &fetch->err)
        fetch->err = *err;
    fetch_end(fetch, status);
}

void fetch_cancel(struct fetch *fetch)
{
    err_set(&fetch->err, -ECANCELED, "cancelled");
    if (fetch->ended)
        fetch->status = -ECANCELED; /* the end was on its way */
    else
        fetch_end(fetch, -ECANCELED);
}

void fetches_cancel(struct net *net)
{
    queue_for_each(node, &net->fetches) fetch_cancel(container_of(node, struct fetch, node));
}

/* ----------------------------------------------------------------- the request */

static bool at_first_origin(const struct fetch *fetch)
{
    return url_same_origin(&fetch->url, &fetch->first);
}

static const char *authorization(const struct fetch *fetch)
{
    if (!at_first_origin(fetch))
        return NULL;
    return fetch->options.auth ? fetch->ask.header : fetch->options.authorization;
}

/* To a proxy that is no tunnel the target is the whole URL. */
static void start_request(struct fetch *fetch, struct http_request *request)
{
    static const char *const methods[] = {"GET", "HEAD", "POST"};
    const struct url *url = &fetch->url;
    char *target;

    if (!conn_by_plain_proxy(fetch->conn)) {
        http_request_start(request, methods[fetch->method], url->target);
        return;
    }
    if (asprintf(&target, "%s%s", url->origin, url->target) < 0) {
        request->r = -ENOMEM;
        return;
    }
    http_request_start(request, methods[fetch->method], target);
    http_request_add(request, "Proxy-Authorization",
                     origin_proxy(fetch->conn->origin)->authorization);
    wipe(target);
}

static int write_request(struct fetch *fetch, struct http_request *request)
{
    const struct fetch_options *options = &fetch->options;
    char *host = url_authority(&fetch->url, false);
    bool has_body = fetch->method == FETCH_POST;

    if (!host)
        return -ENOMEM;
    start_request(fetch, request);
    http_request_add(request, "Host", host);
    http_request_add(request, "User-Agent", "clip/" CLIP_VERSION);
    http_request_add(request, "Accept-Encoding",
                     "identity"); /* digests are of the bytes as stored */
    http_request_add(request, "Authorization", authorization(fetch));
    for (unsigned i = 0; i < options->n_headers; i++)
        http_request_add(request, options->headers[i].name, options->headers[i].value);
    free(host);
    return http_request_finish(request, has_body ? (options->body ? options->body : "") : NULL,
                               has_body ? options->body_len : 0);
}

static void ask(struct fetch *fetch)
{
    struct http_request request = {0};
    int r;

    fetch->conn = fetch->wait.conn;
    conn_set_owner(fetch->conn, &fetch_conn_events, fetch);
    r = write_request(fetch, &request);
    if (r == 0) {
        fetch->net->requests[fetch->options.lane == WORK_READ ? 0 : 1].value++;
        fetch_response_start(fetch);
        conn_write(fetch->conn, request.bytes, request.len);
        conn_expect(fetch->conn, CONN_WAIT_FIRST_BYTE);
        conn_read(fetch->conn);
    }
    http_request_fini(&request);
    if (r == -EINVAL)
        fetch_end(fetch, err_set(&fetch->err, r, "a header's value has control characters"));
    else if (r < 0)
        fetch_end(fetch, err_set(&fetch->err, r, "out of memory for a request"));
}

/* ---------------------------------------------------------------------- a hop */

static void on_conn(struct origin_wait *wait, int status)
{
    struct fetch *fetch = container_of(wait, struct fetch, wait);

    fetch->waiting = false;
    if (status < 0)
        fail(fetch, status, &wait->err);
    else
        ask(fetch);
}

static void find_conn(struct fetch *fetch, bool fresh)
{
    struct origin *origin;
    int r = origin_get(fetch->net, &fetch->url, &fetch->options.trust, &origin, &fetch->err);

    if (r < 0) {
        fetch_end(fetch, r);
        return;
    }
    if (origin_ask(origin, &fetch->wait, fetch->options.lane, fresh, on_conn) == 1)
        ask(fetch);
    else
        fetch->waiting = true;
}

static void on_answer(struct auth_ask *asked, int status)
{
    struct fetch *fetch = container_of(asked, struct fetch, ask);

    fetch->asking = false;
    if (status < 0)
        fail(fetch, status, &asked->err);
    else
        find_conn(fetch, false);
}

static void take_answer(struct fetch *fetch, int r)
{
    fetch->asking = r == 0;
    if (r == 1)
        find_conn(fetch, false);
    else if (r < 0)
        fail(fetch, r, &fetch->ask.err);
}

/* The header's text is asked for once; after that only a refusal brings another. */
static void authorize(struct fetch *fetch)
{
    if (!fetch->options.auth || fetch->asked || !at_first_origin(fetch)) {
        find_conn(fetch, false);
        return;
    }
    fetch->asked = true;
    take_answer(fetch, auth_ask(fetch->options.auth, &fetch->ask, on_answer));
}

static void authorize_again(struct fetch *fetch)
{
    char *challenges = fetch->challenges;
    int r;

    fetch->challenges = NULL;
    if (++fetch->n_refusals > REFUSALS_MAX) {
        r = err_set(&fetch->ask.err, -EACCES,
                    "refused with 401 again and again: are the credentials right?");
    } else {
        wipe(fetch->ask.header);
        fetch->ask.header = NULL;
        r = auth_ask_again(fetch->options.auth, &fetch->ask, fetch->url.origin, challenges,
                           on_answer);
    }
    free(challenges);
    take_answer(fetch, r);
}

/* The URL that is refused is the one that the sentence begins with. */
static int check_policy(const struct fetch *fetch, const struct url *url, struct clip_error *err)
{
    if (url->tls || url_host_is_loopback(url->host) || fetch->options.trust.plain_http)
        return 0;
    return err_set(err, -EPERM,
                   "http:// is for this machine's own addresses; where it must be used for others "
                   "give --plain-http");
}

static int follow(struct fetch *fetch)
{
    bool downgrade = fetch->url.tls && !fetch->next_url.tls;
    unsigned status = http_status(fetch->http);

    if (fetch->method == FETCH_POST && status != 307 && status != 308)
        fetch->method = FETCH_GET;
    log_debug(fetch->net->engine, "fetch %s: %u to %s", fetch->url.shown, status,
              fetch->next_url.shown);
    if (downgrade)
        return err_set(&fetch->err, -EPERM, "a redirect from https to %s is not followed",
                       fetch->next_url.shown);
    url_fini(&fetch->url);
    fetch->url = fetch->next_url;
    fetch->next_url = (struct url){0};
    return check_policy(fetch, &fetch->url, &fetch->err);
}

void fetch_hop_done(struct fetch *fetch, uint64_t keep_ms)
{
    int r;

    slab_unlock(fetch->in);
    fetch->in = NULL;
    fetch->piece_len = 0;
    leave(fetch, keep_ms);
    if (fetch->next == FETCH_SHOW) {
        fetch_end(fetch, 0);
    } else if (fetch->next == FETCH_AUTHORIZE) {
        authorize_again(fetch);
    } else if ((r = follow(fetch)) < 0) {
        fetch_end(fetch, r);
    } else {
        authorize(fetch);
    }
}

void fetch_hop_again(struct fetch *fetch)
{
    log_debug(fetch->net->engine, "fetch %s: the kept connection was closed", fetch->url.shown);
    slab_unlock(fetch->in);
    fetch->in = NULL;
    origin_distrust(fetch->conn->origin);
    leave(fetch, 0);
    find_conn(fetch, true);
}

static void on_start(struct later *later)
{
    authorize(container_of(later, struct fetch, later));
}

/* ---------------------------------------------------------------------- opening */

static int copy_text(const char *text, const char **out)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

static int copy_headers(struct fetch_options *options)
{
    const struct fetch_header *from = options->headers;
    struct fetch_header *to = calloc(options->n_headers + 1, sizeof(*to));
    int r = to ? 0 : -ENOMEM;

    options->headers = to;
    for (unsigned i = 0; to && i < options->n_headers; i++)
        if (copy_text(from[i].name, &to[i].name) < 0 || copy_text(from[i].value, &to[i].value) < 0)
            r = -ENOMEM;
    return r;
}

static int copy_body(struct fetch_options *options)
{
    void *copy = options->body ? malloc(options->body_len + 1) : NULL;
    int r = options->body && !copy ? -ENOMEM : 0;

    if (copy)
        memcpy(copy, options->body, options->body_len);
    options->body = copy;
    return r;
}

/* Every pointer is replaced, also after a failure, so that free_options() frees copies alone. */
static int copy_options(struct fetch *fetch, const struct fetch_options *from)
{
    struct fetch_options *to = &fetch->options;
    int r;

    *to = *from;
    to->url = NULL; /* fetch->url */
    r = copy_headers(to);
    r |= copy_body(to);
    r |= copy_text(from->authorization, &to->authorization);
    r |= copy_text(from->trust.ca_file, &to->trust.ca_file);
    r |= copy_text(from->trust.certs_dir, &to->trust.certs_dir);
    return r < 0 ? -ENOMEM : 0;
}

static int take_url(struct fetch *fetch, const char *text, struct clip_error *err)
{
    int r = url_parse(text, &fetch->first, err);

    if (r == 0)
        r = url_parse(text, &fetch->url, err);
    if (r < 0)
        return r;
    r = check_policy(fetch, &fetch->url, err);
    if (r < 0)
        return err_prefix(err, "%s", fetch->url.shown);
    if (fetch->first.userinfo && !fetch->options.auth && !fetch->options.authorization) {
        fetch->options.authorization = basic_header(fetch->first.userinfo);
        if (!fetch->options.authorization)
            return err_set(err, -ENOMEM, "out of memory for a fetch");
    }
    return 0;
}

static int set_up(struct fetch *fetch, const struct fetch_options *options, struct clip_error *err)
{
    int r = copy_options(fetch, options);

    fetch->http = http_new();
    if (r < 0 || !fetch->http)
        return err_set(err, -ENOMEM, "out of memory for a fetch");
    return take_url(fetch, options->url, err);
}

int fetch_open(struct clip_engine *engine, const struct fetch_options *options, struct fetch **out,
               struct clip_error *err)
{
    struct fetch *fetch;
    struct net *net;
    int r = net_get(engine, &net, err);

    if (r < 0)
        return r;
    fetch = calloc(1, sizeof(*fetch));
    if (!fetch)
        return err_set(err, -ENOMEM, "out of memory for a fetch");
    fetch->net = net;
    fetch->method = options->method;
    queue_init(&fetch->node);
    later_init(&fetch->later);
    r = set_up(fetch, options, err);
    if (r < 0) {
        free_fetch(fetch);
        return r;
    }
    queue_push(&net->fetches, &fetch->node);
    later_call(engine, &fetch->later, on_start);
    *out = fetch;
    return 0;
}

bool fetch_may_retry(int status)
{
    switch (status) {
    case -ECONNRESET:
    case -ECONNREFUSED:
    case -ECONNABORTED:
    case -EPIPE:
    case -ETIMEDOUT:
    case -EHOSTUNREACH:
    case -EHOSTDOWN:
    case -ENETUNREACH:
    case -ENETDOWN:
    case -EADDRNOTAVAIL:
    case -ENOBUFS:
        return true;
    default:
        return false;
    }
}
