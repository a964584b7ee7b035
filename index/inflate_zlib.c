/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zlib says all we need: Z_BLOCK stops where the block ends, data_type counts the bits that were
 * read and not used, inflatePrime() takes the first bits of a stream that begins inside a byte.
 *
 * Given no room it reads on to the next symbol, and inflateMark() tells that one's bits: so it can
 * stop between two symbols at any byte of output, and the same wherever the input was cut. Had it
 * stopped before it saw the next symbol, that might have been the block's end.
 */
#include "index/inflate_one.h"

#include "engine/queue.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

struct inflate_z {
    struct inflate_one base;
    z_stream z;
    unsigned back;   /* bits before the unread ones that belong to the symbol we stopped in */
    uint64_t recent; /* the last eight bytes it took, the newest on top */
};

static void z_close(struct inflate_one *base)
{
    struct inflate_z *inf = container_of(base, struct inflate_z, base);

    inflateEnd(&inf->z);
    free(inf);
}

static int z_begin(struct inflate_one *base, const uint8_t *window, uint32_t window_len,
                   unsigned bits, unsigned n_bits)
{
    struct inflate_z *inf = container_of(base, struct inflate_z, base);

    inf->back = 0;
    inf->recent = n_bits ? (uint64_t)bits << (64 - n_bits) : 0;
    inflateReset(&inf->z);
    if (n_bits)
        inflatePrime(&inf->z, (int)n_bits, (int)bits);
    if (window_len && inflateSetDictionary(&inf->z, window, window_len) != Z_OK)
        return -ENOMEM;
    return 0;
}

static void remember(struct inflate_z *inf, const uint8_t *in, size_t len)
{
    for (size_t i = len > 8 ? len - 8 : 0; i < len; i++)
        inf->recent = inf->recent >> 8 | (uint64_t)in[i] << 56;
}

/* One call of inflate() with what is lent; `room` bounds what may come out. */
static int inflate_lent(struct inflate_z *inf, size_t room)
{
    struct inflate_one *base = &inf->base;
    z_stream *z = &inf->z;
    uint8_t nowhere;
    int r;

    z->next_in = (Bytef *)base->in;
    z->avail_in = base->in_len < INT_MAX ? (uInt)base->in_len : INT_MAX;
    z->next_out = room ? base->out : &nowhere;
    z->avail_out = room < INT_MAX ? (uInt)room : INT_MAX;
    r = inflate(z, Z_BLOCK);
    remember(inf, base->in, (size_t)(z->next_in - base->in));
    base->in_len -= (size_t)(z->next_in - base->in);
    base->in = z->next_in;
    if (room) {
        base->out_len -= (size_t)(z->next_out - base->out);
        base->out = z->next_out;
    }
    return r;
}

/* Of data_type. */
enum { IN_LAST_BLOCK = 64, AT_BLOCK_END = 128 };

/* What a return code means, or 0 to look further. */
static int check(const struct inflate_z *inf, int r)
{
    const int ends = AT_BLOCK_END | IN_LAST_BLOCK;

    if (r == Z_MEM_ERROR)
        return -ENOMEM;
    if (r != Z_OK && r != Z_BUF_ERROR)
        return -EBADMSG;
    return (inf->z.data_type & ends) == ends ? INFLATE_AT_END : 0;
}

static int run_on(struct inflate_z *inf)
{
    for (;;) {
        int r = inflate_lent(inf, inf->base.out_len), found = check(inf, r);

        if (found)
            return found;
        if (!inf->base.out_len)
            return INFLATE_MORE_OUT;
        if (!inf->base.in_len && r == Z_BUF_ERROR)
            return INFLATE_MORE_IN;
    }
}

/* Bytes that were given of a match that goes on. */
static unsigned given_of_match(struct inflate_z *inf)
{
    long mark = inflateMark(&inf->z);

    return mark < 0 ? 0 : (unsigned)(mark & 0xffff);
}

/* In a symbol of which nothing was given yet? */
static bool at_symbol(struct inflate_z *inf)
{
    long mark = inflateMark(&inf->z);

    if (mark < 1 << 16 || (mark & 0xffff))
        return false;
    inf->back = (unsigned)(mark >> 16);
    return true;
}

static int run_to_symbol(struct inflate_z *inf)
{
    for (;;) {
        bool in_match = given_of_match(inf) > 0;
        int r, found;

        if (in_match && !inf->base.out_len)
            return INFLATE_MORE_OUT;
        r = inflate_lent(inf, in_match ? 1 : 0);
        found = check(inf, r);
        if (found)
            return found;
        if (at_symbol(inf))
            return INFLATE_AT_SYMBOL;
        if (!inf->base.in_len && r == Z_BUF_ERROR)
            return INFLATE_MORE_IN;
    }
}

static int z_run(struct inflate_one *base, enum inflate_wish wish)
{
    struct inflate_z *inf = container_of(base, struct inflate_z, base);

    inf->back = 0;
    return wish == INFLATE_TO_SYMBOL ? run_to_symbol(inf) : run_on(inf);
}

static unsigned z_unread(const struct inflate_one *base)
{
    const struct inflate_z *inf = container_of(base, struct inflate_z, base);

    return (unsigned)(inf->z.data_type & 63) + inf->back;
}

static uint64_t z_unread_bits(const struct inflate_one *base)
{
    const struct inflate_z *inf = container_of(base, struct inflate_z, base);

    unsigned n_bits = z_unread(base);

    return n_bits ? inf->recent >> (64 - n_bits) : 0;
}

struct inflate *inflate_zlib_new(void)
{
    static const struct inflate_one_ops ops = {
        .close = z_close,
        .begin = z_begin,
        .run = z_run,
        .unread = z_unread,
        .unread_bits = z_unread_bits,
    };
    struct inflate_z *inf = calloc(1, sizeof(*inf));

    if (!inf || inflateInit2(&inf->z, -MAX_WBITS) != Z_OK) {
        free(inf);
        return NULL;
    }
    inf->base.ops = &ops;
    return inflate_blocks_new(&inf->base);
}
