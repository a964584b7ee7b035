/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way from a tag to an image: index, index again perhaps, manifest, config. It does no I/O:
 * whoever has the bytes feeds them, and is told which blob to bring next. Every text but the first
 * is checked against the descriptor that named it. Pure; any thread.
 */
#ifndef CLIP_NET_RESOLVER_H
#define CLIP_NET_RESOLVER_H

#include "net/manifest.h"

#define RESOLVER_NESTING_MAX 4u /* indexes in indexes */

struct resolver {
    /* read-only: what to bring, after resolver_feed() said 1 */
    struct descriptor next;
    /* private */
    struct platform want;
    bool asked;         /* somebody said which platform, so nothing else will do */
    const char *layout; /* what the first text is the index of, for messages; else NULL */
    char *tag;          /* in the layout */
    unsigned nesting;
    bool has_next;
    struct manifest *manifest;
};

/* `platform` as in clip_source_options, may be NULL. */
int resolver_init(struct resolver *resolver, const char *platform, struct clip_error *err);
/* The first text is a layout's index.json: it is chosen from by tag (NULL: there is one image
 * only) before platform. `layout` is borrowed. */
int resolver_set_layout(struct resolver *resolver, const char *layout, const char *tag);
void resolver_fini(struct resolver *resolver);

/* The first text, or the one asked for with `next`. `media_type` is what a server said of the
 * first; may be NULL. 1: bring `next` and feed it; 0: the image is complete; else an error. */
int resolver_feed(struct resolver *resolver, const void *text, size_t len, const char *media_type,
                  struct clip_error *err);

/* The image, once; the caller's to manifest_free(). Its reference is not set. */
struct manifest *resolver_take(struct resolver *resolver);

#endif
