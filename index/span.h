/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few bytes anywhere: a run of adjacent spans of one layer, fetched by one Range request,
 * verified, decoded and verified again, each span a pool job of its own as soon as its bytes have
 * come; or a chain of them.
 *
 * A chain is what a zstd frame larger than a span is cut into: its spans are verified and kept one
 * by one, but decoded from the first one on. Its bytes come in ranges of a few MiB, one ahead.
 *
 * A request, embedded in who waits (the span cache). A span whose bytes are wrong is asked for
 * again (`attempt` of net/blob.h), SPAN_ATTEMPTS times in all, before it is an error. On the
 * loop's thread.
 */
#ifndef CLIP_INDEX_SPAN_H
#define CLIP_INDEX_SPAN_H

#include "index/image.h"
#include "net/blob.h"

#define SPAN_ATTEMPTS 3u

struct span_fetch;

/* One span is decoded and checked: `slab` (the receiver's to unlock) holds out_len bytes; or
 * status < 0 and slab is NULL. Exactly once for each span: those of a run in any order; those of a
 * chain in theirs, and the next one only after span_fetch_resume(). */
typedef void (*span_decoded_cb)(struct span_fetch *req, uint64_t index, int status,
                                struct slab *slab);
/* After the last of the above. status: 0, or a failure; then req->err says what. */
typedef void (*span_done_cb)(struct span_fetch *req, int status);

struct span_fetch {
    /* public, set by the caller */
    struct clip_image *image; /* borrowed until done */
    unsigned layer;
    uint64_t first, n; /* n > 0 spans that stand alone, or the first n of a chain */
    enum work_lane lane;
    span_decoded_cb on_decoded;
    span_done_cb on_done;
    /* public, set when done */
    struct clip_error err;
    uint64_t fetched; /* bytes that came from the source, retries included */
    unsigned n_requests;
    /* private */
    void *impl;
};

/* The spans that have to be decoded to get at span `index`: the chain that it is part of, or
 * itself, n == 1. */
void span_chain(const struct clip_image *image, unsigned layer, uint64_t index, uint64_t *out_first,
                uint64_t *out_n);

/* -ENOMEM, and then nothing fires. `attempt` is 0, or counts the caller's own tries. */
int span_fetch_start(struct source *source, struct span_fetch *req, unsigned attempt);
/* The receiver of a chain is ready for the next span. Also allowed when nothing waits for it, and
 * from inside on_decoded. */
void span_fetch_resume(struct span_fetch *req);
void span_fetch_cancel(struct span_fetch *req);

/* Pure, for a pool job: are `bytes` (out_len of them) what the index says of this span? */
bool span_matches(const struct image_span *span, const void *bytes);

#endif
