/* SPDX-License-Identifier: Apache-2.0 */
/* clipd as a whole: what it is told at start, and its parts. */
#ifndef CLIP_CLI_DAEMON_H
#define CLIP_CLI_DAEMON_H

#include "containers.h"
#include "control.h"
#include "host.h"
#include "images.h"
#include "indexes.h"
#include "log.h"

#define DAEMON_SOCKET   "clipd.sock"
#define DAEMON_DRAIN_MS 30000 /* after SIGTERM, for what is being mounted */

struct daemon_options {
    const char *root, *run, *cache_dir; /* absolute */
    uint64_t cache_size;
    bool no_prefetch;
    const char *idle_polling;   /* auto, on, off or NULL */
    const char *listen_metrics; /* or NULL */
    const char *socket_mode, *socket_group;
    unsigned exit_idle; /* seconds without containers and clients; 0: stay */
    bool restore;       /* mount again what an earlier one had */
    struct log log;
};

enum daemon_state { DAEMON_SERVING, DAEMON_DRAINING, DAEMON_ENDING };

struct daemon {
    /* read-only */
    struct daemon_options *options;
    struct host host;
    struct control control;
    struct images images;
    struct indexes indexes;
    struct containers containers;
    enum daemon_state state;
    uv_loop_t *loop;
    uint64_t n_files; /* descriptors that it may have open */
    /* private */
    int locks[2];
    char *run, *indexes_dir, *socket;
    bool inherited; /* the socket is systemd's */
    bool closing, finished;
    uv_timer_t tick;
    unsigned idle_s, drain_s;
    uint64_t n_calls; /* at the last tick */
};

/* Finds what an earlier clipd left and listens. 0, or 1 after a sentence. */
int daemon_open(struct daemon *daemon, struct daemon_options *options);
/* Serves until a signal comes, or nobody needs it. */
void daemon_run(struct daemon *daemon);
/* Also after a daemon_open() that failed. */
void daemon_close(struct daemon *daemon);
/* As if SIGTERM had come. */
void daemon_stop(struct daemon *daemon);

#endif
