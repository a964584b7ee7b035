/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library is looked for as ld.so(8) does: where the file says (its own directory is $ORIGIN),
 * then where the image has directories for libraries. One that is in none of these (ld.so.conf and
 * environments name others) is the one file of that name in the image, if there is just one.
 */
#include "index/resolve_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_dir(struct resolve *res, uint64_t dir)
{
    struct libraries *libraries = &res->libraries;

    for (unsigned i = 0; i < libraries->n_dirs; i++)
        if (libraries->dirs[i] == dir)
            return;
    if (libraries->n_dirs < LIB_DIRS_MAX && resolve_is_dir(res, dir))
        libraries->dirs[libraries->n_dirs++] = dir;
}

/* As Debian calls the directories of the architectures that index/needs_elf.c knows. */
static bool is_multiarch(const struct path_name *name)
{
    static const char *const begins[] = {"x86_64-linux-",   "aarch64-linux-",
                                         "riscv64-linux-",  "powerpc64le-linux-",
                                         "mips64el-linux-", "loongarch64-linux-"};

    for (unsigned i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
        if (name->len > strlen(begins[i]) && path_begins(name, begins[i]))
            return true;
    return false;
}

/* /usr/lib, and /usr/lib/x86_64-linux-gnu before it. */
void libraries_init(struct resolve *res)
{
    static const char *const dirs[] = {"/usr/local/lib64", "/usr/local/lib", "/lib64",
                                       "/usr/lib64",       "/lib",           "/usr/lib"};
    struct clip_dirent child;
    uint64_t dir;

    section_init(&res->libraries.nodes);
    for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (image_lookup_at(&res->image, CLIP_ROOT_INO, dirs[i], true, &dir) < 0)
            continue;
        for (uint64_t at = 0; clip_image_readdir(&res->image, dir, at, &child) == 0; at++)
            if (is_multiarch(&(struct path_name){child.name, child.name_len}))
                add_dir(res, child.ino);
        add_dir(res, dir);
    }
}

/* "../lib" of "$ORIGIN/../lib"; NULL: that is not from the file's own directory. */
static const char *skip_origin(const char *said)
{
    static const char *const origins[] = {"$ORIGIN", "${ORIGIN}"};

    for (unsigned i = 0; i < sizeof(origins) / sizeof(origins[0]); i++)
        if (strncmp(said, origins[i], strlen(origins[i])) == 0)
            return said + strlen(origins[i]) + strspn(said + strlen(origins[i]), "/");
    return NULL;
}

static bool find_said(struct resolve *res, const char *said, const char *name, uint64_t *out)
{
    const char *rest = skip_origin(said);
    char path[PATH_MAX_LEN];

    if (rest)
        said = rest;
    else if (said[0] != '/')
        return false;
    return (size_t)snprintf(path, sizeof(path), "%s%s%s", said, said[0] ? "/" : "", name) <
               sizeof(path) &&
           resolve_find_file(res, res->dir, path, out);
}

/* A list with colons between. */
static bool find_in_said(struct resolve *res, const char *list, const char *name, uint64_t *out)
{
    char copy[NEEDS_WORD_MAX + 1], *rest = copy, *said;

    snprintf(copy, sizeof(copy), "%s", list);
    while ((said = strsep(&rest, ":")))
        if (said[0] && find_said(res, said, name, out))
            return true;
    return false;
}

static int compare_libraries(const void *a, const void *b, void *data)
{
    const struct resolve *res = data;
    const struct path_name right = resolve_name(res, *(const uint32_t *)b + 1ull);

    return image_compare_name(&res->image, &res->image.nodes[*(const uint32_t *)a], right.bytes,
                              right.len);
}

/* "libc.so", "libc.so.6". Most names are told by their last byte. */
static bool is_library_name(const struct path_name *name)
{
    char last = name->len > 3 ? name->bytes[name->len - 1] : '\0';

    return (last == 'o' || (last >= '0' && last <= '9')) &&
           memmem(name->bytes, name->len, ".so", 3) != NULL;
}

static int list_libraries(struct resolve *res)
{
    struct section *nodes = &res->libraries.nodes;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < res->image.n_nodes; i++) {
        const struct path_name name = resolve_name(res, (uint64_t)i + 1);

        if (is_library_name(&name))
            r = section_append(nodes, &i, sizeof(i));
    }
    if (r == 0 && nodes->len > 0)
        qsort_r(nodes->bytes, nodes->len / sizeof(uint32_t), sizeof(uint32_t), compare_libraries,
                res);
    res->libraries.is_listed = true;
    return r;
}

static uint32_t library_at(const struct resolve *res, size_t i)
{
    return ((const uint32_t *)res->libraries.nodes.bytes)[i];
}

static int compare_library(const struct resolve *res, size_t i, const char *name, size_t len)
{
    return image_compare_name(&res->image, &res->image.nodes[library_at(res, i)], name, len);
}

/* The file behind a name among all, wherever it is. */
static bool find_library(struct resolve *res, size_t i, uint64_t *out)
{
    uint64_t ino = (uint64_t)library_at(res, i) + 1;
    const struct path_name name = resolve_name(res, ino);
    char text[PATH_NAME_MAX + 1];

    snprintf(text, sizeof(text), "%.*s", (int)name.len, name.bytes);
    return resolve_find_file(res, image_parent(&res->image, ino), text, out);
}

/* 1: it is the only one; 0: there is none, or there are several. */
static int find_anywhere(struct resolve *res, const char *name, uint64_t *out)
{
    size_t len = strlen(name), low = 0, high, n;
    uint64_t found = 0, ino;
    int r = res->libraries.is_listed ? 0 : list_libraries(res);

    if (r < 0)
        return r;
    n = high = res->libraries.nodes.len / sizeof(uint32_t);
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_library(res, middle, name, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < n && resolve_take_step(res) && compare_library(res, low, name, len) == 0; low++) {
        if (!find_library(res, low, &ino) || ino == found)
            continue;
        if (found)
            return 0;
        found = ino;
    }
    *out = found;
    return found != 0;
}

int libraries_put(struct resolve *res, const char *name)
{
    uint64_t ino;
    int r;

    if (name[0] == '/')
        return resolve_find_file(res, CLIP_ROOT_INO, name, &ino) ? resolve_put(res, ino) : 0;
    for (unsigned i = 0; i < res->libraries.n_said; i++)
        if (find_in_said(res, res->libraries.said[i], name, &ino))
            return resolve_put(res, ino);
    for (unsigned i = 0; i < res->libraries.n_dirs; i++)
        if (resolve_find_file(res, res->libraries.dirs[i], name, &ino))
            return resolve_put(res, ino);
    r = strchr(name, '/') ? 0 : find_anywhere(res, name, &ino);
    return r > 0 ? resolve_put(res, ino) : r;
}

void libraries_fini(struct resolve *res)
{
    section_fini(&res->libraries.nodes);
}
