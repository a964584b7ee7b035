/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local sources: oci:, oci-archive:, docker-archive:. All that touches files is in net/store and
 * runs as pool jobs; this is their place on the loop.
 *
 * The happy path is:
 * - the first job of a source waits until store_open() has run, as a job of its own: an archive's
 *   headers are gone through once. After that the store is only read, and jobs run side by side.
 * - a resolve and a range are one job each.
 * - a stream finds its blob, then reads a slab at a time as far as the credit goes, one job in
 *   flight: the next read has begun when a slab is handed on.
 * Possible failure modes are: what the store says; it ends the one request. A store that would not
 * open is tried again by the next.
 * On close: jobs are cancelled or waited for (net/source.c), then the store is closed, in a job.
 */
#include "net/source_private.h"
#include "net/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SLAB_SIZE ((size_t)256 << 10)

struct local {
    struct source source;
    struct store store;
    bool is_open, is_opening;
    struct queue waiting; /* jobs, for the store to be open */
    struct work work;     /* of open and close */
    int open_status;
    struct clip_error open_err;
};

/* A job on an open store, embedded in what it is for. */
struct local_job;
typedef void (*local_job_cb)(struct local_job *job, int status);

struct local_job {
    struct source_request request;
    struct queue node;
    struct work work;
    enum work_lane lane;
    work_fn run;
    local_job_cb done;
    bool cancelled;
    int status; /* of run */
    struct clip_error err;
};

static struct local *local_of(const struct local_job *job)
{
    return container_of(job->request.source, struct local, source);
}

/* --------------------------------------------------------------------- jobs */

static void on_job(struct work *work, int status)
{
    struct local_job *job = container_of(work, struct local_job, work);

    if (status == 0)
        status = job->status;
    if (job->cancelled)
        status = -ECANCELED;
    job->done(job, status);
}

static void store_open_run(struct work *work)
{
    struct local *local = container_of(work, struct local, work);

    local->open_status = store_open(&local->store, &local->open_err);
}

static void store_open_done(struct work *work, int status)
{
    struct local *local = container_of(work, struct local, work);
    struct queue ready;
    struct queue *node;

    assert(status == 0); /* nobody cancels it */
    local->is_opening = false;
    local->is_open = local->open_status == 0;
    queue_init(&ready);
    queue_splice(&ready, &local->waiting);
    while ((node = queue_pop(&ready))) {
        struct local_job *job = container_of(node, struct local_job, node);
        if (local->is_open && !job->cancelled) {
            work_submit(local->source.engine, &job->work, job->lane, job->run, on_job);
            continue;
        }
        job->err = local->open_err;
        job->done(job, job->cancelled ? -ECANCELED : local->open_status);
    }
}

static void job_submit(struct local_job *job, work_fn run, local_job_cb done)
{
    struct local *local = local_of(job);

    job->run = run;
    job->done = done;
    job->status = -ECANCELED; /* unless it runs */
    if (local->is_open) {
        work_submit(local->source.engine, &job->work, job->lane, run, on_job);
        return;
    }
    queue_push(&local->waiting, &job->node);
    if (local->is_opening)
        return;
    local->is_opening = true;
    err_clear(&local->open_err);
    work_submit(local->source.engine, &local->work, job->lane, store_open_run, store_open_done);
}

/* A job that still waits for the store ends with it. */
static void job_cancel(struct local_job *job)
{
    if (job->cancelled)
        return;
    job->cancelled = true;
    if (local_of(job)->is_open)
        work_cancel(&job->work);
}

static void job_init(struct local_job *job, struct source *source, enum work_lane lane,
                     source_cancel_fn cancel)
{
    *job = (struct local_job){.lane = lane};
    queue_init(&job->node);
    source_begin(source, &job->request, cancel);
}

/* The source knows it no more, and its request has an error. */
static void job_end(struct local_job *job, int status, struct clip_error *err)
{
    if (status == -ECANCELED)
        err_set(err, status, "cancelled");
    else
        *err = job->err;
    source_end(&job->request);
}

/* ------------------------------------------------------------------ resolve */

struct local_resolve {
    struct local_job job;
    struct source_resolve *req;
    const struct store *store;
    struct manifest *manifest;
};

static void resolve_run(struct work *work)
{
    struct local_resolve *self = container_of(work, struct local_resolve, job.work);

    self->job.status = store_resolve(self->store, &self->manifest, &self->job.err);
}

static void resolve_done(struct local_job *job, int status)
{
    struct local_resolve *self = container_of(job, struct local_resolve, job);
    struct source_resolve *req = self->req;

    if (status == 0)
        req->manifest = self->manifest;
    else
        manifest_free(self->manifest);
    req->impl = NULL;
    job_end(job, status, &req->err);
    free(self);
    req->done(req, status);
}

static void resolve_cancel_request(struct source_request *request)
{
    job_cancel(container_of(request, struct local_job, request));
}

static void local_resolve(struct source_resolve *req)
{
    struct local *local = container_of(req->source, struct local, source);
    struct local_resolve *self = calloc(1, sizeof(*self));

    if (!self) {
        err_set(&req->err, -ENOMEM, "out of memory for a manifest");
        source_refuse_resolve(req);
        return;
    }
    self->req = req;
    self->store = &local->store;
    req->impl = self;
    /* who resolves is about to read all of it: no reason to leave a core to whoever reads a little
     */
    job_init(&self->job, req->source, WORK_BULK, resolve_cancel_request);
    job_submit(&self->job, resolve_run, resolve_done);
}

static void local_resolve_cancel(struct source_resolve *req)
{
    struct local_resolve *self = req->impl;

    job_cancel(&self->job);
}

/* -------------------------------------------------------------------- range */

struct local_range {
    struct local_job job;
    struct blob_range *req;
    const struct store *store;
    struct slab *slab;
};

static void range_run(struct work *work)
{
    struct local_range *self = container_of(work, struct local_range, job.work);
    struct blob_range *req = self->req;
    struct file_part part;

    self->job.status = store_find(self->store, req->blob, &part, &self->job.err);
    if (self->job.status < 0)
        return;
    self->job.status = file_part_read(&part, req->off, self->slab->bytes, req->len, &self->job.err);
    file_part_close(&part);
}

static void range_done(struct local_job *job, int status)
{
    struct local_range *self = container_of(job, struct local_range, job);
    struct blob_range *req = self->req;

    if (status == 0) {
        self->slab->len = req->len;
        req->slab = self->slab;
    } else {
        slab_unlock(self->slab);
    }
    req->impl = NULL;
    job_end(job, status, &req->err);
    free(self);
    req->done(req, status);
}

static void local_range_fetch(struct blob_range *req)
{
    struct local *local = container_of(req->source, struct local, source);
    struct local_range *self = calloc(1, sizeof(*self));

    if (self)
        self->slab = slab_new(req->source->engine, req->len);
    if (!self || !self->slab) {
        free(self);
        err_set(&req->err, -ENOMEM, "out of memory for %" PRIu64 " bytes", req->len);
        source_refuse_range(req);
        return;
    }
    self->req = req;
    self->store = &local->store;
    req->impl = self;
    job_init(&self->job, req->source, req->lane, resolve_cancel_request);
    job_submit(&self->job, range_run, range_done);
}

static void local_range_cancel(struct blob_range *req)
{
    struct local_range *self = req->impl;

    job_cancel(&self->job);
}

/* ------------------------------------------------------------------- stream */

struct local_stream {
    struct blob_stream stream;
    struct local_job job;
    const struct store *store;
    bool busy, is_open, ended;
    struct file_part part;
    uint64_t off, credit;
    struct slab *slab; /* being read */
    size_t want;
    struct later later;
    int end_status;
};

static void stream_end(struct later *later)
{
    struct local_stream *self = container_of(later, struct local_stream, later);
    struct blob_stream_options options = self->stream.options;
    struct clip_error err = self->job.err;
    int status = self->end_status;

    if (self->is_open)
        file_part_close(&self->part);
    source_end(&self->job.request);
    blob_stream_fini(&self->stream);
    free(self);
    options.on_end(options.data, status, &err);
}

/* From the loop, once no job is in flight. */
static void end_later(struct local_stream *self, int status)
{
    assert(!self->busy);
    if (self->ended)
        return;
    self->ended = true;
    self->end_status = status;
    if (status == -ECANCELED)
        err_set(&self->job.err, status, "cancelled");
    later_call(self->stream.source->engine, &self->later, stream_end);
}

static void stream_read_run(struct work *work)
{
    struct local_stream *self = container_of(work, struct local_stream, job.work);

    self->job.status =
        file_part_read(&self->part, self->off, self->slab->bytes, self->want, &self->job.err);
}

static void stream_read_done(struct local_job *job, int status);

static void stream_pump(struct local_stream *self)
{
    uint64_t left = self->stream.blob.size - self->off;
    uint64_t want = left < self->credit ? left : self->credit;

    if (!self->is_open || self->busy || self->ended)
        return;
    if (left == 0) {
        end_later(self, 0);
        return;
    }
    if (want == 0)
        return;
    self->want = want < SLAB_SIZE ? (size_t)want : SLAB_SIZE;
    self->slab = slab_new(self->stream.source->engine, self->want);
    if (!self->slab) {
        end_later(self, err_set(&self->job.err, -ENOMEM, "out of memory for a slab"));
        return;
    }
    self->busy = true;
    self->credit -= self->want;
    job_submit(&self->job, stream_read_run, stream_read_done);
}

static void stream_read_done(struct local_job *job, int status)
{
    struct local_stream *self = container_of(job, struct local_stream, job);
    struct slab *slab = self->slab;

    self->busy = false;
    self->slab = NULL;
    if (status < 0) {
        slab_unlock(slab);
        end_later(self, status);
        return;
    }
    slab->len = self->want;
    self->off += self->want;
    stream_pump(self);
    self->stream.options.on_slab(self->stream.options.data, slab);
}

static void stream_find_run(struct work *work)
{
    struct local_stream *self = container_of(work, struct local_stream, job.work);

    self->job.status = store_find(self->store, &self->stream.blob, &self->part, &self->job.err);
}

static void stream_find_done(struct local_job *job, int status)
{
    struct local_stream *self = container_of(job, struct local_stream, job);

    self->busy = false;
    self->is_open = job->status == 0; /* also when cancelled since */
    if (status < 0)
        end_later(self, status);
    else
        stream_pump(self);
}

static void stream_cancel(struct local_stream *self)
{
    if (self->busy)
        job_cancel(&self->job);
    else
        end_later(self, -ECANCELED);
    /* the end may have been on its way as a success; no slab comes after it either way */
    if (self->ended)
        self->end_status = err_set(&self->job.err, -ECANCELED, "cancelled");
}

static void stream_cancel_request(struct source_request *request)
{
    stream_cancel(container_of(request, struct local_stream, job.request));
}

static int local_stream_open(struct source *source, const struct blob_stream_options *options,
                             struct blob_stream **out, struct clip_error *err)
{
    struct local *local = container_of(source, struct local, source);
    struct local_stream *self = calloc(1, sizeof(*self));

    if (!self || blob_stream_init(&self->stream, source, options) < 0) {
        free(self);
        return err_set(err, -ENOMEM, "out of memory for a stream");
    }
    self->store = &local->store;
    later_init(&self->later);
    job_init(&self->job, source, options->lane, stream_cancel_request);
    self->busy = true;
    job_submit(&self->job, stream_find_run, stream_find_done);
    *out = &self->stream;
    return 0;
}

static void local_stream_credit(struct blob_stream *stream, uint64_t len)
{
    struct local_stream *self = container_of(stream, struct local_stream, stream);

    if (__builtin_add_overflow(self->credit, len, &self->credit))
        self->credit = UINT64_MAX;
    stream_pump(self);
}

static void local_stream_cancel(struct blob_stream *stream)
{
    stream_cancel(container_of(stream, struct local_stream, stream));
}

/* ------------------------------------------------------------- open and close */

static void store_close_run(struct work *work)
{
    struct local *local = container_of(work, struct local, work);

    store_fini(&local->store);
}

static void store_close_done(struct work *work, int status)
{
    struct local *local = container_of(work, struct local, work);

    assert(status == 0);
    source_closed(&local->source);
}

static void local_close(struct source *source)
{
    struct local *local = container_of(source, struct local, source);

    work_submit(source->engine, &local->work, WORK_READ, store_close_run, store_close_done);
}

static const struct source_ops local_ops = {
    .resolve = local_resolve,
    .resolve_cancel = local_resolve_cancel,
    .stream_open = local_stream_open,
    .stream_credit = local_stream_credit,
    .stream_cancel = local_stream_cancel,
    .range_fetch = local_range_fetch,
    .range_cancel = local_range_cancel,
    .close = local_close,
    .has_one_copy = true,
};

bool local_is(const char *image)
{
    enum store_kind kind;

    return store_parse_kind(image, &kind) != NULL;
}

int local_open(struct clip_engine *engine, const char *image,
               const struct clip_source_options *options, struct source **out,
               struct clip_error *err)
{
    struct local *local = calloc(1, sizeof(*local));
    int r;

    if (!local)
        return err_set(err, -ENOMEM, "out of memory for a source");
    r = store_init(&local->store, image, options->platform, err);
    if (r < 0)
        goto fail;
    r = source_init(&local->source, engine, &local_ops, image, err);
    if (r < 0)
        goto fail_store;
    queue_init(&local->waiting);
    *out = &local->source;
    return 0;

fail_store:
    store_fini(&local->store);
fail:
    free(local);
    return r;
}
