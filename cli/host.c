/* SPDX-License-Identifier: Apache-2.0 */
/* uv's pool and glibc's heap are set up before there is an engine. The signals are handles that do
 * not keep the loop alive. The first Ctrl-C asks the command to stop and gives the signal its usual
 * meaning back, so that a second one ends it; unless the command asks to be told of that one,
 * too. */
#include "host.h"

#include "args.h"
#include "say.h"

#include <assert.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* uv's pool has 4 threads unless the environment says more. Those that wait for a disk or for a
 * mount leave enough for two cores if there are eight. */
static void size_pool(void)
{
    char text[16];
    unsigned cores = uv_available_parallelism();
    snprintf(text, sizeof(text), "%u", cores < 8 ? 8 : cores > 64 ? 64 : cores);
    setenv("UV_THREADPOOL_SIZE", text, 0);
}

/* What is large goes back to the system when it is freed. By itself glibc keeps more and more of
 * it: its threshold grows with each large thing that is freed. What is small stays: to give it
 * back, which a thread's heap would do at 128 KiB, interrupts the other cores, and it is wanted
 * again at once. */
static void tune_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
}

static void nothing_run(uv_work_t *req)
{
    (void)req;
}

/* A thread of the pool that is woken does not take the core from the loop that woke it: it would
 * keep it for a whole job, with everybody else's requests behind it. Threads take this over from
 * who starts them, and uv starts all of its threads with the first request. */
static void start_pool(struct host *host)
{
    struct sched_param none = {0};
    bool is_usual = sched_getscheduler(0) == SCHED_OTHER;

    size_pool();
    if (is_usual)
        sched_setscheduler(0, SCHED_BATCH, &none);
    uv_queue_work(&host->loop, &host->first, nothing_run, NULL);
    if (is_usual)
        sched_setscheduler(0, SCHED_OTHER, &none);
}

static void on_signal(uv_signal_t *signal, int signum)
{
    (void)signum;
    struct host *host = signal->data;
    host_stop_cb on_stop = host->on_stop;
    host->stopped = true;
    host->on_stop = NULL;
    on_stop(host->data);
    /* not before: the next signal, which the command may want, must not find nobody there */
    for (int i = 0; i < 2 && !host->on_stop; i++)
        uv_signal_stop(&host->signals[i]);
}

/* What the option says, or else the environment. 0, or 2 after a sentence. */
static int choose_idle_polling(const char *option, enum clip_idle_polling *out)
{
    const char *env = getenv("CLIP_IDLE_POLLING");
    const char *text = option ? option : env && *env ? env : "auto";
    if (args_choice("CLIP_IDLE_POLLING", HOST_IDLE_POLLING_CHOICES, text) != 0)
        return 2;
    *out = strcmp(text, "on") == 0    ? CLIP_IDLE_POLLING_ON
           : strcmp(text, "off") == 0 ? CLIP_IDLE_POLLING_OFF
                                      : CLIP_IDLE_POLLING_AUTO;
    return 0;
}

static int open_engine(struct host *host, struct log *log, enum clip_idle_polling idle_polling)
{
    struct clip_error err;
    struct clip_engine_options options = {
        .on_log = log_event,
        .log_data = log,
        .log_level = log_level(log),
        .idle_polling = idle_polling,
    };
    int r = clip_engine_open(&host->loop, &options, &host->engine, &err);
    if (r < 0)
        say_error("%s", err.message);
    return r;
}

static void close_loop(struct host *host)
{
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&host->signals[i], NULL);
    uv_run(&host->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&host->loop);
    assert(r == 0);
    (void)r;
}

int host_open(struct host *host, struct log *log, const char *idle_polling)
{
    enum clip_idle_polling polling;
    *host = (struct host){0};
    if (choose_idle_polling(idle_polling, &polling) != 0)
        return 2;
    tune_memory();
    signal(SIGPIPE, SIG_IGN);
    int r = uv_loop_init(&host->loop);
    if (r < 0) {
        say_error("cannot make an event loop: %s", uv_strerror(r));
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&host->loop, &host->signals[i]);
        uv_unref((uv_handle_t *)&host->signals[i]);
        host->signals[i].data = host;
    }
    start_pool(host);
    if (open_engine(host, log, polling) < 0) {
        close_loop(host);
        return 1;
    }
    return 0;
}

void host_on_stop(struct host *host, host_stop_cb on_stop, void *data)
{
    host->on_stop = on_stop;
    host->data = data;
    uv_signal_start(&host->signals[0], on_signal, SIGINT);
    uv_signal_start(&host->signals[1], on_signal, SIGTERM);
}

void host_run(struct host *host, const bool *done)
{
    while (!*done)
        uv_run(&host->loop, UV_RUN_ONCE);
}

static void on_engine_closed(void *data)
{
    struct host *host = data;
    host->closed = true;
}

void host_close(struct host *host)
{
    clip_engine_close(host->engine, on_engine_closed, host);
    host_run(host, &host->closed);
    close_loop(host);
}
