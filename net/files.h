/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The named files of a local source: those of a directory, or those inside of an archive file
 * (net/archive.h). Everything blocks: pool jobs only. Opened once, then only read, so that any
 * number of jobs may look at it.
 */
#ifndef CLIP_NET_FILES_H
#define CLIP_NET_FILES_H

#include "engine/err.h"

/* A file, or the part of a bigger one where a file's bytes lie. */
struct file_part {
    int fd;
    bool owned; /* the fd is the part's to close, else it lives as long as the files */
    uint64_t off, size;
};

struct files;

struct files_ops {
    /* -ENOENT without a sentence if there is none */
    int (*find)(const struct files *files, const char *name, struct file_part *out,
                struct clip_error *err);
    void (*free)(struct files *files);
};

struct files {
    const struct files_ops *ops;
    char *path; /* owned */
};

/* `path` is a directory. */
int files_open_dir(const char *path, struct files **out, struct clip_error *err);
void files_free(struct files *files); /* NULL is allowed */

/* `name` is relative and comes from us or from a text that was checked. */
int files_find(const struct files *files, const char *name, struct file_part *out,
               struct clip_error *err);
bool files_has(const struct files *files, const char *name);
/* The whole of a small file, at most `max` bytes; malloc'ed, the caller frees. */
int files_read(const struct files *files, const char *name, size_t max, void **out, size_t *out_len,
               struct clip_error *err);

/* Exactly `len` bytes from `off` within the part, or an error. */
int file_part_read(const struct file_part *part, uint64_t off, void *buf, size_t len,
                   struct clip_error *err);
void file_part_close(struct file_part *part);

#endif
