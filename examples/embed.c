/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host with a loop of its own that mounts an image, reads a file through the mount, and ends:
 *
 *     embed FILE.clip DIR PATH
 *
 * writes PATH of the image to stdout. The file is opened and read by uv's pool, never by the loop's
 * thread: the kernel answers a read by asking this very loop.
 */
#include <clip.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

struct host {
    uv_loop_t loop;
    uv_fs_t fs;
    uv_file file;
    struct clip_engine *engine;
    struct clip_mount *mount;
    char path[4096];
    char bytes[64 * 1024];
    int code;
};

static void read_more(struct host *host);

static void on_engine_closed(void *data)
{
    struct host *host = data;
    host->engine = NULL;
}

/* The engine's close takes the mount with it, and then the loop has nothing left to do. */
static void finish(struct host *host, const char *what, const char *why)
{
    if (why) {
        fprintf(stderr, "embed: %s: %s\n", what, why);
        host->code = 1;
    }
    clip_engine_close(host->engine, on_engine_closed, host);
}

static void on_file_closed(uv_fs_t *req)
{
    struct host *host = req->data;
    uv_fs_req_cleanup(req);
    finish(host, NULL, NULL);
}

static void on_read(uv_fs_t *req)
{
    struct host *host = req->data;
    ssize_t n = req->result;
    uv_fs_req_cleanup(req);
    if (n > 0) {
        fwrite(host->bytes, 1, (size_t)n, stdout);
        read_more(host);
        return;
    }
    if (n < 0) {
        fprintf(stderr, "embed: %s: %s\n", host->path, uv_strerror((int)n));
        host->code = 1;
    }
    uv_fs_close(&host->loop, &host->fs, host->file, on_file_closed);
}

static void read_more(struct host *host)
{
    uv_buf_t buf = uv_buf_init(host->bytes, sizeof(host->bytes));
    uv_fs_read(&host->loop, &host->fs, host->file, &buf, 1, -1, on_read);
}

static void on_file_open(uv_fs_t *req)
{
    struct host *host = req->data;
    ssize_t fd = req->result;
    uv_fs_req_cleanup(req);
    if (fd < 0) {
        finish(host, host->path, uv_strerror((int)fd));
        return;
    }
    host->file = (uv_file)fd;
    read_more(host);
}

static void on_usable(void *data, int status, const struct clip_error *err)
{
    struct host *host = data;
    if (status < 0) {
        host->mount = NULL;
        finish(host, "mount", err->message);
        return;
    }
    uv_fs_open(&host->loop, &host->fs, host->path, O_RDONLY, 0, on_file_open);
}

static int start(struct host *host, const char *index, const char *dir)
{
    struct clip_error err;
    struct clip_image *image;
    if (clip_image_open(index, &image, &err) < 0) {
        fprintf(stderr, "embed: %s\n", err.message);
        return 1;
    }
    struct clip_mount_options options = {.image = image, .mountpoint = dir};
    int r = clip_engine_open(&host->loop, NULL, &host->engine, &err);
    if (r == 0)
        r = clip_mount_open(host->engine, &options, on_usable, host, &host->mount, &err);
    if (r < 0)
        fprintf(stderr, "embed: %s\n", err.message);
    if (r < 0 && host->engine)
        finish(host, NULL, NULL);
    clip_image_unref(image);
    return r < 0;
}

int main(int argc, char **argv)
{
    static struct host host;
    if (argc != 4) {
        fprintf(stderr, "usage: embed FILE.clip DIR PATH\n");
        return 2;
    }
    snprintf(host.path, sizeof(host.path), "%s/%s", argv[2], argv[3]);
    uv_loop_init(&host.loop);
    host.fs.data = &host;
    int code = start(&host, argv[1], argv[2]);
    uv_run(&host.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&host.loop) != 0) {
        fprintf(stderr, "embed: the loop is still busy\n");
        return 1;
    }
    return code ? code : host.code;
}
