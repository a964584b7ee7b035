/* SPDX-License-Identifier: Apache-2.0 */
#include "index/build.h"
#include "index/image.h"
#include "test/lib/image.h"
#include "test/lib/loop.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fixture {
    struct test_loop t;
    struct test_image image;
    char out[128];
    bool done;
    int status;
    struct clip_error err;
    struct clip_index_result result;
    unsigned n_progress;
} f;

#define BIG_LEN (5u << 20)

static void add_layers(void)
{
    uint8_t *big = malloc(BIG_LEN);

    image_noise(big, BIG_LEN, 7);
    image_layer_begin(&f.image);
    image_add(&f.image, "etc/", S_IFDIR | 0755, NULL, 0);
    image_add(&f.image, "etc/passwd", S_IFREG | 0644, "root:x:0:0\n", 11);
    image_add(&f.image, "etc/gone", S_IFREG | 0644, "x", 1);
    image_add(&f.image, "big", S_IFREG | 04755, big, BIG_LEN);
    image_add_link(&f.image, "hard", S_IFREG, "big");
    image_layer_end(&f.image, CODEC_GZIP);
    image_layer_begin(&f.image);
    image_add(&f.image, "etc/.wh.gone", S_IFREG | 0644, NULL, 0);
    image_add_link(&f.image, "soft", S_IFLNK, "etc/passwd");
    image_layer_end(&f.image, CODEC_GZIP);
    image_finish(&f.image);
    free(big);
}

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    image_set_up(&f.image);
    add_layers();
    snprintf(f.out, sizeof(f.out), "%s/out.clip", f.image.dir);
}

static void tear_down(void)
{
    loop_tear_down(&f.t);
    image_tear_down(&f.image);
}

TestSuite(build, .init = set_up, .fini = tear_down);

static void on_done(void *data, int status, const struct clip_error *err,
                    const struct clip_index_result *result)
{
    (void)data;
    f.done = true;
    f.status = status;
    if (err)
        f.err = *err;
    if (result)
        f.result = *result;
}

static void on_progress(void *data, const struct clip_index_progress *progress)
{
    (void)data;
    cr_assert_leq(progress->done, progress->total);
    f.n_progress++;
}

static struct clip_index *start(unsigned jobs)
{
    const struct clip_index_options options = {
        .image = f.image.source,
        .output = f.out,
        .jobs = jobs,
        .on_progress = on_progress,
    };
    struct clip_index *index;
    int r;

    f.done = false;
    r = clip_index_start(f.t.engine, &options, on_done, NULL, &index, &f.err);
    cr_assert_eq(r, 0, "%s", f.err.message);
    cr_assert(!f.done);
    return index;
}

static void build(unsigned jobs)
{
    start(jobs);
    LOOP_RUN_UNTIL(&f.t, f.done);
}

static unsigned n_files_in_dir(void)
{
    DIR *dir = opendir(f.image.dir);
    unsigned n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static char *read_all(const char *path, size_t *out_len)
{
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(64u << 20);

    cr_assert_not_null(file, "%s", path);
    *out_len = fread(bytes, 1, 64u << 20, file);
    fclose(file);
    return bytes;
}

Test(build, gives_an_index_of_the_merged_image)
{
    struct clip_image *image;
    struct clip_stat st;
    uint64_t ino;

    build(2);
    cr_assert_eq(f.status, 0, "%s", f.err.message);
    cr_assert_eq(f.result.n_layers, 2);
    cr_assert_geq(f.n_progress, 2);
    cr_assert_eq(clip_image_open(f.out, &image, &f.err), 0, "%s", f.err.message);
    cr_assert_eq(clip_image_lookup(image, "/soft", true, &ino), 0);
    cr_assert_eq(clip_image_stat(image, ino, &st), 0);
    cr_assert_eq(st.size, 11);
    cr_assert_eq(clip_image_lookup(image, "/etc/gone", false, &ino), -ENOENT);
    cr_assert_eq(clip_image_lookup(image, "hard", false, &ino), 0);
    cr_assert_eq(clip_image_stat(image, ino, &st), 0);
    cr_assert_eq(st.nlink, 2);
    cr_assert_eq(st.mode, S_IFREG | 04755);
    clip_image_unref(image);
}

Test(build, gives_the_same_bytes_with_other_jobs)
{
    size_t len, len_again;
    char *bytes, *again;

    build(1);
    cr_assert_eq(f.status, 0, "%s", f.err.message);
    bytes = read_all(f.out, &len);
    build(8);
    again = read_all(f.out, &len_again);
    cr_assert_eq(len, len_again);
    cr_assert_eq(memcmp(bytes, again, len), 0);
    free(bytes);
    free(again);
}

static void expect_failure(int code, const char *says)
{
    unsigned before = n_files_in_dir();

    build(2);
    cr_assert_eq(f.status, code, "%d: %s", f.status, f.err.message);
    cr_assert_not_null(strstr(f.err.message, says), "%s", f.err.message);
    cr_assert_eq(n_files_in_dir(), before, "nothing is left behind");
}

Test(build, names_the_layer_whose_blob_is_missing)
{
    cr_assert_eq(unlink(f.image.layers[1].path), 0);
    expect_failure(-ENOENT, "layer 2 of 2");
}

Test(build, names_the_layer_whose_blob_is_not_what_its_digest_says)
{
    int fd = open(f.image.layers[0].path, O_RDWR);
    uint8_t byte;

    /* the gzip header's mtime: it still decodes */
    cr_assert_eq(pread(fd, &byte, 1, 4), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, 4), 1);
    close(fd);
    expect_failure(CLIP_EDIGEST, "layer 1 of 2");
}

Test(build, refuses_a_blob_that_is_cut)
{
    cr_assert_eq(truncate(f.image.layers[0].path, (off_t)f.image.layers[0].size - 1000), 0);
    build(2);
    cr_assert_lt(f.status, 0);
    cr_assert_not_null(strstr(f.err.message, "layer 1 of 2"), "%s", f.err.message);
}

Test(build, ends_when_it_is_cancelled)
{
    clip_index_cancel(start(2));
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
    cr_assert_neq(access(f.out, F_OK), 0);
}

Test(build, ends_when_the_engine_closes)
{
    start(2);
    loop_run_once(&f.t, "a little progress");
}

Test(build, refuses_a_span_size_that_is_too_small)
{
    const struct clip_index_options options = {
        .image = f.image.source, .output = f.out, .span_size = 100};
    struct clip_index *index;

    cr_assert_eq(clip_index_start(f.t.engine, &options, on_done, NULL, &index, &f.err), -EINVAL);
}
