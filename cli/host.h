/* SPDX-License-Identifier: Apache-2.0 */
/* What a command runs on: a loop and an engine, made when it begins, gone when it ends. */
#ifndef CLIP_CLI_HOST_H
#define CLIP_CLI_HOST_H

#include "log.h"

#include <clip.h>
#include <uv.h>

/* SIGINT or SIGTERM came. Once for each host_on_stop(): the next signal kills, as usual, unless
 * this asks to be told of it. */
typedef void (*host_stop_cb)(void *data);

struct host {
    /* read-only */
    uv_loop_t loop;
    struct clip_engine *engine;
    bool stopped; /* a signal came */
    /* private */
    uv_signal_t signals[2];
    uv_work_t first; /* that the pool was started with */
    host_stop_cb on_stop;
    void *data;
    bool closed;
};

/* An option of whoever has a long time of work on it. */
#define HOST_IDLE_POLLING_CHOICES "auto|on|off"
#define HOST_IDLE_POLLING_ABOUT                                                                    \
    "may idle CPUs poll while there is work, so that no\n"                                         \
    "thread waits for one that halted (default auto: in\n"                                         \
    "guests with haltpoll and up to 8 CPUs; needs root;\n"                                         \
    "or $CLIP_IDLE_POLLING)"

/* `idle_polling` is one of those choices; NULL: what the environment says. 0, or after a sentence
 * 1, or 2 where the environment says something else. `log` is borrowed. Afterwards SIGPIPE is
 * ignored.
 */
int host_open(struct host *host, struct log *log, const char *idle_polling);
/* Catches SIGINT and SIGTERM from now on. */
void host_on_stop(struct host *host, host_stop_cb on_stop, void *data);
/* Runs the loop until `*done`. */
void host_run(struct host *host, const bool *done);
/* Closes what is open on the engine, runs the loop until that is gone. */
void host_close(struct host *host);

#endif
