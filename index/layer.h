/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One layer being decoded: a blob's bytes in; spans, entries and digests out.
 *
 * Pure, in three stages that may run at the same time on three threads, because they share nothing:
 * - inflate: layer_feed() lends compressed bytes, layer_inflate() turns them into chunks of the
 *   layer, and layer_take_piece() says what it is through with.
 * - seal: layer_seal() takes these pieces in order. It knows the blob's digest, the checkpoints
 *   with their windows, and the digest of every span's compressed range.
 * - parse: layer_parse() takes the chunks in order. It knows the diff_id, the spans' checksums, the
 *   entries and their content digests.
 * layer_finish(), when all are through, puts the parts together and checks them.
 */
#ifndef CLIP_INDEX_LAYER_H
#define CLIP_INDEX_LAYER_H

#include "index/seal.h"
#include "index/tree.h"
#include "index/writer.h"

#define LAYER_CUTS_MAX 32u

struct layer;

struct layer_options {
    const struct digest *digest;  /* of the blob, by the manifest */
    const struct digest *diff_id; /* by the config; NULL: not known */
    uint64_t size;                /* of the blob, by the manifest */
    const char *media_type;
    uint64_t span_size;
};

/* Decoded bytes in the caller's memory, and where in them spans begin. */
struct layer_chunk {
    uint8_t *bytes; /* set by the caller, with cap */
    size_t cap;
    size_t len;
    unsigned n_cuts;
    size_t cuts[LAYER_CUTS_MAX]; /* offsets in bytes, increasing */
};

/* Compressed bytes in the caller's memory, and the checkpoints met with them. */
struct layer_piece {
    const uint8_t *bytes;
    size_t len;
    struct seal_marks marks;
};

enum layer_event {
    LAYER_MORE_IN, /* what was fed is used up: feed again, or layer_end() */
    LAYER_CHUNK,   /* the chunk is full: hand it on and come with a new one */
    LAYER_END      /* the blob is through; the chunk may hold its last bytes */
};

/* -ENOMEM. */
int layer_new(const struct layer_options *options, struct layer **out);
void layer_free(struct layer *layer);

/* ---- inflate */

/* Lends `in` until LAYER_MORE_IN has come back and all of it was sealed. */
void layer_feed(struct layer *layer, const void *in, size_t len);
/* No more input will come. */
void layer_end(struct layer *layer);
/* Appends to the chunk. An event, or a negative errno: the blob is not of a known format, does not
 * decode, or is longer than the manifest says. */
int layer_inflate(struct layer *layer, struct layer_chunk *chunk, struct clip_error *err);
/* What the decoder is through with since the last time: all that was fed after LAYER_MORE_IN, part
 * of it after LAYER_CHUNK, no bytes but perhaps checkpoints after LAYER_END. To be taken after
 * each, for it is the chunks that bound how many checkpoints there are. The caller's to seal or
 * free. */
struct layer_piece layer_take_piece(struct layer *layer);
/* Bytes of the blob that were fed. */
uint64_t layer_in_off(const struct layer *layer);

/* ---- seal */

/* -ENOMEM. What is left of the piece is then to be freed. */
int layer_seal(struct layer *layer, struct layer_piece *piece, struct clip_error *err);
void layer_piece_free(struct layer_piece *piece);

/* ---- parse */

int layer_parse(struct layer *layer, const struct layer_chunk *chunk, struct clip_error *err);

/* ---- all are through */

/* -EILSEQ: the blob's digest or the diff_id is wrong; -EBADMSG: its size is, or the tar is cut. */
int layer_finish(struct layer *layer, struct clip_error *err);
/* Borrowed from the layer. `diff_id` in it is what the bytes have. */
const struct writer_layer *layer_result(const struct layer *layer);
struct tree_layer *layer_tree(struct layer *layer);
/* The bytes are of another kind than the media type says (they win); worth a warning. */
bool layer_media_type_lies(const struct layer *layer);

#endif
