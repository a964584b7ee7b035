/* SPDX-License-Identifier: Apache-2.0 */
/* A block's header is its kind in 3 bits and then: nothing (fixed codes), LEN and NLEN (stored), or
 * the lengths of two codes, which are themselves coded (dynamic). A header that is cut is read
 * again from its start when there is more, which is cheap.
 * Codes that do not add up are refused as zlib does it: ISA-L lets some of them pass, and both
 * have to agree on what a layer is. */
#include "index/block.h"

#include "index/huffman.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define END_OF_BLOCK 256u

/* The bits of a header, lowest first; past the end they are 0, and `pos` tells. */
struct bits {
    const uint8_t *bytes;
    size_t n_bits;
    size_t pos;
};

/* At most 14. */
static unsigned peek(const struct bits *in, unsigned n)
{
    size_t len = in->n_bits / 8, at = in->pos / 8;
    uint32_t word = 0;

    if (at + sizeof(word) <= len) {
        memcpy(&word, in->bytes + at, sizeof(word));
        return (le32toh(word) >> (in->pos % 8)) & ((1u << n) - 1);
    }
    for (size_t i = 0; i < 3 && at + i < len; i++)
        word |= (uint32_t)in->bytes[at + i] << (8 * i);
    return (word >> (in->pos % 8)) & ((1u << n) - 1);
}

static unsigned take(struct bits *in, unsigned n)
{
    unsigned value = peek(in, n);

    in->pos += n;
    return value;
}

static bool is_cut(const struct bits *in)
{
    return in->pos > in->n_bits;
}

/* What there is of a code. */
struct code_sum {
    unsigned n_codes, max;
    uint32_t sum; /* how much they take of all that HUFFMAN_CODE_MAX bits can be */
};

static struct code_sum sum_up(const uint8_t *lengths, unsigned n)
{
    struct code_sum code = {0};

    for (unsigned i = 0; i < n; i++) {
        if (!lengths[i])
            continue;
        code.n_codes++;
        code.max = lengths[i] > code.max ? lengths[i] : code.max;
        code.sum += 1u << (HUFFMAN_CODE_MAX - lengths[i]);
    }
    return code;
}

static bool is_full(const struct code_sum *code)
{
    return code->sum == 1u << HUFFMAN_CODE_MAX;
}

/* A code has to use all its bits; or be a single one of one bit, or none where there may be none.
 */
static bool is_code(const uint8_t *lengths, unsigned n, bool may_be_none)
{
    struct code_sum code = sum_up(lengths, n);

    if (code.n_codes == 0)
        return may_be_none;
    return is_full(&code) || (code.n_codes == 1 && code.max == 1);
}

static unsigned repeat_len(struct bits *in, unsigned symbol)
{
    if (symbol == 16)
        return 3 + take(in, 2);
    return symbol == 17 ? 3 + take(in, 3) : 11 + take(in, 7);
}

/* Reads the n code lengths of the two codes. */
static int read_lengths(struct bits *in, const uint32_t *table, unsigned n, uint8_t *lengths)
{
    for (unsigned i = 0; i < n && !is_cut(in);) {
        uint32_t entry = table[peek(in, HUFFMAN_LENGTH_ROOT)];
        unsigned symbol = huffman_value(entry), len;

        in->pos += huffman_bits(entry);
        if (symbol < 16) {
            lengths[i++] = (uint8_t)symbol;
            continue;
        }
        len = repeat_len(in, symbol);
        if (is_cut(in))
            break;
        if (len > n - i || (symbol == 16 && i == 0))
            return -EBADMSG;
        memset(lengths + i, symbol == 16 ? lengths[i - 1] : 0, len);
        i += len;
    }
    return 0;
}

/* How the code lengths are coded. */
static int read_length_code(struct bits *in, unsigned n, uint32_t *table)
{
    static const uint8_t order[HUFFMAN_LENGTHS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                   11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[HUFFMAN_LENGTHS] = {0};
    struct code_sum code;

    for (unsigned i = 0; i < n; i++)
        lengths[order[i]] = (uint8_t)take(in, 3);
    code = sum_up(lengths, HUFFMAN_LENGTHS);
    if (is_cut(in) || !is_full(&code))
        return -EBADMSG;
    huffman_make_lengths(table, lengths);
    return 0;
}

static int read_dynamic(struct bits *in, struct block_codes *codes)
{
    uint32_t table[1 << HUFFMAN_LENGTH_ROOT];
    uint8_t *lengths = codes->lengths;
    unsigned n_literals = 257 + take(in, 5), n_distances = 1 + take(in, 5);
    int r = read_length_code(in, 4 + take(in, 4), table);

    if (r == 0 && (n_literals > BLOCK_LITERALS_MAX || n_distances > BLOCK_DISTANCES_MAX))
        r = -EBADMSG;
    if (r == 0)
        r = read_lengths(in, table, n_literals + n_distances, lengths);
    if (r < 0 || is_cut(in))
        return r;
    if (!lengths[END_OF_BLOCK] || !is_code(lengths, n_literals, false) ||
        !is_code(lengths + n_literals, n_distances, true))
        return -EBADMSG;
    codes->n_literals = n_literals;
    codes->n_distances = n_distances;
    return 0;
}

static unsigned take_u16(struct bits *in)
{
    unsigned low = take(in, 8);

    return low | take(in, 8) << 8;
}

static int read_stored(struct bits *in, unsigned *stored_len)
{
    unsigned inverse;

    in->pos = (in->pos + 7) / 8 * 8;
    *stored_len = take_u16(in);
    inverse = take_u16(in);
    return is_cut(in) || (*stored_len ^ inverse) == 0xffff ? 0 : -EBADMSG;
}

int block_read_header(const uint8_t *bytes, size_t len, unsigned bit, struct block_header *out,
                      struct block_codes *codes)
{
    struct bits in = {.bytes = bytes, .n_bits = len * 8, .pos = bit};
    bool final = take(&in, 1);
    unsigned kind = take(&in, 2), stored_len = 0;
    struct block_codes unwanted;
    int r = 0;

    if (kind == 0)
        r = read_stored(&in, &stored_len);
    else if (kind == 2)
        r = read_dynamic(&in, codes ? codes : &unwanted);
    else if (kind == 3)
        r = -EBADMSG;
    if (is_cut(&in))
        return 0;
    if (r < 0)
        return r;
    *out = (struct block_header){.final = final,
                                 .stored = kind == 0,
                                 .dynamic = kind == 2,
                                 .n_bits = (unsigned)(in.pos - bit),
                                 .stored_len = stored_len};
    return 1;
}
