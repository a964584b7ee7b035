/* SPDX-License-Identifier: Apache-2.0 */
/* Which file needs which: a table sorted by the first, so that each file's is found by halving. */
#include "index/image_map.h"

#include <errno.h>

/* The first that is not of a node before that one. */
static size_t seek(const struct clip_image *image, uint64_t node)
{
    size_t low = 0, high = image->n_needs;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (image->needs[middle].node < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool image_has_needs(const struct clip_image *image)
{
    return image->n_needs > 0;
}

size_t image_needs(const struct clip_image *image, uint64_t ino, size_t *out_first)
{
    uint64_t node = image_inode(image, ino);

    if (node == 0 || image->n_needs == 0)
        return 0;
    *out_first = seek(image, node - 1);
    return seek(image, node) - *out_first;
}

uint64_t image_needed(const struct clip_image *image, size_t number)
{
    return (uint64_t)image->needs[number].needed + 1;
}

int clip_image_need(const struct clip_image *image, uint64_t ino, uint64_t index, uint64_t *out_ino)
{
    size_t first, n = image_needs(image, ino, &first);

    if (index >= n)
        return -ENOENT;
    *out_ino = image_needed(image, first + (size_t)index);
    return 0;
}
