/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a plan is: the tree is walked breadth-first, the list of directories being the
 * queue; each child goes on the list of its kind. Then files are put in the order of their bytes,
 * so that every span is fetched once, however small the cache is.
 * Possible failure modes are: no memory, and names that the index should not have let through.
 */
#include "fs/extract_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file and where its first byte lies. */
struct placed {
    struct plan_entry entry;
    uint64_t off;
    unsigned layer;
};

static int list_add(struct plan_list *list, const struct plan_entry *entry)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 256;
        void *more = reallocarray(list->entries, cap, sizeof(*entry));
        if (!more)
            return -ENOMEM;
        list->entries = more;
        list->cap = cap;
    }
    list->entries[list->n++] = *entry;
    return 0;
}

/* The index has checked it; but here a name becomes a path on somebody's disk. */
static bool is_name(const struct clip_dirent *child)
{
    return child->name_len > 0 && child->name_len <= 255 &&
           !memchr(child->name, '/', child->name_len) &&
           !memchr(child->name, '\0', child->name_len) &&
           !(child->name_len == 1 && child->name[0] == '.') &&
           !(child->name_len == 2 && child->name[0] == '.' && child->name[1] == '.');
}

/* `seen`: a bit for each inode that has a name in the plan. */
static bool is_first_name(uint8_t *seen, uint64_t ino)
{
    bool is_first = !(seen[ino / 8] & 1u << ino % 8);

    seen[ino / 8] |= (uint8_t)(1u << ino % 8);
    return is_first;
}

static int add_child(const struct clip_image *image, struct plan *plan, uint8_t *seen, uint32_t dir,
                     const struct clip_dirent *child, struct clip_error *err)
{
    const struct plan_entry entry = {child->ino, child->name, (uint32_t)child->name_len, dir};
    struct clip_stat st;
    char quoted[256];

    if (!is_name(child))
        return err_set(err, CLIP_EFORMAT, "\"%s\" is not a name for a file",
                       err_quote(child->name, child->name_len, quoted, sizeof(quoted)));
    clip_image_stat(image, child->ino, &st);
    if (S_ISDIR(st.mode))
        return list_add(&plan->dirs, &entry);
    if (!is_first_name(seen, child->ino))
        return list_add(&plan->links, &entry);
    if (st.nlink > 1 && list_add(&plan->shared, &entry) < 0)
        return -ENOMEM;
    if (!S_ISREG(st.mode))
        return list_add(&plan->nodes, &entry);
    plan->size += st.size;
    return list_add(&plan->files, &entry);
}

static int add_children(const struct clip_image *image, struct plan *plan, uint8_t *seen,
                        uint32_t dir, struct clip_error *err)
{
    uint64_t ino = dir == PLAN_ROOT ? plan->root : plan->dirs.entries[dir].ino;
    struct clip_dirent child;
    int r = 0;

    for (uint64_t i = 0; r == 0 && clip_image_readdir(image, ino, i, &child) == 0; i++)
        r = add_child(image, plan, seen, dir, &child, err);
    return r;
}

static int compare_placed(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;

    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    return x->off < y->off ? -1 : x->off > y->off;
}

static int sort_files(const struct clip_image *image, struct plan_list *files)
{
    struct placed *placed = calloc(files->n + 1, sizeof(placed[0]));
    struct image_extent extent;

    if (!placed)
        return -ENOMEM;
    for (size_t i = 0; i < files->n; i++) {
        placed[i].entry = files->entries[i];
        image_extent(image, files->entries[i].ino, 0, 1, &extent);
        placed[i].layer = extent.layer;
        placed[i].off = extent.layer_off;
    }
    qsort(placed, files->n, sizeof(placed[0]), compare_placed);
    for (size_t i = 0; i < files->n; i++)
        files->entries[i] = placed[i].entry;
    free(placed);
    return 0;
}

static int compare_inos(const void *a, const void *b)
{
    const struct plan_entry *x = a, *y = b;

    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int walk(const struct clip_image *image, struct plan *plan, struct clip_error *err)
{
    uint8_t *seen = calloc(image_n_nodes(image) / 8 + 1, 1);
    int r;

    if (!seen)
        return -ENOMEM;
    r = add_children(image, plan, seen, PLAN_ROOT, err);
    for (uint32_t i = 0; r == 0 && i < plan->dirs.n; i++)
        r = add_children(image, plan, seen, i, err);
    free(seen);
    if (plan->shared.n > 0)
        qsort(plan->shared.entries, plan->shared.n, sizeof(plan->shared.entries[0]), compare_inos);
    return r;
}

int plan_make(const struct clip_image *image, uint64_t root, struct plan *out,
              struct clip_error *err)
{
    struct plan plan = {.root = root};
    struct clip_stat st;
    int r = clip_image_stat(image, root, &st);

    if (r < 0 || !S_ISDIR(st.mode))
        return err_set(err, -ENOTDIR, "what is extracted has to be a directory of the image");
    r = walk(image, &plan, err);
    if (r == 0)
        r = sort_files(image, &plan.files);
    if (r == -ENOMEM)
        err_set(err, r, "out of memory for a plan of %zu directories and %zu files", plan.dirs.n,
                plan.files.n);
    if (r < 0) {
        plan_fini(&plan);
        return r;
    }
    *out = plan;
    return 0;
}

void plan_fini(struct plan *plan)
{
    free(plan->dirs.entries);
    free(plan->files.entries);
    free(plan->nodes.entries);
    free(plan->links.entries);
    free(plan->shared.entries);
    *plan = (struct plan){0};
}

const struct plan_entry *plan_first(const struct plan *plan, uint64_t ino)
{
    const struct plan_entry key = {.ino = ino};

    return bsearch(&key, plan->shared.entries, plan->shared.n, sizeof(key), compare_inos);
}

const char *plan_path(const struct plan *plan, const struct plan_entry *entry, char *out,
                      size_t out_len)
{
    const struct plan_entry *names[64];
    size_t n = 0, len = 0;

    for (;; entry = &plan->dirs.entries[entry->dir]) {
        names[n++] = entry;
        if (entry->dir == PLAN_ROOT || n == 64)
            break;
    }
    out[0] = '\0';
    while (n > 0 && len + 1 < out_len) {
        const struct plan_entry *name = names[--n];
        char quoted[300];
        err_quote(name->name, name->name_len, quoted, sizeof(quoted));
        len += (size_t)snprintf(out + len, out_len - len, "/%s", quoted);
    }
    return out;
}
