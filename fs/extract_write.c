/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of an entry is: its directory is opened from the root downwards, one name at a
 * time; it is made there, exclusively; then come the owner, the rights (a change of owner takes
 * setuid away), the xattrs and, after all that touches it, the times.
 * Possible failure modes are: what the disk says, with the entry's path in the sentence; bytes that
 * do not have the file's digest. Without root's rights owners, devices and what may not be set of
 * xattrs are left out, and counted.
 */
#include "fs/extract_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HOLE_LEN  4096u
#define DEPTH_MAX 4096u

static int fail(struct write_root *root, const struct plan_entry *entry, struct clip_error *err,
                const char *what)
{
    int code = -errno;
    char path[CLIP_ERROR_LEN / 2];

    return err_sys(err, code, "%s cannot be %s",
                   entry ? plan_path(root->plan, entry, path, sizeof(path)) : "the directory",
                   what);
}

static const char *name_of(const struct plan_entry *entry, char out[256])
{
    memcpy(out, entry->name, entry->name_len);
    out[entry->name_len] = '\0';
    return out;
}

/* ---- directories */

static int open_below(int fd, const struct plan_entry *entry)
{
    char name[256];

    return openat(fd, name_of(entry, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The directory with that number; the caller closes. -1 with errno. */
static int open_dir(const struct write_root *root, uint32_t number)
{
    const struct plan_entry *dirs = root->plan->dirs.entries;
    uint32_t *way = malloc(DEPTH_MAX * sizeof(way[0]));
    unsigned n = 0;
    int fd = way ? fcntl(root->fd, F_DUPFD_CLOEXEC, 0) : -1;

    for (; way && number != PLAN_ROOT && n < DEPTH_MAX; number = dirs[number].dir)
        way[n++] = number;
    if (number != PLAN_ROOT && fd >= 0) {
        close(fd);
        errno = ENAMETOOLONG;
        fd = -1;
    }
    while (fd >= 0 && n > 0) {
        int next = open_below(fd, &dirs[way[--n]]);
        int code = errno;
        close(fd);
        errno = code;
        fd = next;
    }
    free(way);
    return fd;
}

static bool is_empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    bool empty = true;

    if (!dir) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    while (empty && (entry = readdir(dir)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return empty;
}

int write_root_open(const char *path, int *out_fd, struct clip_error *err)
{
    int fd;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_sys(err, -errno, "%s cannot be made", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, -errno, "%s cannot be opened", path);
    if (!is_empty(fd)) {
        close(fd);
        return err_set(err, -ENOTEMPTY, "%s is not empty: extract into a new directory", path);
    }
    *out_fd = fd;
    return 0;
}

int write_dir(struct write_root *root, const struct plan_entry *entry, struct clip_error *err)
{
    char name[256];
    int fd = open_dir(root, entry->dir);
    int r = 0;

    if (fd < 0 || mkdirat(fd, name_of(entry, name), 0700) < 0)
        r = fail(root, entry, err, "made");
    if (fd >= 0)
        close(fd);
    return r;
}

/* ---- owner, rights, xattrs, times */

/* Without root's rights some of it is not ours to give. */
static bool may_leave_out(struct write_root *root)
{
    if (root->is_root || (errno != EPERM && errno != EACCES && errno != ENOTSUP))
        return false;
    root->n_left_out++;
    return true;
}

static int set_xattrs(struct write_root *root, const struct plan_entry *entry, uint64_t ino, int fd,
                      const char *proc, struct clip_error *err)
{
    struct clip_xattr xattr;
    char name[256];

    for (uint64_t i = 0; clip_image_xattr(root->image, ino, i, &xattr) == 0; i++) {
        int r;
        if (xattr.name_len >= sizeof(name))
            continue;
        memcpy(name, xattr.name, xattr.name_len);
        name[xattr.name_len] = '\0';
        r = proc ? lsetxattr(proc, name, xattr.value, xattr.value_len, 0)
                 : fsetxattr(fd, name, xattr.value, xattr.value_len, 0);
        if (r < 0 && !may_leave_out(root))
            return fail(root, entry, err, "given its xattrs");
    }
    return 0;
}

static void times_of(const struct clip_stat *st, struct timespec out[2])
{
    out[0] = out[1] = (struct timespec){(time_t)st->mtime_sec, (long)st->mtime_nsec};
}

/* Of an open file or directory; `entry` NULL: the root. */
static int set_facts(struct write_root *root, const struct plan_entry *entry, uint64_t ino, int fd,
                     struct clip_error *err)
{
    struct timespec times[2];
    struct clip_stat st;
    int r;

    clip_image_stat(root->image, ino, &st);
    if (root->is_root && fchown(fd, st.uid, st.gid) < 0)
        return fail(root, entry, err, "given its owner");
    if (fchmod(fd, st.mode & 07777) < 0)
        return fail(root, entry, err, "given its rights");
    r = set_xattrs(root, entry, ino, fd, NULL, err);
    if (r < 0)
        return r;
    times_of(&st, times);
    if (futimens(fd, times) < 0)
        return fail(root, entry, err, "given its times");
    return 0;
}

int write_dir_facts(struct write_root *root, const struct plan_entry *entry, struct clip_error *err)
{
    int parent = open_dir(root, entry->dir);
    int fd = parent < 0 ? -1 : open_below(parent, entry);
    int r = fd < 0 ? fail(root, entry, err, "opened") : set_facts(root, entry, entry->ino, fd, err);

    if (fd >= 0)
        close(fd);
    if (parent >= 0)
        close(parent);
    return r;
}

int write_root_facts(struct write_root *root, struct clip_error *err)
{
    return set_facts(root, NULL, root->plan->root, root->fd, err);
}

/* ---- symlinks, devices, FIFOs, further names */

static int make_symlink(const struct write_root *root, uint64_t ino, int dir, const char *name)
{
    const char *target;
    char *copy;
    size_t len;
    int r;

    clip_image_readlink(root->image, ino, &target, &len);
    copy = strndup(target, len);
    if (!copy)
        return -1;
    r = symlinkat(copy, dir, name);
    free(copy);
    return r;
}

static int make_node(struct write_root *root, const struct clip_stat *st, int dir, const char *name,
                     uint64_t ino, bool *out_left)
{
    int r;

    if (S_ISLNK(st->mode))
        return make_symlink(root, ino, dir, name);
    r = mknodat(dir, name, (st->mode & (uint32_t)S_IFMT) | 0600,
                makedev(st->rdev_major, st->rdev_minor));
    if (r < 0 && may_leave_out(root)) {
        *out_left = true;
        return 0;
    }
    return r;
}

static int set_node_facts(struct write_root *root, const struct plan_entry *entry,
                          const struct clip_stat *st, int dir, const char *name,
                          struct clip_error *err)
{
    struct timespec times[2];
    char proc[320];
    int r;

    if (root->is_root && fchownat(dir, name, st->uid, st->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(root, entry, err, "given its owner");
    if (!S_ISLNK(st->mode) && fchmodat(dir, name, st->mode & 07777, 0) < 0)
        return fail(root, entry, err, "given its rights");
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dir, name);
    r = set_xattrs(root, entry, entry->ino, -1, proc, err);
    if (r < 0)
        return r;
    times_of(st, times);
    if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(root, entry, err, "given its times");
    return 0;
}

int write_node(struct write_root *root, const struct plan_entry *entry, struct clip_error *err)
{
    char name[256];
    struct clip_stat st;
    bool left = false;
    int dir = open_dir(root, entry->dir);
    int r;

    if (dir < 0)
        return fail(root, entry, err, "made");
    clip_image_stat(root->image, entry->ino, &st);
    if (make_node(root, &st, dir, name_of(entry, name), entry->ino, &left) < 0)
        r = fail(root, entry, err, "made");
    else
        r = left ? 0 : set_node_facts(root, entry, &st, dir, name, err);
    close(dir);
    return r;
}

int write_link(struct write_root *root, const struct plan_entry *entry, struct clip_error *err)
{
    const struct plan_entry *first = plan_first(root->plan, entry->ino);
    char name[256], first_name[256];
    int to = open_dir(root, entry->dir);
    int from = open_dir(root, first->dir);
    int r = 0;

    if (to < 0 || from < 0 ||
        linkat(from, name_of(first, first_name), to, name_of(entry, name), 0) < 0)
        r = fail(root, entry, err, "linked");
    /* a device that was left out has no further names either */
    if (r == -ENOENT && !root->is_root &&
        faccessat(from, first_name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        r = 0;
    if (to >= 0)
        close(to);
    if (from >= 0)
        close(from);
    return r;
}

/* ---- files */

int write_file_begin(struct write_root *root, const struct plan_entry *entry,
                     struct write_file *file, struct clip_error *err)
{
    char name[256];
    int dir = open_dir(root, entry->dir);
    int fd = -1;

    if (dir >= 0)
        fd = openat(dir, name_of(entry, name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    0600);
    if (fd < 0) {
        int r = fail(root, entry, err, "made");
        if (dir >= 0)
            close(dir);
        return r;
    }
    close(dir);
    *file = (struct write_file){.fd = fd};
    sha256_init(&file->sha);
    return 0;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static int write_bytes(struct write_file *file, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = pwrite(file->fd, bytes, len, (off_t)file->off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
        file->off += (uint64_t)n;
    }
    return 0;
}

/* Blocks of zeros, and parts of them where the piece begins and ends, are passed over; the rest is
 * written in as few calls as possible. */
static int write_sparse(struct write_file *file, const uint8_t *bytes, size_t len)
{
    size_t from = 0, at = 0;

    while (at < len) {
        size_t n = HOLE_LEN - (file->off + at - from) % HOLE_LEN;
        if (n > len - at)
            n = len - at;
        if (is_zero(bytes + at, n)) {
            if (write_bytes(file, bytes + from, at - from) < 0)
                return -1;
            file->off += n;
            from = at + n;
        }
        at += n;
    }
    return write_bytes(file, bytes + from, len - from);
}

int write_file_piece(struct write_root *root, const struct plan_entry *entry,
                     struct write_file *file, const struct iovec *pieces, unsigned n,
                     struct clip_error *err)
{
    for (unsigned i = 0; i < n; i++) {
        sha256_update(&file->sha, pieces[i].iov_base, pieces[i].iov_len);
        if (write_sparse(file, pieces[i].iov_base, pieces[i].iov_len) < 0)
            return fail(root, entry, err, "written");
    }
    return 0;
}

static int check_content(struct write_root *root, const struct plan_entry *entry,
                         struct write_file *file, struct clip_error *err)
{
    char path[CLIP_ERROR_LEN / 2];
    struct digest want, have;

    clip_image_content_digest(root->image, entry->ino, want.bytes);
    sha256_final(&file->sha, &have);
    if (digest_equal(&want, &have))
        return 0;
    return err_set(err, CLIP_EDIGEST, "%s does not have the content that the index says",
                   plan_path(root->plan, entry, path, sizeof(path)));
}

int write_file_end(struct write_root *root, const struct plan_entry *entry, struct write_file *file,
                   struct clip_error *err)
{
    int r = check_content(root, entry, file, err);

    if (r < 0)
        return r;
    if (ftruncate(file->fd, (off_t)file->off) < 0)
        return fail(root, entry, err, "written");
    r = set_facts(root, entry, entry->ino, file->fd, err);
    if (r < 0)
        return r;
    if (close(file->fd) < 0)
        r = fail(root, entry, err, "written");
    file->fd = -1;
    return r;
}

void write_file_drop(struct write_root *root, const struct plan_entry *entry,
                     struct write_file *file)
{
    char name[256];
    int dir;

    if (file->fd < 0)
        return;
    close(file->fd);
    file->fd = -1;
    dir = open_dir(root, entry->dir);
    if (dir < 0)
        return;
    unlinkat(dir, name_of(entry, name), 0);
    close(dir);
}
