/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deflate stream with checkpoints: what a gzip member holds.
 *
 * Embedded in a codec; it takes the input of the codec's decoder, counts its offsets, and tells
 * its checkpoints. Bytes after the stream that an inflater had read already come first when the
 * codec goes on: deflate_find_byte().
 */
#ifndef CLIP_INDEX_DEFLATE_H
#define CLIP_INDEX_DEFLATE_H

#include "index/decoder.h"
#include "index/inflate.h"

enum deflate_state {
    DEFLATE_RESUMED, /* at a checkpoint, whose first byte is to come */
    DEFLATE_MARKED,  /* at one that it has told, and whose window is to be watched */
    DEFLATE_DATA,
    DEFLATE_ENDED
};

struct deflate {
    /* private */
    struct decoder *decoder;
    struct inflate *fast;
    struct inflate *exact; /* stops at any symbol; NULL until it is needed */
    struct inflate *inf;   /* which of them runs now */
    enum deflate_state state;
    unsigned resume_bit; /* where in its first byte a resumed stream goes on */

    /* what the inflater had read behind the stream: whole bytes, the first one lowest */
    uint64_t bytes;
    unsigned n_bytes;
};

/* Into zeroed memory. -ENOMEM; -EOPNOTSUPP if the backend was not compiled in. */
int deflate_init(struct deflate *deflate, enum inflate_backend backend, struct decoder *decoder);
void deflate_fini(struct deflate *deflate);

/* A new stream begins at the next byte. */
void deflate_begin(struct deflate *deflate);
/* Goes on at a checkpoint that is not FRESH. -EBADMSG for one that cannot be. */
int deflate_resume(struct deflate *deflate, const struct checkpoint *at);
/* inflate_watch(), of the window that it goes on with. */
void deflate_watch(struct deflate *deflate, uint8_t *used);
/* As decoder_step(), but END is the stream's, and MORE_IN also comes when there will be none. */
int deflate_step(struct deflate *deflate, uint8_t *out, size_t cap, size_t *out_len,
                 struct clip_error *err);

/* Outside of a stream: the next byte, or -1; and then to go past it. */
int deflate_find_byte(const struct deflate *deflate);
void deflate_drop_byte(struct deflate *deflate);
/* Likewise: where that byte is in the blob. */
uint64_t deflate_byte_off(const struct deflate *deflate);

#endif
