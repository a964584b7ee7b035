/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of an image is:
 * - images_acquire() asks what file the index is; on_stat() joins an image that has the same, or
 *   makes one: open_run() maps it and makes its mountpoint on the pool, clip_mount_open() mounts;
 * - on_mounted() answers all that wait; each holds it once.
 * - images_release() by the last holder closes the mount, on_closed() takes the directory away.
 * Possible failure modes are: no such file, no index, no FUSE (all that wait are told), or the
 * mount ends by itself: then the image is DEAD, its holders are told, and nobody joins it; whoever
 * comes next makes a new one.
 * On close: nothing of its own; when all are released the list becomes empty. */
#include "images.h"

#include "reply.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void images_init(struct images *images, uv_loop_t *loop, struct clip_engine *engine)
{
    images->loop = loop;
    images->engine = engine;
}

struct clip_reader_options images_reader(const struct image *image)
{
    return (struct clip_reader_options){
        .source = image->fetch.source,
        .cache_dir = image->images->cache_dir,
        .cache_size = image->images->cache_size,
        .net = fetch_net(&image->fetch),
    };
}

void images_counters(const struct image *image, struct clip_counters *out)
{
    *out = (struct clip_counters){0};
    if (image->mount && (image->state == IMAGE_READY || image->state == IMAGE_DEAD))
        clip_mount_counters(image->mount, out);
}

json_t *images_profile_json(const struct image *image)
{
    const struct clip_profile_span *spans = NULL;
    size_t n = image->mount ? clip_mount_profile(image->mount, &spans) : 0;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("[I, I]", (json_int_t)spans[i].layer, (json_int_t)spans[i].span));
    return json_pack("{s:s, s:s, s:I, s:I, s:o}", "index", image->path, "manifest_digest",
                     image->info.manifest_digest, "span_size", (json_int_t)image->info.span_size,
                     "n_spans", (json_int_t)image->info.n_spans, "spans", list);
}

json_t *images_counters_json(const struct image *image)
{
    struct clip_counters c;
    images_counters(image, &c);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I}", "reads",
                     (json_int_t)c.reads, "bytes_served", (json_int_t)c.bytes_served, "hits",
                     (json_int_t)c.hits, "misses", (json_int_t)c.misses, "spans_fetched",
                     (json_int_t)c.spans_fetched, "bytes_fetched", (json_int_t)c.bytes_fetched,
                     "range_requests", (json_int_t)c.range_requests, "errors", (json_int_t)c.errors,
                     "stall_seconds", (double)c.stall_ns / 1e9, "inflight", (json_int_t)c.inflight);
}

/* ---- the end */

static void free_image(struct image *image)
{
    struct image **at = &image->images->first;
    while (*at != image)
        at = &(*at)->next;
    *at = image->next;
    image->images->n_images--;
    clip_image_unref(image->map);
    fetch_fini(&image->fetch);
    free(image->path);
    free(image->mountpoint);
    free(image);
}

static void remove_run(uv_work_t *work)
{
    struct image *image = work->data;
    rmdir(image->mountpoint);
}

static void remove_done(uv_work_t *work, int status)
{
    (void)status;
    free_image(work->data);
}

static void remove_image(struct image *image)
{
    image->state = IMAGE_CLOSING;
    uv_queue_work(image->images->loop, &image->work, remove_run, remove_done);
}

static void on_closed(void *data)
{
    struct image *image = data;
    image->mount = NULL;
    remove_image(image);
}

static void close_image(struct image *image)
{
    image->state = IMAGE_CLOSING;
    clip_mount_close(image->mount, on_closed, image);
}

void images_release(struct image *image)
{
    assert(image->n_users > 0);
    if (--image->n_users == 0)
        close_image(image);
}

static void on_unmounted(void *data, int status, const struct clip_error *err)
{
    (void)status, (void)err;
    struct image *image = data;
    if (image->state != IMAGE_READY)
        return;
    image->state = IMAGE_DEAD;
    image->images->on_dead(image->images->data, image);
}

/* ---- those who wait */

static void free_wait(struct image_wait *wait)
{
    fetch_fini(&wait->fetch);
    free(wait->path);
    wait->path = NULL;
}

static void answer(struct image_wait *wait, struct image *image, int status,
                   const struct clip_error *err)
{
    free_wait(wait);
    wait->image = image;
    wait->done(wait, status, err);
}

static void answer_all(struct image *image, int status, const struct clip_error *err)
{
    struct image_wait *wait = image->waiting, *next;
    image->waiting = NULL;
    if (status < 0)
        image->n_users = 0;
    for (; wait; wait = next) {
        next = wait->next;
        answer(wait, status < 0 ? NULL : image, status, err);
    }
}

static void fail_image(struct image *image, int status, const struct clip_error *err)
{
    image->state = IMAGE_CLOSING; /* nobody joins any more */
    answer_all(image, status, err);
    remove_image(image);
}

static void on_mounted(void *data, int status, const struct clip_error *err)
{
    struct image *image = data;
    if (status < 0) {
        image->mount = NULL;
        fail_image(image, status, err);
        return;
    }
    image->state = IMAGE_READY;
    image->mount_ns = uv_hrtime() - image->began_ns;
    answer_all(image, 0, NULL);
}

/* ---- opening */

static void open_run(uv_work_t *work)
{
    struct image *image = work->data;
    int r = clip_image_open(image->path, &image->map, &image->err);
    if (r < 0)
        image->err.code = r;
    else if (mkdir(image->mountpoint, 0700) < 0)
        reply_error(&image->err, -errno, "cannot make the mountpoint %s: %s", image->mountpoint,
                    strerror(errno));
}

static int mount_image(struct image *image)
{
    struct clip_mount_options options = {
        .image = image->map,
        .mountpoint = image->mountpoint,
        .reader = images_reader(image),
        .on_unmounted = on_unmounted,
        .data = image,
    };
    options.reader.prefetch = !image->images->no_prefetch;
    clip_image_info(image->map, &image->info);
    return clip_mount_open(image->images->engine, &options, on_mounted, image, &image->mount,
                           &image->err);
}

static void open_done(uv_work_t *work, int status)
{
    (void)status;
    struct image *image = work->data;
    int r = image->err.code;
    if (r == 0)
        r = mount_image(image);
    if (r < 0) {
        image->mount = NULL;
        fail_image(image, r, &image->err);
    }
}

/* The mountpoint's name tells people what it is; the number makes it unlike any before. */
static int name_mountpoint(struct image *image, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t len = strcspn(name, ".");
    uint64_t number = image->images->n_made++;
    image->path = strdup(path);
    int r = asprintf(&image->mountpoint, "%s/.images/%" PRIu64 "-%.*s", image->images->run, number,
                     (int)(len > 32 ? 32 : len), name);
    if (r < 0)
        image->mountpoint = NULL;
    return r < 0 || !image->path ? -ENOMEM : 0;
}

static struct image *new_image(struct images *images, struct image_wait *wait)
{
    struct image *image = calloc(1, sizeof(*image));
    if (!image)
        return NULL;
    image->images = images;
    image->work.data = image;
    if (name_mountpoint(image, wait->path) < 0) {
        free(image->path);
        free(image->mountpoint);
        free(image);
        return NULL;
    }
    image->fetch = wait->fetch;
    wait->fetch = (struct fetch){0};
    image->began_ns = uv_hrtime();
    image->next = images->first;
    images->first = image;
    images->n_images++;
    return image;
}

static bool same_file(const struct stat *a, const uv_stat_t *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && (uint64_t)a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void set_key(struct image *image, const uv_stat_t *st)
{
    image->key.st_dev = st->st_dev;
    image->key.st_ino = st->st_ino;
    image->key.st_size = (off_t)st->st_size;
    image->key.st_mtim.tv_sec = st->st_mtim.tv_sec;
    image->key.st_mtim.tv_nsec = st->st_mtim.tv_nsec;
}

static struct image *find_image(const struct images *images, const uv_stat_t *st,
                                const struct fetch *fetch)
{
    for (struct image *image = images->first; image; image = image->next) {
        if (image->state <= IMAGE_READY && same_file(&image->key, st) &&
            fetch_same(&image->fetch, fetch))
            return image;
    }
    return NULL;
}

static void join(struct image *image, struct image_wait *wait)
{
    image->n_users++;
    if (image->state == IMAGE_READY) {
        answer(wait, image, 0, NULL);
        return;
    }
    wait->next = image->waiting;
    image->waiting = wait;
}

static void on_stat(uv_fs_t *req)
{
    struct image_wait *wait = req->data;
    struct images *images = wait->images;
    struct clip_error err = {0};
    struct image *image = NULL;
    uv_stat_t st = req->statbuf;
    int r = (int)req->result;
    uv_fs_req_cleanup(req);
    if (r < 0)
        reply_error(&err, r, "cannot open the index %s: %s", wait->path, uv_strerror(r));
    else
        image = find_image(images, &st, &wait->fetch);
    bool is_new = r == 0 && !image;
    if (is_new)
        image = new_image(images, wait);
    if (!image) {
        answer(wait, NULL, r < 0 ? r : reply_error(&err, -ENOMEM, "out of memory"), &err);
        return;
    }
    if (is_new) {
        set_key(image, &st);
        uv_queue_work(images->loop, &image->work, open_run, open_done);
    }
    join(image, wait);
}

int images_acquire(struct images *images, const char *path, const struct fetch *fetch,
                   struct image_wait *wait, image_cb done)
{
    *wait = (struct image_wait){.images = images, .done = done, .path = strdup(path)};
    if (!wait->path || fetch_copy(fetch, &wait->fetch) < 0) {
        free_wait(wait);
        return -ENOMEM;
    }
    wait->stat.data = wait;
    int r = uv_fs_stat(images->loop, &wait->stat, path, on_stat);
    if (r < 0)
        free_wait(wait);
    return r;
}
