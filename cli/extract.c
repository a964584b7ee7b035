/* SPDX-License-Identifier: Apache-2.0 */
/* clip extract: one clip_reader_extract(). How far it is, on a terminal, comes from the reader's
 * counters, looked at a few times a second. Ctrl-C closes the reader, which ends the extraction. */
#include "command.h"
#include "facts.h"
#include "host.h"
#include "say.h"
#include "source.h"
#include "verb.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 200

struct extract_args {
    bool json;
    const char *from;
    struct reading reading;
    struct source source;
    struct log log;
};

struct extract_job {
    const struct extract_args *args;
    const char *dir;
    struct clip_image *image;
    struct host host;
    struct clip_reader *reader;
    uv_timer_t tick;
    bool shows_progress;
    uint64_t began_ns;
    bool done, closed;
    int code;
};

static const struct args_option extract_options[] = {
    {"from", 0, ARGS_TEXT, "PATH", "only what is below this directory of the image",
     offsetof(struct extract_args, from)},
    {"json", 0, ARGS_FLAG, NULL, "print the result as JSON", offsetof(struct extract_args, json)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static void wipe_progress(const struct extract_job *job)
{
    if (job->shows_progress)
        fputs("\r\033[K", stderr);
}

static void on_tick(uv_timer_t *timer)
{
    struct extract_job *job = timer->data;
    struct clip_counters counters;
    struct clip_image_info info;
    char done[SAY_SIZE_LEN], total[SAY_SIZE_LEN];
    clip_reader_counters(job->reader, &counters);
    clip_image_info(job->image, &info);
    fprintf(stderr, "\r%s of %s\033[K", say_size(counters.bytes_served, done),
            say_size(info.content_size, total));
}

static void print_result(const struct extract_job *job)
{
    double seconds = (double)(uv_hrtime() - job->began_ns) / 1e9;
    struct clip_counters counters;
    char size[SAY_SIZE_LEN], fetched[SAY_SIZE_LEN];
    clip_reader_counters(job->reader, &counters);
    if (!job->args->json) {
        printf("extracted %s of files, %s fetched, in %.2f s\n",
               say_size(counters.bytes_served, size), say_size(counters.bytes_fetched, fetched),
               seconds);
        return;
    }
    json_t *facts =
        json_pack("{s:I, s:I, s:I, s:f}", "content_size", (json_int_t)counters.bytes_served,
                  "bytes_fetched", (json_int_t)counters.bytes_fetched, "range_requests",
                  (json_int_t)counters.range_requests, "seconds", seconds);
    if (facts)
        facts_set_bytes(facts, "dir", job->dir, strlen(job->dir));
    facts_print(facts, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
}

static void on_extracted(void *data, int status, const struct clip_error *err)
{
    struct extract_job *job = data;
    job->done = true;
    uv_timer_stop(&job->tick);
    wipe_progress(job);
    if (status < 0) {
        say_error("%s",
                  job->host.stopped ? "interrupted; the directory is not complete" : err->message);
        job->code = 1;
    } else if (!job->args->log.quiet) {
        print_result(job);
    }
}

static void on_closed(void *data)
{
    struct extract_job *job = data;
    job->closed = true;
}

static void on_stop(void *data)
{
    struct extract_job *job = data;
    clip_reader_close(job->reader, on_closed, job);
}

static int start(struct extract_job *job, uint64_t ino)
{
    int r = clip_reader_extract(job->reader, ino, job->dir, on_extracted, job);
    if (r < 0) {
        say_error("cannot extract: %s", strerror(-r));
        return 1;
    }
    job->shows_progress = isatty(STDERR_FILENO) && !job->args->log.quiet;
    if (job->shows_progress)
        uv_timer_start(&job->tick, on_tick, TICK_MS, TICK_MS);
    host_on_stop(&job->host, on_stop, job);
    host_run(&job->host, &job->done);
    return job->code;
}

static int run_job(struct extract_job *job, uint64_t ino)
{
    struct clip_reader_options options = source_reader(&job->args->source, &job->args->reading);
    struct clip_error err;
    int r = clip_reader_open(job->host.engine, job->image, &options, &job->reader, &err);
    if (r < 0) {
        say_error("%s", err.message);
        return 1;
    }
    uv_timer_init(&job->host.loop, &job->tick);
    job->tick.data = job;
    job->began_ns = uv_hrtime();
    r = start(job, ino);
    if (!job->host.stopped)
        clip_reader_close(job->reader, on_closed, job);
    host_run(&job->host, &job->closed);
    uv_close((uv_handle_t *)&job->tick, NULL);
    return r;
}

static int extract(const struct args *args, void *data)
{
    struct extract_args *fields = data;
    struct extract_job job = {.args = fields, .dir = args->operand[1]};
    uint64_t ino;
    int r = facts_open(args->operand[0], fields->from, true, &job.image, &ino);
    if (r != 0)
        return r;
    r = host_open(&job.host, &fields->log, NULL);
    if (r == 0) {
        r = run_job(&job, ino);
        host_close(&job.host);
    }
    clip_image_unref(job.image);
    return r;
}

int extract_run(int argc, char **argv)
{
    struct extract_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "extract",
        .operands = "FILE.clip DIR",
        .about =
            "Writes the files of the image into DIR, which is made or has to be empty. As root\n"
            "with owners, devices and all extended attributes; every file is checked against\n"
            "its digest in the index.",
        .min_operands = 2,
        .max_operands = 2,
        .groups = {{"Options", extract_options, &fields},
                   {"Reading", reading_options, &fields.reading},
                   {"Registry", source_options, &fields.source},
                   {"Talk", log_options, &fields.log}},
    };
    struct command command = {
        .args = &args, .log = &fields.log, .work = extract, .fields = &fields};
    return command_run(&command, argc, argv);
}
