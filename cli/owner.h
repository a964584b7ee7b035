/* SPDX-License-Identifier: Apache-2.0 */
/* A process that something belongs to: its end is told on the loop. */
#ifndef CLIP_CLI_OWNER_H
#define CLIP_CLI_OWNER_H

#include <clip.h>
#include <sys/types.h>
#include <uv.h>

struct owner;

/* The process ended. At most once; the owner is still to be closed. */
typedef void (*owner_cb)(void *data);

/* 0, or a negative errno with a sentence; -EINVAL: there is no such process. */
int owner_open(uv_loop_t *loop, pid_t pid, owner_cb on_ended, void *data, struct owner **out,
               struct clip_error *err);
/* Nothing is told any more. NULL is fine. */
void owner_close(struct owner *owner);

#endif
