/* SPDX-License-Identifier: Apache-2.0 */
#include "index/build.h"
#include "index/image.h"
#include "test/lib/checksums.h"
#include "test/lib/image.h"
#include "test/lib/loop.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIG_LEN (3u << 20)

static struct fixture {
    struct test_loop t;
    struct test_image image;
    char path[128];
    uint8_t *bytes; /* of the index */
    size_t len;
    struct clip_image *opened;
    bool done;
    int status;
    struct clip_error err;
} f;

static void add_layers(void)
{
    uint8_t *big = malloc(BIG_LEN);

    image_noise(big, BIG_LEN, 3);
    image_layer_begin(&f.image);
    image_add(&f.image, "etc/passwd", S_IFREG | 0644, "root:x:0:0\n", 11);
    image_add(&f.image, "big", S_IFREG | 0755, big, BIG_LEN);
    image_layer_end(&f.image, CODEC_GZIP);
    image_layer_begin(&f.image);
    image_add_link(&f.image, "soft", S_IFLNK, "etc/passwd");
    image_add_link(&f.image, "hard", S_IFREG, "big");
    image_layer_end(&f.image, CODEC_TAR);
    image_finish(&f.image);
    free(big);
}

static void on_indexed(void *data, int status, const struct clip_error *err,
                       const struct clip_index_result *result)
{
    (void)data, (void)result;
    cr_assert_eq(status, 0, "%s", err ? err->message : "");
    f.done = true;
}

static void build(void)
{
    const struct clip_index_options options = {.image = f.image.source, .output = f.path};
    struct clip_index *index;
    FILE *file;

    cr_assert_eq(clip_index_start(f.t.engine, &options, on_indexed, NULL, &index, &f.err), 0);
    LOOP_RUN_UNTIL(&f.t, f.done);
    file = fopen(f.path, "rb");
    f.bytes = malloc(1u << 20);
    f.len = fread(f.bytes, 1, 1u << 20, file);
    fclose(file);
}

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    loop_set_up(&f.t);
    image_set_up(&f.image);
    add_layers();
    snprintf(f.path, sizeof(f.path), "%s/out.clip", f.image.dir);
    build();
}

static void tear_down(void)
{
    loop_tear_down(&f.t);
    clip_image_unref(f.opened);
    image_tear_down(&f.image);
    free(f.bytes);
}

TestSuite(verify, .init = set_up, .fini = tear_down, .timeout = 300);

static void on_done(void *data, int status, const struct clip_error *err)
{
    (void)data;
    f.done = true;
    f.status = status;
    if (err)
        f.err = *err;
}

static struct clip_verify *start(void)
{
    struct clip_verify_options options = {0};
    struct clip_verify *verify;
    int r;

    fix_checksums(f.bytes, f.len);
    r = image_from_memory(f.bytes, f.len, &f.opened, &f.err);
    cr_assert_eq(r, 0, "%s", f.err.message);
    options.image = f.opened;
    f.done = false;
    r = clip_verify_start(f.t.engine, &options, on_done, NULL, &verify, &f.err);
    cr_assert_eq(r, 0, "%s", f.err.message);
    return verify;
}

static void expect(int code, const char *says)
{
    start();
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, code, "%d: %s", f.status, f.err.message);
    cr_assert(code == 0 || strstr(f.err.message, says), "%s", f.err.message);
}

/* A record of the index, to be changed. */
static void *record(enum format_section_type type, size_t index, size_t len)
{
    const struct format_header *header = (const struct format_header *)f.bytes;
    const struct format_section *table = (const struct format_section *)(header + 1);

    return f.bytes + table[type - 1].off + index * len;
}

#define RECORD(type, index, what) ((struct what *)record(type, index, sizeof(struct what)))

/* The node of a path. */
static struct format_node *node_of(const char *path)
{
    struct clip_image *image;
    uint64_t ino = 0;

    cr_assert_eq(image_from_memory(f.bytes, f.len, &image, &f.err), 0);
    cr_assert_eq(clip_image_lookup(image, path, false, &ino), 0);
    clip_image_unref(image);
    return RECORD(FORMAT_NODES, ino - 1, format_node);
}

Test(verify, finds_an_index_right_that_was_just_made)
{
    expect(0, "");
}

Test(verify, names_a_file_whose_time_is_another)
{
    uint32_t attr = node_of("etc/passwd")->attr;

    RECORD(FORMAT_ATTRS, attr, format_attr)->mtime_sec ^= 1;
    expect(CLIP_EFORMAT, "is not what the layers say");
}

Test(verify, names_a_file_whose_content_is_another)
{
    uint32_t digest = node_of("etc/passwd")->file.digest;

    RECORD(FORMAT_DIGESTS, digest, format_digest)->bytes[0] ^= 1;
    expect(CLIP_EFORMAT, "\"passwd\"");
}

Test(verify, names_a_file_that_lies_elsewhere)
{
    node_of("etc/passwd")->file.block++;
    expect(CLIP_EFORMAT, "\"passwd\"");
}

Test(verify, names_a_symlink_with_another_target)
{
    node_of("soft")->symlink.len--;
    expect(CLIP_EFORMAT, "\"soft\"");
}

Test(verify, names_the_layer_whose_diff_id_is_another)
{
    RECORD(FORMAT_LAYERS, 1, format_layer)->diff_id[0] ^= 1;
    expect(CLIP_EDIGEST, "layer 2 of 2");
}

Test(verify, names_the_span_whose_compressed_bytes_are_others)
{
    RECORD(FORMAT_SPANS, 1, format_span)->fetched[0] ^= 1;
    expect(CLIP_EDIGEST, "not those that were indexed");
}

Test(verify, names_the_span_whose_decoded_bytes_are_others)
{
    RECORD(FORMAT_SPANS, 2, format_span)->decoded[0] ^= 1;
    expect(CLIP_EDIGEST, "wrong checksum");
}

Test(verify, names_the_layer_whose_blob_is_missing)
{
    cr_assert_eq(unlink(f.image.layers[1].path), 0);
    expect(-ENOENT, "layer 2 of 2");
}

Test(verify, ends_when_it_is_cancelled)
{
    clip_verify_cancel(start());
    LOOP_RUN_UNTIL(&f.t, f.done);
    cr_assert_eq(f.status, -ECANCELED);
}

Test(verify, ends_when_it_is_cancelled_on_its_way)
{
    struct clip_verify *verify = start();

    for (int i = 0; i < 20 && !f.done; i++)
        loop_run_once(&f.t, "a little progress");
    if (!f.done)
        clip_verify_cancel(verify);
    LOOP_RUN_UNTIL(&f.t, f.done);
}

Test(verify, ends_when_the_engine_closes)
{
    start();
    loop_run_once(&f.t, "a little progress");
}
