/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a container is:
 * - container_start(): up (container_up.c): an index, the image, its root, its bundle;
 * - container_end(): the same way back (container_down.c), to be freed, kept as LOST, or started
 *   again.
 * Possible failure modes are: any step refuses: the way back from there, and who waits is told.
 *   Something in the tree is in use when it shall go: READY again, -EBUSY. Whoever waits goes
 *   away, or its owner dies: the way back as well. The image's mount is taken away under it: DEAD,
 *   until somebody ends it or asks for it again.
 * On close: containers_end_all(); on_idle when nothing moves. */
#include "container_private.h"
#include "reply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *container_state_name(enum container_state state)
{
    static const char *const names[] = {"indexing",   "mounting", "ready",
                                        "unmounting", "dead",     "lost"};
    return names[state];
}

void container_set_state(struct container *c, enum container_state state)
{
    log_say(c->containers->log, CLIP_LOG_DEBUG, "container %s: %s -> %s", c->id,
            container_state_name(c->state), container_state_name(state));
    c->state = state;
}

/* ---- moving: what on_idle waits for */

void container_begin_move(struct container *c)
{
    c->containers->n_moving++;
}

void container_end_move(struct containers *containers)
{
    assert(containers->n_moving > 0);
    if (--containers->n_moving == 0 && containers->on_idle)
        containers->on_idle(containers->data);
}

/* ---- those who wait */

void container_add_wait(struct container *c, struct container_wait *wait, bool for_end,
                        container_cb done)
{
    *wait = (struct container_wait){
        .container = c, .next = c->waiting, .prev = &c->waiting, .for_end = for_end, .done = done};
    if (wait->next)
        wait->next->prev = &wait->next;
    c->waiting = wait;
}

static void remove_wait(struct container_wait *wait)
{
    *wait->prev = wait->next;
    if (wait->next)
        wait->next->prev = wait->prev;
    wait->container = NULL;
}

/* Each is out of the list before it is told, and may do what it likes. */
void container_answer(struct container *c, int to_ready, int to_end, const struct clip_error *err)
{
    struct container_wait *wait;
    while ((wait = c->waiting)) {
        int status = wait->for_end ? to_end : to_ready;
        remove_wait(wait);
        wait->container = c;
        wait->done(wait, status, err);
    }
}

/* ---- its memory */

void container_free(struct container *c)
{
    struct container **at = &c->containers->first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->containers->n_containers--;
    owner_close(c->owner);
    c->owner = NULL;
    spec_fini(&c->spec);
    free(c->root);
    free(c->bundle);
    free(c->index_path);
    free(c->dir);
    free(c);
}

static char *join_path(const char *dir, const char *name, const char *below)
{
    char *path = NULL;
    int r =
        below ? asprintf(&path, "%s/%s/%s", dir, name, below) : asprintf(&path, "%s/%s", dir, name);
    return r < 0 ? NULL : path;
}

static int name_paths(struct container *c)
{
    c->dir = join_path(c->containers->run, c->id, NULL);
    c->root = join_path(c->containers->run, c->id, "rootfs");
    return c->dir && c->root ? 0 : -ENOMEM;
}

/* The bundle is asked for anew each time; ours has a place of its own. */
int container_name_bundle(struct container *c)
{
    free(c->bundle);
    c->bundle = NULL;
    if (!c->spec.bundle)
        return 0;
    c->bundle =
        *c->spec.bundle ? strdup(c->spec.bundle) : join_path(c->containers->run, ".bundles", c->id);
    return c->bundle ? 0 : -ENOMEM;
}

struct container *container_new(struct containers *containers, const char *id)
{
    struct container *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->containers = containers;
    snprintf(c->id, sizeof(c->id), "%s", id);
    c->work.data = c;
    c->created_s = time(NULL);
    c->next = containers->first;
    containers->first = c;
    containers->n_containers++;
    if (name_paths(c) == 0)
        return c;
    container_free(c);
    return NULL;
}

/* ---- what it shall be */

static void on_owner_ended(void *data)
{
    struct container *c = data;
    log_say(c->containers->log, CLIP_LOG_INFO, "container %s: its owner, process %d, ended", c->id,
            (int)c->spec.owner);
    owner_close(c->owner);
    c->owner = NULL;
    container_end(c, true, true, NULL, NULL);
}

int container_adopt(struct container *c, struct spec *spec, struct clip_error *err)
{
    spec_fini(&c->spec);
    c->spec = *spec;
    *spec = (struct spec){0};
    if (container_name_bundle(c) < 0)
        return reply_error(err, -ENOMEM, "out of memory");
    owner_close(c->owner);
    c->owner = NULL;
    if (!c->spec.owner)
        return 0;
    return owner_open(c->containers->loop, (pid_t)c->spec.owner, on_owner_ended, c, &c->owner, err);
}

/* ---- what it is told */

void container_cancel(struct container *c, bool remove)
{
    c->cancelled = true;
    c->remove = remove || !c->has_state;
    if (c->state != CONTAINER_INDEXING)
        return;
    indexes_leave(&c->index_wait);
    container_turned_back(c);
}

void container_end(struct container *c, bool remove, bool lazy, struct container_wait *wait,
                   container_cb done)
{
    if (wait)
        container_add_wait(c, wait, true, done);
    switch (c->state) {
    case CONTAINER_INDEXING:
    case CONTAINER_MOUNTING:
        container_cancel(c, remove);
        return;
    case CONTAINER_UNMOUNTING:
        c->again = false;
        c->remove_later |= remove; /* on its way already: if it stays as lost, once more */
        return;
    case CONTAINER_READY:
    case CONTAINER_DEAD:
    case CONTAINER_LOST:
        container_begin_move(c);
        c->remove = remove;
        c->lazy = lazy || c->state == CONTAINER_DEAD;
        c->err = (struct clip_error){0};
        container_undo(c);
    }
}

void container_leave(struct container_wait *wait)
{
    struct container *c = wait->container;
    if (!c)
        return;
    bool for_end = wait->for_end;
    remove_wait(wait);
    if (!for_end && !c->waiting && c->state <= CONTAINER_MOUNTING)
        container_cancel(c, !c->has_state);
}

void container_come_back(struct container *c)
{
    container_begin_move(c);
    if (c->state == CONTAINER_LOST) {
        container_start(c);
        return;
    }
    c->again = true;
    c->remove = false;
    c->lazy = true;
    container_undo(c);
}
