/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a block is:
 * - its header is gathered, read (index/block.h), and made into tables (index/huffman.h);
 * - its symbols are decoded straight into the caller's room, most of them by index/inflate_loop.c.
 *   Near the end of the input or of the room they are taken one by one, each only when all of it is
 *   there, so that between two calls nothing is half read. A match for which there is no room is
 *   what is left of it.
 * - where the block ends, what was read and not used is still there.
 *
 * What a match looks back on is in the caller's room as long as that is one and the same, or else
 * in `history`, where the last of it is copied to before the caller may take it away.
 * Possible failure modes are: a bad header, no symbol, a match from before the first byte.
 */
#include "index/huffman.h"
#include "index/inflate.h"
#include "index/inflate_loop.h"

#include "engine/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a state says besides enum inflate_stop and errors: ask the next one. */
#define GO_ON 100

enum state { BLOCK, HEADER, STORED, SYMBOLS, MATCH, ENDED };

struct inflate_c {
    struct inflate base;
    enum state state;

    struct inflate_head head; /* the header stays in there */

    unsigned stored_left;
    unsigned match_len, match_distance; /* what is left of it */

    uint8_t *begin, *end; /* what it gave in one piece and has not copied; NULL: nothing */

    uint8_t *used;       /* what of the window is looked back on; NULL: nobody asks */
    uint32_t window_len; /* as it was when that began */
    uint64_t n_before;   /* bytes given since, before `begin` */

    bool fixed; /* is what the tables are of */
    struct huffman huffman;
};

static int to_state(struct inflate_c *inf, enum state state)
{
    inf->state = state;
    return GO_ON;
}

/* ---- a block's header */

/* What is behind the header in there is not used yet. */
static void take_rest(struct inflate_c *inf)
{
    const struct inflate_head *head = &inf->head;
    unsigned used = head->bit + inf->base.block.is.n_bits;

    for (unsigned i = head->n; i > used / 8; i--)
        inf->base.bits = inf->base.bits << 8 | head->bytes[i - 1];
    inf->base.bits >>= used % 8;
    inf->base.n_bits = head->n * 8 - used;
}

static void make_tables(struct inflate_c *inf, const struct block_codes *codes)
{
    bool fixed = !inf->base.block.is.dynamic;

    if (!fixed)
        huffman_make(&inf->huffman, codes->lengths, codes->n_literals,
                     codes->lengths + codes->n_literals, codes->n_distances);
    else if (!inf->fixed)
        huffman_make_fixed(&inf->huffman);
    inf->fixed = fixed;
}

static int step_block(struct inflate_c *inf)
{
    inflate_head_begin(&inf->head, &inf->base);
    return to_state(inf, HEADER);
}

static int step_header(struct inflate_c *inf)
{
    const struct block_header *is = &inf->base.block.is;
    struct block_codes codes;
    int r = inflate_head_read(&inf->head, &inf->base, &codes);

    if (r <= 0)
        return r < 0 ? r : INFLATE_MORE_IN;
    take_rest(inf);
    if (is->stored) {
        inf->stored_left = is->stored_len;
        return to_state(inf, STORED);
    }
    make_tables(inf, &codes);
    return to_state(inf, SYMBOLS);
}

static int end_block(struct inflate_c *inf, enum inflate_wish wish)
{
    to_state(inf, inf->base.block.is.final ? ENDED : BLOCK);
    return wish == INFLATE_THROUGH ? GO_ON : INFLATE_AT_END;
}

/* ---- a block's bytes */

static void give_byte(struct inflate_c *inf, uint8_t byte)
{
    *inf->base.out++ = byte;
    inf->base.out_len--;
}

static void use_bits(struct inflate_c *inf, unsigned n)
{
    inf->base.bits >>= n;
    inf->base.n_bits -= n;
}

static int step_stored(struct inflate_c *inf, enum inflate_wish wish)
{
    struct inflate *base = &inf->base;
    size_t n;

    for (; inf->base.n_bits && inf->stored_left && base->out_len; inf->stored_left--) {
        give_byte(inf, (uint8_t)inf->base.bits);
        use_bits(inf, 8);
    }
    n = inf->base.n_bits ? 0 : inf->stored_left;
    n = n < base->in_len ? n : base->in_len;
    n = n < base->out_len ? n : base->out_len;
    if (n) {
        memcpy(base->out, base->in, n);
        base->in += n;
        base->in_len -= n;
        base->out += n;
        base->out_len -= n;
        inf->stored_left -= (unsigned)n;
    }
    if (!inf->stored_left)
        return end_block(inf, wish);
    return base->out_len ? INFLATE_MORE_IN : INFLATE_MORE_OUT;
}

/* ---- a block's symbols, one by one */

static void fill_bits(struct inflate_c *inf)
{
    struct inflate *base = &inf->base;

    for (; inf->base.n_bits < 56 && base->in_len; inf->base.n_bits += 8) {
        inf->base.bits |= (uint64_t)*base->in++ << inf->base.n_bits;
        base->in_len--;
    }
}

/* A symbol that may not be there in full. */
struct symbol {
    uint32_t entry;
    unsigned n_bits;      /* with those that led to its table */
    unsigned begin, code; /* in there: where its code begins, and ends */
};

/* Looks at what follows `used` bits. False: not all of it is here. */
static bool find_symbol(const struct inflate_c *inf, const uint32_t *table, unsigned root,
                        unsigned used, struct symbol *out)
{
    uint64_t bits = inf->base.bits >> used;

    out->begin = used;
    out->entry = table[bits & ((1u << root) - 1)];
    if (out->entry & HUFFMAN_NAMES) {
        out->begin += root;
        out->entry = table[huffman_value(out->entry) +
                           (bits >> root & ((1u << huffman_code_bits(out->entry)) - 1))];
    }
    out->code = out->begin + huffman_code_bits(out->entry);
    out->n_bits = out->begin + huffman_bits(out->entry);
    return out->n_bits <= inf->base.n_bits;
}

static unsigned value_of(const struct inflate_c *inf, const struct symbol *symbol)
{
    uint64_t bits = inf->base.bits & ((UINT64_C(1) << symbol->n_bits) - 1);

    return huffman_value(symbol->entry) + (unsigned)(bits >> symbol->code);
}

static bool find_literal(const struct inflate_c *inf, struct symbol *out)
{
    return find_symbol(inf, inf->huffman.literals, HUFFMAN_LITERAL_ROOT, 0, out);
}

/* Those that are from before the first byte that was given since. */
static void mark_used(const struct inflate_c *inf, unsigned len, unsigned distance)
{
    uint64_t given = inf->n_before + (uint64_t)(inf->base.out - inf->begin);
    uint64_t back = distance > given ? distance - given : 0;

    memset(inf->used + inf->window_len - back, 0xff, len < back ? len : (size_t)back);
}

static int begin_match(struct inflate_c *inf, unsigned len, unsigned distance)
{
    if (distance > (size_t)(inf->base.out - inf->begin) + history_len(&inf->base.history))
        return -EBADMSG;
    inf->match_len = len;
    inf->match_distance = distance;
    if (inf->used)
        mark_used(inf, len, distance);
    return to_state(inf, MATCH);
}

/* A length, and the distance that follows. */
static int take_match(struct inflate_c *inf, const struct symbol *length)
{
    struct symbol distance;
    unsigned len = value_of(inf, length);

    if (!find_symbol(inf, inf->huffman.distances, HUFFMAN_DISTANCE_ROOT, length->n_bits, &distance))
        return INFLATE_MORE_IN;
    if (distance.entry & HUFFMAN_SPECIAL)
        return -EBADMSG;
    unsigned value = value_of(inf, &distance);
    use_bits(inf, distance.n_bits);
    return begin_match(inf, len, value);
}

static int take_symbol(struct inflate_c *inf, enum inflate_wish wish)
{
    struct symbol symbol;

    fill_bits(inf);
    if (!find_literal(inf, &symbol))
        return INFLATE_MORE_IN;
    if (symbol.entry & HUFFMAN_LITERAL) {
        use_bits(inf, symbol.n_bits);
        give_byte(inf, (uint8_t)huffman_value(symbol.entry));
        return GO_ON;
    }
    if (symbol.entry & HUFFMAN_END) {
        use_bits(inf, symbol.n_bits);
        return end_block(inf, wish);
    }
    return symbol.entry & HUFFMAN_SPECIAL ? -EBADMSG : take_match(inf, &symbol);
}

/* Stands before a symbol: is it the end's? */
static int stop_at_symbol(struct inflate_c *inf, enum inflate_wish wish)
{
    struct symbol symbol;

    fill_bits(inf);
    if (!find_literal(inf, &symbol))
        return INFLATE_MORE_IN;
    if (!(symbol.entry & HUFFMAN_END))
        return INFLATE_AT_SYMBOL;
    use_bits(inf, symbol.n_bits);
    return end_block(inf, wish);
}

/* From `history` in one piece; then from what was given since, byte by byte, for it may overlap. */
static int step_match(struct inflate_c *inf)
{
    struct inflate *base = &inf->base;
    size_t since = (size_t)(base->out - inf->begin);

    if (inf->match_distance > since) {
        size_t back = inf->match_distance - since,
               n = inf->match_len < back ? inf->match_len : back;

        n = n < base->out_len ? n : base->out_len;
        memcpy(base->out,
               history_window(&inf->base.history) + history_len(&inf->base.history) - back, n);
        base->out += n;
        base->out_len -= n;
        inf->match_len -= (unsigned)n;
    }
    for (; inf->match_len && base->out_len; inf->match_len--)
        give_byte(inf, base->out[-(ptrdiff_t)inf->match_distance]);
    return inf->match_len ? INFLATE_MORE_OUT : to_state(inf, SYMBOLS);
}

/* ---- and many at a time */

static int loop_over_symbols(struct inflate_c *inf, enum inflate_wish wish)
{
    struct inflate *base = &inf->base;
    struct inflate_loop loop = {
        .huffman = &inf->huffman,
        .in = base->in,
        .in_end = base->in + base->in_len,
        .out = base->out,
        .out_end = base->out + base->out_len,
        .begin = inf->begin,
        .bits = inf->base.bits,
        .n_bits = inf->base.n_bits,
    };
    enum inflate_loop_stop stop = inflate_loop(&loop);

    base->in = loop.in;
    base->in_len = (size_t)(loop.in_end - loop.in);
    base->out = loop.out;
    base->out_len = (size_t)(loop.out_end - loop.out);
    inf->base.bits = loop.bits;
    inf->base.n_bits = loop.n_bits;
    if (stop == INFLATE_LOOP_MATCH)
        return begin_match(inf, loop.match_len, loop.match_distance);
    if (stop == INFLATE_LOOP_END)
        return end_block(inf, wish);
    return stop == INFLATE_LOOP_BAD ? -EBADMSG : GO_ON;
}

static int step_symbols(struct inflate_c *inf, enum inflate_wish wish)
{
    if (wish == INFLATE_TO_SYMBOL)
        return stop_at_symbol(inf, wish);
    if (inf->base.n_bits < 64 && inf->base.in_len >= INFLATE_LOOP_IN &&
        inf->base.out_len >= INFLATE_LOOP_OUT)
        return loop_over_symbols(inf, wish);
    return inf->base.out_len ? take_symbol(inf, wish) : INFLATE_MORE_OUT;
}

/* ---- the inflater */

static void c_close(struct inflate *base)
{
    free(container_of(base, struct inflate_c, base));
}

/* Its header is read once more, for the codes. */
static void begin_inside(struct inflate_c *inf, const struct block *block)
{
    size_t len = (block->header_bit + block->is.n_bits + 7) / 8;
    struct block *mine = &inf->base.block;
    struct block_codes codes;

    assert(!block->is.stored);
    memcpy(inf->head.bytes, block->header, len);
    mine->header_bit = block->header_bit;
    block_read_header(mine->header, len, mine->header_bit, &mine->is, &codes);
    make_tables(inf, &codes);
}

static void c_begin(struct inflate *base, const struct block *inside)
{
    struct inflate_c *inf = container_of(base, struct inflate_c, base);

    inf->begin = inf->end = NULL;
    inf->n_before = 0;
    inf->used = NULL;
    to_state(inf, inside ? SYMBOLS : BLOCK);
    if (inside)
        begin_inside(inf, inside);
}

static int step(struct inflate_c *inf, enum inflate_wish wish)
{
    switch (inf->state) {
    case BLOCK:
        return step_block(inf);
    case HEADER:
        return step_header(inf);
    case STORED:
        return step_stored(inf, wish);
    case SYMBOLS:
        return step_symbols(inf, wish);
    case MATCH:
        return step_match(inf);
    case ENDED:
        break;
    }
    return INFLATE_AT_END;
}

static void c_settle(struct inflate *base)
{
    struct inflate_c *inf = container_of(base, struct inflate_c, base);
    size_t n = (size_t)(inf->end - inf->begin);

    history_add(&inf->base.history, inf->begin, n);
    inf->n_before += n;
    inf->begin = inf->end = NULL;
}

static int c_run(struct inflate *base, enum inflate_wish wish)
{
    struct inflate_c *inf = container_of(base, struct inflate_c, base);
    int r;

    if (base->out != inf->end) {
        c_settle(base);
        inf->begin = base->out;
    }
    do {
        r = step(inf, wish);
    } while (r == GO_ON);
    inf->end = base->out;
    return r;
}

static void c_watch(struct inflate *base, uint8_t *used)
{
    struct inflate_c *inf = container_of(base, struct inflate_c, base);

    c_settle(base);
    inf->used = used;
    inf->window_len = history_len(&base->history);
    inf->n_before = 0;
}

static const struct inflate_ops ops = {
    .close = c_close,
    .begin = c_begin,
    .run = c_run,
    .settle = c_settle,
    .watch = c_watch,
};

struct inflate *inflate_clip_new(void)
{
    struct inflate_c *inf = malloc(sizeof(*inf));

    if (!inf)
        return NULL;
    inf->base.ops = &ops;
    inf->base.block.header = inf->head.bytes;
    inf->fixed = false;
    return &inf->base;
}
