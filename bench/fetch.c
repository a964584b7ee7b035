/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One fetch of a URL, as fast as it goes: for bench/fetch, which compiles it against the folders'
 * own libraries.
 *
 *     fetch URL [CA_FILE]
 *
 * The answer is one line: bytes, microseconds from the first byte's request to the end,
 * microseconds of CPU, slabs.
 */
#include "net/fetch.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define WINDOW (4u << 20)

static struct run {
    struct fetch *fetch;
    uint64_t n_bytes, n_slabs;
    bool ended;
} self;

static void on_slab(void *data, struct slab *slab)
{
    size_t len = slab->len;

    (void)data;
    self.n_bytes += len;
    self.n_slabs++;
    slab_unlock(slab);
    fetch_credit(self.fetch, len);
}

static void on_end(void *data, int status, const struct clip_error *err)
{
    (void)data;
    if (status < 0)
        errx(1, "%s", err->message);
    self.ended = true;
}

static uint64_t cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
    struct fetch_options options = {.on_slab = on_slab, .on_end = on_end};
    struct clip_engine *engine;
    struct clip_error error;
    uint64_t began = engine_now_ns();
    uv_loop_t loop;

    if (argc < 2)
        errx(2, "usage: fetch URL [CA_FILE]");
    options.url = argv[1];
    options.trust.ca_file = argc > 2 ? argv[2] : NULL;
    uv_loop_init(&loop);
    if (clip_engine_open(&loop, NULL, &engine, &error) < 0 ||
        fetch_open(engine, &options, &self.fetch, &error) < 0)
        errx(1, "%s", error.message);
    fetch_credit(self.fetch, WINDOW);
    while (!self.ended)
        uv_run(&loop, UV_RUN_ONCE);
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", self.n_bytes,
           (engine_now_ns() - began) / 1000, cpu_us(), self.n_slabs);
    clip_engine_close(engine, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : 1;
}
