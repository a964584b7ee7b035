/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a block is:
 * - its header is gathered and read (index/block.h), because no library says how long it is;
 * - the library gets the block as a stream of its own (index/inflate_one.h): the window, the header
 *   with the "final" bit set, then the input, until it stops at the block's end and gives back what
 *   it read too far.
 * Inside a block that somebody else began it gets the header once more, and behind that the bits to
 * go on with. Where nobody wants the blocks' ends (THROUGH) it gets the rest of the stream as one:
 * that saves copies of the window, and a header read twice, for each block.
 *
 * Each bit of the input belongs to one of: the library (while a block runs), `bits` (after it), the
 * head (a header and what came with it), the caller's input.
 * Possible failure modes are: a bad header, what the library refuses, no memory for its window.
 */
#include "index/inflate_one.h"

#include "engine/queue.h"

#include <stdlib.h>
#include <string.h>

/* What a state says besides enum inflate_stop and errors: ask the next one. */
#define GO_ON 100

enum state {
    BLOCK,  /* one begins */
    HEADER, /* gathering it */
    INSIDE, /* going on in the middle of one */
    DATA,   /* its bytes */
    ENDED
};

struct inflate_blocks {
    struct inflate base;
    struct inflate_one *one;
    enum state state;
    bool through;

    uint8_t header[8 + BLOCK_HEADER_MAX]; /* of the block */
    struct inflate_head head;             /* what the library gets first, with 64 bits at most */
    unsigned head_lent;
};

static int to_state(struct inflate_blocks *inf, enum state state)
{
    inf->state = state;
    return GO_ON;
}

/* ---- the head */

static void put_bit(struct inflate_blocks *inf, unsigned at, unsigned bit)
{
    inf->head.bytes[at / 8] |= (uint8_t)((bit & 1) << (at % 8));
}

/* The header, so that it ends where the next bit stands in its byte, then the bits. */
static void make_head_inside(struct inflate_blocks *inf)
{
    unsigned n = inf->base.block.is.n_bits;

    inf->head.bit = (8 - (n + inf->base.n_bits) % 8) % 8;
    inf->head.n = (inf->head.bit + n + inf->base.n_bits) / 8;
    memset(inf->head.bytes, 0, inf->head.n);
    for (unsigned i = 0, from = inf->base.block.header_bit; i < n; i++, from++)
        put_bit(inf, inf->head.bit + i, inf->header[from / 8] >> (from % 8));
    for (unsigned i = 0; i < inf->base.n_bits; i++)
        put_bit(inf, inf->head.bit + n + i, (unsigned)(inf->base.bits >> i));
    inf->base.n_bits = 0;
    inf->base.bits = 0;
}

/* ---- a block's begin */

/* The library gets the window, and the bits of a byte that is not the stream's in full. */
static int begin_one(struct inflate_blocks *inf)
{
    unsigned n_bits = (8 - inf->head.bit) % 8;
    int r = inf->one->ops->begin(inf->one, history_window(&inf->base.history),
                                 history_len(&inf->base.history),
                                 n_bits ? inf->head.bytes[0] >> inf->head.bit : 0, n_bits);

    if (r < 0)
        return r;
    inf->head_lent = n_bits ? 1 : 0;
    return to_state(inf, DATA);
}

static int begin_alone(struct inflate_blocks *inf)
{
    inf->head.bytes[0] |= (uint8_t)(1u << inf->head.bit); /* "final", for the library */
    return begin_one(inf);
}

static int step_block(struct inflate_blocks *inf, enum inflate_wish wish)
{
    inflate_head_begin(&inf->head, &inf->base);
    inf->through = wish == INFLATE_THROUGH;
    return inf->through ? begin_one(inf) : to_state(inf, HEADER);
}

static int step_header(struct inflate_blocks *inf)
{
    int r = inflate_head_read(&inf->head, &inf->base, NULL);

    if (r <= 0)
        return r < 0 ? r : INFLATE_MORE_IN;
    memcpy(inf->header, inf->head.bytes, inf->head.n);
    return begin_alone(inf);
}

static int step_inside(struct inflate_blocks *inf, enum inflate_wish wish)
{
    make_head_inside(inf);
    inf->through = wish == INFLATE_THROUGH;
    return inf->through ? begin_one(inf) : begin_alone(inf);
}

/* ---- a block's data */

/* Lends what is left of the head, or else the input. */
static int run_one(struct inflate_blocks *inf, enum inflate_wish wish)
{
    struct inflate *base = &inf->base;
    struct inflate_one *one = inf->one;
    bool from_head = inf->head_lent < inf->head.n;
    int r;

    one->in = from_head ? inf->head.bytes + inf->head_lent : base->in;
    one->in_len = from_head ? inf->head.n - inf->head_lent : base->in_len;
    one->out = base->out;
    one->out_len = base->out_len;
    r = one->ops->run(one, inf->base.in_block && inf->base.block.is.stored ? INFLATE_ON : wish);
    if (from_head) {
        inf->head_lent = inf->head.n - (unsigned)one->in_len;
    } else {
        base->in = one->in;
        base->in_len = one->in_len;
    }
    history_add(&inf->base.history, base->out, (size_t)(one->out - base->out));
    base->out = one->out;
    base->out_len = one->out_len;
    return r == INFLATE_MORE_IN && from_head ? GO_ON : r;
}

/* Takes back what the library and the head have left of the bits. */
static void take_bits(struct inflate_blocks *inf)
{
    inf->base.n_bits = inf->one->ops->unread(inf->one);
    inf->base.bits = inf->one->ops->unread_bits(inf->one);
    for (unsigned i = inf->head_lent; i < inf->head.n; i++, inf->base.n_bits += 8)
        inf->base.bits |= (uint64_t)inf->head.bytes[i] << inf->base.n_bits;
}

static int step_data(struct inflate_blocks *inf, enum inflate_wish wish)
{
    int r = run_one(inf, wish);

    if (r > 0 && r != INFLATE_MORE_OUT)
        take_bits(inf);
    if (r == INFLATE_AT_END)
        to_state(inf, inf->through || inf->base.block.is.final ? ENDED : BLOCK);
    return r;
}

/* ---- the inflater */

static void b_close(struct inflate *base)
{
    struct inflate_blocks *inf = container_of(base, struct inflate_blocks, base);

    inf->one->ops->close(inf->one);
    free(inf);
}

static void b_begin(struct inflate *base, const struct block *inside)
{
    struct inflate_blocks *inf = container_of(base, struct inflate_blocks, base);

    inf->state = inside ? INSIDE : BLOCK;
    if (!inside)
        return;
    base->block.is = inside->is;
    base->block.header_bit = inside->header_bit;
    memcpy(inf->header, inside->header, (inside->header_bit + inside->is.n_bits + 7) / 8);
}

static int step(struct inflate_blocks *inf, enum inflate_wish wish)
{
    switch (inf->state) {
    case BLOCK:
        return step_block(inf, wish);
    case HEADER:
        return step_header(inf);
    case INSIDE:
        return step_inside(inf, wish);
    case DATA:
        return step_data(inf, wish);
    case ENDED:
        break;
    }
    return INFLATE_AT_END;
}

static int b_run(struct inflate *base, enum inflate_wish wish)
{
    struct inflate_blocks *inf = container_of(base, struct inflate_blocks, base);
    int r;

    do {
        r = step(inf, wish);
    } while (r == GO_ON);
    return r;
}

struct inflate *inflate_blocks_new(struct inflate_one *one)
{
    static const struct inflate_ops ops = {
        .close = b_close,
        .begin = b_begin,
        .run = b_run,
    };
    struct inflate_blocks *inf = one ? malloc(sizeof(*inf)) : NULL;

    if (!inf) {
        if (one)
            one->ops->close(one);
        return NULL;
    }
    inf->base.ops = &ops;
    inf->one = one;
    inf->base.block.header = inf->header;
    return &inf->base;
}
