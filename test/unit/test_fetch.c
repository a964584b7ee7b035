/* SPDX-License-Identifier: Apache-2.0 */
#include "net/fetch.h"

#include "engine/metrics.h"
#include "net/net_private.h"
#include "test/lib/canned.h"
#include "test/lib/drip.h"
#include "test/lib/getter.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK "HTTP/1.1 200 OK\r\n"

static struct fixture {
    struct test_loop t;
    struct canned server, other;
    struct getter getter, second;
    char url[256];
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    canned_start(&f.server, &f.t.loop);
    f.getter.t = f.second.t = &f.t;
}

static void tear_down(void)
{
    cr_assert_leq(f.getter.n_ends, 1);
    canned_stop(&f.server, &f.t);
    canned_stop(&f.other, &f.t);
    loop_tear_down(&f.t);
    getter_fini(&f.getter);
    getter_fini(&f.second);
}

TestSuite(fetch, .init = set_up, .fini = tear_down);

static const char *at(const char *path)
{
    snprintf(f.url, sizeof(f.url), "%s%s", f.server.url, path);
    return f.url;
}

static struct net *net(void)
{
    struct net *found;

    cr_assert_eq(net_get(f.t.engine, &found, NULL), 0);
    return found;
}

static void get(const char *path)
{
    int r = getter_get(&f.getter, at(path));

    cr_assert_eq(r, 0, "%s: %d %s", path, r, f.getter.err.message);
}

static void fails(const char *path, int status, const char *words)
{
    int r = getter_get(&f.getter, at(path));

    cr_assert_eq(r, status, "%s: %d %s", path, r, f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, words), "%s", f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, f.server.url), "%s", f.getter.err.message);
    cr_assert_null(strstr(f.getter.err.message, "secret"), "%s", f.getter.err.message);
}

/* Text with random bytes, the same every time. */
static uint8_t *noise(size_t len)
{
    uint8_t *bytes = malloc(len);
    uint64_t seed = 7;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)drip_random(&seed);
    return bytes;
}

Test(fetch, gets_a_body_by_its_length)
{
    canned_add(&f.server, "/a", OK "Content-Length: 5\r\nX-Name: value\r\n\r\nhello", CANNED_NEXT);
    f.getter.want_header = "x-name";
    get("/a");
    cr_assert_str_eq((char *)f.getter.bytes, "hello");
    cr_assert_eq(f.getter.code, 200);
    cr_assert_eq(f.getter.n_responses, 1);
    cr_assert_str_eq(f.getter.header, "value");
    cr_assert_str_eq(f.server.host_header, f.server.host);
}

Test(fetch, gets_a_chunked_body_and_one_that_ends_with_the_connection)
{
    canned_add(&f.server, "/chunked",
               OK "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: u\r\n\r\n",
               CANNED_NEXT);
    canned_add(&f.server, "/close", OK "\r\nhello", CANNED_CLOSE);
    get("/chunked");
    cr_assert_str_eq((char *)f.getter.bytes, "hello");
    get("/close");
    cr_assert_str_eq((char *)f.getter.bytes, "hello");
    cr_assert_eq(server_connections(f.server.server), 1);
}

Test(fetch, gets_a_large_body_in_large_slabs)
{
    size_t len = 5u << 20;
    uint8_t *bytes = noise(len);

    canned_add_body(&f.server, "/big", bytes, len);
    get("/big");
    cr_assert_eq(f.getter.len, len);
    cr_assert_arr_eq(f.getter.bytes, bytes, len);
    cr_assert_leq(f.getter.max_slab, FETCH_SLAB_MAX);
    cr_assert_lt(f.getter.n_slabs, 5u * 64u, "%u slabs", f.getter.n_slabs);
    free(bytes);
}

Test(fetch, gives_no_more_than_its_credit)
{
    size_t len = 3u << 20;
    uint8_t *bytes = noise(len);

    canned_add_body(&f.server, "/big", bytes, len);
    f.getter.without_credit = true;
    cr_assert_eq(getter_start(&f.getter, at("/big")), 0);
    LOOP_RUN_UNTIL(&f.t, f.getter.n_responses == 1);
    fetch_credit(f.getter.fetch, 10);
    LOOP_RUN_UNTIL(&f.t, f.getter.len == 10);
    fetch_credit(f.getter.fetch, 100000);
    LOOP_RUN_UNTIL(&f.t, f.getter.len == 100010);
    for (int i = 0; i < 20; i++)
        uv_run(&f.t.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.getter.len, 100010);
    cr_assert_lt(net()->received.value, 100010 + 65536, "the connection was read without credit");
    fetch_credit(f.getter.fetch, UINT64_MAX);
    fetch_credit(f.getter.fetch, UINT64_MAX);
    getter_wait(&f.getter);
    cr_assert_eq(f.getter.status, 0);
    cr_assert_arr_eq(f.getter.bytes, bytes, len);
    free(bytes);
}

Test(fetch, ends_without_credit_when_there_is_no_body)
{
    f.getter.without_credit = true;
    canned_add(&f.server, "/none", "HTTP/1.1 204 No Content\r\n\r\n", CANNED_NEXT);
    canned_add(&f.server, "/head", OK "Content-Length: 1000\r\n\r\n", CANNED_NEXT);
    canned_add(&f.server, "/empty", OK "Content-Length: 0\r\n\r\n", CANNED_NEXT);
    get("/none");
    get("/empty");
    f.getter.options.method = FETCH_HEAD;
    get("/head");
    cr_assert_eq(server_connections(f.server.server), 1);
}

Test(fetch, posts_a_body)
{
    f.getter.options.method = FETCH_POST;
    f.getter.options.body = "a=b";
    f.getter.options.body_len = 3;
    canned_add(&f.server, "/token", OK "Content-Length: 2\r\n\r\n{}", CANNED_NEXT);
    get("/token");
    cr_assert_str_eq(f.server.last_body, "a=b");
    cr_assert_str_eq(f.server.log, "POST /token\n");
}

Test(fetch, sends_headers_and_refuses_control_characters)
{
    struct fetch_header headers[] = {{"Accept", "a/b"}, {"X", "y"}};

    f.getter.options.headers = headers;
    f.getter.options.n_headers = 2;
    canned_add(&f.server, "/a", OK "Content-Length: 0\r\n\r\n", CANNED_NEXT);
    get("/a");
    cr_assert_str_eq(f.server.accept, "a/b");
    headers[1].value = "y\r\nEvil: 1";
    fails("/a", -EINVAL, "control characters");
}

Test(fetch, tells_what_a_response_says_of_ranges_and_waiting)
{
    canned_add(&f.server, "/a",
               "HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/100\r\nRetry-After: 7\r\n"
               "Content-Length: 5\r\n\r\nhello",
               CANNED_NEXT);
    canned_add(&f.server, "/b",
               OK "Content-Range: pages 1\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n",
               CANNED_NEXT);
    get("/a");
    cr_assert_eq(f.getter.range_status, 0);
    cr_assert_eq(f.getter.range_off, 5);
    cr_assert_eq(f.getter.range_len, 5);
    cr_assert_eq(f.getter.range_total, 100);
    cr_assert_eq(f.getter.retry_ms, 7000);
    get("/b");
    cr_assert_eq(f.getter.range_status, -EBADMSG);
    cr_assert_eq(f.getter.retry_status, -ENOENT);
}

/* ----------------------------------------------------------------- connections */

Test(fetch, uses_a_connection_again)
{
    canned_add(&f.server, "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
    for (int i = 0; i < 5; i++)
        get("/a");
    cr_assert_eq(server_connections(f.server.server), 1);
    cr_assert_eq(net()->reused.value, 4);
}

Test(fetch, does_not_keep_the_loop_alive_with_kept_connections)
{
    canned_add(&f.server, "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
    get("/a");
    cr_assert_eq(net()->n_conns, 1);
    server_stop(f.server.server); /* what is left is ours */
    net_timeouts(net())->idle_ms = 3600 * 1000;
    uv_run(&f.t.loop, UV_RUN_DEFAULT);
}

Test(fetch, closes_a_kept_connection_after_its_time)
{
    net_timeouts(net())->idle_ms = 5;
    canned_add(&f.server, "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
    get("/a");
    LOOP_RUN_UNTIL(&f.t, net()->n_conns == 0);
}

Test(fetch, repeats_once_when_a_kept_connection_was_closed)
{
    canned_add_once(&f.server, "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
    canned_add_once(&f.server, "/a", "", CANNED_RESET);
    canned_add_once(&f.server, "/a", OK "Content-Length: 1\r\n\r\ny", CANNED_NEXT);
    canned_add_once(&f.server, "/a", "", CANNED_CUT);
    canned_add_once(&f.server, "/a", "", CANNED_CUT);
    get("/a");
    get("/a");
    cr_assert_str_eq((char *)f.getter.bytes, "y");
    cr_assert_eq(server_connections(f.server.server), 2);
    fails("/a", -ECONNRESET, "closed before the response");
    cr_assert(fetch_may_retry(-ECONNRESET));
}

Test(fetch, does_not_keep_what_must_be_closed)
{
    canned_add(&f.server, "/a", OK "Connection: close\r\nContent-Length: 1\r\n\r\nx", CANNED_NEXT);
    canned_add(&f.server, "/b", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", CANNED_NEXT);
    canned_add(&f.server, "/c", OK "Keep-Alive: timeout=0\r\nContent-Length: 1\r\n\r\nx",
               CANNED_NEXT);
    canned_add(&f.server, "/d", OK "Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n", CANNED_NEXT);
    get("/a");
    get("/b");
    get("/c");
    get("/d");
    cr_assert_str_eq((char *)f.getter.bytes, "x");
    get("/d");
    cr_assert_eq(server_connections(f.server.server), 5);
}

Test(fetch, limits_connections_and_lets_reads_go_first)
{
    static struct getter bulk[20], reads[8];
    unsigned n_ended = 0;

    canned_add(&f.server, "/stall", OK "Content-Length: 1\r\n\r\n", CANNED_STALL);
    canned_add(&f.server, "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
    for (int i = 0; i < 20; i++) {
        bulk[i] = (struct getter){.t = &f.t, .options = {.lane = WORK_BULK}};
        cr_assert_eq(getter_start(&bulk[i], at("/stall")), 0);
    }
    LOOP_RUN_UNTIL(&f.t, f.server.n_requests == NET_ORIGIN_BULK_MAX);
    for (int i = 0; i < 8; i++) {
        reads[i] = (struct getter){.t = &f.t, .options = {.lane = WORK_READ}};
        cr_assert_eq(getter_start(&reads[i], at("/a")), 0);
    }
    LOOP_RUN_UNTIL(&f.t, f.server.n_requests == NET_ORIGIN_BULK_MAX + 8);
    for (int i = 0; i < 8; i++) {
        getter_wait(&reads[i]);
        cr_assert_eq(reads[i].status, 0);
        getter_fini(&reads[i]);
    }
    cr_assert_leq(net()->n_conns, NET_ORIGIN_MAX);
    for (int i = 0; i < 20; i++)
        fetch_cancel(bulk[i].fetch);
    while (n_ended < 20) {
        loop_run_once(&f.t, "all to be cancelled");
        n_ended = 0;
        for (int i = 0; i < 20; i++)
            n_ended += bulk[i].n_ends;
    }
    cr_assert_eq(f.server.n_requests, NET_ORIGIN_BULK_MAX + 8);
}

Test(fetch, goes_on_when_connections_of_other_origins_end)
{
    static struct canned servers[6];
    static struct getter getters[6][16];

    for (int i = 0; i < 6; i++) {
        canned_start(&servers[i], &f.t.loop);
        canned_add_once(&servers[i], "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
        canned_add(&servers[i], "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_CLOSE);
        snprintf(f.url, sizeof(f.url), "%s/a", servers[i].url);
        for (int j = 0; j < 16; j++) {
            getters[i][j].t = &f.t;
            cr_assert_eq(getter_start(&getters[i][j], f.url), 0);
        }
    }
    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < 16; j++) {
            getter_wait(&getters[i][j]);
            cr_assert_eq(getters[i][j].status, 0, "%s", getters[i][j].err.message);
            cr_assert_leq(net()->n_conns, NET_CONNS_MAX);
            getter_fini(&getters[i][j]);
        }
    }
    for (int i = 0; i < 6; i++)
        canned_stop(&servers[i], &f.t);
}

Test(fetch, finds_localhost_at_either_family)
{
    canned_add(&f.server, "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
    snprintf(f.url, sizeof(f.url), "http://registry.localhost:%u/a", server_port(f.server.server));
    cr_assert_eq(getter_get(&f.getter, f.url), 0, "%s", f.getter.err.message);
}

/* -------------------------------------------------------------------- failures */

Test(fetch, tells_of_a_refused_connection)
{
    unsigned port = server_port(f.server.server);

    canned_stop(&f.server, &f.t);
    snprintf(f.url, sizeof(f.url), "http://user:secret@127.0.0.1:%u/v2/?sig=secret", port);
    cr_assert_eq(getter_get(&f.getter, f.url), -ECONNREFUSED);
    cr_assert(strstr(f.getter.err.message, "refuses connections"), "%s", f.getter.err.message);
    cr_assert_null(strstr(f.getter.err.message, "secret"), "%s", f.getter.err.message);
    cr_assert_eq(f.getter.n_responses, 0);
}

Test(fetch, tells_of_a_name_that_is_not_there)
{
    f.getter.options.trust.plain_http = true;
    cr_assert_lt(getter_get(&f.getter, "http://nowhere.invalid/a"), 0);
    cr_assert(strstr(f.getter.err.message, "nowhere.invalid"), "%s", f.getter.err.message);
}

Test(fetch, tells_of_a_body_that_is_cut)
{
    canned_add(&f.server, "/a", OK "Content-Length: 10\r\n\r\nhello", CANNED_CUT);
    canned_add(&f.server, "/b", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", CANNED_CUT);
    canned_add(&f.server, "/c", OK "Content-Le", CANNED_CUT);
    fails("/a", -ECONNRESET, "in the middle");
    cr_assert_str_eq((char *)f.getter.bytes, "hello");
    fails("/b", -ECONNRESET, "in the middle");
    fails("/c", -ECONNRESET, "in the middle");
}

Test(fetch, tells_of_what_is_not_http)
{
    canned_add(&f.server, "/a", "SSH-2.0-OpenSSH_9.2\r\n", CANNED_NEXT);
    canned_add(&f.server, "/b", OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
               CANNED_NEXT);
    fails("/a", -EBADMSG, "bad response");
    fails("/b", -EBADMSG, "bad response");
    cr_assert_not(fetch_may_retry(-EBADMSG));
}

Test(fetch, gives_up_when_no_answer_comes)
{
    net_timeouts(net())->first_byte_ms = 20;
    canned_add(&f.server, "/a?sig=secret", "", CANNED_STALL);
    fails("/a?sig=secret", -ETIMEDOUT, "no answer within 0.02 s");
}

Test(fetch, gives_up_when_bytes_stop_coming)
{
    net_timeouts(net())->stall_ms = 20;
    canned_add(&f.server, "/a", OK "Content-Length: 10\r\n\r\nhello", CANNED_STALL);
    canned_add(&f.server, "/b", OK "Content-Le", CANNED_STALL);
    fails("/a", -ETIMEDOUT, "no byte came");
    cr_assert_eq(f.getter.len, 5);
    fails("/b", -ETIMEDOUT, "no byte came");
}

Test(fetch, does_not_call_it_a_stall_when_there_is_no_credit)
{
    net_timeouts(net())->stall_ms = 10;
    canned_add(&f.server, "/a", OK "Content-Length: 5\r\n\r\nhello", CANNED_NEXT);
    f.getter.without_credit = true;
    cr_assert_eq(getter_start(&f.getter, at("/a")), 0);
    LOOP_RUN_UNTIL(&f.t, f.getter.n_responses == 1);
    f.second.options.trust.plain_http = true;
    net_timeouts(net())->first_byte_ms = 40;
    canned_add(&f.server, "/b", "", CANNED_STALL);
    cr_assert_eq(getter_get(&f.second, at("/b")), -ETIMEDOUT); /* so much time has passed now */
    cr_assert_not_null(f.getter.fetch);
    net_timeouts(net())->stall_ms = 60000; /* for what it may get */
    fetch_credit(f.getter.fetch, 5);
    getter_wait(&f.getter);
    cr_assert_eq(f.getter.status, 0);
}

/* -------------------------------------------------------------------- redirects */

static void add_redirect(const char *path, const char *code, const char *location)
{
    char text[512];

    snprintf(text, sizeof(text), "HTTP/1.1 %s Go\r\nLocation: %s\r\nContent-Length: 4\r\n\r\nbody",
             code, location);
    canned_add(&f.server, path, text, CANNED_NEXT);
}

Test(fetch, follows_redirects_with_credentials_for_the_first_origin_only)
{
    canned_start(&f.other, &f.t.loop);
    snprintf(f.url, sizeof(f.url), "http://u:p@%s/blob?sig=secret", f.other.host);
    add_redirect("/a", "307", "/b");
    add_redirect("/b", "302", f.url);
    canned_add(&f.other, "/blob?sig=secret", OK "Content-Length: 5\r\n\r\nhello", CANNED_NEXT);
    f.getter.options.authorization = "Bearer secret";
    get("/a");
    cr_assert_str_eq((char *)f.getter.bytes, "hello");
    cr_assert_eq(f.getter.n_responses, 1);
    cr_assert_str_eq(f.server.authorization, "Bearer secret");
    cr_assert_str_eq(f.other.authorization, "");
    cr_assert_eq(server_connections(f.server.server), 1, "short bodies are read to their end");
    cr_assert_null(strstr(f.getter.url, "secret"));
}

Test(fetch, gives_up_on_redirects_without_end)
{
    add_redirect("/a", "301", "/a");
    fails("/a", -ELOOP, "more than 10 redirects");
    cr_assert_eq(f.server.n_requests, 11);
}

Test(fetch, does_not_follow_to_where_it_may_not_go)
{
    add_redirect("/a", "302", "http://example.invalid/");
    add_redirect("/b", "302", "ftp://127.0.0.1/");
    cr_assert_eq(getter_get(&f.getter, at("/a")), -EPERM);
    cr_assert(strstr(f.getter.err.message, "--plain-http"), "%s", f.getter.err.message);
    fails("/b", -EINVAL, "redirects");
}

Test(fetch, shows_a_redirect_that_leads_nowhere)
{
    canned_add(&f.server, "/a", "HTTP/1.1 304 Not Modified\r\n\r\n", CANNED_NEXT);
    canned_add(&f.server, "/b", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", CANNED_NEXT);
    get("/a");
    cr_assert_eq(f.getter.code, 304);
    get("/b");
    cr_assert_eq(f.getter.code, 302);
}

Test(fetch, makes_a_post_a_get_when_it_is_sent_elsewhere)
{
    f.getter.options.method = FETCH_POST;
    f.getter.options.body = "a=b";
    f.getter.options.body_len = 3;
    add_redirect("/303", "303", "/get");
    add_redirect("/308", "308", "/post");
    canned_add(&f.server, "/get", OK "Content-Length: 0\r\n\r\n", CANNED_NEXT);
    canned_add(&f.server, "/post", OK "Content-Length: 0\r\n\r\n", CANNED_NEXT);
    get("/303");
    cr_assert_str_eq(f.server.last_body, "");
    get("/308");
    cr_assert_str_eq(f.server.last_body, "a=b");
    cr_assert_str_eq(f.server.log, "POST /303\nGET /get\nPOST /308\nPOST /post\n");
}

Test(fetch, leaves_a_long_body_of_a_redirect)
{
    size_t len = 2u << 20;
    char *text = malloc(len + 256);
    int n = sprintf(text, "HTTP/1.1 302 Go\r\nLocation: /b\r\nContent-Length: %zu\r\n\r\n", len);

    memset(text + n, 'x', len);
    canned_add_bytes(&f.server, "/a", text, (size_t)n + len, CANNED_NEXT);
    canned_add(&f.server, "/b", OK "Content-Length: 1\r\n\r\ny", CANNED_NEXT);
    get("/a");
    cr_assert_str_eq((char *)f.getter.bytes, "y");
    cr_assert_eq(server_connections(f.server.server), 2);
    free(text);
}

/* ------------------------------------------------------------- policy and cancel */

Test(fetch, refuses_plain_http_to_other_machines)
{
    cr_assert_eq(getter_start(&f.getter, "http://registry.example.com/v2/?x=secret"), -EPERM);
    cr_assert(strstr(f.getter.err.message, "--plain-http"), "%s", f.getter.err.message);
    cr_assert(strstr(f.getter.err.message, "http://registry.example.com/v2/:"), "%s",
              f.getter.err.message);
    cr_assert_eq(getter_start(&f.getter, "ftp://x/"), -EINVAL);
}

Test(fetch, may_be_cancelled_at_once)
{
    cr_assert_eq(getter_start(&f.getter, at("/a")), 0);
    fetch_cancel(f.getter.fetch);
    cr_assert_eq(f.getter.n_ends, 0, "on_end comes from the loop");
    getter_wait(&f.getter);
    cr_assert_eq(f.getter.status, -ECANCELED);
}

Test(fetch, may_be_cancelled_while_it_looks_up_a_name)
{
    f.getter.options.trust.plain_http = true;
    cr_assert_eq(getter_start(&f.getter, "http://nowhere.invalid/"), 0);
    loop_run_once(&f.t, "the start");
    fetch_cancel(f.getter.fetch);
    getter_wait(&f.getter);
    cr_assert_eq(f.getter.status, -ECANCELED);
}

Test(fetch, may_be_cancelled_while_it_waits)
{
    canned_add(&f.server, "/a", "", CANNED_STALL);
    cr_assert_eq(getter_start(&f.getter, at("/a")), 0);
    LOOP_RUN_UNTIL(&f.t, f.server.n_requests == 1);
    fetch_cancel(f.getter.fetch);
    getter_wait(&f.getter);
    cr_assert_eq(f.getter.status, -ECANCELED);
}

Test(fetch, may_be_cancelled_by_its_callbacks)
{
    size_t len = 1u << 20;
    uint8_t *bytes = noise(len);

    canned_add_body(&f.server, "/big", bytes, len);
    f.getter.cancel_at_response = true;
    cr_assert_eq(getter_get(&f.getter, at("/big")), -ECANCELED);
    cr_assert_eq(f.getter.len, 0);
    f.getter.cancel_at_response = false;
    f.getter.cancel_at_slab = true;
    cr_assert_eq(getter_get(&f.getter, at("/big")), -ECANCELED);
    cr_assert_eq(f.getter.n_slabs, 1);
    free(bytes);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

Test(fetch, is_cancelled_when_the_engine_closes)
{
    struct clip_engine *outer = f.t.engine;
    bool closed = false;

    cr_assert_eq(clip_engine_open(&f.t.loop, NULL, &f.t.engine, NULL), 0);
    canned_add(&f.server, "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
    canned_add(&f.server, "/b", "", CANNED_STALL);
    get("/a");
    cr_assert_eq(getter_start(&f.getter, at("/b")), 0);
    LOOP_RUN_UNTIL(&f.t, f.server.n_requests == 2);
    cr_assert_eq(getter_start(&f.second, at("/b")), 0);
    clip_engine_close(f.t.engine, on_closed, &closed);
    LOOP_RUN_UNTIL(&f.t, closed);
    cr_assert_eq(f.getter.status, -ECANCELED);
    cr_assert_eq(f.second.status, -ECANCELED);
    f.t.engine = outer;
}

Test(fetch, counts_what_it_does)
{
    char *text;
    size_t len;

    canned_add(&f.server, "/a", OK "Content-Length: 1\r\n\r\nx", CANNED_NEXT);
    get("/a");
    get("/a");
    get("/none");
    cr_assert_eq(clip_engine_metrics(f.t.engine, &text, &len), 0);
    cr_assert(strstr(text, "clip_net_connections_opened_total 1\n"));
    cr_assert(strstr(text, "clip_net_connections_reused_total 2\n"));
    cr_assert(strstr(text, "clip_http_requests_total{lane=\"read\"} 3\n"));
    cr_assert(strstr(text, "clip_http_responses_total{code=\"4xx\"} 1\n"));
    free(text);
}

Test(fetch, ends_with_the_exact_credit_where_the_body_has_no_length)
{
    canned_add(&f.server, "/chunked",
               OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", CANNED_NEXT);
    canned_add(&f.server, "/close", OK "\r\nhello", CANNED_CLOSE);
    f.getter.without_credit = true;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(getter_start(&f.getter, at(i == 0 ? "/chunked" : "/close")), 0);
        LOOP_RUN_UNTIL(&f.t, f.getter.n_responses == 1);
        fetch_credit(f.getter.fetch, 5);
        getter_wait(&f.getter);
        cr_assert_eq(f.getter.status, 0);
        cr_assert_eq(f.getter.len, 5);
    }
}
