/* SPDX-License-Identifier: Apache-2.0 */
/* Asking clipd: one call on a connection of its own, waited for. What goes wrong is said to people
 * here. */
#ifndef CLIP_CLI_CLIENT_H
#define CLIP_CLI_CLIENT_H

#include "places.h"

#include <clip.h>
#include <jansson.h>

/* How far an index run is, while the answer is waited for. */
struct client_call {
    /* public */
    const char *run;    /* the directory with the socket */
    const char *method; /* "GET" */
    const char *path;   /* and query */
    json_t *body;       /* or NULL; stays the caller's */
    clip_progress_cb on_progress;
    void *data;
    bool quiet; /* failures are not said */
    /* read-only */
    json_t *answer; /* the caller decrefs it */
    int status;     /* HTTP's; 0: there was no answer */
};

/* 0 if the answer is a good one, else 1 after a sentence. `answer` may be set in both cases. */
int client_ask(struct client_call *call);

/* A connection as a test: somebody listens at the socket. */
bool client_finds_daemon(const char *run);

#define CLIENT_ID_MAX 300 /* bytes; clipd's own limit is lower */
/* Could it be a container's ID, and stand in a path as it is? 0, or 1 after a sentence. */
int client_check_id(const char *id);

/* A DELETE of that container; `how` is the query, "keep=1&lazy=0". As client_ask(). */
int client_end_container(const char *run, const char *id, const char *how);

/* A member as text for people; "-" if it is not there. */
const char *client_text(json_t *object, const char *name);

#endif
