/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file's bytes, from the cache or through it: the one way that FUSE requests, clip_reader_read()
 * and extraction read. A request is embedded in who waits and holds what it was given until
 * read_release(). On the loop's thread.
 */
#ifndef CLIP_FS_READ_H
#define CLIP_FS_READ_H

#include "engine/engine.h"
#include "index/image.h"

#include <sys/uio.h>

#define READ_MAX        (1u << 20) /* bytes of a request */
#define READ_PIECES_MAX 64u        /* where more would be needed the answer is put together */

struct read;
typedef void (*read_cb)(struct read *read, int status);

struct read {
    /* public, set by the caller */
    uint64_t ino, off;
    size_t len; /* at most READ_MAX */
    bool tells; /* the caller tells people why it failed; else a line in the log does */
    /* public, when it was answered with 0: the bytes, fewer than asked for only at the end of the
     * file; borrowed from the read until read_release() */
    struct iovec pieces[READ_PIECES_MAX];
    unsigned n_pieces;
    size_t n_bytes;
    /* public, during `done` with a failure: why; NULL when it was cancelled */
    const struct clip_error *err;
    /* private */
    struct clip_reader *reader;
    read_cb done;
    void *impl;
};

/* 1: answered in place (no waiting, the bytes were in memory or in the page cache); 0: `done` will
 * fire, once, from the loop; a negative errno: refused (-EISDIR, -EINVAL, -ENOMEM, -ESHUTDOWN) and
 * nothing will fire. After a 1 or a done with 0 the caller owes read_release(). */
int read_start(struct clip_reader *reader, struct read *read, read_cb done);
/* A wish: `done` comes with -ECANCELED. What it waited for goes on for others, and into the cache.
 */
void read_cancel(struct read *read);
void read_release(struct read *read);

/* For reader.c: cancels all that wait. */
void read_cancel_all(struct clip_reader *reader);

#endif
