/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fusermount3, the setuid helper by which others than root mount. It is libfuse's, and speaks
 * through a socket. Blocking, for jobs of the pool and for commands.
 */
#ifndef CLIP_FS_FUSERMOUNT_H
#define CLIP_FS_FUSERMOUNT_H

#include "engine/err.h"

/* out_fd: the FUSE device, not blocking. */
int fusermount_mount(const char *path, const char *options, int *out_fd, struct clip_error *err);
int fusermount_unmount(const char *path, bool lazy, struct clip_error *err);

#endif
