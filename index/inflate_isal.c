/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ISA-L's state is open, and that is what we need of it:
 * - It stops where the final block ends, which a block that it gets alone is to it, and read_in
 *   holds the bits that it has loaded and not used, up to eight bytes. A stream that begins inside
 *   a byte starts with bits in there.
 * - It decodes ahead into a buffer of its own and gives from there. Whenever that is empty, what
 *   it has used and what it has given belong together: it stands between two symbols. To get
 *   there we lend it a few bytes and then none until it has given all.
 */
#ifdef CLIP_HAVE_ISAL
#include "index/inflate_one.h"

#include "engine/queue.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

/* Bytes lent at a time when a place between symbols is looked for: few, since 1 KiB can come out
 * of each. */
#define SYMBOL_STEP 8u
/* avail_in and avail_out are 32 bits, and so are sums in there. */
#define MAX_LENT (1u << 30)

struct inflate_i {
    struct inflate_one base;
    struct inflate_state s;
};

static void i_close(struct inflate_one *base)
{
    free(container_of(base, struct inflate_i, base));
}

static int i_begin(struct inflate_one *base, const uint8_t *window, uint32_t window_len,
                   unsigned bits, unsigned n_bits)
{
    struct inflate_i *inf = container_of(base, struct inflate_i, base);

    isal_inflate_init(&inf->s);
    inf->s.read_in = bits;
    inf->s.read_in_length = (int32_t)n_bits;
    if (window_len)
        isal_inflate_set_dict(&inf->s, (uint8_t *)window, window_len);
    return 0;
}

static bool all_given(const struct inflate_i *inf)
{
    return inf->s.tmp_out_valid == inf->s.tmp_out_processed;
}

/* How much input the next call may have. */
static size_t lend(const struct inflate_i *inf, enum inflate_wish wish)
{
    size_t max = wish != INFLATE_TO_SYMBOL ? MAX_LENT : all_given(inf) ? SYMBOL_STEP : 0;

    return inf->base.in_len < max ? inf->base.in_len : max;
}

static int inflate_lent(struct inflate_i *inf, size_t len)
{
    struct inflate_one *base = &inf->base;
    struct inflate_state *s = &inf->s;
    int r;

    s->next_in = (uint8_t *)base->in;
    s->avail_in = (uint32_t)len;
    s->next_out = base->out;
    s->avail_out = base->out_len < MAX_LENT ? (uint32_t)base->out_len : MAX_LENT;
    r = isal_inflate(s);
    base->in_len -= (size_t)(s->next_in - base->in);
    base->in = s->next_in;
    base->out_len -= (size_t)(s->next_out - base->out);
    base->out = s->next_out;
    return r;
}

static int i_run(struct inflate_one *base, enum inflate_wish wish)
{
    struct inflate_i *inf = container_of(base, struct inflate_i, base);

    for (;;) {
        size_t out_len = base->out_len, lent = lend(inf, wish);

        if (inflate_lent(inf, lent) < 0)
            return -EBADMSG;
        if (inf->s.block_state == ISAL_BLOCK_FINISH)
            return INFLATE_AT_END;
        if (wish == INFLATE_TO_SYMBOL && inf->s.block_state == ISAL_BLOCK_CODED && all_given(inf))
            return INFLATE_AT_SYMBOL;
        if (!base->out_len)
            return INFLATE_MORE_OUT;
        if (!base->in_len && all_given(inf))
            return INFLATE_MORE_IN;
        if (lent && inf->s.avail_in == lent && base->out_len == out_len)
            return -EBADMSG; /* it must not loop, whatever the bytes */
    }
}

static unsigned i_unread(const struct inflate_one *base)
{
    const struct inflate_i *inf = container_of(base, struct inflate_i, base);

    return inf->s.read_in_length > 0 ? (unsigned)inf->s.read_in_length : 0;
}

static uint64_t i_unread_bits(const struct inflate_one *base)
{
    const struct inflate_i *inf = container_of(base, struct inflate_i, base);
    unsigned n_bits = i_unread(base);

    /* above them it leaves what it has loaded twice */
    return n_bits < 64 ? inf->s.read_in & ((UINT64_C(1) << n_bits) - 1) : inf->s.read_in;
}

struct inflate *inflate_isal_new(void)
{
    static const struct inflate_one_ops ops = {
        .close = i_close,
        .begin = i_begin,
        .run = i_run,
        .unread = i_unread,
        .unread_bits = i_unread_bits,
    };
    struct inflate_i *inf = malloc(sizeof(*inf));

    if (!inf)
        return NULL;
    inf->base.ops = &ops;
    return inflate_blocks_new(&inf->base);
}
#endif
