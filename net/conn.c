/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a connection is:
 * - dial; CONNECT and its answer if there is a proxy between us and TLS; the handshake, whose steps
 *   are jobs because verifying takes milliseconds; then it is open.
 * - plain bytes are read by uv straight to where the owner wants them. Under TLS they are read
 *   into `scratch` and decrypted to where the owner wants them; uv reads again when all of scratch
 *   is used up.
 * - one timer: what it means is in `state` and `wait`.
 * Possible failure modes are: what dial, the proxy and TLS say; a reset; the time is up. fail()
 * tells the owner once, by the event that it waits for. On close: handles are closed, a handshake's
 * job is waited for, the last part frees.
 */
#include "net/conn.h"

#include "net/dial.h"
#include "net/http.h"
#include "net/tunnel.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH_SIZE (128u * 1024u)
#define BURST_MAX    (512u * 1024u)

static const bool legal[CONN_CLOSING + 1][CONN_CLOSING + 1] = {
    [CONN_DIALLING] = {[CONN_TUNNELLING] = true,
                       [CONN_SHAKING_HANDS] = true,
                       [CONN_OPEN] = true,
                       [CONN_FAILED] = true,
                       [CONN_CLOSING] = true},
    [CONN_TUNNELLING] = {[CONN_SHAKING_HANDS] = true, [CONN_FAILED] = true, [CONN_CLOSING] = true},
    [CONN_SHAKING_HANDS] = {[CONN_OPEN] = true, [CONN_FAILED] = true, [CONN_CLOSING] = true},
    [CONN_OPEN] = {[CONN_FAILED] = true, [CONN_CLOSING] = true},
    [CONN_FAILED] = {[CONN_CLOSING] = true},
};

static void set_state(struct conn *conn, enum conn_state state)
{
    assert(legal[conn->state][state]);
    conn->state = state;
}

static void part_gone(struct conn *conn)
{
    struct net *net = conn->net;

    if (--conn->n_parts > 0)
        return;
    http_free(conn->http);
    tls_free(conn->tls);
    free(conn->scratch);
    free(conn);
    net_release(net);
}

/* --------------------------------------------------------------- failures */

void conn_pause(struct conn *conn)
{
    conn->reading = false;
    if (conn->tcp)
        uv_read_stop((uv_stream_t *)conn->tcp);
    if (conn->wait == CONN_WAIT_STALL)
        uv_timer_stop(&conn->timer);
}

static void on_later(struct later *later);

/* uv reads on as long as the buffer is filled, 32 times: others have their turn before that. */
static void maybe_rest(struct conn *conn)
{
    if (conn->burst < BURST_MAX || conn->state != CONN_OPEN || !conn->reading)
        return;
    conn->burst = 0;
    uv_read_stop((uv_stream_t *)conn->tcp);
    later_call(conn->net->engine, &conn->later, on_later);
}

/* Returns at once if it failed or was closed before. The last thing a function does. */
static void fail(struct conn *conn, int r)
{
    bool was_open = conn->state == CONN_OPEN;

    if (conn->state >= CONN_FAILED)
        return;
    conn_pause(conn);
    uv_timer_stop(&conn->timer);
    set_state(conn, CONN_FAILED);
    if (r < 0 && conn->proxy)
        err_prefix(&conn->err, "by the proxy %s of %s", conn->proxy->url.shown,
                   conn->proxy->variable);
    if (was_open)
        conn->events->on_read(conn->data, r, &conn->err);
    else
        conn->events->on_open(conn->data, r, &conn->err);
}

/* The other end has closed, with or without a word. */
static void end_of_bytes(struct conn *conn)
{
    static const char *const when[] = {
        [CONN_TUNNELLING] = "the proxy closed the connection before it answered CONNECT",
        [CONN_SHAKING_HANDS] = "the connection was closed in the middle of the TLS handshake (does "
                               "this port speak TLS? if not: --plain-http)",
    };

    if (conn->state == CONN_TUNNELLING || conn->state == CONN_SHAKING_HANDS)
        fail(conn, err_set(&conn->err, -ECONNRESET, "%s", when[conn->state]));
    else
        fail(conn, 0);
}

/* ------------------------------------------------------------------ the timer */

static uint64_t time_for(const struct conn *conn)
{
    const struct net_timeouts *timeouts = &conn->net->timeouts;

    if (conn->state != CONN_OPEN)
        return timeouts->tls_ms;
    if (conn->wait == CONN_WAIT_FIRST_BYTE)
        return timeouts->first_byte_ms;
    return conn->wait == CONN_WAIT_STALL ? timeouts->stall_ms : conn->idle_ms;
}

static int note_timeout(struct conn *conn)
{
    double seconds = (double)time_for(conn) / 1000;

    if (conn->state == CONN_TUNNELLING)
        return err_set(&conn->err, -ETIMEDOUT, "no answer to CONNECT within %g s", seconds);
    if (conn->state == CONN_SHAKING_HANDS)
        return err_set(&conn->err, -ETIMEDOUT,
                       "no TLS handshake within %g s (does this port speak TLS?)", seconds);
    if (conn->wait == CONN_WAIT_FIRST_BYTE)
        return err_set(&conn->err, -ETIMEDOUT, "no answer within %g s", seconds);
    return err_set(&conn->err, -ETIMEDOUT, "no byte came for %g s", seconds);
}

static void on_timer(uv_timer_t *timer)
{
    struct conn *conn = container_of(timer, struct conn, timer);

    if (conn->state == CONN_OPEN && conn->wait == CONN_WAIT_IDLE)
        fail(conn, 0);
    else
        fail(conn, note_timeout(conn));
}

static void start_timer(struct conn *conn)
{
    uv_timer_start(&conn->timer, on_timer, time_for(conn), 0);
}

void conn_expect(struct conn *conn, enum conn_wait wait)
{
    conn->wait = wait;
    if (conn->state != CONN_OPEN)
        return;
    if (wait == CONN_WAIT_NONE || (wait == CONN_WAIT_STALL && !conn->reading))
        uv_timer_stop(&conn->timer);
    else
        start_timer(conn);
}

/* -------------------------------------------------------------------- writing */

struct sending {
    uv_write_t req;
    struct conn *conn;
    void *bytes;
};

static void on_sent(uv_write_t *req, int status)
{
    struct sending *sending = container_of(req, struct sending, req);
    struct conn *conn = sending->conn;

    free(sending->bytes);
    free(sending);
    if (status < 0 && conn->state < CONN_FAILED)
        fail(conn, err_sys(&conn->err, status, "sending"));
}

/* Takes malloc'ed bytes. A failure is told from the loop: closing the sending half makes uv do it.
 */
static int send_bytes(struct conn *conn, void *bytes, size_t len)
{
    struct sending *sending = bytes ? calloc(1, sizeof(*sending)) : NULL;
    uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);
    int r;

    if (!sending) {
        free(bytes);
        return -ENOMEM;
    }
    sending->conn = conn;
    sending->bytes = bytes;
    r = uv_write(&sending->req, (uv_stream_t *)conn->tcp, &buf, 1, on_sent);
    if (r < 0) {
        free(bytes);
        free(sending);
    }
    return r;
}

static int send_tls_output(struct conn *conn)
{
    size_t len;
    void *bytes = tls_take_output(conn->tls, &len);

    return bytes ? send_bytes(conn, bytes, len) : 0;
}

static void drain(struct conn *conn);

static void on_later(struct later *later)
{
    struct conn *conn = container_of(later, struct conn, later);

    if (conn->err.code < 0)
        fail(conn, conn->err.code);
    else
        drain(conn);
}

void conn_write(struct conn *conn, const void *bytes, size_t len)
{
    int r;

    if (conn->state != CONN_OPEN)
        return;
    if (conn->tls) {
        r = tls_write(conn->tls, bytes, len, &conn->err);
        if (r == 0)
            r = send_tls_output(conn);
    } else {
        void *copy = malloc(len);
        if (copy)
            memcpy(copy, bytes, len);
        r = send_bytes(conn, copy, len);
    }
    if (r == 0)
        return;
    if (conn->err.code != r)
        err_sys(&conn->err, r, "sending");
    later_call(conn->net->engine, &conn->later, on_later);
}

/* -------------------------------------------------------------------- reading */

static void on_bytes(struct conn *conn, const uint8_t *bytes, size_t len);

static void on_uv_alloc(uv_handle_t *tcp, size_t suggested, uv_buf_t *out)
{
    struct conn *conn = tcp->data;
    void *place = conn->scratch;
    size_t len = SCRATCH_SIZE;

    (void)suggested;
    if (conn->state == CONN_OPEN && !conn->tls)
        conn->events->on_alloc(conn->data, &place, &len);
    *out = uv_buf_init(place, (unsigned)len);
}

static void on_uv_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = tcp->data;

    if (n == 0 || conn->state >= CONN_FAILED)
        return;
    if (n == UV_ENOBUFS) {
        conn_pause(conn);
    } else if (n == UV_EOF) {
        end_of_bytes(conn);
    } else if (n < 0) {
        fail(conn, err_sys(&conn->err, (int)n, "receiving"));
    } else {
        conn->net->received.value += (uint64_t)n;
        if (conn->wait == CONN_WAIT_STALL && conn->state == CONN_OPEN)
            start_timer(conn);
        conn->burst = (size_t)n == buf->len ? conn->burst + (size_t)n : 0;
        on_bytes(conn, (const uint8_t *)buf->base, (size_t)n);
        maybe_rest(conn);
    }
}

static void start_uv_read(struct conn *conn)
{
    int r = uv_read_start((uv_stream_t *)conn->tcp, on_uv_alloc, on_uv_read);

    if (r == 0 || r == UV_EALREADY)
        return;
    err_sys(&conn->err, r, "receiving");
    later_call(conn->net->engine, &conn->later, on_later);
}

/* As many decrypted bytes as fit; 0 is the end, -EAGAIN when nothing is left of what came. */
static ssize_t fill(struct conn *conn, uint8_t *place, size_t len)
{
    size_t used = 0;

    while (used < len) {
        ssize_t n = tls_read(conn->tls, place + used, len - used, &conn->err);
        if (n == -EAGAIN)
            conn->scratch_used = false;
        if (n <= 0)
            return used > 0 ? (ssize_t)used : n;
        used += (size_t)n;
    }
    return (ssize_t)used;
}

/* Hands on what can be decrypted, then lets more come. What ends the bytes is found again by the
 * next fill(), when the bytes before it are handed on. */
static void drain(struct conn *conn)
{
    while (conn->state == CONN_OPEN && conn->reading && conn->scratch_used) {
        void *place;
        size_t len;
        ssize_t n;
        conn->events->on_alloc(conn->data, &place, &len);
        if (len == 0) {
            conn_pause(conn);
            return;
        }
        n = fill(conn, place, len);
        if (n > 0)
            conn->events->on_read(conn->data, n, NULL);
        else if (n == 0)
            end_of_bytes(conn);
        else if (n != -EAGAIN)
            fail(conn, (int)n);
    }
    if (conn->state == CONN_OPEN && conn->reading)
        start_uv_read(conn);
}

void conn_read(struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn->reading)
        return;
    conn->reading = true;
    if (conn->wait == CONN_WAIT_STALL)
        start_timer(conn);
    if (conn->scratch_used)
        later_call(conn->net->engine, &conn->later, on_later);
    else
        start_uv_read(conn);
}

/* ---------------------------------------------------------------- TLS, opened */

static void opened(struct conn *conn)
{
    uv_timer_stop(&conn->timer);
    set_state(conn, CONN_OPEN);
    conn->net->opened.value++;
    if (conn->tls)
        conn->net->handshakes[tls_resumed(conn->tls)].value++;
    conn->events->on_open(conn->data, 0, NULL);
}

static void handshake_run(struct work *work)
{
    struct conn *conn = container_of(work, struct conn, job.work);

    conn->job_status = tls_handshake(conn->tls, &conn->job_err);
}

static void fail_handshake(struct conn *conn)
{
    conn->err = conn->job_err;
    fail(conn, conn->job_status);
}

static void handshake_done(struct tls_job *job)
{
    struct conn *conn = container_of(job, struct conn, job);
    int r = conn->job_status, sent;

    if (conn->state == CONN_SHAKING_HANDS) {
        sent = send_tls_output(conn); /* an alert, too: it tells the other end why */
        if (sent < 0)
            fail(conn, err_sys(&conn->err, sent, "sending"));
        else if (r == -EAGAIN)
            start_uv_read(conn);
        else if (r < 0)
            fail_handshake(conn);
        else
            opened(conn);
    }
    part_gone(conn);
}

/* While it runs nothing is read, so that `tls` and `scratch` are the job's alone. */
static void shake_hands(struct conn *conn)
{
    uv_read_stop((uv_stream_t *)conn->tcp);
    conn->n_parts++;
    net_tls_submit(conn->net, &conn->job, conn->lane, handshake_run, handshake_done);
}

static void transport_ready(struct conn *conn)
{
    if (!conn->tls) {
        opened(conn);
        return;
    }
    set_state(conn, CONN_SHAKING_HANDS);
    start_timer(conn);
    shake_hands(conn);
}

/* ------------------------------------------------------------------ the tunnel */

static void on_tunnel_bytes(struct conn *conn, const uint8_t *bytes, size_t len)
{
    int r = tunnel_feed(conn->http, bytes, len, &conn->err);

    if (r < 0)
        fail(conn, r);
    else if (r > 0)
        transport_ready(conn);
}

static void open_tunnel(struct conn *conn)
{
    char *request;
    size_t len;
    int r = tunnel_ask(conn->url, conn->proxy, &conn->http, &request, &len);

    if (r == 0)
        r = send_bytes(conn, request, len);
    if (r < 0) {
        fail(conn, err_sys(&conn->err, r, "sending CONNECT"));
        return;
    }
    set_state(conn, CONN_TUNNELLING);
    start_timer(conn);
    start_uv_read(conn);
}

static void on_bytes(struct conn *conn, const uint8_t *bytes, size_t len)
{
    if (conn->state == CONN_TUNNELLING) {
        on_tunnel_bytes(conn, bytes, len);
        return;
    }
    if (!conn->tls) {
        conn->events->on_read(conn->data, (ssize_t)len, NULL);
        return;
    }
    tls_feed(conn->tls, bytes, len);
    conn->scratch_used = true;
    if (conn->state == CONN_SHAKING_HANDS) {
        shake_hands(conn);
    } else {
        drain(conn);
    }
}

/* ------------------------------------------------------------- open and close */

static void on_dialled(void *data, int status, uv_tcp_t *tcp, const struct clip_error *err)
{
    struct conn *conn = data;

    conn->dial = NULL;
    if (status < 0) {
        conn->err = *err;
        fail(conn, status);
        return;
    }
    conn->tcp = tcp;
    conn->tcp->data = conn;
    conn->n_parts++;
    uv_tcp_keepalive(tcp, 1, 30);
    if (conn->proxy && conn->tls)
        open_tunnel(conn);
    else
        transport_ready(conn);
}

static int make_tls(struct conn *conn, const struct conn_options *options, struct clip_error *err)
{
    if (!options->trust)
        return 0;
    conn->scratch = malloc(SCRATCH_SIZE);
    if (!conn->scratch)
        return err_set(err, -ENOMEM, "out of memory for a connection");
    return tls_new(options->trust, options->url->host, options->session, &conn->tls, err);
}

static int dial(struct conn *conn)
{
    const struct url *to = conn->proxy ? &conn->proxy->url : conn->url;
    struct dial_options options = {
        .host = to->host,
        .port = to->port,
        .timeout_ms = conn->net->timeouts.connect_ms,
        .done = on_dialled,
        .data = conn,
    };

    return dial_start(conn->net, &options, &conn->dial);
}

static void on_timer_closed(uv_handle_t *timer)
{
    part_gone(container_of((uv_timer_t *)timer, struct conn, timer));
}

int conn_open(struct net *net, const struct conn_options *options, struct conn **out,
              struct clip_error *err)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    int r;

    if (!conn)
        return err_set(err, -ENOMEM, "out of memory for a connection");
    conn->net = net;
    conn->events = options->events;
    conn->data = options->data;
    conn->url = options->url;
    conn->proxy = options->proxy;
    conn->lane = options->lane;
    queue_init(&conn->node);
    queue_init(&conn->idle_node);
    later_init(&conn->later);
    uv_timer_init(engine_loop(net->engine), &conn->timer);
    net_hold(net);
    conn->n_parts = 1;
    r = make_tls(conn, options, err);
    if (r == 0 && (r = dial(conn)) < 0)
        err_set(err, r, "out of memory for a connection");
    if (r < 0) {
        set_state(conn, CONN_CLOSING);
        uv_close((uv_handle_t *)&conn->timer, on_timer_closed);
        return r;
    }
    *out = conn;
    return 0;
}

static void on_tcp_closed(uv_handle_t *tcp)
{
    part_gone(tcp->data);
    free(tcp);
}

void conn_close(struct conn *conn)
{
    if (conn->state == CONN_OPEN && conn->tls) {
        tls_say_goodbye(conn->tls);
        send_tls_output(conn);
    }
    set_state(conn, CONN_CLOSING);
    later_cancel(&conn->later);
    if (conn->dial)
        dial_cancel(conn->dial);
    conn->dial = NULL;
    if (conn->tcp)
        uv_close((uv_handle_t *)conn->tcp, on_tcp_closed);
    uv_close((uv_handle_t *)&conn->timer, on_timer_closed);
}

void conn_set_owner(struct conn *conn, const struct conn_events *events, void *data)
{
    conn->events = events;
    conn->data = data;
}

void conn_keep(struct conn *conn, bool kept)
{
    if (conn->kept == kept)
        return;
    conn->kept = kept;
    if (kept) {
        uv_unref((uv_handle_t *)conn->tcp);
        uv_unref((uv_handle_t *)&conn->timer);
    } else {
        uv_ref((uv_handle_t *)conn->tcp);
        uv_ref((uv_handle_t *)&conn->timer);
    }
}

struct tls_session *conn_session(const struct conn *conn)
{
    return conn->tls && conn->state == CONN_OPEN ? tls_session_of(conn->tls) : NULL;
}

bool conn_by_plain_proxy(const struct conn *conn)
{
    return conn->proxy && !conn->tls;
}
