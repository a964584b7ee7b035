/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts in this very process: what touches the tree runs on uv's pool, while the loop answers. */
#include "engine/metrics.h"
#include "fs/mounts.h"
#include "test/lib/image.h"
#include "test/lib/loop.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FILE_LEN (3u << 20)

static struct fixture {
    struct test_loop t;
    struct test_image made;
    struct clip_image *image;
    struct clip_mount *mount;
    char dir[96], index[96];
    uint8_t *bytes; /* of the file */
    bool ran, opened, unmounted, closed;
    int status, end_status, result;
    struct clip_error err;
} f;

/* ---- jobs: f.result is what they return */

static int (*job)(const char *dir);

static void on_work(uv_work_t *req)
{
    (void)req;
    f.result = job(f.dir);
}

static void after_work(uv_work_t *req, int status)
{
    (void)req, (void)status;
    f.ran = true;
}

static int in_pool(int (*run)(const char *dir))
{
    uv_work_t req;

    job = run;
    f.ran = false;
    uv_queue_work(&f.t.loop, &req, on_work, after_work);
    LOOP_RUN_UNTIL(&f.t, f.ran);
    return f.result;
}

static int join(char *out, size_t len, const char *dir, const char *name)
{
    return snprintf(out, len, "%s/%s", dir, name);
}

/* ---- fixture */

static void on_indexed(void *data, int status, const struct clip_error *err,
                       const struct clip_index_result *result)
{
    (void)data, (void)result;
    cr_assert_eq(status, 0, "%s", err ? err->message : "");
    f.opened = true;
}

static void make_image(void)
{
    struct clip_index_options options = {.image = f.made.source, .output = f.index};
    struct clip_index *index;

    f.bytes = malloc(FILE_LEN);
    image_noise(f.bytes, FILE_LEN, 7);
    image_set_up(&f.made);
    image_layer_begin(&f.made);
    image_add(&f.made, "file", S_IFREG | 04755, f.bytes, FILE_LEN);
    image_add(&f.made, "empty", S_IFREG | 0644, "", 0);
    image_add(&f.made, "dir", S_IFDIR | 01777, NULL, 0);
    image_add(&f.made, "dir/inner", S_IFREG | 0600, "inner", 5);
    image_add_link(&f.made, "link", S_IFLNK, "dir/inner");
    image_layer_end(&f.made, CODEC_GZIP);
    image_finish(&f.made);
    join(f.index, sizeof(f.index), f.made.dir, "out.clip");
    options.image = f.made.source;
    cr_assert_eq(clip_index_start(f.t.engine, &options, on_indexed, NULL, &index, NULL), 0);
    LOOP_RUN_UNTIL(&f.t, f.opened);
    cr_assert_eq(clip_image_open(f.index, &f.image, NULL), 0);
}

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) != 0)
        return;
    make_image();
    join(f.dir, sizeof(f.dir), f.made.dir, "mnt");
    cr_assert_eq(mkdir(f.dir, 0755), 0);
}

static void tear_down(void)
{
    loop_tear_down(&f.t);
    clip_image_unref(f.image);
    if (f.image)
        image_tear_down(&f.made);
    free(f.bytes);
}

TestSuite(mount, .init = set_up, .fini = tear_down);

#define NEEDS_FUSE()                                                                               \
    do {                                                                                           \
        if (!f.image)                                                                              \
            cr_skip_test("needs root and /dev/fuse");                                              \
    } while (0)

static void on_opened(void *data, int status, const struct clip_error *err)
{
    (void)data;
    f.opened = true;
    f.status = status;
    if (status < 0) {
        f.err = *err;
        f.mount = NULL;
    }
}

static void on_unmounted(void *data, int status, const struct clip_error *err)
{
    (void)data, (void)err;
    f.unmounted = true;
    f.end_status = status;
}

static void on_closed(void *data)
{
    (void)data;
    f.closed = true;
}

static void start_mount(const char *at)
{
    struct clip_mount_options options = {
        .image = f.image, .mountpoint = at, .on_unmounted = on_unmounted};

    f.opened = false;
    cr_assert_eq(clip_mount_open(f.t.engine, &options, on_opened, NULL, &f.mount, &f.err), 0, "%s",
                 f.err.message);
    cr_assert(!f.opened);
}

static void mount_it(void)
{
    start_mount(f.dir);
    LOOP_RUN_UNTIL(&f.t, f.opened);
    cr_assert_eq(f.status, 0, "%s", f.err.message);
}

static bool is_mounted(void)
{
    struct mounts_entry entry;

    return mounts_find(f.dir, &entry) == 0;
}

static void close_it(void)
{
    f.closed = false;
    clip_mount_close(f.mount, on_closed, NULL);
    cr_assert(!f.closed);
    LOOP_RUN_UNTIL(&f.t, f.closed);
    cr_assert(!is_mounted());
}

/* ---- what is seen */

static int look_around(const char *dir)
{
    char path[128], text[32] = "";
    struct stat st, root;
    DIR *listing = opendir(dir);
    int n = 0;

    while (listing && readdir(listing))
        n++;
    closedir(listing);
    join(path, sizeof(path), dir, "file");
    if (n != 6 || lstat(path, &st) != 0 || lstat(dir, &root) != 0)
        return -1;
    if (st.st_mode != (S_IFREG | 04755) || st.st_size != FILE_LEN || root.st_ino != CLIP_ROOT_INO)
        return -2;
    if (st.st_blocks != FILE_LEN / 512)
        return -3;
    join(path, sizeof(path), dir, "link");
    if (readlink(path, text, sizeof(text)) != 9 || memcmp(text, "dir/inner", 9) != 0)
        return -4;
    join(path, sizeof(path), dir, "nothing");
    return lstat(path, &st) < 0 && errno == ENOENT ? 0 : -5;
}

static int read_file(const char *dir)
{
    uint8_t *bytes = malloc(FILE_LEN + 1);
    char path[128];
    int fd, r;

    join(path, sizeof(path), dir, "file");
    fd = open(path, O_RDONLY);
    for (ssize_t n, len = 0;; len += n) {
        n = read(fd, bytes + len, FILE_LEN + 1 - (size_t)len);
        if (n > 0)
            continue;
        r = n == 0 && len == FILE_LEN && memcmp(bytes, f.bytes, FILE_LEN) == 0 ? 0 : -1;
        break;
    }
    close(fd);
    free(bytes);
    return r;
}

Test(mount, shows_the_tree_and_the_bytes_of_the_image)
{
    struct clip_counters counters;

    NEEDS_FUSE();
    mount_it();
    cr_assert_eq(in_pool(look_around), 0, "%d", f.result);
    cr_assert_eq(in_pool(read_file), 0);
    clip_mount_counters(f.mount, &counters);
    cr_assert_geq(counters.bytes_served, FILE_LEN); /* more, if the kernel drops pages unread */
    cr_assert_eq(counters.inflight, 0);
    close_it();
}

static int write_something(const char *dir)
{
    char path[128];

    join(path, sizeof(path), dir, "new");
    if (mkdir(path, 0755) == 0 || errno != EROFS)
        return -1;
    join(path, sizeof(path), dir, "file");
    if (open(path, O_WRONLY) >= 0 || errno != EROFS)
        return -2;
    /* past the kernel's own check */
    if (mount(NULL, dir, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, NULL) != 0)
        return -3;
    if (chmod(path, 0644) == 0 || errno != EROFS)
        return -4;
    if (unlink(path) == 0 || errno != EROFS)
        return -5;
    join(path, sizeof(path), dir, "new");
    return open(path, O_CREAT | O_WRONLY, 0644) < 0 && errno == EROFS ? 0 : -6;
}

Test(mount, refuses_to_be_written_also_when_remounted)
{
    NEEDS_FUSE();
    mount_it();
    cr_assert_eq(in_pool(write_something), 0, "%d", f.result);
    close_it();
}

/* ---- where it will not mount */

static void assert_refused(const char *at, int code, const char *why)
{
    start_mount(at);
    LOOP_RUN_UNTIL(&f.t, f.opened);
    cr_assert_eq(f.status, code, "%s: %d", at, f.status);
    cr_assert(strstr(f.err.message, why), "%s", f.err.message);
    cr_assert(strstr(f.err.message, at), "%s", f.err.message);
}

Test(mount, refuses_a_directory_that_is_missing_full_or_taken_and_leaves_nothing)
{
    char path[128];

    NEEDS_FUSE();
    join(path, sizeof(path), f.made.dir, "missing");
    assert_refused(path, -ENOENT, "does not exist");
    assert_refused(f.index, -ENOTDIR, "not a directory");
    assert_refused(f.made.dir, -ENOTEMPTY, "not empty");
    assert_refused("/proc", -EBUSY, "type proc");
    cr_assert(!is_mounted());
}

Test(mount, says_that_a_clip_mount_is_there_already)
{
    struct clip_mount *first;

    NEEDS_FUSE();
    mount_it();
    first = f.mount;
    assert_refused(f.dir, -EBUSY, "clip mount already");
    f.mount = first;
    close_it();
}

/* ---- how it ends */

static int unmount(const char *dir)
{
    struct clip_error err;

    return clip_unmount(dir, &err);
}

Test(mount, tells_the_host_that_it_was_unmounted)
{
    NEEDS_FUSE();
    mount_it();
    cr_assert_eq(in_pool(unmount), 0);
    LOOP_RUN_UNTIL(&f.t, f.unmounted);
    cr_assert_eq(f.end_status, 0);
    cr_assert_eq(in_pool(unmount), -EINVAL);
    close_it();
}

Test(mount, does_not_take_away_what_was_mounted_there_since)
{
    struct clip_mount *first;

    NEEDS_FUSE();
    mount_it();
    cr_assert_eq(in_pool(unmount), 0);
    LOOP_RUN_UNTIL(&f.t, f.unmounted);
    first = f.mount;
    mount_it();
    f.closed = false;
    clip_mount_close(first, on_closed, NULL);
    LOOP_RUN_UNTIL(&f.t, f.closed);
    cr_assert(is_mounted());
    cr_assert_eq(in_pool(read_file), 0);
    close_it();
}

/* By the kernel's control file system, mounted for the moment where tests may not expect it. */
static int abort_connection(const char *dir)
{
    struct mounts_entry entry;
    char control[128], path[192];
    int fd, r = 0;

    join(control, sizeof(control), f.made.dir, "control");
    if (mounts_find(dir, &entry) < 0 || mkdir(control, 0755) < 0 ||
        mount("fusectl", control, "fusectl", 0, NULL) < 0)
        return -errno;
    snprintf(path, sizeof(path), "%s/%u/abort", control, minor(entry.dev));
    fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, "1", 1) != 1)
        r = -errno;
    close(fd);
    umount2(control, MNT_DETACH);
    return r;
}

Test(mount, tells_the_host_that_the_connection_was_cut_and_cleans_up)
{
    NEEDS_FUSE();
    mount_it();
    cr_assert_eq(in_pool(abort_connection), 0, "%s", strerror(-f.result));
    LOOP_RUN_UNTIL(&f.t, f.unmounted);
    cr_assert_eq(f.end_status, -ECONNABORTED);
    cr_assert(is_mounted());
    close_it();
}

Test(mount, may_be_closed_before_it_is_usable)
{
    NEEDS_FUSE();
    start_mount(f.dir);
    close_it();
    cr_assert(f.opened);
    cr_assert_eq(f.status, -ECANCELED);
}

Test(mount, is_taken_away_when_the_engine_closes)
{
    NEEDS_FUSE();
    mount_it();
    loop_tear_down(&f.t);
    cr_assert(!is_mounted());
    loop_set_up(&f.t);
}

static int hold_open(const char *dir)
{
    char path[128];

    join(path, sizeof(path), dir, "file");
    return open(path, O_RDONLY);
}

static int read_held(const char *dir)
{
    uint8_t byte;

    (void)dir;
    return pread(f.end_status, &byte, 1, 0) < 0 ? -errno : 0;
}

Test(mount, goes_away_lazily_when_a_file_is_open_and_reads_fail_then)
{
    NEEDS_FUSE();
    mount_it();
    cr_assert_geq(in_pool(hold_open), 0);
    f.end_status = f.result;
    close_it();
    cr_assert_lt(in_pool(read_held), 0);
    close(f.end_status);
}

/* ---- what the kernel asks */

/* The value of the line that begins so; 0 if there is none. */
static double metric(const char *name)
{
    char line[96], *text, *at;
    double value = 0;
    size_t len;

    cr_assert_eq(clip_engine_metrics(f.t.engine, &text, &len), 0);
    snprintf(line, sizeof(line), "\n%s ", name);
    at = strstr(text, line);
    if (at)
        value = strtod(at + strlen(line), NULL);
    free(text);
    return value;
}

static uint64_t requests(const char *opcode)
{
    char name[96];

    snprintf(name, sizeof(name), "clip_fuse_requests_total{opcode=\"%s\"}", opcode);
    return (uint64_t)metric(name);
}

static uint64_t all_requests(void)
{
    static const char *const opcodes[] = {"lookup",  "getattr",     "open", "opendir", "readlink",
                                          "readdir", "readdirplus", "read", "flush",   "getxattr"};
    uint64_t n = 0;

    for (size_t i = 0; i < sizeof(opcodes) / sizeof(*opcodes); i++)
        n += requests(opcodes[i]);
    return n;
}

#define ROUNDS 50

/* Some kernels take pages back that were not used for a moment (DAMON), and then have to ask again:
 * one round without is enough. */
static bool a_round_asks_nothing(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t n = all_requests();

        cr_assert_eq(in_pool(look_around), 0);
        cr_assert_eq(in_pool(read_file), 0);
        if (all_requests() == n)
            return true;
    }
    return false;
}

Test(mount, is_asked_nothing_twice)
{
    NEEDS_FUSE();
    mount_it();
    in_pool(look_around);
    in_pool(read_file);
    cr_assert_eq(requests("readdir"), 0);
    cr_assert_gt(requests("readdirplus"), 0);
    cr_assert(a_round_asks_nothing());
    close_it();
}

Test(mount, counts_mounts_reads_and_the_time_that_turns_of_the_loop_take)
{
    NEEDS_FUSE();
    mount_it();
    cr_assert_eq(in_pool(read_file), 0);
    cr_assert_eq(metric("clip_mounts"), 1);
    cr_assert_gt(metric("clip_fuse_read_seconds_count"), 0);
    cr_assert_gt(metric("clip_loop_turn_seconds_count"), 0);
    cr_assert_gt(metric("clip_loop_turn_seconds_sum"), 0);
    close_it();
    cr_assert_eq(metric("clip_mounts"), 0);
}
