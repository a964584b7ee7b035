/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of a GNU sparse file, as pairs of offset and length. It stands in the header and in
 * blocks behind it (old GNU, type 'S'), in records of its pax header (0.0, 0.1), or as lines in
 * front of the data (1.0). The numbers say nothing yet of what is stored. Pure.
 */
#ifndef CLIP_INDEX_TAR_SPARSE_H
#define CLIP_INDEX_TAR_SPARSE_H

#include <stddef.h>
#include <stdint.h>

struct tar_run;

struct tar_sparse {
    /* read-only */
    int64_t size; /* of the file, holes included */
    /* private */
    enum { SPARSE_BLOCKS, SPARSE_RECORDS, SPARSE_LIST, SPARSE_LINES } form;
    const uint8_t *bytes;
    size_t len, at;
    int64_t left; /* pairs that have to come, but for SPARSE_BLOCKS */
};

/* Lends the run, whose file has a map. -EBADMSG: not one that all readers would take. */
int tar_sparse_init(struct tar_sparse *sparse, const struct tar_run *run);
/* 1: a pair; 0: the map has ended; -EBADMSG: readers do not agree on what comes next. */
int tar_sparse_next(struct tar_sparse *sparse, int64_t *out_off, int64_t *out_len);

#endif
