/* SPDX-License-Identifier: Apache-2.0 */
/* A loop and an engine for a fixture, and a way to wait for a fact instead of for time. */
#ifndef CLIP_TEST_LOOP_H
#define CLIP_TEST_LOOP_H

#include "engine/engine.h"

/* Runs the loop until `cond` holds; fails the test when nothing happens for `LOOP_PATIENCE_MS`. */
#define LOOP_PATIENCE_MS 60000
#define LOOP_RUN_UNTIL(lp, cond)                                                                   \
    do {                                                                                           \
        while (!(cond))                                                                            \
            loop_run_once((lp), #cond);                                                            \
    } while (0)

struct test_loop {
    uv_loop_t loop;
    struct clip_engine *engine;
    bool engine_closed;
};

void loop_set_up(struct test_loop *t);
/* Closes the engine, runs what is left, and asserts uv_loop_close() == 0. */
void loop_tear_down(struct test_loop *t);
void loop_run_once(struct test_loop *t, const char *waiting_for);

#endif
