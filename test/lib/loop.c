/* SPDX-License-Identifier: Apache-2.0 */
/* A guard timer, unreferenced but for one turn, turns a hang into a sentence and an abort. */
#include "test/lib/loop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void on_log(void *data, enum clip_log_level level, const char *message)
{
    (void)data;
    if (getenv("CLIP_VERBOSE"))
        fprintf(stderr, "[%d] %s\n", level, message);
}

static void on_engine_closed(void *data)
{
    struct test_loop *t = data;

    t->engine_closed = true;
}

void loop_set_up(struct test_loop *t)
{
    struct clip_engine_options options = {.on_log = on_log, .log_level = CLIP_LOG_DEBUG};

    signal(SIGPIPE, SIG_IGN); /* as hosts do: the other end may be gone when we write */
    t->engine_closed = false;
    if (uv_loop_init(&t->loop) != 0 || clip_engine_open(&t->loop, &options, &t->engine, NULL) != 0)
        abort();
}

static void on_patience_lost(uv_timer_t *timer)
{
    fprintf(stderr, "nothing happened for %d ms while waiting for: %s\n", LOOP_PATIENCE_MS,
            (const char *)timer->data);
    abort();
}

void loop_run_once(struct test_loop *t, const char *waiting_for)
{
    uv_timer_t timer;

    uv_update_time(&t->loop); /* what the test did since its last turn is not waiting */
    uv_timer_init(&t->loop, &timer);
    timer.data = (void *)waiting_for;
    uv_timer_start(&timer, on_patience_lost, LOOP_PATIENCE_MS, 0);
    uv_run(&t->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&t->loop, UV_RUN_NOWAIT); /* lets the timer's close finish before it leaves scope */
}

void loop_tear_down(struct test_loop *t)
{
    int r;

    clip_engine_close(t->engine, on_engine_closed, t);
    LOOP_RUN_UNTIL(t, t->engine_closed);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    r = uv_loop_close(&t->loop);
    if (r != 0) {
        fprintf(stderr, "uv_loop_close: %s\n", uv_strerror(r));
        uv_print_all_handles(&t->loop, stderr);
        abort();
    }
}
