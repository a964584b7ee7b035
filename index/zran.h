/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random access: one span's compressed bytes in, its decoded bytes out, whatever the codec.
 *
 * Pure; any thread. The compressed bytes are those from the byte that holds the checkpoint's
 * first bit to the byte that holds the last bit before the next checkpoint (or the blob's end).
 * A resumed span may run over gzip member boundaries.
 */
#ifndef CLIP_INDEX_ZRAN_H
#define CLIP_INDEX_ZRAN_H

#include "index/codec.h"
#include "index/inflate.h"

/* Decodes exactly out_len bytes from `in` resuming at `at` (at->in_bit & 7 bits of the first byte
 * are skipped; at->out_off only serves messages). -EBADMSG when the bytes do not decode or end
 * early. Extra input is not an error. */
int zran_decode(enum codec codec, const struct checkpoint *at, const void *in, size_t in_len,
                void *out, size_t out_len, struct clip_error *err);
/* The same by a chosen inflater, for tests. */
int zran_decode_with(enum inflate_backend backend, enum codec codec, const struct checkpoint *at,
                     const void *in, size_t in_len, void *out, size_t out_len,
                     struct clip_error *err);

/* The same in steps, for spans that follow each other in a chain: a decoder that goes on at `at`,
 * to be fed the bytes of one span after the other, and the next out_len bytes of it. */
int zran_open(enum codec codec, const struct checkpoint *at, struct decoder **out);
int zran_take(struct decoder *decoder, void *out, size_t out_len, struct clip_error *err);

/*
 * A window reduced to what a span uses of it, as decoder_used() tells: other bytes are set to zero,
 * and those in front are cut away. Returns the new length (the used tail), moved to the front of
 * `window`.
 */
uint32_t zran_keep(const uint8_t *used, uint8_t *window, uint32_t window_len);
/*
 * The same where no decoder has watched: only output bytes below 32 KiB can reach back into it, so
 * these are decoded. `in` holds the span's first compressed bytes (as many as are needed for 32 KiB
 * of output, or all). -ENODATA when `in` was not enough to know: the window is then untouched and
 * must be kept whole.
 */
int zran_reduce(const struct checkpoint *at, const void *in, size_t in_len, uint64_t span_len,
                uint8_t *window, uint32_t window_len);

/*
 * The form in which a window is stored: a method byte, then for method 0 the window, for method 1 a
 * zstd frame of: the number of runs (2 bytes, little-endian); per run two LEB128 numbers, how many
 * zeros come before it and how long it is; the bytes of all runs.
 * pack: the packer's memory is used again for the next one, and `out` lies in there; the packed
 * length is returned, at most one more than the window's.
 * unpack: at most CODEC_WINDOW_MAX bytes; the raw length is returned, -EBADMSG on anything else.
 */
struct zran_packer;

int zran_packer_new(struct zran_packer **out); /* -ENOMEM */
void zran_packer_free(struct zran_packer *packer);
uint32_t zran_pack(struct zran_packer *packer, const uint8_t *window, uint32_t window_len,
                   const uint8_t **out);
int zran_unpack(const uint8_t *packed, size_t packed_len, uint8_t *out);

#endif
