/* SPDX-License-Identifier: Apache-2.0 */
/* A container's way back, from wherever it has come to:
 * - container_undo(): undo_run() takes away what was mounted beside the root, then the overlay
 *   goes, then forget_run() removes the directory and, if it shall, the state;
 * - gone() lets go of the image, and frees the container, keeps it as LOST, or starts it again.
 * What is in use stops it before anything has changed: stay_ready(). */
#include "container_private.h"
#include "reply.h"
#include "state.h"

#include <sys/mount.h>
#include <unistd.h>

static void stay_lost(struct container *c)
{
    c->why = c->err;
    if (c->why.code == 0)
        reply_error(&c->why, -ESHUTDOWN, "it was taken away when clipd ended");
    container_set_state(c, CONTAINER_LOST);
    container_answer(c, c->why.code, 0, &c->why);
}

static void gone(struct container *c)
{
    struct containers *containers = c->containers;
    if (c->image)
        images_release(c->image);
    c->image = NULL;
    if (c->again && !containers->closing) {
        c->again = c->cancelled = false;
        container_start(c);
        return;
    }
    if (c->has_state && c->remove_later) {
        c->remove_later = false;
        c->remove = c->lazy = true;
        container_undo(c);
        return;
    }
    owner_close(c->owner);
    c->owner = NULL;
    if (c->err.code == 0)
        c->err = c->why;
    if (c->has_state) {
        stay_lost(c);
    } else {
        if (c->err.code == 0)
            reply_error(&c->err, -ECANCELED, "container %s was taken away", c->id);
        container_answer(c, c->err.code, 0, &c->err);
        container_free(c);
    }
    container_end_move(containers);
}

static void stay_ready(struct container *c, int status, const struct clip_error *err)
{
    container_set_state(c, c->why.code ? CONTAINER_DEAD : CONTAINER_READY);
    c->cancelled = c->again = c->remove_later = false;
    container_answer(c, 0, status, err);
    container_end_move(c->containers);
}

static void forget_run(uv_work_t *work)
{
    struct container *c = work->data;
    if (c->has_state && c->remove) {
        state_remove(c->containers->root, c->id);
        c->has_state = false;
    }
    if (!c->has_state)
        rmdir(c->dir);
}

static void forget_done(uv_work_t *work, int status)
{
    (void)status;
    gone(work->data);
}

static void forget(struct container *c)
{
    uv_queue_work(c->containers->loop, &c->work, forget_run, forget_done);
}

static void rebind_run(uv_work_t *work)
{
    struct container *c = work->data;
    c->has_bind = c->spec.dir && mount(c->root, c->spec.dir, NULL, MS_BIND, NULL) == 0;
}

static void rebind_done(uv_work_t *work, int status)
{
    (void)status;
    struct container *c = work->data;
    struct clip_error err = c->busy;
    stay_ready(c, err.code, &err);
}

/* It is as it was before: at `dir`, too. */
static void on_overlay_gone(void *data, int status, const struct clip_error *err)
{
    struct container *c = data;
    if (status < 0) {
        c->busy = *err;
        c->busy.code = status;
        uv_queue_work(c->containers->loop, &c->work, rebind_run, rebind_done);
        return;
    }
    c->has_overlay = false;
    forget(c);
}

static void undo_run(uv_work_t *work)
{
    struct container *c = work->data;
    int flags = UMOUNT_NOFOLLOW | (c->lazy ? MNT_DETACH : 0);
    c->busy = (struct clip_error){0};
    if (c->has_bind && umount2(c->spec.dir, flags) < 0 && errno == EBUSY) {
        reply_error(&c->busy, -EBUSY, "%s is in use", c->spec.dir);
        return;
    }
    c->has_bind = false;
    if (c->lazy && c->has_overlay)
        umount2(c->root, flags);
    if (c->bundle && !*c->spec.bundle) {
        state_unlink(c->bundle, "config.json");
        rmdir(c->bundle);
    }
}

static void undo_done(uv_work_t *work, int status)
{
    (void)status;
    struct container *c = work->data;
    struct clip_error err;
    if (c->busy.code < 0) {
        err = c->busy;
        stay_ready(c, err.code, &err);
        return;
    }
    if (!c->has_overlay && !(c->remove && c->has_state)) {
        forget(c);
        return;
    }
    int r =
        clip_overlay_unmount(c->containers->engine, c->dir, c->remove, on_overlay_gone, c, &err);
    if (r < 0)
        on_overlay_gone(c, r, &err);
}

void container_undo(struct container *c)
{
    container_set_state(c, CONTAINER_UNMOUNTING);
    uv_queue_work(c->containers->loop, &c->work, undo_run, undo_done);
}

/* What was there before stays there; nobody can be using what just came. */
void container_fail(struct container *c, int r, const struct clip_error *err)
{
    c->err = *err;
    c->err.code = r;
    c->containers->n_failed++;
    c->remove = !c->has_state || (c->cancelled && c->remove);
    c->lazy = true;
    container_undo(c);
}

/* True if the way up ends here. */
bool container_turned_back(struct container *c)
{
    if (!c->cancelled)
        return false;
    c->lazy = true;
    container_undo(c);
    return true;
}
