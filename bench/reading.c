/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast files are read through clip_reader_read(): from the source, and then from the cache.
 *
 *     reading INDEX CACHE_DIR PATH [SIZE [TIMES]]
 *
 * Reads the file at PATH in pieces of SIZE bytes (1 MiB), TIMES times (5), and prints for each how
 * long it took by the clock and on this thread and the pool's together. The first is the fetch, if
 * CACHE_DIR is new; the memory that keeps hot spans holds 16 MiB, so a larger file comes from disk.
 *
 *     cc -O2 bench/reading.c -Iinclude -Lbuild/release -lclip -luv -o /tmp/reading
 */
#include <clip.h>

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <uv.h>

struct bench {
    uv_loop_t loop;
    struct clip_engine *engine;
    struct clip_reader *reader;
    uint64_t ino, off, size;
    uint8_t *buf;
    size_t len;
    bool done;
};

static void on_log(void *data, enum clip_log_level level, const char *message)
{
    (void)data, (void)level;
    fprintf(stderr, "reading: %s\n", message);
}

static void read_next(struct bench *b);

static void on_read(void *data, int status, const struct clip_error *error)
{
    struct bench *b = data;

    if (status < 0)
        errx(1, "%s", error->message);
    b->off += (uint64_t)status;
    if (b->off < b->size)
        read_next(b);
    else
        b->done = true;
}

static void read_next(struct bench *b)
{
    int r = clip_reader_read(b->reader, b->ino, b->off, b->buf, b->len, on_read, b);

    if (r < 0)
        errx(1, "clip_reader_read: %d", r);
}

static double cpu_seconds(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void read_file(struct bench *b, int time)
{
    uint64_t began = uv_hrtime();
    double cpu = cpu_seconds(), seconds;
    struct clip_counters counters;

    b->off = 0;
    b->done = false;
    read_next(b);
    while (!b->done)
        uv_run(&b->loop, UV_RUN_ONCE);
    seconds = (double)(uv_hrtime() - began) / 1e9;
    cpu = cpu_seconds() - cpu;
    clip_reader_counters(b->reader, &counters);
    printf("%d: %.3f s, %.2f GB/s; %.3f s of CPU, %.2f GB/s a core; %" PRIu64
           " spans fetched so far\n",
           time, seconds, (double)b->size / seconds / 1e9, cpu, (double)b->size / cpu / 1e9,
           counters.spans_fetched);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

int main(int argc, char **argv)
{
    struct clip_engine_options engine_options = {.on_log = on_log, .log_level = CLIP_LOG_WARN};
    struct clip_reader_options options = {0};
    struct clip_error error;
    struct clip_image *image;
    struct clip_stat st;
    struct bench b = {.len = 1 << 20};
    bool closed = false;

    if (argc < 4)
        errx(2, "usage: reading INDEX CACHE_DIR PATH [SIZE [TIMES]]");
    if (argc > 4)
        b.len = strtoull(argv[4], NULL, 10);
    options.cache_dir = argv[2];
    b.buf = malloc(b.len);
    uv_loop_init(&b.loop);
    if (clip_image_open(argv[1], &image, &error) < 0 ||
        clip_engine_open(&b.loop, &engine_options, &b.engine, &error) < 0 ||
        clip_reader_open(b.engine, image, &options, &b.reader, &error) < 0)
        errx(1, "%s", error.message);
    if (clip_image_lookup(image, argv[3], true, &b.ino) < 0 ||
        clip_image_stat(image, b.ino, &st) < 0)
        errx(1, "%s: not in the image", argv[3]);
    b.size = st.size;
    for (int i = 0; i < (argc > 5 ? atoi(argv[5]) : 5); i++)
        read_file(&b, i);
    clip_engine_close(b.engine, on_closed, &closed);
    while (!closed)
        uv_run(&b.loop, UV_RUN_ONCE);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    clip_image_unref(image);
    free(b.buf);
    return uv_loop_close(&b.loop) == 0 ? 0 : 1;
}
