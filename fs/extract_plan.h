/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be made to extract a tree, in the order in which it is cheap: directories from the
 * top down, what has no bytes with its directory, files as they lie in their layers, further names
 * of files at last. Pure; any thread.
 */
#ifndef CLIP_FS_EXTRACT_PLAN_H
#define CLIP_FS_EXTRACT_PLAN_H

#include "index/image.h"

#define PLAN_ROOT UINT32_MAX /* as `dir`: the directory that is extracted into */

/* Names are the image's and not NUL terminated. */
struct plan_entry {
    uint64_t ino;
    const char *name;
    uint32_t name_len;
    uint32_t dir; /* number of its directory in the plan */
};

struct plan_list {
    struct plan_entry *entries;
    size_t n, cap;
};

struct plan {
    uint64_t root;          /* inode */
    struct plan_list dirs;  /* without the root; parents first */
    struct plan_list files; /* regular, by place in their layers; one name of each */
    struct plan_list nodes; /* symlinks, devices, FIFOs; one name of each */
    struct plan_list links; /* further names */
    struct plan_list
        shared;    /* what they are names of: a name of each in files or nodes, by inode */
    uint64_t size; /* bytes of the files */
};

/* -ENOTDIR, -ENOMEM, CLIP_EFORMAT for a name that would lead elsewhere. */
int plan_make(const struct clip_image *image, uint64_t root, struct plan *out,
              struct clip_error *err);
void plan_fini(struct plan *plan);

/* The name under which a file that has several was put into files or nodes. */
const struct plan_entry *plan_first(const struct plan *plan, uint64_t ino);
/* The path from the root, for messages; cut where `out` ends. Returns out. */
const char *plan_path(const struct plan *plan, const struct plan_entry *entry, char *out,
                      size_t out_len);

#endif
