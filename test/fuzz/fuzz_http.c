/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the responses of one connection, read twice: whole, and cut where the first bytes
 * say. Both must tell the same, and no piece may lie outside of what was fed. Values of headers
 * that are taken apart later are taken apart.
 *
 * An input is: a byte that says what is expected, a byte for the cuts, then the response.
 */
#include "net/http.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct seen {
    int end; /* HTTP_DONE, HTTP_MORE or below 0 */
    unsigned status;
    uint64_t sum, n_body;
    bool keep_alive;
};

static void look_at_headers(const struct http *http)
{
    uint64_t a, b, c;
    const char *value;

    http_content_length(http, &a);
    for (unsigned i = 0; (value = http_header(http, "www-authenticate", i)); i++)
        if (strlen(value) > HTTP_HEAD_MAX)
            abort();
    if ((value = http_header(http, "content-range", 0)) &&
        http_parse_content_range(value, &a, &b, &c) == 0 &&
        (b == 0 || (c != UINT64_MAX && a + b > c)))
        abort();
    if ((value = http_header(http, "retry-after", 0)))
        http_parse_retry_after(value, 784111777, &a);
}

/* One piece; true to go on. The piece is a copy, so that a byte too far is seen. */
static bool feed(struct http *http, const uint8_t *at, size_t len, struct seen *out)
{
    uint8_t *copy = malloc(len);
    const uint8_t *piece;
    size_t n;

    memcpy(copy, at, len);
    http_feed(http, copy, len);
    while ((out->end = http_step(http, &piece, &n, NULL)) > HTTP_MORE && out->end != HTTP_DONE) {
        if (out->end == HTTP_HEADERS) {
            out->status = http_status(http);
            look_at_headers(http);
            continue;
        }
        if (n == 0 || piece < copy || piece + n > copy + len)
            abort();
        for (size_t i = 0; i < n; i++)
            out->sum = out->sum * 31 + piece[i];
        out->n_body += n;
    }
    out->keep_alive = http_keep_alive(http);
    free(copy);
    return out->end == HTTP_MORE;
}

static struct seen read_cut(const uint8_t *data, size_t len, enum http_expect expect, size_t cut)
{
    struct http *http = http_new();
    struct seen seen = {0};

    http_reset(http, expect);
    while (len > 0) {
        size_t n = cut > 0 && cut < len ? cut : len;
        if (!feed(http, data, n, &seen))
            break;
        data += n;
        len -= n;
    }
    if (seen.end == HTTP_MORE)
        seen.end = http_eof(http, NULL);
    http_free(http);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct seen whole, cut;

    if (len < 2)
        return 0;
    whole = read_cut(data + 2, len - 2, (enum http_expect)(data[0] % 3), 0);
    cut = read_cut(data + 2, len - 2, (enum http_expect)(data[0] % 3), 1u + data[1] % 64);
    /* bytes behind the response are seen only when they come together with it */
    if (whole.end != cut.end || whole.status != cut.status || whole.n_body != cut.n_body ||
        whole.sum != cut.sum)
        abort();
    return 0;
}
