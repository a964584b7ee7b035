/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One deflate block, or all that follow, by a library: what index/inflate_blocks.c makes an
 * inflater of. The block is to the library a stream of its own: its history is a dictionary, its
 * header has the "final" bit set, so that the library stops where the block ends.
 */
#ifndef CLIP_INDEX_INFLATE_ONE_H
#define CLIP_INDEX_INFLATE_ONE_H

#include "index/inflate.h"

struct inflate_one {
    /* lent, and moved on by run() */
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;

    const struct inflate_one_ops *ops;
};

struct inflate_one_ops {
    void (*close)(struct inflate_one *one);
    /* `bits` are the first n_bits (0 to 7) before any byte that will be lent. -ENOMEM */
    int (*begin)(struct inflate_one *one, const uint8_t *window, uint32_t window_len, unsigned bits,
                 unsigned n_bits);
    /* As inflate_run(); AT_END is the stream's, THROUGH and ON are the same. */
    int (*run)(struct inflate_one *one, enum inflate_wish wish);
    /* But after MORE_OUT. */
    unsigned (*unread)(const struct inflate_one *one);
    uint64_t (*unread_bits)(const struct inflate_one *one);
};

/* Takes `one`, which may be NULL; NULL: no memory. */
struct inflate *inflate_blocks_new(struct inflate_one *one);

#endif
