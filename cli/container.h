/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container: it has an ID, a root (RUN/ID/rootfs: an overlay over a shared image), perhaps a
 * bundle, and a file in ROOT/state that a later clipd finds. That of an earlier clipd is LOST until
 * somebody asks for it again; that whose image's mount was taken away is DEAD.
 */
#ifndef CLIP_CLI_CONTAINER_H
#define CLIP_CLI_CONTAINER_H

#include "bundle.h"
#include "images.h"
#include "indexes.h"
#include "spec.h"

enum container_state {
    CONTAINER_INDEXING,
    CONTAINER_MOUNTING,
    CONTAINER_READY,
    CONTAINER_UNMOUNTING,
    CONTAINER_DEAD,
    CONTAINER_LOST,
};

struct container;
struct container_wait;
struct owner;

/* 0: it is ready, or gone, as was asked for. The container may be gone with the call. */
typedef void (*container_cb)(struct container_wait *wait, int status, const struct clip_error *err);

/* Embedded in whoever waits. */
struct container_wait {
    /* read-only */
    struct container *container; /* NULL when done */
    /* private */
    struct container_wait *next, **prev;
    bool for_end;
    container_cb done;
};

struct container {
    /* read-only */
    char id[SPEC_ID_MAX + 1];
    enum container_state state;
    struct spec spec;
    char *root, *bundle; /* the tree; the bundle's directory or NULL */
    struct image *image;
    int64_t created_s;
    uint64_t mount_ns; /* from the request to ready, indexing not counted */
    char *index_path;
    struct index_wait index_wait;
    struct clip_error why; /* DEAD and LOST: what happened */
    /* private */
    struct containers *containers;
    struct container *next;
    struct image_wait image_wait;
    struct container_wait *waiting;
    struct bundle_request bundle_request;
    uv_work_t work;
    struct owner *owner;
    char *dir, *state_text;
    uint64_t began_ns;
    struct clip_error err;  /* of what is going wrong now */
    struct clip_error busy; /* why it cannot go */
    bool has_overlay, has_bind, has_state, cancelled, remove, remove_later, lazy, again, retried;
};

const char *container_state_name(enum container_state state);

/* Away with it; `remove` also what was written to it and the memory of it. -EBUSY if something in
 * it is in use, unless `lazy`. */
void container_end(struct container *container, bool remove, bool lazy, struct container_wait *wait,
                   container_cb done);
/* `done` will not fire. A container that nobody waits for any more is taken away if it was not
 * ready yet. */
void container_leave(struct container_wait *wait);

/* What a client is told of it. NULL: no memory. */
json_t *container_json(const struct container *container);

#endif
