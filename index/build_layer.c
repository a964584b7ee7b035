/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a layer is:
 * - the blob's stream brings slabs, which wait in `in`; the stream gets credit back as they are
 *   done with.
 * - inflate jobs turn them into chunks. What they have used up waits in `used` for the seal jobs,
 *   the chunks wait in `out` for the parse jobs; both go in order.
 * - when the stream has ended, all queues are empty and no job runs, one last job finishes the
 *   layer, and on_end hands it over.
 * Possible failure modes are: the stream fails, a stage fails, a digest is wrong in the end. The
 * first failure is kept and the stream is cancelled. Wrong bytes start the blob anew, from
 * elsewhere (`attempt`), BUILD_ATTEMPTS times in all, if the source has an elsewhere.
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

/* What the decoder is through with, and where it lies; NULL: only checkpoints, at the end. */
struct used_piece {
    struct slab *slab;
    struct layer_piece piece;
};

/* One ends with each slab that is used up, with each chunk that is full, and with the blob. */
#define BUILD_JOB_PIECES (BUILD_IN_JOB + BUILD_OUT_JOB + 1)

struct build_layer {
    struct build_layer_options options;
    struct clip_engine *engine;
    struct layer *layer;
    unsigned attempt;

    struct blob_stream *stream; /* NULL: ended */
    struct slab *in[BUILD_IN_QUEUE];
    unsigned n_in;
    uint64_t owed; /* credit given and not used yet */

    struct work inflate;
    bool inflating;
    unsigned n_lent;   /* for the job: so many of `in` */
    bool may_tell_end; /* for the job: no more comes behind them */
    unsigned n_fed;    /* the job's: the decoder was given so many of them ... */
    unsigned n_eaten;  /* ... and is through with so many */
    bool told_end;     /* the decoder knows that no more comes */
    struct used_piece pieces[BUILD_JOB_PIECES];
    unsigned n_pieces;
    struct out_chunk now[BUILD_OUT_JOB]; /* for the job: to be filled one after the other */
    unsigned n_now;
    unsigned n_full; /* the job's */
    struct clip_error inflate_err;
    int inflate_status;
    bool inflated; /* the blob is through the decoder */

    struct work seal;
    unsigned n_sealing; /* in the job: so many of `used`; 0: none runs */
    struct used_piece used[BUILD_USED_PIECES + BUILD_JOB_PIECES];
    unsigned n_used;
    struct clip_error seal_err;
    int seal_status;

    struct work parse;
    bool parsing, finished;
    unsigned n_parsing; /* in the job: so many of `out` */
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

/* Forgets the first n of them. */
static void shift(void *items, unsigned *n_items, size_t item_len, unsigned n)
{
    *n_items -= n;
    memmove(items, (char *)items + n * item_len, *n_items * item_len);
}

static void drop_slabs(struct build_layer *bl)
{
    for (unsigned i = 0; i < bl->n_in; i++)
        slab_unlock(bl->in[i]);
    for (unsigned i = 0; i < bl->n_used; i++) {
        slab_unlock(bl->used[i].slab);
        layer_piece_free(&bl->used[i].piece);
    }
    for (unsigned i = 0; i < bl->n_pieces; i++)
        layer_piece_free(&bl->pieces[i].piece);
    for (unsigned i = 0; i < bl->n_out; i++)
        slab_unlock(bl->out[i].slab);
    for (unsigned i = 0; i < bl->n_now; i++)
        slab_unlock(bl->now[i].slab);
    bl->n_in = bl->n_fed = bl->n_eaten = bl->n_pieces = bl->n_used = bl->n_out = 0;
    bl->n_now = bl->n_full = 0;
}

/* ---- the stream */

/* Room for what is on its way keeps the queue inside its array: small slabs are gathered, so that
 * what the credit is worth never takes more than BUILD_IN_QUEUE of them. */
static void give_credit(struct build_layer *bl)
{
    uint64_t waiting = bl->owed;

    for (unsigned i = 0; i < bl->n_in; i++)
        waiting += bl->in[i]->len;
    for (unsigned i = 0; i < bl->n_used; i++)
        waiting += bl->used[i].piece.len;
    if (!bl->stream || waiting + BUILD_IN_LEN > BUILD_IN_ROOM)
        return;
    bl->owed += BUILD_IN_ROOM - waiting;
    blob_stream_credit(bl->stream, BUILD_IN_ROOM - waiting);
}

/* The slab that small ones are gathered in: the last in line, unless it is with the decoder. */
static struct slab *find_room(struct build_layer *bl, size_t len)
{
    unsigned n_taken = bl->inflating ? bl->n_lent : bl->n_fed;
    struct slab *last;

    if (bl->n_in <= n_taken)
        return NULL;
    last = bl->in[bl->n_in - 1];
    return last->cap - last->len >= len ? last : NULL;
}

/* Takes `slab`. A network brings bytes as it likes, a few perhaps. */
static int queue_slab(struct build_layer *bl, struct slab *slab)
{
    struct slab *room = find_room(bl, slab->len);

    if (!room && slab->len >= BUILD_IN_LEN / 4) {
        assert(bl->n_in < BUILD_IN_QUEUE);
        bl->in[bl->n_in++] = slab;
        return 0;
    }
    if (!room) {
        room = slab_new(bl->engine, BUILD_IN_LEN);
        if (!room) {
            slab_unlock(slab);
            return -ENOMEM;
        }
        assert(bl->n_in < BUILD_IN_QUEUE);
        bl->in[bl->n_in++] = room;
    }
    memcpy(room->bytes + room->len, slab->bytes, slab->len);
    room->len += slab->len;
    slab_unlock(slab);
    return 0;
}

static void on_slab(void *data, struct slab *slab)
{
    struct build_layer *bl = data;
    struct clip_error err;

    bl->owed -= slab->len < bl->owed ? slab->len : bl->owed;
    if (bl->status < 0) {
        slab_unlock(slab);
        return;
    }
    if (queue_slab(bl, slab) < 0)
        fail(bl, err_set(&err, -ENOMEM, "out of memory for a slab"), &err);
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

/* ---- inflate */

/* Gives the decoder the next slab, or tells it that there is none. False: it has to wait. */
static bool feed(struct build_layer *bl)
{
    if (bl->n_fed < bl->n_lent) {
        layer_feed(bl->layer, bl->in[bl->n_fed]->bytes, bl->in[bl->n_fed]->len);
        bl->n_fed++;
        return true;
    }
    if (!bl->may_tell_end || bl->told_end)
        return false;
    layer_end(bl->layer);
    bl->told_end = true;
    return true;
}

/* Until a chunk is full, the blob ends, or the decoder wants more. */
static int inflate_some(struct build_layer *bl)
{
    struct layer_chunk *chunk = &bl->now[bl->n_full].chunk;
    int status = layer_inflate(bl->layer, chunk, &bl->inflate_err);

    bl->pieces[bl->n_pieces++] = (struct used_piece){
        .slab = bl->told_end || bl->n_fed == 0 ? NULL : bl->in[bl->n_fed - 1],
        .piece = layer_take_piece(bl->layer),
    };
    if (status == LAYER_CHUNK || status == LAYER_END)
        bl->n_full++;
    return status;
}

/* Until all chunks are full, the blob ends, or all that was lent is used up. */
static void inflate_run(struct work *work)
{
    struct build_layer *bl = container_of(work, struct build_layer, inflate);
    bool hungry = bl->n_fed == 0 && !bl->told_end;

    bl->inflate_status = LAYER_MORE_IN;
    while (bl->n_full < bl->n_now && (!hungry || feed(bl))) {
        bl->inflate_status = inflate_some(bl);
        hungry = bl->inflate_status == LAYER_MORE_IN;
        bl->n_eaten += hungry;
        if (bl->inflate_status == LAYER_END || bl->inflate_status < 0)
            return;
    }
}

static void hand_on_chunks(struct build_layer *bl)
{
    for (unsigned i = 0; i < bl->n_full; i++) {
        bl->now[i].slab->len = bl->now[i].chunk.len;
        bl->out[bl->n_out++] = bl->now[i];
    }
    shift(bl->now, &bl->n_now, sizeof(bl->now[0]), bl->n_full);
    bl->n_full = 0;
}

static void hand_on_pieces(struct build_layer *bl)
{
    assert(bl->n_eaten <= bl->n_fed && bl->n_fed <= bl->n_lent);
    for (unsigned i = 0; i < bl->n_pieces; i++) {
        if (bl->pieces[i].slab)
            slab_lock(bl->pieces[i].slab);
        bl->used[bl->n_used++] = bl->pieces[i];
    }
    for (unsigned i = 0; i < bl->n_eaten; i++)
        slab_unlock(bl->in[i]);
    shift(bl->in, &bl->n_in, sizeof(bl->in[0]), bl->n_eaten);
    bl->n_fed -= bl->n_eaten;
    bl->n_pieces = bl->n_eaten = 0;
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
        hand_on_pieces(bl);
        hand_on_chunks(bl);
        bl->inflated = status == LAYER_END;
        bl->options.on_progress(bl->options.owner, layer_in_off(bl->layer));
    }
    pump(bl);
}

/* False: no memory for any. */
static bool lend_chunks(struct build_layer *bl)
{
    while (bl->n_now < BUILD_OUT_JOB && bl->n_now + bl->n_out < BUILD_OUT_SLABS) {
        struct slab *slab = slab_new(bl->engine, BUILD_OUT_LEN);
        if (!slab)
            break;
        bl->now[bl->n_now++] = (struct out_chunk){
            .slab = slab,
            .chunk = {.bytes = slab->bytes, .cap = slab->cap},
        };
    }
    return bl->n_now > 0;
}

static void start_inflate(struct build_layer *bl)
{
    struct clip_error err;

    if (!lend_chunks(bl)) {
        err_set(&err, -ENOMEM, "out of memory for decoded bytes");
        fail(bl, -ENOMEM, &err);
        return;
    }
    /* decided here, because the queue grows while the job runs */
    bl->n_lent = bl->n_in < BUILD_IN_JOB ? bl->n_in : BUILD_IN_JOB;
    bl->may_tell_end = !bl->stream && bl->n_lent == bl->n_in;
    bl->inflating = true;
    work_submit(bl->engine, &bl->inflate, WORK_BULK, inflate_run, inflate_done);
}

static bool can_inflate(const struct build_layer *bl)
{
    return !bl->inflating && !bl->inflated && (bl->n_in > 0 || !bl->stream) &&
           bl->n_out < BUILD_OUT_SLABS && bl->n_used < BUILD_USED_PIECES;
}

/* ---- seal */

static void seal_run(struct work *work)
{
    struct build_layer *bl = container_of(work, struct build_layer, seal);

    bl->seal_status = 0;
    for (unsigned i = 0; i < bl->n_sealing && bl->seal_status == 0; i++)
        bl->seal_status = layer_seal(bl->layer, &bl->used[i].piece, &bl->seal_err);
}

static void seal_done(struct work *work, int status)
{
    struct build_layer *bl = container_of(work, struct build_layer, seal);

    for (unsigned i = 0; i < bl->n_sealing; i++) {
        slab_unlock(bl->used[i].slab);
        layer_piece_free(&bl->used[i].piece);
    }
    shift(bl->used, &bl->n_used, sizeof(bl->used[0]), bl->n_sealing);
    bl->n_sealing = 0;
    if (status < 0)
        err_set(&bl->seal_err, status, "cancelled");
    else
        status = bl->seal_status;
    if (status < 0)
        fail(bl, status, &bl->seal_err);
    pump(bl);
}

static void start_seal(struct build_layer *bl)
{
    bl->n_sealing = bl->n_used;
    work_submit(bl->engine, &bl->seal, WORK_BULK, seal_run, seal_done);
}

/* ---- parse */

static void parse_run(struct work *work)
{
    struct build_layer *bl = container_of(work, struct build_layer, parse);
    struct layer_sink *sink = bl->options.sink;

    if (sink)
        sink->take(sink, &bl->out[0].chunk);
    bl->parse_status = 0;
    for (unsigned i = 0; i < bl->n_parsing && bl->parse_status == 0; i++)
        bl->parse_status = layer_parse(bl->layer, &bl->out[i].chunk, &bl->parse_err);
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
    for (unsigned i = 0; i < bl->n_parsing; i++)
        slab_unlock(bl->out[i].slab);
    shift(bl->out, &bl->n_out, sizeof(bl->out[0]), bl->n_parsing);
    if (bl->options.sink)
        bl->options.sink->taken(bl->options.sink);
    if (status == 0)
        status = bl->parse_status;
    if (status < 0)
        parse_failed(bl, status);
    pump(bl);
}

/* A sink is told of one chunk at a time. */
static void start_parse(struct build_layer *bl)
{
    bl->n_parsing = bl->options.sink ? 1 : bl->n_out;
    bl->parsing = true;
    work_submit(bl->engine, &bl->parse, WORK_BULK, parse_run, parse_done);
}

/* ---- the end */

static void finish_run(struct work *work)
{
    struct build_layer *bl = container_of(work, struct build_layer, parse);

    bl->parse_status = layer_finish(bl->layer, &bl->parse_err);
}

/* The bytes are not those that the manifest names, or not even what they should be: perhaps
 * somebody else has them. */
static bool begin_again(struct build_layer *bl)
{
    if ((bl->status != CLIP_EDIGEST && bl->status != CLIP_EFORMAT) ||
        !source_may_differ(bl->options.source) || bl->attempt + 1 >= BUILD_ATTEMPTS)
        return false;
    log_debug(bl->engine, "layer: attempt %u: %s", bl->attempt + 1, bl->err.message);
    drop_slabs(bl);
    layer_free(bl->layer);
    bl->layer = NULL;
    bl->attempt++;
    if (bl->options.sink)
        bl->options.sink->anew(bl->options.sink);
    bl->told_end = bl->inflated = bl->finished = false;
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
    pump(bl);
}

static void maybe_ended(struct build_layer *bl)
{
    struct build_layer_options options = bl->options;
    struct clip_error err;
    struct layer *layer;
    int status;

    if (bl->stream || bl->inflating || bl->n_sealing || bl->parsing)
        return;
    if (begin_again(bl)) {
        give_credit(bl);
        return;
    }
    err = bl->err; /* beginning again may have failed */
    status = bl->status;
    layer = bl->layer;
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

static bool is_through(const struct build_layer *bl)
{
    return bl->inflated && !bl->stream && bl->n_used == 0 && bl->n_out == 0;
}

/* To be asked wherever something changed: which stage can go on? */
static void pump(struct build_layer *bl)
{
    if (bl->status == 0 && can_inflate(bl))
        start_inflate(bl);
    if (bl->status == 0 && !bl->n_sealing && bl->n_used > 0)
        start_seal(bl);
    if (bl->status == 0 && !bl->parsing && bl->n_out > 0)
        start_parse(bl);
    if (bl->status == 0 && is_through(bl) && !bl->parsing && !bl->finished) {
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
