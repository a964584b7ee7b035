/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCI runtime bundle: config.json from the image's own config and what the client changes of it.
 * Users are looked up in the image's /etc/passwd and /etc/group as they lie in the image, and
 * nothing there leads out of it.
 *
 * `process` is an object, all members optional: args, env, mounts ([{source, destination,
 * read_only}]) are lists; cwd, user, hostname strings; terminal a boolean.
 */
#ifndef CLIP_CLI_BUNDLE_H
#define CLIP_CLI_BUNDLE_H

#include <clip.h>
#include <jansson.h>
#include <uv.h>

struct bundle_request;
typedef void (*bundle_cb)(struct bundle_request *request, int status, const struct clip_error *err);

/* Embedded in whoever waits. */
struct bundle_request {
    /* private */
    uv_loop_t *loop;
    struct clip_image *image;
    struct clip_reader *reader;
    json_t *process;
    char *dir, *root, *id;
    bool read_only;
    bundle_cb done;
    char *passwd, *group; /* the files; NULL: none */
    char *reading;
    size_t reading_len;
    unsigned step;
    char *text;
    uv_work_t work;
    int status;
    struct clip_error err;
};

struct bundle_options {
    struct clip_image *image;
    struct clip_reader_options reader;
    json_t *process; /* or NULL */
    const char *id, *root, *dir;
    bool read_only;
};

/* -EINVAL with a sentence: a process that no bundle can be made for. */
int bundle_check(json_t *process, struct clip_error *err);

/* Writes DIR/config.json; makes DIR. 0, and `done` fires once; or why not. */
int bundle_start(struct bundle_request *request, uv_loop_t *loop, struct clip_engine *engine,
                 const struct bundle_options *options, bundle_cb done, struct clip_error *err);

#endif
