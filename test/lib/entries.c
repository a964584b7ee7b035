/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/entries.h"

#include "index/path.h"

#include <assert.h>
#include <string.h>

void layers_init(struct layers *l)
{
    memset(l, 0, sizeof(*l));
    for (unsigned i = 0; i < ENTRIES_LAYERS; i++)
        if (tree_layer_new(&l->layers[i]) < 0)
            assert(!"memory");
}

void layers_fini(struct layers *l)
{
    tree_free(l->tree);
    for (unsigned i = 0; i < ENTRIES_LAYERS; i++)
        tree_layer_free(l->layers[i]);
}

static int add(struct layers *l, unsigned layer, const struct tar_entry *from)
{
    struct tar_extent extent = {0, from->size * 512, from->size};
    struct tar_entry entry = *from;
    struct digest digest;
    int r;

    if (entry.type == TAR_FILE && entry.size > 0 && !entry.extents) {
        entry.extents = &extent;
        entry.n_extents = 1;
    }
    r = tree_layer_add(l->layers[layer], &entry, &l->err);
    memset(digest.bytes, (int)entry.size, sizeof(digest.bytes));
    tree_layer_set_digest(l->layers[layer], &digest);
    return r;
}

int layers_add_all(struct layers *l, unsigned layer, const struct tar_entry *entries, size_t n)
{
    int r = 0;

    assert(layer < ENTRIES_LAYERS);
    if (l->n_layers <= layer)
        l->n_layers = layer + 1;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add(l, layer, &entries[i]);
    return r;
}

int layers_merge(struct layers *l)
{
    tree_free(l->tree);
    l->tree = NULL;
    return tree_merge(l->layers, l->n_layers, &l->options, &l->tree, &l->err);
}

static int64_t find_child(const struct tree *tree, const struct tree_node *dir,
                          const struct path_name *name)
{
    for (uint32_t i = dir->first_child; i < dir->first_child + dir->n_children; i++) {
        struct tree_node child;
        tree_node(tree, i, &child);
        if (child.name_len == name->len && memcmp(child.name, name->bytes, name->len) == 0)
            return i;
    }
    return -1;
}

int64_t tree_find(const struct tree *tree, const char *path, struct tree_node *out)
{
    struct path_iter iter = {path, path + strlen(path)};
    struct path_name name;
    int64_t at = 0;

    tree_node(tree, 0, out);
    while (at >= 0 && path_next(&iter, &name)) {
        at = find_child(tree, out, &name);
        if (at >= 0)
            tree_node(tree, (uint32_t)at, out);
    }
    if (at >= 0 && out->kind == TREE_LINK) {
        at = out->target;
        tree_node(tree, (uint32_t)at, out);
    }
    return at;
}
