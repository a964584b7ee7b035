/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umount2(2), or fusermount3 for whom the kernel refuses it. Nothing here looks into the mount:
 * who serves it may be dead, or wait for us.
 */
#include "fs/unmount.h"

#include "fs/fusermount.h"
#include "fs/mounts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int unmount_path(const char *path, bool lazy, struct clip_error *err)
{
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EPERM && geteuid() != 0)
        return fusermount_unmount(path, lazy, err);
    if (errno == EBUSY)
        return err_set(err, -EBUSY,
                       "%s is in use: end what has files or its working directory in it, or take "
                       "it away at once with 'umount -l'",
                       path);
    return err_sys(err, -errno, "cannot unmount %s", path);
}

int unmount_device(const char *path, dev_t dev, struct clip_error *err)
{
    struct mounts_entry entry;

    if (mounts_find(path, &entry) < 0 || entry.dev != dev)
        return 0;
    if (unmount_path(path, false, err) == 0)
        return 0;
    return unmount_path(path, true, err);
}

static int unmount_clip(const char *path, struct clip_error *err)
{
    struct mounts_entry entry;
    int r = mounts_find(path, &entry);

    if (r == -ENOENT)
        return err_set(err, -EINVAL, "nothing is mounted at %s", path);
    if (r < 0)
        return err_sys(err, r, "cannot read /proc/self/mountinfo");
    if (strcmp(entry.type, MOUNTS_CLIP) != 0)
        return err_set(err, -EINVAL, "%s is no clip mount but one of type %s", path, entry.type);
    return unmount_path(path, false, err);
}

int clip_unmount(const char *mountpoint, struct clip_error *err)
{
    char *path = realpath(mountpoint, NULL);
    int r;

    if (!path)
        return err_sys(err, -errno, "cannot unmount %s", mountpoint);
    r = unmount_clip(path, err);
    free(path);
    return r;
}
