/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a bundle is:
 * - bundle_start() parses the image's config; if it names a user, read_next() reads /etc/passwd and
 *   /etc/group with a reader of its own, whose spans the mount finds in the cache later;
 * - close_reader(), then compose() makes config.json, write_run() writes it on the pool.
 * Possible failure modes are: the image's config is no JSON, a file is larger than 1 MiB or cannot
 * be read, the user is not in it, the directory cannot be written. A file that is not there, or is
 * no file, is empty. */
#include "bundle.h"

#include "bundle_config.h"
#include "reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1024 * 1024)

static const char *const files[] = {"/etc/passwd", "/etc/group"};

static void read_next(struct bundle_request *request);

int bundle_check(json_t *process, struct clip_error *err)
{
    return process ? bundle_config_check(process, err) : 0;
}

static void free_request(struct bundle_request *request)
{
    clip_image_unref(request->image);
    json_decref(request->process);
    free(request->dir);
    free(request->root);
    free(request->id);
    free(request->passwd);
    free(request->group);
    free(request->reading);
    free(request->text);
}

static void finish(struct bundle_request *request)
{
    free_request(request);
    request->done(request, request->status, &request->err);
}

/* ---- writing */

static int write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    int r = fputs(text, file) < 0 ? -errno : 0;
    return fclose(file) < 0 && r == 0 ? -errno : r;
}

static void write_run(uv_work_t *work)
{
    struct bundle_request *request = work->data;
    char *path = NULL, *new = NULL;
    int r = request->status;
    if (r < 0) /* there is nothing to write */
        return;
    if (mkdir(request->dir, 0700) < 0 && errno != EEXIST)
        r = -errno;
    if (r == 0 && (asprintf(&path, "%s/config.json", request->dir) < 0 ||
                   asprintf(&new, "%s/.config.json.new", request->dir) < 0))
        r = -ENOMEM;
    if (r == 0)
        r = write_text(new, request->text);
    if (r == 0 && rename(new, path) < 0)
        r = -errno;
    free(path);
    free(new);
    if (r < 0)
        request->status = reply_error(&request->err, r, "cannot write %s/config.json: %s",
                                      request->dir, strerror(-r));
}

static void write_done(uv_work_t *work, int status)
{
    (void)status;
    finish(work->data);
}

static json_t *parse_config(const struct clip_image *image)
{
    struct clip_image_info info;
    clip_image_info(image, &info);
    return json_loadb(info.config, info.config_len, 0, NULL);
}

static int compose(struct bundle_request *request)
{
    struct account account;
    json_t *image = parse_config(request->image);
    const char *user = bundle_config_user(image, request->process);
    struct bundle_config config = {
        .image = image,
        .process = request->process,
        .account = &account,
        .id = request->id,
        .root = request->root,
        .read_only = request->read_only,
    };
    int r = accounts_find(user, request->passwd, request->group, &account, &request->err);
    json_t *object = r == 0 ? bundle_config_make(&config) : NULL;
    request->text = object ? json_dumps(object, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(object);
    json_decref(image);
    if (r == 0 && !request->text)
        r = reply_error(&request->err, -ENOMEM, "out of memory");
    return r;
}

/* Over the pool also when there is nothing to write: the caller hears of it from the loop. */
static void write_bundle(struct bundle_request *request)
{
    if (request->status == 0)
        request->status = compose(request);
    uv_queue_work(request->loop, &request->work, write_run, write_done);
}

/* ---- reading */

static void on_reader_closed(void *data)
{
    write_bundle(data);
}

static void stop_reading(struct bundle_request *request)
{
    clip_reader_close(request->reader, on_reader_closed, request);
}

static void keep_file(struct bundle_request *request)
{
    request->reading[request->reading_len] = '\0';
    *(request->step == 0 ? &request->passwd : &request->group) = request->reading;
    request->reading = NULL;
    request->step++;
}

static void on_read(void *data, int status, const struct clip_error *err)
{
    struct bundle_request *request = data;
    if (status < 0) {
        request->status = reply_error(&request->err, status, "cannot read the image's %s: %s",
                                      files[request->step], err ? err->message : strerror(-status));
        stop_reading(request);
        return;
    }
    request->reading_len = (size_t)status;
    keep_file(request);
    read_next(request);
}

/* 1: a read is on its way; 0: there is nothing to read. */
static int read_file(struct bundle_request *request, const char *path)
{
    struct clip_stat st;
    uint64_t ino;
    int r = clip_image_lookup(request->image, path, true, &ino);
    if (r < 0 || clip_image_stat(request->image, ino, &st) < 0 || !S_ISREG(st.mode) || st.size == 0)
        return 0;
    if (st.size > FILE_MAX)
        return reply_error(&request->err, -EFBIG, "the image's %s is larger than 1 MiB", path);
    request->reading = malloc(st.size + 1);
    if (!request->reading)
        return reply_error(&request->err, -ENOMEM, "out of memory");
    r = clip_reader_read(request->reader, ino, 0, request->reading, st.size, on_read, request);
    return r < 0
               ? reply_error(&request->err, r, "cannot read the image's %s: %s", path, strerror(-r))
               : 1;
}

static void read_next(struct bundle_request *request)
{
    int r = 0;
    while (request->step < 2 && (r = read_file(request, files[request->step])) == 0)
        request->step++;
    if (r < 0)
        request->status = r;
    if (r <= 0)
        stop_reading(request);
}

/* ---- start */

static int copy_options(struct bundle_request *request, const struct bundle_options *options)
{
    request->image = clip_image_ref(options->image);
    request->process = json_incref(options->process);
    request->read_only = options->read_only;
    request->dir = strdup(options->dir);
    request->root = strdup(options->root);
    request->id = strdup(options->id);
    return request->dir && request->root && request->id ? 0 : -ENOMEM;
}

/* 0 needs no files: it is root in every image. */
static bool needs_files(const struct bundle_request *request)
{
    json_t *image = parse_config(request->image);
    const char *user = bundle_config_user(image, request->process);
    bool needs = user && strcmp(user, "0") != 0;
    json_decref(image);
    return needs;
}

int bundle_start(struct bundle_request *request, uv_loop_t *loop, struct clip_engine *engine,
                 const struct bundle_options *options, bundle_cb done, struct clip_error *err)
{
    *request = (struct bundle_request){.loop = loop, .done = done};
    request->work.data = request;
    int r = copy_options(request, options);
    bool reads = r == 0 && needs_files(request);
    if (reads)
        r = clip_reader_open(engine, options->image, &options->reader, &request->reader, err);
    else if (r < 0)
        reply_error(err, r, "out of memory");
    if (r < 0) {
        free_request(request);
        return r;
    }
    if (reads)
        read_next(request);
    else
        write_bundle(request);
    return 0;
}
