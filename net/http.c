/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a response is:
 * - http_feed() borrows bytes; each http_step() runs llhttp until a callback has something to say,
 *   which pauses it there, so that a body piece is a pointer into what was fed and the caller may
 *   let it lie until somebody gives credit for it.
 * - interim responses (1xx) are passed over; the headers of the final one are kept as text.
 * Possible failure modes are: what llhttp refuses (among it Content-Length together with
 *   Transfer-Encoding), more than HTTP_HEAD_MAX bytes that are not body, an upgrade that nobody
 *   asked for, no memory. All but the last are -EBADMSG, and repeat themselves.
 */
#include "net/http.h"

#include <assert.h>
#include <ctype.h>
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MAX_RETRY_AFTER_MS (24ull * 3600 * 1000)

/* ---------------------------------------------------------------- a request */

static void append(struct http_request *request, const void *bytes, size_t len)
{
    size_t need = request->len + len;

    if (request->r < 0)
        return;
    if (need > request->cap) {
        size_t cap = need * 2 + 512;
        char *grown = realloc(request->bytes, cap);
        if (!grown) {
            request->r = -ENOMEM;
            return;
        }
        request->bytes = grown;
        request->cap = cap;
    }
    memcpy(request->bytes + request->len, bytes, len);
    request->len = need;
}

static void append_text(struct http_request *request, const char *text)
{
    for (const char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c))
            request->r = -EINVAL;
    append(request, text, strlen(text));
}

void http_request_start(struct http_request *request, const char *method, const char *target)
{
    append_text(request, method);
    append(request, " ", 1);
    append_text(request, target);
    append(request, " HTTP/1.1\r\n", 11);
}

void http_request_add(struct http_request *request, const char *name, const char *value)
{
    if (!value)
        return;
    append_text(request, name);
    append(request, ": ", 2);
    append_text(request, value);
    append(request, "\r\n", 2);
}

int http_request_finish(struct http_request *request, const void *body, size_t len)
{
    char number[24];

    if (body) {
        snprintf(number, sizeof(number), "%zu", len);
        http_request_add(request, "Content-Length", number);
    }
    append(request, "\r\n", 2);
    if (body)
        append(request, body, len);
    return request->r;
}

void http_request_fini(struct http_request *request)
{
    if (request->bytes)
        explicit_bzero(request->bytes, request->cap); /* it may hold credentials */
    free(request->bytes);
    memset(request, 0, sizeof(*request));
}

/* --------------------------------------------------------------- a response */

struct header {
    uint32_t name, value; /* where in `text` */
};

struct http {
    llhttp_t parser;
    llhttp_settings_t settings;
    enum http_expect expect;
    const uint8_t *next;
    size_t n_left;

    bool began, in_value, past_head, has_head, has_end, tunnel;
    bool paused; /* by one of our callbacks: what comes next may need no more bytes */
    const uint8_t *piece;
    size_t piece_len;
    int failure; /* for good */

    size_t n_overhead; /* bytes that are not body */
    char *text;
    size_t text_len, text_cap;
    unsigned n_headers;
    struct header headers[HTTP_HEADERS_MAX];
};

static int count_overhead(struct http *http, size_t len)
{
    http->n_overhead += len;
    if (http->n_overhead <= HTTP_HEAD_MAX)
        return HPE_OK;
    llhttp_set_error_reason(&http->parser, "headers without end");
    return HPE_USER;
}

static int keep_text(struct http *http, const char *bytes, size_t len)
{
    if (http->text_len + len + 1 > http->text_cap) {
        size_t cap = (http->text_len + len + 1) * 2;
        char *grown = realloc(http->text, cap);
        if (!grown) {
            http->failure = -ENOMEM;
            return HPE_USER;
        }
        http->text = grown;
        http->text_cap = cap;
    }
    memcpy(http->text + http->text_len, bytes, len);
    http->text_len += len;
    http->text[http->text_len] = '\0';
    return HPE_OK;
}

static int on_message_begin(llhttp_t *parser)
{
    struct http *http = parser->data;

    http->past_head = false;
    http->n_headers = 0;
    http->text_len = 0;
    http->in_value = true;
    return HPE_OK;
}

/* What must be counted and nothing else. */
static int on_overhead(llhttp_t *parser, const char *at, size_t len)
{
    (void)at;
    return count_overhead(parser->data, len);
}

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct http *http = parser->data;
    int r = count_overhead(http, len + 4);

    if (r != HPE_OK || http->past_head) /* trailers are of no use to us */
        return r;
    if (memchr(at, ' ', len)) { /* Debian's llhttp is built to allow it */
        llhttp_set_error_reason(parser, "a blank in a header's name");
        return HPE_USER;
    }
    if (http->in_value) {
        if (http->n_headers == HTTP_HEADERS_MAX) {
            llhttp_set_error_reason(parser, "too many headers");
            return HPE_USER;
        }
        if (http->text_len > 0)
            http->text_len++; /* keep the NUL of the value before */
        http->headers[http->n_headers++].name = (uint32_t)http->text_len;
        http->in_value = false;
    }
    return keep_text(http, at, len);
}

static int on_field_complete(llhttp_t *parser)
{
    struct http *http = parser->data;

    if (http->past_head)
        return HPE_OK;
    if (http->in_value || http->headers[http->n_headers - 1].name == http->text_len) {
        llhttp_set_error_reason(parser, "a header without a name");
        return HPE_USER;
    }
    http->text_len++;
    http->headers[http->n_headers - 1].value = (uint32_t)http->text_len;
    http->in_value = true;
    return keep_text(http, "", 0);
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct http *http = parser->data;
    int r = count_overhead(http, len);

    return r != HPE_OK || http->past_head ? r : keep_text(http, at, len);
}

static bool is_interim(const struct http *http)
{
    return http->parser.status_code / 100 == 1;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http *http = parser->data;

    http->past_head = true;
    if (parser->status_code == 101) {
        llhttp_set_error_reason(parser, "a change of protocol that nobody asked for");
        return HPE_USER;
    }
    if (is_interim(http))
        return HPE_OK;
    http->has_head = true;
    if (http->expect == HTTP_EXPECT_TUNNEL && parser->status_code / 100 == 2) {
        http->tunnel = true;
        return HPE_PAUSED;
    }
    /* 1: no body follows, whatever the headers say */
    return http->expect == HTTP_EXPECT_ANY && parser->status_code != 304 ? HPE_PAUSED : 1;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct http *http = parser->data;

    http->piece = (const uint8_t *)at;
    http->piece_len = len;
    return len > 0 ? HPE_PAUSED : HPE_OK;
}

static int on_message_complete(llhttp_t *parser)
{
    struct http *http = parser->data;

    if (is_interim(http))
        return HPE_OK;
    http->has_end = true;
    return HPE_PAUSED;
}

static void set_callbacks(llhttp_settings_t *settings)
{
    llhttp_settings_init(settings);
    settings->on_message_begin = on_message_begin;
    settings->on_status = on_overhead;
    settings->on_header_field = on_field;
    settings->on_header_field_complete = on_field_complete;
    settings->on_header_value = on_value;
    settings->on_headers_complete = on_headers_complete;
    settings->on_chunk_extension_name = on_overhead;
    settings->on_chunk_extension_value = on_overhead;
    settings->on_body = on_body;
    settings->on_message_complete = on_message_complete;
}

struct http *http_new(void)
{
    struct http *http = calloc(1, sizeof(*http));

    if (!http)
        return NULL;
    set_callbacks(&http->settings);
    http_reset(http, HTTP_EXPECT_ANY);
    return http;
}

void http_free(struct http *http)
{
    if (http)
        free(http->text);
    free(http);
}

void http_reset(struct http *http, enum http_expect expect)
{
    llhttp_init(&http->parser, HTTP_RESPONSE, &http->settings);
    http->parser.data = http;
    http->expect = expect;
    http->next = NULL;
    http->n_left = 0;
    http->began = http->past_head = http->has_head = http->has_end = http->tunnel = false;
    http->paused = false;
    http->in_value = true;
    http->piece = NULL;
    http->piece_len = 0;
    http->failure = 0;
    http->n_overhead = 0;
    http->n_headers = 0;
    http->text_len = 0;
}

void http_feed(struct http *http, const void *bytes, size_t len)
{
    assert(http->n_left == 0);
    http->next = bytes;
    http->n_left = len;
    if (len > 0)
        http->began = true;
}

static int fail(struct http *http, struct clip_error *err)
{
    const char *reason = llhttp_get_error_reason(&http->parser);

    if (http->failure == 0)
        http->failure = -EBADMSG;
    if (http->failure == -ENOMEM)
        return err_set(err, -ENOMEM, "http: out of memory");
    return err_set(err, http->failure, "http: bad response: %s",
                   reason ? reason : "not to be understood");
}

/* Lets llhttp run to the next pause or to the end of the bytes. */
static int run(struct http *http)
{
    const uint8_t *end = http->next + http->n_left;
    llhttp_errno_t e;

    llhttp_resume(&http->parser);
    e = llhttp_execute(&http->parser, (const char *)http->next, http->n_left);
    http->paused = e == HPE_PAUSED;
    if (e == HPE_OK) {
        http->n_left = 0;
        return 0;
    }
    if (e != HPE_PAUSED)
        return -EBADMSG;
    http->next = (const uint8_t *)llhttp_get_error_pos(&http->parser);
    http->n_left = (size_t)(end - http->next);
    return 0;
}

/* What the callbacks have left behind, in order. */
static enum http_event take_event(struct http *http, const uint8_t **out, size_t *out_len)
{
    if (http->has_head) {
        http->has_head = false;
        http->has_end = http->has_end || http->tunnel;
        return HTTP_HEADERS;
    }
    if (http->piece_len > 0) {
        *out = http->piece;
        *out_len = http->piece_len;
        http->piece_len = 0;
        return HTTP_PIECE;
    }
    return http->has_end ? HTTP_DONE : HTTP_MORE;
}

int http_step(struct http *http, const uint8_t **out, size_t *out_len, struct clip_error *err)
{
    enum http_event event = HTTP_MORE;

    if (http->failure < 0)
        return fail(http, err);
    while ((event = take_event(http, out, out_len)) == HTTP_MORE &&
           (http->n_left > 0 || http->paused))
        if (run(http) < 0)
            return fail(http, err);
    return (int)event;
}

int http_eof(struct http *http, struct clip_error *err)
{
    if (http->failure < 0)
        return fail(http, err);
    llhttp_resume(&http->parser);
    llhttp_finish(&http->parser);
    if (http->has_end)
        return HTTP_DONE;
    if (!http->began)
        return err_set(err, -ECONNRESET, "the connection was closed before the response");
    return err_set(err, -ECONNRESET, "the connection was closed in the middle of the response");
}

size_t http_rest(const struct http *http)
{
    return http->n_left;
}

bool http_began(const struct http *http)
{
    return http->began;
}

bool http_keep_alive(const struct http *http)
{
    return http->has_end && http->failure == 0 && http->n_left == 0 &&
           llhttp_should_keep_alive(&http->parser);
}

unsigned http_status(const struct http *http)
{
    return http->parser.status_code;
}

const char *http_header(const struct http *http, const char *name, unsigned index)
{
    for (unsigned i = 0; i < http->n_headers; i++)
        if (strcasecmp(http->text + http->headers[i].name, name) == 0 && index-- == 0)
            return http->text + http->headers[i].value;
    return NULL;
}

int http_content_length(const struct http *http, uint64_t *out)
{
    const char *text = http_header(http, "Content-Length", 0);

    return text && http_parse_number(text, strlen(text), out) == 0 ? 0 : -ENOENT;
}

/* ------------------------------------------------------------ header values */

int http_parse_number(const char *text, size_t len, uint64_t *out)
{
    uint64_t n = 0;

    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return -EINVAL;
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (unsigned)(text[i] - '0'), &n))
            return -ERANGE;
    }
    *out = n;
    return 0;
}

int http_parse_content_range(const char *text, uint64_t *out_off, uint64_t *out_len,
                             uint64_t *out_total)
{
    const char *dash, *slash;
    uint64_t first, last, total = UINT64_MAX;

    if (strncasecmp(text, "bytes ", 6) != 0)
        return -EBADMSG;
    text += 6;
    dash = strchr(text, '-');
    slash = dash ? strchr(dash, '/') : NULL;
    if (!slash || http_parse_number(text, (size_t)(dash - text), &first) < 0 ||
        http_parse_number(dash + 1, (size_t)(slash - dash - 1), &last) < 0)
        return -EBADMSG;
    if (strcmp(slash + 1, "*") != 0 && http_parse_number(slash + 1, strlen(slash + 1), &total) < 0)
        return -EBADMSG;
    if (last < first || last >= total)
        return -EBADMSG;
    *out_off = first;
    *out_len = last - first + 1;
    *out_total = total;
    return 0;
}

int http_parse_retry_after(const char *text, int64_t now, uint64_t *out_ms)
{
    struct tm tm = {0};
    uint64_t seconds;
    const char *end;
    int64_t then;

    if (http_parse_number(text, strlen(text), &seconds) == 0) {
        *out_ms = seconds < MAX_RETRY_AFTER_MS / 1000 ? seconds * 1000 : MAX_RETRY_AFTER_MS;
        return 0;
    }
    end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!end || *end)
        return -EBADMSG;
    then = timegm(&tm);
    if (then <= now)
        *out_ms = 0;
    else
        *out_ms = then - now < 24 * 3600 ? (uint64_t)(then - now) * 1000 : MAX_RETRY_AFTER_MS;
    return 0;
}
