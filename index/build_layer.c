/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a layer is:
 * - the blob's stream brings slabs, which wait in `in`; the stream gets credit back as they are
 *   done with.
 * - inflate jobs turn them into chunks, one after the other; the loop lends each slabs and chunks
 *   while the one before it runs. What they have used up waits in `used` for the seal jobs, the
 *   chunks wait in `out` for the parse jobs; both go in order.
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

/* One runs, and the next is behind it, so that the decoder does not wait for a turn of the loop.
 * Slabs and chunks are counted from the blob's start. */
struct inflate_job {
    struct work work;
    struct build_layer *bl;
    bool out;          /* not answered yet */
    uint64_t in_max;   /* for it: up to this slab, ... */
    bool may_tell_end; /* ... behind which no more comes, ... */
    uint64_t out_max;  /* ... and up to this chunk */
    uint64_t eaten, full;
    uint64_t fed, in_off; /* its: how far the decoder was when it ended */
    struct used_piece pieces[BUILD_JOB_PIECES];
    unsigned n_pieces;
    int status;
    struct clip_error err;
};

struct build_layer {
    struct build_layer_options options;
    struct clip_engine *engine;
    struct layer *layer;
    unsigned attempt;

    struct blob_stream *stream;      /* NULL: ended */
    struct slab *in[BUILD_IN_QUEUE]; /* by number, modulo */
    uint64_t in_first, in_end;
    uint64_t in_lent; /* up to which a job has them, or has fed them */
    uint64_t owed;    /* credit given and not used yet */

    struct inflate_job jobs[2];
    unsigned n_inflating;
    bool inflated; /* the blob is through the decoder */
    /* the running job's */
    uint64_t fed, eaten; /* slabs that the decoder was given, and is through with */
    uint64_t full;       /* chunks */
    bool told_end;       /* the decoder knows that no more comes */
    bool stopped;        /* at the blob's end, or by a failure */

    struct work seal;
    unsigned n_sealing; /* in the job: so many of `used`; 0: none runs */
    struct used_piece used[BUILD_USED_PIECES + 2 * BUILD_JOB_PIECES];
    unsigned n_used;
    struct clip_error seal_err;
    int seal_status;

    struct work parse;
    bool parsing, finished;
    unsigned n_parsing;                    /* in the job: so many of `out` */
    struct out_chunk out[BUILD_OUT_SLABS]; /* by number, modulo */
    uint64_t out_first, out_full, out_end; /* in line, full up to there, and the others */
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

static struct slab **in_slab(struct build_layer *bl, uint64_t number)
{
    return &bl->in[number % BUILD_IN_QUEUE];
}

static struct out_chunk *out_chunk(struct build_layer *bl, uint64_t number)
{
    return &bl->out[number % BUILD_OUT_SLABS];
}

static void free_pieces(struct inflate_job *job)
{
    for (unsigned i = 0; i < job->n_pieces; i++)
        layer_piece_free(&job->pieces[i].piece);
    job->n_pieces = 0;
}

static void drop_slabs(struct build_layer *bl)
{
    for (uint64_t i = bl->in_first; i < bl->in_end; i++)
        slab_unlock(*in_slab(bl, i));
    for (unsigned i = 0; i < bl->n_used; i++) {
        slab_unlock(bl->used[i].slab);
        layer_piece_free(&bl->used[i].piece);
    }
    free_pieces(&bl->jobs[0]);
    free_pieces(&bl->jobs[1]);
    for (uint64_t i = bl->out_first; i < bl->out_end; i++)
        slab_unlock(out_chunk(bl, i)->slab);
    bl->n_used = 0;
    bl->in_first = bl->in_end = bl->in_lent = bl->fed = bl->eaten = 0;
    bl->out_first = bl->out_full = bl->out_end = bl->full = 0;
}

/* ---- the stream */

/* Room for what is on its way keeps the queue inside its array: small slabs are gathered, so that
 * what the credit is worth never takes more than BUILD_IN_QUEUE of them. */
static void give_credit(struct build_layer *bl)
{
    uint64_t waiting = bl->owed;

    for (uint64_t i = bl->in_first; i < bl->in_end; i++)
        waiting += (*in_slab(bl, i))->len;
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
    struct slab *last;

    if (bl->in_end <= bl->in_lent)
        return NULL;
    last = *in_slab(bl, bl->in_end - 1);
    return last->cap - last->len >= len ? last : NULL;
}

static void put_in_line(struct build_layer *bl, struct slab *slab)
{
    assert(bl->in_end - bl->in_first < BUILD_IN_QUEUE);
    *in_slab(bl, bl->in_end++) = slab;
}

/* Takes `slab`. A network brings bytes as it likes, a few perhaps. */
static int queue_slab(struct build_layer *bl, struct slab *slab)
{
    struct slab *room = find_room(bl, slab->len);

    if (!room && slab->len >= BUILD_IN_LEN / 4) {
        put_in_line(bl, slab);
        return 0;
    }
    if (!room) {
        room = slab_new(bl->engine, BUILD_IN_LEN);
        if (!room) {
            slab_unlock(slab);
            return -ENOMEM;
        }
        put_in_line(bl, room);
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
static bool feed(struct build_layer *bl, const struct inflate_job *job)
{
    if (bl->fed < job->in_max) {
        struct slab *slab = *in_slab(bl, bl->fed++);

        layer_feed(bl->layer, slab->bytes, slab->len);
        return true;
    }
    if (!job->may_tell_end || bl->told_end)
        return false;
    layer_end(bl->layer);
    bl->told_end = true;
    return true;
}

/* Until a chunk is full, the blob ends, or the decoder wants more. */
static int inflate_some(struct build_layer *bl, struct inflate_job *job)
{
    int status = layer_inflate(bl->layer, &out_chunk(bl, bl->full)->chunk, &job->err);

    job->pieces[job->n_pieces++] = (struct used_piece){
        .slab = bl->told_end || bl->fed == 0 ? NULL : *in_slab(bl, bl->fed - 1),
        .piece = layer_take_piece(bl->layer),
    };
    if (status == LAYER_CHUNK || status == LAYER_END)
        bl->full++;
    bl->stopped = status == LAYER_END || status < 0;
    return status;
}

/* Until all chunks are full, the blob ends, or all that was lent is used up. */
static void inflate_run(struct work *work)
{
    struct inflate_job *job = container_of(work, struct inflate_job, work);
    struct build_layer *bl = job->bl;
    bool hungry = bl->fed == bl->eaten && !bl->told_end;

    job->status = LAYER_MORE_IN;
    while (!bl->stopped && bl->full < job->out_max && job->n_pieces < BUILD_JOB_PIECES &&
           (!hungry || feed(bl, job))) {
        job->status = inflate_some(bl, job);
        hungry = job->status == LAYER_MORE_IN;
        bl->eaten += hungry && !bl->told_end;
    }
    job->eaten = bl->eaten;
    job->fed = bl->fed;
    job->full = bl->full;
    job->in_off = layer_in_off(bl->layer);
}

static void hand_on_chunks(struct build_layer *bl, const struct inflate_job *job)
{
    for (; bl->out_full < job->full; bl->out_full++) {
        struct out_chunk *full = out_chunk(bl, bl->out_full);

        full->slab->len = full->chunk.len;
    }
}

static void hand_on_pieces(struct build_layer *bl, struct inflate_job *job)
{
    for (unsigned i = 0; i < job->n_pieces; i++) {
        if (job->pieces[i].slab)
            slab_lock(job->pieces[i].slab);
        bl->used[bl->n_used++] = job->pieces[i];
    }
    job->n_pieces = 0;
    for (; bl->in_first < job->eaten; bl->in_first++)
        slab_unlock(*in_slab(bl, bl->in_first));
}

static void inflate_done(struct work *work, int status)
{
    struct inflate_job *job = container_of(work, struct inflate_job, work);
    struct build_layer *bl = job->bl;

    job->out = false;
    if (--bl->n_inflating == 0)
        bl->in_lent = job->fed;
    if (status < 0)
        err_set(&job->err, status, "cancelled");
    else
        status = job->status;
    if (status < 0) {
        fail(bl, status, &job->err);
    } else if (bl->status == 0) {
        hand_on_pieces(bl, job);
        hand_on_chunks(bl, job);
        bl->inflated = bl->inflated || status == LAYER_END;
        bl->options.on_progress(bl->options.owner, job->in_off);
    }
    pump(bl);
}

/* Which of the two jobs is out, if one is; the other one is next. */
static unsigned job_out(const struct build_layer *bl)
{
    return bl->jobs[0].out ? 0 : 1;
}

/* Up to which chunk and slab it goes. */
static uint64_t out_before(const struct build_layer *bl)
{
    return bl->n_inflating ? bl->jobs[job_out(bl)].out_max : bl->out_full;
}

static uint64_t in_before(const struct build_layer *bl)
{
    return bl->n_inflating ? bl->jobs[job_out(bl)].in_max : bl->in_first;
}

/* False: no memory for any. */
static bool lend_chunks(struct build_layer *bl, struct inflate_job *job)
{
    uint64_t max = out_before(bl) + BUILD_OUT_JOB;

    if (max > bl->out_first + BUILD_OUT_SLABS)
        max = bl->out_first + BUILD_OUT_SLABS;
    for (; bl->out_end < max; bl->out_end++) {
        struct slab *slab = slab_new(bl->engine, BUILD_OUT_LEN);
        if (!slab)
            break;
        *out_chunk(bl, bl->out_end) = (struct out_chunk){
            .slab = slab,
            .chunk = {.bytes = slab->bytes, .cap = slab->cap},
        };
    }
    job->out_max = max < bl->out_end ? max : bl->out_end;
    return job->out_max > out_before(bl);
}

/* Behind another job it gets no slab that more is gathered in. */
static void lend_slabs(struct build_layer *bl, struct inflate_job *job)
{
    uint64_t end = bl->in_end, max = in_before(bl) + BUILD_IN_JOB;

    if (bl->n_inflating && bl->stream && end > in_before(bl) && find_room(bl, BUILD_IN_LEN / 4))
        end--;
    job->in_max = end < max ? end : max;
    job->may_tell_end = !bl->stream && job->in_max == bl->in_end;
    if (job->in_max > bl->in_lent)
        bl->in_lent = job->in_max;
}

static void start_inflate(struct build_layer *bl)
{
    struct inflate_job *job = &bl->jobs[1 - job_out(bl)];
    struct inflate_job *before = bl->n_inflating ? &bl->jobs[job_out(bl)] : NULL;
    struct clip_error err;

    if (!lend_chunks(bl, job)) {
        err_set(&err, -ENOMEM, "out of memory for decoded bytes");
        fail(bl, -ENOMEM, &err);
        return;
    }
    lend_slabs(bl, job);
    job->bl = bl;
    job->out = true;
    bl->n_inflating++;
    work_submit_behind(bl->engine, &job->work, WORK_BULK, inflate_run, inflate_done,
                       before ? &before->work : NULL);
}

/* Nothing to be decoded, and no end to be told, is a job's for the other one. */
static bool can_inflate(const struct build_layer *bl)
{
    bool has_input = bl->in_end > bl->in_first || (!bl->stream && !bl->n_inflating);

    return bl->n_inflating < 2 && !bl->inflated && has_input &&
           out_before(bl) < bl->out_first + BUILD_OUT_SLABS && bl->n_used < BUILD_USED_PIECES;
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
    bl->n_used -= bl->n_sealing;
    memmove(bl->used, bl->used + bl->n_sealing, bl->n_used * sizeof(bl->used[0]));
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
        sink->take(sink, &out_chunk(bl, bl->out_first)->chunk);
    bl->parse_status = 0;
    for (unsigned i = 0; i < bl->n_parsing && bl->parse_status == 0; i++)
        bl->parse_status =
            layer_parse(bl->layer, &out_chunk(bl, bl->out_first + i)->chunk, &bl->parse_err);
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
    for (; bl->n_parsing > 0; bl->n_parsing--)
        slab_unlock(out_chunk(bl, bl->out_first++)->slab);
    if (bl->options.sink)
        bl->options.sink->taken(bl->options.sink);
    if (status == 0)
        status = bl->parse_status;
    if (status < 0)
        parse_failed(bl, status);
    pump(bl);
}

/* Chunks that wait to be parsed. */
static unsigned n_full(const struct build_layer *bl)
{
    return (unsigned)(bl->out_full - bl->out_first);
}

/* A sink is told of one chunk at a time. */
static void start_parse(struct build_layer *bl)
{
    bl->n_parsing = bl->options.sink ? 1 : n_full(bl);
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
    bl->told_end = bl->stopped = bl->inflated = bl->finished = false;
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

    if (bl->stream || bl->n_inflating || bl->n_sealing || bl->parsing)
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
    return bl->inflated && !bl->n_inflating && !bl->stream && bl->n_used == 0 && n_full(bl) == 0;
}

/* To be asked wherever something changed: which stage can go on? */
static void pump(struct build_layer *bl)
{
    while (bl->status == 0 && can_inflate(bl))
        start_inflate(bl);
    if (bl->status == 0 && !bl->n_sealing && bl->n_used > 0)
        start_seal(bl);
    if (bl->status == 0 && !bl->parsing && n_full(bl) > 0)
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
