/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy.h"

#include "net/dial.h"
#include "net/net_private.h"
#include "test/lib/canned.h"
#include "test/lib/certs.h"
#include "test/lib/getter.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK "HTTP/1.1 200 OK\r\n"

/* ---- a proxy on the loop: it reads a head, and is a tunnel to `to_port` whatever it was asked for
 */

struct pipe {
    uv_tcp_t ends[2]; /* who asked, and who was asked for */
    struct pipe *next;
    bool tunnel;
    unsigned n_open;
    uv_connect_t req;
};

static struct fixture {
    struct test_loop t;
    struct canned server;
    struct certs certs;
    struct getter getter;
    uv_tcp_t listener;
    bool listens;
    unsigned port, to_port, n_tunnels, n_handles;
    const char *refusal; /* what it answers instead */
    char head[4096];
    struct pipe *pipes;
} f;

static void on_pipe_closed(uv_handle_t *handle)
{
    struct pipe *pipe = handle->data;

    f.n_handles--;
    if (--pipe->n_open == 0)
        pipe->n_open = 0; /* freed by tear_down */
}

static void close_pipe(struct pipe *pipe)
{
    for (int i = 0; i < 2; i++)
        if (pipe->ends[i].data && !uv_is_closing((uv_handle_t *)&pipe->ends[i]))
            uv_close((uv_handle_t *)&pipe->ends[i], on_pipe_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    static char bytes[65536];

    (void)handle;
    (void)suggested;
    *out = uv_buf_init(bytes, sizeof(bytes));
}

static void on_written(uv_write_t *req, int status)
{
    (void)status;
    free(req);
}

static void send_copy(uv_tcp_t *to, const char *bytes, size_t len)
{
    uv_write_t *req = malloc(sizeof(*req) + len);
    uv_buf_t buf = uv_buf_init((char *)(req + 1), (unsigned)len);

    memcpy(req + 1, bytes, len);
    if (uv_write(req, (uv_stream_t *)to, &buf, 1, on_written) < 0)
        free(req);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_connected(uv_connect_t *req, int status)
{
    struct pipe *pipe = container_of(req, struct pipe, req);

    if (status < 0)
        return;
    f.n_tunnels++;
    pipe->tunnel = true;
    send_copy(&pipe->ends[0], OK "\r\n", strlen(OK "\r\n"));
    uv_read_start((uv_stream_t *)&pipe->ends[1], on_alloc, on_read);
}

static void open_end(struct pipe *pipe, int i)
{
    uv_tcp_init(&f.t.loop, &pipe->ends[i]);
    pipe->ends[i].data = pipe;
    pipe->n_open++;
    f.n_handles++;
}

static void on_head(struct pipe *pipe)
{
    struct sockaddr_in address;

    if (f.refusal) {
        send_copy(&pipe->ends[0], f.refusal, strlen(f.refusal));
        return;
    }
    open_end(pipe, 1);
    uv_ip4_addr("127.0.0.1", (int)f.to_port, &address);
    uv_tcp_connect(&pipe->req, &pipe->ends[1], (struct sockaddr *)&address, on_connected);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct pipe *pipe = stream->data;
    size_t used = strlen(f.head);

    if (n < 0) {
        close_pipe(pipe);
    } else if (pipe->tunnel) {
        send_copy(stream == (uv_stream_t *)&pipe->ends[0] ? &pipe->ends[1] : &pipe->ends[0],
                  buf->base, (size_t)n);
    } else if (n > 0) {
        snprintf(f.head + used, sizeof(f.head) - used, "%.*s", (int)n, buf->base);
        if (strstr(f.head, "\r\n\r\n"))
            on_head(pipe);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct pipe *pipe = calloc(1, sizeof(*pipe));

    cr_assert_eq(status, 0);
    pipe->next = f.pipes;
    f.pipes = pipe;
    f.head[0] = '\0';
    open_end(pipe, 0);
    uv_accept(listener, (uv_stream_t *)&pipe->ends[0]);
    uv_read_start((uv_stream_t *)&pipe->ends[0], on_alloc, on_read);
}

static void start_proxy(void)
{
    struct sockaddr_in address;
    int len = sizeof(address);

    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&f.t.loop, &f.listener);
    uv_tcp_bind(&f.listener, (struct sockaddr *)&address, 0);
    uv_listen((uv_stream_t *)&f.listener, 8, on_connection);
    uv_tcp_getsockname(&f.listener, (struct sockaddr *)&address, &len);
    f.port = ntohs(address.sin_port);
    f.listens = true;
}

static void set_proxy(const char *variable, unsigned port, const char *user)
{
    char text[128];

    snprintf(text, sizeof(text), "http://%s127.0.0.1:%u", user, port);
    setenv(variable, text, 1);
}

static void set_up(void)
{
    static const char *const variables[] = {"http_proxy",  "HTTP_PROXY", "https_proxy",
                                            "HTTPS_PROXY", "all_proxy",  "ALL_PROXY",
                                            "no_proxy",    "NO_PROXY"};

    memset(&f, 0, sizeof(f));
    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
        unsetenv(variables[i]);
    loop_set_up(&f.t);
    f.getter.t = &f.t;
}

static void tear_down(void)
{
    struct pipe *pipe;

    for (pipe = f.pipes; pipe; pipe = pipe->next)
        close_pipe(pipe);
    if (f.listens)
        uv_close((uv_handle_t *)&f.listener, NULL);
    LOOP_RUN_UNTIL(&f.t, f.n_handles == 0);
    canned_stop(&f.server, &f.t);
    loop_tear_down(&f.t);
    while ((pipe = f.pipes)) {
        f.pipes = pipe->next;
        free(pipe);
    }
    getter_fini(&f.getter);
    certs_fini(&f.certs);
}

TestSuite(proxy, .init = set_up, .fini = tear_down);

/* ------------------------------------------------------------------ which proxy */

Test(proxy, no_proxy_is_a_list_of_names_addresses_and_blocks)
{
    static const struct {
        const char *list, *host;
        uint16_t port;
        bool matches;
    } cases[] = {
        {"*", "any.host", 443, true},
        {"", "any.host", 443, false},
        {"example.com", "example.com", 443, true},
        {"example.com", "EXAMPLE.com", 443, true},
        {"example.com", "a.example.com", 443, true},
        {"example.com", "notexample.com", 443, false},
        {".example.com", "a.example.com", 443, true},
        {".example.com", "example.com", 443, true},
        {"*.example.com", "a.b.example.com", 443, true},
        {"example.com", "example.com.evil", 443, false},
        {"a, b ,c\td", "b", 80, true},
        {"a, b ,c\td", "d", 80, true},
        {"a,,b", "c", 80, false},
        {"example.com:5000", "example.com", 5000, true},
        {"example.com:5000", "example.com", 443, false},
        {"10.0.0.1", "10.0.0.1", 80, true},
        {"10.0.0.1", "10.0.0.10", 80, false},
        {"10.0.0.1:81", "10.0.0.1", 80, false},
        {"10.0.0.0/8", "10.200.3.4", 80, true},
        {"10.0.0.0/8", "11.0.0.1", 80, false},
        {"10.0.0.0/9", "10.128.0.1", 80, false},
        {"0.0.0.0/0", "1.2.3.4", 80, true},
        {"0.0.0.0/0", "2001:db8::1", 80, false},
        {"10.0.0.0/33", "10.0.0.0", 80, false},
        {"10.0.0.0/", "10.0.0.0", 80, false},
        {"10.0.0.0/8", "a10.host", 80, false},
        {"2001:db8::1", "2001:db8:0::1", 80, true},
        {"[2001:db8::1]", "2001:db8::1", 80, true},
        {"[2001:db8::1]:5000", "2001:db8::1", 5000, true},
        {"[2001:db8::1]:5000", "2001:db8::1", 80, false},
        {"2001:db8::/32", "2001:db8:1::9", 80, true},
        {"2001:db8::/32", "2001:db9::9", 80, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        cr_expect_eq(no_proxy_matches(cases[i].list, cases[i].host, cases[i].port),
                     cases[i].matches, "%s for %s:%u", cases[i].list, cases[i].host, cases[i].port);
}

static void finds(const char *text, const char *host)
{
    struct proxies proxies;
    const struct proxy *proxy;
    struct url url;

    cr_assert_eq(proxies_init(&proxies), 0);
    cr_assert_eq(url_parse(text, &url, NULL), 0);
    cr_assert_eq(proxy_find(&proxies, &url, &proxy, NULL), 0);
    cr_assert_eq(proxy != NULL, host != NULL, "%s", text);
    if (host)
        cr_assert_str_eq(proxy->url.host, host);
    url_fini(&url);
    proxies_fini(&proxies);
}

Test(proxy, variables_go_by_scheme_and_lower_case_goes_first)
{
    finds("https://a/", NULL);
    setenv("ALL_PROXY", "http://all:1", 1);
    finds("https://a/", "all");
    setenv("HTTPS_PROXY", "upper:3128", 1);
    finds("https://a/", "upper");
    setenv("https_proxy", "http://lower:3128", 1);
    finds("https://a/", "lower");
    finds("http://a/", "all");
    setenv("no_proxy", "a:443", 1);
    finds("https://a/", NULL);
    finds("http://a/", "all");
    finds("http://localhost:5000/", NULL);
    finds("https://127.0.0.1/", NULL);
    finds("https://[::1]/", NULL);
}

Test(proxy, a_bad_variable_is_told_by_its_name_and_without_secrets)
{
    struct proxies proxies;
    const struct proxy *proxy;
    struct clip_error err;
    struct url url;

    setenv("HTTPS_PROXY", "socks5://user:secret@host", 1);
    setenv("HTTP_PROXY", "https://user:secret@host", 1);
    cr_assert_eq(proxies_init(&proxies), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(url_parse(i == 0 ? "http://a/" : "https://a/", &url, NULL), 0);
        cr_assert_eq(proxy_find(&proxies, &url, &proxy, &err), -EINVAL);
        cr_assert(strstr(err.message, i == 0 ? "HTTP_PROXY" : "HTTPS_PROXY"), "%s", err.message);
        cr_assert_null(strstr(err.message, "secret"), "%s", err.message);
        url_fini(&url);
    }
    proxies_fini(&proxies);
}

/* ---------------------------------------------------------------- fetches by it */

static void serve_tls(void)
{
    certs_init(&f.certs);
    certs_make(&f.certs, "server", "DNS:registry.test", 10, "ec");
    canned_start_tls(&f.server, &f.t.loop, certs_path(&f.certs, "server.cert"),
                     certs_path(&f.certs, "server.key"));
    canned_add(&f.server, "/a", OK "Content-Length: 5\r\n\r\nhello", CANNED_NEXT);
    f.to_port = server_port(f.server.server);
    f.getter.options.trust.ca_file = f.certs.ca;
}

Test(proxy, tunnels_https_and_keeps_the_tunnel)
{
    start_proxy();
    serve_tls();
    set_proxy("https_proxy", f.port, "user:pa%20ss@");
    for (int i = 0; i < 2; i++)
        cr_assert_eq(getter_get(&f.getter, "https://registry.test:5000/a"), 0, "%s",
                     f.getter.err.message);
    cr_assert_str_eq((char *)f.getter.bytes, "hello");
    cr_assert_eq(f.n_tunnels, 1);
    cr_assert(strstr(f.head, "CONNECT registry.test:5000 HTTP/1.1\r\n"), "%s", f.head);
    cr_assert(strstr(f.head, "Proxy-Authorization: Basic dXNlcjpwYSBzcw==\r\n"), "%s", f.head);
    cr_assert_str_eq(f.server.proxy_authorization, "", "that is not for the origin");
}

static void fails(const char *refusal, int status, const char *words)
{
    f.refusal = refusal;
    cr_assert_eq(getter_get(&f.getter, "https://registry.test/a"), status, "%s",
                 f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, words), "%s", f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, "https_proxy"), "%s", f.getter.err.message);
    cr_assert_null(strstr(f.getter.err.message, "secret"), "%s", f.getter.err.message);
}

Test(proxy, tells_why_there_is_no_tunnel)
{
    struct net *net;

    start_proxy();
    set_proxy("https_proxy", f.port, "user:secret@");
    cr_assert_eq(net_get(f.t.engine, &net, NULL), 0);
    fails("HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", -EACCES, "407");
    fails("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", -ECONNREFUSED, "502");
    fails("hello\r\n", -EBADMSG, "bad response");
    fails(OK "\r\nunasked", -EBADMSG, "before the tunnel");
    net_timeouts(net)->tls_ms = 50;
    fails("", -ETIMEDOUT, "no answer to CONNECT");
}

Test(proxy, tells_of_a_proxy_that_is_not_there)
{
    start_proxy();
    set_proxy("https_proxy", f.port, "");
    uv_close((uv_handle_t *)&f.listener, NULL);
    f.listens = false;
    loop_run_once(&f.t, "the close");
    fails(NULL, -ECONNREFUSED, "refuses connections");
}

Test(proxy, is_asked_for_http_by_the_whole_url)
{
    canned_start(&f.server, &f.t.loop);
    canned_add(&f.server, "http://registry.test:80/a?b=c", OK "Content-Length: 5\r\n\r\nhello",
               CANNED_NEXT);
    set_proxy("HTTP_PROXY", server_port(f.server.server), "user:pass@");
    f.getter.options.trust.plain_http = true;
    cr_assert_eq(getter_get(&f.getter, "http://registry.test/a?b=c"), 0, "%s",
                 f.getter.err.message);
    cr_assert_eq(f.getter.code, 200);
    cr_assert_str_eq(f.server.host_header, "registry.test");
    cr_assert_str_eq(f.server.proxy_authorization, "Basic dXNlcjpwYXNz");
    cr_assert_str_eq(f.server.authorization, "");
}

/* ------------------------------------------------- the race, where no proxy is */

static struct {
    int status;
    bool ended;
    uv_tcp_t *tcp;
    struct clip_error err;
    unsigned port;
} raced;

static void on_dialled(void *data, int status, uv_tcp_t *tcp, const struct clip_error *err)
{
    (void)data;
    raced.ended = true;
    raced.status = status;
    raced.tcp = tcp;
    raced.err = *err;
}

static void on_raced_closed(uv_handle_t *tcp)
{
    free(tcp);
    raced.tcp = NULL;
}

/* 127.0.0.2 to .9 drop what comes: their listeners' queues are full. */
static int listen_full(const char *address, unsigned port, int fillers[4])
{
    struct sockaddr_in in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    uv_ip4_addr(address, (int)port, &in);
    cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    cr_assert_eq(listen(fd, 0), 0);
    for (int i = 0; i < 4; i++) {
        /* the first one has the only place before the others come */
        fillers[i] = socket(AF_INET, SOCK_STREAM | (i ? SOCK_NONBLOCK : 0) | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&in, sizeof(in));
    }
    return fd;
}

static void race(const char *const *addresses, unsigned n, uint64_t timeout_ms)
{
    struct sockaddr_storage list[8];
    struct dial_options options = {
        .host = "registry.test",
        .port = (uint16_t)server_port(f.server.server),
        .timeout_ms = timeout_ms,
        .addresses = list,
        .n_addresses = n,
        .done = on_dialled,
    };
    struct dial *dial;
    struct net *net;

    memset(list, 0, sizeof(list));
    for (unsigned i = 0; i < n; i++)
        if (strchr(addresses[i], ':'))
            uv_ip6_addr(addresses[i], 0, (struct sockaddr_in6 *)&list[i]);
        else
            uv_ip4_addr(addresses[i], 0, (struct sockaddr_in *)&list[i]);
    memset(&raced, 0, sizeof(raced));
    cr_assert_eq(net_get(f.t.engine, &net, NULL), 0);
    cr_assert_eq(dial_start(net, &options, &dial), 0);
    LOOP_RUN_UNTIL(&f.t, raced.ended);
}

static void close_raced(void)
{
    uv_close((uv_handle_t *)raced.tcp, on_raced_closed);
    LOOP_RUN_UNTIL(&f.t, !raced.tcp);
}

Test(proxy, races_addresses_and_takes_the_first_that_answers)
{
    static const char *const refused_first[] = {"::1", "127.0.0.3", "127.0.0.1"};
    static const char *const silent_first[] = {"127.0.0.2", "127.0.0.1"};
    static const char *const silent[] = {"127.0.0.2"};
    static const char *const refused[] = {"127.0.0.3", "127.0.0.4"};
    uint64_t began;
    int fillers[4], fd;

    canned_start(&f.server, &f.t.loop);
    fd = listen_full("127.0.0.2", server_port(f.server.server), fillers);
    race(refused_first, 3, 10000);
    cr_assert_eq(raced.status, 0, "%s", raced.err.message);
    close_raced();
    began = uv_now(&f.t.loop);
    race(silent_first, 2, 10000);
    cr_assert_eq(raced.status, 0, "%s", raced.err.message);
    cr_assert_geq(uv_now(&f.t.loop) - began, DIAL_NEXT_MS);
    close_raced();
    race(silent, 1, 30);
    cr_assert_eq(raced.status, -ETIMEDOUT);
    cr_assert(strstr(raced.err.message, "registry.test"), "%s", raced.err.message);
    race(refused, 2, 10000);
    cr_assert_eq(raced.status, -ECONNREFUSED);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(fd);
}
