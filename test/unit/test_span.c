/* SPDX-License-Identifier: Apache-2.0 */
#include "index/span.h"
#include "test/lib/image.h"
#include "test/lib/loop.h"
#include "test/lib/pushed.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_LEN (20u << 20)

static struct fixture {
    struct test_loop t;
    struct test_image made;
    struct test_registry *registry; /* NULL: the source is the layout */
    struct clip_image *image;
    struct source *source;
    struct span_fetch req;
    uint64_t layer_len;
    uint8_t *bytes; /* what came of the layer */
    unsigned n_decoded, n_failed;
    bool indexed, done;
    uint64_t pause_at; /* no resume after this many spans */
    int status;
} f;

static void on_indexed(void *data, int status, const struct clip_error *err,
                       const struct clip_index_result *result)
{
    (void)data, (void)result;
    cr_assert_eq(status, 0, "%s", err ? err->message : "");
    f.indexed = true;
}

static void set_up_with(enum codec codec)
{
    struct clip_index_options options = {.image = f.made.source};
    uint8_t *file = malloc(FILE_LEN);
    struct image_layer layer;
    struct clip_index *index;
    struct clip_error err;
    char out[128];

    image_noise(file, FILE_LEN, 3);
    image_layer_begin(&f.made);
    image_add(&f.made, "file", S_IFREG | 0644, file, FILE_LEN);
    image_layer_end(&f.made, codec);
    image_finish(&f.made);
    free(file);
    snprintf(out, sizeof(out), "%s/out.clip", f.made.dir);
    options.output = out;
    cr_assert_eq(clip_index_start(f.t.engine, &options, on_indexed, NULL, &index, &err), 0);
    LOOP_RUN_UNTIL(&f.t, f.indexed);
    cr_assert_eq(clip_image_open(out, &f.image, &err), 0, "%s", err.message);
    cr_assert_eq(source_open(f.t.engine, f.made.source, NULL, &f.source, &err), 0);
    image_layer(f.image, 0, &layer);
    f.layer_len = layer.uncompressed_size;
    cr_assert_eq(f.layer_len, f.made.tar_len);
    f.bytes = calloc(1, f.layer_len);
}

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    f.pause_at = UINT64_MAX;
    loop_set_up(&f.t);
    image_set_up(&f.made);
}

static void tear_down(void)
{
    if (f.source)
        source_close(f.source, NULL, NULL);
    registry_stop(f.registry);
    LOOP_RUN_UNTIL(&f.t, !f.registry || registry_stopped(f.registry));
    registry_free(f.registry);
    loop_tear_down(&f.t);
    if (f.image)
        clip_image_unref(f.image);
    image_tear_down(&f.made);
    free(f.bytes);
}

TestSuite(span, .init = set_up, .fini = tear_down);

static void on_decoded(struct span_fetch *req, uint64_t index, int status, struct slab *slab)
{
    struct image_span span;

    f.n_decoded++;
    if (status < 0) {
        f.n_failed++;
        return;
    }
    image_span(req->image, req->layer, index, &span);
    cr_assert_eq(slab->len, span.out_len);
    memcpy(f.bytes + span.out_off, slab->bytes, slab->len);
    slab_unlock(slab);
    if (span.flags & CHECKPOINT_CHAINED)
        cr_assert_eq(index, req->first + f.n_decoded - 1, "a chain comes in order");
    if (f.n_decoded != f.pause_at)
        span_fetch_resume(req);
}

static void on_done(struct span_fetch *req, int status)
{
    (void)req;
    f.done = true;
    f.status = status;
}

static void start(uint64_t first, uint64_t n)
{
    f.req = (struct span_fetch){
        .image = f.image,
        .first = first,
        .n = n,
        .lane = WORK_READ,
        .on_decoded = on_decoded,
        .on_done = on_done,
    };
    cr_assert_eq(span_fetch_start(f.source, &f.req, 0), 0);
    cr_assert(!f.done);
}

static uint64_t n_spans(void)
{
    struct image_layer layer;

    image_layer(f.image, 0, &layer);
    return layer.n_spans;
}

static void expect_all_from_one_range(void)
{
    start(0, n_spans());
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
    cr_assert_eq(f.n_decoded, n_spans());
    cr_assert_eq(f.req.n_requests, 1);
    cr_assert_eq(memcmp(f.bytes, f.made.tar, f.layer_len), 0);
}

Test(span, gives_every_span_of_a_gzip_layer_from_one_range)
{
    set_up_with(CODEC_GZIP);
    cr_assert_geq(n_spans(), 17);
    expect_all_from_one_range();
}

Test(span, gives_a_span_in_the_middle_alone)
{
    struct image_span span;

    set_up_with(CODEC_GZIP);
    image_span(f.image, 0, 9, &span);
    start(9, 1);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
    cr_assert_eq(f.req.fetched, span.in_len);
    cr_assert_eq(memcmp(f.bytes + span.out_off, f.made.tar + span.out_off, span.out_len), 0);
}

Test(span, gives_every_span_of_a_plain_layer)
{
    set_up_with(CODEC_TAR);
    start(0, n_spans());
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
    cr_assert_eq(memcmp(f.bytes, f.made.tar, f.layer_len), 0);
}
static void flip_byte_of_blob(uint64_t off)
{
    int fd = open(f.made.layers[0].path, O_RDWR);
    uint8_t byte;

    cr_assert_eq(pread(fd, &byte, 1, (off_t)off), 1);
    byte ^= 0x40;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)off), 1);
    close(fd);
}

static uint64_t chain_len(uint64_t index)
{
    uint64_t first, n;

    span_chain(f.image, 0, index, &first, &n);
    cr_assert_eq(first, n > 1 ? 0 : index);
    return n;
}

Test(span, says_which_spans_hang_together)
{
    set_up_with(CODEC_ZSTD);
    cr_assert_geq(n_spans(), 17);
    cr_assert_eq(chain_len(0), n_spans());
    cr_assert_eq(chain_len(9), n_spans());
    cr_assert_eq(chain_len(n_spans() - 1), n_spans());
}

Test(span, says_that_spans_of_gzip_stand_alone)
{
    set_up_with(CODEC_GZIP);
    cr_assert_eq(chain_len(0), 1);
    cr_assert_eq(chain_len(n_spans() - 1), 1);
}

Test(span, gives_a_chain_span_by_span_from_a_few_ranges)
{
    set_up_with(CODEC_ZSTD);
    start(0, n_spans());
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
    cr_assert_eq(f.n_decoded, n_spans());
    cr_assert_gt(f.req.n_requests, 1);
    cr_assert_lt(f.req.n_requests, n_spans() / 4);
    cr_assert_leq(f.req.fetched, f.made.layers[0].size);
    cr_assert_eq(memcmp(f.bytes, f.made.tar, f.layer_len), 0);
}

Test(span, gives_the_first_spans_of_a_chain_alone)
{
    set_up_with(CODEC_ZSTD);
    start(0, 1);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
    cr_assert_eq(f.n_decoded, 1);
    cr_assert_lt(f.req.fetched, f.made.layers[0].size / 10);
}

Test(span, gives_the_next_of_a_chain_only_when_it_is_asked_to)
{
    set_up_with(CODEC_ZSTD);
    f.pause_at = 3;
    start(0, n_spans());
    LOOP_RUN_UNTIL(&f.t, f.n_decoded == 3);
    for (int i = 0; i < 50; i++)
        uv_run(&f.t.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.n_decoded, 3);
    span_fetch_resume(&f.req);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
    cr_assert_eq(memcmp(f.bytes, f.made.tar, f.layer_len), 0);
}

Test(span, answers_every_span_of_a_chain_that_nobody_wants_any_more)
{
    set_up_with(CODEC_ZSTD);
    f.pause_at = 1;
    start(0, n_spans());
    LOOP_RUN_UNTIL(&f.t, f.n_decoded == 1);
    span_fetch_cancel(&f.req);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
    cr_assert_eq(f.n_decoded, n_spans());
    cr_assert_eq(f.n_failed, n_spans() - 1);
}

Test(span, ends_a_chain_that_is_cancelled_before_it_began)
{
    set_up_with(CODEC_ZSTD);
    start(0, n_spans());
    span_fetch_cancel(&f.req);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
    cr_assert_eq(f.n_failed, n_spans());
}

/* After every number of turns of the loop: whatever is under way then. */
Test(span, ends_a_chain_that_is_cancelled_at_any_time, .timeout = 300)
{
    set_up_with(CODEC_ZSTD);
    for (int turns = 0; turns < 25; turns++) {
        f.n_decoded = f.n_failed = 0;
        f.done = false;
        start(0, n_spans());
        for (int i = 0; i < turns && !f.done; i++)
            uv_run(&f.t.loop, UV_RUN_ONCE);
        span_fetch_cancel(&f.req);
        LOOP_RUN_UNTIL(&f.t, f.done);
        cr_assert_eq(f.n_decoded, n_spans());
    }
}

Test(span, fails_only_the_span_whose_bytes_are_wrong_after_asking_again)
{
    struct image_span span;

    set_up_with(CODEC_GZIP);
    image_span(f.image, 0, 3, &span);
    flip_byte_of_blob(span.in_off + span.in_len / 2);
    start(0, 8);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, CLIP_EDIGEST, "%s", f.req.err.message);
    cr_assert_eq(f.n_failed, 1);
    cr_assert_eq(f.n_decoded, 8);
    cr_assert_eq(f.req.n_requests, SPAN_ATTEMPTS);
}

Test(span, answers_every_span_when_it_is_cancelled)
{
    set_up_with(CODEC_GZIP);
    start(0, 15);
    span_fetch_cancel(&f.req);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.n_decoded, 15);
    cr_assert_eq(f.status, -ECANCELED);
}

/* ---- bytes that come bit by bit */

static void set_up_registry(void)
{
    struct clip_error err;
    char name[64];

    setenv("HOME", "/nonexistent", 1);
    set_up_with(CODEC_GZIP);
    source_close(f.source, NULL, NULL);
    f.registry = registry_start(&f.t.loop);
    pushed(f.registry, f.made.dir, "latest");
    snprintf(name, sizeof(name), "%s/app:latest", registry_host(f.registry));
    cr_assert_eq(source_open(f.t.engine, name, NULL, &f.source, &err), 0, "%s", err.message);
}

/* So many spans of a range from 0 are there when it stops. */
static uint64_t end_of_span(uint64_t index)
{
    struct image_span first, span;

    image_span(f.image, 0, 0, &first);
    image_span(f.image, 0, index, &span);
    return span.in_off + span.in_len - first.in_off;
}

Test(span, gives_the_first_spans_of_a_range_whose_rest_is_still_to_come)
{
    set_up_registry();
    registry_dials(f.registry)->stall_after = end_of_span(2) + 10;
    start(0, 8);
    LOOP_RUN_UNTIL(&f.t, f.n_decoded == 3);
    cr_assert_eq(memcmp(f.bytes, f.made.tar, 2 << 20), 0);
    span_fetch_cancel(&f.req);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.n_decoded, 8);
    cr_assert_eq(f.n_failed, 5);
    cr_assert_eq(f.status, -ECANCELED);
}

Test(span, goes_on_with_a_range_that_was_cut_while_its_first_spans_are_decoded)
{
    set_up_registry();
    registry_dials(f.registry)->cut_after = end_of_span(2) + 10;
    registry_dials(f.registry)->n_cuts = 1;
    expect_all_from_one_range();
}

Test(span, fails_what_is_to_come_when_the_rest_of_a_range_never_does)
{
    set_up_registry();
    registry_dials(f.registry)->cut_after = end_of_span(2) + 10;
    registry_dials(f.registry)->n_cuts = 1;
    start(0, 8);
    LOOP_RUN_UNTIL(&f.t, registry_counts(f.registry)->requests == 1);
    registry_dials(f.registry)->status = 404;
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_lt(f.status, 0);
    cr_assert_eq(f.n_decoded, 8);
    cr_assert_gt(f.n_failed, 0);
    cr_assert_lt(f.n_failed, 8);
}

Test(span, asks_again_for_one_that_is_wrong_when_the_rest_has_come)
{
    set_up_registry();
    registry_dials(f.registry)->wrong_bytes = true;
    start(0, 8);
    LOOP_RUN_UNTIL(&f.t, f.n_decoded > 0);
    registry_dials(f.registry)->wrong_bytes = false;
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
    cr_assert_eq(f.n_decoded, 8);
    cr_assert_eq(f.req.n_requests, 2);
    cr_assert_eq(memcmp(f.bytes, f.made.tar, 7 << 20), 0);
}

static void flip_byte_of_span(uint64_t index)
{
    struct image_span span;

    image_span(f.image, 0, index, &span);
    flip_byte_of_blob(span.in_off + span.in_len / 2);
}

Test(span, asks_again_for_a_span_of_a_chain_without_starting_over)
{
    set_up_with(CODEC_ZSTD);
    f.pause_at = 1;
    flip_byte_of_span(5);
    start(0, n_spans());
    LOOP_RUN_UNTIL(&f.t, f.n_decoded == 1);
    flip_byte_of_span(5);
    span_fetch_resume(&f.req);
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
    cr_assert_eq(f.n_decoded, n_spans());
    cr_assert_gt(f.req.fetched, f.made.layers[0].size - 100);
    cr_assert_lt(f.req.fetched, f.made.layers[0].size + (2 << 20));
    cr_assert_eq(memcmp(f.bytes, f.made.tar, f.layer_len), 0);
}

Test(span, fails_the_rest_of_a_chain_whose_bytes_stay_wrong)
{
    set_up_with(CODEC_ZSTD);
    flip_byte_of_span(5);
    start(0, n_spans());
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, CLIP_EDIGEST, "%s", f.req.err.message);
    cr_assert_not_null(strstr(f.req.err.message, "sha256:"));
    cr_assert_eq(f.n_decoded, n_spans());
    cr_assert_eq(f.n_failed, n_spans() - 5);
}

Test(span, fails_a_chain_whose_blob_is_gone)
{
    set_up_with(CODEC_ZSTD);
    unlink(f.made.layers[0].path);
    start(0, n_spans());
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_lt(f.status, 0);
    cr_assert_eq(f.n_failed, n_spans());
}

static void on_verified(void *data, int status, const struct clip_error *err)
{
    (void)data;
    f.done = true;
    f.status = status;
    if (err)
        f.req.err = *err;
}

static void verify(void)
{
    const struct clip_verify_options options = {.image = f.image};
    struct clip_verify *v;
    struct clip_error err;

    cr_assert_eq(clip_verify_start(f.t.engine, &options, on_verified, NULL, &v, &err), 0, "%s",
                 err.message);
    LOOP_RUN_UNTIL(&f.t, f.done);
}

Test(span, is_what_verify_looks_at_in_chains_too)
{
    set_up_with(CODEC_ZSTD);
    verify();
    cr_assert_eq(f.status, 0, "%s", f.req.err.message);
}
