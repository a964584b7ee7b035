/* SPDX-License-Identifier: Apache-2.0 */
/* The device is a file in memory: what was written to it last is the limit. */
#include "engine/awake.h"

#include "test/lib/loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NOTHING  (-1)
#define NO_LIMIT 2000000000

static struct fixture {
    struct test_loop t;
    struct awake awake;
    int device;
    char path[32];
    bool closed;
} f;

static void on_closed(uv_handle_t *timer)
{
    (void)timer;
    f.closed = true;
}

static void set_up(void)
{
    int32_t nothing = NOTHING;

    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    f.device = memfd_create("device", MFD_CLOEXEC);
    cr_assert_eq(write(f.device, &nothing, sizeof(nothing)), (ssize_t)sizeof(nothing));
    snprintf(f.path, sizeof(f.path), "/proc/self/fd/%d", f.device);
    cr_assert_eq(awake_init(&f.awake, &f.t.loop, f.path), 0);
}

static void tear_down(void)
{
    awake_fini(&f.awake);
    uv_close((uv_handle_t *)&f.awake.timer, on_closed);
    LOOP_RUN_UNTIL(&f.t, f.closed);
    loop_tear_down(&f.t);
    close(f.device);
}

static int32_t limit(void)
{
    int32_t us = 0;

    cr_assert_eq(pread(f.device, &us, sizeof(us), 0), (ssize_t)sizeof(us));
    return us;
}

static void work(unsigned n)
{
    while (n-- > 0)
        awake_busy(&f.awake);
}

TestSuite(awake, .init = set_up, .fini = tear_down);

Test(awake, asks_for_nothing_when_little_is_done)
{
    work(AWAKE_ENOUGH - 1);
    cr_expect_eq(limit(), NOTHING);
}

Test(awake, holds_while_there_is_enough_and_lets_go_after_a_tick_of_nothing)
{
    work(AWAKE_ENOUGH);
    cr_expect(f.awake.holds);
    cr_expect_eq(limit(), 0);
    LOOP_RUN_UNTIL(&f.t, !f.awake.holds);
    cr_expect_eq(limit(), NO_LIMIT);
    cr_expect_eq(f.awake.held.value, 1);
    cr_expect(!uv_is_active((uv_handle_t *)&f.awake.timer), "rests when nothing comes");
}

Test(awake, holds_again_after_it_has_let_go)
{
    work(AWAKE_ENOUGH);
    LOOP_RUN_UNTIL(&f.t, !f.awake.holds);
    work(AWAKE_ENOUGH);
    cr_expect_eq(limit(), 0);
}

Test(awake, what_comes_slowly_never_adds_up)
{
    for (int i = 0; i < 3; i++) {
        work(AWAKE_ENOUGH - 1);
        LOOP_RUN_UNTIL(&f.t, !uv_is_active((uv_handle_t *)&f.awake.timer));
    }
    cr_expect_eq(limit(), NOTHING);
}

Test(awake, lets_go_when_it_is_closed)
{
    work(AWAKE_ENOUGH);
    awake_fini(&f.awake);
    cr_expect_eq(limit(), NO_LIMIT);
    cr_expect_eq(f.awake.held.value, 1);
}

Test(awake, does_nothing_without_a_device)
{
    awake_fini(&f.awake);
    work(AWAKE_ENOUGH);
    cr_expect(!f.awake.holds);
    cr_expect(!uv_is_active((uv_handle_t *)&f.awake.timer));
}

Test(awake, says_that_a_device_cannot_be_opened)
{
    struct awake other;

    f.closed = false;
    cr_expect_eq(awake_init(&other, &f.t.loop, "/nowhere/device"), -ENOENT);
    for (unsigned i = 0; i < AWAKE_ENOUGH; i++)
        awake_busy(&other);
    cr_expect(!other.holds);
    awake_fini(&other);
    uv_close((uv_handle_t *)&other.timer, on_closed);
    LOOP_RUN_UNTIL(&f.t, f.closed);
    f.closed = false;
}

/* ---- whether it is wanted */

static bool wanted_under(enum clip_idle_polling polling, const char *governor, unsigned n_cpus)
{
    cr_assert_eq(ftruncate(f.device, 0), 0);
    cr_assert_eq(pwrite(f.device, governor, strlen(governor), 0), (ssize_t)strlen(governor));
    return awake_wanted(polling, f.path, n_cpus);
}

Test(awake, is_wanted_where_haltpoll_governs_few_cpus)
{
    cr_expect(wanted_under(CLIP_IDLE_POLLING_AUTO, "haltpoll\n", 2));
    cr_expect(wanted_under(CLIP_IDLE_POLLING_AUTO, "haltpoll\n", AWAKE_CPUS_MAX));
    cr_expect(!wanted_under(CLIP_IDLE_POLLING_AUTO, "haltpoll\n", AWAKE_CPUS_MAX + 1));
    cr_expect(!wanted_under(CLIP_IDLE_POLLING_AUTO, "menu\n", 2));
    cr_expect(!wanted_under(CLIP_IDLE_POLLING_AUTO, "", 2));
    cr_expect(!awake_wanted(CLIP_IDLE_POLLING_AUTO, "/nowhere/governor", 2));
}

Test(awake, is_what_the_host_says_otherwise)
{
    cr_expect(wanted_under(CLIP_IDLE_POLLING_ON, "menu\n", 128));
    cr_expect(!wanted_under(CLIP_IDLE_POLLING_OFF, "haltpoll\n", 2));
}
