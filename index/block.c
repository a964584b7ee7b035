/* SPDX-License-Identifier: Apache-2.0 */
/* A block's header is its kind in 3 bits and then: nothing (fixed codes), LEN and NLEN (stored), or
 * the lengths of two codes, which are themselves coded (dynamic). A header that is cut is read
 * again from its start when there is more, which is cheap.
 * Codes that do not add up are refused as zlib does it: ISA-L lets some of them pass, and both
 * have to agree on what a layer is. */
#include "index/block.h"

#include <errno.h>
#include <string.h>

#define N_LENGTH_CODES  19u
#define MAX_LENGTH_BITS 7u
#define MAX_CODE_BITS   15u
#define MAX_LITERALS    286u /* and lengths */
#define MAX_DISTANCES   30u
#define END_OF_BLOCK    256u

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

/* By the next MAX_LENGTH_BITS bits: which symbol, and how many of them are its code (0: none). */
struct length_code {
    uint8_t symbol[1 << MAX_LENGTH_BITS];
    uint8_t n_bits[1 << MAX_LENGTH_BITS];
};

static unsigned reversed(unsigned code, unsigned n_bits)
{
    unsigned r = 0;

    for (unsigned i = 0; i < n_bits; i++)
        r |= ((code >> i) & 1) << (n_bits - 1 - i);
    return r;
}

static int make_code(const uint8_t lengths[N_LENGTH_CODES], struct length_code *out)
{
    unsigned code = 0;

    memset(out, 0, sizeof(*out));
    for (unsigned n = 1; n <= MAX_LENGTH_BITS; n++, code <<= 1) {
        for (unsigned symbol = 0; symbol < N_LENGTH_CODES; symbol++) {
            if (lengths[symbol] != n)
                continue;
            if (code >> n)
                return -EBADMSG; /* more codes than bits can tell apart */
            for (unsigned i = reversed(code, n); i < 1u << MAX_LENGTH_BITS; i += 1u << n) {
                out->symbol[i] = (uint8_t)symbol;
                out->n_bits[i] = (uint8_t)n;
            }
            code++;
        }
    }
    return code >> (MAX_LENGTH_BITS + 1) ? 0 : -EBADMSG;
}

/* A code has to use all its bits; or be a single one of one bit, or none where there may be none.
 */
static bool is_code(const uint8_t *lengths, unsigned n, bool may_be_none)
{
    unsigned n_codes = 0, max = 0;
    uint32_t sum = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!lengths[i])
            continue;
        n_codes++;
        max = lengths[i] > max ? lengths[i] : max;
        sum += 1u << (MAX_CODE_BITS - lengths[i]);
    }
    if (n_codes == 0)
        return may_be_none;
    return sum == 1u << MAX_CODE_BITS || (n_codes == 1 && max == 1);
}

static unsigned repeat_len(struct bits *in, unsigned symbol)
{
    if (symbol == 16)
        return 3 + take(in, 2);
    return symbol == 17 ? 3 + take(in, 3) : 11 + take(in, 7);
}

/* Reads the n code lengths of the two codes. */
static int read_lengths(struct bits *in, const struct length_code *code, unsigned n,
                        uint8_t *lengths)
{
    for (unsigned i = 0; i < n && !is_cut(in);) {
        unsigned next = peek(in, MAX_LENGTH_BITS), symbol = code->symbol[next], len;

        if (!code->n_bits[next] && in->n_bits - in->pos >= MAX_LENGTH_BITS)
            return -EBADMSG;
        if (!code->n_bits[next]) {
            in->pos = in->n_bits + 1; /* what it is, more bytes will tell */
            break;
        }
        in->pos += code->n_bits[next];
        if (symbol < 16) {
            lengths[i++] = (uint8_t)symbol;
            continue;
        }
        len = repeat_len(in, symbol);
        if (len > n - i || (symbol == 16 && i == 0))
            return -EBADMSG;
        memset(lengths + i, symbol == 16 ? lengths[i - 1] : 0, len);
        i += len;
    }
    return 0;
}

static int read_dynamic(struct bits *in)
{
    static const uint8_t order[N_LENGTH_CODES] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                  11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t coded[N_LENGTH_CODES] = {0}, lengths[MAX_LITERALS + MAX_DISTANCES];
    struct length_code code;
    unsigned n_literals = 257 + take(in, 5), n_distances = 1 + take(in, 5);
    unsigned n_lengths = 4 + take(in, 4);

    for (unsigned i = 0; i < n_lengths; i++)
        coded[order[i]] = (uint8_t)take(in, 3);
    if (is_cut(in))
        return 0;
    if (n_literals > MAX_LITERALS || n_distances > MAX_DISTANCES || make_code(coded, &code) < 0)
        return -EBADMSG;
    if (read_lengths(in, &code, n_literals + n_distances, lengths) < 0)
        return -EBADMSG;
    if (is_cut(in))
        return 0;
    if (!lengths[END_OF_BLOCK] || !is_code(lengths, n_literals, false) ||
        !is_code(lengths + n_literals, n_distances, true))
        return -EBADMSG;
    return 0;
}

int block_read_header(const uint8_t *bytes, size_t len, unsigned bit, struct block_header *out)
{
    struct bits in = {.bytes = bytes, .n_bits = len * 8, .pos = bit};
    bool final = take(&in, 1);
    unsigned kind = take(&in, 2);
    int r = 0;

    if (kind == 0)
        in.pos = (in.pos + 7) / 8 * 8 + 32;
    else if (kind == 2)
        r = read_dynamic(&in);
    else if (kind == 3)
        r = -EBADMSG;
    if (is_cut(&in))
        return 0;
    if (r < 0)
        return r;
    *out = (struct block_header){
        .final = final, .stored = kind == 0, .n_bits = (unsigned)(in.pos - bit)};
    return 1;
}
