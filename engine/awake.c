/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path is:
 * - awake_busy() counts; the first of a quiet time starts the timer, and AWAKE_ENOUGH before it
 *   fires set the limit to 0 us, which is where governors let an idle CPU poll.
 * - on_tick() lifts the limit when a whole tick had nothing to count, and rests.
 * Possible failure modes are: no device, or not root: nothing is asked for, all works as it did.
 * On close: the descriptor goes, and the kernel forgets the limit.
 */
#include "engine/awake.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NO_LIMIT_US 2000000000 /* PM_QOS_CPU_LATENCY_DEFAULT_VALUE */

static bool is_governor(const char *path, const char *name)
{
    char line[64] = "";
    FILE *file = fopen(path, "re");

    if (!file)
        return false;
    if (!fgets(line, sizeof(line), file))
        line[0] = '\0';
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, name) == 0;
}

bool awake_wanted(enum clip_idle_polling polling, const char *governor, unsigned n_cpus)
{
    if (polling == CLIP_IDLE_POLLING_AUTO)
        return n_cpus <= AWAKE_CPUS_MAX && is_governor(governor, "haltpoll");
    return polling == CLIP_IDLE_POLLING_ON;
}

/* A write to this device waits for nothing. */
static void limit(struct awake *awake, int32_t latency_us)
{
    ssize_t n = pwrite(awake->fd, &latency_us, sizeof(latency_us), 0);

    (void)n; /* a limit that is not taken is one that we do not have */
}

static void hold(struct awake *awake)
{
    limit(awake, 0);
    awake->holds = true;
    awake->since_ns = uv_hrtime();
}

static void release(struct awake *awake)
{
    limit(awake, NO_LIMIT_US);
    awake->holds = false;
    metric_observe(&awake->held, uv_hrtime() - awake->since_ns);
}

static void on_tick(uv_timer_t *timer)
{
    struct awake *awake = container_of(timer, struct awake, timer);

    if (awake->n == 0) {
        uv_timer_stop(timer);
        if (awake->holds)
            release(awake);
    }
    awake->n = 0;
}

void awake_busy(struct awake *awake)
{
    if (awake->fd < 0)
        return;
    if (!uv_is_active((uv_handle_t *)&awake->timer))
        uv_timer_start(&awake->timer, on_tick, AWAKE_TICK_MS, AWAKE_TICK_MS);
    if (++awake->n >= AWAKE_ENOUGH && !awake->holds)
        hold(awake);
}

int awake_init(struct awake *awake, uv_loop_t *loop, const char *device)
{
    int r = 0;

    *awake = (struct awake){.fd = -1};
    uv_timer_init(loop, &awake->timer);
    uv_unref((uv_handle_t *)&awake->timer);
    if (device)
        awake->fd = open(device, O_WRONLY | O_CLOEXEC);
    if (device && awake->fd < 0)
        r = -errno;
    return r;
}

void awake_fini(struct awake *awake)
{
    if (awake->holds)
        release(awake);
    if (awake->fd >= 0)
        close(awake->fd);
    awake->fd = -1;
}
