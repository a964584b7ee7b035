/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compressed side of a layer: the blob's digest and its spans, each with the digest of the
 * bytes that have to be fetched for it and with what it uses of the window that it begins with,
 * packed.
 *
 * Bytes come in order, after the decoder is through with them and with the marks that it met: so
 * hashing need not be done where decoding is. Pure; one thread at a time.
 */
#ifndef CLIP_INDEX_SEAL_H
#define CLIP_INDEX_SEAL_H

#include "index/writer.h"

/* Compressed bytes kept after a checkpoint that was not watched, to learn which bytes of its window
 * are used. */
#define SEAL_CAPTURE_MAX (96u << 10)
/* How far behind the last byte that came a mark may lie, at most: more than any decoder reads ahead
 * of its checkpoint, and more than is looked at to find the codec. */
#define SEAL_BEHIND_MAX 640u

/* A checkpoint, with all that the decoder has lent for it. */
struct seal_mark {
    struct seal_mark *next;
    struct checkpoint at;
    const uint8_t *used; /* of the window of the one before, if that was watched */
    uint8_t bytes[];
};

/* In order. Zeroed, it is empty. */
struct seal_marks {
    struct seal_mark *first, *last;
};

/* `used`: decoder_used(), if the one before was watched; copied. -ENOMEM */
int seal_marks_add(struct seal_marks *marks, const struct checkpoint *at, const uint8_t *used);
void seal_marks_free(struct seal_marks *marks);

struct seal;

int seal_new(struct seal **out); /* -ENOMEM */
void seal_free(struct seal *seal);

/* The blob's next bytes, and the marks met with them, which are the seal's from here on. -ENOMEM.
 */
int seal_take(struct seal *seal, const uint8_t *bytes, size_t len, struct seal_marks *marks);
/* No more bytes come; they decoded to out_len. `used` as above, of the last one. */
int seal_end(struct seal *seal, uint64_t out_len, const uint8_t *used);

/* After seal_end(), borrowed: all of them but for what the decoded bytes tell. */
struct writer_span *seal_spans(struct seal *seal, size_t *out_n);
void seal_digest(struct seal *seal, struct digest *out); /* once */

#endif
