/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The symbols of a deflate block, fast, as long as there is input and room to spare: for
 * index/inflate_clip.c, which does the rest.
 *
 * Pure, any thread.
 */
#ifndef CLIP_INDEX_INFLATE_LOOP_H
#define CLIP_INDEX_INFLATE_LOOP_H

#include "index/huffman.h"

#include <stddef.h>
#include <stdint.h>

/* It does not begin a symbol with fewer bytes of input, or less room. */
#define INFLATE_LOOP_IN  24u
#define INFLATE_LOOP_OUT 320u

enum inflate_loop_stop {
    INFLATE_LOOP_EDGE = 1, /* near the end of the input or of the room; between two symbols */
    INFLATE_LOOP_MATCH,    /* one that begins before `begin` */
    INFLATE_LOOP_END,      /* the block's end, which is used */
    INFLATE_LOOP_BAD       /* no symbol */
};

struct inflate_loop {
    const struct huffman *huffman;
    /* moved on; up to `out_end` the room behind `out` may be written to */
    const uint8_t *in, *in_end;
    uint8_t *out, *out_end;
    const uint8_t *begin; /* what a match may look back to */
    uint64_t bits;        /* that were read and not used, the next one lowest; 0 above n_bits */
    unsigned n_bits;      /* at most 63 */
    /* of MATCH: it is used, and not copied */
    unsigned match_len, match_distance;
};

enum inflate_loop_stop inflate_loop(struct inflate_loop *loop);

#endif
