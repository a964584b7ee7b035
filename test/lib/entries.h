/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers of a few entries, written down by hand, and what became of them in the merged tree.
 *
 *     layers_add(&l, 0, DIR("etc"), FILE_OF("etc/passwd", 100));
 *     layers_add(&l, 1, FILE_OF("etc/.wh.passwd", 0));
 *     layers_merge(&l);
 *     cr_assert(no_node(&l, "etc/passwd"));
 *
 * The content of a file of n bytes lies at n * 512 of its layer, its digest is n, 32 times.
 */
#ifndef CLIP_TEST_ENTRIES_H
#define CLIP_TEST_ENTRIES_H

#include "index/tree.h"

#define ENTRIES_LAYERS 8u

struct layers {
    struct tree_layer *layers[ENTRIES_LAYERS];
    unsigned n_layers; /* the highest that was added to, + 1 */
    struct tree_options options;
    struct tree *tree;
    struct clip_error err;
};

#define ENTRY(t, p, ...)   ((struct tar_entry){.type = (t), .path = (p), __VA_ARGS__})
#define DIR_OF(p)          ENTRY(TAR_DIR, p, .mode = 0755)
#define FILE_OF(p, n)      ENTRY(TAR_FILE, p, .mode = 0644, .size = (n))
#define SYMLINK_TO(p, to)  ENTRY(TAR_SYMLINK, p, .mode = 0777, .link = (to))
#define HARDLINK_TO(p, to) ENTRY(TAR_HARDLINK, p, .mode = 0644, .link = (to))

void layers_init(struct layers *l);
void layers_fini(struct layers *l);
/* The last one given first fails: 0 or its error, in l->err. */
int layers_add_all(struct layers *l, unsigned layer, const struct tar_entry *entries, size_t n);
#define layers_add(l, layer, ...)                                                                  \
    layers_add_all(l, layer, (const struct tar_entry[]){__VA_ARGS__},                              \
                   sizeof((const struct tar_entry[]){__VA_ARGS__}) / sizeof(struct tar_entry))
/* Also anew, after more was added. */
int layers_merge(struct layers *l);

/* The node with that path (symlinks are not followed), canonical; its index, or -1. */
int64_t tree_find(const struct tree *tree, const char *path, struct tree_node *out);

#endif
