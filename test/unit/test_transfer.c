/* SPDX-License-Identifier: Apache-2.0 */
#include "net/transfer.h"
#include "test/lib/image.h"
#include "test/lib/loop.h"
#include "test/lib/registry.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_LEN 200000u

static struct fixture {
    struct test_loop t;
    struct test_registry *registry;
    struct clip_source_options options;
    struct endpoints endpoints;
    struct ref *ref;
    uint8_t *bytes, *got;
    char path[128], media_type[128];
    uint64_t len;
    unsigned n_restarts;
    struct transfer *transfer;
    bool done;
    int status;
    struct clip_error err;
} f;

static void set_up(void)
{
    char name[128], digest_text[DIGEST_TEXT_LEN + 1];
    struct digest digest;

    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    f.registry = registry_start(&f.t.loop);
    f.bytes = malloc(BLOB_LEN);
    f.got = malloc(2 * BLOB_LEN);
    image_noise(f.bytes, BLOB_LEN, 5);
    registry_add_blob(f.registry, f.bytes, BLOB_LEN, &digest);
    snprintf(f.path, sizeof(f.path), "blobs/%s", digest_format(&digest, digest_text));
    snprintf(name, sizeof(name), "%s/a:1", registry_host(f.registry));
    f.options.certs_dir = "/nonexistent";
    cr_assert_eq(ref_parse(name, &f.ref, NULL), 0);
    cr_assert_eq(endpoints_init(&f.endpoints, f.t.engine, f.ref, &f.options, NULL), 0);
}

static void tear_down(void)
{
    endpoints_fini(&f.endpoints);
    ref_free(f.ref);
    registry_stop(f.registry);
    LOOP_RUN_UNTIL(&f.t, registry_stopped(f.registry));
    registry_free(f.registry);
    loop_tear_down(&f.t);
    free(f.bytes);
    free(f.got);
}

TestSuite(transfer, .init = set_up, .fini = tear_down);

static void on_slab(void *data, struct slab *slab)
{
    (void)data;
    cr_assert_leq(f.len + slab->len, 2 * BLOB_LEN);
    memcpy(f.got + f.len, slab->bytes, slab->len);
    f.len += slab->len;
    transfer_credit(f.transfer, slab->len);
    slab_unlock(slab);
}

static void on_restart(void *data)
{
    (void)data;
    f.len = 0;
    f.n_restarts++;
}

static void on_end(void *data, int status, const struct clip_error *err)
{
    const char *type = transfer_media_type(f.transfer);

    (void)data;
    cr_assert_not(f.done);
    f.done = true;
    f.status = status;
    f.err = *err;
    snprintf(f.media_type, sizeof(f.media_type), "%s", type ? type : "");
}

static struct transfer_options whole(void)
{
    return (struct transfer_options){
        .endpoints = &f.endpoints,
        .policy = &retry_defaults,
        .path = f.path,
        .len = BLOB_LEN,
        .size = BLOB_LEN,
        .lane = WORK_READ,
        .on_slab = on_slab,
        .on_restart = on_restart,
        .on_end = on_end,
    };
}

static int run(const struct transfer_options *options)
{
    f.done = false;
    f.len = 0;
    cr_assert_eq(transfer_open(f.t.engine, options, &f.transfer, &f.err), 0);
    transfer_credit(f.transfer, 65536);
    LOOP_RUN_UNTIL(&f.t, f.done);
    return f.status;
}

static void expect(const struct transfer_options *options, uint64_t off, uint64_t len)
{
    cr_assert_eq(run(options), 0, "%s", f.err.message);
    cr_assert_eq(f.len, len);
    cr_assert_eq(memcmp(f.got, f.bytes + off, len), 0);
}

Test(transfer, of_unknown_length_brings_all_and_its_media_type)
{
    struct transfer_options options = whole();

    options.open_ended = true;
    options.len = 2 * BLOB_LEN;
    expect(&options, 0, BLOB_LEN);
    cr_assert_str_eq(f.media_type, "application/octet-stream");
    registry_dials(f.registry)->body = REGISTRY_CHUNKED;
    expect(&options, 0, BLOB_LEN);
    registry_dials(f.registry)->body = REGISTRY_UNTIL_CLOSE;
    expect(&options, 0, BLOB_LEN);
}

Test(transfer, of_unknown_length_begins_anew_when_it_is_cut)
{
    struct transfer_options options = whole();

    options.open_ended = true;
    registry_dials(f.registry)->cut_after = 100000;
    registry_dials(f.registry)->n_cuts = 1;
    expect(&options, 0, BLOB_LEN);
    cr_assert_eq(f.n_restarts, 1);
    cr_assert_eq(registry_counts(f.registry)->ranges, 0);
}

Test(transfer, of_unknown_length_has_a_limit)
{
    struct transfer_options options = whole();

    options.open_ended = true;
    options.len = BLOB_LEN - 1;
    cr_assert_eq(run(&options), CLIP_EFORMAT);
    registry_dials(f.registry)->body = REGISTRY_CHUNKED;
    cr_assert_eq(run(&options), CLIP_EFORMAT);
    cr_assert_not_null(strstr(f.err.message, "longer than"), "%s", f.err.message);
}

Test(transfer, of_nothing_asks_nobody)
{
    struct transfer_options options = whole();

    options.len = options.size = 0;
    expect(&options, 0, 0);
    cr_assert_eq(registry_counts(f.registry)->requests, 0);
}

Test(transfer, notices_a_blob_of_another_size)
{
    struct transfer_options options = whole();

    options.len = options.size = BLOB_LEN + 1;
    cr_assert_eq(run(&options), CLIP_EDIGEST);
    cr_assert_not_null(strstr(f.err.message, "200000 bytes there, not 200001"), "%s",
                       f.err.message);
    options.off = BLOB_LEN;
    options.len = 1;
    cr_assert_eq(run(&options), CLIP_EDIGEST, "416");
}

Test(transfer, throws_away_what_comes_before_a_range)
{
    struct transfer_options options = whole();

    registry_dials(f.registry)->ignore_range = true;
    options.off = 100000;
    options.len = 10;
    expect(&options, 100000, 10);
}

Test(transfer, needs_somebody_who_knows_tags)
{
    struct transfer_options options = whole();

    options.resolves = true;
    for (unsigned i = 0; i < f.endpoints.n; i++)
        f.endpoints.list[i].resolves = false;
    cr_assert_eq(run(&options), -ENOENT);
}

Test(transfer, settles_the_scheme_with_the_first_answer)
{
    struct transfer_options options = whole();

    cr_assert_eq(f.endpoints.n, 2);
    registry_dials(f.registry)->status = 404;
    cr_assert_eq(run(&options), -ENOENT);
    cr_assert_str_eq(f.endpoints.list[0].base + strlen(f.endpoints.list[0].base) - 6, "/v2/a/");
    cr_assert(f.endpoints.list[1].is_off);
    cr_assert_eq(registry_counts(f.registry)->connections, 1);
}

Test(transfer, names_the_url_and_the_cause)
{
    struct transfer_options options = whole();
    const struct retry_policy twice = {
        .tries = 2, .base_ms = 1, .cap_ms = 1, .wait_max_ms = 1, .progress_bytes = 1};

    options.policy = &twice;
    registry_dials(f.registry)->status = 500;
    cr_assert_eq(run(&options), -EIO);
    cr_assert_not_null(strstr(f.err.message, "after 2 tries: http://127.0.0.1:"), "%s",
                       f.err.message);
    cr_assert_not_null(strstr(f.err.message, f.path), "%s", f.err.message);
    cr_assert_not_null(strstr(f.err.message, "500"), "%s", f.err.message);
}

Test(transfer, does_not_wait_for_who_is_out_of_reach)
{
    struct transfer_options options = whole();
    const struct retry_policy policy = {
        .tries = UINT32_MAX, .base_ms = 10, .cap_ms = 10, .progress_bytes = 1, .unreached_ms = 20};

    registry_stop(f.registry);
    LOOP_RUN_UNTIL(&f.t, registry_stopped(f.registry));
    options.policy = &policy;
    cr_assert_eq(run(&options), -ECONNREFUSED);
    cr_assert_not_null(strstr(f.err.message, "refuses connections"), "%s", f.err.message);
}

Test(transfer, ends_when_it_is_cancelled_while_it_waits)
{
    struct transfer_options options = whole();

    registry_dials(f.registry)->status = 503;
    registry_dials(f.registry)->retry_after = "60";
    cr_assert_eq(transfer_open(f.t.engine, &options, &f.transfer, &f.err), 0);
    LOOP_RUN_UNTIL(&f.t, registry_counts(f.registry)->failed == 1);
    for (int i = 0; i < 20; i++)
        uv_run(&f.t.loop, UV_RUN_NOWAIT);
    transfer_cancel(f.transfer);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
}

Test(transfer, ends_when_it_is_cancelled_at_once)
{
    struct transfer_options options = whole();

    cr_assert_eq(transfer_open(f.t.engine, &options, &f.transfer, &f.err), 0);
    transfer_cancel(f.transfer);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
    cr_assert_eq(registry_counts(f.registry)->requests, 0);
}
