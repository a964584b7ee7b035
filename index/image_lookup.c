/* SPDX-License-Identifier: Apache-2.0 */
/* A path from the image's root, as the kernel would walk it after chroot: symlinks' targets go on
 * a stack of what is still to be walked. */
#include "index/image.h"
#include "index/path.h"

#include <string.h>

struct lookup {
    const struct clip_image *image;
    struct path_iter todo[PATH_LINKS_MAX + 1];
    unsigned n_todo, n_links;
    uint64_t at;
};

static bool is_dir(const struct clip_image *image, uint64_t ino)
{
    struct clip_dirent child;
    int r = clip_image_readdir(image, ino, 0, &child);

    return r != -ENOTDIR;
}

/* Nothing but slashes is left to walk: the component just taken is the last. */
static bool is_last(const struct lookup *l)
{
    for (unsigned i = 0; i < l->n_todo; i++) {
        struct path_iter rest = l->todo[i];
        struct path_name name;
        if (path_next(&rest, &name))
            return false;
    }
    return true;
}

static int follow_link(struct lookup *l, const char *target, size_t len)
{
    if (l->n_links++ == PATH_LINKS_MAX)
        return -ELOOP;
    if (target[0] == '/')
        l->at = CLIP_ROOT_INO;
    l->todo[l->n_todo++] = (struct path_iter){target, target + len};
    return 0;
}

static int step(struct lookup *l, const struct path_name *name, bool follow_last)
{
    const char *target;
    size_t target_len;
    uint64_t child;
    int r;

    if (!is_dir(l->image, l->at))
        return -ENOTDIR;
    if (path_is_dot(name))
        return 0;
    if (path_is_dotdot(name)) {
        l->at = image_parent(l->image, l->at);
        return 0;
    }
    if (name->len > PATH_NAME_MAX)
        return -ENAMETOOLONG;
    r = image_find(l->image, l->at, name->bytes, name->len, &child);
    if (r < 0)
        return r;
    if (clip_image_readlink(l->image, child, &target, &target_len) == 0 &&
        (follow_last || !is_last(l)))
        return follow_link(l, target, target_len);
    l->at = child;
    return 0;
}

int clip_image_lookup(const struct clip_image *image, const char *path, bool follow,
                      uint64_t *out_ino)
{
    size_t len = strlen(path);
    bool wants_dir = len > 0 && path[len - 1] == '/';
    struct lookup l = {
        .image = image,
        .todo = {{path, path + len}},
        .n_todo = 1,
        .at = CLIP_ROOT_INO,
    };
    struct path_name name;

    while (l.n_todo > 0) {
        int r;
        if (!path_next(&l.todo[l.n_todo - 1], &name)) {
            l.n_todo--;
            continue;
        }
        r = step(&l, &name, follow || wants_dir);
        if (r < 0)
            return r;
    }
    if (wants_dir && !is_dir(image, l.at))
        return -ENOTDIR;
    *out_ino = l.at;
    return 0;
}
