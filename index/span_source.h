/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an image's spans are fetched from, for those who may not look at net: the place that the
 * index names, or another one with the same blobs. A handle; on the loop's thread.
 */
#ifndef CLIP_INDEX_SPAN_SOURCE_H
#define CLIP_INDEX_SPAN_SOURCE_H

#include "index/span.h"

/* `name` NULL: what the index names. No I/O yet. `options` may be NULL. */
int span_source_open(struct clip_engine *engine, const struct clip_image *image, const char *name,
                     const struct clip_source_options *options, struct source **out,
                     struct clip_error *err);
/* Fetches in flight end with -ECANCELED first. */
void span_source_close(struct source *source, clip_close_cb on_close, void *data);

#endif
