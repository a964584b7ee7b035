/* SPDX-License-Identifier: Apache-2.0 */
/* What the modules that are a container tell each other: container.c (what it is, who waits for
 * it), container_up.c and container_down.c (its way up and back), containers.c (which there are).
 */
#ifndef CLIP_CLI_CONTAINER_PRIVATE_H
#define CLIP_CLI_CONTAINER_PRIVATE_H

#include "containers.h"
#include "owner.h"

/* In the list; NULL: no memory. */
struct container *container_new(struct containers *containers, const char *id);
void container_free(struct container *c);
/* Where its bundle shall be, by its spec. 0 or -ENOMEM. */
int container_name_bundle(struct container *c);

/* Is what `spec` says from now on, and its owner's. Takes `spec`. */
int container_adopt(struct container *c, struct spec *spec, struct clip_error *err);

void container_set_state(struct container *c, enum container_state state);
/* On its way, until the end of that: on_idle waits for all who are. */
void container_begin_move(struct container *c);
void container_end_move(struct containers *containers);

void container_add_wait(struct container *c, struct container_wait *wait, bool for_end,
                        container_cb done);
/* All who wait are told, each by what it waits for. */
void container_answer(struct container *c, int to_ready, int to_end, const struct clip_error *err);

/* Up; back; back because of `err`. */
void container_start(struct container *c);
void container_undo(struct container *c);
void container_fail(struct container *c, int r, const struct clip_error *err);
/* It shall not come up any more: the next step turns back. */
void container_cancel(struct container *c, bool remove);
/* True if it was cancelled: it is on its way back then. */
bool container_turned_back(struct container *c);
/* A LOST or DEAD one goes up again. */
void container_come_back(struct container *c);

#endif
