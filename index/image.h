/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index file, mapped and validated once; after that every look-up trusts it.
 *
 * The functions of clip.h (clip_image_*) are implemented here too. These are the ones the mount's
 * read path and FUSE operations need: no allocation, no locks, any thread. Node numbers are inode
 * numbers, 1 is the root; numbers of hard links' further names are valid too and mean the file.
 */
#ifndef CLIP_INDEX_IMAGE_H
#define CLIP_INDEX_IMAGE_H

#include "engine/digest.h"
#include "index/codec.h"

/* As clip_image_open, from memory that stays the caller's, aligned as malloc does it (tests,
 * fuzzing). */
int image_from_memory(const void *bytes, size_t len, struct clip_image **out,
                      struct clip_error *err);

uint64_t image_n_nodes(const struct clip_image *image);
bool image_has_xattrs(const struct clip_image *image); /* any at all */
bool image_keeps_runtime_dirs(const struct clip_image *image);

/* The canonical number: that of the file when `ino` is a hard link's further name. 0 if out of
 * range. */
uint64_t image_inode(const struct clip_image *image, uint64_t ino);
uint64_t image_parent(const struct clip_image *image, uint64_t ino);

/* Binary search among a directory's children. The canonical number, -ENOENT, -ENOTDIR. */
int image_find(const struct clip_image *image, uint64_t dir, const char *name, size_t name_len,
               uint64_t *out_ino);

/* In a directory whose children are sorted: the index (clip_image_readdir) of the first whose name
 * does not come before `name`; how many there are, if all do. -ENOENT, -ENOTDIR. */
int image_seek(const struct clip_image *image, uint64_t dir, const char *name, size_t name_len,
               uint64_t *out);
/* clip_image_lookup from a directory on. */
int image_lookup_at(const struct clip_image *image, uint64_t dir, const char *path, bool follow,
                    uint64_t *out_ino);

struct image_layer {
    struct digest digest, diff_id;
    const char *media_type;
    enum codec codec;
    uint64_t size, uncompressed_size;
    uint64_t n_spans;
};
unsigned image_n_layers(const struct clip_image *image);
void image_layer(const struct clip_image *image, unsigned layer, struct image_layer *out);

/* Of all layers, and a span's number among them. */
uint64_t image_n_spans(const struct clip_image *image);
uint64_t image_span_number(const struct clip_image *image, unsigned layer, uint64_t index);

/* What to fetch for a span and how to decode it. The window is packed (zran_unpack). */
struct image_span {
    uint64_t in_off, in_len;   /* bytes of the blob to fetch */
    uint64_t out_off, out_len; /* decoded bytes of the layer */
    uint64_t in_bit;
    uint32_t flags; /* CHECKPOINT_* */
    const uint8_t *window;
    uint32_t window_len;
    const uint8_t *header;
    uint32_t header_bit;
    uint64_t header_bits;
    struct digest fetched;
    uint8_t decoded[16];
};
void image_span(const struct clip_image *image, unsigned layer, uint64_t index,
                struct image_span *out);
/* The span that holds layer byte `off` (off < uncompressed_size). */
uint64_t image_span_at(const struct clip_image *image, unsigned layer, uint64_t off);

/* The stretch of a regular file that begins at `off`: at most `len` bytes that lie together in a
 * layer, or a hole. out->len 0 at or past the end. -EISDIR, -EINVAL for what is no file. */
struct image_extent {
    bool hole;
    unsigned layer;
    uint64_t layer_off;
    uint64_t len;
};
int image_extent(const struct clip_image *image, uint64_t ino, uint64_t off, uint64_t len,
                 struct image_extent *out);

bool image_has_needs(const struct clip_image *image); /* any at all */
/* What a file needs (clip_image_need): how many, and the number of the first among all of the
 * image. 0: it is no file, or needs none. */
size_t image_needs(const struct clip_image *image, uint64_t ino, size_t *out_first);
/* By its number among all: the file that is needed. */
uint64_t image_needed(const struct clip_image *image, size_t number);

/* The spans that hold it: from the first to the last. It is no hole, and not empty. */
void image_extent_spans(const struct clip_image *image, const struct image_extent *extent,
                        uint64_t *out_first, uint64_t *out_last);

/* A value by name; -ENODATA. */
int image_getxattr(const struct clip_image *image, uint64_t ino, const char *name, const void **out,
                   size_t *out_len);

#endif
