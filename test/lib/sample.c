/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/sample.h"

#include <stdlib.h>
#include <string.h>

static const struct tar_xattr xattrs[] = {{"user.b", "", 0}, {"security.capability", "\1\0\2", 3}};
static const struct tar_extent extents[] = {{1000, 5120, 10}, {5000, 5130, 100}};

/* In a layer's last file (index/needs_list.h). */
static void add_need(struct layers *l, const char *says)
{
    tree_layer_set_needs(l->layers[0], says, strlen(says) + 1);
}

static void add_entries(struct layers *l)
{
    layers_add(l, 0, ENTRY(TAR_DIR, "./", .mode = 0755, .mtime_sec = 1700000000),
               ENTRY(TAR_DIR, "etc", .mode = 01777, .uid = 1, .gid = 2, .mtime_sec = -7),
               ENTRY(TAR_FILE, "etc/passwd", .mode = 0644, .size = 100, .mtime_nsec = 5));
    add_need(l, "p/bin/sh");
    layers_add(l, 0, FILE_OF("etc/empty", 0), FILE_OF("etc/gone", 3),
               HARDLINK_TO("etc/hard", "etc/passwd"), SYMLINK_TO("bin", "usr/bin"),
               SYMLINK_TO("loop", "loop"), FILE_OF("usr/bin/sh", 20));
    add_need(l, "p/etc/hard");
    layers_add(
        l, 1, FILE_OF("etc/.wh.gone", 0), FILE_OF("bin/ls", 10),
        ENTRY(TAR_FILE, "bin/ping", .mode = 04755, .size = 5, .xattrs = xattrs, .n_xattrs = 2),
        ENTRY(TAR_FILE, "sparse", .mode = 0600, .size = 6000, .extents = extents, .n_extents = 2),
        ENTRY(TAR_FILE, "hole", .mode = 0600, .size = 1ull << 40, .extents = extents,
              .n_extents = 0),
        ENTRY(TAR_CHAR, "null", .mode = 0666, .rdev_major = 1, .rdev_minor = 3),
        ENTRY(TAR_BLOCK, "sda", .mode = 0660, .rdev_major = 8),
        ENTRY(TAR_FIFO, "fifo", .mode = 0600), SYMLINK_TO("abs", "/etc/../etc/./passwd"));
}

static void add_layers(struct sample *s)
{
    static const uint8_t window[] = "1window", header[] = {0x55, 0xaa, 0x05};

    s->spans[0] = (struct writer_span){.in_bit = 80, .in_end = 5000, .flags = CHECKPOINT_FRESH};
    s->spans[1] = (struct writer_span){.in_bit = 39997,
                                       .in_end = 9000,
                                       .out_off = 30000,
                                       .window = window,
                                       .window_len = sizeof(window)};
    s->spans[2] = (struct writer_span){.in_bit = 71111,
                                       .in_end = 20000,
                                       .out_off = 60000,
                                       .flags = CHECKPOINT_MIDBLOCK,
                                       .window = window,
                                       .window_len = sizeof(window),
                                       .header = header,
                                       .header_bit = 3,
                                       .header_bits = 17};
    s->tar_span = (struct writer_span){.in_end = 20480, .flags = CHECKPOINT_FRESH};
    s->layers[0] = (struct writer_layer){.media_type = "application/gzip",
                                         .codec = CODEC_GZIP,
                                         .size = 20008,
                                         .uncompressed_size = 102400,
                                         .spans = s->spans,
                                         .n_spans = SAMPLE_SPANS};
    s->layers[1] = (struct writer_layer){.media_type = "application/tar",
                                         .codec = CODEC_TAR,
                                         .size = 20480,
                                         .uncompressed_size = 20480,
                                         .spans = &s->tar_span,
                                         .n_spans = 1};
    s->layers[2] = (struct writer_layer){.media_type = "application/zstd", .codec = CODEC_ZSTD};
    for (unsigned i = 0; i < 3; i++) {
        memset(s->layers[i].digest.bytes, 0x10 + (int)i, DIGEST_LEN);
        memset(s->layers[i].diff_id.bytes, 0x20 + (int)i, DIGEST_LEN);
    }
    for (unsigned i = 0; i < SAMPLE_SPANS; i++) {
        memset(s->spans[i].fetched.bytes, 0x30 + (int)i, DIGEST_LEN);
        memset(s->spans[i].decoded, 0x40 + (int)i, sizeof(s->spans[i].decoded));
    }
}

void sample_init(struct sample *s)
{
    memset(s, 0, sizeof(*s));
    layers_init(&s->l);
    add_entries(&s->l);
    add_layers(s);
    s->image = (struct writer_image){.reference = "docker.io/library/sample:1",
                                     .manifest_media_type = "application/vnd.oci",
                                     .platform = "linux/amd64",
                                     .config = SAMPLE_CONFIG,
                                     .config_len = strlen(SAMPLE_CONFIG),
                                     .span_size = 1u << 20,
                                     .layers = s->layers,
                                     .n_layers = 3};
    memset(s->image.manifest_digest.bytes, 0xab, DIGEST_LEN);
}

void sample_fini(struct sample *s)
{
    free(s->bytes);
    layers_fini(&s->l);
}

int sample_encode(struct sample *s, struct clip_error *err)
{
    int r = layers_merge(&s->l);

    if (r < 0)
        return r;
    free(s->bytes);
    s->bytes = NULL;
    s->image.tree = s->l.tree;
    return writer_file_encode(&s->image, &s->bytes, &s->len, err);
}
