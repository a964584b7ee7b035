/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a blob's bytes become a layer's: gzip, zstd, or plain tar, behind one face.
 *
 * A decoder is pure: feed() lends it input, step() says what it found. It does not care how the
 * bytes were cut, does no I/O, and one thread at a time may use it. While it decodes it reports
 * checkpoints: places where decoding can resume, about `span_size` bytes of output apart. (Inside
 * a zstd frame they only cut what has to be decoded in one go: CHAINED.)
 *
 *     decoder_feed(d, in, len);
 *     while ((event = decoder_step(d, out, cap, &n)) ...)
 *
 * Every output byte comes exactly once and in order; a CHECKPOINT event describes the place just
 * after the bytes returned so far. The place at offset 0 is reported too, before any output.
 */
#ifndef CLIP_INDEX_CODEC_H
#define CLIP_INDEX_CODEC_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum codec { CODEC_TAR = 0, CODEC_GZIP = 1, CODEC_ZSTD = 2 };

enum codec_event {
    CODEC_MORE_IN,    /* all input is used: feed again, or call decoder_end() */
    CODEC_MORE_OUT,   /* `cap` is full: step again with room */
    CODEC_CHECKPOINT, /* see decoder_checkpoint(); then step again */
    CODEC_END         /* the blob ended as its format says, padding included */
};

#define CODEC_WINDOW_MAX 32768u

/* Flags of a checkpoint. FRESH: a gzip member, zstd frame or tar byte begins here, no state is
 * needed. MIDBLOCK: inside a deflate block; `header` holds the block header's bits. CHAINED: inside
 * a zstd frame; the bytes are cut here to be verified and cached, but decoding has to come from the
 * span before. */
#define CHECKPOINT_FRESH    1u
#define CHECKPOINT_MIDBLOCK 2u
#define CHECKPOINT_CHAINED  4u

/*
 * Where decoding can resume. in_bit is the position in the blob, in bits, of the next unread bit
 * (a multiple of 8 unless codec is gzip); out_off how many bytes of the layer come before it.
 * For gzip, `window` is the raw history (newest byte last; window_len <= 32 KiB, less near a
 * member's start; 0 with FRESH). `header` is the block header to replay when MIDBLOCK.
 * Pointers are the decoder's and valid until the next step.
 */
struct checkpoint {
    uint64_t in_bit;
    uint64_t out_off;
    uint32_t flags;
    const uint8_t *window;
    uint32_t window_len;
    const uint8_t *header; /* whole bytes; header_bit bits of the first byte are to be skipped */
    uint32_t header_bit;
    uint64_t header_bits; /* how many bits */
    bool watched;         /* decoder_used() will tell what of the window is used */
};

struct decoder;

/* By the blob's first bytes (at least 512, or all there are): the bytes win over the media type.
 * -EBADMSG if they are none of ours: a tar is known by its magic, or by a valid header checksum,
 * or by being empty / all zeros. */
int codec_detect(const void *head, size_t len, enum codec *out);
const char *codec_name(enum codec codec); /* "tar", "gzip", "zstd" */

/* The span size of who wants no checkpoints, or none but the first. */
#define DECODER_ENDLESS (UINT64_MAX / 2)

int decoder_new(enum codec codec, uint64_t span_size, struct decoder **out);
void decoder_free(struct decoder *decoder);

/* Lends `in` until MORE_IN or END comes back. */
void decoder_feed(struct decoder *decoder, const void *in, size_t len);
/* No more input will come: step() then gives END, or an error that says the blob is cut. */
void decoder_end(struct decoder *decoder);

/* Decodes into out[0..cap) and says why it stopped; *out_len bytes were written whatever the
 * event. If that is MORE_IN and there is room left they have to stay there until the next step.
 * Negative: -EBADMSG, -ENOMEM, -EOPNOTSUPP (a window past the limit) with a sentence in `err` that
 * names the offset. After a failure the decoder can only be freed. */
int decoder_step(struct decoder *decoder, void *out, size_t cap, size_t *out_len,
                 struct clip_error *err);
void decoder_checkpoint(const struct decoder *decoder, struct checkpoint *out);
/* Of a checkpoint that was watched, at the next one and at the END: its window's bytes are looked
 * back on where this has 0xff, else 0. CODEC_WINDOW_MAX bytes, valid until the next step. */
const uint8_t *decoder_used(const struct decoder *decoder);

/* Bytes of input used up to now, and bytes of output given. */
uint64_t decoder_in_off(const struct decoder *decoder);
uint64_t decoder_out_off(const struct decoder *decoder);

#endif
