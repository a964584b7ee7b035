/* SPDX-License-Identifier: Apache-2.0 */
/* The body behind index/resolve.h, for index/resolve*.c alone. */
#ifndef CLIP_INDEX_RESOLVE_PRIVATE_H
#define CLIP_INDEX_RESOLVE_PRIVATE_H

#include "engine/map.h"
#include "index/image_map.h"
#include "index/needs_python.h"
#include "index/path.h"
#include "index/resolve.h"

#define ROOTS_MAX    64u /* directories where Python begins to look */
#define LIB_DIRS_MAX 32u
#define PATH_MAX_LEN 1024u /* of a directory and a name that are looked up together */

/* Where libraries are. */
struct libraries {
    uint64_t dirs[LIB_DIRS_MAX];
    unsigned n_dirs;
    struct section nodes;           /* uint32_t: those with a library's name, sorted by it */
    bool is_listed;                 /* they are there */
    const char *said[LIB_DIRS_MAX]; /* by the file that is looked at: lists of directories */
    unsigned n_said;
};

/* In the order in which Python looks there. */
enum root_kind { ROOT_LIBRARY, ROOT_LIB_DYNLOAD, ROOT_PACKAGES };

struct root {
    uint64_t ino;
    enum root_kind kind;
    char version[PYTHON_VERSION_LEN]; /* "3.11"; "3": any of these */
};

/* A module, or a package: what is read of it, and where its own modules are. */
struct module {
    uint64_t file; /* 0: a package without a file */
    uint64_t dir;  /* 0: no package */
};

/* What was found by a name in a directory: the same modules are imported everywhere. */
struct memo {
    uint64_t dir;
    uint32_t name; /* in `names`, NUL terminated */
    char version[PYTHON_VERSION_LEN];
    bool is_found;
    struct module module;
};

/* Where modules are. */
struct modules {
    struct root roots[ROOTS_MAX];
    unsigned n_roots;
    char version[PYTHON_VERSION_LEN]; /* of Python's library, if there is just one */
    struct section memos, names;      /* struct memo, by `map` */
    struct map map;
    /* of the file that is looked at */
    uint64_t top; /* where it is when it is outside of all packages */
    char its_version[PYTHON_VERSION_LEN];
};

struct resolve {
    struct clip_image image; /* the tables alone */
    struct libraries libraries;
    struct modules modules;
    struct section found; /* struct found (resolve.c), file by file */
    uint64_t max_found, steps_left;
    /* of the file that is looked at */
    const struct tree_node *node;
    uint64_t dir;    /* that it is in */
    uint64_t reader; /* what will be read of it: itself, or compiled */
    size_t first;    /* of its needs, in `found` */
};

static inline const struct format_node *resolve_node(const struct resolve *res, uint64_t ino)
{
    return &res->image.nodes[ino - 1];
}

static inline struct path_name resolve_name(const struct resolve *res, uint64_t ino)
{
    const struct format_node *node = resolve_node(res, ino);

    return (struct path_name){res->image.strings + node->name, node->name_len};
}

static inline bool resolve_is_dir(const struct resolve *res, uint64_t ino)
{
    return resolve_node(res, ino)->kind == FORMAT_DIR;
}

static inline bool resolve_is_file(const struct resolve *res, uint64_t ino)
{
    return node_is_file(resolve_node(res, ino));
}

/* ---- resolve.c */

/* An image can be made to be looked through for hours: false when it was enough. */
bool resolve_take_step(struct resolve *res);
/* `path` from `dir`, or absolute. False: there is no such file. */
bool resolve_find_file(struct resolve *res, uint64_t dir, const char *path, uint64_t *out);
/* The file that is looked at needs that one. -ENOMEM. */
int resolve_put(struct resolve *res, uint64_t ino);

/* ---- resolve_library.c */

void libraries_init(struct resolve *res);
void libraries_fini(struct resolve *res);
/* An soname, or a path. -ENOMEM. */
int libraries_put(struct resolve *res, const char *name);

/* ---- resolve_module.c */

void modules_init(struct resolve *res);
void modules_fini(struct resolve *res);
/* A file begins to be looked at. */
void modules_begin(struct resolve *res);
/* What is read of a file: its compiled form, if it is a source that has one. */
uint64_t modules_reader(struct resolve *res, uint64_t ino);
/* As NEEDS_MODULE has it. -ENOMEM. */
int modules_put(struct resolve *res, const char *path);
int modules_put_site(struct resolve *res);

#endif
