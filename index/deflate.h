/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deflate stream, by blocks and runs of blocks, with checkpoints: what a gzip member holds.
 *
 * Embedded in a codec; it takes the input of the codec's decoder, counts its offsets, and tells
 * its checkpoints. Bytes after the stream that an inflater had read already come first when the
 * codec goes on: deflate_find_byte().
 */
#ifndef CLIP_INDEX_DEFLATE_H
#define CLIP_INDEX_DEFLATE_H

#include "index/block.h"
#include "index/decoder.h"
#include "index/deflate_run.h"
#include "index/history.h"
#include "index/inflate.h"

enum deflate_state {
    DEFLATE_RESUMED, /* at a checkpoint, whose first byte is to come */
    DEFLATE_BLOCK,   /* a block begins */
    DEFLATE_HEAD,    /* gathering its header */
    DEFLATE_REPLAY,  /* going on in the middle of it */
    DEFLATE_DATA,    /* its symbols */
    DEFLATE_ENDED
};

/* How far the inflater goes without being asked. */
enum deflate_pace {
    DEFLATE_BY_BLOCK,
    DEFLATE_RUN,    /* until the block ends that the run's end is in */
    DEFLATE_THROUGH /* to the end of the stream */
};

struct deflate {
    /* private */
    struct decoder *decoder;
    struct inflate *fast;  /* what blocks are given to */
    struct inflate *exact; /* zlib, for a block that has to be cut; NULL until there is one */
    struct inflate *inf;   /* which of them runs now */
    enum deflate_state state;
    unsigned resume_bit; /* where in its first byte a resumed stream goes on */

    /* what the inflater gave back: first bit lowest, 0 above n_bits */
    uint64_t bits;
    unsigned n_bits;

    /* the block, its header from bit header_bit of `header` on */
    struct block_header block;
    uint8_t header[8 + BLOCK_HEADER_MAX];
    unsigned header_bit;

    /* what the inflater gets first: the header and at most 64 bits that came with it */
    uint8_t head[8 + BLOCK_HEADER_MAX];
    unsigned n_head, head_bit, head_lent;

    enum deflate_pace pace;
    struct deflate_run *run; /* NULL until there is one */
    uint64_t no_run_until;   /* an offset in the layer */
    uint64_t no_run_len;     /* 0 before the first that failed */
    const uint8_t *next_in;  /* what the codec lent, while a run is decoded anew ... */
    size_t next_len;         /* ... from what it kept */

    struct history history;
    const uint8_t *given; /* of this step, not in the history yet */
    size_t n_given;
};

/* Into zeroed memory. -ENOMEM; -EOPNOTSUPP if the backend was not compiled in. */
int deflate_init(struct deflate *deflate, enum inflate_backend backend, struct decoder *decoder);
void deflate_fini(struct deflate *deflate);

/* A new stream begins at the next byte. */
void deflate_begin(struct deflate *deflate);
/* Goes on at a checkpoint that is not FRESH. -EBADMSG for one that cannot be. */
int deflate_resume(struct deflate *deflate, const struct checkpoint *at);
/* As decoder_step(), but END is the stream's, and MORE_IN also comes when there will be none. */
int deflate_step(struct deflate *deflate, uint8_t *out, size_t cap, size_t *out_len,
                 struct clip_error *err);

/* Outside of a stream: the next byte, or -1; and then to go past it. */
int deflate_find_byte(const struct deflate *deflate);
void deflate_drop_byte(struct deflate *deflate);

/* Where the next bit is in the blob. Not inside a block. */
uint64_t deflate_bit_off(const struct deflate *deflate);

#endif
