/* SPDX-License-Identifier: Apache-2.0 */
/* What a decoder gives for a blob, whatever the cuts. */
#ifndef CLIP_TEST_DECODED_H
#define CLIP_TEST_DECODED_H

#include "index/codec.h"
#include "test/lib/drip.h"
#include "test/lib/packed.h"

#define DECODED_MARKS 4096
struct decoded {
    struct bytes out;
    struct checkpoint marks[DECODED_MARKS]; /* their windows and headers are copies */
    uint8_t *used[DECODED_MARKS];           /* of a watched one's window, a copy; else NULL */
    unsigned n_marks;
    int r; /* CODEC_END, or the error */
    uint64_t in_off;
    struct clip_error err;
};

/* Feeds all of `in` cut like that, with room of at most `cap` bytes, and frees the decoder. */
void decode(struct decoder *decoder, struct bytes in, enum drip_how how, size_t cap,
            struct decoded *out);
void decoded_free(struct decoded *decoded);
/* The bytes are those, and the blob ended well. */
bool decoded_is(const struct decoded *decoded, const void *plain, size_t len);
/* Every checkpoint is the other's, with its state. */
bool decoded_has_same_marks(const struct decoded *a, const struct decoded *b);
/* Where span i ends: in the layer, and in the blob (the byte after its last bit). */
uint64_t decoded_span_end(const struct decoded *decoded, unsigned i);
uint64_t decoded_in_end(const struct decoded *decoded, unsigned i, size_t blob_len);

#endif
