/* SPDX-License-Identifier: Apache-2.0 */
/* zlib says all we need: Z_BLOCK stops where the block ends, data_type counts the bits that were
 * read and not used, inflateMark() says how far we are into a symbol, inflatePrime() takes the
 * first bits of a stream that begins inside a byte. It takes no byte before it needs it, so that
 * less than one stays unread where a block ends. */
#include "index/inflate.h"

#include "engine/queue.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

struct inflate_z {
    struct inflate base;
    z_stream z;
    unsigned back; /* bits before the unread ones that belong to the symbol we stopped in */
    uint8_t last;  /* the last byte it took */
};

static struct inflate *z_open(void)
{
    struct inflate_z *inf = calloc(1, sizeof(*inf));

    if (inf && inflateInit2(&inf->z, -MAX_WBITS) == Z_OK)
        return &inf->base;
    free(inf);
    return NULL;
}

static void z_close(struct inflate *base)
{
    struct inflate_z *inf = container_of(base, struct inflate_z, base);

    inflateEnd(&inf->z);
    free(inf);
}

static int z_begin(struct inflate *base, const uint8_t *window, uint32_t window_len, unsigned bits,
                   unsigned n_bits)
{
    struct inflate_z *inf = container_of(base, struct inflate_z, base);

    inf->back = 0;
    inf->last = (uint8_t)(bits << (8 - n_bits));
    inflateReset(&inf->z);
    if (n_bits)
        inflatePrime(&inf->z, (int)n_bits, (int)bits);
    if (window_len && inflateSetDictionary(&inf->z, window, window_len) != Z_OK)
        return -ENOMEM;
    return 0;
}

/* One call of inflate() with what is lent; `room` bounds what may come out. */
static int inflate_lent(struct inflate_z *inf, size_t room)
{
    struct inflate *base = &inf->base;
    z_stream *z = &inf->z;
    int r;

    z->next_in = (Bytef *)base->in;
    z->avail_in = base->in_len < INT_MAX ? (uInt)base->in_len : INT_MAX;
    z->next_out = base->out;
    z->avail_out = room < INT_MAX ? (uInt)room : INT_MAX;
    r = inflate(z, Z_BLOCK);
    if (z->next_in != base->in)
        inf->last = z->next_in[-1];
    base->in_len -= (size_t)(z->next_in - base->in);
    base->in = z->next_in;
    base->out_len -= (size_t)(z->next_out - base->out);
    base->out = z->next_out;
    return r;
}

/* Are we between two symbols, or at one's start with nothing of it given yet? */
static bool at_symbol(struct inflate_z *inf)
{
    long mark = inflateMark(&inf->z);

    if (mark < 0 || (mark & 0xffff))
        return false;
    inf->back = (unsigned)(mark >> 16);
    return true;
}

static int z_run(struct inflate *base, enum inflate_wish wish)
{
    struct inflate_z *inf = container_of(base, struct inflate_z, base);

    inf->back = 0;
    for (;;) {
        /* symbols end where they like: byte by byte one is found within 258 */
        size_t room = wish == INFLATE_TO_SYMBOL && base->out_len ? 1 : base->out_len;
        int r = inflate_lent(inf, room);

        if (r == Z_MEM_ERROR)
            return -ENOMEM;
        if (r != Z_OK && r != Z_BUF_ERROR)
            return -EBADMSG;
        if (inf->z.data_type & 128)
            return INFLATE_AT_END;
        if (wish == INFLATE_TO_SYMBOL && at_symbol(inf))
            return INFLATE_AT_SYMBOL;
        if (!base->out_len)
            return INFLATE_MORE_OUT;
        if (!base->in_len && r == Z_BUF_ERROR)
            return INFLATE_MORE_IN;
    }
}

static unsigned z_unread(const struct inflate *base)
{
    const struct inflate_z *inf = container_of(base, struct inflate_z, base);

    return (unsigned)(inf->z.data_type & 63) + inf->back;
}

static uint64_t z_unread_bits(const struct inflate *base)
{
    const struct inflate_z *inf = container_of(base, struct inflate_z, base);

    return inf->last >> (8 - (inf->z.data_type & 7));
}

const struct inflate_ops inflate_zlib_ops = {
    .open = z_open,
    .close = z_close,
    .begin = z_begin,
    .run = z_run,
    .unread = z_unread,
    .unread_bits = z_unread_bits,
};
