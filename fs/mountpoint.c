/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount(2) by ourselves and not through libfuse, which adds nosuid and nodev where nobody sees it.
 * Others than root go through fusermount3, which insists on both.
 */
#include "fs/mountpoint.h"

#include "fs/fusermount.h"
#include "fs/mounts.h"
#include "fs/unmount.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVICE "/dev/fuse"

/* ----------------------------------------------------- what may be mounted on */

static int check_unmounted(const char *path, struct clip_error *err)
{
    struct mounts_entry entry;
    int r = mounts_find(path, &entry);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_sys(err, r, "cannot read /proc/self/mountinfo");
    if (strcmp(entry.type, MOUNTS_CLIP) == 0)
        return err_set(err, -EBUSY, "%s is a clip mount already; 'clipd umount %s' takes it away",
                       path, path);
    return err_set(err, -EBUSY,
                   "%s is busy: something of type %s is mounted there; name another directory",
                   path, entry.type);
}

static int check_empty(const char *path, struct clip_error *err)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    int r = 0;

    if (!dir && errno == ENOTDIR)
        return err_set(err, -ENOTDIR, "%s is not a directory", path);
    if (!dir)
        return err_sys(err, -errno, "cannot look into %s", path);
    while (r == 0 && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = err_set(err, -ENOTEMPTY,
                        "%s is not empty; what is in it would be hidden: name an empty directory",
                        path);
    closedir(dir);
    return r;
}

static int resolve(const char *name, char **out, struct clip_error *err)
{
    char *path = realpath(name, NULL);
    int r;

    if (!path && errno == ENOENT)
        return err_set(err, -ENOENT, "%s does not exist; make that directory first", name);
    if (!path)
        return err_sys(err, -errno, "cannot mount at %s", name);
    r = check_unmounted(path, err);
    if (r == 0)
        r = check_empty(path, err);
    if (r < 0) {
        free(path);
        return r;
    }
    *out = path;
    return 0;
}

/* ------------------------------------------------------------------- mounting */

static int open_device(struct clip_error *err)
{
    int fd = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0)
        return fd;
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
        return err_set(err, -errno,
                       "there is no " DEVICE
                       ": load the kernel's module ('modprobe fuse'), or give "
                       "the device to this container");
    return err_sys(err, -errno, "cannot open " DEVICE);
}

static int mount_device(const char *path, unsigned long flags, int fd, struct clip_error *err)
{
    char options[128];

    snprintf(options, sizeof(options),
             "fd=%d,rootmode=%o,user_id=%u,group_id=%u,default_permissions,allow_other", fd,
             S_IFDIR, (unsigned)geteuid(), (unsigned)getegid());
    if (mount("clip", path, MOUNTS_CLIP, flags, options) == 0)
        return 0;
    switch (errno) {
    case EPERM:
        return err_set(err, -EPERM,
                       "no permission to mount at %s: it takes CAP_SYS_ADMIN, which containers do "
                       "not have by default",
                       path);
    case ENODEV:
        return err_set(err, -ENODEV, "the kernel has no FUSE: load its module ('modprobe fuse')");
    case EBUSY:
        return err_set(err, -EBUSY, "%s is busy; name another directory", path);
    default:
        return err_sys(err, -errno, "cannot mount at %s", path);
    }
}

static int attach_as_root(struct mountpoint *at, unsigned long flags, struct clip_error *err)
{
    int r;

    at->fd = open_device(err);
    if (at->fd < 0)
        return at->fd;
    r = mount_device(at->path, flags, at->fd, err);
    if (r < 0)
        close(at->fd);
    return r;
}

/* Of the mount's root, from what the kernel knows: nobody answers requests yet. */
static int find_device(struct mountpoint *at, struct clip_error *err)
{
    struct statx st;

    if (statx(AT_FDCWD, at->path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0,
              &st) < 0)
        return err_sys(err, -errno, "cannot see the mount at %s", at->path);
    at->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
    return 0;
}

static int attach(struct mountpoint *at, bool allow_dev, bool allow_suid, struct clip_error *err)
{
    unsigned long flags = MS_RDONLY | MS_NOATIME;
    int r;

    flags |= allow_dev ? 0 : MS_NODEV;
    flags |= allow_suid ? 0 : MS_NOSUID;
    if (geteuid() == 0)
        r = attach_as_root(at, flags, err);
    else if (allow_dev || allow_suid)
        r = err_set(err, -EPERM, "only root can mount with devices or setuid programs that work");
    else
        r = fusermount_mount(at->path,
                             "ro,noatime,nosuid,nodev,default_permissions,fsname=clip,subtype=clip",
                             &at->fd, err);
    if (r < 0)
        return r;
    r = find_device(at, err);
    if (r < 0) {
        close(at->fd);
        umount2(at->path, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    return r;
}

int mountpoint_attach(const char *name, bool allow_dev, bool allow_suid, struct mountpoint *out,
                      struct clip_error *err)
{
    struct mountpoint at = {.fd = -1};
    int r = resolve(name, &at.path, err);

    if (r < 0)
        return r;
    r = attach(&at, allow_dev, allow_suid, err);
    if (r < 0) {
        free(at.path);
        return r;
    }
    *out = at;
    return 0;
}

int mountpoint_set_read_ahead(dev_t dev, unsigned kib)
{
    char path[64], text[16];
    ssize_t n;
    int fd, len;
    int r = 0;

    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(dev), minor(dev));
    len = snprintf(text, sizeof(text), "%u", kib);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = write(fd, text, (size_t)len);
    if (n < 0)
        r = -errno;
    close(fd);
    return r;
}
