/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tar stream as events: entries, their bytes, and where in the layer these bytes lie.
 *
 * Framing, names, numbers and sparse maps are ours (512-byte blocks, x/g/L/K payloads, never
 * blocks, any cut of the bytes); what vendors' records mean (extended attributes, ACLs) is
 * libarchive's, asked with one header run at a time. fuzz_tar compares both. Pure; one thread at a
 * time.
 *
 * Reads V7, ustar, GNU (long names and links, sparse 0.0/0.1/1.0 and old GNU sparse, base-256) and
 * pax (path, linkpath, size, uid, gid, mtime, g headers, SCHILY.xattr, LIBARCHIVE.xattr,
 * SCHILY.acl.*).
 */
#ifndef CLIP_INDEX_TAR_H
#define CLIP_INDEX_TAR_H

#include "engine/err.h"

#include <stddef.h>
#include <stdint.h>

/* Ceilings: past them a header is refused with -EBADMSG (hostile, not real). */
#define TAR_PATH_MAX   65536u     /* bytes of a path or a link target */
#define TAR_META_MAX   (1u << 20) /* bytes of one x/g/L/K payload */
#define TAR_XATTRS_MAX (1u << 20) /* bytes of all xattrs of an entry */
#define TAR_SPARSE_MAX (1u << 20) /* extents of a sparse file */

enum tar_event {
    TAR_MORE_IN, /* all input is used: feed again */
    TAR_ENTRY,   /* tar_entry() holds a header; its data, if any, follows */
    TAR_DATA,    /* tar_data() is a piece of the entry's stored bytes, in order */
    TAR_ENTRY_END,
    TAR_END /* two zero blocks, or the input ended between entries; the rest is ignored */
};

enum tar_type { TAR_FILE, TAR_HARDLINK, TAR_SYMLINK, TAR_CHAR, TAR_BLOCK, TAR_DIR, TAR_FIFO };

struct tar_xattr {
    const char *name; /* NUL terminated, as the kernel wants it ("security.capability") */
    const void *value;
    size_t value_len;
};

/* A stretch of data of a (sparse) file: `len` bytes of content at file_off lie at layer_off. */
struct tar_extent {
    uint64_t file_off;
    uint64_t layer_off;
    uint64_t len;
};

/* Valid from ENTRY to the step after ENTRY_END. Strings are the bytes of the archive, NUL
 * terminated, neither cleaned nor checked for "..": that is tree's. */
struct tar_entry {
    enum tar_type type;
    const char *path;
    const char *link; /* hard link's or symlink's target, else NULL */
    uint32_t mode;    /* permission bits, 07777 */
    uint32_t uid, gid;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint32_t rdev_major, rdev_minor;
    uint64_t size;                    /* of the content, holes included */
    uint64_t header_off;              /* of the first header block of the run, in the layer */
    const struct tar_extent *extents; /* of a regular file with data; sorted, not overlapping */
    size_t n_extents;                 /* 1 for an ordinary file, 0 when it has no data */
    const struct tar_xattr *xattrs;
    size_t n_xattrs;
};

struct tar;

int tar_new(struct tar **out);
void tar_free(struct tar *tar);
/* Lends `in` until MORE_IN comes back. */
void tar_feed(struct tar *tar, const void *in, size_t len);
/* No more input: the next steps give TAR_END, or -EBADMSG if cut inside an entry. */
void tar_finish(struct tar *tar);
/* An event, or -EBADMSG / -ENOMEM with a sentence that names the offset. */
int tar_step(struct tar *tar, struct clip_error *err);
const struct tar_entry *tar_entry(const struct tar *tar);
/* Content bytes only: a GNU 1.0 sparse map is not part of them. file_off is where they belong. */
void tar_data(const struct tar *tar, const void **out, size_t *out_len, uint64_t *out_file_off);

#endif
