/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a block is:
 * - its header is gathered and read (index/block.h), because nobody else says how long it is;
 * - the inflater gets the block as a stream of its own: the window, the header with the "final" bit
 *   set, then the input, until it stops at the block's end and gives back what it read too far;
 * - that place is a checkpoint if the span is full.
 * Where none can be for some while, the blocks that follow are given to it, too: a run
 * (index/deflate_run.h), whose last block may not end; then the run is decoded anew, block by block
 * (rewind_run()). Where none will be any more it gets the rest of the stream.
 *
 * A block that does not end is cut: its header is still there to be replayed, so any place between
 * two symbols will do. It must not depend on how the input came in pieces, and ISA-L decodes ahead
 * of what it says; so zlib takes over between two symbols (`go_exact` bytes into the span), goes on
 * to the first one at `cut` bytes, and there ISA-L gets the rest of the block.
 *
 * Each bit of the input belongs to one of: the inflater (while a block runs), `bits` (after it),
 * the head (a header and what came with it), the decoder's input.
 * Possible failure modes are: a bad header or a bad block; the sentence names the byte.
 */
#include "index/deflate.h"

#include <inttypes.h>
#include <stdlib.h>

/* What a state says besides enum codec_event and errors: ask the next one. */
#define GO_ON 100

#define ARM_STEP 8u /* bytes lent at a time while the inflater is in no block */
/* Without runs after one that failed, and twice as much after the next. What was kept of the one is
 * used up long before. */
#define NO_RUN_LEN (16ull << 20)

uint64_t deflate_bit_off(const struct deflate *d)
{
    return d->decoder->in_off * 8 - d->n_bits;
}

int deflate_find_byte(const struct deflate *d)
{
    if (d->n_bits)
        return (int)(d->bits & 0xff);
    return d->decoder->in_len ? *d->decoder->in : -1;
}

/* What a run has kept is used up: on with what the codec lent. */
static void maybe_refill(struct deflate *d)
{
    if (d->decoder->in_len || !d->next_len)
        return;
    d->decoder->in = d->next_in;
    d->decoder->in_len = d->next_len;
    d->next_len = 0;
}

void deflate_drop_byte(struct deflate *d)
{
    if (d->n_bits) {
        d->bits >>= 8;
        d->n_bits -= 8;
    } else {
        decoder_use(d->decoder, 1);
        maybe_refill(d);
    }
}

static int fail(const struct deflate *d, struct clip_error *err, int code, const char *what)
{
    if (code == -ENOMEM)
        return err_set(err, code, "gzip: no memory");
    return err_set(err, CLIP_EFORMAT, "gzip: %s, near byte %" PRIu64, what, deflate_bit_off(d) / 8);
}

static int to_state(struct deflate *d, enum deflate_state state)
{
    d->state = state;
    return GO_ON;
}

/* ---- the window */

/* What came out in this step becomes history only when it has to. */
static void settle_history(struct deflate *d)
{
    history_add(&d->history, d->given, d->n_given);
    d->n_given = 0;
}

/* The last 32 KiB that came out, or all of the member. */
static const uint8_t *find_window(struct deflate *d, uint32_t *out_len)
{
    if (d->n_given >= CODEC_WINDOW_MAX) {
        *out_len = CODEC_WINDOW_MAX;
        return d->given + d->n_given - CODEC_WINDOW_MAX;
    }
    settle_history(d);
    *out_len = history_len(&d->history);
    return history_window(&d->history);
}

/* ---- how far to go */

static uint64_t span_len(const struct deflate *d)
{
    return d->decoder->out_off - d->decoder->at.out_off;
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

/* A run of the block that begins and of what follows. False: there is no room for one that is worth
 * it, or no memory, which is no need either. */
static bool begin_run(struct deflate *d, const uint8_t *window, uint32_t window_len)
{
    const struct decoder *decoder = d->decoder;
    const struct deflate_run_at at = {
        .out_off = decoder->out_off,
        .span_len = span_len(d),
        .in_len = decoder->in_off - decoder->at.in_bit / 8,
        .span_size = decoder->span_size,
        .give_up = go_exact(d),
    };

    if (!decoder->marked || decoder->out_off < d->no_run_until || !deflate_run_fits(&at))
        return false;
    if (!d->run)
        d->run = malloc(sizeof(*d->run));
    if (!d->run)
        return false;
    deflate_run_begin(d->run, &at, window, window_len);
    return true;
}

static void set_pace(struct deflate *d, const uint8_t *window, uint32_t window_len)
{
    if (d->decoder->span_size >= DECODER_ENDLESS)
        d->pace = DEFLATE_THROUGH;
    else if (begin_run(d, window, window_len))
        d->pace = DEFLATE_RUN;
    else
        d->pace = DEFLATE_BY_BLOCK;
}

static int begin_block(struct deflate *d, struct clip_error *err)
{
    uint32_t window_len;
    const uint8_t *window = find_window(d, &window_len);
    unsigned n_bits = (8 - d->head_bit) % 8;
    int r;

    set_pace(d, window, window_len);
    if (d->pace == DEFLATE_BY_BLOCK)
        d->head[0] |= (uint8_t)(1u << d->head_bit); /* "final", for the inflater */
    r = inflate_begin(d->inf, window, window_len, n_bits ? d->head[0] >> d->head_bit : 0, n_bits);
    if (r < 0)
        return fail(d, err, r, "");
    d->head_lent = n_bits ? 1 : 0;
    return to_state(d, DEFLATE_DATA);
}

/* ---- a block's header */

/* The bits that the last block left are the first of this one. */
static int step_block(struct deflate *d)
{
    d->head_bit = (8 - d->n_bits % 8) % 8;
    d->n_head = (d->n_bits + d->head_bit) / 8;
    for (unsigned i = 0; i < d->n_head; i++)
        d->head[i] = (uint8_t)(d->bits << d->head_bit >> (8 * i));
    d->n_bits = 0;
    d->bits = 0;
    return to_state(d, DEFLATE_HEAD);
}

/* Bytes that are not the header's go back, as far as they are of this input. */
static void trim_head(struct deflate *d, size_t n_new)
{
    size_t used = (d->head_bit + d->block.n_bits + 7) / 8;
    size_t back = d->n_head - used < n_new ? d->n_head - used : n_new;

    d->n_head -= (unsigned)back;
    d->decoder->in -= back;
    d->decoder->in_len += back;
    d->decoder->in_off -= back;
}

static int step_head(struct deflate *d, struct clip_error *err)
{
    size_t n_new = 0;
    int r = block_read_header(d->head, d->n_head, d->head_bit, &d->block, NULL);

    if (r == 0) {
        n_new = sizeof(d->head) - d->n_head;
        if (n_new > d->decoder->in_len)
            n_new = d->decoder->in_len;
        if (!n_new)
            return CODEC_MORE_IN;
        memcpy(d->head + d->n_head, d->decoder->in, n_new);
        d->n_head += (unsigned)n_new;
        decoder_use(d->decoder, n_new);
        r = block_read_header(d->head, d->n_head, d->head_bit, &d->block, NULL);
    }
    if (r < 0)
        return fail(d, err, r, "a bad block header");
    if (r > 0)
        trim_head(d, n_new);
    maybe_refill(d);
    if (r == 0)
        return GO_ON;
    memcpy(d->header, d->head, d->n_head);
    d->header_bit = d->head_bit;
    d->inf = d->fast;
    return begin_block(d, err);
}

/* ---- a block's data */

/* Where the inflater that runs has to stop between two symbols. */
static uint64_t stop_at(const struct deflate *d)
{
    if (d->block.stored)
        return UINT64_MAX; /* shorter than any span */
    return d->inf == d->exact ? cut(d) : go_exact(d);
}

/* What the inflater may get and give in its next step. */
struct portion {
    size_t in_len, cap;
    enum inflate_wish wish;
};

static size_t up_to(size_t len, uint64_t max)
{
    return len < max ? len : (size_t)max;
}

static uint64_t left_to(const struct deflate *d, uint64_t out_off)
{
    return out_off > d->decoder->out_off ? out_off - d->decoder->out_off : 0;
}

static struct portion portion_by_block(const struct deflate *d, size_t in_len, size_t cap)
{
    uint64_t left = stop_at(d) > span_len(d) ? stop_at(d) - span_len(d) : 0;

    if (!left)
        return (struct portion){in_len, cap, INFLATE_TO_SYMBOL};
    return (struct portion){in_len, up_to(cap, left), INFLATE_ON};
}

/* Near the run's end the inflater is told so, which may take some steps. */
static struct portion portion_of_run(struct deflate *d, size_t in_len, size_t cap)
{
    const struct deflate_run *run = d->run;
    uint64_t out_max = run->until, in_max = run->kept_until;

    if (!left_to(d, run->until) || run->n_kept >= run->kept_until) {
        bool armed = inflate_arm(d->inf);

        out_max = armed ? run->give_up : run->tell_by;
        in_max = armed ? run->kept_max : up_to(run->n_kept + ARM_STEP, run->kept_max);
    }
    return (struct portion){up_to(in_len, in_max - run->n_kept), up_to(cap, left_to(d, out_max)),
                            INFLATE_THROUGH};
}

static struct portion next_portion(struct deflate *d, size_t in_len, size_t cap)
{
    if (d->pace == DEFLATE_BY_BLOCK)
        return portion_by_block(d, in_len, cap);
    if (d->pace == DEFLATE_THROUGH)
        return (struct portion){in_len, cap, INFLATE_THROUGH};
    return portion_of_run(d, in_len, cap);
}

/* The inflater took them from the input. */
static void use_input(struct deflate *d, size_t len)
{
    if (d->pace == DEFLATE_RUN)
        deflate_run_keep(d->run, d->decoder->in, len);
    decoder_use(d->decoder, len);
    maybe_refill(d);
}

/* Lends the inflater what is left of the head, or else the input, and counts what it did. */
static int run_block(struct deflate *d, uint8_t *out, struct portion portion, size_t *out_len)
{
    bool from_head = d->head_lent < d->n_head;
    size_t len = from_head ? d->n_head - d->head_lent : portion.in_len;
    int r;

    d->inf->in = from_head ? d->head + d->head_lent : d->decoder->in;
    d->inf->in_len = len;
    d->inf->out = out;
    d->inf->out_len = portion.cap;
    r = inflate_run(d->inf, portion.wish);
    if (from_head)
        d->head_lent += (unsigned)(len - d->inf->in_len);
    else
        use_input(d, len - d->inf->in_len);
    *out_len = portion.cap - d->inf->out_len;
    return r;
}

static void count_output(struct deflate *d, const uint8_t *out, size_t len)
{
    if (!d->n_given)
        d->given = out;
    d->n_given += len;
    d->decoder->out_off += len;
}

/* Takes back what the inflater and the head have left of the bits after the block. */
static void take_bits(struct deflate *d)
{
    d->n_bits = inflate_unread(d->inf);
    d->bits = inflate_unread_bits(d->inf);
    for (; d->head_lent < d->n_head; d->head_lent++) {
        d->bits |= (uint64_t)d->head[d->head_lent] << d->n_bits;
        d->n_bits += 8;
    }
}

static int mark_here(struct deflate *d, uint64_t in_bit)
{
    settle_history(d);
    d->decoder->at = (struct checkpoint){.in_bit = in_bit,
                                         .out_off = d->decoder->out_off,
                                         .window = history_window(&d->history),
                                         .window_len = history_len(&d->history)};
    return CODEC_CHECKPOINT;
}

static int on_block_end(struct deflate *d)
{
    take_bits(d);
    if (d->pace == DEFLATE_BY_BLOCK ? d->block.final : inflate_was_last(d->inf)) {
        d->bits >>= d->n_bits % 8;
        d->n_bits -= d->n_bits % 8;
        return to_state(d, DEFLATE_ENDED);
    }
    to_state(d, DEFLATE_BLOCK);
    if (decoder_span_full(d->decoder, deflate_bit_off(d)))
        return mark_here(d, deflate_bit_off(d));
    return GO_ON;
}

static int open_exact(struct deflate *d, struct clip_error *err)
{
    int r = d->exact ? 0 : inflate_new(INFLATE_ZLIB, &d->exact);

    if (r < 0)
        return fail(d, err, r, "no zlib");
    d->inf = d->exact;
    return GO_ON;
}

static int on_symbol(struct deflate *d, struct clip_error *err)
{
    take_bits(d);
    to_state(d, DEFLATE_REPLAY);
    if (d->inf != d->exact)
        return open_exact(d, err);
    d->inf = d->fast;
    mark_here(d, deflate_bit_off(d));
    d->decoder->at.flags = CHECKPOINT_MIDBLOCK;
    d->decoder->at.header = d->header;
    d->decoder->at.header_bit = d->header_bit;
    d->decoder->at.header_bits = d->block.n_bits;
    return CODEC_CHECKPOINT;
}

static void put_bit(struct deflate *d, unsigned at, unsigned bit)
{
    d->head[at / 8] |= (uint8_t)((bit & 1) << (at % 8));
}

/* The rest of the block as if it were a block: its header, so that it ends where the next bit
 * stands in its byte, then the bits that were given back. */
static int step_replay(struct deflate *d, struct clip_error *err)
{
    unsigned n = d->block.n_bits;

    d->head_bit = (8 - (n + d->n_bits) % 8) % 8;
    d->n_head = (d->head_bit + n + d->n_bits) / 8;
    memset(d->head, 0, d->n_head);
    for (unsigned i = 0, from = d->header_bit; i < n; i++, from++)
        put_bit(d, d->head_bit + i, d->header[from / 8] >> (from % 8));
    for (unsigned i = 0; i < d->n_bits; i++)
        put_bit(d, d->head_bit + n + i, (unsigned)(d->bits >> i));
    d->n_bits = 0;
    d->bits = 0;
    return begin_block(d, err);
}

/* ---- a run whose last block does not end */

static int step_state(struct deflate *d, uint8_t *out, size_t cap, size_t *out_len,
                      struct clip_error *err);

/* The run may not have what it needs to go on. */
static bool is_at_limit(const struct deflate *d, const struct portion *portion, size_t cap)
{
    return d->pace == DEFLATE_RUN &&
           ((cap && !portion->cap) || (d->decoder->in_len && !portion->in_len));
}

/* Decodes what was given already, for the state that this leads to. */
static int go_over(struct deflate *d, uint64_t len, struct clip_error *err)
{
    uint8_t nowhere[8192];
    int r = GO_ON;

    while (len > 0 && (r == GO_ON || r == CODEC_MORE_OUT)) {
        size_t n = 0;

        r = step_state(d, nowhere, up_to(sizeof(nowhere), len), &n, err);
        settle_history(d);
        len -= n;
    }
    if (len > 0 && r >= 0)
        return fail(d, err, CLIP_EFORMAT, "a block that does not decode twice");
    return r == CODEC_MORE_OUT ? GO_ON : r;
}

static int rewind_run(struct deflate *d, struct clip_error *err)
{
    struct deflate_run *run = d->run;
    struct decoder *decoder = d->decoder;
    uint64_t len = decoder->out_off - run->from;
    int r;

    d->no_run_len = d->no_run_len ? 2 * d->no_run_len : NO_RUN_LEN;
    d->no_run_until = decoder->out_off + d->no_run_len;
    d->next_in = decoder->in;
    d->next_len = decoder->in_len;
    decoder->in = run->kept;
    decoder->in_len = run->n_kept;
    decoder->in_off -= run->n_kept;
    decoder->out_off = run->from;
    maybe_refill(d);
    d->n_given = 0;
    history_reset(&d->history);
    history_add(&d->history, run->window, run->window_len);
    r = begin_block(d, err); /* the head is still the first block's */
    return r < 0 ? r : go_over(d, len, err);
}

static int step_data(struct deflate *d, uint8_t *out, size_t cap, size_t *out_len,
                     struct clip_error *err)
{
    struct portion portion = next_portion(d, d->decoder->in_len, cap);
    size_t n = 0;
    int r;

    if (is_at_limit(d, &portion, cap))
        return rewind_run(d, err);
    r = run_block(d, out, portion, &n);
    count_output(d, out, n);
    *out_len += n;
    if (r < 0)
        return fail(d, err, r, "a bad block");
    if (r == INFLATE_AT_END)
        return on_block_end(d);
    if (r == INFLATE_AT_SYMBOL)
        return on_symbol(d, err);
    if (n == cap)
        return CODEC_MORE_OUT;
    if (r == INFLATE_MORE_IN && d->head_lent == d->n_head && !d->decoder->in_len)
        return CODEC_MORE_IN;
    return GO_ON;
}

/* ---- going on at a checkpoint */

static int copy_header(struct deflate *d, const struct checkpoint *at)
{
    size_t len = (size_t)(at->header_bit + at->header_bits + 7) / 8;

    if (!at->header || !at->header_bits || at->header_bit > 7 ||
        at->header_bits > BLOCK_HEADER_MAX * 8)
        return -EBADMSG;
    memcpy(d->header, at->header, len);
    d->header_bit = at->header_bit;
    if (block_read_header(d->header, len, d->header_bit, &d->block, NULL) != 1 ||
        d->block.n_bits != at->header_bits || d->block.stored)
        return -EBADMSG;
    return 0;
}

/* Inside a byte: the rest of it is what a block before would have given back. */
static int step_resumed(struct deflate *d)
{
    int byte = deflate_find_byte(d);

    if (byte < 0)
        return CODEC_MORE_IN;
    deflate_drop_byte(d);
    d->bits = (uint64_t)byte >> d->resume_bit;
    d->n_bits = 8 - d->resume_bit;
    return to_state(d, d->block.n_bits ? DEFLATE_REPLAY : DEFLATE_BLOCK);
}

int deflate_resume(struct deflate *d, const struct checkpoint *at)
{
    if (at->window_len > CODEC_WINDOW_MAX)
        return -EBADMSG;
    deflate_begin(d);
    d->resume_bit = at->in_bit % 8;
    d->state = at->flags & CHECKPOINT_MIDBLOCK ? DEFLATE_REPLAY : DEFLATE_BLOCK;
    if (d->resume_bit)
        d->state = DEFLATE_RESUMED;
    history_add(&d->history, at->window, at->window_len);
    return at->flags & CHECKPOINT_MIDBLOCK ? copy_header(d, at) : 0;
}

/* ---- the stream */

int deflate_init(struct deflate *d, enum inflate_backend backend, struct decoder *decoder)
{
    int r = inflate_new(backend, &d->fast);

    if (r < 0)
        return r;
    if (backend == INFLATE_ZLIB)
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
    free(d->run);
}

void deflate_begin(struct deflate *d)
{
    d->state = DEFLATE_BLOCK;
    d->n_given = 0;
    history_reset(&d->history);
}

static int step_state(struct deflate *d, uint8_t *out, size_t cap, size_t *out_len,
                      struct clip_error *err)
{
    switch (d->state) {
    case DEFLATE_RESUMED:
        return step_resumed(d);
    case DEFLATE_BLOCK:
        return step_block(d);
    case DEFLATE_HEAD:
        return step_head(d, err);
    case DEFLATE_REPLAY:
        return step_replay(d, err);
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
    if (r != CODEC_END)
        settle_history(d);
    *out_len = n;
    return r;
}
