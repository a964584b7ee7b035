/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of any bytes, and what they say that they need, looked up in a tree of them: an index of it
 * passes its own check, and every need is a file with a path.
 *
 * A file is: a byte for its name, two for its length (little-endian), its bytes; the name's highest
 * bit has them fed one by one.
 */
#include "index/image.h"
#include "index/needs.h"
#include "index/writer_file.h"

#include <stdlib.h>
#include <string.h>

#define LAYER_SIZE (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const names[] = {
    "usr/lib/python3.11/os.py",
    "usr/lib/python3.11/__pycache__/os.cpython-311.pyc",
    "usr/lib/python3.11/lib-dynload/a.cpython-311-x.so",
    "usr/lib/python3.11/encodings/__init__.py",
    "usr/lib/python3/dist-packages/a.pth",
    "usr/lib/python3/dist-packages/a/__init__.py",
    "usr/lib/python3/dist-packages/a/b.py",
    "usr/lib/python3/dist-packages/a/c/__init__.py",
    "usr/lib/python3/dist-packages/a/c/__pycache__/d.cpython-39.pyc",
    "usr/lib/python3/dist-packages/a/c/d.py",
    "usr/lib/x86_64-linux-gnu/a.so",
    "usr/lib/b.so",
    "usr/bin/python3.11",
    "usr/bin/env",
    "bin/a",
    "opt/a/lib/a.so",
    "opt/b/c.so",
    "a.py",
    "b/a.py",
    "etc/ld.so.cache",
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void feed(struct needs *needs, const uint8_t *bytes, size_t len, bool one_by_one)
{
    size_t step = one_by_one ? 1 : len;

    for (size_t off = 0; off < len; off += step)
        needs_feed(needs, bytes + off, step, off);
}

static void add_file(struct tree_layer *layer, struct needs *needs, uint8_t number,
                     const uint8_t *bytes, size_t len)
{
    const struct tar_extent extent = {.len = len};
    const struct tar_entry entry = {
        .type = TAR_FILE,
        .path = names[(number & 0x7fu) % (sizeof(names) / sizeof(names[0]))],
        .size = len,
        .extents = &extent,
        .n_extents = len > 0,
    };
    struct clip_error err;
    const char *says;
    size_t says_len;

    check(tree_layer_add(layer, &entry, &err) == 0);
    needs_begin(needs, entry.path);
    feed(needs, bytes, len, number & 0x80);
    check(needs_end(needs, &says, &says_len) == 0);
    if (says_len > 0)
        check(tree_layer_set_needs(layer, says, says_len) == 0);
}

static void add_files(struct tree_layer *layer, const uint8_t *data, size_t len)
{
    struct needs *needs;

    check(needs_new(&needs) == 0);
    while (len >= 3) {
        size_t n = data[1] | (size_t)data[2] << 8;

        if (n > len - 3)
            n = len - 3;
        add_file(layer, needs, data[0], data + 3, n);
        data += 3 + n;
        len -= 3 + n;
    }
    needs_free(needs);
}

static void look_at(const struct clip_image *image)
{
    char path[256];

    for (uint64_t ino = 1; ino <= image_n_nodes(image); ino++) {
        uint64_t needed;

        for (uint64_t i = 0; clip_image_need(image, ino, i, &needed) == 0; i++)
            check(clip_image_path(image, needed, path, sizeof(path)) > 1);
    }
}

static void write_and_look(const struct tree *tree)
{
    const struct writer_span span = {.in_end = LAYER_SIZE, .flags = CHECKPOINT_FRESH};
    const struct writer_layer layer = {.media_type = "t",
                                       .size = LAYER_SIZE,
                                       .uncompressed_size = LAYER_SIZE,
                                       .spans = &span,
                                       .n_spans = 1};
    const struct writer_image image = {.reference = "",
                                       .manifest_media_type = "",
                                       .platform = "",
                                       .config = "",
                                       .layers = &layer,
                                       .n_layers = 1,
                                       .tree = tree};
    struct clip_image *opened;
    struct clip_error err;
    uint8_t *bytes;
    size_t len;

    check(writer_file_encode(&image, &bytes, &len, &err) == 0);
    check(image_from_memory(bytes, len, &opened, &err) == 0);
    look_at(opened);
    clip_image_unref(opened);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct tree_options options = {0};
    struct tree_layer *layer;
    struct clip_error err;
    struct tree *tree;

    check(tree_layer_new(&layer) == 0);
    add_files(layer, data, len);
    check(tree_merge(&layer, 1, &options, &tree, &err) == 0);
    write_and_look(tree);
    tree_free(tree);
    tree_layer_free(layer);
    return 0;
}
