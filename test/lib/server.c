/* SPDX-License-Identifier: Apache-2.0 */
/* A connection has one state beside its bytes: whether an answer is under way. While it is, what
 * comes in is not parsed, only an end of the connection is noticed. TLS is two memory BIOs. */
#include "test/lib/server.h"

#include "engine/queue.h"

#include <assert.h>
#include <llhttp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define READ_SIZE (64 * 1024)

struct server {
    struct server_options options;
    uv_loop_t *loop;
    uv_tcp_t listener;
    bool stopping, listener_closed;
    unsigned port, n_conns;
    uint64_t n_connections;
    struct queue conns;
    SSL_CTX *tls;
    llhttp_settings_t settings;
};

struct peer {
    struct server_conn conn;
    struct queue node;
    uv_tcp_t tcp;
    uv_timer_t timer;
    unsigned n_handles;
    bool closing, answering;
    SSL *ssl;
    BIO *in, *out;
    llhttp_t parser;
    bool in_value;
    server_sent_cb sent;
    char read_buf[READ_SIZE];
};

struct sending {
    uv_write_t req;
    bool tells;
    char bytes[];
};

static struct peer *peer_of(struct server_conn *conn)
{
    return container_of(conn, struct peer, conn);
}

/* ------------------------------------------------------------------ parsing */

static void forget_request(struct server_request *request)
{
    free(request->method);
    free(request->target);
    free(request->body);
    for (unsigned i = 0; i < request->n_headers; i++) {
        free(request->headers[i].name);
        free(request->headers[i].value);
    }
    memset(request, 0, sizeof(*request));
}

static void append(char **text, const char *at, size_t len)
{
    size_t used = *text ? strlen(*text) : 0;

    *text = realloc(*text, used + len + 1);
    if (!*text)
        abort();
    memcpy(*text + used, at, len);
    (*text)[used + len] = '\0';
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct peer *peer = parser->data;

    append(&peer->conn.request.target, at, len);
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct peer *peer = parser->data;
    struct server_request *request = &peer->conn.request;

    if (request->n_headers == 0 || peer->in_value) {
        assert(request->n_headers < SERVER_HEADERS_MAX);
        append(&request->headers[request->n_headers++].value, "", 0);
    }
    peer->in_value = false;
    append(&request->headers[request->n_headers - 1].name, at, len);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct peer *peer = parser->data;
    struct server_request *request = &peer->conn.request;

    peer->in_value = true;
    append(&request->headers[request->n_headers - 1].value, at, len);
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct peer *peer = parser->data;

    append(&peer->conn.request.body, at, len);
    peer->conn.request.body_len += len;
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    struct peer *peer = parser->data;
    const char *method = llhttp_method_name((llhttp_method_t)parser->method);

    append(&peer->conn.request.method, method, strlen(method));
    append(&peer->conn.request.body, "", 0);
    peer->answering = true;
    return HPE_PAUSED;
}

static void parse(struct peer *peer, const char *bytes, size_t len)
{
    enum llhttp_errno r;

    if (peer->answering) /* nobody here sends requests ahead */
        return;
    r = llhttp_execute(&peer->parser, bytes, len);
    if (r == HPE_PAUSED) {
        llhttp_resume(&peer->parser);
        peer->conn.server->options.on_request(&peer->conn);
    } else if (r != HPE_OK) {
        server_cut(&peer->conn);
    }
}

const char *server_header(const struct server_request *request, const char *name)
{
    for (unsigned i = 0; i < request->n_headers; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

/* ------------------------------------------------------------------ the end */

static void on_peer_closed(uv_handle_t *handle)
{
    struct peer *peer = handle->data;
    struct server *server = peer->conn.server;

    if (--peer->n_handles > 0)
        return;
    forget_request(&peer->conn.request);
    SSL_free(peer->ssl);
    queue_remove(&peer->node);
    server->n_conns--;
    free(peer);
}

static bool begin_close(struct peer *peer)
{
    struct server *server = peer->conn.server;

    if (peer->closing)
        return false;
    peer->closing = true;
    if (server->options.on_gone)
        server->options.on_gone(&peer->conn);
    uv_close((uv_handle_t *)&peer->timer, on_peer_closed);
    return true;
}

void server_cut(struct server_conn *conn)
{
    struct peer *peer = peer_of(conn);

    if (begin_close(peer))
        uv_close((uv_handle_t *)&peer->tcp, on_peer_closed);
}

void server_reset(struct server_conn *conn)
{
    struct peer *peer = peer_of(conn);

    if (!begin_close(peer))
        return;
    if (uv_tcp_close_reset(&peer->tcp, on_peer_closed) < 0)
        uv_close((uv_handle_t *)&peer->tcp, on_peer_closed);
}

/* ------------------------------------------------------------------ sending */

static void tell_sent(struct peer *peer)
{
    server_sent_cb sent = peer->sent;

    peer->sent = NULL;
    if (sent && !peer->closing)
        sent(&peer->conn);
}

static void on_written(uv_write_t *req, int status)
{
    struct sending *sending = container_of(req, struct sending, req);
    struct peer *peer = req->handle->data;
    bool tells = sending->tells;

    free(sending);
    if (status < 0)
        server_cut(&peer->conn);
    else if (tells)
        tell_sent(peer);
}

static struct sending *sending_new(size_t len, bool tells)
{
    struct sending *sending = malloc(sizeof(*sending) + len);

    if (!sending)
        abort();
    sending->tells = tells;
    return sending;
}

static void write_out(struct peer *peer, struct sending *sending, size_t len)
{
    uv_buf_t buf = uv_buf_init(sending->bytes, (unsigned)len);

    if (peer->closing ||
        uv_write(&sending->req, (uv_stream_t *)&peer->tcp, &buf, 1, on_written) < 0)
        free(sending);
}

/* What TLS has to say; `tells` for what carries an answer. */
static void flush_tls(struct peer *peer, bool tells)
{
    size_t len = BIO_ctrl_pending(peer->out);
    struct sending *sending;

    if (len == 0)
        return;
    sending = sending_new(len, tells);
    BIO_read(peer->out, sending->bytes, (int)len);
    write_out(peer, sending, len);
}

void server_send(struct server_conn *conn, const void *bytes, size_t len, server_sent_cb sent)
{
    struct peer *peer = peer_of(conn);
    struct sending *sending;

    peer->sent = sent;
    if (peer->ssl) {
        SSL_write(peer->ssl, bytes, (int)len);
        flush_tls(peer, true);
        return;
    }
    sending = sending_new(len, true);
    memcpy(sending->bytes, bytes, len);
    write_out(peer, sending, len);
}

void server_say_goodbye(struct server_conn *conn)
{
    struct peer *peer = peer_of(conn);

    if (!peer->ssl || peer->closing)
        return;
    SSL_shutdown(peer->ssl);
    flush_tls(peer, false); /* short: it is with the kernel at once */
}

void server_close(struct server_conn *conn)
{
    server_say_goodbye(conn);
    server_cut(conn);
}

static void on_waited(uv_timer_t *timer)
{
    tell_sent(timer->data);
}

void server_wait(struct server_conn *conn, uint64_t ms, server_sent_cb sent)
{
    struct peer *peer = peer_of(conn);

    peer->sent = sent;
    uv_timer_start(&peer->timer, on_waited, ms, 0);
}

void server_next(struct server_conn *conn)
{
    struct peer *peer = peer_of(conn);

    forget_request(&conn->request);
    peer->in_value = false;
    peer->answering = false;
    llhttp_init(&peer->parser, HTTP_REQUEST, &conn->server->settings);
    peer->parser.data = peer;
}

/* ---------------------------------------------------------------- receiving */

static void read_tls(struct peer *peer, const char *bytes, size_t len)
{
    static char plain[READ_SIZE]; /* one loop, one thread */
    int n;

    BIO_write(peer->in, bytes, (int)len);
    while ((n = SSL_read(peer->ssl, plain, sizeof(plain))) > 0 && !peer->closing)
        parse(peer, plain, (size_t)n);
    if (peer->closing)
        return;
    int why = SSL_get_error(peer->ssl, n);
    flush_tls(peer, false); /* also the alert that says why not */
    if (why != SSL_ERROR_WANT_READ)
        server_cut(&peer->conn);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct peer *peer = stream->data;

    if (n < 0)
        server_cut(&peer->conn);
    else if (n > 0 && peer->ssl)
        read_tls(peer, buf->base, (size_t)n);
    else if (n > 0)
        parse(peer, buf->base, (size_t)n);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct peer *peer = handle->data;

    (void)suggested;
    *buf = uv_buf_init(peer->read_buf, READ_SIZE);
}

static void start_tls(struct peer *peer)
{
    peer->ssl = SSL_new(peer->conn.server->tls);
    peer->in = BIO_new(BIO_s_mem());
    peer->out = BIO_new(BIO_s_mem());
    if (!peer->ssl || !peer->in || !peer->out)
        abort();
    SSL_set_bio(peer->ssl, peer->in, peer->out);
    SSL_set_accept_state(peer->ssl);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *server = listener->data;
    struct peer *peer = calloc(1, sizeof(*peer));

    if (!peer || status < 0)
        abort();
    peer->conn.server = server;
    uv_tcp_init(server->loop, &peer->tcp);
    uv_timer_init(server->loop, &peer->timer);
    peer->tcp.data = peer->timer.data = peer;
    peer->n_handles = 2;
    queue_push(&server->conns, &peer->node);
    server->n_conns++;
    server->n_connections++;
    uv_accept(listener, (uv_stream_t *)&peer->tcp);
    uv_tcp_nodelay(&peer->tcp, 1);
    if (server->tls)
        start_tls(peer);
    server_next(&peer->conn);
    uv_read_start((uv_stream_t *)&peer->tcp, on_alloc, on_read);
}

/* ------------------------------------------------------------ start and stop */

static SSL_CTX *new_tls(const char *cert_file, const char *key_file)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    if (!tls || SSL_CTX_use_certificate_chain_file(tls, cert_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key_file, SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "cannot serve with %s and %s\n", cert_file, key_file);
        abort();
    }
    SSL_CTX_set_session_id_context(tls, (const unsigned char *)"clip", 4);
    return tls;
}

void server_want_client(struct server *server, const char *ca_file)
{
    SSL_CTX_load_verify_locations(server->tls, ca_file, NULL);
    SSL_CTX_set_verify(server->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static void listen_now(struct server *server)
{
    struct sockaddr_in address;
    int len = sizeof(address);

    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(server->loop, &server->listener);
    server->listener.data = server;
    if (uv_tcp_bind(&server->listener, (struct sockaddr *)&address, 0) < 0 ||
        uv_listen((uv_stream_t *)&server->listener, 128, on_connection) < 0 ||
        uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &len) < 0)
        abort();
    server->port = ntohs(address.sin_port);
}

struct server *server_start(uv_loop_t *loop, const struct server_options *options)
{
    struct server *server = calloc(1, sizeof(*server));

    if (!server)
        abort();
    server->loop = loop;
    server->options = *options;
    queue_init(&server->conns);
    llhttp_settings_init(&server->settings);
    server->settings.on_url = on_url;
    server->settings.on_header_field = on_field;
    server->settings.on_header_value = on_value;
    server->settings.on_body = on_body;
    server->settings.on_message_complete = on_complete;
    if (options->cert_file)
        server->tls = new_tls(options->cert_file, options->key_file);
    listen_now(server);
    return server;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct server *server = handle->data;

    server->listener_closed = true;
}

void server_stop(struct server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    uv_close((uv_handle_t *)&server->listener, on_listener_closed);
    queue_for_each(node, &server->conns)
    {
        server_cut(&container_of(node, struct peer, node)->conn);
    }
}

bool server_stopped(const struct server *server)
{
    return server->listener_closed && server->n_conns == 0;
}

void server_free(struct server *server)
{
    assert(server_stopped(server));
    SSL_CTX_free(server->tls);
    free(server);
}

void *server_data(const struct server *server)
{
    return server->options.data;
}

unsigned server_port(const struct server *server)
{
    return server->port;
}

uint64_t server_connections(const struct server *server)
{
    return server->n_connections;
}
