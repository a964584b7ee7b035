/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a list of entries. A merge that succeeds must give a tree which can be written,
 * and an index that passes its own check: the tree's rules and the file's are guarded by each
 * other.
 *
 * An entry is: a byte for the kind (low four bits; the fifth begins a new layer), then two paths,
 * each a byte for the number of components (0 to 7; the fourth bit makes it absolute) and a byte
 * for each of them.
 */
#include "index/image.h"
#include "index/writer_file.h"

#include <stdlib.h>
#include <string.h>

#define LAYERS_MAX 6u
#define PATH_CAP   512u
#define LAYER_SIZE 1048576u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct script {
    const uint8_t *at, *end;
    struct tree_layer *layers[LAYERS_MAX];
    unsigned n_layers;
};

static uint8_t next(struct script *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

static void read_path(struct script *s, char out[PATH_CAP])
{
    static const char *const components[] = {
        "a",    "b",   "c",     "d",          "e",       "lib", "usr",          "..",
        "proc", "dev", ".wh.a", ".wh.b",      ".wh.lib", ".",   ".wh..wh..opq", ".wh..wh.plnk",
        ".wh.", "sys", "",      "\xff\x01\\",
    };
    uint8_t head = next(s);
    size_t len = 0;

    if (head & 8)
        out[len++] = '/';
    for (unsigned i = 0; i < (head & 7u); i++) {
        const char *c = components[next(s) % (sizeof(components) / sizeof(components[0]))];
        size_t c_len = strlen(c);
        memcpy(out + len, c, c_len);
        len += c_len;
        out[len++] = '/';
    }
    out[len > 1 ? len - 1 : len] = '\0';
}

static void read_entry(struct script *s)
{
    static const struct tar_xattr xattrs[] = {{"user.b", "1", 1}, {"user.a", "", 0}};
    const struct tar_extent extents[] = {{0, 512, 100}, {200, 1000, 7}};
    char path[PATH_CAP], link[PATH_CAP];
    uint8_t kind = next(s);
    struct tar_entry entry = {.type = (enum tar_type)(kind % 7), .path = path, .link = link};
    struct clip_error err;

    if (kind & 16 && s->n_layers < LAYERS_MAX)
        s->n_layers++;
    read_path(s, path);
    read_path(s, link);
    entry.mode = kind;
    if (entry.type == TAR_FILE && kind & 8) {
        entry.extents = extents;
        entry.n_extents = 1 + (kind >> 5) % 2;
        entry.size = entry.n_extents == 1 ? 100 : 300;
        entry.xattrs = xattrs;
        entry.n_xattrs = 2;
    }
    tree_layer_add(s->layers[s->n_layers - 1], &entry, &err);
}

static void write_and_check(const struct tree *tree, unsigned n_layers)
{
    const struct writer_span span = {.in_end = LAYER_SIZE, .flags = CHECKPOINT_FRESH};
    struct writer_layer layers[LAYERS_MAX];
    struct writer_image image = {.reference = "r",
                                 .manifest_media_type = "m",
                                 .platform = "p",
                                 .config = "{}",
                                 .config_len = 2,
                                 .layers = layers,
                                 .n_layers = n_layers,
                                 .tree = tree};
    struct clip_image *opened;
    struct clip_error err;
    uint8_t *bytes;
    size_t len;

    for (unsigned i = 0; i < n_layers; i++)
        layers[i] = (struct writer_layer){.media_type = "t",
                                          .codec = CODEC_TAR,
                                          .size = LAYER_SIZE,
                                          .uncompressed_size = LAYER_SIZE,
                                          .spans = &span,
                                          .n_spans = 1};
    if (writer_file_encode(&image, &bytes, &len, &err) < 0)
        return;
    if (image_from_memory(bytes, len, &opened, &err) < 0)
        abort();
    clip_image_unref(opened);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct script s = {.at = data, .end = data + len, .n_layers = 1};
    const struct tree_options options = {.keep_runtime_dirs = len % 2};
    struct clip_error err;
    struct tree *tree;

    for (unsigned i = 0; i < LAYERS_MAX; i++)
        if (tree_layer_new(&s.layers[i]) < 0)
            abort();
    while (s.at < s.end)
        read_entry(&s);
    if (tree_merge(s.layers, s.n_layers, &options, &tree, &err) == 0) {
        write_and_check(tree, s.n_layers);
        tree_free(tree);
    }
    for (unsigned i = 0; i < LAYERS_MAX; i++)
        tree_layer_free(s.layers[i]);
    return 0;
}
