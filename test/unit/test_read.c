/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/read.h"

#include "fs/cache_private.h"
#include "fs/reader.h"
#include "test/lib/gate.h"
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIG_LEN (6u << 20)
#define N_READS 24u

static struct fixture {
    struct test_loop t;
    struct indexed it;
    struct clip_reader *reader;
    struct clip_reader_options options;
    uint8_t *big;
    uint64_t big_ino;
    char dir[96];
    unsigned n_done;
    int status, first_status;
} f;

/* A layer of small files with a large one at its end, read from a fresh cache. */
static void set_up_files(unsigned n_small, size_t small_len)
{
    char name[32];

    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    indexed_set_up(&f.it, &f.t);
    image_layer_begin(&f.it.made);
    for (unsigned i = 0; i < n_small; i++) {
        snprintf(name, sizeof(name), "small%u", i);
        free(indexed_add_noise(&f.it, name, small_len, i + 1));
    }
    f.big = indexed_add_noise(&f.it, "big", BIG_LEN, 5);
    image_layer_end(&f.it.made, CODEC_GZIP);
    indexed_finish(&f.it, 64 << 10);
    f.big_ino = indexed_ino(&f.it, "big");
    snprintf(f.dir, sizeof(f.dir), "%s/cache", f.it.made.dir);
    f.options.cache_dir = f.dir;
    f.reader = indexed_reader(&f.it, &f.options);
}

static void set_up(void)
{
    set_up_files(0, 0);
}

static void tear_down(void)
{
    if (f.reader)
        indexed_close(&f.it, f.reader);
    loop_tear_down(&f.t);
    indexed_tear_down(&f.it);
    free(f.big);
}

TestSuite(read, .init = set_up, .fini = tear_down);

static void on_read(struct read *read, int status)
{
    (void)read;
    if (f.n_done++ == 0)
        f.first_status = status;
    f.status = status;
}

static void expect_pieces(const struct read *read, const uint8_t *file, size_t file_len)
{
    size_t want = read->off >= file_len ? 0 : file_len - read->off;
    uint64_t off = read->off;

    if (want > read->len)
        want = read->len;
    cr_assert_eq(read->n_bytes, want);
    cr_assert_leq(read->n_pieces, READ_PIECES_MAX);
    for (unsigned i = 0; i < read->n_pieces; i++) {
        cr_assert_eq(memcmp(read->pieces[i].iov_base, file + off, read->pieces[i].iov_len), 0);
        off += read->pieces[i].iov_len;
    }
    cr_assert_eq(off - read->off, want);
}

static int read_and_wait(struct read *read)
{
    int r;

    f.n_done = 0;
    r = read_start(f.reader, read, on_read);
    if (r != 0)
        return r;
    cr_assert_eq(f.n_done, 0, "never from inside the call");
    LOOP_RUN_UNTIL(&f.t, f.n_done == 1);
    return f.status;
}

Test(read, waits_the_first_time_and_is_answered_in_place_then)
{
    struct read read = {.ino = f.big_ino, .off = 1000, .len = READ_MAX};

    cr_assert_eq(read_and_wait(&read), 0);
    expect_pieces(&read, f.big, BIG_LEN);
    read_release(&read);
    cr_assert_eq(read_and_wait(&read), 1);
    expect_pieces(&read, f.big, BIG_LEN);
    read_release(&read);
}

Test(read, keeps_its_bytes_until_it_is_released)
{
    struct read first = {.ino = f.big_ino, .off = 0, .len = 100};

    cr_assert_eq(read_and_wait(&first), 0);
    for (uint64_t off = 0; off < BIG_LEN; off += READ_MAX) {
        struct read other = {.ino = f.big_ino, .off = off, .len = READ_MAX};
        cr_assert_geq(read_and_wait(&other), 0);
        read_release(&other);
    }
    indexed_close(&f.it, f.reader);
    f.reader = NULL;
    expect_pieces(&first, f.big, BIG_LEN);
    read_release(&first);
}

Test(read, refuses_what_cannot_be_read)
{
    struct read read = {.ino = CLIP_ROOT_INO, .len = 1};

    cr_assert_eq(read_start(f.reader, &read, on_read), -EISDIR);
    read.ino = 1u << 30;
    cr_assert_eq(read_start(f.reader, &read, on_read), -EINVAL);
    read.ino = f.big_ino;
    read.len = READ_MAX + 1;
    cr_assert_eq(read_start(f.reader, &read, on_read), -EINVAL);
}

Test(read, ends_once_when_it_is_cancelled_while_others_go_on)
{
    struct read a = {.ino = f.big_ino, .len = READ_MAX}, b = a;

    cr_assert_eq(read_start(f.reader, &a, on_read), 0);
    cr_assert_eq(read_start(f.reader, &b, on_read), 0);
    read_cancel(&a);
    read_cancel(&a);
    cr_assert_eq(f.n_done, 0, "never from inside the call");
    LOOP_RUN_UNTIL(&f.t, f.n_done == 2);
    cr_assert_eq(f.first_status, -ECANCELED);
    cr_assert_eq(f.status, 0);
    expect_pieces(&b, f.big, BIG_LEN);
    read_release(&b);
}

/* As fsx does it: many at once, anywhere, some cancelled, in a cache that is too small, with files
 * that change on disk. */
Test(read, gives_the_reference_bytes_at_random)
{
    static struct read reads[N_READS];
    struct clip_reader_options small = {.cache_dir = f.dir, .cache_size = 2u << 20};
    uint32_t x = 42;
    unsigned n_started;

    indexed_close(&f.it, f.reader);
    loop_tear_down(&f.t);
    loop_set_up(&f.t);
    f.reader = indexed_reader(&f.it, &small);
    for (unsigned round = 0; round < 60; round++) {
        n_started = 0;
        f.n_done = 0;
        for (unsigned i = 0; i < N_READS; i++) {
            struct read *read = &reads[n_started];
            x = x * 1664525 + 1013904223;
            *read = (struct read){.ino = f.big_ino, .off = (x >> 7) % (BIG_LEN + 1000)};
            x = x * 1664525 + 1013904223;
            read->len = x >> 31 ? READ_MAX : (x >> 8) % 20000;
            int r = read_start(f.reader, read, on_read);
            cr_assert_geq(r, 0);
            if (r > 0) {
                expect_pieces(read, f.big, BIG_LEN);
                read_release(read);
            } else {
                n_started++;
            }
        }
        if (n_started > 0 && round % 3 == 0)
            read_cancel(&reads[n_started / 2]);
        LOOP_RUN_UNTIL(&f.t, f.n_done == n_started);
        for (unsigned i = 0; i < n_started; i++) {
            if (reads[i].impl)
                expect_pieces(&reads[i], f.big, BIG_LEN);
            read_release(&reads[i]);
        }
    }
}

/* ---- fairness */

static unsigned n_greedy;

static void on_greedy(struct read *read, int status)
{
    (void)status;
    read_release(read);
    n_greedy++;
}

Test(read, does_not_wait_behind_all_of_a_greedy_reader)
{
    static struct read greedy[64];
    struct clip_reader *other = indexed_reader(&f.it, NULL); /* memory only: nothing is shared */
    struct read mine = {.ino = f.big_ino, .off = BIG_LEN - 100, .len = 100};

    for (unsigned i = 0; i < 64; i++) {
        greedy[i] = (struct read){
            .ino = f.big_ino, .off = (uint64_t)i * 37 % 64 * (BIG_LEN / 64), .len = BIG_LEN / 64};
        cr_assert_eq(read_start(f.reader, &greedy[i], on_greedy), 0);
    }
    cr_assert_eq(read_start(other, &mine, on_read), 0);
    LOOP_RUN_UNTIL(&f.t, f.n_done == 1);
    cr_assert_eq(f.status, 0);
    cr_assert_lt(n_greedy, 64, "it was answered before the greedy one had all it wanted");
    read_release(&mine);
    LOOP_RUN_UNTIL(&f.t, n_greedy == 64);
    indexed_close(&f.it, other);
}

/* The greedy one has had much, also as of now. */
static void had_much(void)
{
    cache_client_rest(&f.reader->client, 1000000000000);
}

static void read_mine(struct clip_reader *reader, struct read *mine)
{
    unsigned n = f.n_done;

    cr_assert_eq(read_start(reader, mine, on_read), 0);
    LOOP_RUN_UNTIL(&f.t, (had_much(), f.n_done > n));
    cr_assert_eq(f.status, 0);
    read_release(mine);
}

/* Nothing here depends on how fast this machine is: the other waits all the time, and what the
 * greedy one has had is more than a turn of the loop that takes a second makes it forget. */
Test(read, leaves_a_greedy_reader_two_fetches_while_others_wait)
{
    static struct read greedy[64];
    struct clip_reader *other = indexed_reader(&f.it, NULL);
    struct read mine = {.ino = f.big_ino, .len = 100};

    share_wait_begin(&other->client);
    had_much();
    for (unsigned i = 0; i < 64; i++) {
        greedy[i] = (struct read){
            .ino = f.big_ino, .off = (uint64_t)i * 37 % 64 * (BIG_LEN / 64), .len = 100};
        cr_assert_eq(read_start(f.reader, &greedy[i], on_greedy), 0);
    }
    for (unsigned i = 0; i < 10; i++) {
        mine.off = (uint64_t)i * 7 % 10 * (BIG_LEN / 10);
        read_mine(other, &mine);
        cr_assert_leq(f.reader->client.n_flights, 2);
    }
    share_wait_end(&other->client);
    LOOP_RUN_UNTIL(&f.t, n_greedy == 64);
    indexed_close(&f.it, other);
}

Test(read, lets_who_had_little_go_first_and_nobody_when_all_had_much)
{
    const uint64_t much = 50000000;
    struct clip_reader *other = indexed_reader(&f.it, NULL);
    struct read mine = {.ino = f.big_ino, .off = BIG_LEN - 100, .len = 100};

    cr_assert_eq(cache_client_rest(&f.reader->client, much), 0, "it is alone");
    cr_assert_eq(read_start(other, &mine, on_read), 0);
    cr_assert_gt(cache_client_rest(&f.reader->client, much), much);
    cr_assert_eq(cache_client_rest(&other->client, 2 * much), 0);
    cr_assert_eq(cache_client_rest(&f.reader->client, 0), 0, "not twice as much");
    LOOP_RUN_UNTIL(&f.t, f.n_done == 1);
    read_release(&mine);
    indexed_close(&f.it, other);
}

/* ---- files of a few spans */

static struct clip_counters counters(void)
{
    struct clip_counters c;

    clip_reader_counters(f.reader, &c);
    return c;
}

static void begin_with_small_files(unsigned n, size_t len)
{
    tear_down();
    set_up_files(n, len);
}

static void read_some(uint64_t ino, uint64_t off)
{
    struct read read = {.ino = ino, .off = off, .len = 100};

    cr_assert_geq(read_and_wait(&read), 0);
    read_release(&read);
}

Test(read, fetches_a_small_file_whole_by_one_request)
{
    begin_with_small_files(1, 1u << 20);
    read_some(indexed_ino(&f.it, "small0"), 0);
    LOOP_RUN_UNTIL(&f.t, f.reader->client.n_flights == 0);
    cr_assert_geq(counters().spans_fetched, 12);
    cr_assert_eq(counters().range_requests, 1);
    for (uint64_t off = 1u << 20; off > 0; off -= 64u << 10)
        read_some(indexed_ino(&f.it, "small0"), off - 100);
    cr_assert_eq(counters().range_requests, 1);
    cr_assert_eq(counters().misses, 1);
}

Test(read, fetches_of_a_large_file_what_is_read)
{
    read_some(f.big_ino, 0);
    cr_assert_leq(counters().spans_fetched, 2);
}

Test(read, does_not_fetch_all_files_whose_beginnings_are_read)
{
    char name[32];

    begin_with_small_files(24, 512u << 10);
    for (unsigned i = 0; i < 24; i++) {
        snprintf(name, sizeof(name), "small%u", i);
        read_some(indexed_ino(&f.it, name), 0);
    }
    /* a few files whole, and the beginnings of the others */
    cr_assert_leq(counters().spans_fetched, 60);
}

/* ---- lanes */

static enum work_lane lane_at(uint64_t ino, uint64_t off)
{
    const struct clip_image *image = f.reader->image;
    struct image_extent extent;
    struct cache_span *span;

    cr_assert_geq(image_extent(image, ino, off, 1, &extent), 0);
    span = &f.reader->client.layers[extent.layer]
                ->spans[image_span_at(image, extent.layer, extent.layer_off)];
    cr_assert(span->pending && span->pending->flight);
    return flight_lane(span->pending->flight);
}

static void start(struct read *read, uint64_t ino, uint64_t off)
{
    *read = (struct read){.ino = ino, .off = off, .len = 100};
    cr_assert_eq(read_start(f.reader, read, on_read), 0);
}

/* Nothing runs in the pool while it is held, so that what has set out does not land. */
static struct gate gate;

static void hold_pool(void)
{
    LOOP_RUN_UNTIL(&f.t, f.reader->client.n_flights == 0);
    f.n_done = 0; /* what opened the layer does not count */
    gate_close(&gate, &f.t, WORK_READ);
}

Test(read, decodes_at_once_what_is_waited_for_whatever_else_was_asked_for)
{
    struct read first, second;
    uint64_t ino;

    begin_with_small_files(2, 3u << 20);
    ino = indexed_ino(&f.it, "small0");
    read_some(indexed_ino(&f.it, "small1"), 0); /* the layer is open from here on */
    hold_pool();
    start(&first, ino, 0); /* asks for all 3 MiB */
    start(&second, f.big_ino, BIG_LEN - 100);
    LOOP_RUN_UNTIL(&f.t, f.reader->client.n_flights > 0);
    cr_expect_eq(lane_at(ino, 0), WORK_READ);
    cr_expect_eq(lane_at(f.big_ino, BIG_LEN - 100), WORK_READ);
    gate_open(&gate);
    LOOP_RUN_UNTIL(&f.t, f.n_done == 2);
    read_release(&first);
    read_release(&second);
}

Test(read, decodes_in_bulk_when_much_is_waited_for)
{
    const uint64_t apart = READ_MAX + (512u << 10); /* what lies between is not wanted */
    struct read much[3], last;

    read_some(f.big_ino, READ_MAX + (256u << 10)); /* the layer is open from here on */
    hold_pool();
    for (unsigned i = 0; i < 3; i++) {
        much[i] = (struct read){.ino = f.big_ino, .off = i * apart, .len = READ_MAX};
        cr_assert_eq(read_start(f.reader, &much[i], on_read), 0);
    }
    start(&last, f.big_ino, BIG_LEN - 100);
    LOOP_RUN_UNTIL(&f.t, f.reader->client.n_flights > 0);
    cr_expect_eq(lane_at(f.big_ino, 0), WORK_READ);
    cr_expect_eq(lane_at(f.big_ino, BIG_LEN - 100), WORK_BULK);
    gate_open(&gate);
    LOOP_RUN_UNTIL(&f.t, f.n_done == 4);
    for (unsigned i = 0; i < 3; i++)
        read_release(&much[i]);
    read_release(&last);
}
