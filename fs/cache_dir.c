/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a directory is:
 * - it is made, opened and locked; what processes left that died half way is swept out.
 * - disk_dir_scan() says what earlier owners left, so that it counts and can be thrown out.
 * Possible failure modes are: another process has the lock: then a private directory is made in
 * it, locked too, and removed at the end, or by the next owner if we die. And what the disk says.
 */
#include "fs/cache_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK    "lock"
#define PRIVATE "private-"

/* ---- names */

static bool is_hex(const char *text, size_t len)
{
    return strspn(text, "0123456789abcdef") >= len;
}

static bool is_layer(const char *name)
{
    return strlen(name) == DISK_NAME_LEN && is_hex(name, 64) && name[64] == '-' &&
           is_hex(name + 65, 32);
}

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Calls `each` for every name in the directory. */
static int for_each_name(int dir_fd, void (*each)(int dir_fd, const char *name, void *data),
                         void *data)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!stream) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    while ((entry = readdir(stream)))
        each(dir_fd, entry->d_name, data);
    closedir(stream);
    return 0;
}

/* ---- locks */

/* The lock's fd, -EWOULDBLOCK if another process holds it, or another failure. */
static int take_lock(int dir_fd)
{
    int fd = openat(dir_fd, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* ---- sweeping */

static void remove_file(int dir_fd, const char *name, void *data)
{
    (void)data;
    if (is_layer(name) || begins_with(name, DISK_PARTIAL) || strcmp(name, LOCK) == 0)
        unlinkat(dir_fd, name, 0);
}

static void remove_private(int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return;
    for_each_name(fd, remove_file, NULL);
    close(fd);
    unlinkat(parent_fd, name, AT_REMOVEDIR);
}

/* A private directory whose lock can be had belongs to nobody any more. */
static void sweep_private(int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int lock_fd = fd < 0 ? fd : take_lock(fd);

    if (fd >= 0)
        close(fd);
    if (lock_fd < 0)
        return;
    remove_private(parent_fd, name);
    close(lock_fd);
}

static void sweep_name(int dir_fd, const char *name, void *data)
{
    (void)data;
    if (begins_with(name, PRIVATE))
        sweep_private(dir_fd, name);
    else if (begins_with(name, DISK_PARTIAL))
        unlinkat(dir_fd, name, 0);
}

/* ---- open and close */

static int make_path(const char *path)
{
    char *copy = strdup(path);

    if (!copy)
        return -ENOMEM;
    for (char *at = copy + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        mkdir(copy, 0755); /* what fails here fails below */
        *at = '/';
    }
    free(copy);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

/* Below a directory that another process owns. */
static int open_private(struct disk_dir *dir)
{
    int lock_fd;

    for (unsigned n = 0;; n++) {
        snprintf(dir->name, sizeof(dir->name), PRIVATE "%u-%u", (unsigned)getpid(), n);
        if (mkdirat(dir->parent_fd, dir->name, 0700) == 0)
            break;
        if (errno != EEXIST || n == 1000)
            return -errno;
    }
    dir->fd = openat(dir->parent_fd, dir->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir->fd < 0)
        return -errno;
    lock_fd = take_lock(dir->fd);
    if (lock_fd < 0) {
        close(dir->fd);
        return lock_fd;
    }
    dir->lock_fd = lock_fd;
    return 0;
}

static int open_locked(struct disk_dir *dir, int fd)
{
    int lock_fd = take_lock(fd);

    if (lock_fd == -EWOULDBLOCK) {
        dir->parent_fd = fd;
        return open_private(dir);
    }
    if (lock_fd < 0)
        return lock_fd;
    dir->fd = fd;
    dir->lock_fd = lock_fd;
    for_each_name(fd, sweep_name, NULL);
    return 0;
}

int disk_dir_open(const char *path, struct disk_dir *out, struct clip_error *err)
{
    struct disk_dir dir = {.fd = -1, .lock_fd = -1, .parent_fd = -1};
    int r = make_path(path);
    int fd;

    if (r < 0)
        return err_sys(err, r, "%s cannot be made", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, -errno, "%s cannot be opened", path);
    r = open_locked(&dir, fd);
    if (r < 0) {
        close(fd);
        return err_sys(err, r, "%s cannot be written to", path);
    }
    *out = dir;
    return 0;
}

void disk_dir_close(struct disk_dir *dir)
{
    if (dir->fd < 0)
        return;
    close(dir->fd);
    if (dir->parent_fd >= 0) {
        remove_private(dir->parent_fd, dir->name);
        close(dir->parent_fd);
    }
    close(dir->lock_fd);
    dir->fd = -1;
}

/* ---- what was left */

struct scan {
    struct disk_left *left;
    size_t n, cap;
    int status;
};

static void scan_name(int dir_fd, const char *name, void *data)
{
    struct scan *scan = data;
    struct stat st;

    if (!is_layer(name) || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (scan->n == scan->cap) {
        size_t cap = scan->cap ? scan->cap * 2 : 64;
        void *more = realloc(scan->left, cap * sizeof(scan->left[0]));
        if (!more) {
            scan->status = -ENOMEM;
            return;
        }
        scan->left = more;
        scan->cap = cap;
    }
    struct disk_left *left = &scan->left[scan->n++];
    strcpy(left->name, name);
    left->size = (uint64_t)st.st_blocks * 512;
    left->used_at = (uint32_t)st.st_mtime;
}

static int compare_left(const void *a, const void *b)
{
    const struct disk_left *x = a, *y = b;

    return x->used_at < y->used_at ? -1 : x->used_at > y->used_at;
}

int disk_dir_scan(const struct disk_dir *dir, struct disk_left **out, size_t *out_n)
{
    struct scan scan = {0};
    int r = for_each_name(dir->fd, scan_name, &scan);

    if (r == 0)
        r = scan.status;
    if (r < 0) {
        free(scan.left);
        return r;
    }
    if (scan.n > 0)
        qsort(scan.left, scan.n, sizeof(scan.left[0]), compare_left);
    *out = scan.left;
    *out_n = scan.n;
    return 0;
}

void disk_dir_remove(const struct disk_dir *dir, const char *name)
{
    unlinkat(dir->fd, name, 0);
}
