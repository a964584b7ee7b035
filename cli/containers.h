/* SPDX-License-Identifier: Apache-2.0 */
/* The containers of a clipd: found by ID, made, brought back, ended all at once. */
#ifndef CLIP_CLI_CONTAINERS_H
#define CLIP_CLI_CONTAINERS_H

#include "container.h"
#include "log.h"

#define CONTAINERS_MAX 16384

struct containers {
    /* public */
    const char *root, *run;
    struct images *images;
    struct indexes *indexes;
    struct log *log;
    void (*on_idle)(void *data); /* nothing is being mounted or unmounted any more */
    void *data;
    /* read-only */
    struct container *first;
    unsigned n_containers, n_moving; /* moving: on their way up or down */
    uint64_t n_mounted, n_failed;
    /* private */
    uv_loop_t *loop;
    struct clip_engine *engine;
    bool closing;
};

void containers_init(struct containers *containers, uv_loop_t *loop, struct clip_engine *engine);
void containers_fini(struct containers *containers);

struct container *containers_find(const struct containers *containers, const char *id);

/* Takes `spec`, also on failure. -EEXIST: the ID is in use (a LOST or DEAD one comes back if the
 * same tree is asked for, with what was written to it). `done` unless it fails. */
int containers_create(struct containers *containers, const char *id, struct spec *spec,
                      struct container_wait *wait, container_cb done, struct clip_error *err);
/* Of an earlier clipd, as it was found. Takes `spec`. */
int containers_add_lost(struct containers *containers, const char *id, struct spec *spec,
                        int64_t created_s, const char *why);

/* Mounts the LOST ones again. */
void containers_restore_all(struct containers *containers);

/* The mount of an image is gone. */
void containers_image_dead(struct containers *containers, struct image *image);
/* Ends all, their uppers and state stay; the LOST ones stay lost. on_idle says when. */
void containers_end_all(struct containers *containers, bool lazy);

#endif
