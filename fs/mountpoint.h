/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory made into a mount: what may be mounted on, and the calls that do it. Blocking, for
 * jobs of the pool.
 */
#ifndef CLIP_FS_MOUNTPOINT_H
#define CLIP_FS_MOUNTPOINT_H

#include "engine/err.h"

#include <sys/types.h>

struct mountpoint {
    char *path; /* absolute, without symlinks; malloc'ed, the caller's */
    dev_t dev;
    int fd; /* the FUSE device, not blocking */
};

/* Mounts at an empty directory at which nothing is mounted. The kernel's first request waits in
 * the device then. A failure says in one sentence what is wrong with `name`, and leaves nothing. */
int mountpoint_attach(const char *name, bool allow_dev, bool allow_suid, struct mountpoint *out,
                      struct clip_error *err);
/* Once INIT is answered, which would take it back. Only root may. */
int mountpoint_set_read_ahead(dev_t dev, unsigned kib);

#endif
