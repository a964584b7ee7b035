/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of an image that was not indexed yet is:
 * - the store CACHE_DIR/indexes is made and asked; indexes_make() begins a run;
 * - its progress is drawn until on_indexed() has the path.
 * Possible failure modes are: the store cannot be made, the image cannot be read, a signal. Who
 * waits leaves then, which cancels the run, and the loop goes on until the store is idle. */
#include "indexing.h"

#include "daemon_dirs.h"
#include "indexes.h"
#include "progress.h"
#include "say.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct host *host;
    struct indexes indexes;
    struct fetch fetch;
    struct index_wait wait;
    struct progress progress;
    char *path;
    bool done;
    int code;
};

static void on_indexed(struct index_wait *wait, int status, const struct clip_error *err,
                       const char *path)
{
    struct run *run = (struct run *)((char *)wait - offsetof(struct run, wait));
    run->done = true;
    progress_clear(&run->progress);
    if (status == 0)
        run->path = strdup(path);
    else
        say_error("%s", err->message);
    run->code = run->path ? 0 : 1;
}

static void on_stop(void *data)
{
    struct run *run = data;
    if (run->done)
        return;
    indexes_leave(&run->wait);
    progress_clear(&run->progress);
    say_error("interrupted; nothing was mounted");
    run->done = true;
    run->code = 1;
}

static int make(struct run *run, const char *image)
{
    struct clip_error err;
    int r = indexes_make(&run->indexes, image, &run->fetch, &run->wait, on_indexed, &err);
    if (r < 0) {
        say_error("%s", err.message);
        return 1;
    }
    host_on_stop(run->host, on_stop, run);
    host_run(run->host, &run->done);
    return run->code;
}

static int find_or_make(struct run *run, const char *image, bool again)
{
    run->path = again ? NULL : indexes_find(&run->indexes, image, &run->fetch);
    int r = run->path ? 0 : make(run, image);
    while (!indexes_idle(&run->indexes))
        uv_run(&run->host->loop, UV_RUN_ONCE);
    return r;
}

/* The options of the command, as a client would send them to a daemon. */
static int read_fetch(const struct indexing *indexing, struct fetch *out)
{
    struct clip_error err = {0};
    json_t *object = json_object();
    int r = fetch_write(object, indexing->source, indexing->reading->source);
    if (r == 0 && fetch_read(object, out, &err) < 0) {
        say_error("%s", err.message);
        r = 1;
    }
    json_decref(object);
    return r;
}

static int run_in_store(struct run *run, const struct indexing *indexing, const char *image)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/indexes", indexing->reading->cache_dir);
    run->indexes = (struct indexes){.dir = dir,
                                    .cache_dir = indexing->reading->cache_dir,
                                    .on_progress = progress_event,
                                    .progress_data = &run->progress};
    int r = dirs_make(dir, 0700);
    if (r == 0)
        r = indexes_init(&run->indexes, &run->host->loop, run->host->engine) < 0;
    if (r != 0)
        return r;
    r = find_or_make(run, image, indexing->again);
    indexes_fini(&run->indexes);
    return r;
}

int indexing_run(const struct indexing *indexing, struct host *host, char **out_path)
{
    struct run run = {.host = host};
    char *image = fetch_absolute(indexing->image);
    int r = image ? read_fetch(indexing, &run.fetch) : 1;
    if (r == 0) {
        progress_init(&run.progress, NULL, indexing->quiet);
        r = run_in_store(&run, indexing, image);
        progress_fini(&run.progress);
    }
    fetch_fini(&run.fetch);
    free(image);
    if (r == 0)
        *out_path = run.path;
    return r;
}
