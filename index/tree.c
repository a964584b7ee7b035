/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a merge is, layer by layer from the lowest:
 * - clear the way: directories that take the place of something else, then whiteouts and opaque
 *   markers. All of it meets only what lower layers left.
 * - put the entries, in their order: a parent that is missing is made, what was there is replaced.
 * - put the hard links that were named before their target was.
 * Then the run-time directories go, and what is left is numbered breadth-first.
 * Possible failure modes are: an entry below a file, a hard link to what is not there, symlinks
 * in a circle, more entries or a deeper tree than the ceilings. Each ends the merge with a
 * sentence that names the layer and the entry.
 */
#include "index/tree.h"

#include "engine/queue.h"
#include "index/tree_walk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LINK_ROUNDS_MAX 16u /* of hard links that wait for hard links */

struct tree {
    struct tree_names names;
    struct arena arena; /* records of directories that no entry told of */
    struct tree_record root;
    uint32_t *order;     /* names, breadth-first: a node's number is its index */
    uint32_t *canonical; /* of an inode: the number of its first name */
    uint32_t *children;  /* of a node: the number of its first child; n_nodes + 1 of them */
    uint32_t n_nodes;
};

/* What a hard link named in the lower layers, before whiteouts took it away. */
struct lower_target {
    const struct tree_record *link;
    uint32_t inode;
};

struct tree_builder {
    struct tree_options options;
    struct tree *tree;        /* NULL: handed out */
    struct tree_names *names; /* the tree's */
    struct tree_walk walk;
    const struct tree_layer *records; /* being applied */
    unsigned layer;                   /* its index: how many are below it */
    const char *dir; /* the directory of the entry before and where it is, or NULL */
    uint32_t dir_at;
    const struct tree_record **links; /* hard links that wait for their target */
    size_t n_links, links_cap;
    struct lower_target *lower; /* of this layer's links, in their order */
    size_t n_lower;
    struct clip_error *err;
};

/* ---- failures */

/* One sentence for a record that cannot be applied; an error that already has its own stays. */
static int fail(const struct tree_builder *b, const struct tree_record *record, int code)
{
    const char *why = "it cannot be applied";
    char path[256];

    if (code == -ENOTDIR)
        why = "what it lies in is not a directory";
    else if (code == -ELOOP)
        why = "the symlinks on its way go in a circle, or are too many";
    else if (code == -ENAMETOOLONG)
        why = "it lies too deep in the tree, or a name on its way is too long";
    else if (code == -EFBIG)
        why = "the tree has too many entries";
    else if (code == -ENOMEM)
        why = "out of memory";
    return err_set(b->err, code, "layer %u: entry %s: %s", b->layer + 1,
                   tree_record_path(record, path, sizeof(path)), why);
}

static int fail_link(const struct tree_builder *b, const struct tree_record *record,
                     const char *why)
{
    char path[256], target[160];

    return err_set(b->err, CLIP_EFORMAT, "layer %u: hard link %s to %s: %s", b->layer + 1,
                   tree_record_path(record, path, sizeof(path)),
                   err_quote(record->target, strlen(record->target), target, sizeof(target)), why);
}

/* ---- where an entry goes */

static struct path_name name_of(const struct tree_record *record)
{
    return (struct path_name){record->name, record->name_len};
}

/* A directory that no entry of the layer has told of (yet). */
static const struct tree_record *made_up_dir(struct tree_builder *b,
                                             const struct tree_record *record)
{
    struct tree_record *dir = arena_alloc(&b->tree->arena, sizeof(*dir));

    if (dir)
        *dir = (struct tree_record){
            .dir = "",
            .name = "",
            .mtime_sec = record->mtime_sec,
            .mtime_nsec = record->mtime_nsec,
            .mode = 0755,
            .type = RECORD_DIR,
        };
    return dir;
}

/* Where the record's directory is; made if it is missing. Neighbours share their directory. */
static int find_parent(struct tree_builder *b, const struct tree_record *record, uint32_t *out)
{
    const struct tree_record *dir;
    uint32_t at;
    int r;

    if (b->dir == record->dir) {
        *out = b->dir_at;
        return 0;
    }
    r = walk_find(&b->walk, b->names, record->dir, &at);
    if (r == -ENOENT) {
        dir = made_up_dir(b, record);
        r = dir ? walk_make(&b->walk, b->names, record->dir, dir, b->layer, &at) : -ENOMEM;
    }
    if (r < 0)
        return fail(b, record, r);
    b->dir = record->dir;
    b->dir_at = at;
    *out = at;
    return 0;
}

/* Something is no longer what a walk may have gone through. */
static void forget_dir(struct tree_builder *b)
{
    b->dir = NULL;
}

static int put_inode(struct tree_builder *b, const struct tree_record *record, uint32_t dir,
                     uint32_t inode)
{
    const struct path_name what = name_of(record);
    uint32_t name = names_find(b->names, dir, &what);
    int r;

    if (name != NAME_NONE) {
        forget_dir(b);
        names_replace(b->names, name, inode);
        return 0;
    }
    if (b->names->n_names > TREE_ENTRIES_MAX)
        return fail(b, record, -EFBIG);
    r = names_link(b->names, dir, &what, inode, &name);
    return r < 0 ? fail(b, record, r) : 0;
}

/* ---- what hard links name */

/* The name that the link's target has; NAME_NONE if it is not there. */
static int find_target(struct tree_builder *b, const struct tree_record *record, uint32_t *out)
{
    const char *slash = strrchr(record->target, '/');
    const char *base = slash ? slash + 1 : record->target;
    struct path_name what = {base, strlen(base)};
    char *dir = strndup(record->target, slash ? (size_t)(slash - record->target) : 0);
    uint32_t at;
    int r = dir ? walk_find(&b->walk, b->names, dir, &at) : -ENOMEM;

    free(dir);
    if (r == -ENOENT || r == -ENOTDIR) {
        *out = NAME_NONE;
        return 0;
    }
    if (r < 0)
        return fail(b, record, r);
    *out = names_find(b->names, at, &what);
    return 0;
}

static int note_lower_targets(struct tree_builder *b, const struct tree_layer *layer)
{
    uint32_t name;
    int r = 0;

    free(b->lower);
    b->lower = calloc(layer->n_links ? layer->n_links : 1, sizeof(*b->lower));
    if (!b->lower)
        return err_set(b->err, -ENOMEM, "out of memory for hard links");
    for (size_t i = 0; r == 0 && i < layer->n_records; i++) {
        const struct tree_record *record = &layer->records[i];
        if (record->type != RECORD_HARDLINK)
            continue;
        r = find_target(b, record, &name);
        if (r < 0 && r != -ENOMEM)
            r = 0; /* the link's own turn will tell */
        else if (r == 0 && name != NAME_NONE && !names_is_dir(b->names, name))
            b->lower[b->n_lower++] = (struct lower_target){record, b->names->names[name].inode};
    }
    return r;
}

/* An inode, or NAME_NONE. Both are in the order of the records. */
static uint32_t find_lower_target(const struct tree_builder *b, const struct tree_record *link)
{
    size_t low = 0, high = b->n_lower;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->lower[middle].link == link)
            return b->lower[middle].inode;
        if (b->lower[middle].link < link)
            low = middle + 1;
        else
            high = middle;
    }
    return NAME_NONE;
}

/* ---- clearing the way */

static int apply_whiteout(struct tree_builder *b, const struct tree_record *record)
{
    const struct path_name what = name_of(record);
    uint32_t dir, name;
    int r = walk_find(&b->walk, b->names, record->dir, &dir);

    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    if (r < 0)
        return fail(b, record, r);
    if (record->type == RECORD_OPAQUE) {
        names_empty(b->names, dir);
        return 0;
    }
    name = names_find(b->names, dir, &what);
    if (name != NAME_NONE)
        names_remove(b->names, name);
    return 0;
}

/* A directory in the place of a lower symlink: a marker in it must not reach through that. */
static int apply_new_dir(struct tree_builder *b, const struct tree_record *record)
{
    const struct path_name what = name_of(record);
    uint32_t dir, name, inode;
    int r = walk_find(&b->walk, b->names, record->dir, &dir);

    if (r < 0 || record->name_len == 0)
        return 0; /* the entry's own turn will tell */
    name = names_find(b->names, dir, &what);
    if (name == NAME_NONE || names_is_dir(b->names, name))
        return 0;
    r = names_new_inode(b->names, record, b->layer, &inode);
    if (r < 0)
        return fail(b, record, r);
    names_replace(b->names, name, inode);
    return 0;
}

static int clear_the_way(struct tree_builder *b, const struct tree_layer *layer)
{
    int r;

    if (layer->n_whiteouts == 0)
        return 0;
    r = note_lower_targets(b, layer);
    for (size_t i = 0; r == 0 && i < layer->n_records; i++)
        if (layer->records[i].type == RECORD_DIR)
            r = apply_new_dir(b, &layer->records[i]);
    for (size_t i = 0; r == 0 && i < layer->n_records; i++)
        if (layer->records[i].type >= RECORD_WHITEOUT)
            r = apply_whiteout(b, &layer->records[i]);
    return r;
}

/* ---- hard links */

static int keep_for_later(struct tree_builder *b, const struct tree_record *record)
{
    size_t cap = b->links_cap ? b->links_cap * 2 : 64;
    const struct tree_record **grown;

    if (b->n_links == b->links_cap) {
        grown = realloc(b->links, cap * sizeof(*grown));
        if (!grown)
            return fail(b, record, -ENOMEM);
        b->links = grown;
        b->links_cap = cap;
    }
    b->links[b->n_links++] = record;
    return 0;
}

/* 1: its target is not there. */
static int apply_link(struct tree_builder *b, const struct tree_record *record)
{
    const struct path_name what = name_of(record);
    uint32_t target = NAME_NONE, dir;
    int r = find_target(b, record, &target);

    if (r < 0)
        return r;
    if (target == NAME_NONE)
        return 1;
    if (names_is_dir(b->names, target))
        return fail_link(b, record, "the target is a directory");
    r = find_parent(b, record, &dir);
    if (r < 0 || names_find(b->names, dir, &what) == target)
        return r; /* to itself, as some archivers write it */
    return put_inode(b, record, dir, b->names->names[target].inode);
}

/* Has an entry that came after the link taken its name? */
static bool is_overtaken(struct tree_builder *b, const struct tree_record *link)
{
    const struct path_name what = name_of(link);
    const struct tree_record *end = b->records->records + b->records->n_records;
    const struct tree_record *record;
    uint32_t dir, name;

    if (walk_find(&b->walk, b->names, link->dir, &dir) < 0)
        return false;
    name = names_find(b->names, dir, &what);
    if (name == NAME_NONE)
        return false;
    record = names_record(b->names, name);
    return record > link && record < end;
}

/* The target is only where a whiteout of the same layer took it away: unpackers that go by the
 * order of the archive have made the link by then. */
static int apply_lower_links(struct tree_builder *b)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->n_links; i++) {
        const struct tree_record *link = b->links[i];
        uint32_t inode = find_lower_target(b, link), dir;
        int r;

        if (inode == NAME_NONE) {
            b->links[kept++] = link;
            continue;
        }
        r = find_parent(b, link, &dir);
        if (r == 0)
            r = put_inode(b, link, dir, inode);
        if (r < 0)
            return r;
    }
    b->n_links = kept;
    return 0;
}

/* One round over those that wait; keeps those that still have to, the other way round. */
static int apply_waiting(struct tree_builder *b)
{
    size_t n = b->n_links, kept = 0;

    for (size_t i = 0; i < n; i++) {
        const struct tree_record *link = b->links[i];
        int r = is_overtaken(b, link) ? 0 : apply_link(b, link);
        if (r < 0)
            return r;
        if (r == 1)
            b->links[kept++] = link;
    }
    b->n_links = kept;
    for (size_t i = 0; i < kept / 2; i++) {
        const struct tree_record *link = b->links[i];
        b->links[i] = b->links[kept - 1 - i];
        b->links[kept - 1 - i] = link;
    }
    return 0;
}

/* Links may wait for links, in either direction of the archive, so the direction changes. */
static int apply_links_that_waited(struct tree_builder *b)
{
    size_t before = b->n_links + 1;

    for (unsigned round = 0; b->n_links > 0; round++) {
        int r;
        if (round == LINK_ROUNDS_MAX || (b->n_links == before && b->n_lower == 0))
            return fail_link(b, b->links[0], "the target is not there");
        if (b->n_links == before) {
            r = apply_lower_links(b);
            b->n_lower = 0;
        } else {
            before = b->n_links;
            r = apply_waiting(b);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- entries */

static int apply_root(struct tree_builder *b, const struct tree_record *record)
{
    struct tree_inode *root = &b->names->inodes[b->names->names[NAME_ROOT].inode];

    root->record = record;
    root->layer = (uint16_t)b->layer;
    return 0;
}

static int apply_entry(struct tree_builder *b, const struct tree_record *record)
{
    const struct path_name what = name_of(record);
    uint32_t dir, name, inode;
    int r = find_parent(b, record, &dir);

    if (r < 0)
        return r;
    name = names_find(b->names, dir, &what);
    if (name != NAME_NONE && record->type == RECORD_DIR && names_is_dir(b->names, name)) {
        inode = b->names->names[name].inode;
        b->names->inodes[inode].record = record;
        b->names->inodes[inode].layer = (uint16_t)b->layer;
        return 0;
    }
    r = names_new_inode(b->names, record, b->layer, &inode);
    return r < 0 ? fail(b, record, r) : put_inode(b, record, dir, inode);
}

static int apply_record(struct tree_builder *b, const struct tree_record *record)
{
    int r;

    if (record->type >= RECORD_WHITEOUT)
        return 0; /* had its turn */
    if (record->name_len == 0)
        return apply_root(b, record);
    if (record->type != RECORD_HARDLINK)
        return apply_entry(b, record);
    r = apply_link(b, record);
    return r == 1 ? keep_for_later(b, record) : r;
}

static int apply_layer(struct tree_builder *b, const struct tree_layer *layer)
{
    int r;

    forget_dir(b);
    b->records = layer;
    b->n_links = 0;
    b->n_lower = 0;
    r = clear_the_way(b, layer);
    for (size_t i = 0; r == 0 && i < layer->n_records; i++)
        r = apply_record(b, &layer->records[i]);
    if (r == 0)
        r = apply_links_that_waited(b);
    return r;
}

static void drop_runtime_dirs(struct tree_names *names)
{
    static const struct path_name dirs[] = {{"proc", 4}, {"sys", 3}, {"dev", 3}};

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        uint32_t name = names_find(names, NAME_ROOT, &dirs[i]);
        if (name != NAME_NONE)
            names_remove(names, name);
    }
}

/* ---- numbering */

static int compare_names(const void *a, const void *b, void *arg)
{
    const struct tree_names *names = arg;
    const struct tree_name *left = &names->names[*(const uint32_t *)a];
    const struct tree_name *right = &names->names[*(const uint32_t *)b];
    int r = memcmp(left->bytes, right->bytes, left->len < right->len ? left->len : right->len);

    return r ? r : (int)left->len - (int)right->len;
}

static void reverse(uint32_t *numbers, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        uint32_t other = numbers[n - 1 - i];

        numbers[n - 1 - i] = numbers[i];
        numbers[i] = other;
    }
}

static bool is_sorted(const struct tree_names *names, const uint32_t *numbers, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (compare_names(&numbers[i - 1], &numbers[i], (void *)names) > 0)
            return false;
    return true;
}

/* The last one that came is the first; and most layers have them sorted. */
static void sort_children(const struct tree_names *names, uint32_t *numbers, uint32_t n)
{
    reverse(numbers, n);
    if (!is_sorted(names, numbers, n))
        qsort_r(numbers, n, sizeof(*numbers), compare_names, (void *)names);
}

/* Breadth-first: the children of a node, sorted, go to the end of the line. */
static void put_in_order(struct tree *tree)
{
    const struct tree_names *names = &tree->names;
    uint32_t n = 1;

    tree->order[0] = NAME_ROOT;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first = n;
        tree->children[i] = first;
        for (uint32_t at = names->links[tree->order[i]].first_child; at != NAME_NONE;
             at = names->links[at].next)
            tree->order[n++] = at;
        sort_children(names, tree->order + first, n - first);
    }
    tree->children[n] = n;
    tree->n_nodes = n;
}

static int number_nodes(struct tree *tree)
{
    size_t n_names = tree->names.n_names, n_inodes = tree->names.n_inodes;

    tree->order = malloc(n_names * sizeof(*tree->order));
    tree->children = malloc((n_names + 1) * sizeof(*tree->children));
    if (!tree->order || !tree->children)
        return -ENOMEM;
    put_in_order(tree);
    names_drop_links(&tree->names);
    tree->canonical = malloc(n_inodes * sizeof(*tree->canonical));
    if (!tree->canonical)
        return -ENOMEM;
    /* from the last to the first, so that an inode ends with its first name */
    for (uint32_t i = tree->n_nodes; i-- > 0;) {
        struct tree_name *name = &tree->names.names[tree->order[i]];
        name->number = i;
        tree->canonical[name->inode] = i;
    }
    return 0;
}

/* ---- the tree */

static int tree_new(struct tree **out)
{
    struct tree *tree = calloc(1, sizeof(*tree));
    int r;

    if (!tree)
        return -ENOMEM;
    tree->root = (struct tree_record){.dir = "", .name = "", .mode = 0755, .type = RECORD_DIR};
    r = names_init(&tree->names, &tree->root);
    if (r < 0) {
        free(tree);
        return r;
    }
    *out = tree;
    return 0;
}

void tree_free(struct tree *tree)
{
    if (!tree)
        return;
    names_fini(&tree->names);
    arena_fini(&tree->arena);
    free(tree->order);
    free(tree->canonical);
    free(tree->children);
    free(tree);
}

/* ---- the builder */

int tree_builder_new(const struct tree_options *options, struct tree_builder **out)
{
    struct tree_builder *b = calloc(1, sizeof(*b));
    int r = b ? tree_new(&b->tree) : -ENOMEM;

    if (r < 0) {
        free(b);
        return r;
    }
    b->options = *options;
    b->names = &b->tree->names;
    *out = b;
    return 0;
}

void tree_builder_free(struct tree_builder *b)
{
    if (!b)
        return;
    tree_free(b->tree);
    free(b->links);
    free(b->lower);
    walk_fini(&b->walk);
    free(b);
}

static int fail_for_memory(int r, struct clip_error *err)
{
    return err_set(err, r, "out of memory for the tree");
}

int tree_builder_add(struct tree_builder *b, const struct tree_layer *layer, struct clip_error *err)
{
    size_t n = layer->n_records < TREE_ENTRIES_MAX ? layer->n_records : TREE_ENTRIES_MAX;
    int r = names_reserve(b->names, (uint32_t)n);

    assert(b->layer < UINT16_MAX);
    if (r < 0)
        return fail_for_memory(r, err);
    b->err = err;
    r = apply_layer(b, layer);
    b->layer++;
    return r;
}

int tree_builder_end(struct tree_builder *b, struct tree **out, struct clip_error *err)
{
    int r;

    if (!b->options.keep_runtime_dirs)
        drop_runtime_dirs(b->names);
    names_freeze(b->names);
    r = number_nodes(b->tree);
    if (r < 0)
        return fail_for_memory(r, err);
    *out = b->tree;
    b->tree = NULL;
    return 0;
}

int tree_merge(struct tree_layer *const *layers, unsigned n_layers,
               const struct tree_options *options, struct tree **out, struct clip_error *err)
{
    struct tree_builder *b;
    int r = tree_builder_new(options, &b);

    if (r < 0)
        return fail_for_memory(r, err);
    for (unsigned i = 0; r == 0 && i < n_layers; i++)
        r = tree_builder_add(b, layers[i], err);
    if (r == 0)
        r = tree_builder_end(b, out, err);
    tree_builder_free(b);
    return r;
}

uint32_t tree_n_nodes(const struct tree *tree)
{
    return tree->n_nodes;
}

/* ---- a node */

static uint32_t count_dirs(const struct tree *tree, uint32_t first, uint32_t end)
{
    uint32_t n = 0;

    for (uint32_t i = first; i < end; i++)
        n += names_is_dir(&tree->names, tree->order[i]);
    return n;
}

static void fill_dir(const struct tree *tree, uint32_t index, struct tree_node *node)
{
    uint32_t first = tree->children[index], end = tree->children[index + 1];

    node->n_children = end - first;
    node->first_child = end > first ? first : 0;
    node->nlink = 2 + count_dirs(tree, first, end);
}

static void fill_content(const struct tree_content *content, struct tree_node *node)
{
    if (!content) {
        sha256_of("", 0, &node->digest);
        return;
    }
    node->size = content->size;
    if (content->is_whole)
        node->whole = (struct tar_extent){0, content->layer_off, content->size};
    node->extents = content->is_whole ? &node->whole : content->extents;
    node->n_extents = content->n_extents;
    node->digest = content->digest;
    if (content->has_needs) {
        const struct tree_needy *needy = container_of(content, struct tree_needy, content);
        node->needs = needy->text;
        node->needs_len = needy->len;
    }
}

static void fill_metadata(const struct tree_record *record, struct tree_node *node)
{
    node->mode = record->mode;
    node->uid = record->uid;
    node->gid = record->gid;
    node->mtime_sec = record->mtime_sec;
    node->mtime_nsec = record->mtime_nsec;
    if (record->xattrs) {
        node->xattrs = record->xattrs->items;
        node->n_xattrs = record->xattrs->n;
    }
}

static void fill_kind(const struct tree *tree, uint32_t index, const struct tree_record *record,
                      struct tree_node *node)
{
    static const enum tree_kind kinds[] = {
        [RECORD_FILE] = TREE_FILE,       [RECORD_DIR] = TREE_DIR,     [RECORD_CHAR] = TREE_CHAR,
        [RECORD_SYMLINK] = TREE_SYMLINK, [RECORD_BLOCK] = TREE_BLOCK, [RECORD_FIFO] = TREE_FIFO,
    };

    node->kind = kinds[record->type];
    if (node->kind == TREE_DIR) {
        fill_dir(tree, index, node);
    } else if (node->kind == TREE_FILE) {
        fill_content(record->content, node);
    } else if (node->kind == TREE_SYMLINK) {
        node->symlink = record->target;
        node->size = strlen(record->target);
    } else if (node->kind == TREE_CHAR || node->kind == TREE_BLOCK) {
        node->rdev_major = record->device.major;
        node->rdev_minor = record->device.minor;
    }
}

void tree_node(const struct tree *tree, uint32_t index, struct tree_node *out)
{
    const struct tree_name *name = &tree->names.names[tree->order[index]];
    const struct tree_inode *inode = &tree->names.inodes[name->inode];
    uint32_t canonical = tree->canonical[name->inode];

    *out = (struct tree_node){
        .name = name->bytes,
        .name_len = name->len,
        .parent = tree->names.names[name->parent].number,
        .nlink = inode->n_names,
        .layer = inode->layer,
    };
    fill_metadata(inode->record, out);
    if (canonical != index) {
        out->kind = TREE_LINK;
        out->target = canonical;
        return;
    }
    fill_kind(tree, index, inode->record, out);
}
