/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory keeps its fd, so that it is the same directory whatever happens to its name. Files
 * are opened without waiting and must be regular ones: a FIFO in a hostile layout would hold the
 * job for ever.
 * Possible failure modes are: errors of the file system; a file that is too big, or that ends
 * before the size it had when it was opened.
 */
#include "net/files.h"

#include "engine/queue.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct files_dir {
    struct files files;
    int fd;
};

static int dir_find(const struct files *files, const char *name, struct file_part *out,
                    struct clip_error *err)
{
    const struct files_dir *dir = container_of(files, struct files_dir, files);
    struct stat st;
    int fd;

    fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return -ENOENT;
    if (fd < 0)
        return err_sys(err, -errno, "%s/%s", files->path, name);
    if (fstat(fd, &st) < 0) {
        int r = err_sys(err, -errno, "%s/%s", files->path, name);
        close(fd);
        return r;
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(err, CLIP_EFORMAT, "%s/%s is not a regular file", files->path, name);
    }
    *out = (struct file_part){.fd = fd, .owned = true, .size = (uint64_t)st.st_size};
    return 0;
}

static void dir_free(struct files *files)
{
    struct files_dir *dir = container_of(files, struct files_dir, files);

    close(dir->fd);
    free(files->path);
    free(dir);
}

static const struct files_ops dir_ops = {.find = dir_find, .free = dir_free};

int files_open_dir(const char *path, struct files **out, struct clip_error *err)
{
    struct files_dir *dir;

    dir = calloc(1, sizeof(*dir));
    if (!dir || !(dir->files.path = strdup(path))) {
        free(dir);
        return err_set(err, -ENOMEM, "out of memory for %s", path);
    }
    dir->files.ops = &dir_ops;
    dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->fd < 0) {
        int r = err_sys(err, -errno, "%s", path);
        free(dir->files.path);
        free(dir);
        return r;
    }
    *out = &dir->files;
    return 0;
}

void files_free(struct files *files)
{
    if (files)
        files->ops->free(files);
}

int files_find(const struct files *files, const char *name, struct file_part *out,
               struct clip_error *err)
{
    int r;

    r = files->ops->find(files, name, out, err);
    if (r == -ENOENT)
        return err_set(err, -ENOENT, "%s has no file %s", files->path, name);
    return r;
}

bool files_has(const struct files *files, const char *name)
{
    struct file_part part;

    if (files->ops->find(files, name, &part, NULL) < 0)
        return false;
    file_part_close(&part);
    return true;
}

int files_read(const struct files *files, const char *name, size_t max, void **out, size_t *out_len,
               struct clip_error *err)
{
    struct file_part part;
    void *bytes;
    int r;

    r = files_find(files, name, &part, err);
    if (r < 0)
        return r;
    if (part.size > max) {
        file_part_close(&part);
        return err_set(err, CLIP_EFORMAT, "%s/%s has %" PRIu64 " bytes; %zu are allowed",
                       files->path, name, part.size, max);
    }
    bytes = malloc(part.size ? part.size : 1);
    r = bytes ? file_part_read(&part, 0, bytes, part.size, err)
              : err_set(err, -ENOMEM, "out of memory for %s/%s", files->path, name);
    file_part_close(&part);
    if (r < 0) {
        free(bytes);
        return err_prefix(err, "%s/%s", files->path, name);
    }
    *out = bytes;
    *out_len = part.size;
    return 0;
}

int file_part_read(const struct file_part *part, uint64_t off, void *buf, size_t len,
                   struct clip_error *err)
{
    size_t done = 0;

    if (off > part->size || len > part->size - off)
        return err_set(err, -EINVAL, "%zu bytes from %" PRIu64 " of %" PRIu64, len, off,
                       part->size);
    while (done < len) {
        ssize_t n =
            pread(part->fd, (char *)buf + done, len - done, (off_t)(part->off + off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, -errno, "reading");
        if (n == 0)
            return err_set(err, -EIO, "the file was cut short while it was read");
        done += (size_t)n;
    }
    return 0;
}

void file_part_close(struct file_part *part)
{
    if (part->owned)
        close(part->fd);
    part->owned = false;
    part->fd = -1;
}
