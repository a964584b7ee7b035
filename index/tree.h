/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers' entries merged into one tree, exactly as a correct OCI unpack gives it.
 *
 * Each layer collects its own entries (a tree_layer, filled by whoever decodes that layer, one
 * thread at a time, layers independent of each other); a builder then applies them bottom-up,
 * whiteouts first, and gives nodes in breadth-first order, children sorted by name bytes. Pure.
 * The rules are in docs/format.md, "The merged tree".
 */
#ifndef CLIP_INDEX_TREE_H
#define CLIP_INDEX_TREE_H

#include "engine/digest.h"
#include "index/tar.h"

#include <stdbool.h>

/* Ceilings: past them -EFBIG / -ENAMETOOLONG with a sentence. */
#define TREE_ENTRIES_MAX (64u << 20)
#define TREE_DEPTH_MAX   4096u      /* components of a path after cleaning */
#define TREE_LAYER_MAX   (2u << 30) /* bytes of memory for what one layer says */

struct tree_layer;

int tree_layer_new(struct tree_layer **out);
void tree_layer_free(struct tree_layer *layer);
/* Copies what it needs. Cleans the path ("./", "//", "..", leading "/") so that nothing leaves the
 * root; a path that does is dropped silently only if it is the root itself, else refused. */
int tree_layer_add(struct tree_layer *layer, const struct tar_entry *entry, struct clip_error *err);
/* The content digest of the entry added last (regular files; at its ENTRY_END). */
void tree_layer_set_digest(struct tree_layer *layer, const struct digest *digest);
/* What the entry added last says that it needs (index/needs_list.h); copied. -ENOMEM. */
int tree_layer_set_needs(struct tree_layer *layer, const char *needs, size_t len);
uint64_t tree_layer_n_entries(const struct tree_layer *layer);

enum tree_kind { TREE_FILE, TREE_DIR, TREE_SYMLINK, TREE_CHAR, TREE_BLOCK, TREE_FIFO, TREE_LINK };

/* A node of the merged tree. Node i has inode number i + 1; node 0 is the root, its own parent.
 * A TREE_LINK is a further name of the file at node `target`. Borrowed from the tree. */
struct tree_node {
    enum tree_kind kind;
    const char *name;
    size_t name_len;
    uint32_t parent;
    uint32_t mode; /* 07777 */
    uint32_t uid, gid;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint32_t nlink;
    uint32_t rdev_major, rdev_minor;
    uint64_t size;
    uint32_t first_child, n_children; /* of a directory */
    uint32_t target;                  /* of a TREE_LINK */
    const char *symlink;
    uint16_t layer; /* whose blob holds the extents, and which layer the entry came from */
    const struct tar_extent *extents; /* may be &whole: a node is looked at where it was filled */
    size_t n_extents;
    struct tar_extent whole;
    const struct tar_xattr *xattrs; /* sorted by name, no name twice */
    size_t n_xattrs;
    struct digest digest; /* of a regular file's content (of no bytes, when empty) */
    const char *needs;    /* index/needs_list.h; NULL: it does not say that it needs any */
    size_t needs_len;
};

struct tree;

struct tree_options {
    bool keep_runtime_dirs; /* else /proc, /sys, /dev and all below are left out (the directories
                               themselves too) */
};

/* Layers applied one after the other, the lowest first: each can be while those above it are still
 * being collected. The tree keeps pointers into them: they must outlive it. A builder that has
 * failed can only be freed. */
struct tree_builder;

int tree_builder_new(const struct tree_options *options, struct tree_builder **out); /* -ENOMEM */
int tree_builder_add(struct tree_builder *b, const struct tree_layer *layer,
                     struct clip_error *err);
/* No more layers come; once, then the builder can only be freed. */
int tree_builder_end(struct tree_builder *b, struct tree **out, struct clip_error *err);
void tree_builder_free(struct tree_builder *b);

/* All of that. layers[0] is the lowest. */
int tree_merge(struct tree_layer *const *layers, unsigned n_layers,
               const struct tree_options *options, struct tree **out, struct clip_error *err);
void tree_free(struct tree *tree);
uint32_t tree_n_nodes(const struct tree *tree);
void tree_node(const struct tree *tree, uint32_t index, struct tree_node *out);

#endif
