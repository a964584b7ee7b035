/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: HTTP/1.1 connections on the loop, one call at a time each. A client can be
 * slow, malformed or many without anybody else noticing: every connection has a deadline, bounded
 * buffers and a place in a bounded crowd. What a call means is its handler's business (api.h).
 */
#ifndef CLIP_CLI_CONTROL_H
#define CLIP_CLI_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define CONTROL_CONNECTIONS_MAX 256 /* of which the TCP port may have */
#define CONTROL_PUBLIC_MAX      32
#define CONTROL_IDLE_MS         60000 /* between two requests */
#define CONTROL_REQUEST_MS      10000 /* from a request's first byte to its last */
#define CONTROL_WRITE_MS        20000 /* without the client taking anything */

struct control;
struct control_call;

/* The client went away; the call is not to be answered, nor touched, any more. */
typedef void (*control_gone_cb)(struct control_call *call);
/* To be answered once: before it returns or later. */
typedef void (*control_call_cb)(void *data, struct control_call *call);
typedef void (*control_closed_cb)(void *data);

struct control_call {
    /* read-only */
    const char *method;
    const char *path, *query; /* of the target, split at '?'; "" if there is no query */
    const char *body;         /* NUL terminated, or NULL */
    size_t body_len;
    bool is_public; /* came over TCP */
    /* public: set by a handler that answers later */
    control_gone_cb on_gone;
    void *data;
};

/* Takes `body`, which was malloc'ed; NULL: out of memory, and the answer says so. */
void control_answer(struct control_call *call, int status, const char *type, char *body,
                    size_t len);
/* An answer in pieces: begin, any number of events, end. An event that finds the client more than
 * 64 KiB behind is dropped, and false returned. */
void control_begin(struct control_call *call, const char *type);
bool control_event(struct control_call *call, const char *bytes, size_t len);
void control_end(struct control_call *call);

struct control_door;
struct control_conn;

struct control {
    /* read-only */
    unsigned n_conns, n_public;
    uint64_t n_calls, n_refused; /* refused: no HTTP, too long, too slow, too many */
    /* private */
    uv_loop_t *loop;
    struct control_door *doors;
    struct control_conn *conns; /* the newest first */
    control_call_cb on_call;
    void *data;
    uv_idle_t last;
    bool closing;
    control_closed_cb on_closed;
    void *close_data;
};

void control_init(struct control *control, uv_loop_t *loop, control_call_cb on_call, void *data);
/* Takes `fd`, a listening socket. 0 or a negative errno, and `fd` is closed. */
int control_listen(struct control *control, int fd, bool is_public);
/* Nobody new comes in; connections end after the call that they are in. */
void control_drain(struct control *control);
/* Everybody out. Works in every state. `on_closed` never fires from inside. */
void control_close(struct control *control, control_closed_cb on_closed, void *data);

#endif
