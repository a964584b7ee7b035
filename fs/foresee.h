/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who reads the beginning of a file will read what the file needs: the index knows which files
 * those are (section NEEDS), and what these need in turn. All of it is fetched ahead, in the order
 * in which it will be read. On the loop's thread.
 */
#ifndef CLIP_FS_FORESEE_H
#define CLIP_FS_FORESEE_H

#include "fs/cache.h"

/* Zeroed, it follows nothing. */
struct foresee {
    /* private */
    bool follows;
    uint8_t *followed; /* a bit for each of the image's nodes; NULL: none was */
};

/* Follows from now on, if the image has needs and no profile, which knows better. */
void foresee_init(struct foresee *foresee, const struct cache_client *client);
void foresee_fini(struct foresee *foresee);
/* The beginning of that file is being read. Without memory for it nothing is followed: nobody's
 * read fails for that. */
void foresee_note(struct foresee *foresee, struct cache_client *client, uint64_t ino);

#endif
