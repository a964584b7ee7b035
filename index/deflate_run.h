/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run: blocks that the inflater goes through by itself, without being stopped where each of them
 * ends. That saves a header read twice and three copies of up to 32 KiB for each block, but a
 * checkpoint may be wanted in the last of them, and where that began nobody has seen.
 *
 * So a run ends well before the span may be full: from `until` on the inflater is told to stop
 * where the block ends that it is in (inflate_arm()). Should that block not end in time it has to
 * be cut, for which its header is needed: all that the run got is decoded anew, block by block, and
 * for that it is kept here. Such blocks come in crowds, so there are no more runs for a while.
 *
 * What a run goes past can never be a checkpoint: it ends so early that no block in it ends behind
 * a full span, in bytes that came out and in bytes that went in, however far the inflater looks
 * ahead. Checkpoints are the same with runs and without.
 *
 * Headers in a run are read by the inflater alone. ISA-L takes an incomplete code whose missing
 * words are not used, which index/block.c and zlib refuse; what comes of it is held against the
 * member's CRC as ever.
 *
 * Pure, any thread, no I/O. Bounded: DEFLATE_RUN_KEPT and a window.
 */
#ifndef CLIP_INDEX_DEFLATE_RUN_H
#define CLIP_INDEX_DEFLATE_RUN_H

#include "index/codec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEFLATE_RUN_KEPT (1u << 20) /* compressed bytes that a run may get */

struct deflate_run {
    /* read-only: offsets in the layer */
    uint64_t from;
    uint64_t until;    /* here the inflater is to be told */
    uint64_t tell_by;  /* and has to be told */
    uint64_t give_up;  /* when it was told and the block has not ended */
    size_t kept_until; /* likewise, in bytes kept: as `until` ... */
    size_t kept_max;   /* ... and as `tell_by` and `give_up` */

    uint32_t window_len;
    uint8_t window[CODEC_WINDOW_MAX]; /* before the run */
    size_t n_kept;
    uint8_t kept[DEFLATE_RUN_KEPT]; /* what came behind the first block's head */
};

/* Where a run would begin: both offsets are from the last checkpoint. */
struct deflate_run_at {
    uint64_t out_off; /* in the layer */
    uint64_t span_len, in_len;
    uint64_t span_size;
    uint64_t give_up; /* bytes of the span: beyond that a block is cut */
};

/* Is there room for one that is worth it? */
bool deflate_run_fits(const struct deflate_run_at *at);
void deflate_run_begin(struct deflate_run *run, const struct deflate_run_at *at,
                       const uint8_t *window, uint32_t window_len);
/* The inflater took them. At most kept_max in all. */
void deflate_run_keep(struct deflate_run *run, const uint8_t *bytes, size_t len);

#endif
