/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over extents, most of the time over one. */
#include "fs/seek.h"

#include <sys/stat.h>
#include <unistd.h>

#define STEPS_MAX 4096
#define BLOCK     4096u

int seek_from(const struct clip_image *image, uint64_t ino, uint64_t off, int whence, uint64_t *out)
{
    struct clip_stat st;
    struct image_extent extent;
    int r = clip_image_stat(image, ino, &st);

    if (r < 0)
        return r;
    if (!S_ISREG(st.mode) || (whence != SEEK_DATA && whence != SEEK_HOLE))
        return -EINVAL;
    if (off >= st.size)
        return -ENXIO;
    for (int i = 0; i < STEPS_MAX && off < st.size; i++, off += extent.len) {
        r = image_extent(image, ino, off, st.size - off, &extent);
        if (r < 0)
            return r;
        if (extent.hole == (whence == SEEK_HOLE)) {
            *out = off;
            return 0;
        }
    }
    if (whence == SEEK_HOLE)
        off = st.size; /* there is a hole at every file's end */
    else if (off >= st.size)
        return -ENXIO;
    *out = off;
    return 0;
}

uint64_t seek_data_size(const struct clip_image *image, const struct clip_stat *st)
{
    struct image_extent extent;
    uint64_t sum = 0, off = 0;

    if (S_ISDIR(st->mode))
        return BLOCK;
    if (!S_ISREG(st->mode))
        return 0;
    for (int i = 0; i < STEPS_MAX && off < st->size; i++, off += extent.len) {
        if (image_extent(image, st->ino, off, st->size - off, &extent) < 0)
            break;
        sum += extent.hole ? 0 : extent.len;
    }
    sum += st->size - off;
    return sum + (BLOCK - sum % BLOCK) % BLOCK;
}
