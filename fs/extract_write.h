/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that put a tree on disk, for pool jobs. Every one goes down from the root's descriptor
 * by names that are no paths, and follows no symlink: nothing is made outside of it, whatever is
 * done to the directory meanwhile.
 */
#ifndef CLIP_FS_EXTRACT_WRITE_H
#define CLIP_FS_EXTRACT_WRITE_H

#include "fs/extract_plan.h"

#include <sys/uio.h>

struct write_root {
    const struct clip_image *image;
    const struct plan *plan;
    int fd;
    bool is_root; /* the user: owners, devices and all xattrs are set, or it is an error */
    /* counted when not root; touched by jobs that run side by side */
    _Atomic unsigned n_left_out;
};

/* Makes the directory if it is missing; one with something in it is refused. */
int write_root_open(const char *path, int *out_fd, struct clip_error *err);

/* A directory, with passing rights; its own come last, by write_dir_facts(). */
int write_dir(struct write_root *root, const struct plan_entry *entry, struct clip_error *err);
int write_dir_facts(struct write_root *root, const struct plan_entry *entry,
                    struct clip_error *err);
int write_root_facts(struct write_root *root, struct clip_error *err);
/* A symlink, device or FIFO. */
int write_node(struct write_root *root, const struct plan_entry *entry, struct clip_error *err);
int write_link(struct write_root *root, const struct plan_entry *entry, struct clip_error *err);

/* A regular file, piece by piece. */
struct write_file {
    int fd; /* -1: not open */
    uint64_t off;
    struct sha256 sha;
};
int write_file_begin(struct write_root *root, const struct plan_entry *entry,
                     struct write_file *file, struct clip_error *err);
/* Zeros at a block's length are left as holes. */
int write_file_piece(struct write_root *root, const struct plan_entry *entry,
                     struct write_file *file, const struct iovec *pieces, unsigned n,
                     struct clip_error *err);
/* Checks the content's digest; owner, rights, xattrs, times; closes. */
int write_file_end(struct write_root *root, const struct plan_entry *entry, struct write_file *file,
                   struct clip_error *err);
/* What was begun and will not be ended is removed. */
void write_file_drop(struct write_root *root, const struct plan_entry *entry,
                     struct write_file *file);

#endif
