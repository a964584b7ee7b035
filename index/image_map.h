/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of an image: the tables of a mapped index, and the check that makes them trusted. For
 * index/image*.c and index/resolve*.c alone.
 */
#ifndef CLIP_INDEX_IMAGE_MAP_H
#define CLIP_INDEX_IMAGE_MAP_H

#include "index/format.h"
#include "index/image.h"

#include <stdatomic.h>

struct clip_image {
    const uint8_t *bytes;
    size_t len;
    bool is_mapped; /* else the bytes are somebody else's */
    atomic_uint n_refs;
    char (*texts)[DIGEST_TEXT_LEN + 1]; /* of digests: manifest, then blob and diff_id by layer */

    const struct format_image *facts;
    const char *strings;
    const struct format_node *nodes;
    const struct format_attr *attrs;
    const struct format_digest *digests;
    const struct format_extent *extents;
    const struct format_xattr_set *xattr_sets;
    const struct format_xattr *xattrs;
    const struct format_layer *layers;
    const struct format_span *spans;
    const uint8_t *windows;
    const struct format_profile *profile;
    const struct format_need *needs;
    uint64_t strings_len, windows_len;
    uint32_t n_nodes, n_attrs, n_digests, n_extents, n_xattr_sets, n_xattrs, n_layers, n_spans,
        n_profile, n_needs;
};

/* As memcmp, a shorter one before a longer one that it begins. */
int image_compare_name(const struct clip_image *image, const struct format_node *node,
                       const char *name, size_t name_len);

static inline bool node_is_file(const struct format_node *node)
{
    return node->kind == FORMAT_FILE || node->kind == FORMAT_EXTENDED;
}

/* Checks the header and the section table of image->bytes, and sets the tables: all that has to
 * hold before image_check() can look at them. CLIP_EFORMAT with a sentence. */
int image_read_sections(struct clip_image *image, struct clip_error *err);

/* Checks every number of every table, in time linear in the file's size, so that no look-up has
 * to. CLIP_EFORMAT with a sentence that says where. */
int image_check(const struct clip_image *image, struct clip_error *err);

/* Once checked: sets image->texts. -ENOMEM. */
int image_write_texts(struct clip_image *image);

#endif
