/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that clipd listens at, as descriptors; and what it and systemd tell each other. */
#ifndef CLIP_CLI_LISTEN_H
#define CLIP_CLI_LISTEN_H

#include <stdbool.h>

/* A Unix socket at `path`, bound before anybody may connect who `mode` does not let. What lies
 * there is taken away: the caller holds the lock of the directory. `group` may be NULL.
 * The descriptor, or -1 after a sentence. */
int listen_unix(const char *path, const char *mode, const char *group);
/* "ADDR:PORT", "[ADDR]:PORT", ":PORT" (every address). The descriptor, or -1 after a sentence. */
int listen_tcp(const char *address);

/* Sockets that systemd opened for us (sd_listen_fds(3)): how many, from descriptor 3 on. The
 * variables are taken out of the environment. */
int listen_inherited(void);
/* True if `fd` is a Unix stream socket that listens; sets `out_tcp` for a TCP one. */
bool listen_is_ours(int fd, bool *out_tcp);

/* Tells systemd, if it asked to be told (sd_notify(3)): "READY=1", "STOPPING=1", ... */
void listen_notify(const char *state);

#endif
