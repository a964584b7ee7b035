/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The images that are mounted: each index is mapped and mounted once, however many containers
 * stand on it, and taken away with the last of them. The same index is the same file (device,
 * inode, size, time) fetched in the same way.
 */
#ifndef CLIP_CLI_IMAGES_H
#define CLIP_CLI_IMAGES_H

#include "fetch.h"

#include <clip.h>
#include <sys/stat.h>
#include <uv.h>

struct image;
struct image_wait;

/* 0 and wait->image is held, until images_release(); or why not. */
typedef void (*image_cb)(struct image_wait *wait, int status, const struct clip_error *err);
/* The kernel let go of a mount that containers stand on. It stays held by them. */
typedef void (*image_dead_cb)(void *data, struct image *image);
typedef void (*images_closed_cb)(void *data);

/* Embedded in whoever waits. */
struct image_wait {
    /* read-only */
    struct image *image;
    /* private */
    struct image_wait *next;
    image_cb done;
    struct images *images;
    char *path;
    struct fetch fetch;
    uv_fs_t stat;
};

enum image_state { IMAGE_OPENING, IMAGE_READY, IMAGE_DEAD, IMAGE_CLOSING };

struct image {
    /* read-only */
    struct clip_image *map;
    struct clip_image_info info;
    enum image_state state;
    char *path, *mountpoint;
    struct fetch fetch;
    unsigned n_users; /* waiting ones too */
    uint64_t mount_ns;
    /* private */
    struct images *images;
    struct image *next;
    struct stat key;
    struct clip_mount *mount;
    struct image_wait *waiting;
    uv_work_t work;
    uint64_t began_ns;
    struct clip_error err;
};

struct images {
    /* public */
    const char *run, *cache_dir;
    uint64_t cache_size;
    bool no_prefetch;
    image_dead_cb on_dead;
    void *data;
    /* read-only */
    struct image *first;
    unsigned n_images;
    /* private */
    uv_loop_t *loop;
    struct clip_engine *engine;
    uint64_t n_made; /* names mountpoints */
};

/* The public members are set, `run` has a directory .images. */
void images_init(struct images *images, uv_loop_t *loop, struct clip_engine *engine);

/* Maps and mounts the index at `path`, or joins those that do. -ENOMEM, and `done` does not fire.
 */
int images_acquire(struct images *images, const char *path, const struct fetch *fetch,
                   struct image_wait *wait, image_cb done);
void images_release(struct image *image);

/* How a reader of this image reads: the options of its mount. */
struct clip_reader_options images_reader(const struct image *image);
void images_counters(const struct image *image, struct clip_counters *out);
/* Which spans were read of it, and all that tells of which index they are. NULL: no memory. */
json_t *images_profile_json(const struct image *image);
json_t *images_counters_json(const struct image *image);

#endif
