/* SPDX-License-Identifier: Apache-2.0 */
#include "index/build.h"
#include "net/net.h"
#include "net/retry.h"
#include "test/lib/fetcher.h"
#include "test/lib/image.h"
#include "test/lib/layout.h"
#include "test/lib/pushed.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_LEN 300000u

static struct fixture {
    struct test_loop t;
    struct test_registry *registry, *mirror;
    struct test_layout layout;
    struct clip_source_options options;
    struct fetcher fetcher;
    char name[128], mirror_url[128];
    uint8_t *bytes;
    struct descriptor blob;
} f;

/* Nobody here waits for tens of seconds. A request that is answered may then look like one that is
 * not, where the machine is busy: it is asked again. */
static void hurry(void)
{
    struct net_timeouts *timeouts;
    struct net *net;

    cr_assert_eq(net_get(f.t.engine, &net, NULL), 0);
    timeouts = net_timeouts(net);
    timeouts->first_byte_ms = timeouts->stall_ms = 300;
}

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    setenv("HOME", "/nonexistent", 1);
    unsetenv("XDG_RUNTIME_DIR");
    loop_set_up(&f.t);
    layout_set_up(&f.layout);
    f.options.certs_dir = f.layout.dir;
    f.registry = registry_start(&f.t.loop);
    f.mirror = registry_start(&f.t.loop);
    f.bytes = malloc(BLOB_LEN);
    image_noise(f.bytes, BLOB_LEN, 3);
    registry_add_blob(f.registry, f.bytes, BLOB_LEN, &f.blob.digest);
    registry_add_blob(f.mirror, f.bytes, BLOB_LEN, &f.blob.digest);
    f.blob.size = BLOB_LEN;
    snprintf(f.name, sizeof(f.name), "%s/team/app:1", registry_host(f.registry));
    snprintf(f.mirror_url, sizeof(f.mirror_url), "%s", registry_url(f.mirror));
}

static void use_mirror(void)
{
    static const char *mirrors[2];

    mirrors[0] = f.mirror_url;
    f.options.mirrors = mirrors;
}

static void tear_down(void)
{
    fetcher_close(&f.fetcher);
    registry_stop(f.registry);
    registry_stop(f.mirror);
    LOOP_RUN_UNTIL(&f.t, registry_stopped(f.registry) && registry_stopped(f.mirror));
    registry_free(f.registry);
    registry_free(f.mirror);
    loop_tear_down(&f.t);
    layout_tear_down(&f.layout);
    free(f.bytes);
}

TestSuite(registry, .init = set_up, .fini = tear_down);

static struct registry_dials *dials(void)
{
    return registry_dials(f.registry);
}

static struct registry_counts *counts(void)
{
    return registry_counts(f.registry);
}

static void open_source(void)
{
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, f.name, &f.options), 0, "%s",
                 f.fetcher.err.message);
}

static void expect_stream(void)
{
    int r;

    if (!f.fetcher.source)
        open_source();
    r = fetcher_stream(&f.fetcher, &f.blob, 65536);
    cr_assert_eq(r, 0, "%s", f.fetcher.err.message);
    cr_assert_eq(f.fetcher.len, BLOB_LEN);
    cr_assert_eq(memcmp(f.fetcher.bytes, f.bytes, BLOB_LEN), 0);
}

static void expect_range(uint64_t off, uint64_t len)
{
    int r;

    if (!f.fetcher.source)
        open_source();
    r = fetcher_range(&f.fetcher, &f.blob, off, len);
    cr_assert_eq(r, 0, "%s", f.fetcher.err.message);
    cr_assert_eq(f.fetcher.len, len);
    cr_assert_eq(memcmp(f.fetcher.bytes, f.bytes + off, len), 0);
}

static void expect_failure(int code, const char *says)
{
    int r;

    if (!f.fetcher.source)
        open_source();
    r = fetcher_stream(&f.fetcher, &f.blob, 65536);
    cr_assert_eq(r, code, "%d: %s", r, f.fetcher.err.message);
    cr_assert_not_null(strstr(f.fetcher.err.message, says), "%s", f.fetcher.err.message);
}

/* ---- honest */

Test(registry, gives_all_bytes_in_one_request)
{
    expect_stream();
    cr_assert_eq(counts()->requests, 1);
    cr_assert_eq(counts()->ranges, 0);
    cr_assert_eq(counts()->body_bytes, BLOB_LEN);
    cr_assert_leq(f.fetcher.max_slab, 256u << 10);
}

Test(registry, gives_a_range_and_no_more)
{
    expect_range(1000, 5000);
    cr_assert_eq(counts()->requests, 1);
    cr_assert_eq(counts()->body_bytes, 5000);
    expect_range(0, 1);
    expect_range(BLOB_LEN - 1, 1);
    expect_range(0, BLOB_LEN);
    cr_assert_eq(counts()->connections, 1, "kept");
}

Test(registry, sends_nothing_without_credit)
{
    open_source();
    fetcher_start_stream(&f.fetcher, &f.blob, 0);
    blob_stream_credit(f.fetcher.stream, 1000);
    LOOP_RUN_UNTIL(&f.t, f.fetcher.len == 1000);
    blob_stream_credit(f.fetcher.stream, BLOB_LEN);
    fetcher_wait(&f.fetcher);
    cr_assert_eq(f.fetcher.status, 0);
    cr_assert_eq(f.fetcher.len, BLOB_LEN);
}

Test(registry, ends_when_it_is_cancelled)
{
    dials()->stall_after = 1000;
    open_source();
    fetcher_start_stream(&f.fetcher, &f.blob, 65536);
    LOOP_RUN_UNTIL(&f.t, f.fetcher.len > 0);
    blob_stream_cancel(f.fetcher.stream);
    fetcher_wait(&f.fetcher);
    cr_assert_eq(f.fetcher.status, -ECANCELED);
}

Test(registry, closes_with_a_stream_in_flight)
{
    dials()->stall_after = 1000;
    open_source();
    fetcher_start_stream(&f.fetcher, &f.blob, 65536);
    LOOP_RUN_UNTIL(&f.t, f.fetcher.len > 0);
    fetcher_close(&f.fetcher);
    cr_assert_eq(f.fetcher.status, -ECANCELED);
    f.fetcher.source = NULL;
}

/* ---- bodies that go wrong */

Test(registry, asks_for_the_rest_when_cut)
{
    dials()->cut_after = 100000;
    dials()->n_cuts = 1;
    expect_stream();
    cr_assert_eq(counts()->requests, 2);
    cr_assert_eq(counts()->ranges, 1);
    cr_assert_eq(counts()->body_bytes, BLOB_LEN, "nothing twice");
    cr_assert_str_eq(registry_last_header(f.registry, "range"), "bytes=100000-299999");
}

Test(registry, asks_for_the_rest_wherever_it_is_cut)
{
    static const uint64_t cuts[] = {1, 2, 16383, 16384, 65535, 65536, 65537, BLOB_LEN - 1};

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        dials()->cut_after = cuts[i];
        dials()->n_cuts = 100 + (unsigned)i; /* counts anew */
        if (cuts[i] < 16384)                 /* no progress to speak of */
            dials()->n_cuts = 1 + (unsigned)i;
        expect_stream();
    }
    cr_assert_eq(counts()->body_bytes, BLOB_LEN * sizeof(cuts) / sizeof(cuts[0]));
}

Test(registry, asks_for_the_rest_of_a_range)
{
    dials()->cut_after = 3000;
    dials()->n_cuts = 1;
    expect_range(1000, 5000);
    cr_assert_eq(counts()->requests, 2);
    cr_assert_eq(counts()->body_bytes, 5000);
    cr_assert_str_eq(registry_last_header(f.registry, "range"), "bytes=4000-5999");
}

Test(registry, goes_on_when_a_body_stalls)
{
    hurry();
    dials()->stall_after = 100000;
    dials()->n_cuts = 1;
    expect_stream();
    cr_assert_geq(counts()->requests, 2);
    cr_assert_eq(counts()->ranges, counts()->requests - 1, "asked for the rest");
}

Test(registry, goes_on_when_there_is_no_answer_at_all)
{
    hurry();
    open_source();
    dials()->stall_first_byte = true;
    fetcher_start_stream(&f.fetcher, &f.blob, 65536);
    LOOP_RUN_UNTIL(&f.t, counts()->failed >= 1);
    dials()->stall_first_byte = false;
    fetcher_wait(&f.fetcher);
    cr_assert_eq(f.fetcher.status, 0, "%s", f.fetcher.err.message);
    cr_assert_eq(f.fetcher.len, BLOB_LEN);
}

Test(registry, gives_up_on_who_always_cuts_at_once)
{
    dials()->cut_after = 10;
    expect_failure(-ECONNRESET, "tries");
    cr_assert_eq(counts()->requests, retry_defaults.tries);
}

Test(registry, takes_bodies_of_every_form)
{
    dials()->body = REGISTRY_CHUNKED;
    expect_stream();
    expect_range(70000, 100);
    dials()->body = REGISTRY_UNTIL_CLOSE;
    expect_stream();
    expect_range(70000, 100);
    cr_assert_eq(counts()->requests, 4);
}

Test(registry, sees_that_a_body_without_length_was_cut)
{
    dials()->cut_after = 100000;
    dials()->n_cuts = 1;
    dials()->body = REGISTRY_UNTIL_CLOSE;
    expect_stream();
    cr_assert_eq(counts()->requests, 2);
    dials()->n_cuts = 2;
    dials()->body = REGISTRY_CHUNKED;
    expect_stream();
    cr_assert_eq(counts()->body_bytes, 2 * BLOB_LEN);
}

Test(registry, goes_on_after_a_reset)
{
    open_source();
    dials()->reset = true;
    fetcher_start_stream(&f.fetcher, &f.blob, 65536);
    LOOP_RUN_UNTIL(&f.t, counts()->failed >= 2);
    dials()->reset = false;
    fetcher_wait(&f.fetcher);
    cr_assert_eq(f.fetcher.status, 0, "%s", f.fetcher.err.message);
    cr_assert_eq(f.fetcher.len, BLOB_LEN);
}

Test(registry, does_not_mind_that_connections_are_closed)
{
    dials()->close_each = true;
    expect_stream();
    expect_range(10, 10);
    expect_range(20, 10);
    cr_assert_eq(counts()->requests, 3);
}

/* ---- ranges that are not */

Test(registry, passes_over_what_it_did_not_ask_for_where_ranges_are_ignored)
{
    dials()->ignore_range = true;
    expect_range(100000, 5000);
    cr_assert_eq(counts()->requests, 1);
    cr_assert_lt(counts()->body_bytes, BLOB_LEN + 1);
    dials()->cut_after = 100000;
    dials()->n_cuts = 1;
    expect_stream();
}

Test(registry, asks_for_the_whole_where_ranges_are_wrong)
{
    dials()->lie_about_range = true;
    expect_range(100000, 5000);
    cr_assert_eq(counts()->requests, 2);
    cr_assert_eq(counts()->ranges, 1);
    expect_range(50000, 5000);
    cr_assert_eq(counts()->ranges, 1, "it is not asked for ranges again");
}

Test(registry, does_not_believe_a_part_that_does_not_say_which)
{
    dials()->no_content_range = true;
    expect_range(100000, 5000);
    cr_assert_eq(counts()->ranges, 1);
    cr_assert_eq(counts()->requests, 2);
}

/* ---- servers that are busy */

Test(registry, waits_as_long_as_it_is_told_to)
{
    uint64_t began = uv_now(&f.t.loop);

    dials()->status = 429;
    dials()->n_status = 1;
    dials()->retry_after = "1";
    expect_stream();
    cr_assert_eq(counts()->requests, 2);
    cr_assert_geq(uv_now(&f.t.loop) - began, 1000);
}

Test(registry, goes_on_after_503)
{
    dials()->status = 503;
    dials()->n_status = 3;
    expect_stream();
    cr_assert_eq(counts()->requests, 4);
}

Test(registry, does_not_wait_for_ever_because_it_is_told_to)
{
    dials()->status = 503;
    dials()->retry_after = "100000";
    expect_failure(-EIO, "503");
    cr_assert_eq(counts()->requests, 1);
}

Test(registry, tells_what_it_does_not_have)
{
    dials()->status = 404;
    expect_failure(-ENOENT, "does not have this blob");
    cr_assert_eq(counts()->requests, 1, "it is not asked again");
    cr_assert_eq(fetcher_resolve(&f.fetcher), -ENOENT);
    cr_assert_not_null(strstr(f.fetcher.err.message, "no such image"), "%s", f.fetcher.err.message);
    cr_assert_not_null(strstr(f.fetcher.err.message, "team/app/manifests/1"), "%s",
                       f.fetcher.err.message);
    dials()->status = 403;
    expect_failure(-EACCES, "--creds");
}

/* ---- mirrors */

Test(registry, asks_the_mirror_first_and_only)
{
    use_mirror();
    expect_stream();
    cr_assert_eq(registry_counts(f.mirror)->requests, 1);
    cr_assert_eq(counts()->requests, 0);
}

Test(registry, falls_back_to_the_registry)
{
    use_mirror();
    registry_dials(f.mirror)->status = 404;
    expect_stream();
    cr_assert_eq(registry_counts(f.mirror)->requests, 1);
    cr_assert_eq(counts()->requests, 1);
}

Test(registry, falls_back_when_the_mirror_is_gone)
{
    use_mirror();
    registry_stop(f.mirror);
    LOOP_RUN_UNTIL(&f.t, registry_stopped(f.mirror));
    expect_stream();
    cr_assert_eq(counts()->requests, 1);
    expect_range(5, 5);
    cr_assert_eq(counts()->requests, 2, "it is not tried again at once");
}

Test(registry, does_not_wait_for_a_busy_mirror)
{
    use_mirror();
    registry_dials(f.mirror)->status = 429;
    registry_dials(f.mirror)->retry_after = "100";
    expect_stream();
    expect_range(5, 5);
    cr_assert_eq(registry_counts(f.mirror)->requests, 1);
}

Test(registry, continues_at_the_registry_what_the_mirror_began)
{
    use_mirror();
    registry_dials(f.mirror)->cut_after = 100000;
    expect_stream();
    cr_assert_eq(registry_counts(f.mirror)->body_bytes + counts()->body_bytes, BLOB_LEN);
}

Test(registry, asks_somebody_else_for_what_was_wrong)
{
    use_mirror();
    registry_dials(f.mirror)->wrong_bytes = true;
    open_source();
    fetcher_range(&f.fetcher, &f.blob, 0, 1000);
    cr_assert_neq(memcmp(f.fetcher.bytes, f.bytes, 1000), 0);
    fetcher_range_again(&f.fetcher, 1);
    cr_assert_eq(f.fetcher.status, 0);
    cr_assert_eq(memcmp(f.fetcher.bytes, f.bytes, 1000), 0);
    cr_assert_eq(counts()->requests, 1);
    cr_assert_str_eq(registry_last_header(f.registry, "cache-control"), "no-cache");
}

/* ---- redirects and rights */

Test(registry, follows_to_another_host_without_taking_credentials_along)
{
    char target[64];

    snprintf(target, sizeof(target), "%s", registry_url(f.mirror));
    dials()->redirect_blobs = target;
    dials()->auth = REGISTRY_BASIC;
    dials()->user = "me";
    dials()->pass = "sesame";
    f.options.creds = "me:sesame";
    expect_range(1000, 1000);
    cr_assert_eq(counts()->redirects, 1);
    cr_assert_eq(counts()->with_authorization, 1);
    cr_assert_eq(registry_counts(f.mirror)->with_authorization, 0);
    cr_assert_eq(registry_counts(f.mirror)->body_bytes, 1000);
}

Test(registry, never_shows_a_mirror_the_registrys_credentials)
{
    use_mirror();
    f.options.creds = "me:sesame";
    registry_dials(f.mirror)->auth = REGISTRY_BASIC;
    registry_dials(f.mirror)->user = "me";
    registry_dials(f.mirror)->pass = "sesame";
    expect_stream();
    cr_assert_eq(registry_counts(f.mirror)->with_authorization, 0);
    cr_assert_eq(registry_counts(f.mirror)->refused, 1);
}

Test(registry, renews_its_token_in_the_middle)
{
    dials()->auth = REGISTRY_BEARER;
    dials()->token_uses = 2;
    dials()->cut_after = 50000;
    expect_stream();
    cr_assert_geq(counts()->tokens, 2);
    cr_assert_eq(counts()->body_bytes, BLOB_LEN);
}

/* ---- resolving */

static void push_image(const char *tag)
{
    struct layout_blob layers[2], amd64, arm64;
    char entries[2048];

    layers[0] = layout_add_blob(&f.layout, MEDIA_DOCKER_TAR_GZIP, "one", 3);
    layers[1] = layout_add_blob(&f.layout, MEDIA_DOCKER_TAR_GZIP, "other", 5);
    amd64 = layout_add_image(&f.layout, "amd64", layers, 1);
    arm64 = layout_add_image(&f.layout, "arm64", layers, 2);
    snprintf(
        entries, sizeof(entries),
        "{%s" LAYOUT_PLATFORM(
            "unknown", "unknown") ",\"annotations\":{\"vnd.docker.reference."
                                  "type\":\"attestation-manifest\"}},{%s" LAYOUT_PLATFORM(
                                      "linux", "arm64") "},"
                                                        "{%s" LAYOUT_PLATFORM("linux", "amd64") "}",
        arm64.json, arm64.json, amd64.json);
    struct layout_blob index = layout_add_index(&f.layout, entries);
    layout_add_entry(&f.layout, &index, "");
    layout_finish(&f.layout);
    pushed(f.registry, f.layout.dir, tag);
    pushed(f.mirror, f.layout.dir, tag);
}

static void expect_resolved(unsigned n_layers, const char *platform)
{
    char digest[DIGEST_TEXT_LEN + 1], reference[256];

    if (!f.fetcher.source)
        open_source();
    cr_assert_eq(fetcher_resolve(&f.fetcher), 0, "%s", f.fetcher.err.message);
    cr_assert_eq(f.fetcher.manifest->n_layers, n_layers);
    cr_assert_str_eq(f.fetcher.manifest->platform, platform);
    snprintf(reference, sizeof(reference), "%s@%s", f.name,
             digest_format(&f.fetcher.manifest->digest, digest));
    cr_assert_str_eq(f.fetcher.manifest->reference, reference);
}

Test(registry, resolves_a_tag_through_an_index_to_the_platform)
{
    push_image("1");
    f.options.platform = "linux/arm64";
    expect_resolved(2, "linux/arm64");
    cr_assert_eq(counts()->requests, 3, "index, manifest, config");
    fetcher_close(&f.fetcher);
    f.options.platform = "linux/amd64";
    f.fetcher.source = NULL;
    expect_resolved(1, "linux/amd64");
}

Test(registry, resolves_what_it_has_pinned)
{
    char pinned[256];

    push_image("1");
    f.options.platform = "linux/arm64";
    expect_resolved(2, "linux/arm64");
    snprintf(pinned, sizeof(pinned), "%s", f.fetcher.manifest->reference);
    fetcher_close(&f.fetcher);
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, pinned, &f.options), 0);
    cr_assert_eq(fetcher_resolve(&f.fetcher), 0, "%s", f.fetcher.err.message);
    cr_assert_str_eq(f.fetcher.manifest->reference, pinned);
    cr_assert_eq(counts()->requests, 5, "manifest and config");
}

Test(registry, says_which_platforms_there_are)
{
    push_image("1");
    f.options.platform = "linux/riscv64";
    open_source();
    cr_assert_eq(fetcher_resolve(&f.fetcher), -ENOENT);
    cr_assert_not_null(strstr(f.fetcher.err.message, "linux/arm64, linux/amd64"), "%s",
                       f.fetcher.err.message);
}

Test(registry, does_not_take_a_manifest_that_is_not_the_pinned_one)
{
    char name[256], digest[DIGEST_TEXT_LEN + 1];
    struct digest wrong;

    sha256_of("x", 1, &wrong);
    registry_add_manifest_as(f.registry, digest_format(&wrong, digest), MEDIA_OCI_MANIFEST, "{}");
    snprintf(name, sizeof(name), "%s/a@%s", registry_host(f.registry), digest);
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, name, &f.options), 0);
    cr_assert_eq(fetcher_resolve(&f.fetcher), CLIP_EDIGEST);
    cr_assert_not_null(strstr(f.fetcher.err.message, digest), "%s", f.fetcher.err.message);
    cr_assert_eq(counts()->requests, 3, "asked again past caches");
}

Test(registry, brings_a_wrong_config_again_from_elsewhere)
{
    use_mirror();
    push_image("1");
    f.options.platform = "linux/arm64";
    registry_dials(f.mirror)->wrong_bytes = true;
    expect_resolved(2, "linux/arm64");
    cr_assert_eq(counts()->requests, 1);
}

Test(registry, refuses_a_manifest_without_end)
{
    char *text = malloc(MANIFEST_SIZE_MAX + 2);
    struct digest digest;

    memset(text, ' ', MANIFEST_SIZE_MAX + 1);
    text[MANIFEST_SIZE_MAX + 1] = '\0';
    registry_add_manifest(f.registry, "1", MEDIA_OCI_MANIFEST, text, &digest);
    free(text);
    open_source();
    cr_assert_eq(fetcher_resolve(&f.fetcher), CLIP_EFORMAT);
    cr_assert_not_null(strstr(f.fetcher.err.message, "longer than"), "%s", f.fetcher.err.message);
}

Test(registry, refuses_what_is_no_reference)
{
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, "team//app", &f.options), -EINVAL);
    f.options.platform = "a/b/c/d";
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, "alpine", &f.options), -EINVAL);
    f.options.platform = NULL;
    f.options.creds = "nocolon";
    cr_assert_eq(fetcher_open(&f.fetcher, &f.t, "alpine", &f.options), -EINVAL);
}

/* ---- all the way to an index */

struct built {
    bool done;
    int status;
    struct clip_error err;
};

static void on_built(void *data, int status, const struct clip_error *err,
                     const struct clip_index_result *result)
{
    struct built *built = data;

    (void)result;
    built->done = true;
    built->status = status;
    if (err)
        built->err = *err;
}

static char *build(const char *source, const char *dir, size_t *out_len)
{
    struct built built = {0};
    char output[128];
    const struct clip_index_options options = {
        .image = source,
        .output = output,
        .store_ref = "example.org/app:1",
        .source = f.options,
    };
    struct clip_index *index;
    char *bytes = malloc(8u << 20);
    FILE *file;

    snprintf(output, sizeof(output), "%s/out.clip", dir);
    cr_assert_eq(clip_index_start(f.t.engine, &options, on_built, &built, &index, &built.err), 0,
                 "%s", built.err.message);
    LOOP_RUN_UNTIL(&f.t, built.done);
    cr_assert_eq(built.status, 0, "%s: %s", source, built.err.message);
    file = fopen(output, "rb");
    *out_len = fread(bytes, 1, 8u << 20, file);
    fclose(file);
    return bytes;
}

static void add_layers(struct test_image *image)
{
    uint8_t *big = malloc(3u << 20);

    for (uint32_t i = 0; i < 5; i++) {
        image_noise(big, 3u << 20, 7 + i);
        image_layer_begin(image);
        image_add(image, i % 2 ? "a" : "b", S_IFREG | 0644, big, (3u << 20) - i * 500000);
        image_layer_end(image, CODEC_GZIP);
    }
    image_finish(image);
    free(big);
}

static void expect_same_index(void)
{
    struct test_image image;
    size_t len, local_len;
    char *bytes, *local;

    image_set_up(&image);
    add_layers(&image);
    f.options.platform = "linux/amd64";
    pushed(f.registry, image.dir, "1");
    pushed(f.mirror, image.dir, "1");
    local = build(image.source, image.dir, &local_len);
    bytes = build(f.name, image.dir, &len);
    cr_assert_eq(len, local_len);
    cr_assert_eq(memcmp(bytes, local, len), 0);
    free(bytes);
    free(local);
    image_tear_down(&image);
}

Test(registry, gives_the_index_that_the_layout_gives)
{
    expect_same_index();
    cr_assert_eq(counts()->requests, 2 + 5, "manifest, config, layers");
}

Test(registry, gives_the_same_index_though_a_third_of_all_answers_fail)
{
    dials()->fail_percent = 30;
    dials()->seed = 7;
    expect_same_index();
    cr_assert_gt(counts()->failed, 0);
}

Test(registry, gives_the_same_index_when_bytes_trickle)
{
    dials()->bytes_per_ms = 3000;
    expect_same_index();
}

Test(registry, gives_the_same_index_past_a_mirror_with_wrong_bytes)
{
    use_mirror();
    registry_dials(f.mirror)->wrong_bytes = true;
    expect_same_index();
    cr_assert_gt(registry_counts(f.mirror)->body_bytes, 0);
}
