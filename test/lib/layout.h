/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCI layout written piece by piece, so that every piece may be wrong. Layers are whatever
 * bytes a test likes: a source does not look into them.
 */
#ifndef CLIP_TEST_LAYOUT_H
#define CLIP_TEST_LAYOUT_H

#include "net/manifest.h"

#define LAYOUT_TEXT_MAX 4096

struct test_layout {
    char dir[64]; /* made by layout_set_up, removed by layout_tear_down */
    char index[LAYOUT_TEXT_MAX];
    unsigned n_entries;
};

/* A descriptor as JSON members, without the braces around: "mediaType":...,"digest":...,"size":...
 */
struct layout_blob {
    char digest[DIGEST_TEXT_LEN + 1];
    char json[512];
    char path[192];
};

void layout_set_up(struct test_layout *layout);
void layout_tear_down(struct test_layout *layout);

void layout_write(const struct test_layout *layout, const char *name, const void *bytes,
                  size_t len);
struct layout_blob layout_add_blob(const struct test_layout *layout, const char *media_type,
                                   const void *bytes, size_t len);
/* An image for OS/ARCH of these layers, whose diff_ids are their digests. */
struct layout_blob layout_add_image(const struct test_layout *layout, const char *arch,
                                    const struct layout_blob *layers, unsigned n_layers);
/* An image index of such entries: {descriptor members, extra}, ... */
struct layout_blob layout_add_index(const struct test_layout *layout, const char *entries);

/* An entry of index.json; `extra` is JSON members such as LAYOUT_TAG("a"), or "". */
void layout_add_entry(struct test_layout *layout, const struct layout_blob *blob,
                      const char *extra);
#define LAYOUT_TAG(t)             ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" t "\"}"
#define LAYOUT_PLATFORM(os, arch) ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"}"
/* Writes oci-layout and index.json. */
void layout_finish(struct test_layout *layout);

#endif
