/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include "net/fetch.h"
#include "net/net_private.h"
#include "test/lib/canned.h"
#include "test/lib/certs.h"
#include "test/lib/getter.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK "HTTP/1.1 200 OK\r\n"

static struct fixture {
    struct test_loop t;
    struct certs certs;
    struct canned server, other;
    struct getter getter, second;
    char url[256];
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    certs_init(&f.certs);
    setenv("SSL_CERT_FILE", "/nowhere/at/all", 1);
    unsetenv("SSL_CERT_DIR");
    setenv("HOME", f.certs.dir, 1);
    loop_set_up(&f.t);
    f.getter.t = f.second.t = &f.t;
    f.getter.options.trust.ca_file = f.certs.ca;
}

static void tear_down(void)
{
    canned_stop(&f.server, &f.t);
    canned_stop(&f.other, &f.t);
    loop_tear_down(&f.t);
    getter_fini(&f.getter);
    getter_fini(&f.second);
    certs_fini(&f.certs);
}

TestSuite(tls, .init = set_up, .fini = tear_down);

static void serve_as(const char *san, int days, const char *key_type)
{
    certs_make(&f.certs, "server", san, days, key_type);
    canned_start_tls(&f.server, &f.t.loop, certs_path(&f.certs, "server.cert"),
                     certs_path(&f.certs, "server.key"));
    canned_add(&f.server, "/a", OK "Content-Length: 5\r\n\r\nhello", CANNED_NEXT);
    canned_add(&f.server, "/close", OK "Connection: close\r\nContent-Length: 5\r\n\r\nhello",
               CANNED_CLOSE);
}

static void serve(void)
{
    serve_as("DNS:localhost,IP:127.0.0.1", 10, "ec");
}

static const char *at(const char *host, const char *path)
{
    snprintf(f.url, sizeof(f.url), "https://%s:%u%s", host, server_port(f.server.server), path);
    return f.url;
}

static struct net *net(void)
{
    struct net *found;

    cr_assert_eq(net_get(f.t.engine, &found, NULL), 0);
    return found;
}

static void get(const char *host, const char *path)
{
    int r = getter_get(&f.getter, at(host, path));

    cr_assert_eq(r, 0, "%s: %d %s", f.url, r, f.getter.err.message);
    cr_assert_str_eq((char *)f.getter.bytes, "hello");
}

static void fails(const char *host, int status, const char *words)
{
    int r = getter_get(&f.getter, at(host, "/a?sig=secret"));

    cr_assert_eq(r, status, "%s: %d %s", f.url, r, f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, words), "%s", f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, "https://"), "%s", f.getter.err.message);
    cr_assert_null(strstr(f.getter.err.message, "secret"), "%s", f.getter.err.message);
}

Test(tls, fetches_from_a_server_that_ca_file_vouches_for)
{
    serve();
    get("localhost", "/a");
    cr_assert_eq(net()->handshakes[0].value, 1);
}

Test(tls, verifies_addresses_by_their_alternative_names)
{
    serve();
    get("127.0.0.1", "/a");
}

Test(tls, speaks_with_rsa_certificates)
{
    serve_as("DNS:localhost", 10, "rsa");
    get("localhost", "/a");
}

Test(tls, trusts_the_system_store)
{
    serve();
    f.getter.options.trust.ca_file = NULL;
    setenv("SSL_CERT_FILE", f.certs.ca, 1);
    get("localhost", "/a");
}

Test(tls, trusts_the_directories_of_ssl_cert_dir)
{
    char dirs[256];

    serve();
    certs_run("mkdir %s/cas && cp %s %s/cas/", f.certs.dir, f.certs.ca, f.certs.dir);
    snprintf(dirs, sizeof(dirs), "/nowhere:%s/cas", f.certs.dir);
    f.getter.options.trust.ca_file = NULL;
    setenv("SSL_CERT_DIR", dirs, 1);
    get("localhost", "/a");
}

Test(tls, refuses_an_unknown_ca)
{
    serve();
    f.getter.options.trust.ca_file = NULL;
    fails("localhost", -EKEYREJECTED, "--ca-file");
    cr_assert(strstr(f.getter.err.message, "clip test CA"), "%s", f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, "certs.d/localhost:"), "%s", f.getter.err.message);
    cr_assert_not(fetch_may_retry(f.getter.status));
    cr_assert_eq(f.server.n_requests, 0);
}

Test(tls, refuses_a_certificate_for_another_host)
{
    serve_as("DNS:registry.test,IP:127.0.0.2", 10, "ec");
    fails("localhost", -EKEYREJECTED, "is for registry.test, 127.0.0.2, not for localhost");
    fails("127.0.0.1", -EKEYREJECTED, "not for 127.0.0.1");
}

Test(tls, refuses_an_expired_certificate)
{
    serve_as("DNS:localhost", -2, "ec");
    fails("localhost", -EKEYREJECTED, "has expired");
}

/* ---- a server that says one thing to whatever it hears */

static struct {
    uv_tcp_t listener, peer;
    uv_write_t req;
    const char *words; /* NULL: it only listens */
    unsigned n_open, port;
} rude;

static void on_rude_closed(uv_handle_t *handle)
{
    (void)handle;
    rude.n_open--;
}

static void on_rude_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    static char bytes[4096];

    (void)handle;
    (void)suggested;
    *out = uv_buf_init(bytes, sizeof(bytes));
}

static void on_rude_read(uv_stream_t *peer, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0)
        uv_close((uv_handle_t *)peer, on_rude_closed);
    if (n <= 0 || !rude.words)
        return;
    uv_buf_t words = uv_buf_init((char *)rude.words, (unsigned)strlen(rude.words));
    uv_write(&rude.req, peer, &words, 1, NULL);
}

static void on_rude_connection(uv_stream_t *listener, int status)
{
    cr_assert_eq(status, 0);
    uv_tcp_init(&f.t.loop, &rude.peer);
    uv_accept(listener, (uv_stream_t *)&rude.peer);
    uv_read_start((uv_stream_t *)&rude.peer, on_rude_alloc, on_rude_read);
    uv_close((uv_handle_t *)listener, on_rude_closed);
    rude.n_open++;
}

static void serve_rudely(const char *words)
{
    struct sockaddr_in address;
    int len = sizeof(address);

    rude.words = words;
    rude.n_open = 1;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&f.t.loop, &rude.listener);
    uv_tcp_bind(&rude.listener, (struct sockaddr *)&address, 0);
    uv_listen((uv_stream_t *)&rude.listener, 8, on_rude_connection);
    uv_tcp_getsockname(&rude.listener, (struct sockaddr *)&address, &len);
    snprintf(f.url, sizeof(f.url), "https://127.0.0.1:%u/a", ntohs(address.sin_port));
}

static void fails_rudely(int status, const char *words)
{
    cr_assert_eq(getter_get(&f.getter, f.url), status, "%s", f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, words), "%s", f.getter.err.message);
    LOOP_RUN_UNTIL(&f.t, rude.n_open == 0);
}

Test(tls, tells_of_a_server_that_does_not_speak_tls)
{
    serve_rudely("HTTP/1.1 400 Bad Request\r\n\r\n");
    fails_rudely(-EPROTO, "does not speak TLS there");
}

Test(tls, gives_up_when_no_handshake_comes)
{
    net_timeouts(net())->tls_ms = 20;
    serve_rudely(NULL);
    fails_rudely(-ETIMEDOUT, "no TLS handshake within 0.02 s");
}

Test(tls, tells_of_a_server_that_hangs_up)
{
    canned_start(&f.server, &f.t.loop); /* closes when it cannot understand */
    fails("localhost", -ECONNRESET, "in the middle of the TLS handshake");
}

Test(tls, tells_of_a_ca_file_that_is_not_there)
{
    serve();
    f.getter.options.trust.ca_file = "/nowhere/ca.pem";
    fails("localhost", -ENOENT, "/nowhere/ca.pem");
    f.getter.options.trust.ca_file = certs_path(&f.certs, "server.key");
    fails("localhost", -EINVAL, "no CA certificate can be read");
}

/* -------------------------------------------------------------------- certs.d */

Test(tls, trusts_what_lies_in_certs_d)
{
    serve();
    f.getter.options.trust.ca_file = NULL;
    certs_run("mkdir -p %s/.config/containers/certs.d/localhost:%u && cp %s "
              "%s/.config/containers/certs.d/localhost:%u/",
              f.certs.dir, server_port(f.server.server), f.certs.ca, f.certs.dir,
              server_port(f.server.server));
    get("localhost", "/a");
    fails("127.0.0.1", -EKEYREJECTED, "not trusted");
    f.getter.options.trust.certs_dir = "/nowhere";
    fails("localhost", -EKEYREJECTED, "/nowhere/localhost:");
}

static void make_client_place(void)
{
    certs_make(&f.certs, "client", "DNS:client", 10, "ec");
    certs_run("mkdir -p %s/d/localhost:%u && cd %s && cp client.cert client.key d/localhost:%u/",
              f.certs.dir, server_port(f.server.server), f.certs.dir, server_port(f.server.server));
}

Test(tls, shows_a_client_certificate)
{
    serve();
    server_want_client(f.server.server, f.certs.ca);
    f.getter.options.trust.certs_dir = certs_path(&f.certs, "d");
    fails("localhost", -EPROTO, "wants a client certificate");
    make_client_place();
    f.getter.options.trust.certs_dir = certs_path(&f.certs, "./d"); /* another origin */
    get("localhost", "/a");
}

Test(tls, tells_of_a_client_key_that_is_not_there)
{
    serve();
    make_client_place();
    certs_run("rm %s/d/localhost:*/client.key", f.certs.dir);
    f.getter.options.trust.certs_dir = certs_path(&f.certs, "d");
    fails("localhost", -ENOENT, "client.key");
}

/* ------------------------------------------------------------------ resumption */

Test(tls, resumes_sessions)
{
    serve();
    for (int i = 0; i < 4; i++)
        get("localhost", "/close");
    cr_assert_eq(server_connections(f.server.server), 4);
    cr_assert_eq(net()->handshakes[0].value, 1);
    cr_assert_eq(net()->handshakes[1].value, 3);
}

Test(tls, does_not_lend_a_connection_to_those_who_trust_less)
{
    serve();
    get("localhost", "/a");
    f.getter.options.trust.ca_file = NULL;
    fails("localhost", -EKEYREJECTED, "not trusted");
}

/* ----------------------------------------------------------------------- bytes */

Test(tls, gets_a_large_body_as_far_as_the_credit_goes)
{
    size_t len = 3u << 20;
    uint8_t *bytes = malloc(len);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    serve();
    canned_add_body(&f.server, "/big", bytes, len);
    f.getter.without_credit = true;
    cr_assert_eq(getter_start(&f.getter, at("localhost", "/big")), 0);
    LOOP_RUN_UNTIL(&f.t, f.getter.n_responses == 1);
    fetch_credit(f.getter.fetch, 50000);
    LOOP_RUN_UNTIL(&f.t, f.getter.len == 50000);
    for (int i = 0; i < 20; i++)
        uv_run(&f.t.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.getter.len, 50000);
    cr_assert_lt(net()->received.value, 50000 + 3 * 131072, "read without credit");
    fetch_credit(f.getter.fetch, UINT64_MAX);
    getter_wait(&f.getter);
    cr_assert_eq(f.getter.status, 0, "%s", f.getter.err.message);
    cr_assert_eq(f.getter.len, len);
    cr_assert_arr_eq(f.getter.bytes, bytes, len);
    free(bytes);
}

Test(tls, ends_with_the_connection)
{
    serve();
    canned_add(&f.server, "/until", OK "\r\nhello", CANNED_CLOSE);
    canned_add(&f.server, "/cut", OK "Content-Length: 6\r\n\r\nhello", CANNED_CLOSE);
    get("localhost", "/until");
    cr_assert_eq(getter_get(&f.getter, at("localhost", "/cut")), -ECONNRESET);
}

/* Without credit the connection is not read, until both lie there. */
Test(tls, sees_an_end_that_comes_together_with_bytes)
{
    char text[20000];

    memset(text, 'x', sizeof(text));
    memcpy(text, OK "\r\n", strlen(OK "\r\n"));
    serve();
    canned_add_bytes(&f.server, "/until", text, sizeof(text), CANNED_GOODBYE);
    f.getter.without_credit = true;
    cr_assert_eq(getter_start(&f.getter, at("localhost", "/until")), 0);
    LOOP_RUN_UNTIL(&f.t, f.getter.n_responses == 1);
    for (int i = 0; i < 20; i++)
        uv_run(&f.t.loop, UV_RUN_NOWAIT);
    fetch_credit(f.getter.fetch, 1u << 20);
    getter_wait(&f.getter);
    cr_assert_eq(f.getter.status, 0, "%s", f.getter.err.message);
    cr_assert_eq(f.getter.len, sizeof(text) - strlen(OK "\r\n"));
}

Test(tls, repeats_once_when_a_kept_connection_was_closed)
{
    serve();
    canned_add_once(&f.server, "/b", "", CANNED_CLOSE);
    canned_add_once(&f.server, "/b", OK "Content-Length: 5\r\n\r\nhello", CANNED_NEXT);
    get("localhost", "/a");
    get("localhost", "/b");
    cr_assert_eq(server_connections(f.server.server), 2);
}

Test(tls, does_not_follow_from_https_to_http)
{
    char text[256];

    serve();
    snprintf(text, sizeof(text),
             "HTTP/1.1 302 Go\r\nLocation: http://%s/x\r\nContent-Length: 0\r\n\r\n",
             f.server.host);
    canned_add(&f.server, "/down", text, CANNED_NEXT);
    cr_assert_eq(getter_get(&f.getter, at("localhost", "/down")), -EPERM);
    cr_assert(strstr(f.getter.err.message, "from https to http"), "%s", f.getter.err.message);
}

/* ---------------------------------------------------------------------- cancel */

Test(tls, may_be_cancelled_in_the_middle_of_a_handshake)
{
    serve();
    for (int turns = 0; turns < 12; turns++) {
        cr_assert_eq(getter_start(&f.getter, at("localhost", "/close")), 0);
        for (int i = 0; i < turns && f.getter.fetch; i++)
            loop_run_once(&f.t, "a turn");
        if (!f.getter.fetch)
            continue;
        fetch_cancel(f.getter.fetch);
        getter_wait(&f.getter);
        cr_assert_eq(f.getter.status, -ECANCELED);
    }
    get("localhost", "/a");
}

Test(tls, opens_many_at_once)
{
    static struct getter many[12];

    serve();
    for (int i = 0; i < 12; i++) {
        many[i] = f.getter;
        cr_assert_eq(getter_start(&many[i], at("localhost", "/a")), 0);
    }
    for (int i = 0; i < 12; i++) {
        getter_wait(&many[i]);
        cr_assert_eq(many[i].status, 0, "%s", many[i].err.message);
        getter_fini(&many[i]);
    }
}
