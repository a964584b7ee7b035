/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A URL is cut from left to right: scheme, authority (userinfo, host, port), target; a fragment is
 * dropped. Of RFC 3986 just what servers and users write: two schemes, an authority always. Dot
 * segments are left to the server.
 * Failure: -EINVAL for whatever could mean two things to two readers; -ENOMEM.
 */
#include "net/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int refuse(struct clip_error *err, const char *why)
{
    return err_set(err, -EINVAL, "url: %s", why);
}

/* Printable ASCII without blanks, quotes and the like: safe in a request line. */
static bool is_url_byte(unsigned char c)
{
    return c > 0x20 && c < 0x7f && !strchr("\"<>\\^`{|}", c);
}

static int check_bytes(const char *text, struct clip_error *err)
{
    size_t len = strlen(text);

    if (len > URL_MAX)
        return refuse(err, "too long");
    for (size_t i = 0; i < len; i++)
        if (!is_url_byte((unsigned char)text[i]))
            return refuse(err, "a byte that has no place there");
    return 0;
}

static bool is_host_name(const char *host, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr("-._", host[i]))
            return false;
    return len > 0 && host[0] != '.' && host[0] != '-';
}

static bool is_ipv6(const char *host)
{
    struct in6_addr address;

    return inet_pton(AF_INET6, host, &address) == 1;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte from a %XX, or -1: also for %00, which would end the string. */
static int decode_byte(const char *text, size_t len)
{
    int high = len >= 3 ? hex_value(text[1]) : -1;
    int low = high >= 0 ? hex_value(text[2]) : -1;

    return low >= 0 && high * 16 + low > 0 ? high * 16 + low : -1;
}

static int percent_decode(const char *text, size_t len, char **out)
{
    char *decoded = malloc(len + 1);
    size_t used = 0;

    if (!decoded)
        return -ENOMEM;
    for (size_t i = 0; i < len; i++) {
        int c = text[i] == '%' ? decode_byte(text + i, len - i) : (unsigned char)text[i];
        if (c < 0) {
            free(decoded);
            return -EINVAL;
        }
        decoded[used++] = (char)c;
        i += text[i] == '%' ? 2 : 0;
    }
    decoded[used] = '\0';
    *out = decoded;
    return 0;
}

static int parse_port(const char *text, size_t len, uint16_t *out)
{
    unsigned port = 0;

    if (len == 0 || len > 5)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return -EINVAL;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return -EINVAL;
    *out = (uint16_t)port;
    return 0;
}

static char *lower_case(const char *text, size_t len)
{
    char *copy = strndup(text, len);

    for (size_t i = 0; copy && copy[i]; i++)
        copy[i] = (char)tolower((unsigned char)copy[i]);
    return copy;
}

static int parse_host(const char *text, size_t len, struct url *url, struct clip_error *err)
{
    bool literal = len > 2 && text[0] == '[' && text[len - 1] == ']';

    if (len > URL_HOST_MAX)
        return refuse(err, "the host is too long");
    if (!literal && !is_host_name(text, len))
        return refuse(err, "not a host name");
    url->host = literal ? lower_case(text + 1, len - 2) : lower_case(text, len);
    if (!url->host)
        return err_set(err, -ENOMEM, "url: out of memory");
    if (literal && !is_ipv6(url->host))
        return refuse(err, "not an IPv6 address");
    return 0;
}

/* Where the host ends: at the last colon that is not inside of brackets. */
static size_t host_len(const char *text, size_t len)
{
    const char *bracket = memrchr(text, ']', len);
    const char *colon = memrchr(text, ':', len);

    return colon && (!bracket || colon > bracket) ? (size_t)(colon - text) : len;
}

static int parse_authority(const char *text, size_t len, struct url *url, struct clip_error *err)
{
    const char *at = memrchr(text, '@', len);
    size_t n;
    int r;

    if (at) {
        r = percent_decode(text, (size_t)(at - text), &url->userinfo);
        if (r < 0)
            return r == -EINVAL ? refuse(err, "bad % in the user") : r;
        len -= (size_t)(at + 1 - text);
        text = at + 1;
    }
    n = host_len(text, len);
    r = parse_host(text, n, url, err);
    if (r < 0)
        return r;
    url->port = url->tls ? 443 : 80;
    if (n < len && parse_port(text + n + 1, len - n - 1, &url->port) < 0)
        return refuse(err, "not a port");
    return 0;
}

static int parse_target(const char *text, struct url *url)
{
    size_t len = strcspn(text, "#");

    if (asprintf(&url->target, "%s%.*s", text[0] == '/' ? "" : "/", (int)len, text) < 0) {
        url->target = NULL;
        return -ENOMEM;
    }
    return 0;
}

char *url_authority(const struct url *url, bool with_port)
{
    const char *open = strchr(url->host, ':') ? "[" : "";
    const char *close = *open ? "]" : "";
    char *text;
    int n;

    if (with_port || url->port != (url->tls ? 443 : 80))
        n = asprintf(&text, "%s%s%s:%u", open, url->host, close, url->port);
    else
        n = asprintf(&text, "%s%s%s", open, url->host, close);
    return n < 0 ? NULL : text;
}

/* The forms for comparing and for showing. */
static int derive(struct url *url)
{
    const char *scheme = url->tls ? "https" : "http";
    char *with_port = url_authority(url, true);
    char *without = url_authority(url, false);
    int r = -ENOMEM;

    if (!with_port || !without)
        goto done;
    if (asprintf(&url->origin, "%s://%s", scheme, with_port) < 0)
        url->origin = NULL;
    if (asprintf(&url->shown, "%s://%s%.*s", scheme, without, (int)strcspn(url->target, "?"),
                 url->target) < 0)
        url->shown = NULL;
    r = url->origin && url->shown ? 0 : -ENOMEM;
done:
    free(with_port);
    free(without);
    return r;
}

static int parse_scheme(const char *text, bool *out, size_t *out_len)
{
    if (strncasecmp(text, "https://", 8) == 0) {
        *out = true;
        *out_len = 8;
    } else if (strncasecmp(text, "http://", 7) == 0) {
        *out = false;
        *out_len = 7;
    } else {
        return -EINVAL;
    }
    return 0;
}

int url_parse(const char *text, struct url *out, struct clip_error *err)
{
    struct url url = {0};
    size_t skip, len;
    int r = check_bytes(text, err);

    if (r < 0)
        return r;
    if (parse_scheme(text, &url.tls, &skip) < 0)
        return refuse(err, "neither http:// nor https://");
    text += skip;
    len = strcspn(text, "/?#");
    r = parse_authority(text, len, &url, err);
    if (r == 0)
        r = parse_target(text + len, &url);
    if (r == 0)
        r = derive(&url);
    if (r == -ENOMEM)
        err_set(err, r, "url: out of memory");
    if (r < 0)
        url_fini(&url);
    else
        *out = url;
    return r;
}

void url_fini(struct url *url)
{
    free(url->host);
    free(url->target);
    if (url->userinfo)
        explicit_bzero(url->userinfo, strlen(url->userinfo));
    free(url->userinfo);
    free(url->origin);
    free(url->shown);
    memset(url, 0, sizeof(*url));
}

static bool has_scheme(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return n > 0 && text[n] == ':';
}

/* What stands before a relative reference: the base's path up to its last slash, or all of it. */
static int directory_len(const struct url *base, const char *location)
{
    size_t path = strcspn(base->target, "?");
    const char *slash;

    if (location[0] == '/')
        return 0;
    if (location[0] == '?' || location[0] == '\0')
        return (int)path;
    slash = memrchr(base->target, '/', path);
    return slash ? (int)(slash + 1 - base->target) : 0;
}

int url_resolve(const struct url *base, const char *location, struct url *out,
                struct clip_error *err)
{
    const char *scheme = base->tls ? "https" : "http";
    char *text;
    int n, r;

    if (strlen(location) > URL_MAX)
        return refuse(err, "too long");
    if (has_scheme(location))
        return url_parse(location, out, err);
    if (strncmp(location, "//", 2) == 0)
        n = asprintf(&text, "%s:%s", scheme, location);
    else
        n = asprintf(&text, "%s%.*s%s", base->origin, directory_len(base, location), base->target,
                     location);
    if (n < 0)
        return err_set(err, -ENOMEM, "url: out of memory");
    r = url_parse(text, out, err);
    free(text);
    return r;
}

bool url_same_origin(const struct url *a, const struct url *b)
{
    return strcmp(a->origin, b->origin) == 0;
}

bool url_host_is_loopback(const char *host)
{
    static const char suffix[] = ".localhost";
    size_t len = strlen(host), n = sizeof(suffix) - 1;
    struct in_addr v4;
    struct in6_addr v6;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (len > n && strcasecmp(host + len - n, suffix) == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
