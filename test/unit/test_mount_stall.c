/* SPDX-License-Identifier: Apache-2.0 */
/* Readers that wait for a registry which has stopped to answer. They are processes of their own,
 * for they are killed and interrupted. */
#include "fs/mounts.h"
#include "test/lib/indexed.h"
#include "test/lib/pushed.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_LEN (4u << 20)
#define BLOCK    4096

static struct fixture {
    struct test_loop t;
    struct indexed indexed;
    struct test_registry *registry;
    char dir[96], source[128];
    struct clip_mount *mount;
    pid_t reader;
    int reader_status;
    bool opened, unmounted, closed, waited;
    struct clip_error err;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) != 0)
        return;
    setenv("HOME", "/nonexistent", 1);
    indexed_set_up(&f.indexed, &f.t);
    image_layer_begin(&f.indexed.made);
    free(indexed_add_noise(&f.indexed, "file", FILE_LEN, 1));
    image_layer_end(&f.indexed.made, CODEC_GZIP);
    indexed_finish(&f.indexed, 0);
    f.registry = registry_start(&f.t.loop);
    pushed(f.registry, f.indexed.made.dir, "latest");
    snprintf(f.source, sizeof(f.source), "%s/app:latest", registry_host(f.registry));
    snprintf(f.dir, sizeof(f.dir), "%s/mnt", f.indexed.made.dir);
    cr_assert_eq(mkdir(f.dir, 0755), 0);
}

static void tear_down(void)
{
    registry_stop(f.registry);
    LOOP_RUN_UNTIL(&f.t, !f.registry || registry_stopped(f.registry));
    registry_free(f.registry);
    loop_tear_down(&f.t);
    if (f.registry)
        indexed_tear_down(&f.indexed);
}

TestSuite(mount_stall, .init = set_up, .fini = tear_down);

#define NEEDS_FUSE()                                                                               \
    do {                                                                                           \
        if (!f.registry)                                                                           \
            cr_skip_test("needs root and /dev/fuse");                                              \
    } while (0)

/* ---- the mount */

static void on_opened(void *data, int status, const struct clip_error *err)
{
    (void)data;
    cr_assert_eq(status, 0, "%s", err ? err->message : "");
    f.opened = true;
}

static void on_unmounted(void *data, int status, const struct clip_error *err)
{
    (void)data, (void)status, (void)err;
    f.unmounted = true;
}

static void on_closed(void *data)
{
    (void)data;
    f.closed = true;
}

static void mount_it(void)
{
    struct clip_mount_options options = {.image = f.indexed.image,
                                         .mountpoint = f.dir,
                                         .reader = {.source = f.source},
                                         .on_unmounted = on_unmounted};

    cr_assert_eq(clip_mount_open(f.t.engine, &options, on_opened, NULL, &f.mount, &f.err), 0, "%s",
                 f.err.message);
    LOOP_RUN_UNTIL(&f.t, f.opened);
}

static void close_it(void)
{
    struct mounts_entry entry;

    clip_mount_close(f.mount, on_closed, NULL);
    LOOP_RUN_UNTIL(&f.t, f.closed);
    cr_assert_neq(mounts_find(f.dir, &entry), 0);
}

static uint64_t n_waiting(void)
{
    struct clip_counters counters;

    clip_mount_counters(f.mount, &counters);
    return counters.inflight;
}

/* ---- the reader: it exits with the errno of its read, or 0 */

static void on_signal(int signum)
{
    (void)signum; /* only there to interrupt */
}

static int read_once(int flags)
{
    struct sigaction action = {.sa_handler = on_signal};
    static _Alignas(BLOCK) uint8_t bytes[BLOCK];
    char path[128];
    int fd;

    sigaction(SIGUSR1, &action, NULL);
    snprintf(path, sizeof(path), "%s/file", f.dir);
    fd = open(path, O_RDONLY | flags);
    if (fd < 0 || read(fd, bytes, sizeof(bytes)) < 0)
        return errno;
    return 0;
}

static int look_up(int flags)
{
    char path[128];
    struct stat st;

    (void)flags;
    snprintf(path, sizeof(path), "%s/nothing", f.dir);
    return lstat(path, &st) < 0 ? errno : 0;
}

/* In a process that shares no descriptor with us: the FUSE device would live on in it. */
static void start(int (*run)(int flags), int flags)
{
    f.waited = false;
    f.reader = fork();
    cr_assert_geq(f.reader, 0);
    if (f.reader == 0) {
        close_range(3, ~0u, 0);
        _exit(run(flags));
    }
}

static void start_reader(int flags)
{
    start(read_once, flags);
    LOOP_RUN_UNTIL(&f.t, n_waiting() > 0);
}

static void wait_run(uv_work_t *req)
{
    (void)req;
    waitpid(f.reader, &f.reader_status, 0);
}

static void wait_done(uv_work_t *req, int status)
{
    (void)req, (void)status;
    f.waited = true;
}

/* Its exit code, or -1 if a signal ended it. */
static int wait_reader(void)
{
    uv_work_t req;

    uv_queue_work(&f.t.loop, &req, wait_run, wait_done);
    LOOP_RUN_UNTIL(&f.t, f.waited);
    return WIFEXITED(f.reader_status) ? WEXITSTATUS(f.reader_status) : -1;
}

static void stall(void)
{
    registry_dials(f.registry)->stall_after = 1;
}

/* ---- */

Test(mount_stall, reads_from_a_registry_that_answers)
{
    NEEDS_FUSE();
    mount_it();
    start(read_once, 0);
    cr_assert_eq(wait_reader(), 0);
    close_it();
}

Test(mount_stall, gives_a_waiting_reader_an_error_when_the_mount_is_closed)
{
    NEEDS_FUSE();
    stall();
    mount_it();
    start_reader(0);
    close_it();
    cr_assert_gt(wait_reader(), 0);
}

Test(mount_stall, ends_an_interrupted_read_at_once)
{
    NEEDS_FUSE();
    stall();
    mount_it();
    start_reader(O_DIRECT);
    kill(f.reader, SIGUSR1);
    cr_assert_eq(wait_reader(), EINTR);
    LOOP_RUN_UNTIL(&f.t, n_waiting() == 0);
    close_it();
}

Test(mount_stall, lets_a_waiting_reader_be_killed)
{
    NEEDS_FUSE();
    stall();
    mount_it();
    start_reader(O_DIRECT);
    kill(f.reader, SIGKILL);
    cr_assert_eq(wait_reader(), -1);
    close_it();
}

Test(mount_stall, is_still_answering_while_a_reader_waits)
{
    pid_t waiting;

    NEEDS_FUSE();
    stall();
    mount_it();
    start_reader(0);
    waiting = f.reader;
    start(look_up, 0);
    cr_assert_eq(wait_reader(), ENOENT);
    f.reader = waiting;
    f.waited = false;
    close_it();
    cr_assert_gt(wait_reader(), 0);
}

Test(mount_stall, is_taken_away_with_its_engine_while_a_reader_waits)
{
    struct mounts_entry entry;

    NEEDS_FUSE();
    stall();
    mount_it();
    start_reader(0);
    registry_stop(f.registry);
    LOOP_RUN_UNTIL(&f.t, registry_stopped(f.registry));
    loop_tear_down(&f.t);
    cr_assert_neq(mounts_find(f.dir, &entry), 0);
    cr_assert_eq(waitpid(f.reader, &f.reader_status, 0), f.reader);
    cr_assert(WIFEXITED(f.reader_status) && WEXITSTATUS(f.reader_status) > 0);
    loop_set_up(&f.t);
}
