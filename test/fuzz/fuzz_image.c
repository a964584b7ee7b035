/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an index, first as they are and then with their checksums made right: refused, or
 * whatever is asked of the image stays inside it and comes to an end. */
#include "index/image.h"
#include "test/lib/checksums.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void touch(const void *bytes, size_t len)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = ((const uint8_t *)bytes)[i];
    (void)sum;
}

static void use_content(const struct clip_image *image, uint64_t ino)
{
    struct image_extent extent;
    uint64_t off = 0;

    while (image_extent(image, ino, off, UINT64_MAX, &extent) == 0 && extent.len > 0) {
        if (!extent.hole)
            image_span_at(image, extent.layer, extent.layer_off);
        off += extent.len;
    }
}

static void use_node(const struct clip_image *image, uint64_t ino)
{
    struct clip_xattr xattr;
    struct clip_dirent d;
    struct clip_stat st;
    const char *target;
    uint64_t found;
    size_t len;

    if (clip_image_stat(image, ino, &st) < 0)
        abort();
    for (uint64_t i = 0; clip_image_readdir(image, ino, i, &d) == 0; i++)
        if (image_find(image, ino, d.name, d.name_len, &found) < 0 || found != d.ino)
            abort();
    for (uint64_t i = 0; clip_image_xattr(image, ino, i, &xattr) == 0; i++) {
        touch(xattr.name, xattr.name_len);
        touch(xattr.value, xattr.value_len);
    }
    if (clip_image_readlink(image, ino, &target, &len) == 0) {
        char *path = strndup(target, len);
        if (path)
            clip_image_lookup(image, path, true, &found);
        free(path);
    }
    use_content(image, ino);
}

static void use_layer(const struct clip_image *image, unsigned layer)
{
    struct clip_layer_info info;
    struct image_span span;

    clip_image_layer(image, layer, &info);
    touch(info.media_type, strlen(info.media_type));
    for (uint64_t i = 0; i < info.n_spans; i++) {
        image_span(image, layer, i, &span);
        touch(span.window, span.window_len);
        if (span.header)
            touch(span.header, (span.header_bit + span.header_bits + 7) / 8);
    }
}

static void use(const struct clip_image *image)
{
    struct clip_image_info info;

    clip_image_info(image, &info);
    touch(info.config, info.config_len);
    for (unsigned i = 0; i < info.n_layers; i++)
        use_layer(image, i);
    for (uint64_t ino = 1; ino <= info.n_nodes; ino++)
        use_node(image, ino);
}

static void try(const uint8_t *bytes, size_t len)
{
    struct clip_image *image;
    struct clip_error err;

    if (image_from_memory(bytes, len, &image, &err) < 0)
        return;
    use(image);
    clip_image_unref(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *bytes = malloc(len + 1);

    if (!bytes)
        return 0;
    memcpy(bytes, data, len);
    try(bytes, len);
    if (len >= sizeof(struct format_header))
        ((struct format_header *)bytes)->file_size = len;
    fix_checksums(bytes, len);
    try(bytes, len);
    free(bytes);
    return 0;
}
