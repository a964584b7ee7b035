/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One access token from a token server, tried again where the network or the server fails. A
 * handle that ends by itself. On the loop's thread.
 */
#ifndef CLIP_NET_TOKEN_H
#define CLIP_NET_TOKEN_H

#include "net/auth_file.h"
#include "net/challenge.h"
#include "net/net.h"

#define TOKEN_MAX           (64u << 10) /* bytes of a token */
#define TOKEN_EXPIRES_S     60u         /* of a token whose server does not say */
#define TOKEN_EXPIRES_S_MAX (24u * 3600u)

struct token_fetch;

struct token {
    char *text;
    char *refresh_token; /* a newer one than was sent, or NULL */
    uint64_t expires_s;
};
void token_fini(struct token *token); /* wipes */

/* Exactly once, from the loop; the fetch is gone after it. With 0 the token is the receiver's.
 * -EACCES: the server refused. */
typedef void (*token_cb)(void *data, int status, struct token *token, const struct clip_error *err);

struct token_options {
    const struct challenge *challenge;     /* borrowed until done */
    const char *scope;                     /* where the challenge has none */
    const struct credentials *credentials; /* borrowed for the call */
    struct net_trust trust;                /* borrowed until done */
    token_cb done;
    void *data;
};

int token_fetch_open(struct clip_engine *engine, const struct token_options *options,
                     struct token_fetch **out, struct clip_error *err);
void token_fetch_cancel(struct token_fetch *fetch);

/* What a token server answered. Pure. */
int token_parse(const void *text, size_t len, struct token *out, struct clip_error *err);

#endif
