/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a chain is:
 * - ask_ahead() keeps one range on its way beside the one that is being decoded. A range holds
 *   whole spans: as many as fit in RANGE_LEN, or one.
 * - a job verifies the next span's bytes, feeds them to the decoder, takes the span from it and
 *   verifies that; the span goes up, and the next job waits for span_chain_resume().
 * - a range that is used up makes way for the next.
 * Possible failure modes are:
 * - a span's bytes are wrong: they alone are fetched again with the next attempt (`again`). The
 *   decoder has not seen them.
 * - a range fails, or right bytes do not decode to what the index says: the first failure is kept,
 *   what is under way is cancelled, and every span that was not given fails with it.
 * On cancel: the same, with -ECANCELED. maybe_ended() frees us when no part is under way.
 */
#include "index/span_chain.h"

#include "engine/log.h"
#include "index/zran.h"

#include <inttypes.h>
#include <stdlib.h>

#define RANGE_LEN (4u << 20)

/* Neighbours' compressed bytes. */
struct stretch {
    struct slab *slab; /* NULL: not there */
    uint64_t off;      /* in the blob */
    uint64_t end;      /* index of the span after the last one */
};

struct span_chain {
    struct span_chain_options options;
    struct clip_engine *engine;
    struct decoder *decoder;
    uint64_t index, end; /* the span whose turn it is; after the last one */
    struct image_span span;
    unsigned attempt; /* of that span */

    struct blob_range range;
    bool ranging;
    uint64_t asked; /* the first span that was not asked for */
    struct stretch current, next;

    struct blob_range again; /* one span's bytes, which were wrong */
    bool asking_again;
    struct slab *corrected; /* what came */

    struct work work;
    bool working;
    bool paused; /* a span was given; resume has not come */
    struct slab *out;
    bool is_wrong; /* the job found the source's bytes to be others */
    struct clip_error job_err;
    int job_status;

    struct later later;
    int status; /* the first failure */
};

static void pump(struct span_chain *chain);
static void pump_later(struct later *later);

/* ---- in the pool */

static const uint8_t *span_input(const struct span_chain *chain)
{
    if (chain->corrected)
        return chain->corrected->bytes;
    return chain->current.slab->bytes + (chain->span.in_off - chain->current.off);
}

/* Takes the span from the decoder, which then has to stand where the next one begins. */
static int take_span(struct span_chain *chain)
{
    const struct image_span *span = &chain->span;
    int r;

    decoder_feed(chain->decoder, span_input(chain), span->in_len);
    r = zran_take(chain->decoder, chain->out->bytes, span->out_len, &chain->job_err);
    if (r < 0)
        return r;
    if (chain->index + 1 < chain->end &&
        decoder_in_off(chain->decoder) != span->in_off + span->in_len)
        return err_set(&chain->job_err, CLIP_EFORMAT, "the span's bytes are not all used");
    return span_check_decoded(span, chain->out->bytes, &chain->job_err);
}

static void decode_run(struct work *work)
{
    struct span_chain *chain = container_of(work, struct span_chain, work);

    chain->job_status = span_check_fetched(&chain->span, span_input(chain), &chain->job_err);
    chain->is_wrong = chain->job_status < 0;
    if (!chain->is_wrong)
        chain->job_status = take_span(chain);
}

/* ---- the end */

static void fail(struct span_chain *chain, int status, const struct clip_error *err)
{
    if (chain->status == 0) {
        chain->status = status;
        chain->options.req->err = *err;
    }
    if (chain->ranging)
        blob_range_cancel(&chain->range);
    if (chain->asking_again)
        blob_range_cancel(&chain->again);
    if (chain->working)
        work_cancel(&chain->work);
}

static void maybe_ended(struct span_chain *chain)
{
    const struct span_chain_options options = chain->options;
    int status = chain->status;

    if (chain->ranging || chain->asking_again || chain->working)
        return;
    for (; chain->index < chain->end; chain->index++)
        options.req->on_decoded(options.req, chain->index, status, NULL);
    later_cancel(&chain->later);
    slab_unlock(chain->current.slab);
    slab_unlock(chain->next.slab);
    slab_unlock(chain->corrected);
    decoder_free(chain->decoder);
    free(chain);
    options.on_end(options.owner, status);
}

/* ---- bytes */

static void span_at(const struct span_chain *chain, uint64_t index, struct image_span *out)
{
    image_span(chain->options.req->image, chain->options.req->layer, index, out);
}

static struct blob_range range_of(struct span_chain *chain, uint64_t off, uint64_t len,
                                  unsigned attempt)
{
    chain->options.req->n_requests++;
    return (struct blob_range){
        .blob = chain->options.blob,
        .off = off,
        .len = len,
        .attempt = attempt,
        .lane = chain->options.req->lane,
    };
}

static void on_range(struct blob_range *range, int status)
{
    struct span_chain *chain = container_of(range, struct span_chain, range);

    chain->ranging = false;
    if (status < 0) {
        fail(chain, status, &range->err);
    } else {
        chain->next = (struct stretch){range->slab, range->off, chain->asked};
        chain->options.req->fetched += range->len;
    }
    pump(chain);
}

static void ask_ahead(struct span_chain *chain)
{
    struct image_span span;
    uint64_t off, len;

    if (chain->ranging || chain->next.slab || chain->asked == chain->end)
        return;
    span_at(chain, chain->asked, &span);
    off = span.in_off;
    do {
        len = span.in_off + span.in_len - off;
        if (++chain->asked == chain->end)
            break;
        span_at(chain, chain->asked, &span);
    } while (span.in_off + span.in_len - off <= RANGE_LEN);
    chain->range = range_of(chain, off, len, chain->options.attempt);
    chain->ranging = true;
    blob_range_fetch(chain->options.source, &chain->range, on_range);
}

static void on_again(struct blob_range *range, int status)
{
    struct span_chain *chain = container_of(range, struct span_chain, again);

    chain->asking_again = false;
    if (status < 0) {
        fail(chain, status, &range->err);
    } else {
        chain->corrected = range->slab;
        chain->options.req->fetched += range->len;
    }
    pump(chain);
}

static void ask_again(struct span_chain *chain)
{
    log_debug(chain->engine, "span: attempt %u: %s", chain->attempt + 1, chain->job_err.message);
    slab_unlock(chain->corrected);
    chain->corrected = NULL;
    chain->attempt++;
    chain->again = range_of(chain, chain->span.in_off, chain->span.in_len, chain->attempt);
    chain->asking_again = true;
    blob_range_fetch(chain->options.source, &chain->again, on_again);
}

/* ---- spans */

static void begin_span(struct span_chain *chain)
{
    chain->attempt = chain->options.attempt;
    span_at(chain, chain->index, &chain->span);
}

static void give_span(struct span_chain *chain)
{
    struct span_fetch *req = chain->options.req;
    struct slab *out = chain->out;

    out->len = chain->span.out_len;
    chain->out = NULL;
    slab_unlock(chain->corrected);
    chain->corrected = NULL;
    chain->index++;
    chain->paused = chain->index < chain->end;
    if (chain->paused) {
        begin_span(chain);
        ask_ahead(chain);
    } else {
        later_call(chain->engine, &chain->later, pump_later);
    }
    req->on_decoded(req, chain->index - 1, 0, out);
}

static void span_failed(struct span_chain *chain, int status)
{
    slab_unlock(chain->out);
    chain->out = NULL;
    if (chain->status < 0) {
        maybe_ended(chain);
        return;
    }
    span_say_where(&chain->job_err, chain->options.source, chain->options.blob, &chain->span);
    if (chain->is_wrong && chain->attempt + 1 < SPAN_ATTEMPTS) {
        ask_again(chain);
        return;
    }
    fail(chain, status, &chain->job_err);
    maybe_ended(chain);
}

static void decode_done(struct work *work, int status)
{
    struct span_chain *chain = container_of(work, struct span_chain, work);

    chain->working = false;
    if (status == 0)
        status = chain->job_status;
    if (status < 0 || chain->status < 0)
        span_failed(chain, status);
    else
        give_span(chain);
}

static void start_job(struct span_chain *chain)
{
    struct clip_error err;

    chain->out = slab_new(chain->engine, chain->span.out_len);
    if (!chain->out) {
        err_set(&err, -ENOMEM, "out of memory for a span of %" PRIu64 " bytes",
                chain->span.out_len);
        fail(chain, -ENOMEM, &err);
        maybe_ended(chain);
        return;
    }
    chain->is_wrong = false;
    err_set(&chain->job_err, -ECANCELED, "cancelled");
    chain->working = true;
    work_submit(chain->engine, &chain->work, chain->options.req->lane, decode_run, decode_done);
}

/* The stretch that is used up makes way for the one that came ahead. */
static void turn_page(struct span_chain *chain)
{
    if (chain->current.slab && chain->current.end == chain->index) {
        slab_unlock(chain->current.slab);
        chain->current.slab = NULL;
    }
    if (!chain->current.slab) {
        chain->current = chain->next;
        chain->next.slab = NULL;
    }
}

/* To be asked wherever something changed: what can go on? */
static void pump(struct span_chain *chain)
{
    if (chain->status < 0 || chain->index == chain->end) {
        maybe_ended(chain);
        return;
    }
    if (chain->working || chain->paused || chain->asking_again)
        return;
    turn_page(chain);
    ask_ahead(chain);
    if (chain->current.slab)
        start_job(chain);
}

static void pump_later(struct later *later)
{
    pump(container_of(later, struct span_chain, later));
}

void span_chain_resume(struct span_chain *chain)
{
    chain->paused = false;
    later_call(chain->engine, &chain->later, pump_later);
}

void span_chain_cancel(struct span_chain *chain)
{
    struct clip_error err;

    err_set(&err, -ECANCELED, "cancelled");
    fail(chain, -ECANCELED, &err);
    later_call(chain->engine, &chain->later, pump_later);
}

int span_chain_open(const struct span_chain_options *options, struct span_chain **out)
{
    struct span_chain *chain = calloc(1, sizeof(*chain));
    struct checkpoint at = {.flags = CHECKPOINT_FRESH};

    if (!chain)
        return -ENOMEM;
    chain->options = *options;
    chain->engine = source_engine(options->source);
    chain->index = chain->asked = options->req->first;
    chain->end = options->req->first + options->req->n;
    begin_span(chain);
    at.in_bit = chain->span.in_bit;
    if (zran_open(options->codec, &at, &chain->decoder) < 0) {
        free(chain);
        return -ENOMEM;
    }
    later_init(&chain->later);
    *out = chain;
    /* from the loop: a source may have an answer at once, on_end never fires from in here */
    later_call(chain->engine, &chain->later, pump_later);
    return 0;
}
