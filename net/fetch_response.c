/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a response is:
 * - its head is read into a small slab; on_head() decides what becomes of it. Of what is to be
 *   shown on_response is told.
 * - its body is read straight into slabs of up to FETCH_SLAB_MAX, as far as the credit goes; a slab
 *   that was filled by one read and holds nothing but body is handed on as it is, others are
 *   copied. How big the next one is follows from how full the last one was.
 * - a piece that there is no credit for stays lent to http, and nothing is read until there is.
 *   Where the body has no length a little is read also without: its end needs no credit.
 * Possible failure modes are: not HTTP, a body that is cut, what the connection says.
 * Bodies that are not shown are read to their end if they are small, for the connection's sake.
 */
#include "net/fetch_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define HEAD_SIZE     (16u * 1024u)
#define SLAB_MIN      (16u * 1024u)
#define SLAB_FIRST    (64u * 1024u)
#define PEEK_SIZE     4096u /* read without credit, where only more bytes can tell of the end */
#define DROP_MAX      (64u * 1024u) /* a new connection costs less than more of a body for nothing */
#define REDIRECTS_MAX 10u

void fetch_response_start(struct fetch *fetch)
{
    http_reset(fetch->http, fetch->method == FETCH_HEAD ? HTTP_EXPECT_NO_BODY : HTTP_EXPECT_ANY);
    fetch->in_body = false;
    fetch->in_cap = SLAB_FIRST;
    fetch->body_left = UINT64_MAX;
    fetch->n_dropped = 0;
    fetch->next = FETCH_SHOW;
}

/* -------------------------------------------------------------------- the head */

static bool is_redirect(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* All WWW-Authenticate headers as one. */
static int join_challenges(struct fetch *fetch)
{
    char *joined = strdup("");
    const char *value;

    for (unsigned i = 0; joined && (value = http_header(fetch->http, "WWW-Authenticate", i)); i++) {
        char *longer;
        if (asprintf(&longer, "%s%s%s", joined, i > 0 ? ", " : "", value) < 0)
            longer = NULL;
        free(joined);
        joined = longer;
    }
    free(fetch->challenges);
    fetch->challenges = joined;
    return joined ? 0 : err_set(&fetch->err, -ENOMEM, "out of memory for a header");
}

static int find_next(struct fetch *fetch)
{
    unsigned status = http_status(fetch->http);
    const char *location = http_header(fetch->http, "Location", 0);

    if (status == 401 && fetch->options.auth && url_same_origin(&fetch->url, &fetch->first)) {
        fetch->next = FETCH_AUTHORIZE;
        return join_challenges(fetch);
    }
    if (!is_redirect(status) || !location)
        return 0;
    if (++fetch->n_redirects > REDIRECTS_MAX)
        return err_set(&fetch->err, -ELOOP, "more than %u redirects", REDIRECTS_MAX);
    fetch->next = FETCH_REDIRECT;
    if (url_resolve(&fetch->url, location, &fetch->next_url, &fetch->err) < 0)
        return err_prefix(&fetch->err, "it redirects to what is not to be used");
    return 0;
}

static void count_response(struct fetch *fetch)
{
    unsigned class = http_status(fetch->http) / 100;

    if (class >= 1 && class <= 5)
        fetch->net->responses[class - 1].value++;
}

static void on_head(struct fetch *fetch)
{
    int r = find_next(fetch);

    count_response(fetch);
    fetch->in_body = true;
    http_content_length(fetch->http, &fetch->body_left);
    if (r < 0)
        fetch_end(fetch, r);
    else if (fetch->next == FETCH_SHOW && fetch->options.on_response)
        fetch->options.on_response(fetch->options.data, fetch);
}

/* -------------------------------------------------------------------- the body */

/* How long the connection may be kept: as long as we do, but not to the end of what they do. */
static uint64_t keep_ms(const struct fetch *fetch)
{
    const char *header = http_header(fetch->http, "Keep-Alive", 0);
    const char *timeout = header ? strcasestr(header, "timeout=") : NULL;
    uint64_t ours = fetch->net->timeouts.idle_ms, theirs;

    if (!http_keep_alive(fetch->http))
        return 0;
    if (!timeout)
        return ours;
    theirs = strtoul(timeout + strlen("timeout="), NULL, 10) * 1000;
    theirs = theirs > 1000 ? theirs - 500 : theirs / 2;
    return theirs < ours ? theirs : ours;
}

static bool is_worth_dropping(const struct fetch *fetch)
{
    return fetch->n_dropped <= DROP_MAX &&
           (fetch->body_left == UINT64_MAX || fetch->body_left <= DROP_MAX);
}

static void drop_piece(struct fetch *fetch)
{
    fetch->n_dropped += fetch->piece_len;
    fetch->piece_len = 0;
}

/* The slab itself if it holds the piece and not much room besides, else a copy. */
static struct slab *take_slab(struct fetch *fetch, size_t len)
{
    struct slab *slab = fetch->in;

    if (fetch->piece == slab->bytes && len == fetch->piece_len && len >= slab->cap / 2 &&
        http_rest(fetch->http) == 0) {
        fetch->in = NULL;
        slab->len = len;
        return slab;
    }
    slab = slab_new(fetch->net->engine, len);
    if (slab) {
        memcpy(slab->bytes, fetch->piece, len);
        slab->len = len;
    }
    return slab;
}

static void give_piece(struct fetch *fetch)
{
    size_t len = fetch->piece_len;
    struct slab *slab;

    if (len > fetch->credit)
        len = (size_t)fetch->credit;
    slab = take_slab(fetch, len);
    if (!slab) {
        fetch_end(fetch, err_set(&fetch->err, -ENOMEM, "out of memory for a slab"));
        return;
    }
    fetch->piece += len;
    fetch->piece_len -= len;
    fetch->credit -= len;
    if (fetch->body_left != UINT64_MAX)
        fetch->body_left -= len;
    fetch->options.on_slab(fetch->options.data, slab);
}

/* -------------------------------------------------------------------- the bytes */

/* One thing that http has to say; false when there is nothing to do but to wait. */
static bool step(struct fetch *fetch)
{
    int r = http_step(fetch->http, &fetch->piece, &fetch->piece_len, &fetch->err);

    switch (r) {
    case HTTP_MORE:
        return false;
    case HTTP_HEADERS:
        on_head(fetch);
        return true;
    case HTTP_PIECE:
        return true;
    case HTTP_DONE:
        fetch_hop_done(fetch, keep_ms(fetch));
        return false;
    default:
        fetch_end(fetch, r);
        return false;
    }
}

void fetch_response_pump(struct fetch *fetch)
{
    struct conn *conn = fetch->conn;

    /* another hop may have begun, on another connection, or the fetch may be cancelled */
    while (!fetch->ended && conn && fetch->conn == conn) {
        bool shown = fetch->next == FETCH_SHOW;
        if (fetch->in_body && !shown && !is_worth_dropping(fetch)) {
            fetch_hop_done(fetch, 0);
            return;
        }
        if (fetch->piece_len == 0 && !step(fetch))
            return;
        if (fetch->ended || fetch->piece_len == 0)
            continue;
        if (!shown)
            drop_piece(fetch);
        else if (fetch->credit > 0)
            give_piece(fetch);
        else
            return;
    }
}

static size_t want(const struct fetch *fetch)
{
    uint64_t len = fetch->in_cap;

    if (!fetch->in_body || fetch->next != FETCH_SHOW)
        return HEAD_SIZE;
    if (fetch->credit == 0 && fetch->body_left == UINT64_MAX)
        return PEEK_SIZE;
    if (len > fetch->credit)
        len = fetch->credit;
    if (len > fetch->body_left && fetch->body_left > 0)
        len = fetch->body_left;
    return (size_t)len;
}

static void on_alloc(void *data, void **out, size_t *out_len)
{
    struct fetch *fetch = data;
    size_t len = fetch->piece_len > 0 ? 0 : want(fetch);

    *out_len = 0;
    if (len == 0)
        return;
    if (fetch->in && fetch->in->cap != len) {
        slab_unlock(fetch->in);
        fetch->in = NULL;
    }
    if (!fetch->in)
        fetch->in = slab_new(fetch->net->engine, len);
    if (!fetch->in) {
        fetch_end(fetch, err_set(&fetch->err, -ENOMEM, "out of memory for a slab"));
        return;
    }
    *out = fetch->in->bytes;
    *out_len = fetch->in->cap;
}

static void adapt(struct fetch *fetch, size_t n)
{
    if (n == fetch->in->cap && fetch->in_cap < FETCH_SLAB_MAX)
        fetch->in_cap *= 2;
    else if (n < fetch->in_cap / 4 && fetch->in_cap > SLAB_MIN)
        fetch->in_cap /= 2;
}

/* A body may end with the connection; a kept connection may have ended before we asked. */
static void on_close(struct fetch *fetch, int r, const struct clip_error *err)
{
    if (fetch->wait.reused && !http_began(fetch->http) && r != -ETIMEDOUT) {
        fetch_hop_again(fetch);
        return;
    }
    if (r == 0)
        r = http_eof(fetch->http, &fetch->err);
    else
        fetch->err = *err;
    if (r == HTTP_DONE)
        fetch_hop_done(fetch, 0);
    else
        fetch_end(fetch, r);
}

/* Reads on as far as there is credit; that nothing comes without it is no stall. */
static void go_on(struct fetch *fetch)
{
    bool starves = fetch->in_body && fetch->next == FETCH_SHOW && fetch->credit == 0;

    if (fetch->ended || !fetch->conn)
        return;
    if (starves && (fetch->piece_len > 0 || fetch->body_left != UINT64_MAX)) {
        conn_pause(fetch->conn);
        return;
    }
    if (starves)
        conn_expect(fetch->conn, CONN_WAIT_NONE);
    else if (fetch->in_body && fetch->conn->wait == CONN_WAIT_NONE)
        conn_expect(fetch->conn, CONN_WAIT_STALL);
    conn_read(fetch->conn);
}

static void on_read(void *data, ssize_t n, const struct clip_error *err)
{
    struct fetch *fetch = data;

    if (n <= 0) {
        on_close(fetch, (int)n, err);
        return;
    }
    if (!http_began(fetch->http))
        conn_expect(fetch->conn, CONN_WAIT_STALL);
    if (fetch->in_body)
        adapt(fetch, (size_t)n);
    http_feed(fetch->http, fetch->in->bytes, (size_t)n);
    fetch_response_pump(fetch);
    go_on(fetch);
}

const struct conn_events fetch_conn_events = {.on_alloc = on_alloc, .on_read = on_read};

static void on_credit(struct later *later)
{
    struct fetch *fetch = container_of(later, struct fetch, later);

    fetch_response_pump(fetch);
    go_on(fetch);
}

void fetch_credit(struct fetch *fetch, uint64_t len)
{
    if (__builtin_add_overflow(fetch->credit, len, &fetch->credit))
        fetch->credit = UINT64_MAX;
    /* before there is a body, and while it is read anyway, there is nothing to set going */
    if (!fetch->ended && fetch->in_body && fetch->next == FETCH_SHOW && fetch->conn)
        later_call(fetch->net->engine, &fetch->later, on_credit);
}

/* ------------------------------------------------------------------ of a response */

unsigned fetch_status(const struct fetch *fetch)
{
    return http_status(fetch->http);
}

const char *fetch_get_header(const struct fetch *fetch, const char *name)
{
    return http_header(fetch->http, name, 0);
}

const char *fetch_url(const struct fetch *fetch)
{
    return fetch->url.shown;
}

int fetch_content_range(const struct fetch *fetch, uint64_t *out_off, uint64_t *out_len,
                        uint64_t *out_total)
{
    const char *text = http_header(fetch->http, "Content-Range", 0);

    return text ? http_parse_content_range(text, out_off, out_len, out_total) : -ENOENT;
}

int fetch_content_length(const struct fetch *fetch, uint64_t *out)
{
    return http_content_length(fetch->http, out);
}

int fetch_retry_after(const struct fetch *fetch, uint64_t *out_ms)
{
    const char *text = http_header(fetch->http, "Retry-After", 0);

    return text && http_parse_retry_after(text, time(NULL), out_ms) == 0 ? 0 : -ENOENT;
}
