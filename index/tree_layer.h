/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a tree_layer: what one layer said, in its order; for index/tree_*.c alone. */
#ifndef CLIP_INDEX_TREE_LAYER_H
#define CLIP_INDEX_TREE_LAYER_H

#include "index/arena.h"
#include "index/tree.h"

enum record_type {
    RECORD_FILE,
    RECORD_DIR,
    RECORD_SYMLINK,
    RECORD_CHAR,
    RECORD_BLOCK,
    RECORD_FIFO,
    RECORD_HARDLINK,
    RECORD_WHITEOUT, /* `name` is what it takes away */
    RECORD_OPAQUE    /* `dir` is what it empties; no name */
};

/* What a regular file has when it is not empty. Nearly all are one piece, from 0 to size: then
 * n_extents is 1 and only `layer_off` is kept of it. */
struct tree_content {
    uint64_t size;
    struct digest digest;
    union {
        uint64_t layer_off;               /* is_whole */
        const struct tar_extent *extents; /* else */
    };
    uint32_t n_extents;
    bool is_whole;
    bool has_needs; /* it is the beginning of a tree_needy */
};

/* That of a file that says what it needs (index/needs_list.h). */
struct tree_needy {
    struct tree_content content;
    size_t len;
    char text[];
};

struct tree_xattrs {
    size_t n;
    struct tar_xattr items[]; /* sorted by name, no name twice */
};

struct tree_device {
    uint32_t major, minor;
};

/* An entry; there may be millions, so no byte too many. */
struct tree_record {
    const char *dir;  /* cleaned, "" is the root; neighbours share it */
    const char *name; /* "" is the root itself */
    union {
        struct tree_content *content; /* NULL: empty */
        const char *target;           /* of a symlink; cleaned, of a hard link */
        struct tree_device device;
    };
    const struct tree_xattrs *xattrs; /* NULL: none */
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint32_t uid, gid;
    uint16_t mode;
    uint8_t type; /* enum record_type */
    uint8_t name_len;
};

struct tree_layer {
    struct arena arena;
    struct tree_record *records;
    size_t n_records, cap;
    size_t n_whiteouts; /* opaque markers too */
    size_t n_links;     /* hard ones */
    const char *last_dir;
    struct tree_content *last_content; /* of the entry added last */
    char *scratch;                     /* a path being cleaned */
    size_t scratch_len;
};

/* "dir/name" for a message; at most out_len - 1 bytes of it. Returns out. */
const char *tree_record_path(const struct tree_record *record, char *out, size_t out_len);

#endif
