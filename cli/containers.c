/* SPDX-License-Identifier: Apache-2.0 */
/* Which containers there are, and which may come: an ID that is there already can only come back.
 * What is refused is refused before anything has begun; after that, who waits is told
 * (container.c). */
#include "container_private.h"
#include "reply.h"

#include <string.h>

void containers_init(struct containers *containers, uv_loop_t *loop, struct clip_engine *engine)
{
    containers->loop = loop;
    containers->engine = engine;
}

void containers_fini(struct containers *containers)
{
    while (containers->first)
        container_free(containers->first);
}

struct container *containers_find(const struct containers *containers, const char *id)
{
    for (struct container *c = containers->first; c; c = c->next) {
        if (strcmp(c->id, id) == 0)
            return c;
    }
    return NULL;
}

/* A container that is there already can only come back. */
static int check_return(const struct container *c, const struct spec *spec, struct clip_error *err)
{
    if (c->state < CONTAINER_DEAD)
        return reply_error(err, -EEXIST, "container %s is there already (%s)", c->id,
                           container_state_name(c->state));
    if (!spec_same_tree(&c->spec, spec))
        return reply_error(err, -EEXIST,
                           "container %s is %s, with another image or upper directory; unmount it "
                           "first, or ask for the same",
                           c->id, container_state_name(c->state));
    return 0;
}

static int check_create(const struct containers *containers, const struct container *c,
                        const struct spec *spec, struct clip_error *err)
{
    if (containers->closing)
        return reply_error(err, -ESHUTDOWN, "clipd is about to end");
    if (!c && containers->n_containers >= CONTAINERS_MAX)
        return reply_error(err, -EUSERS, "there are %d containers already", CONTAINERS_MAX);
    int r = c ? check_return(c, spec, err) : 0;
    return r < 0 ? r : bundle_check(spec->process, err);
}

int containers_create(struct containers *containers, const char *id, struct spec *spec,
                      struct container_wait *wait, container_cb done, struct clip_error *err)
{
    struct container *c = containers_find(containers, id);
    bool is_new = !c;
    int r = check_create(containers, c, spec, err);
    if (r == 0 && is_new && !(c = container_new(containers, id)))
        r = reply_error(err, -ENOMEM, "out of memory");
    if (r == 0)
        r = container_adopt(c, spec, err);
    spec_fini(spec);
    if (r < 0) {
        if (is_new && c)
            container_free(c);
        return r;
    }
    if (wait)
        container_add_wait(c, wait, false, done);
    if (is_new) {
        container_begin_move(c);
        container_start(c);
    } else {
        container_come_back(c);
    }
    return 0;
}

int containers_add_lost(struct containers *containers, const char *id, struct spec *spec,
                        int64_t created_s, const char *why)
{
    struct container *c = container_new(containers, id);
    if (!c)
        return -ENOMEM;
    c->spec = *spec;
    *spec = (struct spec){0};
    c->created_s = created_s;
    c->has_state = true;
    c->state = CONTAINER_LOST;
    reply_error(&c->why, -ENOTCONN, "%s", why);
    return container_name_bundle(c);
}

void containers_restore_all(struct containers *containers)
{
    for (struct container *c = containers->first; c; c = c->next) {
        if (c->state == CONTAINER_LOST)
            container_come_back(c);
    }
}

void containers_image_dead(struct containers *containers, struct image *image)
{
    for (struct container *c = containers->first; c; c = c->next) {
        if (c->image != image)
            continue;
        reply_error(&c->why, -ENOTCONN, "the mount of its image, %s, was taken away",
                    image->mountpoint);
        log_say(containers->log, CLIP_LOG_WARN, "container %s: %s", c->id, c->why.message);
        if (c->state == CONTAINER_READY) {
            container_set_state(c, CONTAINER_DEAD);
        } else if (c->state == CONTAINER_MOUNTING) {
            container_cancel(c, false);
        }
    }
}

/* Ending one may free it, but only from the loop. */
void containers_end_all(struct containers *containers, bool lazy)
{
    containers->closing = true;
    for (struct container *c = containers->first; c; c = c->next) {
        if (c->state != CONTAINER_LOST)
            container_end(c, false, lazy, NULL, NULL);
    }
}
