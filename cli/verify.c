/* SPDX-License-Identifier: Apache-2.0 */
/* clip verify: opening an index checks its structure and checksums, so that is done at once; with
 * --deep one clip_verify_start() follows, which reads all blobs. Ctrl-C ends it. */
#include "command.h"
#include "facts.h"
#include "host.h"
#include "progress.h"
#include "say.h"
#include "source.h"
#include "verb.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

struct verify_args {
    bool deep, json;
    const char *source_image, *progress;
    struct source source;
    struct log log;
};

struct verify_job {
    const struct verify_args *args;
    const char *path;
    struct clip_image *image;
    struct host host;
    struct progress progress;
    struct clip_verify *verify;
    uint64_t began_ns;
    bool done;
    int code;
};

static const struct args_option verify_options[] = {
    {"deep", 0, ARGS_FLAG, NULL,
     "read all blobs as well: their digests, the tree with\n"
     "every file's content, every span",
     offsetof(struct verify_args, deep)},
    {"source", 0, ARGS_TEXT, "IMAGE",
     "read the blobs from IMAGE instead of where the index\n"
     "says: a moved layout, another registry",
     offsetof(struct verify_args, source_image)},
    {"progress", 0, ARGS_CHOICE, "auto|plain|json|none", "how progress is shown on stderr",
     offsetof(struct verify_args, progress)},
    {"json", 0, ARGS_FLAG, NULL, "print the result as JSON", offsetof(struct verify_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

/* ---- the result */

static void print_text(const struct verify_job *job, const struct clip_image_info *info)
{
    fputs("ok: ", stdout);
    say_quoted(stdout, job->path, strlen(job->path));
    printf(": %" PRIu64 " entries, %u layer%s, %" PRIu64 " spans%s\n", info->n_entries,
           info->n_layers, info->n_layers == 1 ? "" : "s", info->n_spans,
           job->args->deep ? ", all as their blobs have them" : "; structure and checksums");
}

static void print_json(const struct verify_job *job, const struct clip_image_info *info)
{
    double seconds = (double)(uv_hrtime() - job->began_ns) / 1e9;
    json_t *facts =
        json_pack("{s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:f}", "ok", 1, "deep", job->args->deep,
                  "reference", info->reference, "manifest_digest", info->manifest_digest, "entries",
                  (json_int_t)info->n_entries, "layers", (json_int_t)info->n_layers, "spans",
                  (json_int_t)info->n_spans, "seconds", seconds);
    if (facts)
        facts_set_bytes(facts, "file", job->path, strlen(job->path));
    facts_print(facts, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
}

static void print_result(const struct verify_job *job)
{
    struct clip_image_info info;
    clip_image_info(job->image, &info);
    if (job->args->json)
        print_json(job, &info);
    else if (!job->args->log.quiet)
        print_text(job, &info);
}

static int print_failure(const struct verify_job *job, const char *message)
{
    say_error("%s", message);
    if (job->args->json) {
        json_t *facts = json_pack("{s:b, s:b}", "ok", 0, "deep", job->args->deep);
        if (facts) {
            facts_set_bytes(facts, "file", job->path, strlen(job->path));
            facts_set_bytes(facts, "error", message, strlen(message));
        }
        facts_print(facts, JSON_COMPACT);
        putchar('\n');
    }
    return 1;
}

/* ---- against the blobs */

static void on_verified(void *data, int status, const struct clip_error *err)
{
    struct verify_job *job = data;
    progress_clear(&job->progress);
    job->done = true;
    if (status < 0) {
        char message[CLIP_ERROR_LEN + 512];
        snprintf(message, sizeof(message), "%s: %s", job->path,
                 job->host.stopped ? "interrupted" : err->message);
        job->code = print_failure(job, message);
    } else {
        print_result(job);
    }
}

static void on_stop(void *data)
{
    struct verify_job *job = data;
    clip_verify_cancel(job->verify);
}

static int run_job(struct verify_job *job)
{
    struct clip_error err;
    struct clip_verify_options options = {
        .image = job->image,
        .source = job->args->source_image,
        .net = source_net(&job->args->source),
        .on_progress = progress_event,
        .progress_data = &job->progress,
    };
    int r = clip_verify_start(job->host.engine, &options, on_verified, job, &job->verify, &err);
    if (r < 0)
        return print_failure(job, err.message);
    host_on_stop(&job->host, on_stop, job);
    host_run(&job->host, &job->done);
    return job->code;
}

static int run_deep(struct verify_job *job, struct log *log)
{
    progress_init(&job->progress, job->args->progress, log->quiet);
    int r = host_open(&job->host, log, NULL);
    if (r == 0) {
        r = run_job(job);
        host_close(&job->host);
    }
    progress_fini(&job->progress);
    return r;
}

static int verify(const struct args *args, void *data)
{
    struct verify_args *fields = data;
    const char *path = args->operand[0];
    struct verify_job job = {.args = fields, .path = path, .began_ns = uv_hrtime()};
    struct clip_error err;
    int r = clip_image_open(path, &job.image, &err);
    if (r < 0)
        return print_failure(&job, err.message);
    if (fields->deep)
        r = run_deep(&job, &fields->log);
    else
        print_result(&job);
    clip_image_unref(job.image);
    return r;
}

int verify_run(int argc, char **argv)
{
    struct verify_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "verify",
        .operands = "FILE.clip",
        .about = "Checks an index: its structure and checksums, and with --deep that it says of "
                 "every\nfile what the image's blobs say.",
        .min_operands = 1,
        .max_operands = 1,
        .groups = {{"Options", verify_options, &fields},
                   {"Registry", source_options, &fields.source},
                   {"Talk", log_options, &fields.log}},
    };
    struct command command = {.args = &args, .log = &fields.log, .work = verify, .fields = &fields};
    return command_run(&command, argc, argv);
}
