/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a layer is:
 * - the blob's stream brings slabs, which wait in `in`; the stream gets credit back as they leave.
 * - inflate jobs turn them into chunks, which wait in `out`; parse jobs use these up in order.
 * - when the stream has ended, both queues are empty and no job runs, one last job finishes the
 *   layer, and on_end hands it over.
 * Possible failure modes are: the stream fails, a stage fails, a digest is wrong in the end. The
 * first failure is kept and the stream is cancelled. A wrong digest starts the blob anew, from
 * elsewhere (`attempt`), BUILD_ATTEMPTS times in all.
 * On cancel: the same with -ECANCELED. maybe_ended() is asked wherever a part ends.
 */
#include "index/build_layer.h"

#include "engine/log.h"
#include "engine/work.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A decoded slab and where spans begin in it. */
struct out_chunk {
    struct slab *slab;
    struct layer_chunk chunk;
};

struct build_layer {
    struct build_layer_options options;
    struct clip_engine *engine;
    struct layer *layer;
    unsigned attempt;

    struct blob_stream *stream; /* NULL: ended */
    struct slab *in[BUILD_IN_SLABS * 2];
    unsigned n_in;
    uint64_t owed; /* credit given and not used yet */

    struct work inflate;
    bool inflating;
    bool lent;     /* in[0] is with the decoder */
    bool told_end; /* the decoder knows that no more comes */
    bool inflated; /* the first stage is through */
    struct out_chunk now;
    struct clip_error inflate_err;
    int inflate_status;

    struct work parse;
    bool parsing, finished;
    struct out_chunk out[BUILD_OUT_SLABS];
    unsigned n_out;
    struct clip_error parse_err;
    int parse_status;

    struct later later;
    int status; /* the first failure */
    struct clip_error err;
};

static void pump(struct build_layer *bl);

static void fail(struct build_layer *bl, int status, const struct clip_error *err)
{
    if (bl->status == 0) {
        bl->status = status;
        bl->err = *err;
    }
    if (bl->stream)
        blob_stream_cancel(bl->stream);
}

static void drop_slabs(struct build_layer *bl)
{
    for (unsigned i = 0; i < bl->n_in; i++)
        slab_unlock(bl->in[i]);
    for (unsigned i = 0; i < bl->n_out; i++)
        slab_unlock(bl->out[i].slab);
    slab_unlock(bl->now.slab);
    bl->n_in = bl->n_out = 0;
    bl->now.slab = NULL;
}

/* ---- the stream */

/* Room for what is on its way keeps the queue inside its array: a source may cut smaller slabs
 * than BUILD_IN_LEN, so the array is twice what the credit is worth. */
static void give_credit(struct build_layer *bl)
{
    uint64_t waiting = bl->owed;
    uint64_t room = (uint64_t)BUILD_IN_SLABS * BUILD_IN_LEN;

    for (unsigned i = 0; i < bl->n_in; i++)
        waiting += bl->in[i]->len;
    if (!bl->stream || bl->n_in > BUILD_IN_SLABS || waiting + BUILD_IN_LEN > room)
        return;
    bl->owed += room - waiting;
    blob_stream_credit(bl->stream, room - waiting);
}

static void on_slab(void *data, struct slab *slab)
{
    struct build_layer *bl = data;

    bl->owed -= slab->len < bl->owed ? slab->len : bl->owed;
    if (bl->status < 0 || bl->n_in == BUILD_IN_SLABS * 2) {
        struct clip_error err;
        slab_unlock(slab);
        err_set(&err, -ENOBUFS, "the source cut the blob into too small pieces");
        fail(bl, -ENOBUFS, &err);
        return;
    }
    bl->in[bl->n_in++] = slab;
    pump(bl);
}

static void on_stream_end(void *data, int status, const struct clip_error *err)
{
    struct build_layer *bl = data;

    bl->stream = NULL;
    if (status < 0)
        fail(bl, status, err);
    pump(bl);
}

static int open_stream(struct build_layer *bl, struct clip_error *err)
{
    const struct blob_stream_options options = {
        .blob = bl->options.blob,
        .attempt = bl->attempt,
        .lane = WORK_BULK,
        .on_slab = on_slab,
        .on_end = on_stream_end,
        .data = bl,
    };

    bl->owed = 0;
    return blob_stream_open(bl->options.source, &options, &bl->stream, err);
}

static int open_layer(struct build_layer *bl, struct clip_error *err)
{
    const struct layer_options options = {
        .digest = &bl->options.blob->digest,
        .diff_id = bl->options.diff_id,
        .size = bl->options.blob->size,
        .media_type = bl->options.blob->media_type,
        .span_size = bl->options.span_size,
    };

    if (layer_new(&options, &bl->layer) < 0)
        return err_set(err, -ENOMEM, "out of memory for a layer");
    return 0;
}

/* ---- the first stage */

static void inflate_run(struct work *work)
{
    struct build_layer *bl = container_of(work, struct build_layer, inflate);

    if (!bl->lent && bl->n_in > 0) {
        layer_feed(bl->layer, bl->in[0]->bytes, bl->in[0]->len);
        bl->lent = true;
    } else if (!bl->lent && !bl->told_end) {
        layer_end(bl->layer);
        bl->told_end = true;
    }
    bl->inflate_status = layer_inflate(bl->layer, &bl->now.chunk, &bl->inflate_err);
}

static void hand_on_chunk(struct build_layer *bl)
{
    bl->now.slab->len = bl->now.chunk.len;
    bl->out[bl->n_out++] = bl->now;
    bl->now.slab = NULL;
}

static void take_in_slab(struct build_layer *bl)
{
    bl->lent = false;
    if (bl->n_in == 0)
        return;
    slab_unlock(bl->in[0]);
    bl->n_in--;
    memmove(&bl->in[0], &bl->in[1], bl->n_in * sizeof(bl->in[0]));
}

static void inflate_done(struct work *work, int status)
{
    struct build_layer *bl = container_of(work, struct build_layer, inflate);

    bl->inflating = false;
    if (status < 0)
        err_set(&bl->inflate_err, status, "cancelled");
    else
        status = bl->inflate_status;
    if (status < 0) {
        fail(bl, status, &bl->inflate_err);
    } else if (bl->status == 0) {
        if (status == LAYER_MORE_IN)
            take_in_slab(bl);
        else
            hand_on_chunk(bl);
        bl->inflated = status == LAYER_END;
        bl->options.on_progress(bl->options.owner, layer_in_off(bl->layer));
    }
    pump(bl);
}

static bool has_input(const struct build_layer *bl)
{
    return bl->n_in > 0 || !bl->stream;
}

static void start_inflate(struct build_layer *bl)
{
    struct clip_error err;

    if (!bl->now.slab) {
        bl->now.slab = slab_new(bl->engine, BUILD_OUT_LEN);
        if (!bl->now.slab) {
            err_set(&err, -ENOMEM, "out of memory for decoded bytes");
            fail(bl, -ENOMEM, &err);
            return;
        }
        bl->now.chunk =
            (struct layer_chunk){.bytes = bl->now.slab->bytes, .cap = bl->now.slab->cap};
    }
    bl->inflating = true;
    work_submit(bl->engine, &bl->inflate, WORK_BULK, inflate_run, inflate_done);
}

/* ---- the second stage */

static void parse_run(struct work *work)
{
    struct build_layer *bl = container_of(work, struct build_layer, parse);

    bl->parse_status = layer_parse(bl->layer, &bl->out[0].chunk, &bl->parse_err);
}

static void parse_failed(struct build_layer *bl, int status)
{
    if (status == -ECANCELED)
        err_set(&bl->parse_err, status, "cancelled");
    fail(bl, status, &bl->parse_err);
}

static void parse_done(struct work *work, int status)
{
    struct build_layer *bl = container_of(work, struct build_layer, parse);

    bl->parsing = false;
    slab_unlock(bl->out[0].slab);
    bl->n_out--;
    memmove(&bl->out[0], &bl->out[1], bl->n_out * sizeof(bl->out[0]));
    if (status == 0)
        status = bl->parse_status;
    if (status < 0)
        parse_failed(bl, status);
    pump(bl);
}

/* ---- the end */

static void finish_run(struct work *work)
{
    struct build_layer *bl = container_of(work, struct build_layer, parse);

    bl->parse_status = layer_finish(bl->layer, &bl->parse_err);
}

/* The bytes are not those that the manifest names: perhaps somebody else has them. */
static bool begin_again(struct build_layer *bl)
{
    if (bl->status != CLIP_EDIGEST || bl->attempt + 1 >= BUILD_ATTEMPTS)
        return false;
    log_debug(bl->engine, "layer: attempt %u: %s", bl->attempt + 1, bl->err.message);
    layer_free(bl->layer);
    bl->layer = NULL;
    bl->attempt++;
    bl->lent = bl->told_end = bl->inflated = bl->finished = false;
    bl->status = 0;
    bl->status = open_layer(bl, &bl->err);
    if (bl->status == 0)
        bl->status = open_stream(bl, &bl->err);
    return bl->status == 0;
}

static void finish_done(struct work *work, int status)
{
    struct build_layer *bl = container_of(work, struct build_layer, parse);

    bl->parsing = false;
    bl->finished = true;
    if (status == 0)
        status = bl->parse_status;
    if (status < 0)
        parse_failed(bl, status);
    begin_again(bl);
    pump(bl);
}

static void maybe_ended(struct build_layer *bl)
{
    struct build_layer_options options = bl->options;
    struct clip_error err = bl->err;
    int status = bl->status;
    struct layer *layer = bl->layer;

    if (bl->stream || bl->inflating || bl->parsing)
        return;
    drop_slabs(bl);
    later_cancel(&bl->later);
    free(bl);
    if (status < 0) {
        layer_free(layer);
        layer = NULL;
    } else if (layer_media_type_lies(layer)) {
        log_warn(source_engine(options.source), "layer: the blob is %s, whatever its media type %s",
                 codec_name(layer_result(layer)->codec), options.blob->media_type);
    }
    options.on_end(options.owner, status, &err, layer);
}

/* To be asked wherever something changed: which stage can go on? */
static void pump(struct build_layer *bl)
{
    if (bl->status == 0 && !bl->inflating && !bl->inflated && has_input(bl) &&
        bl->n_out < BUILD_OUT_SLABS - 1)
        start_inflate(bl);
    if (bl->status == 0 && !bl->parsing && bl->n_out > 0) {
        bl->parsing = true;
        work_submit(bl->engine, &bl->parse, WORK_BULK, parse_run, parse_done);
    }
    if (bl->status == 0 && bl->inflated && !bl->parsing && !bl->finished && !bl->stream) {
        bl->parsing = true;
        work_submit(bl->engine, &bl->parse, WORK_BULK, finish_run, finish_done);
    }
    give_credit(bl);
    if (bl->status < 0 || bl->finished)
        maybe_ended(bl);
}

static void pump_later(struct later *later)
{
    pump(container_of(later, struct build_layer, later));
}

void build_layer_cancel(struct build_layer *bl)
{
    struct clip_error err;

    err_set(&err, -ECANCELED, "cancelled");
    fail(bl, -ECANCELED, &err);
    later_call(bl->engine, &bl->later, pump_later);
}

int build_layer_open(const struct build_layer_options *options, struct build_layer **out,
                     struct clip_error *err)
{
    struct build_layer *bl = calloc(1, sizeof(*bl));
    int r;

    if (!bl)
        return err_set(err, -ENOMEM, "out of memory for a layer");
    bl->options = *options;
    bl->engine = source_engine(options->source);
    later_init(&bl->later);
    r = open_layer(bl, err);
    if (r == 0)
        r = open_stream(bl, err);
    if (r < 0) {
        layer_free(bl->layer);
        free(bl);
        return r;
    }
    give_credit(bl);
    *out = bl;
    return 0;
}
