/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's children are a doubly linked list, in no order; sorting comes at the end, once. */
#include "index/tree_names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int set_cap(void **array, uint32_t *cap, uint32_t n, size_t item_len)
{
    void *grown = realloc(*array, n * item_len);

    if (!grown)
        return -ENOMEM;
    *array = grown;
    *cap = n;
    return 0;
}

/* Room for one more in an array that doubles. */
static int reserve(void **array, uint32_t n, uint32_t *cap, size_t item_len)
{
    if (n < *cap)
        return 0;
    if (*cap > UINT32_MAX / 4)
        return -EFBIG;
    return set_cap(array, cap, *cap ? *cap * 2 : 256, item_len);
}

static int new_name(struct tree_names *names, const struct tree_name *what, uint32_t *out)
{
    uint32_t n = names->n_names;
    int r = reserve((void **)&names->names, n, &names->names_cap, sizeof(*names->names));

    if (r == 0)
        r = reserve((void **)&names->links, n, &names->links_cap, sizeof(*names->links));
    if (r < 0)
        return r;
    names->names[n] = *what;
    names->links[n] = (struct tree_links){NAME_NONE, NAME_NONE, NAME_NONE};
    *out = names->n_names++;
    return 0;
}

int names_new_inode(struct tree_names *names, const struct tree_record *record, unsigned layer,
                    uint32_t *out)
{
    int r = reserve((void **)&names->inodes, names->n_inodes, &names->inodes_cap,
                    sizeof(*names->inodes));

    if (r < 0)
        return r;
    names->inodes[names->n_inodes] =
        (struct tree_inode){.record = record, .layer = (uint16_t)layer};
    *out = names->n_inodes++;
    return 0;
}

/* By a half at least, so that many small steps do not copy everything each time. */
static int reserve_many(void **array, uint32_t n, uint32_t *cap, size_t item_len)
{
    uint32_t more = *cap + *cap / 2;

    if (n <= *cap)
        return 0;
    return set_cap(array, cap, n > more ? n : more, item_len);
}

int names_reserve(struct tree_names *names, uint32_t n)
{
    uint32_t n_names = names->n_names + n, n_inodes = names->n_inodes + n;
    int r = reserve_many((void **)&names->names, n_names, &names->names_cap, sizeof(*names->names));

    if (r == 0)
        r = reserve_many((void **)&names->links, n_names, &names->links_cap, sizeof(*names->links));
    if (r == 0)
        r = reserve_many((void **)&names->inodes, n_inodes, &names->inodes_cap,
                         sizeof(*names->inodes));
    return r < 0 ? r : map_reserve(&names->map, n_names);
}

int names_init(struct tree_names *names, const struct tree_record *root)
{
    struct tree_name name = {.bytes = "", .parent = NAME_ROOT};
    uint32_t at;
    int r;

    *names = (struct tree_names){0};
    map_init(&names->map);
    r = names_new_inode(names, root, 0, &name.inode);
    if (r == 0)
        r = new_name(names, &name, &at);
    if (r < 0) {
        names_fini(names);
        return r;
    }
    names->inodes[name.inode].n_names = 1;
    return 0;
}

void names_freeze(struct tree_names *names)
{
    map_fini(&names->map);
}

void names_drop_links(struct tree_names *names)
{
    free(names->links);
    names->links = NULL;
}

void names_fini(struct tree_names *names)
{
    map_fini(&names->map);
    names_drop_links(names);
    free(names->names);
    free(names->inodes);
    names->names = NULL;
    names->inodes = NULL;
}

const struct tree_record *names_record(const struct tree_names *names, uint32_t name)
{
    return names->inodes[names->names[name].inode].record;
}

bool names_is_dir(const struct tree_names *names, uint32_t name)
{
    return names_record(names, name)->type == RECORD_DIR;
}

struct key {
    uint32_t dir;
    const struct path_name *what;
};

static bool is_called(const void *owner, uint32_t value, const void *key)
{
    const struct tree_name *name = &((const struct tree_names *)owner)->names[value];
    const struct key *k = key;

    return name->parent == k->dir && name->len == k->what->len &&
           memcmp(name->bytes, k->what->bytes, name->len) == 0;
}

uint32_t names_find(const struct tree_names *names, uint32_t dir, const struct path_name *what)
{
    const struct key key = {dir, what};

    return map_find(&names->map, map_hash(&names->map, dir, what->bytes, what->len), is_called,
                    names, &key);
}

static uint32_t hash_of(const struct tree_names *names, const struct tree_name *name)
{
    return map_hash(&names->map, name->parent, name->bytes, name->len);
}

static void put_into_list(struct tree_names *names, uint32_t at)
{
    struct tree_links *links = names->links;
    struct tree_links *dir = &links[names->names[at].parent];

    links[at].next = dir->first_child;
    if (dir->first_child != NAME_NONE)
        links[dir->first_child].prev = at;
    dir->first_child = at;
}

static void take_from_list(struct tree_names *names, uint32_t at)
{
    struct tree_links *links = names->links;
    const struct tree_links *link = &links[at];

    if (link->next != NAME_NONE)
        links[link->next].prev = link->prev;
    if (link->prev != NAME_NONE)
        links[link->prev].next = link->next;
    else
        links[names->names[at].parent].first_child = link->next;
}

int names_link(struct tree_names *names, uint32_t dir, const struct path_name *what, uint32_t inode,
               uint32_t *out)
{
    struct tree_name name = {
        .bytes = what->bytes,
        .len = (uint8_t)what->len,
        .inode = inode,
        .parent = dir,
        .depth = names->names[dir].depth + 1,
    };
    uint32_t at;
    int r;

    if (name.depth > TREE_DEPTH_MAX)
        return -ENAMETOOLONG;
    r = new_name(names, &name, &at);
    if (r < 0)
        return r;
    r = map_add(&names->map, hash_of(names, &name), at);
    if (r < 0) {
        names->n_names--;
        return r;
    }
    put_into_list(names, at);
    names->inodes[inode].n_names++;
    *out = at;
    return 0;
}

static void remove_leaf(struct tree_names *names, uint32_t at)
{
    struct tree_name *name = &names->names[at];

    take_from_list(names, at);
    map_remove(&names->map, hash_of(names, name), at);
    names->inodes[name->inode].n_names--;
}

/* Leaves first, without recursion: a tree may be as deep as TREE_DEPTH_MAX. */
static void remove_below(struct tree_names *names, uint32_t top)
{
    uint32_t at = top;

    for (;;) {
        uint32_t child = names->links[at].first_child;
        if (child != NAME_NONE) {
            at = child;
        } else if (at == top) {
            return;
        } else {
            uint32_t parent = names->names[at].parent;
            remove_leaf(names, at);
            at = parent;
        }
    }
}

void names_empty(struct tree_names *names, uint32_t dir)
{
    remove_below(names, dir);
}

void names_remove(struct tree_names *names, uint32_t name)
{
    assert(name != NAME_ROOT);
    remove_below(names, name);
    remove_leaf(names, name);
}

void names_replace(struct tree_names *names, uint32_t at, uint32_t inode)
{
    struct tree_name *name = &names->names[at];

    names->inodes[inode].n_names++; /* first: the old name may be above the inode's other one */
    remove_below(names, at);
    names->inodes[name->inode].n_names--;
    name->inode = inode;
}
