/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blob's bytes: all of them in order (a stream, on credit), or a few anywhere (a range).
 *
 * What can be retried is retried and resumed in here; who calls sees bytes, or one error when the
 * retries and the deadline are used up. Digests are checked by whoever knows them: build hashes a
 * stream, span a range; both come back with `attempt` + 1 to be served by another mirror, or past
 * whatever cache lied. On the loop's thread.
 */
#ifndef CLIP_NET_BLOB_H
#define CLIP_NET_BLOB_H

#include "engine/slab.h"
#include "net/source.h"

/* ---- all bytes in order */

struct blob_stream;

/* `slab` is the receiver's to unlock; its length is taken from the credit. */
typedef void (*blob_slab_cb)(void *data, struct slab *slab);
/* Exactly once; nothing after it; the stream is gone. 0: all of descriptor->size was delivered. */
typedef void (*blob_end_cb)(void *data, int status, const struct clip_error *err);

struct blob_stream_options {
    const struct descriptor *blob; /* copied */
    unsigned attempt;              /* 0, then counted up by who found a digest to be wrong */
    enum work_lane lane;
    blob_slab_cb on_slab;
    blob_end_cb on_end;
    void *data;
};

/* No credit at first. Slabs are at most 256 KiB. */
int blob_stream_open(struct source *source, const struct blob_stream_options *options,
                     struct blob_stream **out, struct clip_error *err);
/* Lets `len` more bytes come; more than what has been asked for never arrive. Not from on_end. */
void blob_stream_credit(struct blob_stream *stream, uint64_t len);
/* A wish: on_end comes with -ECANCELED, no slab after this call. */
void blob_stream_cancel(struct blob_stream *stream);

/* ---- a few bytes anywhere */

#define BLOB_RANGE_MAX (256ull << 20) /* bytes; -EFBIG past it */

struct blob_range;
typedef void (*blob_range_cb)(struct blob_range *req, int status);
/* More of it is there: the first slab->len bytes, which do not change any more; the
 * slab is ours, lock it to keep them. A source that has all at once does not tell. */
typedef void (*blob_range_more_cb)(struct blob_range *req);

/* A request: embedded in who waits. */
struct blob_range {
    /* public, set by the caller */
    const struct descriptor *blob; /* borrowed until done */
    uint64_t off, len;             /* inside the blob, len > 0 */
    unsigned attempt;
    enum work_lane lane;
    blob_range_more_cb on_more; /* or NULL */
    /* public, set when done */
    struct slab *slab; /* status 0: len bytes, the caller's to unlock; else NULL */
    struct clip_error err;
    /* private */
    struct source *source;
    blob_range_cb done;
    struct later refusal;
    void *impl;
};

void blob_range_fetch(struct source *source, struct blob_range *req, blob_range_cb done);
void blob_range_cancel(struct blob_range *req);

#endif
