/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs of the pool: mounting and unmounting an overlay looks into the mount below, which this
 * very process may serve. The strings that a job needs are copies.
 * Possible failure modes are: those of the job, with a sentence; the engine closes before it began.
 * On close: the engine waits for jobs in flight.
 */
#include "fs/overlay.h"

#include "engine/work.h"

#include <stdlib.h>
#include <string.h>

struct overlay_job {
    struct work work;
    struct overlay overlay; /* its strings are ours */
    bool remove;
    int status;
    struct clip_error err;
    clip_done_cb done;
    void *data;
};

static void job_free(struct overlay_job *job)
{
    free((char *)job->overlay.lower);
    free((char *)job->overlay.dir);
    free((char *)job->overlay.upper);
    free(job);
}

/* A NULL stays one. */
static bool copy(const char *text, const char **out)
{
    *out = text ? strdup(text) : NULL;
    return *out || !text;
}

static struct overlay_job *job_new(const struct overlay *overlay, clip_done_cb done, void *data)
{
    struct overlay_job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->done = done;
    job->data = data;
    job->overlay.read_only = overlay->read_only;
    if (copy(overlay->lower, &job->overlay.lower) && copy(overlay->dir, &job->overlay.dir) &&
        copy(overlay->upper, &job->overlay.upper))
        return job;
    job_free(job);
    return NULL;
}

static void job_done(struct work *work, int status)
{
    struct overlay_job *job = container_of(work, struct overlay_job, work);
    clip_done_cb done = job->done;
    void *data = job->data;
    struct clip_error err = job->err;

    if (status == 0)
        status = job->status;
    job_free(job);
    done(data, status, status < 0 ? &err : NULL);
}

static void attach_run(struct work *work)
{
    struct overlay_job *job = container_of(work, struct overlay_job, work);

    job->status = overlay_attach(&job->overlay, &job->err);
}

static void detach_run(struct work *work)
{
    struct overlay_job *job = container_of(work, struct overlay_job, work);

    job->status = overlay_detach(job->overlay.dir, job->remove, &job->err);
}

int clip_overlay_mount(struct clip_engine *engine, const struct clip_overlay_options *options,
                       clip_done_cb done, void *data, struct clip_error *err)
{
    const struct overlay overlay = {options->lower, options->dir, options->upper,
                                    options->read_only};
    struct overlay_job *job = job_new(&overlay, done, data);

    if (!job)
        return err_set(err, -ENOMEM, "out of memory for an overlay");
    work_submit(engine, &job->work, WORK_BLOCK, attach_run, job_done);
    return 0;
}

int clip_overlay_unmount(struct clip_engine *engine, const char *dir, bool remove,
                         clip_done_cb done, void *data, struct clip_error *err)
{
    const struct overlay overlay = {.dir = dir};
    struct overlay_job *job = job_new(&overlay, done, data);

    if (!job)
        return err_set(err, -ENOMEM, "out of memory for an overlay");
    job->remove = remove;
    work_submit(engine, &job->work, WORK_BLOCK, detach_run, job_done);
    return 0;
}
