/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/control_http.h"

#include "test/lib/drip.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fixture {
    struct control_message message;
    int r;
    size_t n_taken;
    char body[256];
    size_t body_len;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    cr_assert_eq(control_message_init(&f.message, CONTROL_REQUEST, NULL, NULL), 0);
}

static void tear_down(void)
{
    control_message_fini(&f.message);
}

TestSuite(cli_http, .init = set_up, .fini = tear_down);

static void feed_piece(void *data, const uint8_t *piece, size_t len)
{
    (void)data;
    if (f.r < 0 || f.message.whole)
        return;
    f.r = control_message_feed(&f.message, (const char *)piece, len);
    f.n_taken += f.r > 0 ? (size_t)f.r : 0;
}

static void feed(const char *text, enum drip_how how)
{
    f.r = 0;
    f.n_taken = 0;
    drip(text, strlen(text), how, 7, feed_piece, NULL);
}

static void refuse(const char *text, int r)
{
    control_message_fini(&f.message);
    cr_assert_eq(control_message_init(&f.message, CONTROL_REQUEST, NULL, NULL), 0);
    feed(text, DRIP_RANDOM);
    cr_assert_eq(f.r, r, "%.60s: %d", text, f.r);
    cr_assert_eq(control_message_feed(&f.message, "GET", 3), r, "it forgot its failure");
}

Test(cli_http, is_read_however_it_is_cut)
{
    for (int how = 0; how < DRIP_HOWS; how++) {
        feed("PUT /v1/containers/a?events=1 HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
             (enum drip_how)how);
        cr_assert(f.message.whole);
        cr_assert_str_eq(f.message.method, "PUT");
        cr_assert_str_eq(f.message.target, "/v1/containers/a?events=1");
        cr_assert_str_eq(f.message.body, "{}");
        cr_assert(f.message.keep_alive);
        control_message_reset(&f.message);
    }
}

Test(cli_http, leaves_the_next_request_alone)
{
    const char *both = "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n";
    feed(both, DRIP_WHOLE);
    cr_assert(f.message.whole);
    cr_assert_str_eq(f.message.target, "/a");
    size_t n = f.n_taken;
    control_message_reset(&f.message);
    feed(both + n, DRIP_WHOLE);
    cr_assert_str_eq(f.message.target, "/b");
    cr_assert_not(f.message.keep_alive);
}

Test(cli_http, joins_chunks)
{
    feed("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\":\r\n2\r\n1}\r\n"
         "0\r\n\r\n",
         DRIP_RANDOM);
    cr_assert(f.message.whole);
    cr_assert_str_eq(f.message.body, "{\"a\":1}");
}

Test(cli_http, refuses_what_is_no_http)
{
    refuse("\x16\x03\x01\x02", -EBADMSG);
    refuse("GET /\r\n\r\n", -EBADMSG);
    refuse("GET / HTTP/2.0\r\n\r\n", -EBADMSG);
    refuse("PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG);
    refuse("PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", -EBADMSG);
}

static char *repeat(const char *head, const char *part, size_t n)
{
    size_t len = strlen(part);
    char *text = malloc(strlen(head) + n * len + 1);
    cr_assert_not_null(text);
    strcpy(text, head);
    char *end = text + strlen(head);
    for (size_t i = 0; i < n; i++)
        memcpy(end + i * len, part, len + 1);
    return text;
}

Test(cli_http, refuses_what_is_too_long)
{
    char *target = repeat("GET /", "a", 2000),
         *head = repeat("GET / HTTP/1.1\r\n", "A: b\r\n", 9000);
    char *body =
        repeat("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nbody\r\n", 20000);
    refuse(target, -ENAMETOOLONG);
    refuse(head, -E2BIG);
    refuse(body, -E2BIG);
    refuse("PUT / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", -EFBIG);
    free(target);
    free(head);
    free(body);
}

static int keep(void *data, const char *bytes, size_t len)
{
    (void)data;
    memcpy(f.body + f.body_len, bytes, len);
    f.body_len += len;
    return 0;
}

static void read_response(void)
{
    control_message_fini(&f.message);
    cr_assert_eq(control_message_init(&f.message, CONTROL_RESPONSE, keep, NULL), 0);
}

Test(cli_http, hands_a_response_on_as_it_comes)
{
    read_response();
    feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n", DRIP_BYTES);
    cr_assert_not(f.message.whole);
    cr_assert_eq(f.body_len, 3);
    cr_assert_eq(control_message_end(&f.message), -EBADMSG, "it was cut");
}

Test(cli_http, takes_the_end_of_the_connection_for_the_end)
{
    read_response();
    feed("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\nsorry", DRIP_RANDOM);
    cr_assert_eq(control_message_end(&f.message), 0);
    cr_assert_eq(f.message.status, 503);
    cr_assert_eq(f.body_len, 5);
}
