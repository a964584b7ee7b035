/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a path to a directory of the growing tree, as an unpacker confined to the root finds it:
 * symlinks are followed, but an absolute target begins at the image's root and ".." ends there.
 * For index/tree*.c alone.
 */
#ifndef CLIP_INDEX_TREE_WALK_H
#define CLIP_INDEX_TREE_WALK_H

#include "index/tree_names.h"

struct tree_walk {
    /* private */
    struct path_name *missing; /* components that are not there (yet) */
    size_t n_missing, cap;
    uint64_t n_detours; /* components of symlinks' targets, in all walks */
};

/* A zeroed walk is ready. */
void walk_fini(struct tree_walk *walk);

/* The directory `path`, which must be there: -ENOENT, -ENOTDIR, -ELOOP, -ENOMEM. */
int walk_find(struct tree_walk *walk, const struct tree_names *names, const char *path,
              uint32_t *out);
/* Makes what is missing of it; every directory made is an inode with `record`, from `layer`. */
int walk_make(struct tree_walk *walk, struct tree_names *names, const char *path,
              const struct tree_record *record, unsigned layer, uint32_t *out);

#endif
