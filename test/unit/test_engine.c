/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/digest.h"
#include "engine/engine_private.h"
#include "engine/log.h"
#include "engine/metrics.h"
#include "engine/slab.h"
#include "engine/work.h"
#include "test/lib/loop.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct fixture {
    struct test_loop t;
    unsigned n_laters;
    struct later later;
    unsigned n_closed;
} f;

static uv_mutex_t gate; /* jobs that have begun stand here while a test looks */

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    uv_mutex_init(&gate);
    loop_set_up(&f.t);
}

static void tear_down(void)
{
    loop_tear_down(&f.t);
    uv_mutex_destroy(&gate);
}

TestSuite(engine, .init = set_up, .fini = tear_down);

static void count_later(struct later *later)
{
    if (++f.n_laters < 3)
        later_call(f.t.engine, later, count_later);
}

Test(engine, does_not_keep_an_idle_loop_alive)
{
    uv_run(&f.t.loop, UV_RUN_DEFAULT);
}

Test(engine, fires_a_later_from_the_loop_and_may_be_asked_again)
{
    later_init(&f.later);
    later_call(f.t.engine, &f.later, count_later);
    cr_assert_eq(f.n_laters, 0);
    uv_run(&f.t.loop, UV_RUN_DEFAULT);
    cr_assert_eq(f.n_laters, 3);
}

static void close_child(struct engine_child *child)
{
    f.n_closed++;
    engine_remove(f.t.engine, child);
}

static void close_net_child(struct engine_child *child)
{
    cr_assert_eq(f.n_closed, 1, "users go before what they use");
    close_child(child);
}

Test(engine, closes_users_before_what_they_use)
{
    static struct engine_child user, net;

    cr_assert_eq(engine_add(f.t.engine, &net, ENGINE_NET, &net, close_net_child), 0);
    cr_assert_eq(engine_add(f.t.engine, &user, ENGINE_USER, NULL, close_child), 0);
    cr_assert_eq(engine_find(f.t.engine, &net), &net);
}

struct job {
    struct work work;
    unsigned n; /* in which order it ran */
    int status;
    bool done;
};

static atomic_uint n_ran;
static void job_run(struct work *work)
{
    struct job *job = container_of(work, struct job, work);

    uv_mutex_lock(&gate);
    uv_mutex_unlock(&gate);
    job->n = atomic_fetch_add(&n_ran, 1);
}

static void job_done(struct work *work, int status)
{
    struct job *job = container_of(work, struct job, work);

    job->status = status;
    job->done = true;
}

Test(engine, runs_jobs_and_answers_each_once)
{
    struct job jobs[50] = {0};

    for (size_t i = 0; i < 50; i++)
        work_submit(f.t.engine, &jobs[i].work, i % 2 ? WORK_READ : WORK_BULK, job_run, job_done);
    for (size_t i = 0; i < 50; i++) {
        LOOP_RUN_UNTIL(&f.t, jobs[i].done);
        cr_assert_eq(jobs[i].status, 0);
    }
    cr_assert_eq(atomic_load(&n_ran), 50);
}

Test(engine, needs_no_turn_of_the_loop_between_jobs)
{
    struct job jobs[20] = {0};

    cr_assert_geq(f.t.engine->pool.n_threads, 4);
    atomic_store(&n_ran, 0);
    uv_mutex_lock(&gate); /* a thread that finds the line empty ends */
    for (size_t i = 0; i < 20; i++)
        work_submit(f.t.engine, &jobs[i].work, WORK_BULK, job_run, job_done);
    uv_mutex_unlock(&gate);
    while (atomic_load(&n_ran) < 20)
        uv_sleep(1); /* the loop stands still */
    for (size_t i = 0; i < 20; i++)
        LOOP_RUN_UNTIL(&f.t, jobs[i].done);
}

static void host_run(uv_work_t *req)
{
    *(unsigned *)req->data = atomic_load(&n_ran);
    atomic_store(&n_ran, 1000);
}

static void host_done(uv_work_t *req, int status)
{
    (void)status;
    req->data = NULL;
}

Test(engine, gives_the_hosts_own_jobs_a_place)
{
    unsigned n_before = 1000, n_jobs = 9 * f.t.engine->pool.n_threads;
    struct job *jobs = calloc(n_jobs, sizeof(*jobs));
    uv_work_t host = {.data = &n_before};

    atomic_store(&n_ran, 0);
    uv_mutex_lock(&gate);
    for (size_t i = 0; i < n_jobs; i++)
        work_submit(f.t.engine, &jobs[i].work, WORK_READ, job_run, job_done);
    cr_assert_eq(uv_queue_work(&f.t.loop, &host, host_run, host_done), 0);
    uv_mutex_unlock(&gate);
    while (atomic_load(&n_ran) < 1000)
        uv_sleep(1); /* the loop stands still */
    cr_assert_lt(n_before, n_jobs);
    LOOP_RUN_UNTIL(&f.t, !host.data);
    for (size_t i = 0; i < n_jobs; i++)
        LOOP_RUN_UNTIL(&f.t, jobs[i].done);
    free(jobs);
}

/* Also of a machine with more cores than two. */
Test(engine, leaves_a_core_to_reads_while_there_are_some)
{
    struct work_pool *pool = &f.t.engine->pool;
    struct job jobs[10] = {0}, read = {0};

    pool->limit_beside = 1;
    uv_mutex_lock(&gate);
    work_submit(f.t.engine, &read.work, WORK_READ, job_run, job_done);
    for (size_t i = 0; i < 10; i++)
        work_submit(f.t.engine, &jobs[i].work, WORK_BULK, job_run, job_done);
    cr_assert_eq(pool->running[WORK_BULK], 1);
    uv_mutex_unlock(&gate);
    LOOP_RUN_UNTIL(&f.t, read.done);
    for (size_t i = 0; i < 10; i++)
        LOOP_RUN_UNTIL(&f.t, jobs[i].done);
}

Test(engine, gives_bulk_all_threads_but_one_where_nobody_reads)
{
    struct work_pool *pool = &f.t.engine->pool;
    struct job jobs[10] = {0};

    pool->limit_beside = 1;
    uv_mutex_lock(&gate);
    for (size_t i = 0; i < 10; i++)
        work_submit(f.t.engine, &jobs[i].work, WORK_BULK, job_run, job_done);
    cr_assert_eq(pool->running[WORK_BULK], pool->n_threads - 1);
    uv_mutex_unlock(&gate);
    for (size_t i = 0; i < 10; i++)
        LOOP_RUN_UNTIL(&f.t, jobs[i].done);
}

Test(engine, answers_a_cancelled_job_from_the_loop)
{
    struct job jobs[20] = {0};

    uv_mutex_lock(&gate);
    for (size_t i = 0; i < 20; i++)
        work_submit(f.t.engine, &jobs[i].work, WORK_BULK, job_run, job_done);
    work_cancel(&jobs[19].work);
    uv_mutex_unlock(&gate);
    cr_assert(!jobs[19].done);
    for (size_t i = 0; i < 20; i++)
        LOOP_RUN_UNTIL(&f.t, jobs[i].done);
    cr_assert_eq(jobs[19].status, -ECANCELED);
}

/* Submits a job of BULK, another behind it, and then others. */
static void submit_pair(struct job pair[2], struct job *others, size_t n)
{
    work_submit(f.t.engine, &pair[0].work, WORK_BULK, job_run, job_done);
    work_submit_behind(f.t.engine, &pair[1].work, WORK_BULK, job_run, job_done, &pair[0].work);
    for (size_t i = 0; i < n; i++)
        work_submit(f.t.engine, &others[i].work, WORK_BULK, job_run, job_done);
}

static void wait_for(struct job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        LOOP_RUN_UNTIL(&f.t, jobs[i].done);
}

Test(engine, runs_what_is_behind_a_job_next_and_never_beside_it)
{
    struct job pair[2] = {0}, others[20] = {0};

    f.t.engine->pool.limit[WORK_BULK] = f.t.engine->pool.limit_beside = 1;
    atomic_store(&n_ran, 0);
    uv_mutex_lock(&gate);
    submit_pair(pair, others, 20);
    cr_assert(!pair[1].work.in_line);
    uv_mutex_unlock(&gate);
    wait_for(pair, 2);
    wait_for(others, 20);
    cr_assert_eq(pair[1].n, pair[0].n + 1);
    work_submit_behind(f.t.engine, &pair[1].work, WORK_BULK, job_run, job_done, &pair[0].work);
    pair[1].done = false;
    wait_for(pair, 2); /* what it was to wait for is over */
    cr_assert_eq(pair[1].status, 0);
}

Test(engine, cancels_jobs_that_are_behind_others_and_those_that_others_are_behind)
{
    struct job pairs[2][2] = {0}, others[20] = {0};

    uv_mutex_lock(&gate);
    for (size_t i = 0; i < 20; i++)
        work_submit(f.t.engine, &others[i].work, WORK_BULK, job_run, job_done);
    submit_pair(pairs[0], NULL, 0);
    submit_pair(pairs[1], NULL, 0);
    work_cancel(&pairs[0][1].work);
    work_cancel(&pairs[1][0].work);
    uv_mutex_unlock(&gate);
    wait_for(pairs[0], 2);
    wait_for(pairs[1], 2);
    wait_for(others, 20);
    cr_assert_eq(pairs[0][0].status, 0);
    cr_assert_eq(pairs[0][1].status, -ECANCELED);
    cr_assert_eq(pairs[1][0].status, -ECANCELED);
    cr_assert_eq(pairs[1][1].status, 0);
}

#ifndef __SANITIZE_ADDRESS__
Test(engine, uses_the_memory_of_a_large_slab_again)
{
    struct slab *slab = slab_new(f.t.engine, 1 << 20), *other;

    slab_unlock(slab);
    other = slab_new(f.t.engine, 1000000);
    cr_assert_eq(other, slab);
    cr_assert_eq(other->cap, 1000000);
    cr_assert_eq(other->len, 0);
    slab_unlock(other);
}
#endif

Test(engine, counts_a_slabs_readers)
{
    struct slab *slab = slab_new(f.t.engine, 1000);

    cr_assert_not_null(slab);
    cr_assert_eq((uintptr_t)slab->bytes % 64, 0);
    slab_lock(slab);
    slab_unlock(slab);
    slab_unlock(slab);
    cr_assert_null(slab_new(f.t.engine, SIZE_MAX));
}

Test(engine, formats_metrics_of_one_name_under_one_help)
{
    struct metric a, b, c;
    char *text;
    size_t len;

    metric_add(f.t.engine, &a, METRIC_COUNTER, "clip_a_total", "As.", "mount=\"1\"");
    metric_add(f.t.engine, &b, METRIC_GAUGE, "clip_b", "Bs.", NULL);
    metric_add(f.t.engine, &c, METRIC_COUNTER, "clip_a_total", "As.", "mount=\"2\"");
    c.value = 7;
    cr_assert_eq(clip_engine_metrics(f.t.engine, &text, &len), 0);
    cr_assert_not_null(strstr(text, "# HELP clip_a_total As.\n# TYPE clip_a_total counter\n"
                                    "clip_a_total{mount=\"1\"} 0\nclip_a_total{mount=\"2\"} 7\n"));
    cr_assert_not_null(strstr(text, "clip_loop_turn_seconds_count "));
    free(text);
    metric_remove(&a);
    metric_remove(&b);
    metric_remove(&c);
}

Test(digest, knows_the_digest_of_nothing)
{
    char text[DIGEST_TEXT_LEN + 1];
    struct digest digest, again;

    sha256_of("", 0, &digest);
    digest_format(&digest, text);
    cr_assert_str_eq(text,
                     "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cr_assert_eq(digest_parse(text, &again), 0);
    cr_assert(digest_equal(&digest, &again));
}

Test(digest, refuses_what_is_not_a_sha256)
{
    struct digest digest;

    cr_assert_eq(digest_parse("", &digest), -EINVAL);
    cr_assert_eq(digest_parse("sha512:00", &digest), -EINVAL);
    cr_assert_eq(
        digest_parse("sha256:E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                     &digest),
        -EINVAL);
}

Test(err, is_prefixed_on_the_way_up)
{
    struct clip_error err;

    cr_assert_eq(err_set(&err, CLIP_EFORMAT, "tar: bad header at %d", 7), CLIP_EFORMAT);
    cr_assert_eq(err_prefix(&err, "layer %d", 2), CLIP_EFORMAT);
    cr_assert_str_eq(err.message, "layer 2: tar: bad header at 7");
    cr_assert_eq(err_set(NULL, -EIO, "nobody reads this"), -EIO);
}

Test(err, quotes_bytes_from_outside)
{
    char text[16];

    cr_assert_str_eq(err_quote("a\n\xff", 3, text, sizeof(text)), "a\\x0a\\xff");
    cr_assert_str_eq(err_quote("aaaaaaaaaaaaaaaaaaaaaaa", 23, text, sizeof(text)), "aaaaaaaaa...");
}
