/* SPDX-License-Identifier: Apache-2.0 */
/* A command that goes on in the background, but returns to the shell only when it is of use: until
 * then its errors come out where the user is, and Ctrl-C ends both halves. */
#ifndef CLIP_CLI_BACKGROUND_H
#define CLIP_CLI_BACKGROUND_H

#include <stdbool.h>

struct background {
    /* private */
    int fd; /* the child's end of the pipe; -1: in the foreground */
};

/* Forks; to be called before there is a loop or a thread. In the child (and with `foreground` in
 * the only process) returns BACKGROUND_GO; in the parent the exit code, when the child is ready or
 * gone. */
#define BACKGROUND_GO (-1)
int background_start(struct background *background, bool foreground);

/* Leaves the terminal and lets the parent return. -EPIPE: the parent is gone, nobody wants this. */
int background_ready(struct background *background);

#endif
