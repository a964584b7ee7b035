/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a dial is:
 * - the lookup on uv's pool; addresses and localhost need none (RFC 6761: whatever a name server
 *   may say of localhost, it is this machine).
 * - try_next() begins an attempt; the next begins when it fails or after 250 ms, whichever is
 *   sooner. The first that is connected is handed over, the others are closed.
 * Possible failure modes are: no such name, no attempt left, the time is up.
 * On cancel: the same without `done`. A lookup cannot be stopped once it runs; the dial stays until
 * it is back, and the net until then.
 */
#include "net/dial.h"

#include "net/net_private.h"
#include "net/url.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attempt {
    struct dial *dial;
    uv_tcp_t *tcp; /* outlives the attempt when it wins */
    uv_connect_t req;
};

struct dial {
    struct net *net;
    dial_cb done; /* NULL once it fired or was cancelled */
    void *data;
    char *host;
    uint16_t port;
    uint64_t deadline_ms;
    uv_getaddrinfo_t lookup;
    bool looking_up;
    uv_timer_t timer;
    struct sockaddr_storage addresses[DIAL_ADDRESSES_MAX];
    struct attempt *attempts[DIAL_ADDRESSES_MAX];
    unsigned n_addresses, n_tried, n_running;
    unsigned n_parts; /* handles and the lookup */
    struct clip_error err;
};

static void part_gone(struct dial *dial)
{
    struct net *net = dial->net;

    if (--dial->n_parts > 0)
        return;
    free(dial->host);
    free(dial);
    net_release(net);
}

static void on_timer_closed(uv_handle_t *timer)
{
    part_gone(container_of((uv_timer_t *)timer, struct dial, timer));
}

static void on_attempt_closed(uv_handle_t *tcp)
{
    part_gone(tcp->data);
    free(tcp);
}

/* The race is over: whatever still runs is closed. */
static void stop(struct dial *dial)
{
    dial->done = NULL;
    for (unsigned i = 0; i < dial->n_tried; i++) {
        struct attempt *attempt = dial->attempts[i];
        if (!attempt || uv_is_closing((uv_handle_t *)attempt->tcp))
            continue;
        attempt->tcp->data = dial;
        uv_close((uv_handle_t *)attempt->tcp, on_attempt_closed);
    }
    uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
}

static void finish(struct dial *dial, int status, uv_tcp_t *tcp)
{
    dial_cb done = dial->done;
    void *data = dial->data;
    struct clip_error err = dial->err;

    stop(dial);
    done(data, status, tcp, &err);
}

/* ----------------------------------------------------------------- the race */

static void try_next(struct dial *dial);

static void show_address(const struct sockaddr_storage *address, char *out, size_t out_len)
{
    char text[64] = "?";
    bool v6 = address->ss_family == AF_INET6;

    if (v6)
        uv_ip6_name((const struct sockaddr_in6 *)address, text, sizeof(text));
    else
        uv_ip4_name((const struct sockaddr_in *)address, text, sizeof(text));
    snprintf(out, out_len, v6 ? "[%s]" : "%s", text);
}

static void note_failure(struct dial *dial, const struct sockaddr_storage *address, int r)
{
    char shown[80];

    show_address(address, shown, sizeof(shown));
    if (r == -ECONNREFUSED)
        err_set(&dial->err, r, "%s:%u refuses connections (is the registry running there?)", shown,
                dial->port);
    else
        err_sys(&dial->err, r, "connecting to %s:%u (does the network reach it?)", shown,
                dial->port);
}

static void win(struct dial *dial, unsigned i)
{
    uv_tcp_t *tcp = dial->attempts[i]->tcp;

    free(dial->attempts[i]);
    dial->attempts[i] = NULL;
    dial->n_parts--; /* the timer is still one */
    finish(dial, 0, tcp);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct attempt *attempt = container_of(req, struct attempt, req);
    struct dial *dial = attempt->dial;
    unsigned i = 0;

    while (dial->attempts[i] != attempt)
        i++;
    dial->n_running--;
    if (status == 0 && dial->done) {
        win(dial, i);
        return;
    }
    dial->attempts[i] = NULL;
    if (!uv_is_closing((uv_handle_t *)attempt->tcp)) {
        attempt->tcp->data = dial;
        uv_close((uv_handle_t *)attempt->tcp, on_attempt_closed);
    }
    free(attempt);
    if (!dial->done)
        return;
    note_failure(dial, &dial->addresses[i], status);
    try_next(dial);
}

static int begin(struct dial *dial, unsigned i)
{
    struct attempt *attempt = calloc(1, sizeof(*attempt));
    uv_tcp_t *tcp = malloc(sizeof(*tcp));
    int r;

    if (!attempt || !tcp) {
        free(attempt);
        free(tcp);
        return -ENOMEM;
    }
    r = uv_tcp_init(engine_loop(dial->net->engine), tcp);
    assert(r == 0);
    dial->n_parts++;
    attempt->dial = dial;
    attempt->tcp = tcp;
    tcp->data = dial;
    r = uv_tcp_connect(&attempt->req, tcp, (const struct sockaddr *)&dial->addresses[i],
                       on_connect);
    if (r < 0) {
        uv_close((uv_handle_t *)tcp, on_attempt_closed);
        free(attempt);
        return r;
    }
    uv_tcp_nodelay(tcp, 1);
    dial->attempts[i] = attempt;
    dial->n_running++;
    return 0;
}

static uint64_t time_left(const struct dial *dial)
{
    uint64_t now = uv_now(engine_loop(dial->net->engine));

    return dial->deadline_ms > now ? dial->deadline_ms - now : 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct dial *dial = container_of(timer, struct dial, timer);

    if (time_left(dial) > 0) {
        try_next(dial);
        return;
    }
    err_set(&dial->err, -ETIMEDOUT,
            "no connection to %s:%u within the time for it (does the network reach it?)",
            dial->host, dial->port);
    finish(dial, -ETIMEDOUT, NULL);
}

/* Begins one more attempt, or ends the race if none runs and none is left. */
static void try_next(struct dial *dial)
{
    uint64_t wait = time_left(dial);

    while (dial->n_tried < dial->n_addresses) {
        unsigned i = dial->n_tried++;
        int r = begin(dial, i);
        if (r == 0)
            break;
        note_failure(dial, &dial->addresses[i], r);
    }
    if (dial->n_running == 0) {
        finish(dial, dial->err.code, NULL);
        return;
    }
    if (dial->n_tried < dial->n_addresses && wait > DIAL_NEXT_MS)
        wait = DIAL_NEXT_MS;
    uv_timer_start(&dial->timer, on_timer, wait, 0);
}

/* ------------------------------------------------------------ the addresses */

static void add_address(struct dial *dial, const struct sockaddr *address, size_t len)
{
    struct sockaddr_storage *out = &dial->addresses[dial->n_addresses];

    if (dial->n_addresses == DIAL_ADDRESSES_MAX || len > sizeof(*out))
        return;
    memcpy(out, address, len);
    if (out->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)out)->sin6_port = htons(dial->port);
    else
        ((struct sockaddr_in *)out)->sin_port = htons(dial->port);
    dial->n_addresses++;
}

static const struct addrinfo *next_of(const struct addrinfo *at, int family, bool same)
{
    while (at && (at->ai_family == family) != same)
        at = at->ai_next;
    return at;
}

/* The resolver's order, but the families in turn (RFC 8305, section 4). */
static void take_addresses(struct dial *dial, const struct addrinfo *list)
{
    int family = list ? list->ai_family : AF_INET;
    const struct addrinfo *same = list, *other = next_of(list, family, false);

    while (same || other) {
        if (same) {
            add_address(dial, same->ai_addr, same->ai_addrlen);
            same = next_of(same->ai_next, family, true);
        }
        if (other) {
            add_address(dial, other->ai_addr, other->ai_addrlen);
            other = next_of(other->ai_next, family, false);
        }
    }
}

static int note_lookup_failure(struct dial *dial, int status)
{
    if (status == UV_EAI_MEMORY || status == UV_ENOMEM)
        return err_set(&dial->err, -ENOMEM, "out of memory for the address of %s", dial->host);
    if (status == UV_EAI_NONAME || status == UV_EAI_NODATA || status == 0)
        return err_set(&dial->err, -ENXIO, "there is no host named %s (is it spelled right?)",
                       dial->host);
    return err_set(&dial->err, -EHOSTUNREACH,
                   "the address of %s cannot be looked up: %s (is the name server reachable?)",
                   dial->host, uv_strerror(status));
}

static void on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list)
{
    struct dial *dial = container_of(lookup, struct dial, lookup);

    dial->looking_up = false;
    if (dial->done && status == 0)
        take_addresses(dial, list);
    uv_freeaddrinfo(list);
    if (dial->done && dial->n_addresses == 0)
        finish(dial, note_lookup_failure(dial, status), NULL);
    else if (dial->done)
        try_next(dial);
    part_gone(dial);
}

/* Addresses that need no lookup: written as such, or this machine. */
static void take_literal(struct dial *dial)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    bool is_v4 = uv_ip4_addr(dial->host, dial->port, &v4) == 0;
    bool is_v6 = !is_v4 && uv_ip6_addr(dial->host, dial->port, &v6) == 0;

    if (!is_v4 && !is_v6 && url_host_is_loopback(dial->host)) {
        is_v4 = uv_ip4_addr("127.0.0.1", dial->port, &v4) == 0;
        is_v6 = uv_ip6_addr("::1", dial->port, &v6) == 0;
    }
    if (is_v6)
        add_address(dial, (const struct sockaddr *)&v6, sizeof(v6));
    if (is_v4)
        add_address(dial, (const struct sockaddr *)&v4, sizeof(v4));
}

static void on_first_turn(uv_timer_t *timer)
{
    try_next(container_of(timer, struct dial, timer));
}

static int start_lookup(struct dial *dial)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    int r = uv_getaddrinfo(engine_loop(dial->net->engine), &dial->lookup, on_lookup, dial->host,
                           NULL, &hints);

    if (r < 0)
        return r;
    dial->n_parts++;
    dial->looking_up = true;
    return 0;
}

int dial_start(struct net *net, const struct dial_options *options, struct dial **out)
{
    uv_loop_t *loop = engine_loop(net->engine);
    struct dial *dial = calloc(1, sizeof(*dial));

    if (!dial || !(dial->host = strdup(options->host))) {
        free(dial);
        return -ENOMEM;
    }
    net_hold(net);
    dial->net = net;
    dial->done = options->done;
    dial->data = options->data;
    dial->port = options->port;
    dial->deadline_ms = uv_now(loop) + options->timeout_ms;
    uv_timer_init(loop, &dial->timer);
    dial->n_parts = 1;
    for (unsigned i = 0; i < options->n_addresses; i++)
        add_address(dial, (const struct sockaddr *)&options->addresses[i],
                    sizeof(*options->addresses));
    if (dial->n_addresses == 0)
        take_literal(dial);
    if (dial->n_addresses == 0 && start_lookup(dial) < 0) {
        stop(dial);
        return -ENOMEM;
    }
    if (dial->looking_up)
        uv_timer_start(&dial->timer, on_timer, options->timeout_ms, 0);
    else
        uv_timer_start(&dial->timer, on_first_turn, 0, 0);
    *out = dial;
    return 0;
}

void dial_cancel(struct dial *dial)
{
    if (dial->looking_up)
        uv_cancel((uv_req_t *)&dial->lookup); /* refused when it runs: then it ends */
    stop(dial);
}
