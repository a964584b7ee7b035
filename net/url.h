/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http:// and https:// URLs, taken apart and checked, so that nothing in them can break out of a
 * request line or a header. Pure; any thread.
 */
#ifndef CLIP_NET_URL_H
#define CLIP_NET_URL_H

#include "engine/err.h"

#define URL_MAX      16384u
#define URL_HOST_MAX 253u

struct url {
    bool tls;
    char *host; /* lower case; an IPv6 address without its brackets */
    uint16_t port;
    char *target;   /* path and query as a request line has them: "/v2/?x=1" */
    char *userinfo; /* USER[:PASS], percent-decoded; NULL: none */
    char *origin;   /* "https://host:port", the port always there */
    char *shown;    /* for people: without userinfo and query, which may be secrets */
};

/* -EINVAL with a sentence, which shows no more than `shown` would. */
int url_parse(const char *text, struct url *out, struct clip_error *err);
/* What a Location header means, seen from `base`. */
int url_resolve(const struct url *base, const char *location, struct url *out,
                struct clip_error *err);
void url_fini(struct url *url); /* harmless for a zeroed one */

bool url_same_origin(const struct url *a, const struct url *b);
/* localhost, *.localhost, 127.0.0.0/8, ::1 */
bool url_host_is_loopback(const char *host);
/* host:port as a Host header and CONNECT have them; the default port of the scheme is left out
 * unless `with_port`. malloc'ed, NULL: no memory. */
char *url_authority(const struct url *url, bool with_port);

#endif
