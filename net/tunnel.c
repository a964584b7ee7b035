/* SPDX-License-Identifier: Apache-2.0 */
/* The answer's headers decide: 2xx opens the tunnel. The origin's first word is an answer to ours,
 * so bytes behind the headers are somebody else's.
 * Possible failure modes are: a proxy that refuses, wants a user, or does not speak HTTP. */
#include "net/tunnel.h"

#include "net/http.h"
#include "net/url.h"

#include <stdlib.h>

static int print_request(const struct proxy *proxy, const char *authority, char **out,
                         size_t *out_len)
{
    struct http_request request = {0};
    int r;

    http_request_start(&request, "CONNECT", authority);
    http_request_add(&request, "Host", authority);
    http_request_add(&request, "User-Agent", "clip/" CLIP_VERSION);
    http_request_add(&request, "Proxy-Authorization", proxy->authorization);
    r = http_request_finish(&request, NULL, 0);
    if (r < 0) {
        http_request_fini(&request);
        return r;
    }
    *out = request.bytes;
    *out_len = request.len;
    return 0;
}

int tunnel_ask(const struct url *to, const struct proxy *proxy, struct http **out_http, char **out,
               size_t *out_len)
{
    char *authority = url_authority(to, true);
    struct http *http = http_new();
    int r = -ENOMEM;

    if (authority && http) {
        http_reset(http, HTTP_EXPECT_TUNNEL);
        r = print_request(proxy, authority, out, out_len);
    }
    free(authority);
    if (r < 0)
        http_free(http);
    else
        *out_http = http;
    return r;
}

static int note_refusal(const struct http *http, struct clip_error *err)
{
    unsigned status = http_status(http);
    bool wants_user = status == 407;

    return err_set(err, wants_user ? -EACCES : -ECONNREFUSED, "it answered %u to CONNECT%s", status,
                   wants_user ? " (give http://USER:PASS@HOST:PORT in the variable)" : "");
}

int tunnel_feed(struct http *http, const uint8_t *bytes, size_t len, struct clip_error *err)
{
    const uint8_t *piece;
    size_t piece_len;
    int r;

    http_feed(http, bytes, len);
    r = http_step(http, &piece, &piece_len, err);
    if (r < 0 || r == HTTP_MORE)
        return r < 0 ? r : 0;
    if (r == HTTP_HEADERS && http_status(http) / 100 != 2)
        return note_refusal(http, err);
    if (r == HTTP_HEADERS && http_rest(http) > 0)
        return err_set(err, -EBADMSG, "bytes before the tunnel was used");
    return 1;
}
