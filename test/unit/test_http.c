/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http.h"

#include "test/lib/drip.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK "HTTP/1.1 200 OK\r\n"

static struct fixture {
    struct http *http;
    struct clip_error err;
    char body[4096];
    size_t len;
    unsigned n_heads;
    int r; /* the last event, or what was refused */
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    f.http = http_new();
}

static void tear_down(void)
{
    http_free(f.http);
}

TestSuite(http, .init = set_up, .fini = tear_down);

static void on_piece(void *data, const uint8_t *bytes, size_t len)
{
    const uint8_t *piece;
    size_t n;

    (void)data;
    if (f.r < 0 || f.r == HTTP_DONE)
        return;
    http_feed(f.http, bytes, len);
    while ((f.r = http_step(f.http, &piece, &n, &f.err)) != HTTP_MORE) {
        if (f.r < 0 || f.r == HTTP_DONE)
            return;
        if (f.r == HTTP_HEADERS)
            f.n_heads++;
        if (f.r != HTTP_PIECE)
            continue;
        cr_assert(piece >= bytes && piece + n <= bytes + len, "a piece lies in what was fed");
        cr_assert_lt(f.len + n, sizeof(f.body));
        memcpy(f.body + f.len, piece, n);
        f.len += n;
        f.body[f.len] = '\0';
    }
}

static void read_cut(const char *text, size_t len, enum http_expect expect, enum drip_how how,
                     uint64_t seed)
{
    http_reset(f.http, expect);
    f.len = f.n_heads = 0;
    f.body[0] = '\0';
    f.r = HTTP_MORE;
    drip(text, len, how, seed, on_piece, NULL);
}

static void read_whole(const char *text)
{
    read_cut(text, strlen(text), HTTP_EXPECT_ANY, DRIP_WHOLE, 0);
}

/* Whole, byte by byte, and cut at random: the same each time. */
static void gives(const char *text, enum http_expect expect, unsigned status, const char *body)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        read_cut(text, strlen(text), expect, (enum drip_how)(seed < 2 ? seed : 2), seed);
        if (f.r == HTTP_MORE)
            f.r = http_eof(f.http, &f.err);
        cr_assert_eq(f.r, HTTP_DONE, "%s: %d %s", text, f.r, f.err.message);
        cr_assert_eq(f.n_heads, 1);
        cr_assert_eq(http_status(f.http), status);
        cr_assert_str_eq(f.body, body);
    }
}

static void refuses(const char *text)
{
    for (uint64_t seed = 0; seed < 6; seed++) {
        read_cut(text, strlen(text), HTTP_EXPECT_ANY, (enum drip_how)(seed < 2 ? seed : 2), seed);
        cr_assert_eq(f.r, -EBADMSG, "%s was taken: %d", text, f.r);
        cr_assert(strstr(f.err.message, "http: "), "%s", f.err.message);
        cr_assert_eq(http_step(f.http, NULL, NULL, &f.err), -EBADMSG, "for good");
        cr_assert_not(http_keep_alive(f.http));
    }
}

/* -------------------------------------------------------------------- responses */

Test(http, reads_bodies_of_every_kind)
{
    gives(OK "Content-Length: 5\r\n\r\nhello", HTTP_EXPECT_ANY, 200, "hello");
    gives(OK "Content-Length: 0\r\n\r\n", HTTP_EXPECT_ANY, 200, "");
    gives(OK "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", HTTP_EXPECT_ANY,
          200, "hello");
    gives(OK "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
          HTTP_EXPECT_ANY, 200, "hello");
    gives(OK "\r\nhello", HTTP_EXPECT_ANY, 200, "hello");
    gives("HTTP/1.0 404 Not Found\r\n\r\nhello", HTTP_EXPECT_ANY, 404, "hello");
    gives("HTTP/1.1 204 No Content\r\n\r\n", HTTP_EXPECT_ANY, 204, "");
    gives("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", HTTP_EXPECT_ANY, 304, "");
    gives(OK "Content-Length: 10\r\n\r\n", HTTP_EXPECT_NO_BODY, 200, "");
}

Test(http, ends_with_the_last_byte_of_the_body)
{
    /* all in one piece, and nothing fed behind it */
    read_whole(OK "Content-Length: 5\r\n\r\nhello");
    cr_assert_eq(f.r, HTTP_DONE);
    cr_assert_eq(http_rest(f.http), 0);
    cr_assert(http_keep_alive(f.http));
}

Test(http, passes_over_interim_responses)
{
    gives("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK
          "Content-Length: 2\r\nX: y\r\n\r\nok",
          HTTP_EXPECT_ANY, 200, "ok");
    cr_assert_null(http_header(f.http, "Link", 0));
    cr_assert_str_eq(http_header(f.http, "x", 0), "y");
}

Test(http, finds_headers_by_name_in_any_case)
{
    uint64_t len;

    gives(OK "www-Authenticate: Basic\r\nEmpty:\r\nWWW-AUTHENTICATE: Bearer a=\"b\"\r\n"
             "Content-Length: 3\r\n\r\nabc",
          HTTP_EXPECT_ANY, 200, "abc");
    cr_assert_str_eq(http_header(f.http, "WWW-Authenticate", 0), "Basic");
    cr_assert_str_eq(http_header(f.http, "WWW-Authenticate", 1), "Bearer a=\"b\"");
    cr_assert_null(http_header(f.http, "WWW-Authenticate", 2));
    cr_assert_str_eq(http_header(f.http, "empty", 0), "");
    cr_assert_null(http_header(f.http, "not-there", 0));
    cr_assert_eq(http_content_length(f.http, &len), 0);
    cr_assert_eq(len, 3);
}

Test(http, says_when_a_response_is_cut)
{
    static const char *const cut[] = {
        "",
        "HTTP/1.1 200",
        OK,
        OK "Content-Length: 5\r\n",
        OK "Content-Length: 5\r\n\r\nhell",
        OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    };

    for (size_t i = 0; i < sizeof(cut) / sizeof(*cut); i++) {
        read_whole(cut[i]);
        cr_assert_eq(f.r, HTTP_MORE, "%s", cut[i]);
        cr_assert_eq(http_began(f.http), cut[i][0] != '\0');
        cr_assert_eq(http_eof(f.http, &f.err), -ECONNRESET, "%s", cut[i]);
    }
}

Test(http, keeps_a_connection_only_when_it_may_be_used_again)
{
    read_whole(OK "Content-Length: 1\r\n\r\nx");
    cr_assert(http_keep_alive(f.http));
    read_whole(OK "Connection: close\r\nContent-Length: 1\r\n\r\nx");
    cr_assert_not(http_keep_alive(f.http));
    read_whole("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx");
    cr_assert_not(http_keep_alive(f.http));
    read_whole("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx");
    cr_assert(http_keep_alive(f.http));
    read_whole(OK "Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n");
    cr_assert_eq(f.r, HTTP_DONE);
    cr_assert_gt(http_rest(f.http), 0);
    cr_assert_not(http_keep_alive(f.http), "bytes that nobody asked for");
}

Test(http, opens_a_tunnel)
{
    read_cut(OK "\r\n", strlen(OK "\r\n"), HTTP_EXPECT_TUNNEL, DRIP_BYTES, 0);
    cr_assert_eq(f.r, HTTP_DONE);
    read_whole("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n");
    cr_assert_eq(http_status(f.http), 407);
    cr_assert_eq(f.r, HTTP_DONE);
}

/* ---------------------------------------------------------------- hostile bytes */

Test(http, refuses_what_is_not_http)
{
    refuses("SSH-2.0-OpenSSH\r\n\r\n");
    refuses("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    refuses("HTTP/9.9 200 OK\r\n\r\n");
    refuses("HTTP/1.1 2000 OK\r\n\r\n");
    refuses("HTTP/1.1 abc OK\r\n\r\n");
    refuses("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
}

/* Two readers must not see two different ends of a body. */
Test(http, refuses_what_could_be_smuggled)
{
    refuses(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    refuses(OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
    refuses(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello");
    refuses(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
    refuses(OK "Content-Length: -5\r\n\r\nhello");
    refuses(OK "Content-Length: +5\r\n\r\nhello");
    refuses(OK "Content-Length: 5 5\r\n\r\nhello");
    refuses(OK "Content-Length: 0x5\r\n\r\nhello");
    refuses(OK "Content-Length: 99999999999999999999999\r\n\r\n");
    refuses(OK "Content-Length : 5\r\n\r\nhello");
    refuses(OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n");
    refuses(OK "Transfer-Encoding: chunked\r\n\r\n-1\r\n");
    refuses(OK "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n");
    refuses(OK "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n");
}

Test(http, refuses_bad_headers)
{
    refuses(OK "Na me: x\r\n\r\n");
    refuses(OK ": x\r\n\r\n");
    refuses(OK "Name: a\x01z\r\n\r\n");
    refuses(OK "Name\r\n\r\n");
}

static char *long_head(const char *pattern, unsigned n)
{
    size_t each = strlen(pattern);
    char *text = malloc(strlen(OK) + each * n + 1);
    char *at = text + sprintf(text, "%s", OK);

    for (unsigned i = 0; i < n; i++)
        at = memcpy(at, pattern, each), at += each;
    *at = '\0';
    return text;
}

static void refuses_long(const char *pattern, unsigned n)
{
    char *text = long_head(pattern, n);

    read_whole(text);
    cr_assert_eq(f.r, -EBADMSG, "%u times %.20s", n, pattern);
    read_cut(text, strlen(text), HTTP_EXPECT_ANY, DRIP_RANDOM, 3);
    cr_assert_eq(f.r, -EBADMSG);
    free(text);
}

Test(http, bounds_what_is_not_body)
{
    char *line = malloc(HTTP_HEAD_MAX + 8);

    memset(line, 'x', HTTP_HEAD_MAX + 7);
    line[HTTP_HEAD_MAX + 7] = '\0';
    refuses_long("A: b\r\n", HTTP_HEADERS_MAX + 1);
    refuses_long("Name-of-a-header: and a value of some length\r\n", HTTP_HEAD_MAX / 40);
    refuses_long(line, 1);
    free(line);
}

Test(http, bounds_interim_responses_trailers_and_chunk_extensions)
{
    static const char interim[] = "HTTP/1.1 103 Early Hints\r\nLink: abcdefghijklmnopqrst\r\n\r\n";
    static const char chunk[] = "1;extension=abcdefghijklmnopqrstuvwxyz\r\nx\r\n";
    unsigned i;

    http_reset(f.http, HTTP_EXPECT_ANY);
    f.r = HTTP_MORE;
    for (i = 0; i < HTTP_HEAD_MAX && f.r == HTTP_MORE; i++)
        on_piece(NULL, (const uint8_t *)interim, sizeof(interim) - 1);
    cr_assert_eq(f.r, -EBADMSG);
    read_whole(OK "Transfer-Encoding: chunked\r\n\r\n");
    for (i = 0; i < HTTP_HEAD_MAX && f.r == HTTP_MORE; i++) {
        f.len = 0;
        on_piece(NULL, (const uint8_t *)chunk, sizeof(chunk) - 1);
    }
    cr_assert_eq(f.r, -EBADMSG);
}

/* ---------------------------------------------------------------------- requests */

Test(http, writes_requests)
{
    struct http_request request = {0};

    http_request_start(&request, "POST", "/token?a=b");
    http_request_add(&request, "Host", "h");
    http_request_add(&request, "None", NULL);
    cr_assert_eq(http_request_finish(&request, "body", 4), 0);
    cr_assert_eq(request.len, strlen("POST /token?a=b HTTP/1.1\r\nHost: h\r\n"
                                     "Content-Length: 4\r\n\r\nbody"));
    cr_assert_arr_eq(request.bytes,
                     "POST /token?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
                     request.len);
    http_request_fini(&request);
}

Test(http, does_not_let_values_break_out_of_a_header)
{
    static const char *const bad[] = {"a\r\nEvil: 1", "a\n", "a\r", "\x7f", "\x01"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct http_request request = {0};
        http_request_start(&request, "GET", "/");
        http_request_add(&request, "Name", bad[i]);
        http_request_add(&request, "Other", "good");
        cr_assert_eq(http_request_finish(&request, NULL, 0), -EINVAL);
        http_request_fini(&request);
    }
}

/* ------------------------------------------------------------------------ values */

Test(http, parses_numbers_without_signs_and_blanks)
{
    uint64_t n;

    cr_assert_eq(http_parse_number("18446744073709551615", 20, &n), 0);
    cr_assert_eq(n, UINT64_MAX);
    cr_assert_eq(http_parse_number("18446744073709551616", 20, &n), -ERANGE);
    cr_assert_eq(http_parse_number("", 0, &n), -EINVAL);
    cr_assert_eq(http_parse_number("+1", 2, &n), -EINVAL);
    cr_assert_eq(http_parse_number(" 1", 2, &n), -EINVAL);
    cr_assert_eq(http_parse_number("1x", 2, &n), -EINVAL);
}

Test(http, parses_content_ranges)
{
    static const char *const bad[] = {
        "",           "bytes",        "bytes */100",    "bytes 5-4/100", "bytes 0-100/100",
        "bytes 0-9",  "pages 0-9/10", "bytes -5/10",    "bytes 0-9/x",   "bytes 0 - 9/10",
        "bytes 0-/5", "bytes=0-9/10", "bytes 0-9/10/1",
    };
    uint64_t off, len, total;

    cr_assert_eq(http_parse_content_range("Bytes 10-19/100", &off, &len, &total), 0);
    cr_assert(off == 10 && len == 10 && total == 100);
    cr_assert_eq(http_parse_content_range("bytes 0-0/*", &off, &len, &total), 0);
    cr_assert(off == 0 && len == 1 && total == UINT64_MAX);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert_eq(http_parse_content_range(bad[i], &off, &len, &total), -EBADMSG, "%s", bad[i]);
}

Test(http, parses_retry_after_as_seconds_and_as_a_date)
{
    uint64_t ms;
    int64_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */

    cr_assert_eq(http_parse_retry_after("120", now, &ms), 0);
    cr_assert_eq(ms, 120000);
    cr_assert_eq(http_parse_retry_after("99999999999999", now, &ms), 0);
    cr_assert_leq(ms, 24u * 3600 * 1000);
    cr_assert_eq(http_parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now, &ms), 0);
    cr_assert_eq(ms, 10000);
    cr_assert_eq(http_parse_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now, &ms), 0);
    cr_assert_eq(ms, 0);
    cr_assert_eq(http_parse_retry_after("soon", now, &ms), -EBADMSG);
    cr_assert_eq(http_parse_retry_after("-1", now, &ms), -EBADMSG);
}
