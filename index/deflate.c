/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a stream is: an inflater goes through it and stops where each block ends
 * (index/inflate.h); that place is a checkpoint if the span is full. Where none will be any more
 * it goes through without stopping. From a checkpoint on it tells which bytes of that window are
 * looked back on, if it can; the decoder has that until the next one is told.
 *
 * A block that does not end is cut: its header is still there to be replayed, so any place between
 * two symbols will do. It must not depend on how the input came in pieces, and ISA-L decodes ahead
 * of what it says; so another inflater takes over between two symbols (`go_exact` bytes into the
 * span), goes on to the first one at `cut` bytes, and there ISA-L gets the rest of the block. It
 * also takes over where the input of a span ends, because ISA-L takes several symbols at a time and
 * keeps the last one if what follows is not there. Ours and zlib do it all by themselves.
 *
 * Each bit of the input belongs to one of: the inflater, `bytes` (after the stream), the decoder's
 * input.
 * Possible failure modes are: a bad header or a bad block; the sentence names the byte.
 */
#include "index/deflate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a state says besides enum codec_event and errors: ask the next one. */
#define GO_ON 100

uint64_t deflate_byte_off(const struct deflate *d)
{
    return d->decoder->in_off - d->n_bytes;
}

int deflate_find_byte(const struct deflate *d)
{
    if (d->n_bytes)
        return (int)(d->bytes & 0xff);
    return d->decoder->in_len ? *d->decoder->in : -1;
}

void deflate_drop_byte(struct deflate *d)
{
    if (d->n_bytes) {
        d->bytes >>= 8;
        d->n_bytes--;
    } else {
        decoder_use(d->decoder, 1);
    }
}

static int fail(const struct deflate *d, struct clip_error *err, int code)
{
    if (code == -ENOMEM)
        return err_set(err, code, "gzip: no memory");
    return err_set(err, CLIP_EFORMAT, "gzip: a bad block%s, near byte %" PRIu64,
                   inflate_block(d->inf) ? "" : " header", d->decoder->in_off);
}

/* ---- how far to go */

static uint64_t span_len(const struct deflate *d)
{
    return d->decoder->out_off - d->decoder->at.out_off;
}

static bool is_endless(const struct deflate *d)
{
    return d->decoder->span_size >= DECODER_ENDLESS;
}

/* Where a block that does not end is cut: so late that few are (most end before, and then no header
 * has to be kept), and below twice the span size with all that belongs to the last symbol. */
static uint64_t cut(const struct deflate *d)
{
    return d->decoder->span_size / 4 * 7;
}

/* Where the exact inflater takes over: the fast one has up to INFLATE_AHEAD bytes decoded then. */
static uint64_t go_exact(const struct deflate *d)
{
    uint64_t late = d->decoder->span_size / 4 * 5;
    uint64_t early = cut(d) > INFLATE_AHEAD ? cut(d) - INFLATE_AHEAD : 0;

    return late < early ? late : early;
}

/* Where the inflater that runs has to stop between two symbols. */
static uint64_t stop_at(const struct deflate *d)
{
    return d->inf == d->exact ? cut(d) : go_exact(d);
}

/* What the inflater may give in its next step. */
struct portion {
    size_t cap;
    enum inflate_wish wish;
};

static struct portion next_portion(const struct deflate *d, size_t cap)
{
    uint64_t stop = stop_at(d), left = stop > span_len(d) ? stop - span_len(d) : 0;

    if (is_endless(d) && d->fast == d->exact)
        return (struct portion){cap, INFLATE_THROUGH};
    if (!left)
        return (struct portion){cap, INFLATE_TO_SYMBOL};
    return (struct portion){cap < left ? cap : (size_t)left, INFLATE_ON};
}

/* ---- places to stop */

/* Where the next bit is in the blob. */
static uint64_t bit_off(const struct deflate *d)
{
    return d->decoder->in_off * 8 - inflate_unread(d->inf);
}

/* Another inflater goes on, at the same place: where a block begins, or inside of one. */
static void hand_over(struct deflate *d, struct inflate *to, const struct block *inside)
{
    const uint8_t *window;
    uint32_t window_len;

    if (to == d->inf)
        return;
    window = inflate_window(d->inf, &window_len);
    inflate_begin(to, window, window_len, inside);
    inflate_put_bits(to, inflate_unread_bits(d->inf), inflate_unread(d->inf));
    d->inf = to;
}

static int mark_here(struct deflate *d)
{
    struct checkpoint *at = &d->decoder->at;

    *at = (struct checkpoint){.in_bit = bit_off(d), .out_off = d->decoder->out_off};
    at->window = inflate_window(d->inf, &at->window_len);
    at->watched = at->window_len > 0 && inflate_can_watch(d->inf);
    if (at->watched)
        d->state = DEFLATE_MARKED;
    return CODEC_CHECKPOINT;
}

static int on_stream_end(struct deflate *d)
{
    unsigned n_bits = inflate_unread(d->inf);

    d->bytes = inflate_unread_bits(d->inf) >> n_bits % 8;
    d->n_bytes = n_bits / 8;
    d->state = DEFLATE_ENDED;
    return GO_ON;
}

static int on_block_end(struct deflate *d, enum inflate_wish wish)
{
    if (wish == INFLATE_THROUGH || inflate_block(d->inf)->is.final)
        return on_stream_end(d);
    hand_over(d, d->fast, NULL);
    return decoder_span_full(d->decoder, bit_off(d)) ? mark_here(d) : GO_ON;
}

static int go_on_exactly(struct deflate *d, struct clip_error *err)
{
    int r = d->exact ? 0 : inflate_new(INFLATE_CLIP, &d->exact);

    if (r < 0)
        return fail(d, err, r);
    hand_over(d, d->exact, inflate_block(d->inf));
    return GO_ON;
}

/* The input ends, perhaps for good: is there a literal that ISA-L has not given? */
static bool keeps_a_symbol(const struct deflate *d)
{
    const struct block *block = inflate_block(d->inf);

    return is_endless(d) && d->inf != d->exact && block && !block->is.stored;
}

static int on_symbol(struct deflate *d, struct clip_error *err)
{
    const struct block *block = inflate_block(d->inf);
    struct checkpoint *at = &d->decoder->at;

    if (d->inf != d->exact)
        return go_on_exactly(d, err);
    hand_over(d, d->fast, block);
    mark_here(d);
    at->flags = CHECKPOINT_MIDBLOCK;
    at->header = block->header;
    at->header_bit = block->header_bit;
    at->header_bits = block->is.n_bits;
    return CODEC_CHECKPOINT;
}

/* ---- the data */

/* Lends the inflater input and room, and counts what it did with them. */
static int run(struct deflate *d, uint8_t *out, struct portion portion, size_t *out_len)
{
    struct decoder *decoder = d->decoder;
    struct inflate *inf = d->inf;
    int r;

    inf->in = decoder->in;
    inf->in_len = decoder->in_len;
    inf->out = out;
    inf->out_len = portion.cap;
    r = inflate_run(inf, portion.wish);
    decoder_use(decoder, decoder->in_len - inf->in_len);
    *out_len = portion.cap - inf->out_len;
    decoder->out_off += *out_len;
    return r;
}

/* What was seen since the last checkpoint has been asked for by now. */
static int step_marked(struct deflate *d, struct clip_error *err)
{
    struct decoder *decoder = d->decoder;

    if (!decoder->used)
        decoder->used = malloc(CODEC_WINDOW_MAX);
    if (!decoder->used)
        return fail(d, err, -ENOMEM);
    memset(decoder->used, 0, CODEC_WINDOW_MAX);
    inflate_watch(d->inf, decoder->used);
    d->state = DEFLATE_DATA;
    return GO_ON;
}

static int step_data(struct deflate *d, uint8_t *out, size_t cap, size_t *out_len,
                     struct clip_error *err)
{
    struct portion portion = next_portion(d, cap);
    size_t n = 0;
    int r = run(d, out, portion, &n);

    *out_len += n;
    if (r < 0)
        return fail(d, err, r);
    if (r == INFLATE_AT_END)
        return on_block_end(d, portion.wish);
    if (r == INFLATE_AT_SYMBOL)
        return on_symbol(d, err);
    if (n == cap)
        return CODEC_MORE_OUT;
    if (r != INFLATE_MORE_IN)
        return GO_ON;
    if (keeps_a_symbol(d))
        return go_on_exactly(d, err);
    return CODEC_MORE_IN;
}

/* ---- going on at a checkpoint */

/* The block that it is inside of. */
static int read_block(const struct checkpoint *at, struct block *out)
{
    size_t len = (size_t)(at->header_bit + at->header_bits + 7) / 8;

    if (!at->header || !at->header_bits || at->header_bit > 7 ||
        at->header_bits > BLOCK_HEADER_MAX * 8)
        return -EBADMSG;
    out->header = at->header;
    out->header_bit = at->header_bit;
    if (block_read_header(at->header, len, at->header_bit, &out->is, NULL) != 1 ||
        out->is.n_bits != at->header_bits || out->is.stored)
        return -EBADMSG;
    return 0;
}

/* Inside a byte: the rest of it. */
static int step_resumed(struct deflate *d)
{
    int byte = deflate_find_byte(d);

    if (byte < 0)
        return CODEC_MORE_IN;
    deflate_drop_byte(d);
    inflate_put_bits(d->inf, (uint64_t)byte >> d->resume_bit, 8 - d->resume_bit);
    d->state = DEFLATE_DATA;
    return GO_ON;
}

int deflate_resume(struct deflate *d, const struct checkpoint *at)
{
    bool inside = at->flags & CHECKPOINT_MIDBLOCK;
    struct block block;

    if (at->window_len > CODEC_WINDOW_MAX || (inside && read_block(at, &block) < 0))
        return -EBADMSG;
    d->resume_bit = at->in_bit % 8;
    d->state = d->resume_bit ? DEFLATE_RESUMED : DEFLATE_DATA;
    inflate_begin(d->inf, at->window, at->window_len, inside ? &block : NULL);
    return 0;
}

void deflate_watch(struct deflate *d, uint8_t *used)
{
    inflate_watch(d->inf, used);
}

/* ---- the stream */

int deflate_init(struct deflate *d, enum inflate_backend backend, struct decoder *decoder)
{
    int r = inflate_new(backend, &d->fast);

    if (r < 0)
        return r;
    if (backend != INFLATE_ISAL)
        d->exact = d->fast;
    d->decoder = decoder;
    d->inf = d->fast;
    return 0;
}

void deflate_fini(struct deflate *d)
{
    if (d->exact != d->fast)
        inflate_free(d->exact);
    inflate_free(d->fast);
    free(d->decoder->used);
}

void deflate_begin(struct deflate *d)
{
    d->state = DEFLATE_DATA;
    d->inf = d->fast;
    inflate_begin(d->inf, NULL, 0, NULL);
    inflate_put_bits(d->inf, d->bytes, d->n_bytes * 8);
    d->bytes = 0;
    d->n_bytes = 0;
}

static int step_state(struct deflate *d, uint8_t *out, size_t cap, size_t *out_len,
                      struct clip_error *err)
{
    switch (d->state) {
    case DEFLATE_RESUMED:
        return step_resumed(d);
    case DEFLATE_MARKED:
        return step_marked(d, err);
    case DEFLATE_DATA:
        return step_data(d, out, cap, out_len, err);
    case DEFLATE_ENDED:
        break;
    }
    return CODEC_END;
}

int deflate_step(struct deflate *d, uint8_t *out, size_t cap, size_t *out_len,
                 struct clip_error *err)
{
    size_t n = 0;
    int r;

    do {
        r = step_state(d, out + n, cap - n, &n, err);
    } while (r == GO_ON);
    if (n == cap)
        inflate_settle(d->inf);
    *out_len = n;
    return r;
}
