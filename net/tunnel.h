/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT, by which a proxy is asked for a tunnel to an origin. Pure: no I/O. */
#ifndef CLIP_NET_TUNNEL_H
#define CLIP_NET_TUNNEL_H

#include "net/proxy.h"

struct http;

/* The request, malloc'ed; and in `out_http` who reads its answer. -ENOMEM, -EINVAL. */
int tunnel_ask(const struct url *to, const struct proxy *proxy, struct http **out_http, char **out,
               size_t *out_len);
/* 1: the tunnel is open; 0: more bytes are needed; below: a sentence. */
int tunnel_feed(struct http *http, const uint8_t *bytes, size_t len, struct clip_error *err);

#endif
