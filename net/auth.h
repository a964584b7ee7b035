/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The right to read a repository: which credentials, which scheme (Basic or a Bearer token by what
 * the registry challenges), the token and its renewal. On the loop's thread.
 *
 * Auths of equal options are one and the same inside, so that all mounts of a repository share a
 * token, and many fetches that need one cause a single request for it.
 */
#ifndef CLIP_NET_AUTH_H
#define CLIP_NET_AUTH_H

#include "net/net.h"

struct auth;

struct auth_options {
    const char *registry;   /* host[:port] as in image names: "docker.io", "localhost:5000" */
    const char *repository; /* "library/alpine" */
    const char *creds;      /* USER:PASS; NULL: from the files and the environment */
    const char *authfile;   /* NULL: the usual places */
    struct net_trust trust;
};

/* Nothing is read or fetched yet. Strings are copied. */
int auth_open(struct clip_engine *engine, const struct auth_options *options, struct auth **out,
              struct clip_error *err);
/* NULL is allowed. After all fetches with it have ended. */
void auth_close(struct auth *auth);

/* ---- for net/fetch.c */

struct auth_ask;
typedef void (*auth_ask_cb)(struct auth_ask *ask, int status);

/* A request: embedded in who waits. */
struct auth_ask {
    /* public, set when it was answered with 0 */
    char *header; /* the Authorization header's value; NULL: send none; the caller's to free */
    unsigned generation; /* to be handed back with a 401 */
    struct clip_error err;
    /* private */
    struct queue node;
    unsigned n_refused; /* 401s since auth_ask() */
    auth_ask_cb done;
};

/* 1: answered in place; 0: `done` will fire; else an error, with its sentence in the ask. */
int auth_ask(struct auth *auth, struct auth_ask *ask, auth_ask_cb done);
/* What was answered got a 401 from `origin` ("https://host:port"); `challenges` are its
 * WWW-Authenticate headers, joined with ", ". As auth_ask; -EACCES when there is nothing better to
 * offer. */
int auth_ask_again(struct auth *auth, struct auth_ask *ask, const char *origin,
                   const char *challenges, auth_ask_cb done);
/* Of an ask that `done` would fire for: it is forgotten, and the memory is the caller's again. */
void auth_ask_cancel(struct auth_ask *ask);

#endif
