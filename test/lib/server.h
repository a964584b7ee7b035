/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lower half of servers for tests: an HTTP/1.1 server at 127.0.0.1 on the test's own loop, with
 * or without TLS (OpenSSL's, so that ours meets another's). A request is handed over when it is
 * complete; who answers sends bytes as it likes, also wrong ones.
 */
#ifndef CLIP_TEST_SERVER_H
#define CLIP_TEST_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define SERVER_HEADERS_MAX 32

struct server;
struct server_conn;

struct server_request {
    char *method, *target;
    struct {
        char *name, *value;
    } headers[SERVER_HEADERS_MAX];
    unsigned n_headers;
    char *body; /* NUL terminated */
    size_t body_len;
};

typedef void (*server_request_cb)(struct server_conn *conn);
/* All that was sent is with the kernel. Not called for a connection that is gone. */
typedef void (*server_sent_cb)(struct server_conn *conn);

struct server_conn {
    /* public, whoever answers */
    void *answer; /* freed by on_gone */
    /* read-only */
    struct server *server;
    struct server_request request; /* until server_next() */
};

struct server_options {
    server_request_cb on_request;
    void (*on_gone)(struct server_conn *conn); /* to forget the answer; may be NULL */
    const char *cert_file, *key_file;          /* PEM; NULL: no TLS */
    void *data;
};

struct server *server_start(uv_loop_t *loop, const struct server_options *options);
void server_want_client(struct server *server, const char *ca_file);
void server_stop(struct server *server);
bool server_stopped(const struct server *server);
void server_free(struct server *server);

void *server_data(const struct server *server);
unsigned server_port(const struct server *server);
uint64_t server_connections(const struct server *server);

/* NULL if the request has no such header. */
const char *server_header(const struct server_request *request, const char *name);

/* Copies the bytes. One at a time: wait for `sent`. */
void server_send(struct server_conn *conn, const void *bytes, size_t len, server_sent_cb sent);
/* `sent`, so much later. */
void server_wait(struct server_conn *conn, uint64_t ms, server_sent_cb sent);
/* The answer is complete: to the next request. */
void server_next(struct server_conn *conn);
void server_close(struct server_conn *conn); /* as an honest server does */
void server_cut(struct server_conn *conn);   /* FIN, and TLS says nothing of an end */
/* TLS says that it is through, TCP stays. */
void server_say_goodbye(struct server_conn *conn);
void server_reset(struct server_conn *conn); /* RST */

#endif
