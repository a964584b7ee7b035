/* SPDX-License-Identifier: Apache-2.0 */
#include "index/block.h"
#include "index/huffman.h"
#include "test/lib/drip.h"

#include <criterion/criterion.h>
#include <string.h>

#define MANY 300

static uint64_t seed = 1;
static struct huffman huffman;

TestSuite(huffman, .timeout = 60);

static unsigned below(unsigned n)
{
    return (unsigned)(drip_random(&seed) % n);
}

/* Lengths that add up: n codes (2 at least) of n_symbols, made by splitting one again and again. */
static void make_lengths(uint8_t *lengths, unsigned n_symbols, unsigned n)
{
    uint8_t codes[HUFFMAN_LITERALS] = {1, 1};

    for (unsigned n_codes = 2; n_codes < n;) {
        unsigned i = below(4) ? n_codes - 1 : below(n_codes); /* mostly the new one: long codes */

        while (codes[i] == HUFFMAN_CODE_MAX)
            i = below(n_codes);
        codes[i]++;
        codes[n_codes++] = codes[i];
    }
    memset(lengths, 0, n_symbols);
    for (unsigned i = 0; i < n;) {
        unsigned symbol = below(n_symbols);

        if (!lengths[symbol])
            lengths[symbol] = codes[i++];
    }
}

/* RFC 1951, 3.2.2: of the same length they count up with the symbols; the first bit of the stream
 * is the highest. */
static unsigned code_of(const uint8_t *lengths, unsigned n_symbols, unsigned symbol)
{
    unsigned code = 0, reversed = 0;

    for (unsigned i = 0; i < n_symbols; i++)
        if (lengths[i] &&
            (lengths[i] < lengths[symbol] || (lengths[i] == lengths[symbol] && i < symbol)))
            code += 1u << (HUFFMAN_CODE_MAX - lengths[i]);
    code >>= HUFFMAN_CODE_MAX - lengths[symbol];
    for (unsigned i = 0; i < lengths[symbol]; i++)
        reversed |= (code >> i & 1) << (lengths[symbol] - 1 - i);
    return reversed;
}

/* What the bits lead to; *used are those that led to its table. */
static uint32_t look_up(const uint32_t *table, unsigned root, uint32_t bits, unsigned *used)
{
    uint32_t entry = table[bits & ((1u << root) - 1)];

    *used = 0;
    if (!(entry & HUFFMAN_SPECIAL) || !(entry & HUFFMAN_NAMES))
        return entry;
    *used = huffman_bits(entry);
    return table[huffman_value(entry) + (bits >> root & ((1u << huffman_code_bits(entry)) - 1))];
}

/* The entry of a symbol, whatever comes behind its code. */
static uint32_t entry_of(const uint32_t *table, unsigned root, const uint8_t *lengths,
                         unsigned n_symbols, unsigned symbol)
{
    unsigned code = code_of(lengths, n_symbols, symbol), used;
    uint32_t entry = 0;

    for (int i = 0; i < 8; i++) {
        uint32_t bits = code | (uint32_t)drip_random(&seed) << lengths[symbol];

        entry = look_up(table, root, bits, &used);
        cr_assert_eq(used + huffman_code_bits(entry), lengths[symbol], "symbol %u", symbol);
    }
    return entry;
}

static void check_literals(const uint8_t *lengths, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t entry;

        if (!lengths[i])
            continue;
        entry = entry_of(huffman.literals, HUFFMAN_LITERAL_ROOT, lengths, n, i);
        if (i < 256)
            cr_assert(entry & HUFFMAN_LITERAL && huffman_value(entry) == i, "literal %u", i);
        else if (i == 256)
            cr_assert(entry & HUFFMAN_SPECIAL && entry & HUFFMAN_END);
        else
            cr_assert(!(entry & (HUFFMAN_LITERAL | HUFFMAN_SPECIAL)) && huffman_value(entry) >= 3 &&
                      huffman_value(entry) <= 258);
    }
}

static void check_distances(const uint8_t *lengths, unsigned n)
{
    unsigned last = 0;

    for (unsigned i = 0; i < n; i++) {
        uint32_t entry;

        if (!lengths[i])
            continue;
        entry = entry_of(huffman.distances, HUFFMAN_DISTANCE_ROOT, lengths, n, i);
        cr_assert(!(entry & (HUFFMAN_LITERAL | HUFFMAN_SPECIAL)), "distance %u", i);
        cr_assert_gt(huffman_value(entry), last);
        last = huffman_value(entry);
    }
}

Test(huffman, leads_each_code_to_its_symbol)
{
    uint8_t literals[BLOCK_LITERALS_MAX], distances[BLOCK_DISTANCES_MAX];

    for (int i = 0; i < MANY; i++) {
        make_lengths(literals, sizeof(literals), 2 + below(sizeof(literals) - 1));
        make_lengths(distances, sizeof(distances), 2 + below(sizeof(distances) - 1));
        huffman_make(&huffman, literals, sizeof(literals), distances, sizeof(distances));
        check_literals(literals, sizeof(literals));
        check_distances(distances, sizeof(distances));
    }
}

Test(huffman, knows_bases_and_extra_bits)
{
    unsigned next = 3, used;

    huffman_make_fixed(&huffman);
    for (unsigned bits = 0; bits < 1 << 9; bits++) /* each fixed code has 7 to 9 bits */
        cr_assert_neq(look_up(huffman.literals, HUFFMAN_LITERAL_ROOT, bits, &used), 0);
    for (unsigned symbol = 257; symbol < 285; symbol++) {
        static uint8_t lengths[HUFFMAN_LITERALS];
        uint32_t entry;

        memset(lengths, 8, 144);
        memset(lengths + 144, 9, 112);
        memset(lengths + 256, 7, 24);
        memset(lengths + 280, 8, 8);
        entry = entry_of(huffman.literals, HUFFMAN_LITERAL_ROOT, lengths, HUFFMAN_LITERALS, symbol);
        cr_assert_eq(huffman_value(entry), next, "symbol %u", symbol);
        next += 1u << (huffman_bits(entry) - huffman_code_bits(entry));
    }
    cr_assert_eq(next, 3 + 256); /* 258 has a symbol of its own, and so a second name */
}

Test(huffman, has_no_symbol_for_what_no_code_leads_to)
{
    uint8_t literals[BLOCK_LITERALS_MAX] = {0}, distances[1] = {0};
    unsigned used;

    literals[256] = 1;
    huffman_make(&huffman, literals, sizeof(literals), distances, 1);
    cr_assert(look_up(huffman.literals, HUFFMAN_LITERAL_ROOT, 0, &used) & HUFFMAN_END);
    for (unsigned bits = 0; bits < 1 << HUFFMAN_DISTANCE_ROOT; bits++)
        cr_assert(look_up(huffman.distances, HUFFMAN_DISTANCE_ROOT, bits, &used) & HUFFMAN_SPECIAL);
    for (unsigned bits = 1; bits < 1 << HUFFMAN_LITERAL_ROOT; bits += 2) {
        uint32_t entry = look_up(huffman.literals, HUFFMAN_LITERAL_ROOT, bits, &used);
        cr_assert(entry & HUFFMAN_SPECIAL && !(entry & (HUFFMAN_END | HUFFMAN_NAMES)));
    }
}
