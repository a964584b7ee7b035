/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mounted image answers. Metadata comes from the map before the callback returns; only reads
 * may wait. Node numbers are inode numbers, so there is no state per inode or handle: what is kept
 * is a list of the reads that wait, and the kernel bounds those (max_background, and one for each
 * task that reads past the page cache).
 */
#ifndef CLIP_FS_OPS_H
#define CLIP_FS_OPS_H

#include "fs/channel.h"
#include "index/image.h"

struct ops;
typedef void (*ops_cb)(struct ops *ops);

#define OPS_FAILURES 8u

/* A read that failed, and that the kernel is expected to ask for once more. */
struct ops_failure {
    uint64_t ino, off, end;
    uint64_t until_ns; /* 0: it has */
};

struct ops {
    /* public, set by the owner before ops_init() */
    const struct clip_image *image;
    struct clip_reader *reader;
    struct requests *requests;
    unsigned settings;
    bool has_acls;  /* let the kernel enforce them */
    ops_cb on_idle; /* after ops_refuse(): the last read that waited is answered */
    /* private */
    struct queue waiting;
    bool refusing;
    struct ops_failure failures[OPS_FAILURES]; /* the latest, in a ring */
    unsigned n_failures;
};

/* For a channel whose data is a struct ops. */
extern const struct fuse_lowlevel_ops ops_table;

void ops_init(struct ops *ops);
/* Reads that wait get EIO, soon, and so do all that come from now on. */
void ops_refuse(struct ops *ops);
bool ops_idle(const struct ops *ops);

/* Does any node have a POSIX ACL? Goes over all of them: a job of the pool. */
bool ops_find_acls(const struct clip_image *image);

#endif
