/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a decoder, for codec.c and the codecs that embed it: gunzip.c and unzstd.c. */
#ifndef CLIP_INDEX_DECODER_H
#define CLIP_INDEX_DECODER_H

#include "index/codec.h"

struct decoder_ops {
    void (*close)(struct decoder *decoder);
    /* as decoder_step(); `out_off` is counted by the codec */
    int (*step)(struct decoder *decoder, uint8_t *out, size_t cap, size_t *out_len,
                struct clip_error *err);
};

struct decoder {
    const struct decoder_ops *ops;
    uint64_t span_size;
    const uint8_t *in; /* lent and not used yet */
    size_t in_len;
    bool ended;       /* no more will be lent */
    uint64_t in_off;  /* bytes of the blob before `in` */
    uint64_t out_off; /* bytes of the layer given */
    bool marked;      /* a checkpoint was told: `at` is the last one */
    struct checkpoint at;
    uint8_t *used; /* of the last one that was watched; the codec's */
};

/* Is it time for a checkpoint, with bit in_bit of the blob the next? Yes before the first byte,
 * then span_size after the last one; also when that much input gave nothing: a span is to be
 * fetched. */
bool decoder_span_full(const struct decoder *decoder, uint64_t in_bit);
/* The next `len` bytes of input are used. */
void decoder_use(struct decoder *decoder, size_t len);
/* A checkpoint without state, FRESH or CHAINED, at a byte of the blob. Returns CODEC_CHECKPOINT. */
int decoder_mark(struct decoder *decoder, uint64_t in_off, uint32_t flags);

#endif
