/* SPDX-License-Identifier: Apache-2.0 */
/* What people ask of an image. The index has digests as bytes; their text is made when it is
 * opened, so that it can be lent without a lock. */
#include "index/image.h"
#include "index/image_map.h"

#include <stdlib.h>
#include <string.h>

static void write_text(struct clip_image *image, size_t at, const uint8_t bytes[DIGEST_LEN])
{
    struct digest digest;

    memcpy(digest.bytes, bytes, sizeof(digest.bytes));
    digest_format(&digest, image->texts[at]);
}

int image_write_texts(struct clip_image *image)
{
    image->texts = calloc(1 + 2 * (size_t)image->n_layers, sizeof(*image->texts));
    if (!image->texts)
        return -ENOMEM;
    write_text(image, 0, image->facts->manifest_digest);
    for (size_t i = 0; i < image->n_layers; i++) {
        write_text(image, 1 + 2 * i, image->layers[i].digest);
        write_text(image, 2 + 2 * i, image->layers[i].diff_id);
    }
    return 0;
}

static const char *text_at(const struct clip_image *image, const struct format_string *s)
{
    return image->strings + s->off;
}

void clip_image_info(const struct clip_image *image, struct clip_image_info *out)
{
    const struct format_image *facts = image->facts;

    *out = (struct clip_image_info){
        .reference = text_at(image, &facts->reference),
        .manifest_digest = image->texts[0],
        .manifest_media_type = text_at(image, &facts->manifest_media_type),
        .platform = text_at(image, &facts->platform),
        .config = text_at(image, &facts->config),
        .config_len = facts->config.len,
        .span_size = facts->span_size,
        .file_size = image->len,
        .n_nodes = image->n_nodes,
        .n_entries = facts->n_entries,
        .n_files = facts->n_files,
        .n_dirs = facts->n_dirs,
        .n_symlinks = facts->n_symlinks,
        .n_hardlinks = facts->n_hardlinks,
        .n_others = facts->n_others,
        .content_size = facts->content_size,
        .n_layers = image->n_layers,
        .n_spans = image->n_spans,
        .n_needs = image->n_needs,
    };
}

/* Windows and block headers lie in the order of the spans. */
static uint64_t windows_size(const struct clip_image *image, const struct format_layer *layer)
{
    uint32_t end = layer->first_span + layer->n_spans;
    uint64_t data_end = end < image->n_spans ? image->spans[end].data : image->windows_len;

    return layer->n_spans ? data_end - image->spans[layer->first_span].data : 0;
}

int clip_image_layer(const struct clip_image *image, unsigned layer, struct clip_layer_info *out)
{
    const struct format_layer *from;

    if (layer >= image->n_layers)
        return -ENOENT;
    from = &image->layers[layer];
    *out = (struct clip_layer_info){
        .digest = image->texts[1 + 2 * (size_t)layer],
        .diff_id = image->texts[2 + 2 * (size_t)layer],
        .media_type = text_at(image, &from->media_type),
        .codec = codec_name((enum codec)from->codec),
        .size = from->size,
        .uncompressed_size = from->uncompressed_size,
        .n_spans = from->n_spans,
        .windows_size = windows_size(image, from),
    };
    return 0;
}

bool image_keeps_runtime_dirs(const struct clip_image *image)
{
    return image->facts->flags & FORMAT_KEEPS_RUNTIME_DIRS;
}
