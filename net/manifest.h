/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image says of itself: manifest, config, layers. The home of JSON from registries and
 * layouts. Pure; every length and count is bounded; any thread.
 */
#ifndef CLIP_NET_MANIFEST_H
#define CLIP_NET_MANIFEST_H

#include "engine/digest.h"
#include "engine/err.h"

#define MANIFEST_LAYERS_MAX 1024u
#define MANIFEST_SIZE_MAX   (4u << 20) /* bytes of a manifest or an image index */
#define CONFIG_SIZE_MAX     (8u << 20)
#define MEDIA_TYPE_MAX      256u

/* A blob as a manifest names it (OCI image spec, descriptor.md). */
struct descriptor {
    struct digest digest;
    uint64_t size;    /* bytes */
    char *media_type; /* owned */
};

/* An image after resolving: everything below was checked against its digest. */
struct manifest {
    char *reference; /* canonical; of a registry image "host/repo:tag@sha256:..." or as the local
                        source is named; what an index records so that its blobs are found again */
    struct digest digest;
    char *media_type;
    char *platform; /* OS/ARCH[/VARIANT] by the config */
    char *config;   /* JSON, verbatim, NUL terminated */
    size_t config_len;
    struct descriptor *layers; /* lowest first */
    struct digest *diff_ids;   /* as many, by the config */
    unsigned n_layers;
};

void manifest_free(struct manifest *manifest); /* and the memory it stands in */

#endif
