/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the machine's idle CPUs from halting while work follows work closely. A thread that is
 * woken on a CPU that has halted waits for a hypervisor, often for longer than it then works; one
 * whose CPU polls is there at once. Asked of the kernel by PM QoS (Linux, admin-guide/pm/cpuidle,
 * "Power Management Quality of Service for CPUs"), which forgets it with the descriptor, however
 * the process ends. On the loop's thread.
 */
#ifndef CLIP_ENGINE_AWAKE_H
#define CLIP_ENGINE_AWAKE_H

#include "engine/metrics.h"

#define AWAKE_DEVICE   "/dev/cpu_dma_latency"
#define AWAKE_GOVERNOR "/sys/devices/system/cpu/cpuidle/current_governor"
#define AWAKE_CPUS_MAX 8u  /* of a machine that is kept awake without being told to */
#define AWAKE_ENOUGH   4u  /* pieces of work in a tick: then it begins */
#define AWAKE_TICK_MS  10u /* a tick without any: then it ends */

struct awake {
    /* read-only */
    bool holds;
    struct metric held; /* how long each time, once it has ended; the engine's to show */
    /* private */
    uv_timer_t timer;
    int fd; /* -1: never */
    unsigned n;
    uint64_t since_ns;
};

/* Would it be asked for on this machine? AUTO: where the cpuidle governor is haltpoll, which is
 * made for guests, and there are few CPUs that would poll. */
bool awake_wanted(enum clip_idle_polling polling, const char *governor, unsigned n_cpus);
/* `device` NULL, or one that cannot be opened: nothing is ever asked for, which is no error but of
 * the return value. The timer does not keep the loop alive. */
int awake_init(struct awake *awake, uv_loop_t *loop, const char *device);
/* One piece of work for somebody who waits. */
void awake_busy(struct awake *awake);
/* The CPUs may halt again; afterwards `timer` is to be closed. */
void awake_fini(struct awake *awake);

#endif
