/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree and its layers as the sections of an index file (index/format.h, docs/format.md).
 *
 * Deterministic: the same input gives the same bytes. Pure.
 */
#ifndef CLIP_INDEX_WRITER_H
#define CLIP_INDEX_WRITER_H

#include "index/codec.h"
#include "index/format.h"
#include "index/section.h"
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

struct writer {
    /* read-only, after writer_end() */
    struct section sections[FORMAT_SECTIONS_END]; /* by type; [0] is not used */
    struct format_image facts;
    /* private */
    const struct writer_image *image;
    struct section numbers; /* of the files' digests, in the order of the files */
    struct section needy;   /* nodes that say what they need */
};

/* `image` and all that it points to have to outlive it. */
void writer_init(struct writer *w, const struct writer_image *image);
void writer_fini(struct writer *w);
/* Two halves, in any order, or on two threads at the same time; then the end. Each may take some
 * tens of milliseconds. -ENOMEM, -EFBIG: it can only be freed. */
int writer_put_nodes(struct writer *w, struct clip_error *err);
int writer_put_digests(struct writer *w, struct clip_error *err); /* layers and spans, too */
int writer_end(struct writer *w, struct clip_error *err);

#endif
