/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a mount away. Blocking, for jobs of the pool; clip_unmount() is here too. */
#ifndef CLIP_FS_UNMOUNT_H
#define CLIP_FS_UNMOUNT_H

#include "engine/err.h"

#include <sys/types.h>

/* Takes the mount of this device away from `path`, which is absolute and without symlinks; lazily
 * if it is in use. 0 also when it is not there any more: something else may be. */
int unmount_device(const char *path, dev_t dev, struct clip_error *err);

#endif
