/* SPDX-License-Identifier: Apache-2.0 */
/* A gate before the pool: while it is closed, jobs of a lane stand in line behind those that wait
 * at it, so that a test can look at what is on its way. On the loop's thread. */
#ifndef CLIP_TEST_GATE_H
#define CLIP_TEST_GATE_H

#include "engine/work.h"
#include "test/lib/loop.h"

#define GATE_MAX 64u

struct gate;

struct gate_job {
    struct work work;
    struct gate *gate;
};

struct gate {
    struct test_loop *t;
    struct gate_job jobs[GATE_MAX];
    uv_mutex_t lock;
    unsigned n;
};

/* A job for each thread of the pool: WORK_READ holds all of it, WORK_BULK leaves READ one. */
void gate_close(struct gate *gate, struct test_loop *t, enum work_lane lane);
/* Until all who waited are through. */
void gate_open(struct gate *gate);

#endif
