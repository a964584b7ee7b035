/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans that hang together, inside a zstd frame that is larger than one: fetched a few MiB at a
 * time, decoded one after the other by one decoder.
 *
 * The part of a span fetch (index/span.h) that knows chains. At most two ranges' bytes and one
 * decoded span are in memory. On the loop's thread.
 */
#ifndef CLIP_INDEX_SPAN_CHAIN_H
#define CLIP_INDEX_SPAN_CHAIN_H

#include "index/span.h"

struct span_chain;

struct span_chain_options {
    struct source *source;
    const struct descriptor *blob; /* borrowed until on_end */
    enum codec codec;
    struct span_fetch *req; /* whose on_decoded, err, fetched and n_requests are served */
    unsigned attempt;
    void (*on_end)(void *owner, int status); /* once; the chain is gone */
    void *owner;
};

/* -ENOMEM, and then nothing fires. */
int span_chain_open(const struct span_chain_options *options, struct span_chain **out);
void span_chain_resume(struct span_chain *chain);
void span_chain_cancel(struct span_chain *chain);

/* ---- of span.c, for both: what a pool job checks, and how it is said */

int span_check_fetched(const struct image_span *span, const void *bytes, struct clip_error *err);
int span_check_decoded(const struct image_span *span, const void *bytes, struct clip_error *err);
void span_say_where(struct clip_error *err, struct source *source, const struct descriptor *blob,
                    const struct image_span *span);

#endif
