/* SPDX-License-Identifier: Apache-2.0 */
/* A deflate block's header (RFC 1951, 3.2.3 to 3.2.7): how long it is, and how long its codes are.
 * No library tells the one, and an inflater of ours is made of the other. */
#ifndef CLIP_INDEX_BLOCK_H
#define CLIP_INDEX_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No header is longer, whatever bit it begins at: 316 code lengths of 7 bits, and what is before.
 */
#define BLOCK_HEADER_MAX 304u

#define BLOCK_LITERALS_MAX  286u /* and lengths */
#define BLOCK_DISTANCES_MAX 30u

struct block_header {
    bool final, stored, dynamic;
    unsigned n_bits; /* a stored block's includes LEN and NLEN */
    unsigned stored_len;
};

/* A block, and the bits of its header in somebody's memory: from bit header_bit (0 to 7) of the
 * first byte on. */
struct block {
    struct block_header is;
    const uint8_t *header;
    unsigned header_bit;
};

/* How long the codes of a dynamic block are; 0: none. They add up. */
struct block_codes {
    unsigned n_literals, n_distances;
    uint8_t lengths[BLOCK_LITERALS_MAX + BLOCK_DISTANCES_MAX]; /* one after the other */
};

/* Reads the header that begins `bit` bits (0 to 7) into bytes. 1: read; 0: it needs more bytes;
 * -EBADMSG: no header. `codes` may be NULL, and is nothing after any but a dynamic block. */
int block_read_header(const uint8_t *bytes, size_t len, unsigned bit, struct block_header *out,
                      struct block_codes *codes);

#endif
