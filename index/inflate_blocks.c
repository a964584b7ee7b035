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

#include "index/history.h"

#include "engine/queue.h"

#include <errno.h>
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

    /* not used: first bit lowest, 0 above n_bits */
    uint64_t bits;
    unsigned n_bits;

    struct block block;
    bool in_block; /* its header is there */
    uint8_t header[8 + BLOCK_HEADER_MAX];

    /* what the library gets first: the header and at most 64 bits that came with it */
    uint8_t head[8 + BLOCK_HEADER_MAX];
    unsigned n_head, head_bit, head_lent;

    struct history history;
};

static int to_state(struct inflate_blocks *inf, enum state state)
{
    inf->state = state;
    return GO_ON;
}

/* ---- the head */

/* The bits that are not used are its first. */
static void make_head(struct inflate_blocks *inf)
{
    inf->head_bit = (8 - inf->n_bits % 8) % 8;
    inf->n_head = (inf->n_bits + inf->head_bit) / 8;
    for (unsigned i = 0; i < inf->n_head; i++)
        inf->head[i] = (uint8_t)(inf->bits << inf->head_bit >> (8 * i));
    inf->n_bits = 0;
    inf->bits = 0;
}

static void put_bit(struct inflate_blocks *inf, unsigned at, unsigned bit)
{
    inf->head[at / 8] |= (uint8_t)((bit & 1) << (at % 8));
}

/* The header, so that it ends where the next bit stands in its byte, then the bits. */
static void make_head_inside(struct inflate_blocks *inf)
{
    unsigned n = inf->block.is.n_bits;

    inf->head_bit = (8 - (n + inf->n_bits) % 8) % 8;
    inf->n_head = (inf->head_bit + n + inf->n_bits) / 8;
    memset(inf->head, 0, inf->n_head);
    for (unsigned i = 0, from = inf->block.header_bit; i < n; i++, from++)
        put_bit(inf, inf->head_bit + i, inf->header[from / 8] >> (from % 8));
    for (unsigned i = 0; i < inf->n_bits; i++)
        put_bit(inf, inf->head_bit + n + i, (unsigned)(inf->bits >> i));
    inf->n_bits = 0;
    inf->bits = 0;
}

/* Bytes that are not the header's go back, as far as they are of this input. */
static void trim_head(struct inflate_blocks *inf, size_t n_new)
{
    size_t used = (inf->head_bit + inf->block.is.n_bits + 7) / 8;
    size_t back = inf->n_head - used < n_new ? inf->n_head - used : n_new;

    inf->n_head -= (unsigned)back;
    inf->base.in -= back;
    inf->base.in_len += back;
}

/* ---- a block's begin */

/* The library gets the window, and the bits of a byte that is not the stream's in full. */
static int begin_one(struct inflate_blocks *inf)
{
    unsigned n_bits = (8 - inf->head_bit) % 8;
    int r =
        inf->one->ops->begin(inf->one, history_window(&inf->history), history_len(&inf->history),
                             n_bits ? inf->head[0] >> inf->head_bit : 0, n_bits);

    if (r < 0)
        return r;
    inf->head_lent = n_bits ? 1 : 0;
    return to_state(inf, DATA);
}

static int begin_alone(struct inflate_blocks *inf)
{
    inf->head[0] |= (uint8_t)(1u << inf->head_bit); /* "final", for the library */
    return begin_one(inf);
}

static int step_block(struct inflate_blocks *inf, enum inflate_wish wish)
{
    inf->in_block = false;
    make_head(inf);
    inf->through = wish == INFLATE_THROUGH;
    return inf->through ? begin_one(inf) : to_state(inf, HEADER);
}

static int read_header(struct inflate_blocks *inf)
{
    return block_read_header(inf->head, inf->n_head, inf->head_bit, &inf->block.is, NULL);
}

static int step_header(struct inflate_blocks *inf)
{
    struct inflate *base = &inf->base;
    size_t n_new = 0;
    int r = read_header(inf);

    if (r == 0) {
        n_new = sizeof(inf->head) - inf->n_head;
        if (n_new > base->in_len)
            n_new = base->in_len;
        if (!n_new)
            return INFLATE_MORE_IN;
        memcpy(inf->head + inf->n_head, base->in, n_new);
        inf->n_head += (unsigned)n_new;
        base->in += n_new;
        base->in_len -= n_new;
        r = read_header(inf);
    }
    if (r <= 0)
        return r < 0 ? r : INFLATE_MORE_IN;
    trim_head(inf, n_new);
    memcpy(inf->header, inf->head, inf->n_head);
    inf->block.header_bit = inf->head_bit;
    inf->in_block = true;
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
    bool from_head = inf->head_lent < inf->n_head;
    int r;

    one->in = from_head ? inf->head + inf->head_lent : base->in;
    one->in_len = from_head ? inf->n_head - inf->head_lent : base->in_len;
    one->out = base->out;
    one->out_len = base->out_len;
    r = one->ops->run(one, inf->in_block && inf->block.is.stored ? INFLATE_ON : wish);
    if (from_head) {
        inf->head_lent = inf->n_head - (unsigned)one->in_len;
    } else {
        base->in = one->in;
        base->in_len = one->in_len;
    }
    history_add(&inf->history, base->out, (size_t)(one->out - base->out));
    base->out = one->out;
    base->out_len = one->out_len;
    return r == INFLATE_MORE_IN && from_head ? GO_ON : r;
}

/* Takes back what the library and the head have left of the bits. */
static void take_bits(struct inflate_blocks *inf)
{
    inf->n_bits = inf->one->ops->unread(inf->one);
    inf->bits = inf->one->ops->unread_bits(inf->one);
    for (unsigned i = inf->head_lent; i < inf->n_head; i++, inf->n_bits += 8)
        inf->bits |= (uint64_t)inf->head[i] << inf->n_bits;
}

static int step_data(struct inflate_blocks *inf, enum inflate_wish wish)
{
    int r = run_one(inf, wish);

    if (r > 0 && r != INFLATE_MORE_OUT)
        take_bits(inf);
    if (r == INFLATE_AT_END)
        to_state(inf, inf->through || inf->block.is.final ? ENDED : BLOCK);
    return r;
}

/* ---- the inflater */

static void b_close(struct inflate *base)
{
    struct inflate_blocks *inf = container_of(base, struct inflate_blocks, base);

    inf->one->ops->close(inf->one);
    free(inf);
}

static void b_begin(struct inflate *base, const uint8_t *window, uint32_t window_len,
                    const struct block *inside)
{
    struct inflate_blocks *inf = container_of(base, struct inflate_blocks, base);

    history_reset(&inf->history);
    history_add(&inf->history, window, window_len);
    inf->bits = 0;
    inf->n_bits = 0;
    inf->in_block = inside != NULL;
    inf->state = inside ? INSIDE : BLOCK;
    if (!inside)
        return;
    inf->block.is = inside->is;
    inf->block.header_bit = inside->header_bit;
    memcpy(inf->header, inside->header, (inside->header_bit + inside->is.n_bits + 7) / 8);
}

static void b_put_bits(struct inflate *base, uint64_t bits, unsigned n_bits)
{
    struct inflate_blocks *inf = container_of(base, struct inflate_blocks, base);

    inf->bits = bits;
    inf->n_bits = n_bits;
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

/* Nothing to do: what came out is copied at once. */
static void b_settle(struct inflate *base)
{
    (void)base;
}

static const struct block *b_block(const struct inflate *base)
{
    const struct inflate_blocks *inf = container_of(base, struct inflate_blocks, base);

    return inf->in_block ? &inf->block : NULL;
}

static const uint8_t *b_window(struct inflate *base, uint32_t *out_len)
{
    const struct inflate_blocks *inf = container_of(base, struct inflate_blocks, base);

    *out_len = history_len(&inf->history);
    return history_window(&inf->history);
}

static unsigned b_unread(const struct inflate *base)
{
    return container_of(base, struct inflate_blocks, base)->n_bits;
}

static uint64_t b_unread_bits(const struct inflate *base)
{
    return container_of(base, struct inflate_blocks, base)->bits;
}

struct inflate *inflate_blocks_new(struct inflate_one *one)
{
    static const struct inflate_ops ops = {
        .close = b_close,
        .begin = b_begin,
        .put_bits = b_put_bits,
        .run = b_run,
        .settle = b_settle,
        .block = b_block,
        .window = b_window,
        .unread = b_unread,
        .unread_bits = b_unread_bits,
    };
    struct inflate_blocks *inf = one ? malloc(sizeof(*inf)) : NULL;

    if (!inf) {
        if (one)
            one->ops->close(one);
        return NULL;
    }
    inf->base.ops = &ops;
    inf->one = one;
    inf->block.header = inf->header;
    return &inf->base;
}
