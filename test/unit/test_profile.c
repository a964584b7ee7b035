/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/reader.h"
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIG_LEN (3u << 20)
#define SPAN    (64u << 10)
/* in one zstd frame */
#define FRAMED_LEN (1u << 20)

static struct fixture {
    struct test_loop t;
    struct indexed it;
    struct clip_reader *reader;
    struct clip_image *profiled;
    uint8_t *big, *buf;
    uint64_t big_ino;
    char cache[128], path[128];
    struct clip_error err;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    indexed_set_up(&f.it, &f.t);
    image_layer_begin(&f.it.made);
    f.big = indexed_add_noise(&f.it, "big", BIG_LEN, 5);
    image_layer_end(&f.it.made, CODEC_GZIP);
    image_layer_begin(&f.it.made);
    free(indexed_add_noise(&f.it, "framed", FRAMED_LEN, 6));
    image_layer_end(&f.it.made, CODEC_ZSTD);
    indexed_finish(&f.it, SPAN);
    f.big_ino = indexed_ino(&f.it, "big");
    f.buf = malloc(BIG_LEN);
    snprintf(f.cache, sizeof(f.cache), "%s/cache", f.it.made.dir);
    snprintf(f.path, sizeof(f.path), "%s/profiled.clip", f.it.made.dir);
}

static void tear_down(void)
{
    if (f.reader)
        indexed_close(&f.it, f.reader);
    loop_tear_down(&f.t);
    clip_image_unref(f.profiled);
    indexed_tear_down(&f.it);
    free(f.big);
    free(f.buf);
}

TestSuite(profile, .init = set_up, .fini = tear_down);

static uint64_t cache_size; /* of the next reader's; 0: chosen */

static void open_reader(struct clip_image *image, const char *cache, bool prefetch)
{
    const struct clip_reader_options options = {.source = f.it.made.source,
                                                .cache_dir = cache,
                                                .cache_size = cache_size,
                                                .prefetch = prefetch};
    int r = clip_reader_open(f.t.engine, image, &options, &f.reader, &f.err);

    cr_assert_eq(r, 0, "%s", f.err.message);
}

static void read_at(uint64_t off, size_t len)
{
    int r = indexed_read(&f.it, f.reader, f.big_ino, off, f.buf, len, &f.err);

    cr_assert_eq(r, (int)len, "%s", f.err.message);
    cr_assert_eq(memcmp(f.buf, f.big + off, len), 0);
}

static uint64_t n_fetched(void)
{
    struct clip_counters counters;

    clip_reader_counters(f.reader, &counters);
    return counters.spans_fetched;
}

static uint32_t span_of(uint64_t off)
{
    struct image_extent extent;

    image_extent(f.it.image, f.big_ino, off, 1, &extent);
    return (uint32_t)image_span_at(f.it.image, extent.layer, extent.layer_off);
}

static void assert_profile_is(const struct profile *profile, const uint64_t *offs, size_t n)
{
    cr_assert_eq(profile->n, n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(profile->spans[i].layer, 0);
        cr_assert_eq(profile->spans[i].span, span_of(offs[i]));
    }
}

Test(profile, is_what_was_read_in_the_order_of_that)
{
    static const uint64_t offs[] = {2u << 20, 100, 1u << 20};

    open_reader(f.it.image, NULL, true);
    for (size_t i = 0; i < 3; i++)
        read_at(offs[i], 10);
    for (size_t i = 0; i < 3; i++)
        read_at(offs[i] + 10, 10);
    assert_profile_is(&f.reader->profile, offs, 3);
}

Test(profile, has_each_span_once_however_many_there_are)
{
    open_reader(f.it.image, NULL, false);
    read_at(0, BIG_LEN);
    read_at(0, BIG_LEN);
    cr_assert_geq(f.reader->profile.n, BIG_LEN / (2 * SPAN));
    cr_assert_leq(f.reader->profile.n, image_n_spans(f.it.image));
    for (size_t i = 1; i < f.reader->profile.n; i++)
        cr_assert_gt(f.reader->profile.spans[i].span, f.reader->profile.spans[i - 1].span);
}

static void make_profiled(const struct clip_profile_span *spans, size_t n)
{
    cr_assert_eq(clip_image_save(f.it.image, spans, n, f.path, &f.err), 0, "%s", f.err.message);
    cr_assert_eq(clip_image_open(f.path, &f.profiled, &f.err), 0, "%s", f.err.message);
}

/* Of three spans in the middle of the file. */
static void make_profiled_middle(void)
{
    const struct clip_profile_span spans[3] = {
        {0, span_of(2u << 20)}, {0, span_of(1u << 20)}, {0, span_of(1u << 20) + 1}};

    make_profiled(spans, 3);
}

Test(profile, is_fetched_before_anybody_reads)
{
    struct clip_counters counters;

    make_profiled_middle();
    open_reader(f.profiled, f.cache, true);
    LOOP_RUN_UNTIL(&f.t, n_fetched() == 3);
    clip_reader_counters(f.reader, &counters);
    cr_assert_eq(counters.reads, 0);
    cr_assert_eq(counters.range_requests, 2, "neighbours are one request");
    read_at(1u << 20, 10);
    cr_assert_eq(n_fetched(), 3);
}

Test(profile, may_name_what_lies_in_a_frame)
{
    const struct clip_profile_span spans[2] = {{1, 3}, {1, 1}};
    struct image_layer layer;

    image_layer(f.it.image, 1, &layer);
    cr_assert_gt(layer.n_spans, 4);
    make_profiled(spans, 2);
    open_reader(f.profiled, f.cache, true);
    LOOP_RUN_UNTIL(&f.t, n_fetched() == layer.n_spans);
}

Test(profile, takes_the_place_of_guesses)
{
    make_profiled_middle();
    open_reader(f.profiled, f.cache, true);
    LOOP_RUN_UNTIL(&f.t, n_fetched() == 3);
    read_at(0, 10); /* a file of less than 5 MiB would be asked for whole */
    read_at(2u << 20, 10);
    cr_assert_eq(n_fetched(), 4);
}

Test(profile, is_left_alone_by_who_does_not_want_it)
{
    make_profiled_middle();
    open_reader(f.profiled, f.cache, false);
    cr_assert(queue_empty(&f.reader->client.ahead));
}

Test(profile, is_left_alone_without_a_place_to_keep_it)
{
    make_profiled_middle();
    open_reader(f.profiled, NULL, true);
    cr_assert(queue_empty(&f.reader->client.ahead));
}

Test(profile, may_wait_for_the_cache_when_the_reader_closes)
{
    make_profiled_middle();
    open_reader(f.profiled, f.cache, true);
    cr_assert_not(queue_empty(&f.reader->client.opening.node));
}

Test(profile, may_be_on_its_way_when_the_reader_closes)
{
    make_profiled_middle();
    open_reader(f.profiled, f.cache, true);
    LOOP_RUN_UNTIL(&f.t, !queue_empty(&f.reader->client.flights));
}

Test(profile, is_asked_for_at_once_where_the_cache_is_open)
{
    make_profiled_middle();
    open_reader(f.profiled, f.cache, true);
    LOOP_RUN_UNTIL(&f.t, n_fetched() == 3);
    indexed_close(&f.it, f.reader);
    open_reader(f.profiled, f.cache, true);
    cr_assert(queue_empty(&f.reader->client.opening.node));
}

static bool is_quiet(const struct cache_client *client)
{
    return queue_empty(&client->opening.node) && queue_empty(&client->ahead) &&
           queue_empty(&client->flights);
}

Test(profile, takes_no_more_than_half_of_the_cache)
{
    make_profiled_middle();
    cache_size = 3 * SPAN;
    open_reader(f.profiled, f.cache, true);
    LOOP_RUN_UNTIL(&f.t, is_quiet(&f.reader->client));
    cr_assert_lt(n_fetched(), 3);
}

Test(profile, whose_blob_is_gone_fails_nobody)
{
    make_profiled_middle();
    cr_assert_eq(unlink(f.it.made.layers[0].path), 0);
    open_reader(f.profiled, f.cache, true);
    LOOP_RUN_UNTIL(&f.t, is_quiet(&f.reader->client));
    cr_assert_eq(n_fetched(), 0);
}
