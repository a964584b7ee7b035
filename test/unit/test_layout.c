/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine_private.h"
#include "test/lib/fetcher.h"
#include "test/lib/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYER_SIZE 700000
#define OCI_GZIP   "application/vnd.oci.image.layer.v1.tar+gzip"

static struct fixture {
    struct test_loop t;
    struct test_layout layout;
    struct fetcher fetcher;
    uint8_t bytes[LAYER_SIZE];
    struct layout_blob layer, image;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    layout_set_up(&f.layout);
    for (size_t i = 0; i < LAYER_SIZE; i++)
        f.bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    f.layer = layout_add_blob(&f.layout, OCI_GZIP, f.bytes, LAYER_SIZE);
    f.image = layout_add_image(&f.layout, "amd64", &f.layer, 1);
}

static void tear_down(void)
{
    fetcher_close(&f.fetcher);
    layout_tear_down(&f.layout);
    loop_tear_down(&f.t);
}

TestSuite(layout, .init = set_up, .fini = tear_down, .timeout = 300);

/* Finishes the layout, opens it, and resolves: the status. */
static int resolve(const char *tag, const char *platform)
{
    struct clip_source_options options = {.platform = platform};
    char image[256];

    layout_finish(&f.layout);
    snprintf(image, sizeof(image), "oci:%s%s%s", f.layout.dir, tag ? ":" : "", tag ? tag : "");
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, image, &options), 0);
    return fetcher_resolve(&f.fetcher);
}

static void resolve_one(void)
{
    layout_add_entry(&f.layout, &f.image, LAYOUT_TAG("latest"));
    cr_assert_eq(resolve(NULL, NULL), 0, "%s", f.fetcher.err.message);
}

#define assert_says(what)                                                                          \
    cr_assert(strstr(f.fetcher.err.message, what), "says: %s", f.fetcher.err.message)

static struct descriptor the_layer(void)
{
    struct descriptor blob = {.size = LAYER_SIZE, .media_type = (char *)OCI_GZIP};

    cr_assert_eq(digest_parse(f.layer.digest, &blob.digest), 0);
    return blob;
}

Test(layout, resolves_an_image)
{
    char digest[DIGEST_TEXT_LEN + 1], reference[256];

    resolve_one();
    struct manifest *m = f.fetcher.manifest;
    cr_assert_eq(m->n_layers, 1);
    cr_assert_eq(m->layers[0].size, LAYER_SIZE);
    cr_assert_str_eq(digest_format(&m->layers[0].digest, digest), f.layer.digest);
    cr_assert_str_eq(digest_format(&m->digest, digest), f.image.digest);
    cr_assert_str_eq(m->media_type, MEDIA_OCI_MANIFEST);
    cr_assert_str_eq(m->platform, "linux/amd64");
    cr_assert_eq(strlen(m->config), m->config_len);
    snprintf(reference, sizeof(reference), "oci:%s", f.layout.dir);
    cr_assert_str_eq(m->reference, reference);
}

/* A job of READ keeps a core free for a while: who resolves an image is about to read all of it. */
Test(layout, is_no_reader_while_it_resolves)
{
    resolve_one();
    cr_assert_eq(f.t.engine->pool.read_ns, 0);
}

Test(layout, records_an_absolute_path)
{
    char image[256], reference[256];

    layout_add_entry(&f.layout, &f.image, LAYOUT_TAG("a/b:1"));
    layout_finish(&f.layout);
    cr_assert_eq(chdir("/tmp"), 0);
    snprintf(image, sizeof(image), "oci:.//%s/:a/b:1", strrchr(f.layout.dir, '/') + 1);
    snprintf(reference, sizeof(reference), "oci:%s:a/b:1", f.layout.dir);
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, image, NULL), 0);
    cr_assert_eq(fetcher_resolve(&f.fetcher), 0, "%s", f.fetcher.err.message);
    cr_assert_str_eq(f.fetcher.manifest->reference, reference);
}

Test(layout, picks_by_tag_and_lists_the_tags_when_none_is_given)
{
    struct layout_blob other = layout_add_image(&f.layout, "arm64", &f.layer, 1);

    layout_add_entry(&f.layout, &f.image, LAYOUT_TAG("one"));
    layout_add_entry(&f.layout, &other, LAYOUT_TAG("two"));
    cr_assert_eq(resolve("two", NULL), 0, "%s", f.fetcher.err.message);
    cr_assert_str_eq(f.fetcher.manifest->platform, "linux/arm64");
    fetcher_close(&f.fetcher);

    cr_assert_eq(resolve(NULL, NULL), -EINVAL);
    assert_says("one, two");
    fetcher_close(&f.fetcher);

    cr_assert_eq(resolve("three", NULL), -ENOENT);
    assert_says("no image \"three\", but: one, two");
}

Test(layout, picks_the_platform_in_a_nested_index_past_attestations)
{
    struct layout_blob arm = layout_add_image(&f.layout, "arm64", &f.layer, 1);
    char entries[4096];

    snprintf(entries, sizeof(entries), "{%s%s},{%s%s},{%s%s},{%s%s}", f.image.json,
             ",\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}",
             f.image.json, LAYOUT_PLATFORM("unknown", "unknown"), f.image.json,
             LAYOUT_PLATFORM("linux", "amd64"), arm.json, LAYOUT_PLATFORM("linux", "arm64"));
    struct layout_blob nested = layout_add_index(&f.layout, entries);
    layout_add_entry(&f.layout, &nested, "");
    cr_assert_eq(resolve(NULL, "linux/arm64"), 0, "%s", f.fetcher.err.message);
    cr_assert_str_eq(f.fetcher.manifest->platform, "linux/arm64");
    fetcher_close(&f.fetcher);

    cr_assert_eq(resolve(NULL, "linux/s390x"), -ENOENT);
    assert_says("there is: linux/amd64, linux/arm64");
}

Test(layout, refuses_another_platform_than_was_asked_for)
{
    layout_add_entry(&f.layout, &f.image, "");
    cr_assert_eq(resolve(NULL, "linux/riscv64"), -ENOENT);
    assert_says("is for linux/amd64, not for linux/riscv64");
}

Test(layout, streams_a_blob_under_credit)
{
    struct descriptor blob = the_layer();

    resolve_one();
    cr_assert_eq(fetcher_stream(&f.fetcher, &blob, 300000), 0, "%s", f.fetcher.err.message);
    cr_assert_eq(f.fetcher.len, LAYER_SIZE);
    cr_assert_arr_eq(f.fetcher.bytes, f.bytes, LAYER_SIZE);
    cr_assert_leq(f.fetcher.max_slab, 256 << 10);
}

static void on_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Lets whatever is going on go on. */
static void idle_for(unsigned ms)
{
    uv_timer_t timer;
    bool fired = false;

    uv_timer_init(&f.t.loop, &timer);
    timer.data = &fired;
    uv_timer_start(&timer, on_timer, ms, 0);
    LOOP_RUN_UNTIL(&f.t, fired);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f.t.loop, UV_RUN_NOWAIT);
}

Test(layout, sends_no_more_than_the_credit)
{
    struct descriptor blob = the_layer();

    resolve_one();
    fetcher_start_stream(&f.fetcher, &blob, 0);
    blob_stream_credit(f.fetcher.stream, 1000);
    LOOP_RUN_UNTIL(&f.t, f.fetcher.len == 1000);
    idle_for(20);
    cr_assert_eq(f.fetcher.len, 1000);
    cr_assert_not(f.fetcher.done);
    blob_stream_credit(f.fetcher.stream, UINT64_MAX);
    fetcher_wait(&f.fetcher);
    cr_assert_eq(f.fetcher.len, LAYER_SIZE);
}

Test(layout, ends_a_cancelled_stream_once_and_without_more_slabs)
{
    struct descriptor blob = the_layer();

    resolve_one();
    for (unsigned when = 0; when < 3; when++) {
        fetcher_start_stream(&f.fetcher, &blob, 0);
        if (when > 0)
            blob_stream_credit(f.fetcher.stream, when == 1 ? LAYER_SIZE : 1000);
        LOOP_RUN_UNTIL(&f.t, when == 0 || f.fetcher.len > 0);
        size_t len = f.fetcher.len;
        blob_stream_cancel(f.fetcher.stream);
        fetcher_wait(&f.fetcher);
        cr_assert_eq(f.fetcher.status, -ECANCELED);
        cr_assert_eq(f.fetcher.len, len);
    }
}

Test(layout, cancels_what_is_in_flight_when_it_is_closed)
{
    struct descriptor blob = the_layer();

    resolve_one();
    fetcher_start_stream(&f.fetcher, &blob, 0);
    source_close(f.fetcher.source, NULL, NULL);
    f.fetcher.source = NULL;
    fetcher_wait(&f.fetcher);
    cr_assert_eq(f.fetcher.status, -ECANCELED);
}

Test(layout, fetches_a_range)
{
    struct descriptor blob = the_layer();

    resolve_one();
    cr_assert_eq(fetcher_range(&f.fetcher, &blob, 12345, 300000), 0);
    cr_assert_eq(f.fetcher.len, 300000);
    cr_assert_arr_eq(f.fetcher.bytes, f.bytes + 12345, 300000);
    cr_assert_eq(fetcher_range(&f.fetcher, &blob, LAYER_SIZE - 1, 1), 0);
    cr_assert_eq(fetcher_range(&f.fetcher, &blob, LAYER_SIZE - 1, 2), -EINVAL);
    cr_assert_eq(fetcher_range(&f.fetcher, &blob, UINT64_MAX, 2), -EINVAL);
    cr_assert_eq(fetcher_range(&f.fetcher, &blob, 0, BLOB_RANGE_MAX + 1), -EFBIG);
}

Test(layout, names_a_blob_that_is_missing_or_has_another_size)
{
    struct descriptor blob = the_layer();

    resolve_one();
    cr_assert_eq(truncate(f.layer.path, 5), 0);
    cr_assert_eq(fetcher_stream(&f.fetcher, &blob, 1), CLIP_EDIGEST);
    assert_says("has 5 bytes, not 700000");
    assert_says(f.layer.digest + 7);
    cr_assert_eq(unlink(f.layer.path), 0);
    cr_assert_eq(fetcher_range(&f.fetcher, &blob, 0, 1), -ENOENT);
    assert_says(f.layer.digest + 7);
}

Test(layout, tells_of_a_layer_that_nobody_may_distribute)
{
    struct descriptor blob = the_layer();

    blob.media_type = (char *)"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    resolve_one();
    cr_assert_eq(unlink(f.layer.path), 0);
    cr_assert_eq(fetcher_stream(&f.fetcher, &blob, 1), -ENOENT);
    assert_says("distribute");
}

Test(layout, refuses_a_manifest_with_other_bytes)
{
    FILE *file = fopen(f.image.path, "r+");

    fputs("{ ", file);
    fclose(file);
    layout_add_entry(&f.layout, &f.image, "");
    cr_assert_eq(resolve(NULL, NULL), CLIP_EDIGEST);
    assert_says(f.image.digest);
}

Test(layout, says_what_is_not_a_layout)
{
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, "oci:/tmp", NULL), 0);
    cr_assert_eq(fetcher_resolve(&f.fetcher), -ENOENT);
    assert_says("not an OCI layout");
    fetcher_close(&f.fetcher);
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, "oci:/does/not/exist", NULL), 0);
    cr_assert_eq(fetcher_resolve(&f.fetcher), -ENOENT);
    assert_says("/does/not/exist: No such file");
    fetcher_close(&f.fetcher);
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, "oci::tag", NULL), -EINVAL);
}

Test(layout, does_not_wait_for_a_fifo)
{
    char path[128];

    layout_finish(&f.layout);
    snprintf(path, sizeof(path), "%s/index.json", f.layout.dir);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    snprintf(path, sizeof(path), "oci:%s", f.layout.dir);
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, path, NULL), 0);
    cr_assert_eq(fetcher_resolve(&f.fetcher), CLIP_EFORMAT);
    assert_says("not a regular file");
}
