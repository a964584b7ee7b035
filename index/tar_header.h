/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tar header run means. A run is everything up to and including an entry's own header
 * blocks: extended pax headers, GNU long names and links, sparse maps. The home of libarchive,
 * which is asked what records of xattrs, ACLs and devices mean; the rest is read here. Pure.
 */
#ifndef CLIP_INDEX_TAR_HEADER_H
#define CLIP_INDEX_TAR_HEADER_H

#include "index/tar.h"
#include "index/tar_pax.h"

#define TAR_BLOCK_LEN 512u

/* What an entry's strings and lists lie in; reused from entry to entry. Zeroed at first. */
struct tar_header {
    struct tar_entry entry;
    /* private */
    char *path, *link;
    size_t path_cap, link_cap;
    struct tar_extent *extents;
    size_t cap_extents;
    struct tar_xattr *xattrs;
    size_t cap_xattrs, n_xattrs;
};

/* Where things are in a run. */
struct tar_run {
    const uint8_t *bytes;
    size_t len;
    size_t own;          /* offset of the entry's own header block */
    size_t pax, pax_len; /* the last x payload */
    struct tar_pax own_pax;
    const struct tar_globals *globals;
    size_t name, name_len; /* of the last L payload */
    size_t link, link_len; /* of the last K payload */
};

/* A pax value, the entry's own or a global one; NULL: there is none. */
const uint8_t *tar_run_value(const struct tar_run *run, enum tar_pax_key key, size_t *out_len);

/* Reads `run` into header->entry; data_off is where its data begin in the layer, stored how many
 * bytes of content the archive holds. -EBADMSG, -ENOMEM. */
int tar_header_read(struct tar_header *header, const struct tar_run *run, uint64_t data_off,
                    uint64_t stored, struct clip_error *err);
void tar_header_fini(struct tar_header *header);

/* A field of a header block: octal or base-256. -EBADMSG if it is neither or does not fit. */
int tar_number(const uint8_t *field, size_t len, int64_t *out);
bool tar_checksum_is_right(const uint8_t *block);

#endif
