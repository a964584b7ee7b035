/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a fetch is:
 * - one range covers the compressed bytes of all its spans (neighbours may share a byte). A span's
 *   turn comes when its own bytes are there: who waits for the first does not wait for the last.
 * - pump() keeps at most as many decode jobs in flight as the pool has threads; each takes its
 *   part of the range, verifies it, decodes it into a slab, verifies that, and is handed up.
 * - when no span waits, nothing comes and no job runs, finish() tells on_done and frees all.
 * Possible failure modes are:
 * - the source gives up: every span that is not decoded yet fails with its error.
 * - bytes are wrong: that span alone is fetched again, after the others, with the next attempt.
 * On cancel: the range and the jobs are cancelled; each part that ends asks finish().
 * A chain (span_chain.c) has the same face and a path of its own.
 */
#include "index/span.h"

#include "engine/log.h"
#include "engine/xxh3.h"
#include "index/span_chain.h"
#include "index/zran.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum unit_state {
    UNIT_COMES, /* fetch->range brings its bytes */
    UNIT_WAITS, /* they are there */
    UNIT_RUNS,
    UNIT_BAD, /* they are to be asked for, once more perhaps */
    UNIT_DONE
};

/* A span of the run on its way. */
struct unit {
    struct work work;
    struct fetch *fetch;
    struct image_span span;
    enum unit_state state;
    unsigned attempt;
    const uint8_t *in; /* in fetch->bytes */
    struct slab *out;
    struct clip_error err;
    int status;
};

struct fetch {
    struct span_chain *chain; /* set: it is one, and has no units */
    struct span_fetch *req;
    struct source *source;
    struct clip_engine *engine;
    struct descriptor blob;
    enum codec codec;
    struct blob_range range;
    bool ranging;
    struct slab *bytes; /* the range's, as far as they have come; NULL: nothing has */
    bool cancelled;
    unsigned n_running;
    int status;
    uint64_t n_units;
    struct unit units[];
};

static void pump(struct fetch *fetch);

bool span_matches(const struct image_span *span, const void *bytes)
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, span->out_len));
    return memcmp(canonical.digest, span->decoded, sizeof(canonical.digest)) == 0;
}

static bool is_chained(const struct clip_image *image, unsigned layer, uint64_t index)
{
    struct image_span span;

    image_span(image, layer, index, &span);
    return span.flags & CHECKPOINT_CHAINED;
}

void span_chain(const struct clip_image *image, unsigned layer, uint64_t index, uint64_t *out_first,
                uint64_t *out_n)
{
    uint64_t first = index, end = index + 1;
    struct image_layer facts;

    image_layer(image, layer, &facts);
    while (is_chained(image, layer, first))
        first--;
    while (end < facts.n_spans && is_chained(image, layer, end))
        end++;
    *out_first = first;
    *out_n = end - first;
}

/* ---- in the pool */

static int decode_verified(struct unit *unit)
{
    const struct image_span *span = &unit->span;
    uint8_t window[CODEC_WINDOW_MAX];
    struct checkpoint at = {
        .in_bit = span->in_bit,
        .out_off = span->out_off,
        .flags = span->flags,
        .window = window,
        .header = span->header,
        .header_bit = span->header_bit,
        .header_bits = span->header_bits,
    };

    if (span->window_len > 0) {
        int r = zran_unpack(span->window, span->window_len, window);
        if (r < 0)
            return err_set(&unit->err, CLIP_EFORMAT, "the index's window does not unpack");
        at.window_len = (uint32_t)r;
    }
    return zran_decode(unit->fetch->codec, &at, unit->in, span->in_len, unit->out->bytes,
                       span->out_len, &unit->err);
}

int span_check_fetched(const struct image_span *span, const void *bytes, struct clip_error *err)
{
    struct digest digest;

    sha256_of(bytes, span->in_len, &digest);
    if (digest_equal(&digest, &span->fetched))
        return 0;
    return err_set(err, CLIP_EDIGEST, "the source's bytes are not those that were indexed");
}

int span_check_decoded(const struct image_span *span, const void *bytes, struct clip_error *err)
{
    if (span_matches(span, bytes))
        return 0;
    return err_set(err, CLIP_EDIGEST, "the decoded bytes have the wrong checksum");
}

static int decode(struct unit *unit)
{
    int r = span_check_fetched(&unit->span, unit->in, &unit->err);

    if (r == 0)
        r = decode_verified(unit);
    return r < 0 ? r : span_check_decoded(&unit->span, unit->out->bytes, &unit->err);
}

static void decode_run(struct work *work)
{
    struct unit *unit = container_of(work, struct unit, work);

    unit->status = decode(unit);
}

/* ---- on the loop */

static void fail_unit(struct unit *unit, int status, const struct clip_error *err)
{
    struct fetch *fetch = unit->fetch;
    struct span_fetch *req = fetch->req;

    unit->state = UNIT_DONE;
    if (fetch->status == 0) {
        fetch->status = status;
        req->err = *err;
    }
    req->on_decoded(req, req->first + (uint64_t)(unit - fetch->units), status, NULL);
}

static void fail_rest(struct fetch *fetch, int status, const struct clip_error *err)
{
    for (uint64_t i = 0; i < fetch->n_units; i++) {
        struct unit *unit = &fetch->units[i];
        if (unit->state != UNIT_RUNS && unit->state != UNIT_DONE)
            fail_unit(unit, status, err);
    }
}

static void finish(struct fetch *fetch)
{
    struct span_fetch *req = fetch->req;
    int status = fetch->status;

    slab_unlock(fetch->bytes);
    free(fetch->blob.media_type);
    free(fetch);
    req->impl = NULL;
    req->on_done(req, status);
}

void span_say_where(struct clip_error *err, struct source *source, const struct descriptor *blob,
                    const struct image_span *span)
{
    char digest[DIGEST_TEXT_LEN + 1];

    err_prefix(err, "%s: blob %s bytes %" PRIu64 "-%" PRIu64, source_name(source),
               digest_format(&blob->digest, digest), span->in_off, span->in_off + span->in_len - 1);
}

/* The bytes are wrong: once more, from elsewhere, or give up. */
static void unit_went_wrong(struct unit *unit)
{
    span_say_where(&unit->err, unit->fetch->source, &unit->fetch->blob, &unit->span);
    if (unit->attempt + 1 >= SPAN_ATTEMPTS || unit->fetch->cancelled) {
        fail_unit(unit, unit->status, &unit->err);
        return;
    }
    log_debug(unit->fetch->engine, "span: attempt %u: %s", unit->attempt + 1, unit->err.message);
    unit->attempt++;
    unit->state = UNIT_BAD;
}

static void decode_done(struct work *work, int status)
{
    struct unit *unit = container_of(work, struct unit, work);
    struct fetch *fetch = unit->fetch;
    struct span_fetch *req = fetch->req;
    struct slab *out = unit->out;

    fetch->n_running--;
    unit->out = NULL;
    if (status < 0) {
        slab_unlock(out);
        err_set(&unit->err, status, "cancelled");
        fail_unit(unit, status, &unit->err);
    } else if (unit->status < 0) {
        slab_unlock(out);
        unit_went_wrong(unit);
    } else {
        unit->state = UNIT_DONE;
        out->len = unit->span.out_len;
        req->on_decoded(req, req->first + (uint64_t)(unit - fetch->units), 0, out);
    }
    pump(fetch);
}

static void start_unit(struct unit *unit)
{
    struct fetch *fetch = unit->fetch;

    unit->out = slab_new(fetch->engine, unit->span.out_len);
    if (!unit->out) {
        err_set(&unit->err, -ENOMEM, "out of memory for a span of %" PRIu64 " bytes",
                unit->span.out_len);
        fail_unit(unit, -ENOMEM, &unit->err);
        return;
    }
    unit->in = fetch->bytes->bytes + (unit->span.in_off - fetch->range.off);
    unit->state = UNIT_RUNS;
    fetch->n_running++;
    work_submit(fetch->engine, &unit->work, fetch->req->lane, decode_run, decode_done);
}

/* Bytes of the range have come, up to `end` of the blob. */
static void bytes_came(struct fetch *fetch, uint64_t end)
{
    for (uint64_t i = 0; i < fetch->n_units; i++) {
        struct unit *unit = &fetch->units[i];
        if (unit->state == UNIT_COMES && unit->span.in_off + unit->span.in_len <= end)
            unit->state = UNIT_WAITS;
    }
}

static void on_more(struct blob_range *range)
{
    struct fetch *fetch = container_of(range, struct fetch, range);

    if (!fetch->bytes)
        fetch->bytes = slab_lock(range->slab);
    bytes_came(fetch, range->off + range->slab->len);
    pump(fetch);
}

static void on_range(struct blob_range *range, int status)
{
    struct fetch *fetch = container_of(range, struct fetch, range);

    fetch->ranging = false;
    if (status < 0) {
        fail_rest(fetch, status, &range->err);
    } else {
        slab_unlock(fetch->bytes); /* it was the same */
        fetch->bytes = range->slab;
        fetch->req->fetched += range->len;
        bytes_came(fetch, range->off + range->len);
    }
    pump(fetch);
}

/* One range for the units [first, first + n). */
static void start_range(struct fetch *fetch, uint64_t first, uint64_t n)
{
    const struct image_span *from = &fetch->units[first].span;
    const struct image_span *to = &fetch->units[first + n - 1].span;

    slab_unlock(fetch->bytes);
    fetch->bytes = NULL;
    fetch->range = (struct blob_range){
        .blob = &fetch->blob,
        .off = from->in_off,
        .len = to->in_off + to->in_len - from->in_off,
        .attempt = fetch->units[first].attempt,
        .lane = fetch->req->lane,
        .on_more = on_more,
    };
    for (uint64_t i = first; i < first + n; i++)
        fetch->units[i].state = UNIT_COMES;
    fetch->ranging = true;
    fetch->req->n_requests++;
    blob_range_fetch(fetch->source, &fetch->range, on_range);
}

static struct unit *unit_in_state(struct fetch *fetch, enum unit_state state)
{
    for (uint64_t i = 0; i < fetch->n_units; i++)
        if (fetch->units[i].state == state)
            return &fetch->units[i];
    return NULL;
}

static void pump(struct fetch *fetch)
{
    unsigned limit = work_pool_threads(fetch->engine);
    struct unit *unit;

    while (!fetch->cancelled && fetch->n_running < limit &&
           (unit = unit_in_state(fetch, UNIT_WAITS)))
        start_unit(unit);
    if (fetch->ranging || fetch->n_running > 0)
        return;
    if (fetch->cancelled) {
        struct clip_error err;
        err_set(&err, -ECANCELED, "cancelled");
        fail_rest(fetch, -ECANCELED, &err);
    }
    unit = unit_in_state(fetch, UNIT_BAD);
    if (unit)
        start_range(fetch, (uint64_t)(unit - fetch->units), 1);
    else
        finish(fetch);
}

static struct fetch *fetch_new(struct source *source, struct span_fetch *req, uint64_t n_units)
{
    struct fetch *fetch = calloc(1, sizeof(*fetch) + n_units * sizeof(fetch->units[0]));
    struct image_layer layer;

    if (!fetch)
        return NULL;
    image_layer(req->image, req->layer, &layer);
    fetch->req = req;
    fetch->source = source;
    fetch->engine = source_engine(source);
    fetch->codec = layer.codec;
    fetch->blob.digest = layer.digest;
    fetch->blob.size = layer.size;
    fetch->blob.media_type = strdup(layer.media_type);
    if (!fetch->blob.media_type) {
        free(fetch);
        return NULL;
    }
    return fetch;
}

static void on_chain_end(void *owner, int status)
{
    struct fetch *fetch = owner;

    fetch->status = status;
    finish(fetch);
}

static int start_chain(struct fetch *fetch, unsigned attempt)
{
    const struct span_chain_options options = {
        .source = fetch->source,
        .blob = &fetch->blob,
        .codec = fetch->codec,
        .req = fetch->req,
        .attempt = attempt,
        .on_end = on_chain_end,
        .owner = fetch,
    };

    return span_chain_open(&options, &fetch->chain);
}

static int start_units(struct fetch *fetch, unsigned attempt)
{
    const struct span_fetch *req = fetch->req;

    fetch->n_units = req->n;
    for (uint64_t i = 0; i < req->n; i++) {
        fetch->units[i].fetch = fetch;
        fetch->units[i].attempt = attempt;
        image_span(req->image, req->layer, req->first + i, &fetch->units[i].span);
        assert(!(fetch->units[i].span.flags & CHECKPOINT_CHAINED));
    }
    start_range(fetch, 0, req->n);
    return 0;
}

int span_fetch_start(struct source *source, struct span_fetch *req, unsigned attempt)
{
    uint64_t first, n;
    struct fetch *fetch;
    int r;

    span_chain(req->image, req->layer, req->first, &first, &n);
    assert(n == 1 || (req->first == first && req->n <= n));
    fetch = fetch_new(source, req, n > 1 ? 0 : req->n);
    if (!fetch)
        return -ENOMEM;
    req->fetched = 0;
    req->n_requests = 0;
    err_clear(&req->err);
    r = n > 1 ? start_chain(fetch, attempt) : start_units(fetch, attempt);
    if (r < 0) {
        free(fetch->blob.media_type);
        free(fetch);
        return r;
    }
    req->impl = fetch;
    return 0;
}

void span_fetch_resume(struct span_fetch *req)
{
    struct fetch *fetch = req->impl;

    if (fetch && fetch->chain)
        span_chain_resume(fetch->chain);
}

void span_fetch_cancel(struct span_fetch *req)
{
    struct fetch *fetch = req->impl;

    if (!fetch || fetch->cancelled)
        return;
    fetch->cancelled = true;
    if (fetch->chain) {
        span_chain_cancel(fetch->chain);
        return;
    }
    if (fetch->ranging)
        blob_range_cancel(&fetch->range);
    for (uint64_t i = 0; i < fetch->n_units; i++)
        if (fetch->units[i].state == UNIT_RUNS)
            work_cancel(&fetch->units[i].work);
}
