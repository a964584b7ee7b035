/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path is:
 * - node by node, what the file says is looked up, word by word, in the order in which it will be:
 *   programs here, libraries in resolve_library.c, modules in resolve_module.c.
 * - where a source has been compiled, what is read, and so what needs the others, is that.
 * - the needs are sorted by the file that has them.
 * Possible failure modes are: no memory. An image that can be looked through for hours, by links
 * and names made for that, is given up after some time: what was found is kept.
 */
#include "index/resolve_private.h"

#include "index/needs_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A need, and which it was. */
struct found {
    struct format_need need;
    uint32_t order;
};

bool resolve_take_step(struct resolve *res)
{
    res->steps_left -= res->steps_left > 0;
    return res->steps_left > 0;
}

/* ---- needs */

static const struct found *found_at(const struct resolve *res, size_t i)
{
    return (const struct found *)res->found.bytes + i;
}

static size_t n_found(const struct resolve *res)
{
    return res->found.len / sizeof(struct found);
}

static bool is_known(const struct resolve *res, uint32_t needed)
{
    for (size_t i = res->first; i < n_found(res); i++)
        if (found_at(res, i)->need.needed == needed)
            return true;
    return false;
}

int resolve_put(struct resolve *res, uint64_t ino)
{
    const struct found found = {{(uint32_t)res->reader - 1, (uint32_t)ino - 1},
                                (uint32_t)n_found(res)};

    if (ino == res->reader || !resolve_is_file(res, ino) || n_found(res) >= res->max_found ||
        n_found(res) - res->first >= RESOLVE_PER_FILE || is_known(res, found.need.needed))
        return 0;
    return section_append(&res->found, &found, sizeof(found));
}

/* ---- files by their paths, and commands */

bool resolve_find_file(struct resolve *res, uint64_t dir, const char *path, uint64_t *out)
{
    return resolve_take_step(res) && image_lookup_at(&res->image, dir, path, true, out) == 0 &&
           resolve_is_file(res, *out);
}

static int put_file(struct resolve *res, const char *path)
{
    uint64_t ino;
    int r = resolve_find_file(res, CLIP_ROOT_INO, path, &ino) ? resolve_put(res, ino) : 0;

    /* ld.so looks up there where the libraries are */
    if (r == 0 && strstr(path, "/ld-") &&
        resolve_find_file(res, CLIP_ROOT_INO, "/etc/ld.so.cache", &ino))
        r = resolve_put(res, ino);
    return r;
}

static int put_command(struct resolve *res, const char *name)
{
    static const char *const dirs[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                       "/usr/bin",        "/sbin",          "/bin"};
    uint64_t dir, ino;

    if (strchr(name, '/'))
        return put_file(res, name);
    for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
        if (image_lookup_at(&res->image, CLIP_ROOT_INO, dirs[i], true, &dir) == 0 &&
            resolve_find_file(res, dir, name, &ino))
            return resolve_put(res, ino);
    return 0;
}

/* ---- file by file */

static int put_word(struct resolve *res, const struct needs_word *word)
{
    switch (word->type) {
    case NEEDS_PATH:
        return put_file(res, word->word);
    case NEEDS_COMMAND:
        return put_command(res, word->word);
    case NEEDS_LIBDIR:
        if (res->libraries.n_said < LIB_DIRS_MAX)
            res->libraries.said[res->libraries.n_said++] = word->word;
        return 0;
    case NEEDS_LIBRARY:
        return libraries_put(res, word->word);
    case NEEDS_MODULE:
        return modules_put(res, word->word);
    case NEEDS_SITE:
        return modules_put_site(res);
    }
    return 0;
}

static int look_at_node(struct resolve *res, const struct tree_node *node, uint32_t index)
{
    const char *at = node->needs, *end = at + node->needs_len;
    struct needs_word word;
    int r = 0;

    res->node = node;
    res->dir = (uint64_t)node->parent + 1;
    modules_begin(res);
    res->reader = modules_reader(res, (uint64_t)index + 1);
    res->first = n_found(res);
    res->libraries.n_said = 0;
    while (r == 0 && needs_next(&at, end, &word))
        r = put_word(res, &word);
    return r;
}

static int look_at_nodes(struct resolve *res, const struct resolve_input *input)
{
    int r = 0;

    libraries_init(res);
    modules_init(res);
    for (size_t i = 0; r == 0 && i < input->n_needy; i++) {
        struct tree_node node;

        tree_node(input->tree, input->needy[i], &node);
        r = look_at_node(res, &node, input->needy[i]);
    }
    return r;
}

static int compare_found(const void *a, const void *b)
{
    const struct found *left = a, *right = b;

    if (left->need.node != right->need.node)
        return left->need.node < right->need.node ? -1 : 1;
    return (left->order > right->order) - (left->order < right->order);
}

static int write_found(const struct resolve *res, struct section *out)
{
    int r = section_reserve(out, n_found(res) * sizeof(struct format_need));

    if (res->found.len > 0)
        qsort(res->found.bytes, n_found(res), sizeof(struct found), compare_found);
    for (size_t i = 0; r == 0 && i < n_found(res); i++)
        r = section_append(out, &found_at(res, i)->need, sizeof(struct format_need));
    return r;
}

static void resolve_free(struct resolve *res)
{
    section_fini(&res->found);
    libraries_fini(res);
    modules_fini(res);
    free(res);
}

int resolve_needs(const struct resolve_input *input, struct section *out)
{
    struct resolve *res = calloc(1, sizeof(*res));
    uint64_t n = input->nodes->len / sizeof(struct format_node);
    int r;

    if (!res)
        return -ENOMEM;
    res->image.nodes = (const struct format_node *)input->nodes->bytes;
    res->image.n_nodes = (uint32_t)n;
    res->image.strings = (const char *)input->strings->bytes;
    res->image.strings_len = input->strings->len;
    res->max_found = RESOLVE_FREE + n * RESOLVE_PER_NODE;
    res->steps_left = RESOLVE_STEPS_FREE + n * RESOLVE_STEPS_PER_NODE;
    section_init(&res->found);
    r = look_at_nodes(res, input);
    if (r == 0)
        r = write_found(res, out);
    resolve_free(res);
    return r;
}
