/* SPDX-License-Identifier: Apache-2.0 */
/* clip index: one clip_index_start() run to its end. Ctrl-C cancels it; the library then takes its
 * temporary file away and `done` still comes. */
#include "command.h"
#include "host.h"
#include "progress.h"
#include "say.h"
#include "source.h"
#include "verb.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1024 * 1024)

struct index_args {
    uint64_t span_size;
    unsigned jobs;
    const char *store_ref, *cache_dir, *progress, *idle_polling;
    bool keep_runtime_dirs, fill_cache, json;
    struct source source;
    struct log log;
};

struct index_job {
    const struct index_args *args;
    const char *image, *output;
    struct host host;
    struct progress progress;
    struct clip_index *index;
    uint64_t began_ns;
    bool done;
    int code;
};

static const struct args_option index_options[] = {
    {"span-size", 0, ARGS_SIZE, "SIZE",
     "how far apart checkpoints are: 64KiB to 64MiB; small\n"
     "spans fetch less per read and make the index larger\n"
     "(default 1MiB, or $CLIP_CHECKPOINT_MIB)",
     offsetof(struct index_args, span_size)},
    {"jobs", 'j', ARGS_NUMBER, "N", "layers read at the same time",
     offsetof(struct index_args, jobs)},
    {"store-ref", 0, ARGS_TEXT, "REF", "record REF as where the blobs are, instead of IMAGE",
     offsetof(struct index_args, store_ref)},
    {"keep-runtime-dirs", 0, ARGS_FLAG, NULL,
     "keep /proc, /sys and /dev, which a container's\n"
     "runtime mounts anyway",
     offsetof(struct index_args, keep_runtime_dirs)},
    {"fill-cache", 0, ARGS_FLAG, NULL, "keep the decoded spans in --cache-dir as they pass",
     offsetof(struct index_args, fill_cache)},
    {"cache-dir", 0, ARGS_TEXT, "DIR", "the cache that --fill-cache fills",
     offsetof(struct index_args, cache_dir)},
    {"platform", 0, ARGS_TEXT, "OS/ARCH[/VARIANT]", "which image, where there is one per platform",
     offsetof(struct index_args, source.net.platform)},
    {"idle-polling", 0, ARGS_CHOICE, HOST_IDLE_POLLING_CHOICES, HOST_IDLE_POLLING_ABOUT,
     offsetof(struct index_args, idle_polling)},
    {"progress", 0, ARGS_CHOICE, "auto|plain|json|none", "how progress is shown on stderr",
     offsetof(struct index_args, progress)},
    {"json", 0, ARGS_FLAG, NULL,
     "print the result as JSON, and the progress as an\n"
     "event a line on stderr unless --progress says else",
     offsetof(struct index_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static void print_text(const struct index_job *job, const struct clip_index_result *result,
                       double seconds)
{
    char compressed[SAY_SIZE_LEN], uncompressed[SAY_SIZE_LEN], size[SAY_SIZE_LEN];
    printf("Successfully indexed image with %" PRIu64 " files\n", result->n_files);
    printf("layers: %" PRIu64 ", %s compressed, %s uncompressed\n", result->n_layers,
           say_size(result->compressed_size, compressed),
           say_size(result->uncompressed_size, uncompressed));
    printf("checkpoints: %" PRIu64 "\n", result->n_checkpoints);
    printf("index: %s, %s\n", job->output, say_size(result->index_size, size));
    printf("time: %.2f s\n", seconds);
}

static void print_json(const struct index_job *job, const struct clip_index_result *result,
                       double seconds)
{
    json_t *facts = json_pack(
        "{s:s%, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "output", job->output,
        strlen(job->output), "files", (json_int_t)result->n_files, "entries",
        (json_int_t)result->n_entries, "layers", (json_int_t)result->n_layers, "checkpoints",
        (json_int_t)result->n_checkpoints, "compressed_size", (json_int_t)result->compressed_size,
        "uncompressed_size", (json_int_t)result->uncompressed_size, "index_size",
        (json_int_t)result->index_size, "seconds", seconds);
    if (facts)
        json_dumpf(facts, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    json_decref(facts);
    putchar('\n');
}

static void on_indexed(void *data, int status, const struct clip_error *err,
                       const struct clip_index_result *result)
{
    struct index_job *job = data;
    double seconds = (double)(uv_hrtime() - job->began_ns) / 1e9;
    job->done = true;
    progress_clear(&job->progress);
    if (status < 0) {
        say_error("%s", job->host.stopped ? "interrupted; nothing was written" : err->message);
        job->code = 1;
    } else if (job->args->json) {
        print_json(job, result, seconds);
    } else if (!job->args->log.quiet) {
        print_text(job, result, seconds);
    }
}

static void on_stop(void *data)
{
    struct index_job *job = data;
    clip_index_cancel(job->index);
}

static int run_job(struct index_job *job)
{
    const struct index_args *args = job->args;
    struct clip_error err;
    struct clip_index_options options = {
        .image = job->image,
        .output = job->output,
        .store_ref = args->store_ref,
        .span_size = args->span_size,
        .jobs = args->jobs,
        .keep_runtime_dirs = args->keep_runtime_dirs,
        .cache_dir = args->cache_dir,
        .fill_cache = args->fill_cache,
        .source = source_net(&args->source),
        .on_progress = progress_event,
        .progress_data = &job->progress,
    };
    job->began_ns = uv_hrtime();
    int r = clip_index_start(job->host.engine, &options, on_indexed, job, &job->index, &err);
    if (r < 0) {
        say_error("%s", err.message);
        return 1;
    }
    host_on_stop(&job->host, on_stop, job);
    host_run(&job->host, &job->done);
    return job->code;
}

/* 0, or 2 after a sentence. The option wins over the environment. */
static int default_span_size(struct index_args *args)
{
    const char *mib = getenv("CLIP_CHECKPOINT_MIB");
    uint64_t n;
    if (args->span_size || !mib || !*mib)
        return 0;
    if (args_size(mib, &n) < 0 || n == 0 || n > 64) {
        say_error("CLIP_CHECKPOINT_MIB is a number from 1 to 64, not '%s'", mib);
        return 2;
    }
    args->span_size = n * MIB;
    return 0;
}

static int index_image(const struct args *args, void *data)
{
    struct index_args *fields = data;
    struct index_job job = {.args = fields, .image = args->operand[0], .output = args->operand[1]};
    const char *how = fields->progress ? fields->progress : fields->json ? "json" : NULL;
    int r = default_span_size(fields);
    progress_init(&job.progress, how, fields->log.quiet);
    if (r == 0)
        r = host_open(&job.host, &fields->log, fields->idle_polling);
    if (r == 0) {
        r = run_job(&job);
        host_close(&job.host);
    }
    progress_fini(&job.progress);
    return r;
}

int index_run(int argc, char **argv)
{
    struct index_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "index",
        .operands = "IMAGE OUT.clip",
        .about =
            "Reads the layers of IMAGE once, straight from where it is, and writes to OUT.clip "
            "what\nis in them and where. IMAGE is a reference (docker.io/library/alpine:3.20, "
            "alpine,\nhost:port/repo@sha256:...) or local: oci:DIR[:TAG], oci-archive:FILE,\n"
            "docker-archive:FILE.",
        .min_operands = 2,
        .max_operands = 2,
        .groups = {{"Options", index_options, &fields},
                   {"Registry", source_options, &fields.source},
                   {"Talk", log_options, &fields.log}},
    };
    struct command command = {
        .args = &args, .log = &fields.log, .work = index_image, .fields = &fields};
    return command_run(&command, argc, argv);
}
