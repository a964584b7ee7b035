/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says is mounted. Blocking, for jobs of the pool and for commands. */
#ifndef CLIP_FS_MOUNTS_H
#define CLIP_FS_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

#define MOUNTS_CLIP "fuse.clip" /* the file system type of our mounts */

struct mounts_entry {
    dev_t dev;
    char type[64];
};

/* The uppermost mount at `path`, which is absolute and without symlinks. -ENOENT: there is none. */
int mounts_find(const char *path, struct mounts_entry *out);

#endif
