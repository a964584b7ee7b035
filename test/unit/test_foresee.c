/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads the beginning of a file finds what the file needs fetched. */
#include "fs/cache_private.h"
#include "fs/reader.h"
#include "test/lib/elf.h"
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPAN     (64u << 10)
#define LIB_LEN  (256u << 10)
#define PROG_LEN 512u

static struct fixture {
    struct test_loop t;
    struct indexed it;
    struct clip_reader *reader;
    struct clip_image *profiled;
    struct clip_reader_options options;
    char cache[128], path[128];
    struct clip_error err;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    indexed_set_up(&f.it, &f.t);
    image_layer_begin(&f.it.made);
    f.options = (struct clip_reader_options){
        .source = f.it.made.source, .cache_dir = f.cache, .prefetch = true};
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
}

TestSuite(foresee, .init = set_up, .fini = tear_down);

/* A library: what it says, then noise, so that a span of it is as large as one of a blob. */
static void add(const char *path, size_t len, const char *needed)
{
    size_t elf_len;
    uint8_t *elf = elf_make(&(struct elf_says){.needed = {needed}}, &elf_len);
    uint8_t *file = malloc(len);

    image_noise(file, len, (uint32_t)strlen(path) + (uint32_t)path[strlen(path) - 1] * 256);
    cr_assert_leq(elf_len, len);
    memcpy(file, elf, elf_len);
    image_add(&f.it.made, path, S_IFREG | 0755, file, len);
    free(file);
    free(elf);
}

/* So that what lies around it is in spans of its own, and no read of it is of a library. */
static void add_space(const char *path)
{
    free(indexed_add_noise(&f.it, path, 4 * SPAN, (uint32_t)path[0]));
}

static void finish(void)
{
    image_layer_end(&f.it.made, CODEC_GZIP);
    indexed_finish(&f.it, SPAN);
}

/* A program, and a library that it needs, far behind it. */
static void make_program(void)
{
    add("prog", PROG_LEN, "liba.so");
    add_space("1");
    add("lib/liba.so", LIB_LEN, NULL);
    finish();
}

static void open_reader(void)
{
    f.reader = indexed_reader(&f.it, &f.options);
}

static void read_at(const char *path, uint64_t off)
{
    char byte;

    cr_assert_eq(indexed_read(&f.it, f.reader, indexed_ino(&f.it, path), off, &byte, 1, &f.err), 1,
                 "%s", f.err.message);
}

static struct clip_counters counters(void)
{
    struct clip_counters out;

    clip_reader_counters(f.reader, &out);
    return out;
}

static bool is_quiet(void)
{
    return queue_empty(&f.reader->client.ahead) && queue_empty(&f.reader->client.wanted) &&
           queue_empty(&f.reader->client.flights);
}

/* Is all of that part of it here, or on its way? */
static bool is_there(const char *path, uint64_t off, uint64_t len)
{
    struct image_extent extent;
    struct cache_layer *layer;
    uint64_t last;

    image_extent(f.it.image, indexed_ino(&f.it, path), off, len, &extent);
    cr_assert_eq(extent.len, len);
    layer = cache_layer_of(&f.reader->client, extent.layer);
    last = image_span_at(f.it.image, extent.layer, extent.layer_off + len - 1);
    for (uint64_t i = image_span_at(f.it.image, extent.layer, extent.layer_off); i <= last; i++) {
        const struct cache_span *span = &layer->spans[i];

        if (!span->slab && !span->pending && !(span->flags & SPAN_STORED))
            return false;
    }
    return true;
}

/* Nothing waits for a library: reading all of it makes no request. */
static void assert_fetched(const char *path, uint64_t len)
{
    uint64_t before;

    LOOP_RUN_UNTIL(&f.t, is_quiet());
    before = counters().range_requests;
    for (uint64_t off = 0; off < len; off += SPAN / 4)
        read_at(path, off);
    cr_assert_eq(counters().range_requests, before, "%s", path);
}

Test(foresee, fetches_what_a_program_needs)
{
    make_program();
    open_reader();
    read_at("prog", 0);
    assert_fetched("lib/liba.so", LIB_LEN);
}

Test(foresee, fetches_what_that_needs_in_turn)
{
    add("prog", PROG_LEN, "liba.so");
    add_space("1");
    add("lib/liba.so", PROG_LEN, "libb.so");
    add_space("2");
    add("lib/libb.so", LIB_LEN, "liba.so");
    finish();
    open_reader();
    read_at("prog", 0);
    assert_fetched("lib/libb.so", LIB_LEN);
}

Test(foresee, fetches_only_that)
{
    add("prog", PROG_LEN, "liba.so");
    add_space("1");
    add("lib/liba.so", PROG_LEN, NULL);
    add_space("2");
    add("lib/libc.so", LIB_LEN, NULL);
    add_space("3");
    finish();
    open_reader();
    read_at("prog", 0);
    LOOP_RUN_UNTIL(&f.t, is_quiet());
    cr_assert_not(is_there("lib/libc.so", 2 * SPAN, SPAN));
    cr_assert_not(is_there("3", 2 * SPAN, SPAN));
    read_at("lib/liba.so", 0);
    LOOP_RUN_UNTIL(&f.t, is_quiet());
    cr_assert_not(is_there("lib/libc.so", 2 * SPAN, SPAN), "nothing is guessed from that");
}

Test(foresee, goes_by_beginnings)
{
    add("prog", LIB_LEN, "liba.so");
    add_space("1");
    add("lib/liba.so", LIB_LEN, NULL);
    finish();
    open_reader();
    read_at("prog", SPAN);
    LOOP_RUN_UNTIL(&f.t, is_quiet());
    cr_assert_not(is_there("lib/liba.so", 2 * SPAN, SPAN));
    read_at("prog", 0);
    cr_assert(is_there("lib/liba.so", 0, LIB_LEN));
}

Test(foresee, takes_a_large_library_at_both_ends)
{
    const uint64_t len = 12u << 20, end = 2u << 20;

    add("prog", PROG_LEN, "liba.so");
    add_space("1");
    add("lib/liba.so", len, NULL);
    finish();
    open_reader();
    read_at("prog", 0);
    cr_assert(is_there("lib/liba.so", 0, end));
    cr_assert(is_there("lib/liba.so", len - end, end));
    cr_assert_not(is_there("lib/liba.so", len / 2, SPAN));
}

Test(foresee, is_left_alone_by_who_does_not_want_it)
{
    f.options.prefetch = false;
    make_program();
    open_reader();
    read_at("prog", 0);
    cr_assert_not(is_there("lib/liba.so", 2 * SPAN, SPAN));
}

Test(foresee, is_left_alone_without_a_place_to_keep_it)
{
    f.options.cache_dir = NULL;
    make_program();
    open_reader();
    read_at("prog", 0);
    cr_assert_not(is_there("lib/liba.so", 2 * SPAN, SPAN));
}

Test(foresee, is_left_to_a_profile_where_there_is_one)
{
    const struct clip_profile_span one = {0, 0};

    make_program();
    cr_assert_eq(clip_image_save(f.it.image, &one, 1, f.path, &f.err), 0, "%s", f.err.message);
    cr_assert_eq(clip_image_open(f.path, &f.profiled, &f.err), 0, "%s", f.err.message);
    cr_assert(image_has_needs(f.profiled), "they are kept beside the profile");
    cr_assert_eq(clip_reader_open(f.t.engine, f.profiled, &f.options, &f.reader, &f.err), 0, "%s",
                 f.err.message);
    read_at("prog", 0);
    LOOP_RUN_UNTIL(&f.t, is_quiet());
    cr_assert_not(is_there("lib/liba.so", 2 * SPAN, SPAN));
}

/* Half of the cache may be foreseen: the second library is not, until the first has been read. */
Test(foresee, waits_for_what_was_foreseen_to_be_read)
{
    f.options.cache_size = 4 * LIB_LEN;
    add("prog", PROG_LEN, "liba.so");
    add_space("1");
    add("lib/liba.so", LIB_LEN, "libb.so");
    add_space("2");
    add("lib/libb.so", LIB_LEN, "libc.so");
    add_space("3");
    add("lib/libc.so", LIB_LEN, NULL);
    finish();
    open_reader();
    read_at("prog", 0);
    LOOP_RUN_UNTIL(&f.t, is_quiet());
    cr_assert_not(is_there("lib/libc.so", 0, LIB_LEN));
    for (uint64_t off = 0; off < LIB_LEN; off += SPAN / 4)
        read_at("lib/liba.so", off);
    read_at("lib/libb.so", 0);
    LOOP_RUN_UNTIL(&f.t, is_quiet());
    cr_assert(is_there("lib/libc.so", 0, LIB_LEN));
}

Test(foresee, of_a_blob_that_is_gone_fails_nobody)
{
    char byte;

    make_program();
    open_reader();
    cr_assert_eq(unlink(f.it.made.layers[0].path), 0);
    cr_assert_lt(indexed_read(&f.it, f.reader, indexed_ino(&f.it, "prog"), 0, &byte, 1, &f.err), 0);
    LOOP_RUN_UNTIL(&f.t, is_quiet());
}

Test(foresee, may_be_on_its_way_when_the_reader_closes)
{
    add("prog", PROG_LEN, "liba.so");
    add_space("1");
    add("lib/liba.so", 12u << 20, NULL);
    finish();
    open_reader();
    read_at("prog", 0);
    cr_assert_not(is_quiet());
}
