/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few bytes anywhere: a run of adjacent spans of one layer, fetched by one Range request,
 * verified, decoded and verified again, each span a pool job of its own.
 *
 * A request, embedded in who waits (the span cache). A span whose bytes are wrong is asked for
 * again (`attempt` of net/blob.h), SPAN_ATTEMPTS times in all, before it is an error. On the
 * loop's thread.
 *
 * A span may be too large for memory (a zstd layer of one frame): span_is_stream() says so, and
 * then its bytes come in order through on_piece while they are fetched and decoded.
 */
#ifndef CLIP_INDEX_SPAN_H
#define CLIP_INDEX_SPAN_H

#include "index/image.h"
#include "net/blob.h"

#define SPAN_ATTEMPTS   3u
#define SPAN_STREAM_MIN (32ull << 20) /* bytes, compressed or decoded, from which one is a stream  \
                                       */
#define SPAN_PIECE_MAX (1u << 20)     /* bytes of a stream's piece */

struct span_fetch;

/* One span of the run is decoded and checked: `slab` (the receiver's to unlock) holds out_len
 * bytes; or status < 0 and slab is NULL. In any order; exactly once for each span that is not a
 * stream. */
typedef void (*span_decoded_cb)(struct span_fetch *req, uint64_t index, int status,
                                struct slab *slab);
/* The next `slab->len` decoded bytes of a stream, at layer offset `off` (the slab is the
 * receiver's to unlock). They are not verified until on_done(0): what fails then has to be
 * dropped. The stream waits for span_fetch_resume() before it gives the next. */
typedef void (*span_piece_cb)(struct span_fetch *req, uint64_t off, struct slab *slab);
/* After the last of the above. status: 0, or a failure; then req->err says what. */
typedef void (*span_done_cb)(struct span_fetch *req, int status);

struct span_fetch {
    /* public, set by the caller */
    struct clip_image *image; /* borrowed until done */
    unsigned layer;
    uint64_t first, n; /* which spans, n > 0; a stream is a run of one */
    enum work_lane lane;
    span_decoded_cb on_decoded;
    span_piece_cb on_piece;
    span_done_cb on_done;
    /* public, set when done */
    struct clip_error err;
    uint64_t fetched; /* bytes that came from the source, retries included */
    unsigned n_requests;
    /* private */
    void *impl;
};

bool span_is_stream(const struct clip_image *image, unsigned layer, uint64_t index);

/* -ENOMEM, and then nothing fires. A stream that failed to verify is not retried in here: what it
 * gave has to be dropped first. `attempt` counts up from 0 with the caller's own tries of it. */
int span_fetch_start(struct source *source, struct span_fetch *req, unsigned attempt);
/* Also allowed when nothing waits for it. */
void span_fetch_resume(struct span_fetch *req);
void span_fetch_cancel(struct span_fetch *req);

/* Pure, for a pool job: are `bytes` (out_len of them) what the index says of this span? */
bool span_matches(const struct image_span *span, const void *bytes);

#endif
