/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A span that is too large for memory: fetched in pieces, decoded and handed up in pieces.
 *
 * The part of a span fetch (index/span.h) for zstd layers of one frame and the like. At most two
 * ranges' bytes and one piece are in memory. On the loop's thread.
 */
#ifndef CLIP_INDEX_SPAN_STREAM_H
#define CLIP_INDEX_SPAN_STREAM_H

#include "index/span.h"

struct span_stream;

struct span_stream_options {
    struct source *source;
    const struct descriptor *blob; /* borrowed until on_end */
    enum codec codec;
    struct span_fetch *req; /* whose on_piece, err, fetched and n_requests are served */
    unsigned attempt;
    void (*on_end)(void *owner, int status); /* once; the stream is gone */
    void *owner;
};

/* -ENOMEM, and then nothing fires. */
int span_stream_open(const struct span_stream_options *options, struct span_stream **out);
void span_stream_resume(struct span_stream *stream);
void span_stream_cancel(struct span_stream *stream);

#endif
