/* SPDX-License-Identifier: Apache-2.0 */
/* A block's header is its kind in 3 bits and then: nothing (fixed codes), LEN and NLEN (stored), or
 * the lengths of two codes, which are themselves coded (dynamic). Only lengths are looked at; a
 * header that is cut is read again from its start when there is more, which is cheap. */
#include "index/block.h"

#include <errno.h>
#include <string.h>

#define N_LENGTH_CODES  19u
#define MAX_LENGTH_BITS 7u

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
    return 0;
}

/* Goes over the n code lengths of the two codes. */
static int skip_lengths(struct bits *in, const struct length_code *code, unsigned n)
{
    for (unsigned i = 0; i < n && !is_cut(in);) {
        unsigned next = peek(in, MAX_LENGTH_BITS);

        if (!code->n_bits[next] && in->n_bits - in->pos >= MAX_LENGTH_BITS)
            return -EBADMSG;
        if (!code->n_bits[next]) {
            in->pos = in->n_bits + 1; /* what it is, more bytes will tell */
            break;
        }
        in->pos += code->n_bits[next];
        if (code->symbol[next] < 16)
            i++;
        else if (code->symbol[next] == 16)
            i += 3 + take(in, 2);
        else if (code->symbol[next] == 17)
            i += 3 + take(in, 3);
        else
            i += 11 + take(in, 7);
    }
    return 0;
}

static int skip_dynamic(struct bits *in)
{
    static const uint8_t order[N_LENGTH_CODES] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                  11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[N_LENGTH_CODES] = {0};
    struct length_code code;
    unsigned n = 257 + take(in, 5) + 1 + take(in, 5);
    unsigned n_lengths = 4 + take(in, 4);

    for (unsigned i = 0; i < n_lengths; i++)
        lengths[order[i]] = (uint8_t)take(in, 3);
    if (is_cut(in))
        return 0;
    if (make_code(lengths, &code) < 0)
        return -EBADMSG;
    return skip_lengths(in, &code, n);
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
        r = skip_dynamic(&in);
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
