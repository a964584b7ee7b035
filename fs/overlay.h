/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlayfs over a mounted image, as clip.h describes it. The calls here block: they are what
 * clip_overlay_mount() and clip_overlay_unmount() run as jobs of the pool.
 */
#ifndef CLIP_FS_OVERLAY_H
#define CLIP_FS_OVERLAY_H

#include "engine/err.h"

struct overlay {
    const char *lower, *dir, *upper; /* upper NULL: dir/upper */
    bool read_only;
};

/* What it made is taken away again when it fails. */
int overlay_attach(const struct overlay *overlay, struct clip_error *err);
/* 0 also when it is not mounted. With `remove`: rootfs, upper, work and dir; what lies in dir
 * beside them stays, and dir with it. */
int overlay_detach(const char *dir, bool remove, struct clip_error *err);

#endif
