/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an image's bytes come from: a repository of a registry with its mirrors, an OCI layout, an
 * archive. One face for all: resolve a manifest, then blobs by digest (net/blob.h).
 *
 * A source is a handle: opened without I/O, closed with a callback. On the loop's thread.
 */
#ifndef CLIP_NET_SOURCE_H
#define CLIP_NET_SOURCE_H

#include "engine/work.h"
#include "net/manifest.h"

struct source;

/*
 * `image` as users write it: "alpine", "host:port/repo@sha256:...", "oci:DIR[:TAG]",
 * "oci-archive:FILE", "docker-archive:FILE". -EINVAL with a sentence when it is none of these.
 * Nothing is read yet. `options` may be NULL.
 */
int source_open(struct clip_engine *engine, const char *image,
                const struct clip_source_options *options, struct source **out,
                struct clip_error *err);

typedef void (*source_close_cb)(void *data);
/* Requests in flight end with -ECANCELED first. `on_close` may be NULL. */
void source_close(struct source *source, source_close_cb on_close, void *data);

struct clip_engine *source_engine(const struct source *source);
const char *source_name(const struct source *source); /* for messages */
/* Another attempt at a blob may bring other bytes: there are mirrors and caches on the way. */
bool source_may_differ(const struct source *source);

struct source_resolve;
typedef void (*source_resolve_cb)(struct source_resolve *req, int status);

/* A request: embedded in who waits. */
struct source_resolve {
    /* public, set when done with status 0; the caller's to manifest_free() */
    struct manifest *manifest;
    /* public: the sentence when it failed */
    struct clip_error err;
    /* private */
    struct source *source;
    source_resolve_cb done;
    struct later refusal;
    void *impl;
};

/* Manifest (through an image index and the platform asked for) and config, verified. */
void source_resolve(struct source *source, struct source_resolve *req, source_resolve_cb done);
void source_resolve_cancel(struct source_resolve *req);

#endif
