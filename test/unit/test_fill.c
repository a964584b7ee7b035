/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG_LEN (4u << 20)

static struct fixture {
    struct test_loop t;
    struct indexed it;
    struct clip_reader *reader;
    struct clip_reader_options reading;
    uint8_t *files[3], *buf;
    char dir[96], out[96];
    bool done;
    int status;
    struct clip_error err;
} f;

static const enum codec codecs[] = {CODEC_GZIP, CODEC_ZSTD, CODEC_TAR};

static void set_up(void)
{
    char name[8];

    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    indexed_set_up(&f.it, &f.t);
    for (uint32_t i = 0; i < 3; i++) {
        image_layer_begin(&f.it.made);
        snprintf(name, sizeof(name), "file%u", i);
        f.files[i] = indexed_add_noise(&f.it, name, BIG_LEN, 5 + i);
        image_layer_end(&f.it.made, codecs[i]);
    }
    image_finish(&f.it.made);
    f.buf = malloc(BIG_LEN);
    snprintf(f.dir, sizeof(f.dir), "%s/cache", f.it.made.dir);
    snprintf(f.out, sizeof(f.out), "%s/out.clip", f.it.made.dir);
    f.reading.cache_dir = f.dir;
}

static void tear_down(void)
{
    if (f.reader)
        indexed_close(&f.it, f.reader);
    loop_tear_down(&f.t);
    indexed_tear_down(&f.it);
    for (unsigned i = 0; i < 3; i++)
        free(f.files[i]);
    free(f.buf);
}

TestSuite(fill, .init = set_up, .fini = tear_down);

static void on_done(void *data, int status, const struct clip_error *err,
                    const struct clip_index_result *result)
{
    (void)data, (void)result;
    f.done = true;
    f.status = status;
    if (err)
        f.err = *err;
}

static struct clip_index *start(void)
{
    struct clip_index_options options = {
        .image = f.it.made.source,
        .output = f.out,
        .span_size = 64 << 10,
        .cache_dir = f.dir,
        .fill_cache = true,
    };
    struct clip_index *index = NULL;

    f.done = false;
    cr_assert_eq(clip_index_start(f.t.engine, &options, on_done, NULL, &index, &f.err), 0, "%s",
                 f.err.message);
    return index;
}

static void index_and_open(void)
{
    start();
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.err.message);
    cr_assert_eq(clip_image_open(f.out, &f.it.image, &f.err), 0);
}

static void expect_files(void)
{
    char name[8];

    for (unsigned i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        cr_assert_eq(
            indexed_read(&f.it, f.reader, indexed_ino(&f.it, name), 0, f.buf, BIG_LEN, &f.err),
            (int)BIG_LEN, "%s", f.err.message);
        cr_assert_eq(memcmp(f.buf, f.files[i], BIG_LEN), 0);
    }
}

static void expect_fetched(uint64_t n)
{
    struct clip_counters counters;

    clip_reader_counters(f.reader, &counters);
    cr_assert_eq(counters.spans_fetched, n);
}

static unsigned n_names(void)
{
    DIR *dir = opendir(f.dir);
    unsigned n = 0;

    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 2 ? n - 2 : 0;
}

Test(fill, leaves_nothing_to_be_fetched)
{
    index_and_open();
    cr_assert_eq(n_names(), 4, "three layers and the lock");
    f.reader = indexed_reader(&f.it, &f.reading);
    expect_files();
    expect_fetched(0);
}

Test(fill, leaves_nothing_to_be_fetched_by_the_next_process_either)
{
    index_and_open();
    loop_tear_down(&f.t);
    loop_set_up(&f.t);
    f.reader = indexed_reader(&f.it, &f.reading);
    expect_files();
    expect_fetched(0);
}

Test(fill, leaves_alone_what_a_reader_has_open)
{
    index_and_open();
    f.reader = indexed_reader(&f.it, &f.reading);
    expect_files();
    start();
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.err.message);
    cr_assert_eq(n_names(), 4);
    expect_files();
    expect_fetched(0);
}

Test(fill, keeps_no_layer_that_is_not_right)
{
    cr_assert_eq(truncate(f.it.made.layers[1].path, (off_t)f.it.made.layers[1].size / 2), 0);
    start();
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_lt(f.status, 0);
    cr_assert_leq(n_names(), 3);
}

Test(fill, removes_what_is_not_whole_when_cancelled)
{
    struct clip_index *index = start();

    while (n_names() < 2)
        loop_run_once(&f.t, "a layer's file");
    clip_index_cancel(index);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
    cr_assert_leq(n_names(), 4);
    loop_tear_down(&f.t);
    loop_set_up(&f.t);
    for (unsigned i = 0; i < 10; i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/fill-%u-%u", f.dir, (unsigned)getpid(), i);
        cr_assert_lt(access(path, F_OK), 0);
    }
}

Test(fill, makes_the_index_all_the_same_where_nothing_can_be_kept)
{
    snprintf(f.dir, sizeof(f.dir), "%s/oci-layout/x", f.it.made.dir);
    index_and_open();
    f.reader = indexed_reader(&f.it, &f.reading);
    expect_files();
}

Test(fill, needs_a_directory)
{
    struct clip_index_options options = {
        .image = f.it.made.source, .output = f.out, .fill_cache = true};
    struct clip_index *index;

    cr_assert_eq(clip_index_start(f.t.engine, &options, on_done, NULL, &index, &f.err), -EINVAL);
}
