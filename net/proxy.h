/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which proxy a URL is fetched by, from the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and
 * NO_PROXY, the lower-case names first. Pure but for getenv; any thread.
 *
 * NO_PROXY is a list, by commas or blanks, of: "*" (everything), a name (itself and all names below
 * it; a leading "." or "*." says the same), an address, a CIDR block; each but the block may end in
 * ":PORT". This machine (localhost, 127.0.0.0/8, ::1) is never asked for through a proxy.
 */
#ifndef CLIP_NET_PROXY_H
#define CLIP_NET_PROXY_H

#include "net/url.h"

struct proxy {
    struct url url;
    char *authorization;   /* the value of Proxy-Authorization, or NULL */
    const char *variable;  /* where it was found; NULL: there is none */
    struct clip_error err; /* what is wrong with it, if code is not 0 */
};

struct proxies {
    struct proxy http, https;
    char *no_proxy; /* NULL: nothing is left out */
};

/* 0 or -ENOMEM. What cannot be understood is told by proxy_find(). */
int proxies_init(struct proxies *proxies);
void proxies_fini(struct proxies *proxies);

/* `out` is NULL where there is none. An error is about the variable. */
int proxy_find(const struct proxies *proxies, const struct url *url, const struct proxy **out,
               struct clip_error *err);

/* Is `host` (as in struct url) in the list? */
bool no_proxy_matches(const char *no_proxy, const char *host, uint16_t port);

#endif
