/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/gate.h"

#include <criterion/criterion.h>

static void wait_run(struct work *work)
{
    struct gate *gate = container_of(work, struct gate_job, work)->gate;

    uv_mutex_lock(&gate->lock);
    uv_mutex_unlock(&gate->lock);
}

static void wait_done(struct work *work, int status)
{
    (void)status;
    container_of(work, struct gate_job, work)->gate->n--;
}

void gate_close(struct gate *gate, struct test_loop *t, enum work_lane lane)
{
    gate->t = t;
    gate->n = work_pool_threads(t->engine);
    cr_assert_leq(gate->n, GATE_MAX);
    uv_mutex_init(&gate->lock);
    uv_mutex_lock(&gate->lock);
    for (unsigned i = 0; i < gate->n; i++) {
        gate->jobs[i].gate = gate;
        work_submit(t->engine, &gate->jobs[i].work, lane, wait_run, wait_done);
    }
}

void gate_open(struct gate *gate)
{
    uv_mutex_unlock(&gate->lock);
    LOOP_RUN_UNTIL(gate->t, gate->n == 0);
    uv_mutex_destroy(&gate->lock);
}
