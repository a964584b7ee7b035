/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of an index that is not there is:
 * - indexes_make() starts a run that writes to a name of its own in the store, or joins one that
 *   reads the same image in the same way;
 * - finish_run() on the pool looks what the image's manifest is and gives the file its name;
 * - finish_done() notes the reference in refs.json and answers all that wait.
 * Possible failure modes are: the run fails or is cancelled (the library leaves no file), the store
 *   cannot be written. Who waits is told; the next one who asks tries again.
 * On close: whoever waits leaves; indexes_idle() when the last run has ended.
 * The store never forgets by itself: what is in it is small, and the names are digests. */
#include "indexes.h"

#include "reply.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REFS_MAX_LEN (64 * 1024 * 1024)

struct index_job {
    struct indexes *indexes;
    struct index_job *next;
    struct index_wait *waiting;
    char *image, *output;
    struct fetch fetch;
    struct clip_index *index; /* NULL: it ended */
    struct clip_index_progress progress;
    uint64_t n_events;
    uv_work_t work;
    char *path; /* in the store, when it is finished */
    int status;
    struct clip_error err;
};

/* ---- refs.json */

/* What an image is depends on where it is looked up and for which platform. */
static char *ref_key(const char *image, const struct fetch *fetch)
{
    char *key = NULL;
    int r = asprintf(&key, "%s|%s|%s", image, fetch->platform ? fetch->platform : "",
                     fetch->source ? fetch->source : "");
    return r < 0 ? NULL : key;
}

static char *refs_path(const struct indexes *indexes)
{
    char *path = NULL;
    return asprintf(&path, "%s/refs.json", indexes->dir) < 0 ? NULL : path;
}

static void write_refs_run(uv_work_t *work)
{
    char *temporary = NULL, *path = work->data;
    struct indexes *indexes =
        (struct indexes *)((char *)work - offsetof(struct indexes, write_work));
    char *text = path;
    path = refs_path(indexes);
    if (path && asprintf(&temporary, "%s.new", path) < 0)
        temporary = NULL;
    FILE *file = temporary && text ? fopen(temporary, "we") : NULL;
    if (file) {
        bool whole = fputs(text, file) >= 0;
        if (fclose(file) == 0 && whole)
            rename(temporary, path);
    }
    free(temporary);
    free(path);
    free(text);
}

static void write_refs(struct indexes *indexes);

static void write_refs_done(uv_work_t *work, int status)
{
    (void)status;
    struct indexes *indexes =
        (struct indexes *)((char *)work - offsetof(struct indexes, write_work));
    indexes->writing = false;
    if (indexes->write_again)
        write_refs(indexes);
}

static void write_refs(struct indexes *indexes)
{
    indexes->write_again = indexes->writing;
    if (indexes->writing)
        return;
    indexes->writing = true;
    indexes->write_work.data = json_dumps(indexes->refs, JSON_INDENT(1));
    uv_queue_work(indexes->loop, &indexes->write_work, write_refs_run, write_refs_done);
}

int indexes_init(struct indexes *indexes, uv_loop_t *loop, struct clip_engine *engine)
{
    char *path = refs_path(indexes);
    indexes->loop = loop;
    indexes->engine = engine;
    indexes->refs = path ? json_load_file(path, JSON_REJECT_DUPLICATES, NULL) : NULL;
    free(path);
    if (!json_is_object(indexes->refs)) {
        json_decref(indexes->refs);
        indexes->refs = json_object();
    }
    return indexes->refs ? 0 : -ENOMEM;
}

void indexes_fini(struct indexes *indexes)
{
    json_decref(indexes->refs);
    indexes->refs = NULL;
}

bool indexes_idle(const struct indexes *indexes)
{
    return !indexes->jobs && !indexes->writing;
}

/* refs.json is ours, but a name in it must not lead out of the store. */
static bool is_store_name(const char *name)
{
    return name && strncmp(name, "sha256-", 7) == 0 && !strchr(name, '/');
}

char *indexes_find(const struct indexes *indexes, const char *image, const struct fetch *fetch)
{
    char *key = ref_key(image, fetch), *path = NULL;
    const char *name = key ? json_string_value(json_object_get(indexes->refs, key)) : NULL;
    free(key);
    if (!is_store_name(name) || asprintf(&path, "%s/%s", indexes->dir, name) < 0)
        return NULL;
    if (access(path, R_OK) == 0)
        return path;
    free(path);
    return NULL;
}

/* ---- a run */

static void free_job(struct index_job *job)
{
    fetch_fini(&job->fetch);
    free(job->image);
    free(job->output);
    free(job->path);
    free(job);
}

static void remove_job(struct index_job *job)
{
    struct index_job **at = &job->indexes->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    job->indexes->n_jobs--;
}

static void leave(struct index_wait *wait)
{
    *wait->prev = wait->next;
    if (wait->next)
        wait->next->prev = wait->prev;
    wait->job = NULL;
}

/* Out of the list first: whoever is told may ask for the same again. */
static void end_job(struct index_job *job)
{
    struct index_wait *wait;
    remove_job(job);
    job->indexes->n_indexed += job->status == 0;
    job->indexes->n_failed += job->status < 0;
    while ((wait = job->waiting)) {
        leave(wait);
        wait->done(wait, job->status, &job->err, job->path);
    }
    free_job(job);
}

static void set_failure(struct index_job *job, int r, const char *what)
{
    job->status =
        reply_error(&job->err, r, "cannot %s the index %s: %s", what, job->output, strerror(-r));
}

static void finish_run(uv_work_t *work)
{
    struct index_job *job = work->data;
    struct clip_image *map;
    struct clip_image_info info;
    int r = clip_image_open(job->output, &map, &job->err);
    if (r < 0) {
        job->status = r;
        return;
    }
    clip_image_info(map, &info);
    r = asprintf(&job->path, "%s/%s.clip", job->indexes->dir, info.manifest_digest);
    clip_image_unref(map);
    if (r < 0) {
        job->path = NULL;
        set_failure(job, -ENOMEM, "name");
        return;
    }
    char *colon = strchr(job->path + strlen(job->indexes->dir), ':');
    if (colon)
        *colon = '-';
    if (rename(job->output, job->path) < 0)
        set_failure(job, -errno, "rename");
}

static void finish_done(uv_work_t *work, int status)
{
    (void)status;
    struct index_job *job = work->data;
    char *key = ref_key(job->image, &job->fetch);
    if (job->status == 0 && key) {
        json_object_set_new(job->indexes->refs, key, json_string(strrchr(job->path, '/') + 1));
        write_refs(job->indexes);
    }
    free(key);
    end_job(job);
}

static void on_indexed(void *data, int status, const struct clip_error *err,
                       const struct clip_index_result *result)
{
    (void)result;
    struct index_job *job = data;
    job->index = NULL;
    job->status = status;
    if (status < 0) {
        job->err = *err;
        job->err.code = status;
        end_job(job);
        return;
    }
    uv_queue_work(job->indexes->loop, &job->work, finish_run, finish_done);
}

static void on_progress(void *data, const struct clip_index_progress *progress)
{
    struct index_job *job = data;
    const struct indexes *indexes = job->indexes;
    job->progress = *progress;
    job->n_events++;
    if (indexes->on_progress)
        indexes->on_progress(indexes->progress_data, progress);
}

static int start_job(struct index_job *job, struct clip_error *err)
{
    struct indexes *indexes = job->indexes;
    struct clip_index_options options = {
        .image = job->fetch.source ? job->fetch.source : job->image,
        .output = job->output,
        .store_ref = job->fetch.source ? job->image : NULL,
        .cache_dir = indexes->cache_dir,
        .fill_cache = indexes->cache_dir != NULL,
        .source = fetch_net(&job->fetch),
        .on_progress = on_progress,
        .progress_data = job,
    };
    return clip_index_start(indexes->engine, &options, on_indexed, job, &job->index, err);
}

static struct index_job *new_job(struct indexes *indexes, const char *image,
                                 const struct fetch *fetch)
{
    struct index_job *job = calloc(1, sizeof(*job));
    if (!job)
        return NULL;
    job->indexes = indexes;
    job->work.data = job;
    job->image = strdup(image);
    int r = asprintf(&job->output, "%s/.run-%d-%" PRIu64 ".clip", indexes->dir, (int)getpid(),
                     indexes->n_made++);
    if (r < 0)
        job->output = NULL;
    if (r >= 0 && job->image && fetch_copy(fetch, &job->fetch) == 0)
        return job;
    free_job(job);
    return NULL;
}

static struct index_job *find_job(const struct indexes *indexes, const char *image,
                                  const struct fetch *fetch)
{
    for (struct index_job *job = indexes->jobs; job; job = job->next) {
        if (job->waiting && strcmp(job->image, image) == 0 && fetch_same(&job->fetch, fetch))
            return job;
    }
    return NULL;
}

static int make_job(struct indexes *indexes, const char *image, const struct fetch *fetch,
                    struct index_job **out, struct clip_error *err)
{
    struct index_job *job = new_job(indexes, image, fetch);
    if (!job)
        return reply_error(err, -ENOMEM, "out of memory");
    int r = start_job(job, err);
    if (r < 0) {
        free_job(job);
        return r;
    }
    job->next = indexes->jobs;
    indexes->jobs = job;
    indexes->n_jobs++;
    *out = job;
    return 0;
}

int indexes_make(struct indexes *indexes, const char *image, const struct fetch *fetch,
                 struct index_wait *wait, index_wait_cb done, struct clip_error *err)
{
    struct index_job *job = find_job(indexes, image, fetch);
    int r = job ? 0 : make_job(indexes, image, fetch, &job, err);
    if (r < 0)
        return r;
    *wait = (struct index_wait){.job = job, .done = done, .next = job->waiting};
    wait->prev = &job->waiting;
    if (wait->next)
        wait->next->prev = &wait->next;
    job->waiting = wait;
    return 0;
}

void indexes_leave(struct index_wait *wait)
{
    struct index_job *job = wait->job;
    if (!job)
        return;
    leave(wait);
    if (!job->waiting && job->index)
        clip_index_cancel(job->index);
}

json_t *indexes_progress(const struct index_wait *wait)
{
    static const char *const phases[] = {"resolve", "layers", "write"};
    const struct clip_index_progress *p;
    if (!wait->job)
        return NULL;
    p = &wait->job->progress;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "phase", phases[p->phase], "layer",
                     (json_int_t)p->layer, "layers", (json_int_t)p->n_layers, "layer_done",
                     (json_int_t)p->layer_done, "layer_total", (json_int_t)p->layer_total, "done",
                     (json_int_t)p->done, "total", (json_int_t)p->total);
}

uint64_t indexes_n_events(const struct index_wait *wait)
{
    return wait->job ? wait->job->n_events : 0;
}
