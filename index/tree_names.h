/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merged tree while it grows: names, and the inodes they stand for. Knows nothing of layers'
 * rules, only how a file system keeps its names: a directory has children, a name is unlinked, an
 * inode lives as long as it has a name. For index/tree*.c alone.
 *
 * Names and inodes are numbers, stable until the end; a removed one's is not used again. Nothing
 * recurses, nothing takes time quadratic in the number of names.
 */
#ifndef CLIP_INDEX_TREE_NAMES_H
#define CLIP_INDEX_TREE_NAMES_H

#include "engine/map.h"
#include "index/path.h"
#include "index/tree_layer.h"

#define NAME_ROOT 0u
#define NAME_NONE MAP_NONE

struct tree_name {
    const char *bytes; /* borrowed from a layer; not NUL terminated */
    uint32_t inode;
    uint32_t parent;
    uint32_t number; /* of its node; set by tree.c in the end */
    uint16_t depth;  /* of the root: 0 */
    uint8_t len;
};

/* Where a name is in its directory, and what is in it: names, or NAME_NONE. Not part of the name,
 * because it is no longer needed when there is most to be kept. */
struct tree_links {
    uint32_t first_child, next, prev;
};

struct tree_inode {
    const struct tree_record *record; /* never a hard link */
    uint32_t n_names;
    uint16_t layer;
};

struct tree_names {
    /* read-only */
    struct tree_name *names;
    struct tree_links *links; /* of each name; NULL when dropped */
    struct tree_inode *inodes;
    uint32_t n_names, n_inodes;
    /* private */
    uint32_t names_cap, links_cap, inodes_cap;
    struct map map; /* (parent, bytes) -> name */
};

/* With a root. -ENOMEM. */
int names_init(struct tree_names *names, const struct tree_record *root);
/* Room for about n names more, at most TREE_ENTRIES_MAX, so that adding them moves nothing.
 * -ENOMEM, -EFBIG. */
int names_reserve(struct tree_names *names, uint32_t n);
void names_fini(struct tree_names *names);
/* Frees what only looking up and growing need. */
void names_freeze(struct tree_names *names);
/* Frees the links too. */
void names_drop_links(struct tree_names *names);

const struct tree_record *names_record(const struct tree_names *names, uint32_t name);
bool names_is_dir(const struct tree_names *names, uint32_t name);
/* A child's name, or NAME_NONE. */
uint32_t names_find(const struct tree_names *names, uint32_t dir, const struct path_name *what);

/* A new inode without a name, to be given one at once. -ENOMEM. */
int names_new_inode(struct tree_names *names, const struct tree_record *record, unsigned layer,
                    uint32_t *out);
/* A new name in `dir`, where it is not yet. -ENOMEM; -ENAMETOOLONG below TREE_DEPTH_MAX; -EFBIG. */
int names_link(struct tree_names *names, uint32_t dir, const struct path_name *what, uint32_t inode,
               uint32_t *out);
/* Another inode under the same name; what was below the name before goes. */
void names_replace(struct tree_names *names, uint32_t name, uint32_t inode);
/* With all that is below. Not the root. */
void names_remove(struct tree_names *names, uint32_t name);
/* All that is below. */
void names_empty(struct tree_names *names, uint32_t dir);

#endif
