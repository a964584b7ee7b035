/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a sparse file has bytes and where it has none. Pure; the steps of a call are bounded, so
 * that a file of a million pieces does not hold up the loop: what lies behind them counts as data.
 */
#ifndef CLIP_FS_SEEK_H
#define CLIP_FS_SEEK_H

#include "index/image.h"

/* As lseek(2) with SEEK_DATA or SEEK_HOLE: -ENXIO, -EINVAL. */
int seek_from(const struct clip_image *image, uint64_t ino, uint64_t off, int whence,
              uint64_t *out);
/* The bytes that it would take on a disk of 4 KiB blocks. */
uint64_t seek_data_size(const struct clip_image *image, const struct clip_stat *st);

#endif
