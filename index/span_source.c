/* SPDX-License-Identifier: Apache-2.0 */
/* A source by another name: fs fetches spans and knows nothing of what they come through. */
#include "index/span_source.h"

int span_source_open(struct clip_engine *engine, const struct clip_image *image, const char *name,
                     const struct clip_source_options *options, struct source **out,
                     struct clip_error *err)
{
    struct clip_image_info info;

    clip_image_info(image, &info);
    return source_open(engine, name ? name : info.reference, options, out, err);
}

void span_source_close(struct source *source, clip_close_cb on_close, void *data)
{
    source_close(source, on_close, data);
}
