/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a stream is:
 * - ask_ahead() keeps one range of RANGE_LEN on its way beside the one that is being decoded.
 * - a job decodes from `current` into one piece; the piece goes up, and the next job waits for
 *   span_stream_resume().
 * - a range that is used up is followed by the next; after the last one both digests are checked.
 * Possible failure modes are: a range fails, the bytes do not decode, a digest is wrong at the
 * end. The first failure is kept, what is under way is cancelled, and nothing new is begun.
 * On cancel: the same, with -ECANCELED. maybe_ended() frees us when no part is under way.
 */
#include "index/span_stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define RANGE_LEN (4u << 20)

struct span_stream {
    struct span_stream_options options;
    struct image_span span;
    struct clip_engine *engine;
    struct decoder *decoder;
    struct sha256 sha;
    XXH3_state_t *xxh;

    struct blob_range range;
    bool ranging;
    uint64_t asked;       /* bytes of the span's input that were asked for */
    struct slab *next;    /* came ahead */
    struct slab *current; /* being decoded */
    uint64_t in_done;     /* bytes of input in ranges that are used up */
    uint64_t out_done;    /* bytes of output given */

    struct work work;
    bool working;
    bool fed;    /* current was lent to the decoder */
    bool eaten;  /* the decoder is through with current */
    bool paused; /* a piece was given; resume has not come */
    struct slab *piece;
    int job_status;

    struct later later;
    int status; /* the first failure */
};

static void pump(struct span_stream *stream);

static bool has_all_output(const struct span_stream *stream)
{
    return stream->out_done == stream->span.out_len;
}

/* ---- in the pool */

static int decode_some(struct span_stream *stream)
{
    struct slab *piece = stream->piece;
    struct clip_error *err = &stream->options.req->err;

    if (!stream->fed) {
        sha256_update(&stream->sha, stream->current->bytes, stream->current->len);
        decoder_feed(stream->decoder, stream->current->bytes, stream->current->len);
        stream->fed = true;
    }
    while (piece->len < piece->cap) {
        size_t n = 0;
        int event = decoder_step(stream->decoder, piece->bytes + piece->len,
                                 piece->cap - piece->len, &n, err);
        piece->len += n;
        if (event < 0)
            return event;
        if (event == CODEC_MORE_IN || event == CODEC_END) {
            stream->eaten = true;
            break;
        }
    }
    XXH3_128bits_update(stream->xxh, piece->bytes, piece->len);
    return 0;
}

static void decode_run(struct work *work)
{
    struct span_stream *stream = container_of(work, struct span_stream, work);

    if (has_all_output(stream)) {
        /* a frame's trailer: it only counts for the digest */
        sha256_update(&stream->sha, stream->current->bytes, stream->fed ? 0 : stream->current->len);
        stream->eaten = true;
        stream->job_status = 0;
        return;
    }
    stream->job_status = decode_some(stream);
}

/* ---- on the loop */

static void fail(struct span_stream *stream, int status)
{
    if (stream->status == 0)
        stream->status = status;
    if (stream->ranging)
        blob_range_cancel(&stream->range);
}

static void maybe_ended(struct span_stream *stream)
{
    void (*on_end)(void *, int) = stream->options.on_end;
    void *owner = stream->options.owner;
    int status = stream->status;

    if (stream->ranging || stream->working)
        return;
    later_cancel(&stream->later);
    slab_unlock(stream->next);
    slab_unlock(stream->current);
    decoder_free(stream->decoder);
    XXH3_freeState(stream->xxh);
    free(stream);
    on_end(owner, status);
}

static void check_digests(struct span_stream *stream)
{
    XXH128_canonical_t canonical;
    struct digest digest;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(stream->xxh));
    sha256_final(&stream->sha, &digest);
    if (!has_all_output(stream))
        stream->status = err_set(&stream->options.req->err, CLIP_EFORMAT,
                                 "the span decodes to %" PRIu64 " bytes, the index says %" PRIu64,
                                 stream->out_done, stream->span.out_len);
    else if (!digest_equal(&digest, &stream->span.fetched) ||
             memcmp(canonical.digest, stream->span.decoded, sizeof(canonical.digest)) != 0)
        stream->status = err_set(&stream->options.req->err, CLIP_EDIGEST,
                                 "the source's bytes are not those that were indexed");
}

static void on_range(struct blob_range *range, int status)
{
    struct span_stream *stream = container_of(range, struct span_stream, range);

    stream->ranging = false;
    if (status < 0) {
        if (stream->status == 0)
            stream->options.req->err = range->err;
        fail(stream, status);
    } else {
        stream->next = range->slab;
        stream->options.req->fetched += range->len;
    }
    pump(stream);
}

static void ask_ahead(struct span_stream *stream)
{
    uint64_t left = stream->span.in_len - stream->asked;

    if (stream->ranging || stream->next || left == 0)
        return;
    stream->range = (struct blob_range){
        .blob = stream->options.blob,
        .off = stream->span.in_off + stream->asked,
        .len = left < RANGE_LEN ? left : RANGE_LEN,
        .attempt = stream->options.attempt,
        .lane = stream->options.req->lane,
    };
    stream->asked += stream->range.len;
    stream->ranging = true;
    stream->options.req->n_requests++;
    blob_range_fetch(stream->options.source, &stream->range, on_range);
}

static void decode_done(struct work *work, int status)
{
    struct span_stream *stream = container_of(work, struct span_stream, work);
    struct span_fetch *req = stream->options.req;
    struct slab *piece = stream->piece;
    uint64_t off = stream->span.out_off + stream->out_done;

    stream->working = false;
    stream->piece = NULL;
    if (status == 0)
        status = stream->job_status;
    if (status < 0)
        fail(stream, status);
    if (stream->status < 0 || piece->len == 0) {
        slab_unlock(piece);
        pump(stream);
        return;
    }
    stream->out_done += piece->len;
    stream->paused = true;
    req->on_piece(req, off, piece);
}

static void start_job(struct span_stream *stream)
{
    uint64_t left = stream->span.out_len - stream->out_done;

    stream->piece = slab_new(stream->engine, left < SPAN_PIECE_MAX ? left : SPAN_PIECE_MAX);
    if (!stream->piece) {
        err_set(&stream->options.req->err, -ENOMEM, "out of memory for a piece of a span");
        fail(stream, -ENOMEM);
        maybe_ended(stream);
        return;
    }
    stream->working = true;
    work_submit(stream->engine, &stream->work, stream->options.req->lane, decode_run, decode_done);
}

/* The range that is used up makes way for the one that came ahead. */
static void turn_page(struct span_stream *stream)
{
    if (stream->current && stream->eaten) {
        stream->in_done += stream->current->len;
        slab_unlock(stream->current);
        stream->current = NULL;
    }
    if (!stream->current && stream->next) {
        stream->current = stream->next;
        stream->next = NULL;
        stream->fed = stream->eaten = false;
    }
}

static void pump(struct span_stream *stream)
{
    if (stream->status < 0) {
        maybe_ended(stream);
        return;
    }
    if (stream->working || stream->paused)
        return;
    turn_page(stream);
    ask_ahead(stream);
    if (stream->current) {
        start_job(stream);
    } else if (stream->in_done == stream->span.in_len) {
        check_digests(stream);
        maybe_ended(stream);
    }
}

static void pump_later(struct later *later)
{
    pump(container_of(later, struct span_stream, later));
}

void span_stream_resume(struct span_stream *stream)
{
    stream->paused = false;
    later_call(stream->engine, &stream->later, pump_later);
}

void span_stream_cancel(struct span_stream *stream)
{
    if (stream->status == 0)
        err_set(&stream->options.req->err, -ECANCELED, "cancelled");
    fail(stream, -ECANCELED);
    later_call(stream->engine, &stream->later, pump_later);
}

int span_stream_open(const struct span_stream_options *options, struct span_stream **out)
{
    struct span_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return -ENOMEM;
    stream->options = *options;
    stream->engine = source_engine(options->source);
    image_span(options->req->image, options->req->layer, options->req->first, &stream->span);
    stream->xxh = XXH3_createState();
    if (!stream->xxh || decoder_new(options->codec, UINT64_MAX, &stream->decoder) < 0) {
        XXH3_freeState(stream->xxh);
        free(stream);
        return -ENOMEM;
    }
    XXH3_128bits_reset(stream->xxh);
    sha256_init(&stream->sha);
    later_init(&stream->later);
    *out = stream;
    /* from the loop: a source may have an answer at once, on_end never fires from in here */
    later_call(stream->engine, &stream->later, pump_later);
    return 0;
}
