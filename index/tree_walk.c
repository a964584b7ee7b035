/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Symlinks met on the way put their target on a stack of what is still to be walked. Components
 * that are not there are collected: ".." after one takes it back again, and at the end they are
 * made, or are why there is nothing. A symlink may so point to a directory that only this walk
 * makes, as securejoin of umoci and fs.RootPath of containerd have it.
 * Time is bounded by DETOURS_MAX: entries are cheap, a symlink's 2,000 components are not.
 */
#include "index/tree_walk.h"

#include <stdlib.h>
#include <string.h>

#define DETOURS_MAX (1ull << 25)

struct step {
    struct path_iter todo[PATH_LINKS_MAX + 1];
    unsigned n_todo, n_links;
    uint32_t at;
};

void walk_fini(struct tree_walk *walk)
{
    free(walk->missing);
    walk->missing = NULL;
}

static int push_missing(struct tree_walk *walk, const struct path_name *what)
{
    size_t cap = walk->cap ? walk->cap * 2 : 16;
    struct path_name *grown;

    if (what->len > PATH_NAME_MAX)
        return -ENAMETOOLONG;
    if (walk->n_missing == walk->cap) {
        grown = realloc(walk->missing, cap * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        walk->missing = grown;
        walk->cap = cap;
    }
    walk->missing[walk->n_missing++] = *what;
    return 0;
}

static int follow(struct step *step, const char *target)
{
    if (step->n_links++ == PATH_LINKS_MAX)
        return -ELOOP;
    if (target[0] == '/')
        step->at = NAME_ROOT;
    /* never full: an entry of the stack is the path itself or one followed symlink */
    step->todo[step->n_todo++] = (struct path_iter){target, target + strlen(target)};
    return 0;
}

static int step_into(struct tree_walk *walk, const struct tree_names *names, struct step *step,
                     const struct path_name *what)
{
    uint32_t child;

    if (walk->n_missing > 0)
        return push_missing(walk, what);
    child = names_find(names, step->at, what);
    if (child == NAME_NONE)
        return push_missing(walk, what);
    if (names_record(names, child)->type == RECORD_SYMLINK)
        return follow(step, names_record(names, child)->target);
    if (!names_is_dir(names, child))
        return -ENOTDIR;
    step->at = child;
    return 0;
}

static void step_up(struct tree_walk *walk, const struct tree_names *names, struct step *step)
{
    if (walk->n_missing > 0)
        walk->n_missing--;
    else
        step->at = names->names[step->at].parent;
}

/* The last directory that is there; what is below it is in walk->missing. */
static int walk_along(struct tree_walk *walk, const struct tree_names *names, const char *path,
                      uint32_t *out)
{
    struct step step = {.todo = {{path, path + strlen(path)}}, .n_todo = 1, .at = NAME_ROOT};
    struct path_name what;
    int r = 0;

    walk->n_missing = 0;
    while (r == 0 && step.n_todo > 0) {
        if (!path_next(&step.todo[step.n_todo - 1], &what)) {
            step.n_todo--;
            continue;
        }
        if (step.n_todo > 1 && walk->n_detours++ > DETOURS_MAX)
            return -ELOOP;
        if (path_is_dotdot(&what))
            step_up(walk, names, &step);
        else if (!path_is_dot(&what))
            r = step_into(walk, names, &step, &what);
    }
    if (r == 0)
        *out = step.at;
    return r;
}

int walk_find(struct tree_walk *walk, const struct tree_names *names, const char *path,
              uint32_t *out)
{
    uint32_t at;
    int r = walk_along(walk, names, path, &at);

    if (r < 0)
        return r;
    if (walk->n_missing > 0)
        return -ENOENT;
    *out = at;
    return 0;
}

int walk_make(struct tree_walk *walk, struct tree_names *names, const char *path,
              const struct tree_record *record, unsigned layer, uint32_t *out)
{
    uint32_t at, inode;
    int r = walk_along(walk, names, path, &at);

    for (size_t i = 0; r == 0 && i < walk->n_missing; i++) {
        r = names_new_inode(names, record, layer, &inode);
        if (r == 0)
            r = names_link(names, at, &walk->missing[i], inode, &at);
    }
    if (r == 0)
        *out = at;
    return r;
}
