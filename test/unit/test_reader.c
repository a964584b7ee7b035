/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIG_LEN (3u << 20)

static struct fixture {
    struct test_loop t;
    struct indexed it;
    struct clip_reader *reader;
    uint8_t *big, *buf;
    uint64_t big_ino;
    struct clip_error err;
    unsigned n_done, n_closed;
    int status[64];
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    indexed_set_up(&f.it, &f.t);
    image_layer_begin(&f.it.made);
    image_add(&f.it.made, "etc/", S_IFDIR | 0755, NULL, 0);
    image_add(&f.it.made, "etc/passwd", S_IFREG | 0644, "root:x:0:0\n", 11);
    image_add(&f.it.made, "empty", S_IFREG | 0644, NULL, 0);
    f.big = indexed_add_noise(&f.it, "big", BIG_LEN, 5);
    image_layer_end(&f.it.made, CODEC_GZIP);
    indexed_finish(&f.it, 64 << 10);
    f.big_ino = indexed_ino(&f.it, "big");
    f.buf = malloc(2 * BIG_LEN);
    f.reader = indexed_reader(&f.it, NULL);
}

static void tear_down(void)
{
    if (f.reader)
        indexed_close(&f.it, f.reader);
    loop_tear_down(&f.t);
    indexed_tear_down(&f.it);
    free(f.big);
    free(f.buf);
}

TestSuite(reader, .init = set_up, .fini = tear_down);

static int read_big(uint64_t off, size_t len)
{
    return indexed_read(&f.it, f.reader, f.big_ino, off, f.buf, len, &f.err);
}

Test(reader, reads_a_file_that_lies_in_many_spans)
{
    struct clip_counters counters;

    cr_assert_eq(read_big(0, BIG_LEN), (int)BIG_LEN, "%s", f.err.message);
    cr_assert_eq(memcmp(f.buf, f.big, BIG_LEN), 0);
    clip_reader_counters(f.reader, &counters);
    cr_assert_eq(counters.bytes_served, BIG_LEN);
    cr_assert_eq(counters.inflight, 0);
    cr_assert_geq(counters.spans_fetched, BIG_LEN / (128 << 10));
    cr_assert_gt(counters.stall_ns, 0);
}

Test(reader, stops_at_the_end_of_a_file)
{
    cr_assert_eq(read_big(BIG_LEN - 10, 100), 10);
    cr_assert_eq(memcmp(f.buf, f.big + BIG_LEN - 10, 10), 0);
    cr_assert_eq(read_big(BIG_LEN, 100), 0);
    cr_assert_eq(read_big(UINT64_MAX - 5, 100), 0);
    cr_assert_eq(read_big(0, 2 * BIG_LEN), (int)BIG_LEN);
    cr_assert_eq(read_big(0, 0), 0);
}

Test(reader, reads_small_and_empty_files)
{
    char text[32] = "";

    cr_assert_eq(indexed_read(&f.it, f.reader, indexed_ino(&f.it, "empty"), 0, text, 10, NULL), 0);
    cr_assert_eq(indexed_read(&f.it, f.reader, indexed_ino(&f.it, "etc/passwd"), 0, text, 32, NULL),
                 11);
    cr_assert_str_eq(text, "root:x:0:0\n");
}

Test(reader, refuses_what_is_no_file)
{
    cr_assert_eq(indexed_read(&f.it, f.reader, indexed_ino(&f.it, "etc"), 0, f.buf, 1, NULL),
                 -EISDIR);
    cr_assert_eq(indexed_read(&f.it, f.reader, 1u << 30, 0, f.buf, 1, NULL), -EINVAL);
    cr_assert_eq(indexed_read(&f.it, f.reader, f.big_ino, 0, f.buf, 1ull << 32, NULL), -EINVAL);
}

static void on_read(void *data, int status, const struct clip_error *err)
{
    cr_assert_eq(status < 0, err != NULL);
    f.status[(uintptr_t)data] = status;
    f.n_done++;
}

static void start_many(unsigned n)
{
    size_t len = BIG_LEN / 64;

    for (uintptr_t i = 0; i < n; i++)
        cr_assert_eq(clip_reader_read(f.reader, f.big_ino, i * len, f.buf + i * len, len, on_read,
                                      (void *)i),
                     0);
}

Test(reader, answers_many_reads_at_once)
{
    start_many(64);
    LOOP_RUN_UNTIL(&f.t, f.n_done == 64);
    cr_assert_eq(memcmp(f.buf, f.big, BIG_LEN), 0);
}

static void on_closed(void *data)
{
    (void)data;
    cr_assert_eq(f.n_done, 64, "reads end before the reader does");
    f.n_closed++;
}

Test(reader, cancels_what_is_in_flight_when_it_closes)
{
    start_many(64);
    clip_reader_close(f.reader, on_closed, NULL);
    f.reader = NULL;
    LOOP_RUN_UNTIL(&f.t, f.n_closed == 1);
    for (unsigned i = 0; i < 64; i++)
        cr_assert_eq(f.status[i], -ECANCELED);
}

Test(reader, is_closed_by_its_engine)
{
    start_many(64);
    f.reader = NULL; /* the tear-down closes the engine alone */
}

Test(reader, refuses_reads_while_it_closes)
{
    clip_reader_close(f.reader, on_closed, NULL);
    cr_assert_eq(clip_reader_read(f.reader, f.big_ino, 0, f.buf, 1, on_read, NULL), -ESHUTDOWN);
    f.reader = NULL;
    f.n_done = 64;
    LOOP_RUN_UNTIL(&f.t, f.n_closed == 1);
}

Test(reader, fails_with_the_cause_and_works_again_when_the_blob_is_back)
{
    char moved[200];

    snprintf(moved, sizeof(moved), "%s.away", f.it.made.layers[0].path);
    cr_assert_eq(rename(f.it.made.layers[0].path, moved), 0);
    cr_assert_eq(read_big(0, 100), -EIO);
    cr_assert_neq(f.err.message[0], '\0');
    cr_assert_eq(rename(moved, f.it.made.layers[0].path), 0);
    cr_assert_eq(read_big(0, 100), 100);
    cr_assert_eq(memcmp(f.buf, f.big, 100), 0);
}

Test(reader, says_which_source_it_cannot_read)
{
    struct clip_reader_options options = {.source = "oci:"};
    struct clip_reader *reader;

    cr_assert_eq(clip_reader_open(f.t.engine, f.it.image, &options, &reader, &f.err), -EINVAL);
    cr_assert_neq(f.err.message[0], '\0');
}
