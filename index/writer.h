/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree and its layers as the bytes of an index file (index/format.h, docs/format.md).
 *
 * Deterministic: the same input gives the same bytes. writer_encode() is pure; writer_save() is
 * for the pool, because it blocks: a temporary file in the same directory, fsync, rename, fsync of
 * the directory; on failure nothing is left behind.
 */
#ifndef CLIP_INDEX_WRITER_H
#define CLIP_INDEX_WRITER_H

#include "index/codec.h"
#include "index/tree.h"

/* A checkpoint and the span that begins there, as stored. */
struct writer_span {
    uint64_t in_bit;       /* where decoding resumes, in bits of the blob */
    uint64_t in_end;       /* first byte of the blob that is not needed any more */
    uint64_t out_off;      /* of its first decoded byte; its length follows from the next span's */
    uint32_t flags;        /* CHECKPOINT_* */
    const uint8_t *window; /* packed by zran_pack(); NULL with FRESH */
    uint32_t window_len;
    const uint8_t *header; /* MIDBLOCK: as in struct checkpoint */
    uint32_t header_bit;
    uint64_t header_bits;
    struct digest fetched; /* SHA-256 of blob bytes [in_bit / 8, in_end) */
    uint8_t decoded[16];   /* XXH3-128 of the decoded bytes, canonical (big-endian) form */
};

struct writer_layer {
    struct digest digest, diff_id;
    const char *media_type;
    enum codec codec;
    uint64_t size, uncompressed_size;
    const struct writer_span *spans; /* sorted; the first at out_off 0 */
    size_t n_spans;
};

struct writer_image {
    const char *reference;
    struct digest manifest_digest;
    const char *manifest_media_type;
    const char *platform;
    const char *config; /* JSON, verbatim */
    size_t config_len;
    uint64_t span_size;
    bool keep_runtime_dirs;
    const struct writer_layer *layers; /* lowest first */
    unsigned n_layers;
    const struct tree *tree;
};

/* The whole file in malloc'ed memory; the caller frees. -ENOMEM, -EFBIG. */
int writer_encode(const struct writer_image *image, uint8_t **out, size_t *out_len,
                  struct clip_error *err);
/* What would keep writer_save() from saving there, before the work is done. */
int writer_check(const char *path, struct clip_error *err);
/* The same bytes to a file, never all of them in memory twice. Also what the disk says. */
int writer_save(const struct writer_image *image, const char *path, uint64_t *out_size,
                struct clip_error *err);

#endif
