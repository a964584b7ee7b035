/* SPDX-License-Identifier: Apache-2.0 */
/* A container's way up:
 * - container_start(): the index is named, or in the store, or made;
 * - on_image(): the image is mounted;
 * - prepare_run() makes its directory, clip_overlay_mount() its root, bundle_start() its bundle,
 *   settle_run() what else there is to mount and the file in ROOT/state; then ready().
 * A step that refuses ends in container_fail(); after each it is asked whether the container was
 * called back meanwhile. */
#include "container_private.h"
#include "reply.h"
#include "state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

static void ready(struct container *c)
{
    c->mount_ns = uv_hrtime() - c->began_ns;
    c->why = (struct clip_error){0};
    container_set_state(c, CONTAINER_READY);
    c->containers->n_mounted++;
    log_say(c->containers->log, CLIP_LOG_INFO, "container %s: ready, image=%s root=%s ms=%.1f",
            c->id, c->image->info.reference, c->root, (double)c->mount_ns / 1e6);
    container_answer(c, 0, 0, NULL);
    container_end_move(c->containers);
}

static void settle_run(uv_work_t *work)
{
    struct container *c = work->data;
    if (c->spec.dir && !c->has_bind) {
        if (mount(c->root, c->spec.dir, NULL, MS_BIND, NULL) < 0) {
            reply_error(&c->err, -errno, "cannot mount the root of %s at %s: %s", c->id,
                        c->spec.dir, strerror(errno));
            return;
        }
        c->has_bind = true;
    }
    int r = state_write(c->containers->root, c->id, c->state_text, &c->err);
    c->has_state |= r == 0;
}

static void settle_done(uv_work_t *work, int status)
{
    (void)status;
    struct container *c = work->data;
    struct clip_error err = c->err;
    free(c->state_text);
    c->state_text = NULL;
    if (err.code < 0)
        container_fail(c, err.code, &err);
    else if (!container_turned_back(c))
        ready(c);
}

static void settle(struct container *c)
{
    c->state_text = state_text(c->id, c->created_s, &c->spec);
    uv_queue_work(c->containers->loop, &c->work, settle_run, settle_done);
}

static void on_bundle(struct bundle_request *request, int status, const struct clip_error *err)
{
    struct container *c =
        (struct container *)((char *)request - offsetof(struct container, bundle_request));
    if (status < 0)
        container_fail(c, status, err);
    else if (!container_turned_back(c))
        settle(c);
}

static void make_bundle(struct container *c)
{
    struct clip_error err;
    struct bundle_options options = {
        .image = c->image->map,
        .reader = images_reader(c->image),
        .process = c->spec.process,
        .id = c->id,
        .root = c->root,
        .dir = c->bundle,
        .read_only = c->spec.read_only,
    };
    int r = bundle_start(&c->bundle_request, c->containers->loop, c->containers->engine, &options,
                         on_bundle, &err);
    if (r < 0)
        container_fail(c, r, &err);
}

static void on_overlay(void *data, int status, const struct clip_error *err)
{
    struct container *c = data;
    if (status < 0) {
        container_fail(c, status, err);
        return;
    }
    c->has_overlay = true;
    if (container_turned_back(c))
        return;
    if (c->bundle)
        make_bundle(c);
    else
        settle(c);
}

static void prepare_run(uv_work_t *work)
{
    struct container *c = work->data;
    if (mkdir(c->dir, 0711) < 0 && !(errno == EEXIST && c->has_state))
        reply_error(&c->err, -errno, "cannot make %s: %s%s", c->dir, strerror(errno),
                    errno == EEXIST ? "; it is left from something that clipd does not know" : "");
}

static void prepare_done(uv_work_t *work, int status)
{
    (void)status;
    struct container *c = work->data;
    struct clip_error err = c->err;
    if (err.code < 0) {
        container_fail(c, err.code, &err);
        return;
    }
    if (container_turned_back(c))
        return;
    struct clip_overlay_options options = {
        .lower = c->image->mountpoint,
        .dir = c->dir,
        .upper = c->spec.upper,
        /* a runtime with a bundle makes what it mounts on, then the root read-only by itself */
        .read_only = c->spec.read_only && !c->bundle,
    };
    int r = clip_overlay_mount(c->containers->engine, &options, on_overlay, c, &err);
    if (r < 0)
        container_fail(c, r, &err);
}

static void make_index(struct container *c);

/* An index of our own store that is no good is made again, once. */
static bool may_index_again(const struct container *c, int status)
{
    return c->spec.image && !c->retried && !c->cancelled &&
           (status == CLIP_EFORMAT || status == -ENOENT);
}

static void on_image(struct image_wait *wait, int status, const struct clip_error *err)
{
    struct container *c =
        (struct container *)((char *)wait - offsetof(struct container, image_wait));
    if (status < 0 && may_index_again(c, status)) {
        log_say(c->containers->log, CLIP_LOG_WARN, "container %s: %s; indexing again", c->id,
                err->message);
        make_index(c);
        return;
    }
    if (status < 0) {
        container_fail(c, status, err);
        return;
    }
    c->image = wait->image;
    if (!container_turned_back(c))
        uv_queue_work(c->containers->loop, &c->work, prepare_run, prepare_done);
}

/* Takes `path`. */
static void use_index(struct container *c, char *path)
{
    struct clip_error err;
    free(c->index_path);
    c->index_path = path;
    container_set_state(c, CONTAINER_MOUNTING);
    int r =
        path ? images_acquire(c->containers->images, path, &c->spec.fetch, &c->image_wait, on_image)
             : -ENOMEM;
    if (r < 0) {
        reply_error(&err, r, "cannot open the index of %s: %s", c->id, strerror(-r));
        container_fail(c, r, &err);
    }
}

static void on_index(struct index_wait *wait, int status, const struct clip_error *err,
                     const char *path)
{
    struct container *c =
        (struct container *)((char *)wait - offsetof(struct container, index_wait));
    c->began_ns = uv_hrtime();
    if (status < 0)
        container_fail(c, status, err);
    else
        use_index(c, strdup(path));
}

static void make_index(struct container *c)
{
    struct clip_error err;
    c->retried = true;
    container_set_state(c, CONTAINER_INDEXING);
    int r = indexes_make(c->containers->indexes, c->spec.image, &c->spec.fetch, &c->index_wait,
                         on_index, &err);
    if (r < 0)
        container_fail(c, r, &err);
}

void container_start(struct container *c)
{
    c->err = (struct clip_error){0};
    c->cancelled = c->retried = c->remove = c->remove_later = c->lazy = false;
    c->began_ns = uv_hrtime();
    char *found = c->spec.image && !c->spec.pull
                      ? indexes_find(c->containers->indexes, c->spec.image, &c->spec.fetch)
                      : NULL;
    if (c->spec.index)
        use_index(c, strdup(c->spec.index));
    else if (found)
        use_index(c, found);
    else
        make_index(c);
}
