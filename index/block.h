/* SPDX-License-Identifier: Apache-2.0 */
/* How long a deflate block's header is (RFC 1951, 3.2.3 to 3.2.7), read without an inflater: the
 * one thing that no inflater tells. */
#ifndef CLIP_INDEX_BLOCK_H
#define CLIP_INDEX_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No header is longer, whatever bit it begins at: 316 code lengths of 7 bits, and what is before.
 */
#define BLOCK_HEADER_MAX 304u

struct block_header {
    bool final, stored;
    unsigned n_bits; /* a stored block's includes LEN and NLEN */
};

/* Reads the header that begins `bit` bits (0 to 7) into bytes. 1: read; 0: it needs more bytes;
 * -EBADMSG: no header. What it accepts may still be refused by an inflater. */
int block_read_header(const uint8_t *bytes, size_t len, unsigned bit, struct block_header *out);

#endif
