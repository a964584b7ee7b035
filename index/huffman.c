/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes are handed out by their lengths, the shortest first (RFC 1951, 3.2.2), and the stream has
 * them with their highest bit first, while tables want the first bit lowest: so codes are counted
 * with their bits reversed.
 *
 * A table of n bits is twice that of n - 1: what the shorter codes lead to does not depend on the
 * new bit. So it is made for the codes of one bit, doubled, those of two bits are put in, and so
 * on. Nothing can fail.
 */
#include "index/huffman.h"

#include <string.h>

#define ENTRY(kind, value, extra) ((uint32_t)(value) << 16 | (kind) | (extra))
/* What the length of its code adds to an entry. */
#define CODE_BITS(n) ((uint32_t)(n)*0x101u)

#define NO_SYMBOL   ENTRY(HUFFMAN_SPECIAL, 0, 0)
#define FIRST_MATCH 257u

/* Base and extra bits of the symbols 257 to 285, and of the distances (RFC 1951, 3.2.5). */
static const struct {
    uint16_t base;
    uint8_t extra;
} lengths_of[] =
    {
        {3, 0},   {4, 0},   {5, 0},   {6, 0},   {7, 0},   {8, 0},  {9, 0},  {10, 0},
        {11, 1},  {13, 1},  {15, 1},  {17, 1},  {19, 2},  {23, 2}, {27, 2}, {31, 2},
        {35, 3},  {43, 3},  {51, 3},  {59, 3},  {67, 4},  {83, 4}, {99, 4}, {115, 4},
        {131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0},
},
  distances_of[] = {
      {1, 0},     {2, 0},     {3, 0},     {4, 0},      {5, 1},      {7, 1},
      {9, 2},     {13, 2},    {17, 3},    {25, 3},     {33, 4},     {49, 4},
      {65, 5},    {97, 5},    {129, 6},   {193, 6},    {257, 7},    {385, 7},
      {513, 8},   {769, 8},   {1025, 9},  {1537, 9},   {2049, 10},  {3073, 10},
      {4097, 11}, {6145, 11}, {8193, 12}, {12289, 12}, {16385, 13}, {24577, 13},
};

static uint32_t literal_entry(unsigned symbol)
{
    if (symbol < FIRST_MATCH - 1)
        return ENTRY(HUFFMAN_LITERAL, symbol, 0);
    if (symbol == FIRST_MATCH - 1)
        return ENTRY(HUFFMAN_SPECIAL | HUFFMAN_END, 0, 0);
    symbol -= FIRST_MATCH;
    if (symbol >= sizeof(lengths_of) / sizeof(*lengths_of))
        return NO_SYMBOL;
    return ENTRY(0, lengths_of[symbol].base, lengths_of[symbol].extra);
}

static uint32_t distance_entry(unsigned symbol)
{
    if (symbol >= sizeof(distances_of) / sizeof(*distances_of))
        return NO_SYMBOL;
    return ENTRY(0, distances_of[symbol].base, distances_of[symbol].extra);
}

static uint32_t length_entry(unsigned symbol)
{
    return ENTRY(0, symbol, 0);
}

/* A code's symbols, ordered by the lengths of their codes and then by themselves. */
struct order {
    uint16_t symbols[HUFFMAN_LITERALS];
    uint16_t begin[HUFFMAN_CODE_MAX + 2]; /* where those of each length begin */
};

static void put_in_order(struct order *order, const uint8_t *lengths, unsigned n)
{
    uint16_t next[HUFFMAN_CODE_MAX + 2] = {0};

    for (unsigned i = 0; i < n; i++)
        next[lengths[i] + 1]++;
    next[1] = 0; /* those without a code come nowhere */
    for (unsigned len = 1; len <= HUFFMAN_CODE_MAX + 1; len++)
        next[len] = (uint16_t)(next[len] + next[len - 1]);
    memcpy(order->begin, next, sizeof(next));
    for (unsigned i = 0; i < n; i++) {
        if (lengths[i])
            order->symbols[next[lengths[i]]++] = (uint16_t)i;
    }
}

/* The code after this one of len bits, both reversed. */
static unsigned next_code(unsigned code, unsigned len)
{
    unsigned bit = 1u << len >> 1;

    while (code & bit)
        bit >>= 1;
    return bit ? (code & (bit - 1)) | bit : 0;
}

/* A table being made. */
struct making {
    uint32_t *table;
    unsigned root;
    uint32_t (*entry_of)(unsigned symbol);
    struct order order;
    unsigned code; /* the next one, reversed */
    unsigned n;    /* entries up to now */
};

static void put_short_codes(struct making *m)
{
    const struct order *order = &m->order;
    unsigned len = 1;

    while (len < m->root && order->begin[len + 1] == order->begin[1])
        len++; /* shorter ones than there are */
    for (unsigned i = 0; i < 1u << len >> 1; i++)
        m->table[i] = NO_SYMBOL + CODE_BITS(1); /* stays where the codes do not use all */
    for (; len <= m->root; len++) {
        memcpy(m->table + (1u << len >> 1), m->table, sizeof(*m->table) << len >> 1);
        for (unsigned i = order->begin[len]; i < order->begin[len + 1]; i++) {
            m->table[m->code] = m->entry_of(order->symbols[i]) + CODE_BITS(len);
            m->code = next_code(m->code, len);
        }
    }
    m->n = 1u << m->root;
}

/* How many bits lead on in the table that begins with the i-th symbol, whose code has len bits: as
 * many as are needed for its codes to fill it. */
static unsigned bits_of_table(const struct making *m, unsigned i, unsigned len)
{
    const struct order *order = &m->order;
    unsigned n_bits = len - m->root;
    int left = (1 << n_bits) - (order->begin[len + 1] - (int)i);

    for (; left > 0 && len < HUFFMAN_CODE_MAX; n_bits++) {
        len++;
        left = 2 * left - (order->begin[len + 1] - order->begin[len]);
    }
    return n_bits;
}

static void put_long_codes(struct making *m)
{
    const struct order *order = &m->order;
    unsigned mask = (1u << m->root) - 1, prefix = mask + 1, begin = 0, n_bits = 0;

    for (unsigned len = m->root + 1; len <= HUFFMAN_CODE_MAX; len++) {
        for (unsigned i = order->begin[len]; i < order->begin[len + 1]; i++) {
            unsigned step = 1u << (len - m->root);

            if ((m->code & mask) != prefix) {
                prefix = m->code & mask;
                n_bits = bits_of_table(m, i, len);
                begin = m->n;
                m->n += 1u << n_bits;
                m->table[prefix] =
                    ENTRY(HUFFMAN_SPECIAL | HUFFMAN_NAMES, begin, m->root) | n_bits << 8;
            }
            for (unsigned at = m->code >> m->root; at < 1u << n_bits; at += step)
                m->table[begin + at] = m->entry_of(order->symbols[i]) + CODE_BITS(len - m->root);
            m->code = next_code(m->code, len);
        }
    }
}

static void make_table(uint32_t *table, unsigned root, uint32_t (*entry_of)(unsigned symbol),
                       const uint8_t *lengths, unsigned n)
{
    struct making m;

    m.table = table;
    m.root = root;
    m.entry_of = entry_of;
    m.code = 0;
    put_in_order(&m.order, lengths, n);
    put_short_codes(&m);
    put_long_codes(&m);
}

void huffman_make(struct huffman *huffman, const uint8_t *literal_lengths, unsigned n_literals,
                  const uint8_t *distance_lengths, unsigned n_distances)
{
    make_table(huffman->literals, HUFFMAN_LITERAL_ROOT, literal_entry, literal_lengths, n_literals);
    make_table(huffman->distances, HUFFMAN_DISTANCE_ROOT, distance_entry, distance_lengths,
               n_distances);
}

void huffman_make_lengths(uint32_t table[1 << HUFFMAN_LENGTH_ROOT],
                          const uint8_t lengths[HUFFMAN_LENGTHS])
{
    make_table(table, HUFFMAN_LENGTH_ROOT, length_entry, lengths, HUFFMAN_LENGTHS);
}

void huffman_make_fixed(struct huffman *huffman)
{
    uint8_t literal_lengths[HUFFMAN_LITERALS], distance_lengths[HUFFMAN_DISTANCES];

    memset(literal_lengths, 8, 144);
    memset(literal_lengths + 144, 9, 112);
    memset(literal_lengths + 256, 7, 24);
    memset(literal_lengths + 280, 8, 8);
    memset(distance_lengths, 5, sizeof(distance_lengths));
    huffman_make(huffman, literal_lengths, HUFFMAN_LITERALS, distance_lengths, HUFFMAN_DISTANCES);
}
