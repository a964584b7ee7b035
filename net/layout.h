/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCI image layout (image-layout.md), in a directory or in an archive: index.json leads to
 * images, blobs/sha256/ holds the rest. Blocking: pool jobs only.
 */
#ifndef CLIP_NET_LAYOUT_H
#define CLIP_NET_LAYOUT_H

#include "net/files.h"
#include "net/manifest.h"

struct layout_choice {
    const char *name;     /* of the source, for messages */
    const char *tag;      /* NULL: there must be one image only */
    const char *platform; /* as in clip_source_options */
};

/* The reference is left for the caller to set. */
int layout_resolve(const struct files *files, const struct layout_choice *choice,
                   struct manifest **out, struct clip_error *err);

/* Where the blob lies; -ENOENT or CLIP_EDIGEST if it is missing or not as long as it should be. */
int layout_find(const struct files *files, const struct descriptor *blob, struct file_part *out,
                struct clip_error *err);

#endif
