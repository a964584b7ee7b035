/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader has read, span by span, in the order of the first reads: what may become the
 * profile of an index. On the loop's thread. */
#ifndef CLIP_FS_PROFILE_H
#define CLIP_FS_PROFILE_H

#include "index/image.h"

/* Zeroed, it is empty. */
struct profile {
    /* read-only */
    struct clip_profile_span *spans;
    size_t n;
    /* private */
    size_t cap;
    uint8_t *seen; /* a bit for each of the image's spans */
};

void profile_fini(struct profile *profile);
/* Without memory for it, it is forgotten: nobody's read fails for that. */
void profile_note(struct profile *profile, const struct clip_image *image, unsigned layer,
                  uint64_t index);

#endif
