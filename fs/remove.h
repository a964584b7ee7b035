/* SPDX-License-Identifier: Apache-2.0 */
/* Removing a directory with all that is in it, made by somebody whom we need not trust. Blocking.
 */
#ifndef CLIP_FS_REMOVE_H
#define CLIP_FS_REMOVE_H

#include "engine/err.h"

/* Follows no symlink, enters no other file system, takes any depth. 0 if there was nothing. */
int remove_tree(const char *path, struct clip_error *err);

#endif
