/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image says of itself: manifest, config, layers. JSON from registries and layouts becomes
 * structs here. Pure; every length and count is bounded; any thread.
 */
#ifndef CLIP_NET_MANIFEST_H
#define CLIP_NET_MANIFEST_H

#include "engine/digest.h"
#include "engine/err.h"
#include "net/platform.h"

#define MANIFEST_LAYERS_MAX  1024u
#define MANIFEST_ENTRIES_MAX 4096u      /* of an image index */
#define MANIFEST_SIZE_MAX    (4u << 20) /* bytes of a manifest or an image index */
#define CONFIG_SIZE_MAX      (8u << 20)
#define MEDIA_TYPE_MAX       256u
#define TAG_MAX              1024u

#define MEDIA_OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_CONFIG      "application/vnd.oci.image.config.v1+json"
#define MEDIA_DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_CONFIG   "application/vnd.docker.container.image.v1+json"
#define MEDIA_DOCKER_TAR      "application/vnd.docker.image.rootfs.diff.tar"
#define MEDIA_DOCKER_TAR_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"

/* A blob as a manifest names it (OCI image spec, descriptor.md). */
struct descriptor {
    struct digest digest;
    uint64_t size;    /* bytes */
    char *media_type; /* owned */
};

void descriptor_fini(struct descriptor *descriptor);
/* A layer that its publisher keeps for himself, so that a registry need not have it. */
bool descriptor_is_foreign(const struct descriptor *descriptor);

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

/* One image that an index offers. */
struct index_entry {
    struct descriptor blob;
    struct platform platform; /* os "" if the index does not say */
    char *tag;                /* org.opencontainers.image.ref.name, or NULL */
    char *name;               /* io.containerd.image.name, or NULL */
    bool is_attestation;      /* about another entry: never an image */
};

/* Either of the two texts that a tag may lead to. */
struct document {
    /* an index, if there is no manifest */
    struct index_entry *entries;
    unsigned n_entries;
    /* or an image: digest, media_type and layers are set */
    struct manifest *manifest;
    struct descriptor config;
};

/* `media_type` is what the server or the descriptor said; the text itself goes before it. NULL if
 * nobody said. Texts that could be read either way are refused. */
int document_parse(const void *text, size_t len, const char *media_type, struct document *out,
                   struct clip_error *err);
void document_fini(struct document *document);

/* The missing half: config verbatim, platform, diff_ids, one for each layer. */
int manifest_set_config(struct manifest *manifest, const void *text, size_t len,
                        struct clip_error *err);
/* The diff_ids alone, for sources that have nothing but a config: malloc'ed, the caller frees. */
int config_parse_diff_ids(const void *text, size_t len, struct digest **out, unsigned *out_n,
                          struct clip_error *err);

#endif
