/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host for bench/mount: one engine, one mapped image, as many mounts as it is told to make.
 *
 *     host INDEX CACHE_DIR [SOURCE]
 *
 * - Commands come as lines on stdin: "mount DIR" answers "mounted MICROSECONDS", from the call to
 *   usable; "opened" with how long the image took to be mapped and checked; "counters" with one
 *   line that sums all mounts up; "requests" with how many the kernel sent by now, by opcode;
 *   "profile FILE", which writes the index with what was read through the first mount, with of how
 *   many spans. The end of stdin unmounts.
 * - CLIP_IDLE_POLLING=off in the environment leaves idle CPUs to halt (clip_engine_options).
 * - An answer is one line on stdout. Any failure is a sentence on stderr and the end.
 */
#include <clip.h>

#include <err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define LINE_LEN   4096
#define MOUNTS_MAX 1024

struct host {
    uv_loop_t loop;
    uv_pipe_t in;
    char line[LINE_LEN];
    size_t line_len;
    struct clip_engine *engine;
    struct clip_image *image;
    struct clip_mount_options options;
    struct clip_mount *mounts[MOUNTS_MAX];
    size_t n_mounts;
    uint64_t started_at; /* ns; of the mount being made */
    uint64_t opening_ns; /* of the image */
};

static void on_log(void *data, enum clip_log_level level, const char *message)
{
    (void)data, (void)level;
    fprintf(stderr, "host: %s\n", message);
}

static void answer(const char *fmt, ...) CLIP_PRINTF(1, 2);

static void answer(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void on_mounted(void *data, int status, const struct clip_error *error)
{
    struct host *host = data;

    if (status != 0)
        errx(1, "%s", error->message);
    answer("mounted %" PRIu64, (uv_hrtime() - host->started_at) / 1000);
}

static void mount_at(struct host *host, const char *dir)
{
    struct clip_error error;

    if (host->n_mounts == MOUNTS_MAX)
        errx(1, "more than %d mounts", MOUNTS_MAX);
    host->options.mountpoint = dir;
    host->started_at = uv_hrtime();
    if (clip_mount_open(host->engine, &host->options, on_mounted, host,
                        &host->mounts[host->n_mounts], &error) != 0)
        errx(1, "%s", error.message);
    host->n_mounts++;
}

static void answer_counters(const struct host *host)
{
    struct clip_counters sum = {0};

    for (size_t i = 0; i < host->n_mounts; i++) {
        struct clip_counters one;

        clip_mount_counters(host->mounts[i], &one);
        sum.reads += one.reads;
        sum.bytes_served += one.bytes_served;
        sum.spans_fetched += one.spans_fetched;
        sum.bytes_fetched += one.bytes_fetched;
        sum.range_requests += one.range_requests;
        sum.stall_ns += one.stall_ns;
        sum.misses += one.misses;
    }
    answer("reads %" PRIu64 " bytes_served %" PRIu64 " spans_fetched %" PRIu64
           " bytes_fetched %" PRIu64 " range_requests %" PRIu64 " misses %" PRIu64
           " stall_us %" PRIu64,
           sum.reads, sum.bytes_served, sum.spans_fetched, sum.bytes_fetched, sum.range_requests,
           sum.misses, sum.stall_ns / 1000);
}

static void write_profile(const struct host *host, const char *path)
{
    const struct clip_profile_span *spans;
    size_t n = clip_mount_profile(host->mounts[0], &spans);
    struct clip_error error;

    if (clip_image_save(host->image, spans, n, path, &error) != 0)
        errx(1, "%s", error.message);
    answer("profile %zu", n);
}

/* From the metrics, which are made for scrapers: "getattr 12 readdirplus 3". */
static void answer_requests(const struct host *host)
{
    static const char prefix[] = "clip_fuse_requests_total{opcode=\"";
    char *text, line[LINE_LEN] = "requests", opcode[32];
    size_t len, at = strlen(line);
    uint64_t n;

    if (clip_engine_metrics(host->engine, &text, &len) != 0)
        errx(1, "out of memory");
    for (const char *found = text; (found = strstr(found, prefix)) && at < sizeof(line);) {
        found += sizeof(prefix) - 1;
        if (sscanf(found, "%31[a-z_0-9]\"} %" SCNu64, opcode, &n) == 2)
            at += (size_t)snprintf(line + at, sizeof(line) - at, " %s %" PRIu64, opcode, n);
    }
    free(text);
    answer("%s", line);
}

static void obey(struct host *host, const char *command)
{
    if (strncmp(command, "mount ", 6) == 0)
        mount_at(host, command + 6);
    else if (strncmp(command, "profile ", 8) == 0 && host->n_mounts > 0)
        write_profile(host, command + 8);
    else if (strcmp(command, "counters") == 0)
        answer_counters(host);
    else if (strcmp(command, "requests") == 0)
        answer_requests(host);
    else if (strcmp(command, "opened") == 0)
        answer("opened %" PRIu64, host->opening_ns / 1000);
    else
        errx(2, "unknown command: %s", command);
}

static void on_alloc(uv_handle_t *in, size_t suggested, uv_buf_t *out)
{
    struct host *host = in->data;

    (void)suggested;
    *out = uv_buf_init(host->line + host->line_len, (unsigned)(LINE_LEN - host->line_len));
}

/* Whoever drives us waits for each answer, so there is at most one line at a time. */
static void on_input(uv_stream_t *in, ssize_t n, const uv_buf_t *buf)
{
    struct host *host = in->data;
    char *end;

    (void)buf;
    if (n < 0) {
        uv_close((uv_handle_t *)in, NULL);
        clip_engine_close(host->engine, NULL, NULL);
        return;
    }
    host->line_len += (size_t)n;
    end = memchr(host->line, '\n', host->line_len);
    if (end) {
        *end = '\0';
        host->line_len = 0;
        obey(host, host->line);
    } else if (host->line_len == LINE_LEN) {
        errx(2, "a command is too long");
    }
}

static void read_commands(struct host *host)
{
    uv_pipe_init(&host->loop, &host->in, 0);
    host->in.data = host;
    if (uv_pipe_open(&host->in, 0) != 0 ||
        uv_read_start((uv_stream_t *)&host->in, on_alloc, on_input) != 0)
        errx(1, "stdin is not a pipe");
}

static enum clip_idle_polling idle_polling(void)
{
    const char *text = getenv("CLIP_IDLE_POLLING");

    return text && strcmp(text, "off") == 0 ? CLIP_IDLE_POLLING_OFF : CLIP_IDLE_POLLING_AUTO;
}

int main(int argc, char **argv)
{
    static struct host host;
    struct clip_engine_options options = {
        .on_log = on_log,
        .log_level = CLIP_LOG_WARN,
        .idle_polling = idle_polling(),
    };
    struct clip_error error;

    if (argc < 3 || argc > 4)
        errx(2, "usage: host INDEX CACHE_DIR [SOURCE]");
    uv_loop_init(&host.loop);
    host.opening_ns = uv_hrtime();
    if (clip_image_open(argv[1], &host.image, &error) != 0 ||
        clip_engine_open(&host.loop, &options, &host.engine, &error) != 0)
        errx(1, "%s", error.message);
    host.opening_ns = uv_hrtime() - host.opening_ns;
    host.options.image = host.image;
    host.options.reader.cache_dir = argv[2];
    host.options.reader.source = argv[3];
    host.options.reader.prefetch = true;
    read_commands(&host);
    uv_run(&host.loop, UV_RUN_DEFAULT);
    clip_image_unref(host.image);
    return uv_loop_close(&host.loop) == 0 ? 0 : 1;
}
