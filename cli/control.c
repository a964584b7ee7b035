/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a connection is:
 * - on_knock() accepts it; read_request() feeds what comes to the message until that is whole;
 * - the handler gets the call and answers now or later; the answer is one write, or chunks;
 * - on_written(), when all is written, goes back to read_request(): the next request may be in the
 *   buffer already.
 * Possible failure modes are: no HTTP or too long (an answer that says so, then the end), a
 * deadline passed (the end, without a word to somebody who does not listen), too many connections
 * (the one that idles longest makes room, or the new one gets 503), the client gone (its call is
 * told so).
 * On close: both handles of a connection are closed, the second close callback frees it; `last`, a
 * handle that does nothing else, is closed when doors and connections are gone. */
#include "control.h"

#include "control_http.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG     1024
#define IN_LEN      (16 * 1024)
#define BEHIND_MAX  (64 * 1024)
#define REFUSED_MAX 32 /* connections that are only told to come again later */

union stream {
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
};

struct control_door {
    struct control *control;
    struct control_door *next;
    union stream io;
    bool is_public;
};

enum conn_state {
    CONN_IDLE,     /* between requests */
    CONN_READING,  /* a request has begun */
    CONN_HANDLING, /* the handler has it */
    CONN_WRITING,  /* the answer is complete, but not yet written */
    CONN_CLOSING,
};

struct control_conn {
    struct control_call call;
    struct control *control;
    struct control_conn *next, **prev;
    union stream io;
    uv_timer_t timer;
    enum conn_state state;
    struct control_message message;
    char in[IN_LEN];
    size_t in_len, behind; /* bytes given to uv and not written yet */
    unsigned n_handles;
    bool is_public, is_refused, ended, chunked;
};

struct output {
    uv_write_t req;
    struct control_conn *conn;
    size_t len;
    char bytes[];
};

static void read_request(struct control_conn *conn);

static struct control_conn *conn_of(struct control_call *call)
{
    return (struct control_conn *)call; /* its first member */
}

/* ---- close */

static void on_last_closed(uv_handle_t *last)
{
    struct control *control = last->data;
    control->on_closed(control->close_data);
}

static void maybe_closed(struct control *control)
{
    if (control->conns || control->doors || !control->on_closed)
        return;
    if (!uv_is_closing((uv_handle_t *)&control->last))
        uv_close((uv_handle_t *)&control->last, on_last_closed);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct control_conn *conn = handle->data;
    struct control *control = conn->control;
    if (--conn->n_handles > 0)
        return;
    *conn->prev = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    control->n_conns--;
    control->n_public -= conn->is_public;
    control_message_fini(&conn->message);
    free(conn);
    maybe_closed(control);
}

static void close_conn(struct control_conn *conn)
{
    enum conn_state was = conn->state;
    if (was == CONN_CLOSING)
        return;
    conn->state = CONN_CLOSING;
    uv_close((uv_handle_t *)&conn->io, on_handle_closed);
    uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
    if (was == CONN_HANDLING && conn->call.on_gone)
        conn->call.on_gone(&conn->call);
}

static void on_deadline(uv_timer_t *timer)
{
    struct control_conn *conn = timer->data;
    conn->control->n_refused += conn->state != CONN_IDLE;
    close_conn(conn);
}

static void set_deadline(struct control_conn *conn, uint64_t ms)
{
    uv_timer_start(&conn->timer, on_deadline, ms, 0);
}

/* ---- answers */

static void end_answer(struct control_conn *conn)
{
    bool keep = conn->message.keep_alive && !conn->ended && !conn->is_refused;
    if (!keep || conn->control->closing) {
        close_conn(conn);
        return;
    }
    control_message_reset(&conn->message);
    conn->call = (struct control_call){0};
    conn->chunked = false;
    conn->state = CONN_IDLE;
    set_deadline(conn, CONTROL_IDLE_MS);
    read_request(conn);
}

static void on_written(uv_write_t *req, int status)
{
    struct output *output = (struct output *)req;
    struct control_conn *conn = output->conn;
    conn->behind -= output->len;
    free(output);
    if (conn->state == CONN_CLOSING)
        return;
    if (status < 0) {
        close_conn(conn);
        return;
    }
    if (conn->behind > 0)
        set_deadline(conn, CONTROL_WRITE_MS);
    else
        uv_timer_stop(&conn->timer);
    if (conn->behind == 0 && conn->state == CONN_WRITING)
        end_answer(conn);
}

static struct output *new_output(struct control_conn *conn, size_t len)
{
    struct output *output = malloc(sizeof(*output) + len);
    if (output)
        *output = (struct output){.conn = conn, .len = len};
    return output;
}

/* Takes `output`; without one (no memory) the connection is of no use any more. */
static void send_output(struct control_conn *conn, struct output *output)
{
    if (!output) {
        close_conn(conn);
        return;
    }
    uv_buf_t buf = uv_buf_init(output->bytes, (unsigned)output->len);
    conn->behind += output->len;
    set_deadline(conn, CONTROL_WRITE_MS);
    if (uv_write(&output->req, &conn->io.stream, &buf, 1, on_written) == 0)
        return;
    conn->behind -= output->len;
    free(output);
    close_conn(conn);
}

static int format_head(const struct control_conn *conn, int status, const char *type,
                       const char *framing, char *out, size_t len)
{
    bool keep = conn->message.keep_alive && !conn->is_refused && !conn->control->closing;
    return snprintf(out, len,
                    "HTTP/1.1 %d %s\r\nServer: clipd\r\nContent-Type: %s\r\n%s\r\n"
                    "Connection: %s\r\n\r\n",
                    status, control_reason(status), type, framing, keep ? "keep-alive" : "close");
}

void control_answer(struct control_call *call, int status, const char *type, char *body, size_t len)
{
    struct control_conn *conn = conn_of(call);
    char head[512], framing[64];
    bool head_only = call->method && strcmp(call->method, "HEAD") == 0;
    assert(conn->state == CONN_HANDLING);
    conn->state = CONN_WRITING;
    snprintf(framing, sizeof(framing), "Content-Length: %zu", body ? len : 0);
    int head_len = format_head(conn, body ? status : 500, type, framing, head, sizeof(head));
    size_t body_len = body && !head_only ? len : 0;
    struct output *output = new_output(conn, (size_t)head_len + body_len);
    if (output) {
        memcpy(output->bytes, head, (size_t)head_len);
        if (body_len > 0)
            memcpy(output->bytes + head_len, body, body_len);
    }
    free(body);
    send_output(conn, output);
}

void control_begin(struct control_call *call, const char *type)
{
    struct control_conn *conn = conn_of(call);
    char head[512];
    int len = format_head(conn, 200, type, "Transfer-Encoding: chunked", head, sizeof(head));
    struct output *output = new_output(conn, (size_t)len);
    if (output)
        memcpy(output->bytes, head, (size_t)len);
    conn->chunked = true;
    send_output(conn, output);
}

bool control_event(struct control_call *call, const char *bytes, size_t len)
{
    struct control_conn *conn = conn_of(call);
    char size[24];
    if (conn->state == CONN_CLOSING || conn->behind > BEHIND_MAX)
        return false;
    int size_len = snprintf(size, sizeof(size), "%zx\r\n", len);
    struct output *output = new_output(conn, (size_t)size_len + len + 2);
    if (output) {
        memcpy(output->bytes, size, (size_t)size_len);
        memcpy(output->bytes + size_len, bytes, len);
        memcpy(output->bytes + size_len + len, "\r\n", 2);
    }
    send_output(conn, output);
    return true;
}

void control_end(struct control_call *call)
{
    struct control_conn *conn = conn_of(call);
    if (conn->state == CONN_CLOSING)
        return;
    assert(conn->chunked);
    conn->state = CONN_WRITING;
    struct output *output = new_output(conn, 5);
    if (output)
        memcpy(output->bytes, "0\r\n\r\n", 5);
    send_output(conn, output);
}

/* ---- requests */

static void answer_text(struct control_conn *conn, int status, const char *text)
{
    char *body = NULL;
    int len = asprintf(&body, "{\"error\":\"%s\"}\n", text);
    conn->state = CONN_HANDLING;
    control_answer(&conn->call, status, "application/json", len < 0 ? NULL : body, (size_t)len);
}

/* Nothing after such a request can be understood: it is the last one. */
static void refuse_request(struct control_conn *conn, int r)
{
    conn->control->n_refused++;
    conn->message.keep_alive = false;
    switch (r) {
    case -ENAMETOOLONG:
        answer_text(conn, 414, "the path is longer than 1023 bytes");
        return;
    case -E2BIG:
        answer_text(conn, 431, "the request has more than 16 KiB of headers");
        return;
    case -EFBIG:
        answer_text(conn, 413, "the request has more than 64 KiB of body");
        return;
    case -ENOMEM:
        answer_text(conn, 500, "out of memory");
        return;
    default:
        answer_text(conn, 400, "the request is not HTTP/1.1");
    }
}

static void hand_over(struct control_conn *conn)
{
    struct control_message *message = &conn->message;
    char *query = strchr(message->target, '?');
    if (query)
        *query++ = '\0';
    conn->control->n_calls++;
    conn->state = CONN_HANDLING;
    uv_timer_stop(&conn->timer);
    conn->call = (struct control_call){
        .method = message->method,
        .path = message->target,
        .query = query ? query : "",
        .body = message->body,
        .body_len = message->body_len,
        .is_public = conn->is_public,
    };
    conn->control->on_call(conn->control->data, &conn->call);
}

static void read_request(struct control_conn *conn)
{
    if (conn->in_len == 0 || conn->state > CONN_READING)
        return;
    int n = control_message_feed(&conn->message, conn->in, conn->in_len);
    if (n < 0) {
        refuse_request(conn, n);
        return;
    }
    conn->in_len -= (size_t)n;
    memmove(conn->in, conn->in + n, conn->in_len);
    if (conn->state == CONN_IDLE && conn->message.begun) {
        conn->state = CONN_READING;
        set_deadline(conn, CONTROL_REQUEST_MS);
    }
    if (conn->message.whole)
        hand_over(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct control_conn *conn = handle->data;
    *out = uv_buf_init(conn->in + conn->in_len, (unsigned)(IN_LEN - conn->in_len));
}

/* A client that closes its half and still waits for the answer gets it, if the answer is not long
 * in coming; one whose call is being worked on is taken for gone. */
static void on_ended(struct control_conn *conn)
{
    conn->ended = true;
    if (conn->state != CONN_WRITING)
        close_conn(conn);
}

static void on_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct control_conn *conn = stream->data;
    if (n == UV_ENOBUFS) { /* pipelined more than fits: this answer is the last */
        uv_read_stop(stream);
        conn->ended = true;
        return;
    }
    if (n < 0) {
        on_ended(conn);
        return;
    }
    conn->in_len += (size_t)n;
    read_request(conn);
}

/* ---- connections */

static struct control_conn *longest_idle(const struct control *control)
{
    struct control_conn *oldest = NULL;
    for (struct control_conn *c = control->conns; c; c = c->next) {
        if (c->state == CONN_IDLE)
            oldest = c;
    }
    return oldest;
}

static bool is_crowded(const struct control *control, bool is_public)
{
    if (is_public)
        return control->n_public > CONTROL_PUBLIC_MAX;
    return control->n_conns - control->n_public > CONTROL_CONNECTIONS_MAX - CONTROL_PUBLIC_MAX;
}

/* Whoever idles is not waiting for anything and can come again. */
static void make_room(struct control *control, struct control_conn *conn)
{
    conn->state = CONN_READING; /* not to be chosen itself */
    struct control_conn *idle = conn->is_public ? NULL : longest_idle(control);
    conn->state = CONN_IDLE;
    if (idle && !idle->is_public) {
        close_conn(idle);
        return;
    }
    control->n_refused++;
    conn->is_refused = true;
    if (control->n_conns > CONTROL_CONNECTIONS_MAX + REFUSED_MAX)
        close_conn(conn);
    else
        answer_text(conn, 503, "there are too many connections; try again");
}

static void init_stream(uv_loop_t *loop, union stream *io, bool is_public)
{
    if (is_public)
        uv_tcp_init(loop, &io->tcp);
    else
        uv_pipe_init(loop, &io->pipe, 0);
}

static struct control_conn *new_conn(struct control_door *door)
{
    struct control *control = door->control;
    struct control_conn *conn = calloc(1, sizeof(*conn));
    if (!conn || control_message_init(&conn->message, CONTROL_REQUEST, NULL, NULL) < 0) {
        free(conn);
        return NULL;
    }
    conn->control = control;
    conn->is_public = door->is_public;
    conn->n_handles = 2;
    init_stream(control->loop, &conn->io, door->is_public);
    uv_timer_init(control->loop, &conn->timer);
    conn->io.stream.data = conn->timer.data = conn;
    conn->next = control->conns;
    conn->prev = &control->conns;
    if (conn->next)
        conn->next->prev = &conn->next;
    control->conns = conn;
    control->n_conns++;
    control->n_public += conn->is_public;
    return conn;
}

static void on_knock(uv_stream_t *stream, int status)
{
    struct control_door *door = stream->data;
    if (status < 0)
        return;
    struct control_conn *conn = new_conn(door);
    if (!conn)
        return;
    if (uv_accept(stream, &conn->io.stream) < 0) {
        close_conn(conn);
        return;
    }
    set_deadline(conn, CONTROL_IDLE_MS);
    if (is_crowded(conn->control, conn->is_public))
        make_room(conn->control, conn);
    if (conn->state != CONN_CLOSING)
        uv_read_start(&conn->io.stream, on_alloc, on_bytes);
}

/* ---- doors */

static void on_door_closed(uv_handle_t *handle)
{
    struct control_door *door = handle->data;
    struct control *control = door->control;
    struct control_door **at = &control->doors;
    while (*at != door)
        at = &(*at)->next;
    *at = door->next;
    free(door);
    maybe_closed(control);
}

void control_init(struct control *control, uv_loop_t *loop, control_call_cb on_call, void *data)
{
    *control = (struct control){.loop = loop, .on_call = on_call, .data = data};
    uv_idle_init(loop, &control->last);
    control->last.data = control;
}

int control_listen(struct control *control, int fd, bool is_public)
{
    struct control_door *door = calloc(1, sizeof(*door));
    if (!door) {
        close(fd);
        return -ENOMEM;
    }
    door->control = control;
    door->is_public = is_public;
    door->next = control->doors;
    control->doors = door;
    init_stream(control->loop, &door->io, is_public);
    door->io.stream.data = door;
    int r = is_public ? uv_tcp_open(&door->io.tcp, fd) : uv_pipe_open(&door->io.pipe, fd);
    if (r < 0)
        close(fd);
    else
        r = uv_listen(&door->io.stream, BACKLOG, on_knock);
    if (r < 0)
        uv_close((uv_handle_t *)&door->io, on_door_closed);
    return r;
}

static void close_doors(struct control *control)
{
    for (struct control_door *d = control->doors; d; d = d->next) {
        if (!uv_is_closing((uv_handle_t *)&d->io))
            uv_close((uv_handle_t *)&d->io, on_door_closed);
    }
}

/* Conns stay in the list until uv has closed them, but a call's on_gone may close others. */
static void close_conns(struct control *control, bool idle_only)
{
    struct control_conn *next;
    for (struct control_conn *c = control->conns; c; c = next) {
        next = c->next;
        if (!idle_only || c->state <= CONN_READING)
            close_conn(c);
    }
}

void control_drain(struct control *control)
{
    control->closing = true;
    close_doors(control);
    close_conns(control, true);
}

void control_close(struct control *control, control_closed_cb on_closed, void *data)
{
    control->closing = true;
    control->on_closed = on_closed;
    control->close_data = data;
    close_doors(control);
    close_conns(control, false);
    maybe_closed(control);
}
