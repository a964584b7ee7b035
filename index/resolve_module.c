/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module is looked for as Python does: from the package of the file that imports it, or, by an
 * absolute name, from the file's top and then from the directories of Python's own library and of
 * installed packages. Which those are, and of which version, is told by their names.
 * Of a module that has been compiled, the compiled one is what is read.
 */
#include "index/resolve_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Python's directories */

static void add_root(struct modules *modules, uint64_t ino, enum root_kind kind,
                     const char version[PYTHON_VERSION_LEN])
{
    struct root *root = &modules->roots[modules->n_roots];

    if (modules->n_roots == ROOTS_MAX)
        return;
    *root = (struct root){.ino = ino, .kind = kind};
    memcpy(root->version, version, sizeof(root->version));
    modules->n_roots++;
}

/* By its name, and that of the directory above: .../python3.11/lib-dynload. */
static void look_at_dir(struct resolve *res, uint64_t ino)
{
    struct path_name name = resolve_name(res, ino);
    struct path_name above = resolve_name(res, image_parent(&res->image, ino));
    bool is_dynload = path_is(&name, "lib-dynload");
    char version[PYTHON_VERSION_LEN];
    uint64_t os;

    if (python_version(&name, version) && resolve_find_file(res, ino, "os.py", &os))
        add_root(&res->modules, ino, ROOT_LIBRARY, version);
    if (!is_dynload && !path_is(&name, "dist-packages") && !path_is(&name, "site-packages"))
        return;
    if (python_version(&above, version))
        add_root(&res->modules, ino, is_dynload ? ROOT_LIB_DYNLOAD : ROOT_PACKAGES, version);
}

static int compare_roots(const void *a, const void *b)
{
    const struct root *left = a, *right = b;

    if (left->kind != right->kind)
        return (int)left->kind - (int)right->kind;
    return (left->ino > right->ino) - (left->ino < right->ino);
}

void modules_init(struct resolve *res)
{
    struct modules *modules = &res->modules;
    unsigned n_libraries = 0;

    map_init(&modules->map);
    for (uint64_t ino = 1; ino <= res->image.n_nodes; ino++)
        if (resolve_is_dir(res, ino))
            look_at_dir(res, ino);
    qsort(modules->roots, modules->n_roots, sizeof(modules->roots[0]), compare_roots);
    while (n_libraries < modules->n_roots && modules->roots[n_libraries].kind == ROOT_LIBRARY)
        n_libraries++;
    if (n_libraries == 1)
        memcpy(modules->version, modules->roots[0].version, sizeof(modules->version));
}

/* "3" is that of all 3.x, "" of all. */
static bool is_of_version(const char *version, const char *other)
{
    size_t len = strlen(version), other_len = strlen(other), n = len < other_len ? len : other_len;

    return memcmp(version, other, n) == 0 &&
           (len == other_len || n == 0 || (len > n ? version : other)[n] == '.');
}

/* Of the file, by its own name or that of a directory that it is in; else the image's. */
static void find_version(struct resolve *res)
{
    struct path_name name = {res->node->name, res->node->name_len};
    char *version = res->modules.its_version;
    bool is_found = python_version(&name, version);

    for (uint64_t dir = res->dir; !is_found && dir != CLIP_ROOT_INO && resolve_take_step(res);
         dir = image_parent(&res->image, dir)) {
        name = resolve_name(res, dir);
        is_found = python_version(&name, version);
    }
    if (!is_found || (!strchr(version, '.') && is_of_version(version, res->modules.version)))
        memcpy(version, res->modules.version, sizeof(res->modules.version));
}

/* Where it is when it is outside of all packages, upwards from its directory. */
static void find_top(struct resolve *res)
{
    uint64_t *top = &res->modules.top, init;

    *top = res->dir;
    while (*top != CLIP_ROOT_INO && resolve_find_file(res, *top, "__init__.py", &init))
        *top = image_parent(&res->image, *top);
}

/* ---- modules */

/* The first child whose name is "BEGIN*END". */
static bool find_named(struct resolve *res, uint64_t dir, const char *begin, const char *end,
                       uint64_t *out)
{
    struct clip_dirent child;
    uint64_t at;

    if (image_seek(&res->image, dir, begin, strlen(begin), &at) < 0)
        return false;
    for (; resolve_take_step(res) && clip_image_readdir(&res->image, dir, at, &child) == 0; at++) {
        const struct path_name name = {child.name, child.name_len};

        if (!path_begins(&name, begin))
            return false;
        if (name.len >= strlen(begin) + strlen(end) && path_ends(&name, end) &&
            resolve_is_file(res, child.ino)) {
            *out = child.ino;
            return true;
        }
    }
    return false;
}

/* What Python reads of "NAME.py" in `dir`: the compiled one, if there is one. 3.11 has its own in
 * __pycache__/NAME.cpython-311.pyc; of an unknown version the first is as good as any. */
static uint64_t compiled(struct resolve *res, uint64_t dir, const char *name, uint64_t source)
{
    const char *version = res->modules.its_version, *dot = strchr(version, '.');
    char path[PATH_MAX_LEN];
    uint64_t cache, ino;

    if (image_find(&res->image, dir, "__pycache__", 11, &cache) < 0 || !resolve_is_dir(res, cache))
        return source;
    if (!dot) {
        snprintf(path, sizeof(path), "%s.cpython-", name);
        return find_named(res, cache, path, ".pyc", &ino) ? ino : source;
    }
    snprintf(path, sizeof(path), "%s.cpython-%.*s%s.pyc", name, (int)(dot - version), version,
             dot + 1);
    return resolve_find_file(res, cache, path, &ino) ? ino : source;
}

static bool look_for_module(struct resolve *res, uint64_t dir, const char *name, struct module *out)
{
    char begin[PATH_NAME_MAX + 2];
    size_t len = strlen(name);
    uint64_t ino, package = 0;

    if (image_find(&res->image, dir, name, len, &ino) == 0 && resolve_is_dir(res, ino)) {
        package = ino;
        if (resolve_find_file(res, package, "__init__.py", &ino)) {
            *out = (struct module){compiled(res, package, "__init__", ino), package};
            return true;
        }
    }
    snprintf(begin, sizeof(begin), "%s.", name);
    if (find_named(res, dir, begin, ".so", &ino)) {
        *out = (struct module){.file = ino};
        return true;
    }
    strcat(begin, "py");
    if (resolve_find_file(res, dir, begin, &ino)) {
        *out = (struct module){.file = compiled(res, dir, name, ino)};
        return true;
    }
    *out = (struct module){.dir = package};
    return package != 0;
}

#define MEMOS_MAX 65536u

struct memo_key {
    uint64_t dir;
    const char *name;
};

static bool is_memo(const void *owner, uint32_t value, const void *data)
{
    const struct resolve *res = owner;
    const struct memo *memo = (const struct memo *)res->modules.memos.bytes + value;
    const struct memo_key *key = data;

    return memo->dir == key->dir && strcmp(memo->version, res->modules.its_version) == 0 &&
           strcmp((const char *)res->modules.names.bytes + memo->name, key->name) == 0;
}

static int add_memo(struct resolve *res, uint32_t hash, const char *name, struct memo *memo)
{
    uint32_t number = (uint32_t)(res->modules.memos.len / sizeof(*memo));
    int r;

    memo->name = (uint32_t)res->modules.names.len;
    memcpy(memo->version, res->modules.its_version, sizeof(memo->version));
    r = section_append(&res->modules.names, name, strlen(name) + 1);
    if (r == 0)
        r = section_append(&res->modules.memos, memo, sizeof(*memo));
    return r < 0 ? r : map_add(&res->modules.map, hash, number);
}

/* 1, 0, -ENOMEM. */
static int find_module(struct resolve *res, uint64_t dir, const char *name, struct module *out)
{
    const struct memo_key key = {.dir = dir, .name = name};
    uint32_t hash = map_hash(&res->modules.map, dir, name, strlen(name));
    uint32_t number = map_find(&res->modules.map, hash, is_memo, res, &key);
    struct memo memo = {.dir = dir};
    int r = 0;

    if (number != MAP_NONE) {
        memo = ((const struct memo *)res->modules.memos.bytes)[number];
    } else {
        memo.is_found = look_for_module(res, dir, name, &memo.module);
        if (res->modules.map.n < MEMOS_MAX)
            r = add_memo(res, hash, name, &memo);
    }
    *out = memo.module;
    return r < 0 ? r : memo.is_found;
}

/* "a.b.c" from `dir` on: a, a.b and a.b.c are read, as far as they are modules. 1: some was found;
 * 0: not even the first. */
static int put_path(struct resolve *res, uint64_t dir, const char *path)
{
    char copy[NEEDS_WORD_MAX + 1], *rest = copy, *name;
    struct module module;
    int r = 0, found = 0;

    snprintf(copy, sizeof(copy), "%s", path);
    while (r >= 0 && dir != 0 && (name = strsep(&rest, "."))) {
        if (!name[0] || strlen(name) > PATH_NAME_MAX - 4)
            break;
        r = find_module(res, dir, name, &module);
        if (r <= 0)
            break;
        found = 1;
        if (module.file)
            r = resolve_put(res, module.file);
        dir = module.dir;
    }
    return r < 0 ? r : found;
}

static int put_absolute(struct resolve *res, const char *path)
{
    int r = put_path(res, res->modules.top, path);

    for (unsigned i = 0; r == 0 && i < res->modules.n_roots; i++)
        if (is_of_version(res->modules.roots[i].version, res->modules.its_version))
            r = put_path(res, res->modules.roots[i].ino, path);
    return r < 0 ? r : 0;
}

/* ".a" is from the package that the file is in, "..a" from the one above. */
int modules_put(struct resolve *res, const char *path)
{
    uint64_t dir = res->dir;
    int r;

    if (*path != '.')
        return put_absolute(res, path);
    while (*++path == '.')
        dir = image_parent(&res->image, dir);
    r = put_path(res, dir, path);
    return r < 0 ? r : 0;
}

int modules_put_site(struct resolve *res)
{
    struct clip_dirent child;
    int r = 0;

    for (unsigned i = 0; i < res->modules.n_roots; i++) {
        const struct root *root = &res->modules.roots[i];

        if (root->kind != ROOT_PACKAGES || !is_of_version(root->version, res->modules.its_version))
            continue;
        for (uint64_t at = 0; r == 0 && resolve_take_step(res) &&
                              clip_image_readdir(&res->image, root->ino, at, &child) == 0;
             at++)
            if (path_ends(&(struct path_name){child.name, child.name_len}, ".pth"))
                r = resolve_put(res, child.ino);
    }
    return r;
}

uint64_t modules_reader(struct resolve *res, uint64_t ino)
{
    const struct path_name source = {res->node->name, res->node->name_len};
    char name[PATH_NAME_MAX + 1];

    if (!path_ends(&source, ".py"))
        return ino;
    snprintf(name, sizeof(name), "%.*s", (int)(source.len - strlen(".py")), source.bytes);
    return compiled(res, res->dir, name, ino);
}

void modules_begin(struct resolve *res)
{
    find_version(res);
    find_top(res);
}

void modules_fini(struct resolve *res)
{
    section_fini(&res->modules.memos);
    section_fini(&res->modules.names);
    map_fini(&res->modules.map);
}
