/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cache_private.h"
#include "fs/reader.h"

#include "test/lib/gate.h"
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG_LEN  (4u << 20)
#define SPAN_LEN (64u << 10)

static struct fixture {
    struct test_loop t;
    struct indexed it;
    struct clip_reader_options options;
    struct clip_reader *reader;
    char dir[96];
    uint8_t *big, *buf;
    uint64_t big_ino;
    struct clip_error err;
} f;

static void set_up_with(enum codec codec)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    indexed_set_up(&f.it, &f.t);
    image_layer_begin(&f.it.made);
    f.big = indexed_add_noise(&f.it, "big", BIG_LEN, 5);
    image_layer_end(&f.it.made, codec);
    indexed_finish(&f.it, SPAN_LEN);
    f.big_ino = indexed_ino(&f.it, "big");
    f.buf = malloc(BIG_LEN);
    snprintf(f.dir, sizeof(f.dir), "%s/cache", f.it.made.dir);
    f.options.cache_dir = f.dir;
}

static void set_up(void)
{
    set_up_with(CODEC_GZIP);
}

static void set_up_frame(void)
{
    set_up_with(CODEC_ZSTD);
}

static void open_reader(void)
{
    f.reader = indexed_reader(&f.it, &f.options);
}

static void close_reader(void)
{
    if (f.reader)
        indexed_close(&f.it, f.reader);
    f.reader = NULL;
}

static void tear_down(void)
{
    close_reader();
    loop_tear_down(&f.t);
    indexed_tear_down(&f.it);
    free(f.big);
    free(f.buf);
}

TestSuite(cache, .init = set_up, .fini = tear_down);
/* A layer that is one zstd frame, which cannot be entered in the middle. */
TestSuite(cache_chain, .init = set_up_frame, .fini = tear_down);

/* As if another process came: a new engine, which has the directory's lock anew. */
static void begin_anew(void)
{
    close_reader();
    loop_tear_down(&f.t);
    loop_set_up(&f.t);
    open_reader();
}

static void expect_big(void)
{
    memset(f.buf, 0, BIG_LEN);
    cr_assert_eq(indexed_read(&f.it, f.reader, f.big_ino, 0, f.buf, BIG_LEN, &f.err), (int)BIG_LEN,
                 "%s", f.err.message);
    cr_assert_eq(memcmp(f.buf, f.big, BIG_LEN), 0);
}

static struct clip_counters counters(void)
{
    struct clip_counters c;

    clip_reader_counters(f.reader, &c);
    return c;
}

Test(cache, serves_what_an_earlier_process_left_without_fetching)
{
    open_reader();
    expect_big();
    begin_anew();
    expect_big();
    cr_assert_eq(counters().spans_fetched, 0);
    cr_assert_eq(counters().range_requests, 0);
}

/* ---- what is fetched */

static uint64_t metric(const char *name)
{
    char *text, *at, line[96];
    size_t len;
    uint64_t value = 0;

    cr_assert_eq(clip_engine_metrics(f.t.engine, &text, &len), 0);
    snprintf(line, sizeof(line), "\n%s ", name);
    at = strstr(text, line);
    cr_assert_not_null(at, "%s", name);
    value = strtoull(at + strlen(line), NULL, 10);
    free(text);
    return value;
}

static unsigned n_pending;

static void on_read(void *data, int status, const struct clip_error *err)
{
    (void)data;
    cr_assert_geq(status, 0, "%s", err ? err->message : "");
    n_pending--;
}

static void start_read(struct clip_reader *reader, uint64_t off, size_t len)
{
    n_pending++;
    cr_assert_eq(clip_reader_read(reader, f.big_ino, off, f.buf + off, len, on_read, NULL), 0);
}

static uint64_t n_spans(void)
{
    struct clip_layer_info layer;

    clip_image_layer(f.it.image, 0, &layer);
    return layer.n_spans;
}

Test(cache, fetches_a_span_once_for_all_who_wait)
{
    struct clip_reader *other;

    open_reader();
    other = indexed_reader(&f.it, &f.options);
    for (unsigned i = 0; i < 20; i++) {
        start_read(f.reader, 0, BIG_LEN);
        start_read(other, 0, BIG_LEN);
    }
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    cr_assert_eq(memcmp(f.buf, f.big, BIG_LEN), 0);
    cr_assert_leq(metric("clip_cache_spans_fetched_total"), n_spans());
    indexed_close(&f.it, other);
}

static void on_cancelled(void *data, int status, const struct clip_error *err)
{
    (void)data, (void)err;
    cr_assert_eq(status, -ECANCELED);
}

Test(cache, hands_over_to_others_when_the_one_who_asked_closes)
{
    uint8_t *spoilt = malloc(BIG_LEN);
    struct clip_reader *other;

    open_reader();
    other = indexed_reader(&f.it, &f.options);
    cr_assert_eq(clip_reader_read(other, f.big_ino, 0, spoilt, BIG_LEN, on_cancelled, NULL), 0);
    start_read(f.reader, 0, BIG_LEN);
    indexed_close(&f.it, other);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    cr_assert_eq(memcmp(f.buf, f.big, BIG_LEN), 0);
    free(spoilt);
}

Test(cache, asks_for_neighbours_by_one_request)
{
    open_reader();
    start_read(f.reader, BIG_LEN - (1u << 20), 1u << 20);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    cr_assert_geq(counters().spans_fetched, 8);
    cr_assert_eq(counters().range_requests, 1);
}

Test(cache, reads_ahead_of_who_reads_in_order)
{
    open_reader();
    /* not from the beginning, for which the whole file would be fetched */
    for (uint64_t off = SPAN_LEN; off < BIG_LEN; off += SPAN_LEN) {
        start_read(f.reader, off, SPAN_LEN);
        LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    }
    cr_assert_eq(memcmp(f.buf + SPAN_LEN, f.big + SPAN_LEN, BIG_LEN - SPAN_LEN), 0);
    cr_assert_leq(counters().spans_fetched, n_spans());
    cr_assert_geq(metric("clip_cache_spans_ahead_total"), n_spans() / 2);
    cr_assert_leq(counters().range_requests, n_spans() / 2);
}

Test(cache, reads_nothing_ahead_of_who_jumps_about)
{
    open_reader();
    for (unsigned i = 0; i < 6; i++) {
        start_read(f.reader, BIG_LEN / 12 + (i * 7 % 6) * (BIG_LEN / 6), 100);
        LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    }
    cr_assert_eq(metric("clip_cache_spans_ahead_total"), 0);
    cr_assert_leq(counters().spans_fetched, 12);
}

/* In the middle of the span: it lies in no other. `n` have been fetched when all is quiet. */
static void touch_span(uint64_t index, uint64_t n)
{
    start_read(f.reader, index * SPAN_LEN + SPAN_LEN / 2, 100);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0 && counters().spans_fetched >= n &&
                             metric("clip_cache_inflight") == 0);
    cr_assert_eq(counters().spans_fetched, n);
}

Test(cache, fetches_the_span_behind_two_that_were_read_in_whatever_order)
{
    open_reader();
    touch_span(20, 1);
    touch_span(9, 2);
    touch_span(10, 4); /* 11 too */
    touch_span(19, 5); /* 20 has been read */
    cr_assert_eq(counters().range_requests, 4, "10 and 11 by one");
    touch_span(11, 6); /* 12 too */
    touch_span(11, 6);
}

Test(cache, is_shared_by_images_that_share_a_layer)
{
    struct clip_image *twin;
    struct clip_reader *other;
    struct clip_image *mine = f.it.image;
    char path[128];

    open_reader();
    expect_big();
    snprintf(path, sizeof(path), "%s/out.clip", f.it.made.dir);
    cr_assert_eq(clip_image_open(path, &twin, NULL), 0);
    f.it.image = twin;
    other = indexed_reader(&f.it, &f.options);
    f.it.image = mine;
    start_read(other, 0, BIG_LEN);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    cr_assert_leq(metric("clip_cache_spans_fetched_total"), n_spans());
    indexed_close(&f.it, other);
    clip_image_unref(twin);
}

/* ---- what is on disk */

/* The cache's one file of a layer; NULL if there is none. */
static char *layer_file(const char *dir_path)
{
    static char path[300];
    DIR *dir = opendir(dir_path);
    struct dirent *entry;

    path[0] = '\0';
    while (dir && (entry = readdir(dir)))
        if (strlen(entry->d_name) > 90)
            snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name);
    if (dir)
        closedir(dir);
    return path[0] ? path : NULL;
}

static uint64_t disk_used(void)
{
    struct stat st;
    char *path = layer_file(f.dir);

    return path && stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* Everything closed, for a test that does something to the file. */
static void close_all(void)
{
    close_reader();
    loop_tear_down(&f.t);
    loop_set_up(&f.t);
}

static void fill(void)
{
    open_reader();
    expect_big();
    close_all();
    cr_assert_not_null(layer_file(f.dir));
}

static void flip_byte(const char *path, uint64_t off)
{
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;

    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, (off_t)off), 1);
    byte ^= 0x55;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)off), 1);
    close(fd);
}

Test(cache, never_gives_wrong_bytes_whichever_byte_on_disk_is_wrong)
{
    struct stat st;

    fill();
    cr_assert_eq(stat(layer_file(f.dir), &st), 0);
    for (uint64_t off = 0; off < (uint64_t)st.st_size; off += off < DISK_DATA_OFF ? 41 : 400009) {
        if (off > 500 && off < DISK_DATA_OFF)
            off = DISK_DATA_OFF;
        flip_byte(layer_file(f.dir), off);
        open_reader();
        expect_big();
        close_all();
    }
}

Test(cache, fetches_again_only_what_is_wrong_on_disk)
{
    fill();
    flip_byte(layer_file(f.dir), DISK_DATA_OFF + 20 * (SPAN_LEN + 4096));
    open_reader();
    expect_big();
    cr_assert_eq(counters().spans_fetched, 1);
    cr_assert_eq(metric("clip_cache_spans_corrupt_total"), 1);
    begin_anew();
    expect_big();
    cr_assert_eq(counters().spans_fetched, 0, "it was stored again");
}

Test(cache, begins_anew_when_the_file_is_cut_or_foreign)
{
    for (unsigned how = 0; how < 4; how++) {
        fill();
        char *path = layer_file(f.dir);
        if (how == 0) {
            cr_assert_eq(truncate(path, 0), 0);
        } else if (how == 1) {
            cr_assert_eq(truncate(path, 300), 0);
        } else if (how == 2) {
            cr_assert_eq(truncate(path, DISK_DATA_OFF + BIG_LEN / 2), 0);
        } else {
            cr_assert_eq(unlink(path), 0);
            cr_assert_eq(mkdir(path, 0700), 0);
        }
        open_reader();
        expect_big();
        close_all();
    }
}

Test(cache, keeps_what_a_process_stored_that_was_killed)
{
    char command[700], copy[128];

    open_reader();
    expect_big();
    LOOP_RUN_UNTIL(&f.t, metric("clip_cache_stored_bytes_total") >= BIG_LEN);
    /* the map as the stores left it: a process that ends well writes it once more */
    snprintf(copy, sizeof(copy), "%s/copy", f.it.made.dir);
    snprintf(command, sizeof(command), "cp %s %s", layer_file(f.dir), copy);
    cr_assert_eq(system(command), 0);
    close_all();
    cr_assert_eq(rename(copy, layer_file(f.dir)), 0);
    open_reader();
    expect_big();
    cr_assert_leq(counters().spans_fetched, 1, "what was being stored");
}

static void read_at_random(unsigned n)
{
    uint32_t x = 12345;

    for (unsigned i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        uint64_t off = (x >> 8) % BIG_LEN;
        size_t len = x % (200 << 10);
        int want = (int)(len < BIG_LEN - off ? len : BIG_LEN - off);
        int r = indexed_read(&f.it, f.reader, f.big_ino, off, f.buf, len, &f.err);
        cr_assert_eq(r, want, "%s", f.err.message);
        cr_assert_eq(memcmp(f.buf, f.big + off, (size_t)r), 0);
    }
}

Test(cache, stays_within_its_budget_while_it_is_read)
{
    uint64_t budget = 1u << 20;
    uint32_t x = 1;

    f.options.cache_size = budget;
    open_reader();
    for (unsigned i = 0; i < 60; i++) {
        x = x * 1664525 + 1013904223;
        start_read(f.reader, (x >> 8) % (BIG_LEN - (300 << 10)), 300 << 10);
        LOOP_RUN_UNTIL(&f.t, n_pending == 0);
        cr_assert_leq(disk_used(), budget + (64 << 10));
        cr_assert_leq(metric("clip_cache_size_bytes"), budget);
    }
    cr_assert_gt(metric("clip_cache_evictions_total"), 0);
    read_at_random(50);
}

Test(cache, counts_what_an_earlier_process_left)
{
    fill();
    cr_assert_gt(disk_used(), BIG_LEN);
    f.options.cache_size = 1u << 20;
    open_reader();
    read_at_random(5);
    LOOP_RUN_UNTIL(&f.t, metric("clip_cache_size_bytes") <= f.options.cache_size);
    close_all();
    cr_assert_leq(disk_used(), f.options.cache_size + (64 << 10));
}

Test(cache, removes_files_of_layers_that_nobody_has_used_for_longest)
{
    char path[256];
    int fd;

    fill();
    snprintf(path, sizeof(path), "%s/%064d-%032d", f.dir, 0, 0);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    memset(f.buf, 1, BIG_LEN);
    cr_assert_eq(write(fd, f.buf, BIG_LEN), (ssize_t)BIG_LEN);
    cr_assert_eq(futimens(fd, (struct timespec[2]){{1, 0}, {1, 0}}), 0);
    close(fd);
    f.options.cache_size = 6u << 20;
    open_reader();
    read_at_random(5);
    LOOP_RUN_UNTIL(&f.t, access(path, F_OK) < 0);
    expect_big();
    cr_assert_eq(counters().spans_fetched, 0);
}

/* Without memory of its own, so that bytes come out of the kernel's page cache. */
Test(cache, serves_what_is_stored_out_of_the_page_cache)
{
    open_reader();
    expect_big();
    begin_anew(); /* all is stored by then */
    cache_set_memory(&f.reader->client, 0);
    /* what the kernel has taken back comes from the disk, and is in its page cache then */
    for (unsigned i = 0; i < 50 && counters().hits <= 50; i++)
        read_at_random(50);
    cr_assert_eq(counters().spans_fetched, 0);
    cr_assert_gt(counters().hits, 50);
}

static void read_span(uint64_t index)
{
    uint64_t off = index * SPAN_LEN + SPAN_LEN / 2;

    start_read(f.reader, off, 100);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    cr_assert_eq(memcmp(f.buf + off, f.big + off, 100), 0);
}

/* Stores stand behind the gate; what somebody waits for has a thread left. */
Test(cache, does_not_fetch_again_what_is_being_stored)
{
    static struct gate gate;
    uint64_t fetched;

    open_reader();
    cache_set_memory(&f.reader->client, 0);
    read_span(5); /* the layer is open from here on */
    gate_close(&gate, &f.t, WORK_BULK);
    read_span(20);
    read_span(30);
    fetched = counters().spans_fetched;
    read_span(20);
    cr_expect_eq(counters().spans_fetched, fetched);
    gate_open(&gate);
}

/* Nothing of the layer is in memory, and nothing comes there. */
static void forget_all(void)
{
    struct cache_layer *layer = f.reader->client.layers[0];

    cache_set_memory(&f.reader->client, 0);
    for (uint64_t i = 0; i < layer->n_spans; i++)
        span_forget(&layer->spans[i]);
}

/* With limits that a few spans pass: how many bytes lie where, and that all can be read again. */
Test(cache, lets_the_page_cache_go_of_what_nobody_reads_again)
{
    struct cache *cache;
    uint64_t fetched;

    open_reader();
    cache = f.reader->client.cache;
    cache->hub->settle_batch = 4 * SPAN_LEN;
    cache->hub->settle_max = 16 * SPAN_LEN;
    expect_big();
    LOOP_RUN_UNTIL(&f.t, cache->hub->store_len == 0 && !cache->settling);
    cr_assert_lt(cache->young_len, 4 * SPAN_LEN);
    cr_assert_leq(cache->settled_len, 16 * SPAN_LEN);
    cr_assert_geq(cache->settled_len, 12 * SPAN_LEN);
    fetched = counters().spans_fetched;
    forget_all();
    expect_big(); /* from the disk or the page cache */
    cr_assert_eq(counters().spans_fetched, fetched);
    cr_assert_leq(cache->young_len + cache->settled_len, SPAN_LEN, "all is wanted but the end");
}

Test(cache, counts_what_settles_when_spans_are_evicted)
{
    struct cache *cache;

    f.options.cache_size = 1u << 20;
    open_reader();
    cache = f.reader->client.cache;
    cache->hub->settle_batch = 2 * SPAN_LEN;
    cache->hub->settle_max = 4 * SPAN_LEN;
    read_at_random(50);
    cr_assert_leq(cache->settled_len + cache->young_len, f.options.cache_size);
    close_reader();
    LOOP_RUN_UNTIL(&f.t, cache->settled_len + cache->young_len == 0);
}

Test(cache, never_gives_wrong_bytes_when_files_change_under_a_reader)
{
    open_reader();
    cache_set_memory(&f.reader->client, 0);
    expect_big();
    LOOP_RUN_UNTIL(&f.t, metric("clip_cache_stored_bytes_total") >= BIG_LEN);
    for (unsigned i = 1; i < 20; i++) {
        flip_byte(layer_file(f.dir), DISK_DATA_OFF + i * 200003);
        expect_big();
    }
    cr_assert_gt(metric("clip_cache_spans_corrupt_total"), 10);
    cr_assert_eq(truncate(layer_file(f.dir), 0), 0);
    expect_big();
}

/* ---- directories that fail */

Test(cache, works_without_a_directory_that_can_be_made)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/oci-layout/below-a-file", f.it.made.dir);
    f.options.cache_dir = path;
    open_reader();
    expect_big();
    expect_big();
}

Test(cache, goes_on_when_its_directory_vanishes)
{
    char command[128];

    open_reader();
    start_read(f.reader, 0, BIG_LEN / 2);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    snprintf(command, sizeof(command), "rm -rf %s", f.dir);
    cr_assert_eq(system(command), 0);
    expect_big();
    close_reader();
    open_reader();
    expect_big();
}

static unsigned n_names(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

Test(cache, gives_a_second_process_a_directory_of_its_own)
{
    struct test_loop second;
    struct clip_reader *mine;

    open_reader();
    expect_big();
    mine = f.reader;
    loop_set_up(&second);
    f.it.t = &second;
    open_reader();
    expect_big();
    cr_assert_gt(counters().spans_fetched, 0);
    cr_assert_eq(n_names(f.dir), 3, "the file, the lock, and the private directory");
    close_reader();
    loop_tear_down(&second);
    cr_assert_eq(n_names(f.dir), 2);
    f.it.t = &f.t;
    f.reader = mine;
    expect_big();
}

Test(cache, sweeps_out_private_directories_of_the_dead)
{
    char path[128];

    fill();
    snprintf(path, sizeof(path), "%s/private-1-0", f.dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/private-1-0/lock", f.dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    open_reader();
    expect_big();
    cr_assert_eq(n_names(f.dir), 2);
}

static bool mount_tmpfs(const char *options)
{
    char command[256];

    mkdir(f.dir, 0700);
    snprintf(command, sizeof(command), "mount -t tmpfs -o %s tmpfs %s 2>/dev/null", options, f.dir);
    return system(command) == 0;
}

static void unmount_tmpfs(void)
{
    char command[256];

    snprintf(command, sizeof(command), "umount %s", f.dir);
    cr_assert_eq(system(command), 0);
}

Test(cache, fetches_without_storing_when_the_disk_is_full)
{
    if (!mount_tmpfs("size=1m"))
        cr_skip_test("no root: cannot mount a small disk");
    f.options.cache_size = 1u << 30;
    open_reader();
    expect_big();
    LOOP_RUN_UNTIL(&f.t, metric("clip_cache_stores_failed_total") > 0);
    expect_big();
    close_all();
    unmount_tmpfs();
}

Test(cache, fetches_without_storing_when_the_disk_is_read_only)
{
    if (!mount_tmpfs("ro"))
        cr_skip_test("no root: cannot mount a read-only disk");
    open_reader();
    expect_big();
    close_all();
    unmount_tmpfs();
}

/* ---- chains */

static void read_one(uint64_t off, size_t len)
{
    start_read(f.reader, off, len);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    cr_assert_eq(memcmp(f.buf + off, f.big + off, len), 0);
}

Test(cache_chain, is_decoded_once_whoever_asks_for_what)
{
    open_reader();
    start_read(f.reader, BIG_LEN / 2, 1000);
    start_read(f.reader, BIG_LEN - 1000, 1000);
    start_read(f.reader, 5, 1000);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    cr_assert_eq(memcmp(f.buf + BIG_LEN - 1000, f.big + BIG_LEN - 1000, 1000), 0);
    expect_big();
    cr_assert_eq(counters().spans_fetched, n_spans());
    begin_anew();
    expect_big();
    cr_assert_eq(counters().spans_fetched, 0);
}

Test(cache_chain, goes_on_into_the_cache_when_nobody_waits_any_more)
{
    open_reader();
    read_one(0, 10);
    LOOP_RUN_UNTIL(&f.t, metric("clip_cache_stored_bytes_total") >= BIG_LEN);
    expect_big();
    cr_assert_eq(counters().spans_fetched, n_spans());
}

Test(cache_chain, rests_without_a_disk_until_somebody_wants_more)
{
    f.options.cache_dir = NULL;
    open_reader();
    read_one(0, 10);
    LOOP_RUN_UNTIL(&f.t, metric("clip_cache_inflight") == 0);
    cr_assert_lt(counters().spans_fetched, 4);
    for (uint64_t off = 0; off + SPAN_LEN <= BIG_LEN; off += SPAN_LEN)
        read_one(off, SPAN_LEN);
    cr_assert_leq(counters().range_requests, 4, "it went on where it had stopped");
    cr_assert_leq(counters().spans_fetched, n_spans());
}

Test(cache_chain, begins_anew_for_what_has_passed)
{
    f.options.cache_size = 1u << 20; /* too small for the chain */
    open_reader();
    for (unsigned i = 0; i < 3; i++) {
        read_one(BIG_LEN - 100, 100);
        read_one(100 + i * SPAN_LEN, 100);
    }
    read_at_random(20);
}

Test(cache_chain, ends_with_its_reader)
{
    struct clip_reader *other;

    open_reader();
    other = indexed_reader(&f.it, &f.options);
    cr_assert_eq(clip_reader_read(other, f.big_ino, BIG_LEN - 1, f.buf, 1, on_cancelled, NULL), 0);
    LOOP_RUN_UNTIL(&f.t, metric("clip_cache_inflight") > 0);
    start_read(f.reader, 0, BIG_LEN);
    indexed_close(&f.it, other);
    LOOP_RUN_UNTIL(&f.t, n_pending == 0);
    cr_assert_eq(memcmp(f.buf, f.big, BIG_LEN), 0);
}

Test(cache_chain, fails_who_waits_and_works_again)
{
    char moved[200];

    snprintf(moved, sizeof(moved), "%s.away", f.it.made.layers[0].path);
    cr_assert_eq(rename(f.it.made.layers[0].path, moved), 0);
    open_reader();
    cr_assert_eq(indexed_read(&f.it, f.reader, f.big_ino, 0, f.buf, 10, &f.err), -EIO);
    cr_assert_eq(rename(moved, f.it.made.layers[0].path), 0);
    expect_big();
}
