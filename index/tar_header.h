/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tar header run means. A run is everything up to and including an entry's own header
 * block: global and extended pax headers, GNU long names and links, sparse maps. The home of
 * libarchive; plain ustar headers are read without it. Pure.
 */
#ifndef CLIP_INDEX_TAR_HEADER_H
#define CLIP_INDEX_TAR_HEADER_H

#include "index/tar.h"

#include <stdbool.h>

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
    const uint8_t *bytes; /* global headers first, if any */
    size_t len;
    size_t own; /* offset of the entry's own header block */
    size_t pax; /* offset and length of the last x payload; len 0: none */
    size_t pax_len;
    size_t name, name_len; /* of the last L payload */
    size_t link, link_len; /* of the last K payload */
};

/* Reads `run` into header->entry; data_off is where its data begin in the layer, stored how many
 * bytes of content the archive holds. -EBADMSG, -ENOMEM. */
int tar_header_read(struct tar_header *header, const struct tar_run *run, uint64_t data_off,
                    uint64_t stored, struct clip_error *err);
void tar_header_fini(struct tar_header *header);

/* A field of a header block: octal or base-256. -EBADMSG if it is neither or does not fit. */
int tar_number(const uint8_t *field, size_t len, int64_t *out);
bool tar_checksum_is_right(const uint8_t *block);
/* The value of a pax record by its key, or NULL. */
const char *tar_pax_find(const uint8_t *payload, size_t len, const char *key, size_t *out_len);

#endif
