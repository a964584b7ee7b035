/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a gzip blob is:
 * - a member's header, field by field; then its blocks: the block's header is gathered and read,
 *   and the block given to the inflater as a stream of its own (index/inflate.h), which stops at
 *   its end; after the final block the trailer is compared; then another member, or zeros, or the
 *   end;
 * - where a block ends and the span is full, that is a checkpoint. A block that goes on for a
 *   quarter of a span more gets one in its middle: its header is still there to be replayed. A
 *   member's start is one that needs no state.
 * Bits belong to one of: the inflater (while a block runs), `bits` (after it, up to 64 that it
 * gave back), the head (a block's header and what came with it), the lent input.
 * Possible failure modes are: a header, a block or a check that is wrong, bytes after the end that
 * are not zeros, a blob that is cut. The sentence names the byte.
 */
#include "index/gunzip.h"

#include "engine/queue.h"
#include "index/block.h"
#include "index/decoder.h"
#include "index/history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define HEADER_LEN  10u
#define TRAILER_LEN 8u
/* A block's header, behind 64 bits that were given back. */
#define HEAD_MAX (BLOCK_HEADER_MAX + 8)

enum { FLAG_HCRC = 2, FLAG_EXTRA = 4, FLAG_NAME = 8, FLAG_COMMENT = 16, FLAGS_RESERVED = 224 };

enum state {
    MEMBER,    /* between members, or the blob's start */
    FIXED,     /* the ten bytes that every header has */
    EXTRA_LEN, /* and the optional fields */
    EXTRA,
    NAME,
    COMMENT,
    HEADER_CRC,
    RESUMED, /* at a checkpoint, whose first byte is to come */
    BLOCK,   /* a block begins */
    HEAD,    /* gathering its header */
    DATA,    /* its symbols */
    TRAILER, /* CRC-32 and length */
    ZEROS    /* after the last member */
};

struct gunzip {
    struct decoder base;
    struct inflate *inf;
    enum state state;

    uint64_t bits; /* first bit lowest; 0 above n_bits */
    unsigned n_bits;

    /* a field of a member's header or trailer */
    uint8_t field[HEADER_LEN];
    unsigned n_field;
    uint8_t flags;
    unsigned extra_left;
    uint32_t header_crc;

    /* the member's data so far */
    uint64_t member_off; /* where it begins in the blob */
    uint32_t crc, len;   /* the length modulo 2^32 */
    bool seen_whole;     /* from its first byte: the trailer can be compared */

    /* the block: its header from bit head_bit of head on */
    struct block_header block;
    uint8_t head[HEAD_MAX];
    unsigned n_head, head_bit;
    unsigned head_lent;  /* bytes of head that the inflater has */
    unsigned resume_bit; /* of the first byte that is fed to a decoder which goes on */

    struct history history;
    const uint8_t *given; /* of this step, not in the history yet */
    size_t n_given;
};

/* What a state says: enum codec_event, an error, or: ask the next state. */
#define GO_ON 100

bool gunzip_detect(const uint8_t *head, size_t len)
{
    return len >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8;
}

/* ---- where we are */

static uint64_t bit_off(const struct gunzip *g)
{
    return g->base.in_off * 8 - g->n_bits;
}

static int fail(const struct gunzip *g, struct clip_error *err, const char *what)
{
    return err_set(err, CLIP_EFORMAT, "gzip: %s, at byte %" PRIu64, what, bit_off(g) / 8);
}

static int need_input(const struct gunzip *g, struct clip_error *err)
{
    if (!g->base.ended)
        return CODEC_MORE_IN;
    return fail(g, err, "the blob ends inside a member");
}

/* ---- bytes of headers and trailers */

static int find_byte(const struct gunzip *g)
{
    if (g->n_bits)
        return (int)(g->bits & 0xff);
    return g->base.in_len ? *g->base.in : -1;
}

static void drop_byte(struct gunzip *g)
{
    if (g->n_bits) {
        g->bits >>= 8;
        g->n_bits -= 8;
    } else {
        decoder_use(&g->base, 1);
    }
}

/* The next byte of a member's header, or -1. */
static int take_header_byte(struct gunzip *g)
{
    int byte = find_byte(g);
    uint8_t b = (uint8_t)byte;

    if (byte < 0)
        return -1;
    g->header_crc = inflate_crc32(g->header_crc, &b, 1);
    drop_byte(g);
    return byte;
}

/* Have all `len` bytes of the field come? */
static bool gather_field(struct gunzip *g, unsigned len)
{
    while (g->n_field < len) {
        int byte = take_header_byte(g);

        if (byte < 0)
            return false;
        g->field[g->n_field++] = (uint8_t)byte;
    }
    return true;
}

static unsigned field_u16(const struct gunzip *g)
{
    return g->field[0] | (unsigned)g->field[1] << 8;
}

static uint32_t field_u32(const struct gunzip *g, unsigned at)
{
    const uint8_t *b = g->field + at;

    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static int to_state(struct gunzip *g, enum state state)
{
    g->state = state;
    g->n_field = 0;
    return GO_ON;
}

/* ---- a member's header */

static int step_member(struct gunzip *g, struct clip_error *err)
{
    bool first = bit_off(g) == 0;
    int byte = find_byte(g);

    if (byte < 0 && g->base.ended && !first)
        return CODEC_END;
    if (byte < 0)
        return need_input(g, err);
    if (byte == 0 && !first)
        return to_state(g, ZEROS);
    if (byte != 0x1f)
        return fail(g, err, first ? "not a gzip member" : "garbage after the end of a member");
    if (decoder_span_full(&g->base))
        return decoder_mark_fresh(&g->base, bit_off(g) / 8);
    g->member_off = bit_off(g) / 8;
    g->header_crc = 0;
    return to_state(g, FIXED);
}

static int step_fixed(struct gunzip *g, struct clip_error *err)
{
    if (!gather_field(g, HEADER_LEN))
        return need_input(g, err);
    if (!gunzip_detect(g->field, HEADER_LEN))
        return fail(g, err, "not a gzip member");
    g->flags = g->field[3];
    if (g->flags & FLAGS_RESERVED)
        return fail(g, err, "a member's header has unknown flags");
    return to_state(g, EXTRA_LEN);
}

static int step_extra_len(struct gunzip *g, struct clip_error *err)
{
    if (!(g->flags & FLAG_EXTRA))
        return to_state(g, NAME);
    if (!gather_field(g, 2))
        return need_input(g, err);
    g->extra_left = field_u16(g);
    return to_state(g, EXTRA);
}

static int step_extra(struct gunzip *g, struct clip_error *err)
{
    for (; g->extra_left; g->extra_left--) {
        if (take_header_byte(g) < 0)
            return need_input(g, err);
    }
    return to_state(g, NAME);
}

/* A name or a comment: NUL terminated, if the flag is there at all. */
static int step_text(struct gunzip *g, unsigned flag, enum state next, struct clip_error *err)
{
    int byte = g->flags & flag ? 1 : 0;

    while (byte) {
        byte = take_header_byte(g);
        if (byte < 0)
            return need_input(g, err);
    }
    return to_state(g, next);
}

static int begin_data(struct gunzip *g)
{
    g->crc = 0;
    g->len = 0;
    g->seen_whole = true;
    history_reset(&g->history);
    g->n_given = 0;
    return to_state(g, BLOCK);
}

static int step_header_crc(struct gunzip *g, struct clip_error *err)
{
    uint32_t crc = g->header_crc;

    if (!(g->flags & FLAG_HCRC))
        return begin_data(g);
    if (g->n_field)
        crc = field_u32(g, 2);
    for (; g->n_field < 2; g->n_field++) {
        if (find_byte(g) < 0)
            return need_input(g, err);
        g->field[g->n_field] = (uint8_t)find_byte(g);
        drop_byte(g);
    }
    if (field_u16(g) != (crc & 0xffff))
        return fail(g, err, "a member's header has the wrong CRC");
    return begin_data(g);
}

/* ---- blocks */

/* What came out in this step becomes history only when it has to. */
static void settle_history(struct gunzip *g)
{
    history_add(&g->history, g->given, g->n_given);
    g->n_given = 0;
}

/* The last 32 KiB that came out, or all of the member. */
static const uint8_t *find_window(struct gunzip *g, uint32_t *out_len)
{
    if (g->n_given >= CODEC_WINDOW_MAX) {
        *out_len = CODEC_WINDOW_MAX;
        return g->given + g->n_given - CODEC_WINDOW_MAX;
    }
    settle_history(g);
    *out_len = history_len(&g->history);
    return history_window(&g->history);
}

static int begin_block(struct gunzip *g, struct clip_error *err)
{
    uint8_t first = g->head[0] | (uint8_t)(1u << g->head_bit); /* "final", for the inflater */
    unsigned n_bits = (8 - g->head_bit) % 8;
    uint32_t window_len;
    const uint8_t *window = find_window(g, &window_len);
    int r = inflate_begin(g->inf, window, window_len, n_bits ? first >> g->head_bit : 0, n_bits);

    if (r < 0)
        return err_set(err, r, "gzip: no memory");
    g->head[0] = first;
    g->head_lent = n_bits ? 1 : 0;
    return to_state(g, DATA);
}

/* The bits that the last block left are the first of this one. */
static int step_block(struct gunzip *g)
{
    g->head_bit = (8 - g->n_bits % 8) % 8;
    g->n_head = (g->n_bits + g->head_bit) / 8;
    for (unsigned i = 0; i < g->n_head; i++)
        g->head[i] = (uint8_t)(g->bits << g->head_bit >> (8 * i));
    g->n_bits = 0;
    g->bits = 0;
    return to_state(g, HEAD);
}

/* Bytes that are not the header's go back, as far as they are of this input. */
static void trim_head(struct gunzip *g, size_t n_new)
{
    size_t used = (g->head_bit + g->block.n_bits + 7) / 8;
    size_t back = g->n_head - used < n_new ? g->n_head - used : n_new;

    g->n_head -= (unsigned)back;
    g->base.in -= back;
    g->base.in_len += back;
    g->base.in_off -= back;
}

static int step_head(struct gunzip *g, struct clip_error *err)
{
    size_t n_new = 0;
    int r;

    r = block_read_header(g->head, g->n_head, g->head_bit, &g->block);
    if (r == 0) {
        n_new = HEAD_MAX - g->n_head;
        if (n_new > g->base.in_len)
            n_new = g->base.in_len;
        if (!n_new)
            return need_input(g, err);
        memcpy(g->head + g->n_head, g->base.in, n_new);
        g->n_head += (unsigned)n_new;
        decoder_use(&g->base, n_new);
        r = block_read_header(g->head, g->n_head, g->head_bit, &g->block);
    }
    if (r < 0)
        return fail(g, err, "a bad block header");
    if (r == 0)
        return GO_ON;
    trim_head(g, n_new);
    return begin_block(g, err);
}

static uint64_t span_len(const struct gunzip *g)
{
    return g->base.out_off - g->base.at.out_off;
}

/* Where a block that does not end gets a checkpoint in its middle: later than `span_size`, since
 * most do end and need no header then, and so that the span stays below twice that with all an
 * inflater may have decoded ahead (48 KiB). */
static uint64_t long_span(const struct gunzip *g)
{
    return g->base.span_size + g->base.span_size / 4;
}

static bool wants_symbol(const struct gunzip *g)
{
    return !g->block.stored && span_len(g) >= long_span(g);
}

/* Lends the inflater what is left of the head, or else the input, and counts what it did. */
static int run_block(struct gunzip *g, uint8_t *out, size_t cap, size_t *out_len)
{
    bool from_head = g->head_lent < g->n_head;
    bool to_symbol = wants_symbol(g);
    size_t len = from_head ? g->n_head - g->head_lent : g->base.in_len;
    int r;

    if (span_len(g) < long_span(g) && cap > long_span(g) - span_len(g))
        cap = (size_t)(long_span(g) - span_len(g));
    g->inf->in = from_head ? g->head + g->head_lent : g->base.in;
    g->inf->in_len = len;
    g->inf->out = out;
    g->inf->out_len = cap;
    r = inflate_run(g->inf, to_symbol ? INFLATE_TO_SYMBOL : INFLATE_ON);
    if (from_head)
        g->head_lent += (unsigned)(len - g->inf->in_len);
    else
        decoder_use(&g->base, len - g->inf->in_len);
    *out_len = cap - g->inf->out_len;
    return r;
}

static void count_output(struct gunzip *g, const uint8_t *out, size_t len)
{
    if (!g->n_given)
        g->given = out;
    g->n_given += len;
    g->base.out_off += len;
    g->len += (uint32_t)len;
    if (g->seen_whole)
        g->crc = inflate_crc32(g->crc, out, len);
}

/* Takes back what the inflater and the head have left of the bits after the block. */
static void take_bits(struct gunzip *g)
{
    g->n_bits = inflate_unread(g->inf);
    g->bits = inflate_unread_bits(g->inf);
    for (; g->head_lent < g->n_head; g->head_lent++) {
        g->bits |= (uint64_t)g->head[g->head_lent] << g->n_bits;
        g->n_bits += 8;
    }
}

static int mark_here(struct gunzip *g, uint64_t in_bit)
{
    settle_history(g);
    g->base.at = (struct checkpoint){.in_bit = in_bit,
                                     .out_off = g->base.out_off,
                                     .window = history_window(&g->history),
                                     .window_len = history_len(&g->history)};
    return CODEC_CHECKPOINT;
}

static int on_block_end(struct gunzip *g)
{
    take_bits(g);
    if (g->block.final) {
        g->bits >>= g->n_bits % 8;
        g->n_bits -= g->n_bits % 8;
        return to_state(g, TRAILER);
    }
    to_state(g, BLOCK);
    if (decoder_span_full(&g->base))
        return mark_here(g, bit_off(g));
    return GO_ON;
}

static int on_symbol(struct gunzip *g)
{
    unsigned unread = inflate_unread(g->inf) + 8 * (g->n_head - g->head_lent);
    struct checkpoint *at = &g->base.at;

    mark_here(g, g->base.in_off * 8 - unread);
    if (!g->block.final)
        g->head[0] &= (uint8_t) ~(1u << g->head_bit);
    at->flags = CHECKPOINT_MIDBLOCK;
    at->header = g->head;
    at->header_bit = g->head_bit;
    at->header_bits = g->block.n_bits;
    return CODEC_CHECKPOINT;
}

static int step_data(struct gunzip *g, uint8_t *out, size_t cap, size_t *out_len,
                     struct clip_error *err)
{
    size_t n = 0;
    int r = run_block(g, out, cap, &n);

    count_output(g, out, n);
    *out_len += n;
    if (r < 0)
        return r == -ENOMEM ? err_set(err, r, "gzip: no memory") : fail(g, err, "a bad block");
    if (r == INFLATE_AT_END)
        return on_block_end(g);
    if (r == INFLATE_AT_SYMBOL)
        return on_symbol(g);
    if (n == cap)
        return CODEC_MORE_OUT;
    if (r == INFLATE_MORE_IN && g->head_lent == g->n_head && !g->base.in_len)
        return need_input(g, err);
    return GO_ON;
}

/* ---- going on at a checkpoint */

/* The header so that its end is where the next bit stands in its byte. */
static int copy_header(struct gunzip *g, const struct checkpoint *at)
{
    unsigned end_bit = at->in_bit % 8, n_bits = (unsigned)at->header_bits;

    if (at->header_bits > BLOCK_HEADER_MAX * 8 || at->header_bit > 7)
        return -EBADMSG;
    g->head_bit = (end_bit - n_bits) % 8;
    g->n_head = (g->head_bit + n_bits + 7) / 8;
    for (unsigned i = 0; i < n_bits; i++) {
        unsigned from = at->header_bit + i, to = g->head_bit + i;

        g->head[to / 8] |= (uint8_t)((at->header[from / 8] >> (from % 8) & 1) << (to % 8));
    }
    if (block_read_header(g->head, g->n_head, g->head_bit, &g->block) != 1 ||
        g->block.n_bits != n_bits || g->block.stored)
        return -EBADMSG;
    return 0;
}

static int step_resumed(struct gunzip *g, struct clip_error *err)
{
    unsigned bit = g->resume_bit;
    int byte = 0;

    if (bit) {
        byte = find_byte(g);
        if (byte < 0)
            return need_input(g, err);
        drop_byte(g);
    }
    if (g->n_head) {
        g->head[g->n_head - 1] |= (uint8_t)(byte >> bit << bit);
        return begin_block(g, err);
    }
    g->bits = (uint64_t)byte >> bit;
    g->n_bits = bit ? 8 - bit : 0;
    return to_state(g, BLOCK);
}

/* ---- after the last block */

static int step_trailer(struct gunzip *g, struct clip_error *err)
{
    if (!gather_field(g, TRAILER_LEN))
        return need_input(g, err);
    if (g->seen_whole && field_u32(g, 0) != g->crc)
        return err_set(err, CLIP_EFORMAT,
                       "gzip: the member at byte %" PRIu64 " has CRC %08x, not %08x", g->member_off,
                       g->crc, field_u32(g, 0));
    if (g->seen_whole && field_u32(g, 4) != g->len)
        return err_set(err, CLIP_EFORMAT,
                       "gzip: the member at byte %" PRIu64 " is %u bytes long (mod 2^32), not %u",
                       g->member_off, g->len, field_u32(g, 4));
    return to_state(g, MEMBER);
}

static int step_zeros(struct gunzip *g, struct clip_error *err)
{
    int byte;

    while ((byte = find_byte(g)) == 0)
        drop_byte(g);
    if (byte > 0)
        return fail(g, err, "garbage after the end of the last member");
    return g->base.ended ? CODEC_END : CODEC_MORE_IN;
}

/* ---- the decoder */

static int step_state(struct gunzip *g, uint8_t *out, size_t cap, size_t *out_len,
                      struct clip_error *err)
{
    switch (g->state) {
    case MEMBER:
        return step_member(g, err);
    case FIXED:
        return step_fixed(g, err);
    case EXTRA_LEN:
        return step_extra_len(g, err);
    case EXTRA:
        return step_extra(g, err);
    case NAME:
        return step_text(g, FLAG_NAME, COMMENT, err);
    case COMMENT:
        return step_text(g, FLAG_COMMENT, HEADER_CRC, err);
    case HEADER_CRC:
        return step_header_crc(g, err);
    case RESUMED:
        return step_resumed(g, err);
    case BLOCK:
        return step_block(g);
    case HEAD:
        return step_head(g, err);
    case DATA:
        return step_data(g, out, cap, out_len, err);
    case TRAILER:
        return step_trailer(g, err);
    case ZEROS:
        return step_zeros(g, err);
    }
    return -EINVAL;
}

static int gunzip_step(struct decoder *decoder, uint8_t *out, size_t cap, size_t *out_len,
                       struct clip_error *err)
{
    struct gunzip *g = container_of(decoder, struct gunzip, base);
    int r;

    do {
        r = step_state(g, out + *out_len, cap - *out_len, out_len, err);
    } while (r == GO_ON);
    settle_history(g);
    return r;
}

static void gunzip_close(struct decoder *decoder)
{
    struct gunzip *g = container_of(decoder, struct gunzip, base);

    inflate_free(g->inf);
    free(g);
}

int gunzip_new(enum inflate_backend backend, struct decoder **out)
{
    static const struct decoder_ops ops = {.close = gunzip_close, .step = gunzip_step};
    struct gunzip *g = calloc(1, sizeof(*g));
    int r;

    if (!g)
        return -ENOMEM;
    r = inflate_new(backend, &g->inf);
    if (r < 0) {
        free(g);
        return r;
    }
    g->base.ops = &ops;
    g->state = MEMBER;
    *out = &g->base;
    return 0;
}

static int resume_inside(struct gunzip *g, const struct checkpoint *at)
{
    if (at->window_len > CODEC_WINDOW_MAX)
        return -EBADMSG;
    g->state = RESUMED;
    g->resume_bit = at->in_bit % 8;
    history_add(&g->history, at->window, at->window_len);
    return at->flags & CHECKPOINT_MIDBLOCK ? copy_header(g, at) : 0;
}

int gunzip_resume(enum inflate_backend backend, const struct checkpoint *at, struct decoder **out)
{
    struct decoder *decoder;
    int r = gunzip_new(backend, &decoder);

    if (r < 0)
        return r;
    decoder->in_off = at->in_bit / 8;
    decoder->out_off = decoder->at.out_off = at->out_off;
    decoder->marked = true;
    decoder->span_size = UINT64_MAX / 2;
    if (!(at->flags & CHECKPOINT_FRESH))
        r = resume_inside(container_of(decoder, struct gunzip, base), at);
    if (r < 0) {
        gunzip_close(decoder);
        return r;
    }
    *out = decoder;
    return 0;
}
