/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the next bits of a deflate block say (RFC 1951, 3.2.2 and 3.2.5): tables made from the
 * lengths of its two codes, for index/inflate_clip.c and its loop.
 *
 * The next ROOT bits of the stream, the first one lowest, lead to an entry of the table. Codes that
 * are longer lead to a table of their own, which the rest of their bits lead on from. An entry
 * holds all that is to be known of its symbol, so that nobody has to look at the symbol itself:
 *
 *     bits 0 to 7    how many bits of the stream belong to it: code and extra bits
 *     bits 8 to 11   how many of them are the code, or lead on in the table that is named
 *     bits 12 to 15  what it is: enum huffman_kind
 *     bits 16 to 31  the literal; what a length or a distance is without its extra bits; where the
 *                    table begins that is named
 *
 * Pure, any thread.
 */
#ifndef CLIP_INDEX_HUFFMAN_H
#define CLIP_INDEX_HUFFMAN_H

#include <stdbool.h>
#include <stdint.h>

#define HUFFMAN_LITERALS  288u /* and lengths; the last two are no symbols */
#define HUFFMAN_DISTANCES 32u  /* likewise */
#define HUFFMAN_LENGTHS   19u  /* symbols of the code that the lengths of the others come in */
#define HUFFMAN_CODE_MAX  15u  /* bits */

#define HUFFMAN_LITERAL_ROOT  11u
#define HUFFMAN_DISTANCE_ROOT 8u
#define HUFFMAN_LENGTH_ROOT   7u /* it has no longer ones */

/* At least two codes share a table that is named, and none has more than 15 bits. */
#define HUFFMAN_LITERAL_ENTRIES                                                                    \
    ((1u << HUFFMAN_LITERAL_ROOT) +                                                                \
     HUFFMAN_LITERALS / 2 * (1u << (HUFFMAN_CODE_MAX - HUFFMAN_LITERAL_ROOT)))
#define HUFFMAN_DISTANCE_ENTRIES                                                                   \
    ((1u << HUFFMAN_DISTANCE_ROOT) +                                                               \
     HUFFMAN_DISTANCES / 2 * (1u << (HUFFMAN_CODE_MAX - HUFFMAN_DISTANCE_ROOT)))

/* Neither of the first two: a length, or a distance. */
enum huffman_kind {
    HUFFMAN_LITERAL = 1 << 15,
    HUFFMAN_SPECIAL = 1 << 14, /* one of the next two, or no symbol */
    HUFFMAN_NAMES = 1 << 13,   /* a table */
    HUFFMAN_END = 1 << 12      /* of the block */
};

struct huffman {
    uint32_t literals[HUFFMAN_LITERAL_ENTRIES];
    uint32_t distances[HUFFMAN_DISTANCE_ENTRIES];
};

/* Lengths of codes that add up (index/block.h), 0 for a symbol that has none. */
void huffman_make(struct huffman *huffman, const uint8_t *literal_lengths, unsigned n_literals,
                  const uint8_t *distance_lengths, unsigned n_distances);
/* The same for the code of the lengths; an entry's value is the symbol. */
void huffman_make_lengths(uint32_t table[1 << HUFFMAN_LENGTH_ROOT],
                          const uint8_t lengths[HUFFMAN_LENGTHS]);
/* The codes of a block that brings none. */
void huffman_make_fixed(struct huffman *huffman);

static inline unsigned huffman_bits(uint32_t entry)
{
    return entry & 0xff;
}

static inline unsigned huffman_code_bits(uint32_t entry)
{
    return entry >> 8 & 15;
}

static inline unsigned huffman_value(uint32_t entry)
{
    return entry >> 16;
}

#endif
