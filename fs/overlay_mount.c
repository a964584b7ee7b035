/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path is:
 * - dir and its parts are made; a new upper gets owner, mode and time of the image's root, because
 *   they are what the container sees as its own root's.
 * - one mount(2). Read-only, the second layer that overlayfs insists on is the mountpoint itself,
 *   empty but for the directories that a runtime mounts on.
 * Possible failure modes are: no permission, an upper on a file system that overlayfs cannot use, a
 * path that does not fit in a page of options.
 */
#include "fs/mounts.h"
#include "fs/overlay.h"
#include "fs/remove.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPTIONS_MAX 4096u /* a page, says mount(2) */

struct parts {
    char rootfs[PATH_MAX], upper[PATH_MAX], work[PATH_MAX];
    bool made_dir, made_rootfs, made_upper, made_work;
};

static int join(char out[PATH_MAX], const char *dir, const char *name)
{
    return snprintf(out, PATH_MAX, "%s%s", dir, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int name_parts(struct parts *parts, const char *dir, const char *upper)
{
    int r = join(parts->rootfs, dir, "/rootfs");

    if (r == 0)
        r = upper ? join(parts->upper, upper, "") : join(parts->upper, dir, "/upper");
    if (r == 0)
        r = upper ? join(parts->work, upper, ".work") : join(parts->work, dir, "/work");
    return r;
}

/* ------------------------------------------------------------------- options */

struct options {
    char text[OPTIONS_MAX];
    size_t len;
};

static void add_text(struct options *options, const char *text)
{
    size_t len = strlen(text);

    if (options->len + len < sizeof(options->text))
        memcpy(options->text + options->len, text, len);
    options->len += len;
}

/* Colons divide layers, commas options; a backslash takes their meaning away. */
static void add_path(struct options *options, const char *path)
{
    char text[3] = "";

    for (; *path; path++) {
        bool special = strchr(":,\\", *path);
        text[0] = special ? '\\' : *path;
        text[1] = special ? *path : '\0';
        add_text(options, text);
    }
}

static int write_options(const struct overlay *overlay, const struct parts *parts,
                         struct options *out)
{
    out->len = 0;
    add_text(out, "lowerdir=");
    add_path(out, overlay->lower);
    if (overlay->read_only) {
        add_text(out, ":");
        add_path(out, parts->rootfs);
    } else {
        add_text(out, ",upperdir=");
        add_path(out, parts->upper);
        add_text(out, ",workdir=");
        add_path(out, parts->work);
    }
    if (out->len >= sizeof(out->text))
        return -ENAMETOOLONG;
    out->text[out->len] = '\0';
    return 0;
}

/* --------------------------------------------------------------------- making */

/* What an index leaves out and a runtime mounts on: in a root that cannot be written to it has to
 * be there, so the mountpoint, which is the lowest layer then, has it. */
static const char *const runtime_dirs[] = {"/dev", "/proc", "/sys"};

#define N_RUNTIME_DIRS (sizeof(runtime_dirs) / sizeof(runtime_dirs[0]))

static int make_runtime_dirs(const struct parts *parts, struct clip_error *err)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < N_RUNTIME_DIRS; i++) {
        if (join(path, parts->rootfs, runtime_dirs[i]) < 0)
            return err_sys(err, -ENAMETOOLONG, "cannot make directories in %s", parts->rootfs);
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return err_sys(err, -errno, "cannot make the directory %s", path);
    }
    return 0;
}

static void remove_runtime_dirs(const struct parts *parts)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < N_RUNTIME_DIRS; i++) {
        if (join(path, parts->rootfs, runtime_dirs[i]) == 0)
            rmdir(path);
    }
}

static int make(const char *path, bool *made, struct clip_error *err)
{
    if (mkdir(path, 0755) == 0) {
        *made = true;
        return 0;
    }
    return errno == EEXIST ? 0 : err_sys(err, -errno, "cannot make the directory %s", path);
}

static int look_like(const char *path, const char *lower, struct clip_error *err)
{
    struct stat st;

    if (stat(lower, &st) < 0)
        return err_sys(err, -errno, "cannot look at the image at %s", lower);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (lchown(path, st.st_uid, st.st_gid) < 0 || chmod(path, st.st_mode & 07777) < 0 ||
        utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(err, -errno, "cannot give %s the owner and mode of the image's root", path);
    return 0;
}

static int make_parts(const struct overlay *overlay, struct parts *parts, struct clip_error *err)
{
    int r = make(overlay->dir, &parts->made_dir, err);

    if (r == 0)
        r = make(parts->rootfs, &parts->made_rootfs, err);
    if (r == 0 && overlay->read_only)
        return make_runtime_dirs(parts, err);
    if (r < 0)
        return r;
    r = make(parts->upper, &parts->made_upper, err);
    if (r == 0 && parts->made_upper)
        r = look_like(parts->upper, overlay->lower, err);
    if (r == 0)
        r = make(parts->work, &parts->made_work, err);
    return r;
}

static void unmake_parts(const struct overlay *overlay, const struct parts *parts)
{
    if (parts->made_work)
        remove_tree(parts->work, NULL); /* overlayfs may have made its own directory in it */
    if (parts->made_upper)
        rmdir(parts->upper);
    if (parts->made_rootfs) {
        remove_runtime_dirs(parts);
        rmdir(parts->rootfs);
    }
    if (parts->made_dir)
        rmdir(overlay->dir);
}

static int mount_parts(const struct overlay *overlay, const struct parts *parts,
                       struct clip_error *err)
{
    unsigned long flags = overlay->read_only ? MS_RDONLY : 0;
    struct options options;
    int r = write_options(overlay, parts, &options);

    if (r < 0)
        return err_set(err, r, "the paths of the overlay at %s are too long for mount(2)",
                       parts->rootfs);
    if (mount("overlay", parts->rootfs, "overlay", flags, options.text) == 0)
        return 0;
    if (errno == EINVAL && !overlay->read_only)
        return err_set(err, -EINVAL,
                       "overlayfs does not take %s as its upper directory: it must be on a local "
                       "file system with xattrs (not on overlayfs, FUSE or NFS), beside %s",
                       parts->upper, parts->work);
    if (errno == EPERM)
        return err_set(err, -EPERM, "no permission to mount an overlay at %s: it takes root",
                       parts->rootfs);
    return err_sys(err, -errno, "cannot mount an overlay at %s", parts->rootfs);
}

static int attach(const struct overlay *overlay, struct parts *parts, struct clip_error *err)
{
    struct mounts_entry entry;
    char path[PATH_MAX];
    int r = make_parts(overlay, parts, err);

    if (r == 0 && realpath(parts->rootfs, path) && mounts_find(path, &entry) == 0)
        r = err_set(err, -EBUSY, "something of type %s is mounted at %s already", entry.type, path);
    if (r == 0)
        r = mount_parts(overlay, parts, err);
    return r;
}

int overlay_attach(const struct overlay *overlay, struct clip_error *err)
{
    struct parts *parts = calloc(1, sizeof(*parts));
    int r;

    if (!parts)
        return err_set(err, -ENOMEM, "out of memory for an overlay");
    r = name_parts(parts, overlay->dir, overlay->upper);
    if (r < 0) {
        err_sys(err, r, "cannot mount an overlay at %s", overlay->dir);
    } else {
        r = attach(overlay, parts, err);
        if (r < 0)
            unmake_parts(overlay, parts);
    }
    free(parts);
    return r;
}

/* -------------------------------------------------------------- taking away */

static int unmount_rootfs(const char *rootfs, struct clip_error *err)
{
    struct mounts_entry entry;
    char path[PATH_MAX];

    if (!realpath(rootfs, path) || mounts_find(path, &entry) < 0)
        return 0;
    if (strcmp(entry.type, "overlay") != 0)
        return err_set(err, -EINVAL, "%s is no overlay but a mount of type %s", path, entry.type);
    if (umount2(path, UMOUNT_NOFOLLOW) == 0)
        return 0;
    if (errno == EBUSY)
        return err_set(err, -EBUSY, "%s is in use: end what runs in it first", path);
    return err_sys(err, -errno, "cannot unmount %s", path);
}

static int remove_parts(const struct parts *parts, const char *dir, struct clip_error *err)
{
    int r = remove_tree(parts->upper, err);

    if (r == 0)
        r = remove_tree(parts->work, err);
    if (r < 0)
        return r;
    remove_runtime_dirs(parts);
    if (rmdir(parts->rootfs) < 0 && errno != ENOENT)
        return err_sys(err, -errno, "cannot remove %s", parts->rootfs);
    if (rmdir(dir) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        return err_sys(err, -errno, "cannot remove %s", dir);
    return 0;
}

int overlay_detach(const char *dir, bool remove, struct clip_error *err)
{
    struct parts *parts = calloc(1, sizeof(*parts));
    int r;

    if (!parts)
        return err_set(err, -ENOMEM, "out of memory for an overlay");
    r = name_parts(parts, dir, NULL);
    if (r < 0)
        err_sys(err, r, "cannot unmount the overlay at %s", dir);
    else
        r = unmount_rootfs(parts->rootfs, err);
    if (r == 0 && remove)
        r = remove_parts(parts, dir, err);
    free(parts);
    return r;
}
