/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 as bytes: a request is written, a response is read however its bytes are cut. The one
 * home of llhttp, in its strict mode: what could be read in two ways is refused. Pure: no I/O.
 */
#ifndef CLIP_NET_HTTP_H
#define CLIP_NET_HTTP_H

#include "engine/err.h"

#define HTTP_HEAD_MAX    (64u * 1024u) /* bytes of all headers, trailers and chunk extensions */
#define HTTP_HEADERS_MAX 256u

/* ---- writing a request */

/* Zeroed at first. The first failure sticks. */
struct http_request {
    char *bytes;
    size_t len;
    /* private */
    size_t cap;
    int r;
};

void http_request_start(struct http_request *request, const char *method, const char *target);
/* NULL is no header. -EINVAL, in the end, for a value with control characters. */
void http_request_add(struct http_request *request, const char *name, const char *value);
/* 0, -ENOMEM, -EINVAL. `body` may be NULL, else its length is a header. */
int http_request_finish(struct http_request *request, const void *body, size_t len);
void http_request_fini(struct http_request *request);

/* ---- reading a response */

enum http_event {
    HTTP_MORE,    /* all bytes are used up: feed */
    HTTP_HEADERS, /* status and headers can be asked for */
    HTTP_PIECE,   /* a piece of the body */
    HTTP_DONE     /* the response is complete; what was fed behind it is http_rest() */
};

enum http_expect {
    HTTP_EXPECT_ANY,
    HTTP_EXPECT_NO_BODY, /* of HEAD */
    HTTP_EXPECT_TUNNEL   /* of CONNECT: after 2xx the connection is another protocol's */
};

struct http;

/* NULL: no memory. */
struct http *http_new(void);
void http_free(struct http *http); /* NULL is allowed */

/* Ready for the next response on a connection. */
void http_reset(struct http *http, enum http_expect expect);

/* Borrowed until HTTP_MORE, or until the next reset. */
void http_feed(struct http *http, const void *bytes, size_t len);
/* What is found next: an http_event; -EBADMSG with a sentence, and for good, when it is not HTTP.
 * For HTTP_PIECE the piece lies in what was fed. */
int http_step(struct http *http, const uint8_t **out, size_t *out_len, struct clip_error *err);
/* The connection has ended after all was stepped: HTTP_DONE if that ends the response, -ECONNRESET
 * if it is cut. */
int http_eof(struct http *http, struct clip_error *err);

/* Bytes fed and not used. */
size_t http_rest(const struct http *http);
/* Has a byte of the response been seen? */
bool http_began(const struct http *http);
/* After HTTP_DONE: may the connection be used again? */
bool http_keep_alive(const struct http *http);

/* ---- from HTTP_HEADERS to the next reset */

unsigned http_status(const struct http *http);
/* The index-th value of this name (any case), or NULL. */
const char *http_header(const struct http *http, const char *name, unsigned index);
/* -ENOENT without one. */
int http_content_length(const struct http *http, uint64_t *out);

/* A number of decimal digits alone, no sign, no blanks; -EINVAL, -ERANGE. */
int http_parse_number(const char *text, size_t len, uint64_t *out);
/* bytes FIRST-LAST/TOTAL; a total of "*" is UINT64_MAX. -EBADMSG. */
int http_parse_content_range(const char *text, uint64_t *out_off, uint64_t *out_len,
                             uint64_t *out_total);
/* Seconds, or a date of RFC 9110 in its preferred form seen at `now`; in milliseconds. -EBADMSG. */
int http_parse_retry_after(const char *text, int64_t now, uint64_t *out_ms);

#endif
