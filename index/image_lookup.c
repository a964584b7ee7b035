/* SPDX-License-Identifier: Apache-2.0 */
/* A path from the image's root, as the kernel would walk it after chroot: symlinks' targets go on
 * a stack of what is still to be walked. */
#include "index/image_map.h"
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

int image_lookup_at(const struct clip_image *image, uint64_t dir, const char *path, bool follow,
                    uint64_t *out_ino)
{
    size_t len = strlen(path);
    bool wants_dir = len > 0 && path[len - 1] == '/';
    struct lookup l = {
        .image = image,
        .todo = {{path, path + len}},
        .n_todo = 1,
        .at = path[0] == '/' ? CLIP_ROOT_INO : dir,
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

int clip_image_lookup(const struct clip_image *image, const char *path, bool follow,
                      uint64_t *out_ino)
{
    return image_lookup_at(image, CLIP_ROOT_INO, path, follow, out_ino);
}

/* Puts `len` bytes so that they end at offset `end`, as far as they fit. */
static void put_before(char *out, size_t out_len, size_t end, const char *bytes, size_t len)
{
    size_t off = end - len;

    if (off + 1 < out_len)
        memcpy(out + off, bytes, len < out_len - 1 - off ? len : out_len - 1 - off);
}

int clip_image_path(const struct clip_image *image, uint64_t ino, char *out, size_t out_len)
{
    const struct format_node *nodes = image->nodes, *node;
    size_t len = ino == CLIP_ROOT_INO, end;

    if (ino == 0 || ino > image->n_nodes)
        return -ENOENT;
    /* a node comes behind its parent, so that these end */
    for (node = &nodes[ino - 1]; node != nodes; node = &nodes[node->parent])
        len += node->name_len + 1u;
    end = len;
    for (node = &nodes[ino - 1]; node != nodes; node = &nodes[node->parent]) {
        put_before(out, out_len, end, image->strings + node->name, node->name_len);
        end -= node->name_len;
        put_before(out, out_len, end--, "/", 1);
    }
    if (ino == CLIP_ROOT_INO)
        put_before(out, out_len, end, "/", 1);
    if (out_len > 0)
        out[len < out_len ? len : out_len - 1] = '\0';
    return (int)len;
}
