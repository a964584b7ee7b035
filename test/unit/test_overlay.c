/* SPDX-License-Identifier: Apache-2.0 */
/* Overlays over a plain directory: what is below does not matter to them. */
#include "fs/mounts.h"
#include "fs/remove.h"
#include "test/lib/loop.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture {
    struct test_loop t;
    char top[64], lower[96], dir[96], rootfs[128];
    bool done;
    int status;
    struct clip_error err;
} f;

static const char *in(const char *dir, const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void write_to(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file, "%s", path);
    fputs(text, file);
    fclose(file);
}

/* An upper must not be on an overlay, as /tmp is in many containers: a tmpfs of our own. */
static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    if (geteuid() != 0)
        return;
    strcpy(f.top, "/tmp/clip-test-XXXXXX");
    cr_assert_not_null(mkdtemp(f.top));
    if (mount("tmpfs", f.top, "tmpfs", 0, NULL) != 0) {
        rmdir(f.top);
        f.top[0] = '\0';
        return;
    }
    snprintf(f.lower, sizeof(f.lower), "%s/low:er,1", f.top);
    snprintf(f.dir, sizeof(f.dir), "%s/c\\id", f.top);
    snprintf(f.rootfs, sizeof(f.rootfs), "%s/rootfs", f.dir);
    cr_assert_eq(mkdir(f.lower, 0700), 0);
    cr_assert_eq(chown(f.lower, 7, 8), 0);
    write_to(in(f.lower, "file"), "below");
}

static void tear_down(void)
{
    loop_tear_down(&f.t);
    if (!f.top[0])
        return;
    cr_assert_eq(umount2(f.top, MNT_DETACH), 0);
    rmdir(f.top);
}

TestSuite(overlay, .init = set_up, .fini = tear_down);

#define NEEDS_MOUNT()                                                                              \
    do {                                                                                           \
        if (!f.top[0])                                                                             \
            cr_skip_test("needs root and permission to mount");                                    \
    } while (0)

static void on_done(void *data, int status, const struct clip_error *err)
{
    (void)data;
    f.done = true;
    f.status = status;
    if (status < 0)
        f.err = *err;
}

static int mount_overlay(const char *upper, bool read_only)
{
    struct clip_overlay_options options = {
        .lower = f.lower, .dir = f.dir, .upper = upper, .read_only = read_only};

    f.done = false;
    cr_assert_eq(clip_overlay_mount(f.t.engine, &options, on_done, NULL, NULL), 0);
    cr_assert(!f.done);
    LOOP_RUN_UNTIL(&f.t, f.done);
    return f.status;
}

static int unmount_overlay(bool remove)
{
    f.done = false;
    cr_assert_eq(clip_overlay_unmount(f.t.engine, f.dir, remove, on_done, NULL, NULL), 0);
    LOOP_RUN_UNTIL(&f.t, f.done);
    return f.status;
}

static void assert_text(const char *path, const char *expected)
{
    char text[32] = "";
    FILE *file = fopen(path, "r");

    cr_assert_not_null(file, "%s", path);
    cr_assert(fgets(text, sizeof(text), file) || !*expected);
    fclose(file);
    cr_assert_str_eq(text, expected);
}

Test(overlay, takes_writes_and_leaves_what_is_below_alone)
{
    struct stat st;

    NEEDS_MOUNT();
    cr_assert_eq(mount_overlay(NULL, false), 0, "%s", f.err.message);
    assert_text(in(f.rootfs, "file"), "below");
    write_to(in(f.rootfs, "file"), "above");
    assert_text(in(f.rootfs, "file"), "above");
    assert_text(in(f.lower, "file"), "below");
    cr_assert_eq(stat(f.rootfs, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
    cr_assert_eq(st.st_uid, 7);
    cr_assert_eq(st.st_gid, 8);
    cr_assert_eq(unmount_overlay(true), 0);
    cr_assert_eq(access(f.dir, F_OK), -1);
}

Test(overlay, keeps_what_was_written_for_the_next_time)
{
    NEEDS_MOUNT();
    cr_assert_eq(mount_overlay(NULL, false), 0);
    write_to(in(f.rootfs, "new"), "kept");
    cr_assert_eq(unmount_overlay(false), 0);
    cr_assert_eq(mount_overlay(NULL, false), 0);
    assert_text(in(f.rootfs, "new"), "kept");
    cr_assert_eq(unmount_overlay(true), 0);
}

Test(overlay, may_have_its_upper_elsewhere)
{
    char upper[128];

    NEEDS_MOUNT();
    snprintf(upper, sizeof(upper), "%s/upper,of:one's own", f.top);
    cr_assert_eq(mount_overlay(upper, false), 0, "%s", f.err.message);
    write_to(in(f.rootfs, "new"), "there");
    assert_text(in(upper, "new"), "there");
    cr_assert_eq(unmount_overlay(true), 0);
    assert_text(in(upper, "new"), "there");
}

Test(overlay, may_be_read_only)
{
    NEEDS_MOUNT();
    cr_assert_eq(mount_overlay(NULL, true), 0, "%s", f.err.message);
    assert_text(in(f.rootfs, "file"), "below");
    cr_assert_null(fopen(in(f.rootfs, "file"), "w"));
    cr_assert_eq(errno, EROFS);
    cr_assert_eq(access(in(f.dir, "upper"), F_OK), -1);
    cr_assert_eq(unmount_overlay(true), 0);
    cr_assert_eq(access(f.dir, F_OK), -1);
}

Test(overlay, refuses_a_second_one_in_the_same_place)
{
    NEEDS_MOUNT();
    cr_assert_eq(mount_overlay(NULL, false), 0);
    cr_assert_eq(mount_overlay(NULL, false), -EBUSY);
    cr_assert(strstr(f.err.message, "already"), "%s", f.err.message);
    assert_text(in(f.rootfs, "file"), "below");
    cr_assert_eq(unmount_overlay(true), 0);
}

Test(overlay, leaves_nothing_when_it_cannot_be_mounted)
{
    NEEDS_MOUNT();
    strcat(f.lower, "/missing");
    cr_assert_lt(mount_overlay(NULL, false), 0);
    cr_assert(strstr(f.err.message, "missing"), "%s", f.err.message);
    cr_assert_eq(access(f.dir, F_OK), -1);
}

Test(overlay, is_not_taken_away_while_in_use)
{
    int fd;

    NEEDS_MOUNT();
    cr_assert_eq(mount_overlay(NULL, false), 0);
    fd = open(in(f.rootfs, "file"), O_RDONLY);
    cr_assert_eq(unmount_overlay(true), -EBUSY);
    cr_assert(strstr(f.err.message, "in use"), "%s", f.err.message);
    close(fd);
    cr_assert_eq(unmount_overlay(true), 0);
    cr_assert_eq(unmount_overlay(true), 0); /* there is none any more */
}

/* ---- what containers leave behind */

static void make_deep(const char *top, unsigned depth)
{
    int dir = open(top, O_RDONLY | O_DIRECTORY), next;

    for (unsigned i = 0; i < depth; i++) {
        cr_assert_eq(mkdirat(dir, "a-directory-with-a-name", 0755), 0);
        cr_assert_eq(mknodat(dir, "file", S_IFREG | 0444, 0), 0);
        next = openat(dir, "a-directory-with-a-name", O_RDONLY | O_DIRECTORY);
        close(dir);
        dir = next;
    }
    close(dir);
}

Test(overlay, removes_a_tree_of_any_depth)
{
    NEEDS_MOUNT();
    cr_assert_eq(mkdir(f.dir, 0755), 0);
    make_deep(f.dir, 5000);
    cr_assert_eq(remove_tree(f.dir, &f.err), 0, "%s", f.err.message);
    cr_assert_eq(access(f.dir, F_OK), -1);
    cr_assert_eq(remove_tree(f.dir, &f.err), 0);
}

Test(overlay, removes_symlinks_and_not_what_they_point_to)
{
    NEEDS_MOUNT();
    cr_assert_eq(mkdir(f.dir, 0755), 0);
    cr_assert_eq(symlink(f.lower, in(f.dir, "link")), 0);
    cr_assert_eq(remove_tree(f.dir, NULL), 0);
    assert_text(in(f.lower, "file"), "below");
    cr_assert_eq(symlink(f.lower, f.dir), 0);
    cr_assert_lt(remove_tree(f.dir, NULL), 0);
    assert_text(in(f.lower, "file"), "below");
}
