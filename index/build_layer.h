/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One blob through its stages: stream, inflate job, seal job, parse job; the part of a build
 * (index/build.h) that knows a single layer.
 *
 * At most one job of each stage runs, so that one core inflates while others hash; behind the
 * inflate job is the next one, so that this stage, which the others wait for, does not wait for the
 * loop. What is between the stages is bounded by BUILD_IN_ROOM and BUILD_OUT_SLABS: the blob gets
 * credit only for what they can take. A handle: opened, cancelled or not, on_end once. On the
 * loop's thread.
 */
#ifndef CLIP_INDEX_BUILD_LAYER_H
#define CLIP_INDEX_BUILD_LAYER_H

#include "index/layer.h"
#include "index/sink.h"
#include "net/blob.h"

#define BUILD_IN_ROOM     (2u << 20) /* compressed bytes that wait for their jobs, or are in them */
#define BUILD_IN_LEN      (256u << 10) /* of a slab that small ones are gathered in */
#define BUILD_IN_QUEUE    80u /* slabs in line: fewer, larger ones, or gathered small ones */
#define BUILD_IN_JOB      8u  /* of which an inflate job gets so many at a time */
#define BUILD_USED_PIECES 16u /* pieces that may wait to be sealed when one begins */
#define BUILD_OUT_LEN     (512u << 10) /* bytes of a decoded slab */
#define BUILD_OUT_SLABS   10u          /* between inflate and parse, or in them */
#define BUILD_OUT_JOB     2u           /* of which an inflate job fills so many at a time */
#define BUILD_ATTEMPTS    3u           /* of a blob whose bytes have the wrong digest */

struct build_layer;

struct build_layer_options {
    struct source *source;
    const struct descriptor *blob; /* borrowed until on_end */
    const struct digest *diff_id;  /* likewise */
    uint64_t span_size;
    struct layer_sink *sink; /* NULL: none */
    /* `done` compressed bytes are decoded, or about to be */
    void (*on_progress)(void *owner, uint64_t done);
    /* 0: `layer`, finished, is the receiver's to layer_free(); else NULL */
    void (*on_end)(void *owner, int status, const struct clip_error *err, struct layer *layer);
    void *owner;
};

/* -ENOMEM, or what the source says at once; then nothing fires. */
int build_layer_open(const struct build_layer_options *options, struct build_layer **out,
                     struct clip_error *err);
void build_layer_cancel(struct build_layer *bl);

#endif
