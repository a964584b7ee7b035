/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The variables are read once, when the net is made. A value without a scheme is an http:// one.
 * Failure: no memory; a value that is no URL or of a scheme we do not speak, which is kept and told
 * to whoever would have used it.
 */
#include "net/proxy.h"

#include "net/basic.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------- the variables */

static const char *first_set(const char *const *names, const char **out_name)
{
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value && *value) {
            *out_name = *names;
            return value;
        }
    }
    return NULL;
}

static int parse(struct proxy *proxy, const char *value)
{
    char *text;
    int r;

    if (asprintf(&text, "%s%s", strstr(value, "://") ? "" : "http://", value) < 0)
        return -ENOMEM;
    r = url_parse(text, &proxy->url, &proxy->err);
    explicit_bzero(text, strlen(text));
    free(text);
    if (r == 0 && proxy->url.tls)
        return err_set(&proxy->err, -EINVAL, "a proxy is spoken to by http:// only");
    return r;
}

static int read_proxy(struct proxy *proxy, const char *const *names)
{
    const char *value = first_set(names, &proxy->variable);
    int r = value ? parse(proxy, value) : 0;

    if (r == -ENOMEM)
        return r;
    if (r < 0)
        err_prefix(&proxy->err, "the variable %s", proxy->variable);
    if (!proxy->url.userinfo)
        return 0;
    proxy->authorization = basic_header(proxy->url.userinfo);
    return proxy->authorization ? 0 : -ENOMEM;
}

int proxies_init(struct proxies *proxies)
{
    static const char *const http[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", NULL};
    static const char *const https[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                        NULL};
    static const char *const no[] = {"no_proxy", "NO_PROXY", NULL};
    const char *variable, *value = first_set(no, &variable);

    memset(proxies, 0, sizeof(*proxies));
    proxies->no_proxy = value ? strdup(value) : NULL;
    if ((value && !proxies->no_proxy) || read_proxy(&proxies->http, http) < 0 ||
        read_proxy(&proxies->https, https) < 0) {
        proxies_fini(proxies);
        return -ENOMEM;
    }
    return 0;
}

static void proxy_fini(struct proxy *proxy)
{
    url_fini(&proxy->url);
    if (proxy->authorization)
        explicit_bzero(proxy->authorization, strlen(proxy->authorization));
    free(proxy->authorization);
}

void proxies_fini(struct proxies *proxies)
{
    proxy_fini(&proxies->http);
    proxy_fini(&proxies->https);
    free(proxies->no_proxy);
    memset(proxies, 0, sizeof(*proxies));
}

int proxy_find(const struct proxies *proxies, const struct url *url, const struct proxy **out,
               struct clip_error *err)
{
    const struct proxy *proxy = url->tls ? &proxies->https : &proxies->http;

    if (!proxy->variable || url_host_is_loopback(url->host) ||
        (proxies->no_proxy && no_proxy_matches(proxies->no_proxy, url->host, url->port))) {
        *out = NULL;
        return 0;
    }
    if (proxy->err.code < 0)
        return err_set(err, proxy->err.code, "%s", proxy->err.message);
    *out = proxy;
    return 0;
}

/* ------------------------------------------------------------------ NO_PROXY */

/* An address of either family in sixteen bytes, IPv4 as IPv6 maps it. */
static bool parse_address(const char *text, uint8_t out[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    memcpy(out, mapped, sizeof(mapped));
    return inet_pton(AF_INET, text, out + sizeof(mapped)) == 1;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned n)
{
    unsigned rest = n % 8;

    if (memcmp(a, b, n / 8) != 0)
        return false;
    return rest == 0 || ((a[n / 8] ^ b[n / 8]) >> (8 - rest)) == 0;
}

static bool matches_block(const char *entry, const char *slash, const char *host)
{
    char address[64];
    uint8_t block[16], ours[16];
    unsigned long bits;
    char *end;
    size_t len = (size_t)(slash - entry);

    if (len >= sizeof(address) || !isdigit((unsigned char)slash[1]))
        return false;
    memcpy(address, entry, len);
    address[len] = '\0';
    bits = strtoul(slash + 1, &end, 10);
    if (*end || !parse_address(address, block) || !parse_address(host, ours))
        return false;
    if (!strchr(address, ':'))
        bits += 96;
    return bits <= 128 && same_bits(block, ours, (unsigned)bits);
}

static bool matches_name(const char *entry, const char *host)
{
    size_t len, host_len = strlen(host);

    if (entry[0] == '*' && entry[1] == '.')
        entry++;
    if (entry[0] == '.')
        entry++;
    len = strlen(entry);
    if (len == 0 || len > host_len || strcasecmp(host + host_len - len, entry) != 0)
        return false;
    return len == host_len || host[host_len - len - 1] == '.';
}

/* Cuts ":PORT" off; false if it is another port. "[v6]:port" loses its brackets, too. */
static bool matches_port(char **entry, uint16_t port)
{
    char *text = *entry;
    char *colon = strrchr(text, ':');
    char *close = text[0] == '[' ? strchr(text, ']') : NULL;

    if (close) {
        *close = '\0';
        *entry = text + 1;
        colon = close[1] == ':' ? close + 1 : NULL;
    } else if (colon && strchr(text, ':') != colon) {
        return true; /* an IPv6 address by itself */
    }
    if (!colon)
        return true;
    *colon = '\0';
    return strtoul(colon + 1, NULL, 10) == port;
}

static bool matches(char *entry, const char *host, uint16_t port)
{
    const char *slash = strchr(entry, '/');
    uint8_t theirs[16], ours[16];

    if (strcmp(entry, "*") == 0)
        return true;
    if (slash)
        return matches_block(entry, slash, host);
    if (!matches_port(&entry, port))
        return false;
    if (parse_address(entry, theirs))
        return parse_address(host, ours) && memcmp(ours, theirs, sizeof(ours)) == 0;
    return matches_name(entry, host);
}

bool no_proxy_matches(const char *no_proxy, const char *host, uint16_t port)
{
    char *copy = strdup(no_proxy), *rest = copy, *entry;
    bool found = false;

    while (copy && !found && (entry = strsep(&rest, ", \t")))
        found = *entry && matches(entry, host, port);
    free(copy);
    return found;
}
