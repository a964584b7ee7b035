/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/extract_plan.h"
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG_LEN (3u << 20)

static struct fixture {
    struct test_loop t;
    struct indexed it;
    struct clip_reader *reader;
    uint8_t *big;
    char dir[96];
    bool done;
    int status;
    struct clip_error err;
} f;

static void set_up(void)
{
    struct test_image *made = &f.it.made;

    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    indexed_set_up(&f.it, &f.t);
    image_layer_begin(made);
    image_add(made, "usr/", S_IFDIR | 0555, NULL, 0);
    image_add(made, "usr/bin/", S_IFDIR | 02755, NULL, 0);
    image_add(made, "usr/bin/su", S_IFREG | 04755, "#!", 2);
    image_add_link(made, "usr/bin/sudo", S_IFREG, "usr/bin/su");
    image_add_link(made, "bin", S_IFLNK, "usr/bin");
    image_add_link(made, "out", S_IFLNK, "/etc/../../../../tmp");
    image_add(made, "empty", S_IFREG | 0400, NULL, 0);
    f.big = indexed_add_noise(&f.it, "big", BIG_LEN, 5);
    memset(f.big, 0, BIG_LEN);
    image_add(made, "zeros", S_IFREG | 0644, f.big, BIG_LEN);
    image_noise(f.big, BIG_LEN, 5);
    image_layer_end(made, CODEC_GZIP);
    indexed_finish(&f.it, 64 << 10);
    snprintf(f.dir, sizeof(f.dir), "%s/tree", made->dir);
    f.reader = indexed_reader(&f.it, NULL);
}

static void tear_down(void)
{
    if (f.reader)
        indexed_close(&f.it, f.reader);
    loop_tear_down(&f.t);
    indexed_tear_down(&f.it);
    free(f.big);
}

TestSuite(extract, .init = set_up, .fini = tear_down);

static void on_done(void *data, int status, const struct clip_error *err)
{
    (void)data;
    f.done = true;
    f.status = status;
    if (err)
        f.err = *err;
}

static int extract(void)
{
    f.done = false;
    cr_assert_eq(clip_reader_extract(f.reader, CLIP_ROOT_INO, f.dir, on_done, NULL), 0);
    cr_assert(!f.done);
    LOOP_RUN_UNTIL(&f.t, f.done);
    return f.status;
}

static struct stat stat_of(const char *path)
{
    struct stat st = {0};
    char full[200];

    snprintf(full, sizeof(full), "%s/%s", f.dir, path);
    cr_assert_eq(lstat(full, &st), 0, "%s", path);
    return st;
}

static void expect_content(const char *path, const void *bytes, size_t len)
{
    uint8_t *have = malloc(len + 1);
    char full[200];
    FILE *file;

    snprintf(full, sizeof(full), "%s/%s", f.dir, path);
    file = fopen(full, "rb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fread(have, 1, len + 1, file), len);
    cr_assert_eq(memcmp(have, bytes, len), 0);
    fclose(file);
    free(have);
}

Test(extract, writes_the_tree_as_it_is)
{
    char target[64] = "", path[200];

    cr_assert_eq(extract(), 0, "%s", f.err.message);
    expect_content("big", f.big, BIG_LEN);
    expect_content("usr/bin/su", "#!", 2);
    expect_content("empty", "", 0);
    cr_assert_eq(stat_of("usr").st_mode, S_IFDIR | 0555);
    cr_assert_eq(stat_of("usr/bin").st_mode, S_IFDIR | 02755);
    cr_assert_eq(stat_of("usr/bin/su").st_mode, S_IFREG | 04755);
    cr_assert_eq(stat_of("empty").st_mode, S_IFREG | 0400);
    cr_assert_eq(stat_of("usr/bin").st_mtime, 1700000000);
    cr_assert_eq(stat_of("out").st_mtime, 1700000000);
    cr_assert_eq(stat_of("usr/bin/su").st_ino, stat_of("usr/bin/sudo").st_ino);
    snprintf(path, sizeof(path), "%s/out", f.dir);
    cr_assert_gt(readlink(path, target, sizeof(target) - 1), 0);
    cr_assert_str_eq(target, "/etc/../../../../tmp");
}

Test(extract, leaves_zeros_as_holes)
{
    struct stat st;

    cr_assert_eq(extract(), 0, "%s", f.err.message);
    st = stat_of("zeros");
    cr_assert_eq(st.st_size, BIG_LEN);
    cr_assert_leq(st.st_blocks, 16);
}

Test(extract, refuses_a_directory_that_is_not_empty)
{
    char path[128];

    cr_assert_eq(mkdir(f.dir, 0755), 0);
    snprintf(path, sizeof(path), "%s/x", f.dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    cr_assert_eq(extract(), -ENOTEMPTY);
    cr_assert_not_null(strstr(f.err.message, f.dir));
}

Test(extract, refuses_what_is_no_directory)
{
    cr_assert_eq(clip_reader_extract(f.reader, indexed_ino(&f.it, "big"), f.dir, on_done, NULL), 0);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ENOTDIR);
    cr_assert_lt(access(f.dir, F_OK), 0);
}

Test(extract, says_that_the_directory_is_not_complete_when_it_fails)
{
    struct stat st;
    char path[128];

    cr_assert_eq(unlink(f.it.made.layers[0].path), 0);
    cr_assert_eq(extract(), -EIO);
    cr_assert_not_null(strstr(f.err.message, "not complete"), "%s", f.err.message);
    snprintf(path, sizeof(path), "%s/big", f.dir);
    cr_assert_lt(lstat(path, &st), 0, "no file is half there");
}

Test(extract, ends_when_the_reader_closes)
{
    cr_assert_eq(clip_reader_extract(f.reader, CLIP_ROOT_INO, f.dir, on_done, NULL), 0);
    indexed_close(&f.it, f.reader);
    f.reader = NULL;
    cr_assert(f.done);
    cr_assert_eq(f.status, -ECANCELED);
}

Test(extract, ends_when_the_reader_closes_in_the_midst_of_files)
{
    struct clip_counters counters = {0};

    cr_assert_eq(clip_reader_extract(f.reader, CLIP_ROOT_INO, f.dir, on_done, NULL), 0);
    while (counters.bytes_served == 0) {
        loop_run_once(&f.t, "the first read");
        clip_reader_counters(f.reader, &counters);
    }
    indexed_close(&f.it, f.reader);
    f.reader = NULL;
    cr_assert(f.done);
}

Test(extract, plans_each_file_once_and_its_further_names_as_links)
{
    struct plan plan;

    cr_assert_eq(plan_make(f.it.image, CLIP_ROOT_INO, &plan, &f.err), 0);
    cr_assert_eq(plan.dirs.n, 2);
    cr_assert_eq(plan.files.n, 4);
    cr_assert_eq(plan.nodes.n, 2);
    cr_assert_eq(plan.links.n, 1);
    cr_assert_not_null(plan_first(&plan, plan.links.entries[0].ino));
    cr_assert_null(plan_first(&plan, 1u << 30));
    plan_fini(&plan);
}
