/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a repository may be read: its mirrors in the order they are asked, then the registry. On
 * the loop's thread.
 */
#ifndef CLIP_NET_ENDPOINT_H
#define CLIP_NET_ENDPOINT_H

#include "net/auth.h"
#include "net/ref.h"

#define ENDPOINTS_MAX 32u

struct endpoint {
    /* read-only */
    char *base;  /* "https://host:port/v2/library/alpine/" */
    char *query; /* "?ns=docker.io", or "" */
    struct auth *auth;
    struct net_trust trust; /* strings owned */
    bool resolves;          /* may be asked what a tag is */
    /* what was found out on the way, for all that fetch */
    bool without_range;    /* lies about ranges: asked for whole blobs only */
    bool ignores_range;    /* answers with whole blobs, and that was said in the log */
    uint64_t shunned_ns;   /* did not answer: others go first until then */
    struct endpoint *twin; /* the same host by the other scheme, until one of them answers */
    bool is_off;           /* it was the wrong scheme */
};

struct endpoints {
    struct endpoint *list;
    unsigned n;
};

/* Nothing is fetched; a hosts.toml of the host may be read. */
int endpoints_init(struct endpoints *endpoints, struct clip_engine *engine, const struct ref *ref,
                   const struct clip_source_options *options, struct clip_error *err);
/* After all fetches have ended. */
void endpoints_fini(struct endpoints *endpoints);

/* A real answer came: this is the scheme to speak. */
void endpoint_settle(struct endpoint *endpoint);

#endif
