/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source that is a repository of a registry. What can fail and be tried again is in
 * net/transfer; this is what the bytes are for.
 *
 * The happy path is:
 * - a resolve brings the manifest by tag or digest, an image index first perhaps, and the config;
 *   net/resolver says what is next and checks it. The first text is checked against the digest of
 *   the reference, if it has one; with a tag it is the text that pins all that follows.
 * - a stream is a transfer of all bytes, a range one of some, gathered in a slab of their own; who
 *   asked for it is told as it fills.
 * Possible failure modes are: what transfer says. A text or a config that is not what its digest
 * says is brought again from elsewhere, RESOLVE_ATTEMPTS times in all.
 * On close: transfers are cancelled (net/source.c), then the endpoints go.
 */
#include "engine/log.h"
#include "net/resolver.h"
#include "net/source_private.h"
#include "net/transfer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESOLVE_ATTEMPTS 3u
#define PATH_LEN         (REF_TAG_MAX + DIGEST_TEXT_LEN + 32)

#define ACCEPT                                                                                     \
    MEDIA_OCI_INDEX ", " MEDIA_DOCKER_LIST ", " MEDIA_OCI_MANIFEST ", " MEDIA_DOCKER_MANIFEST

struct registry {
    struct source source;
    struct ref *ref;
    struct endpoints endpoints;
    char *platform;
};

static struct registry *registry_of(struct source *source)
{
    return container_of(source, struct registry, source);
}

static void free_endpoints(struct registry *registry)
{
    endpoints_fini(&registry->endpoints);
    ref_free(registry->ref);
    free(registry->platform);
}

static const char *print_path(const char *kind, const struct digest *digest, char *out)
{
    char text[DIGEST_TEXT_LEN + 1];

    snprintf(out, PATH_LEN, "%s/%s", kind, digest_format(digest, text));
    return out;
}

/* ------------------------------------------------------------------- resolve */

struct resolve {
    struct source_request request;
    struct source_resolve *req;
    struct registry *registry;
    struct resolver resolver;
    struct transfer *transfer;
    char *text;
    size_t len, cap;
    bool is_first;
    unsigned attempt; /* of the text that is being brought */
};

static int bring(struct resolve *self, struct clip_error *err);

static void resolve_end(struct resolve *self, int status)
{
    struct source_resolve *req = self->req;

    req->impl = NULL;
    source_end(&self->request);
    resolver_fini(&self->resolver);
    free(self->text);
    free(self);
    req->done(req, status);
}

static void on_text(void *data, struct slab *slab)
{
    struct resolve *self = data;

    assert(self->len + slab->len <= self->cap);
    memcpy(self->text + self->len, slab->bytes, slab->len);
    self->len += slab->len;
    slab_unlock(slab);
}

static void on_text_restart(void *data)
{
    struct resolve *self = data;

    self->len = 0;
}

static int take_manifest(struct resolve *self)
{
    struct source_resolve *req = self->req;
    struct manifest *manifest = resolver_take(&self->resolver);
    const struct ref *ref = self->registry->ref;

    manifest->reference = ref_pin(ref, &manifest->digest);
    if (!manifest->reference) {
        manifest_free(manifest);
        return err_set(&req->err, -ENOMEM, "out of memory for a manifest");
    }
    req->manifest = manifest;
    log_debug(req->source->engine, "registry: %s is %s", ref->canonical, manifest->reference);
    return 0;
}

/* The first text is nobody's word but the reference's own digest. */
static int check_first(const struct resolve *self, struct clip_error *err)
{
    const struct ref *ref = self->registry->ref;
    char text[DIGEST_TEXT_LEN + 1];
    struct digest is;

    if (!self->is_first || !ref->has_digest)
        return 0;
    sha256_of(self->text, self->len, &is);
    if (digest_equal(&is, &ref->digest))
        return 0;
    return err_set(err, CLIP_EDIGEST, "manifest %s has other bytes than its digest says",
                   digest_format(&ref->digest, text));
}

/* 1: bring the next; 0: through. */
static int feed(struct resolve *self, const char *media_type)
{
    struct clip_error *err = &self->req->err;
    int r;

    r = check_first(self, err);
    if (r == 0)
        r = resolver_feed(&self->resolver, self->text, self->len,
                          self->is_first ? media_type : NULL, err);
    if (r == 0)
        r = take_manifest(self);
    if (r < 0)
        err_prefix(err, "%s", self->registry->ref->canonical);
    return r;
}

static void on_text_end(void *data, int status, const struct clip_error *err)
{
    struct resolve *self = data;
    int r = status;

    if (status < 0)
        self->req->err = *err;
    else
        r = feed(self, transfer_media_type(self->transfer));
    self->transfer = NULL;
    if (status == 0 && r == CLIP_EDIGEST && self->attempt + 1 < RESOLVE_ATTEMPTS) {
        log_debug(self->req->source->engine, "registry: attempt %u: %s", self->attempt + 1,
                  self->req->err.message);
        self->attempt++;
        r = bring(self, &self->req->err);
    } else if (r == 1) {
        self->is_first = false;
        self->attempt = 0;
        r = bring(self, &self->req->err);
    } else {
        resolve_end(self, r);
        return;
    }
    if (r < 0)
        resolve_end(self, r);
}

static void set_first(const struct resolve *self, struct transfer_options *options, char *path)
{
    const struct ref *ref = self->registry->ref;

    if (ref->has_digest)
        print_path("manifests", &ref->digest, path);
    else
        snprintf(path, PATH_LEN, "manifests/%s", ref->tag);
    options->accept = ACCEPT;
    options->open_ended = true;
    options->resolves = !ref->has_digest;
    options->len = MANIFEST_SIZE_MAX;
}

/* A config is a blob; what an index names are manifests. */
static void set_next(const struct resolve *self, struct transfer_options *options, char *path)
{
    const struct resolver *resolver = &self->resolver;
    bool is_config = resolver->manifest != NULL;

    print_path(is_config ? "blobs" : "manifests", &resolver->next.digest, path);
    options->accept = is_config ? NULL : ACCEPT;
    options->len = options->size = resolver->next.size;
}

/* The text that is wanted next, from its beginning. */
static int bring(struct resolve *self, struct clip_error *err)
{
    char path[PATH_LEN];
    struct transfer_options options = {
        .endpoints = &self->registry->endpoints,
        .policy = &retry_resolving,
        .path = path,
        .attempt = self->attempt,
        .lane = WORK_READ,
        .on_slab = on_text,
        .on_restart = on_text_restart,
        .on_end = on_text_end,
        .data = self,
    };
    int r;

    if (self->is_first)
        set_first(self, &options, path);
    else
        set_next(self, &options, path);
    free(self->text);
    self->len = 0;
    self->cap = (size_t)options.len;
    self->text = malloc(self->cap + 1);
    if (!self->text)
        return err_set(err, -ENOMEM, "out of memory for %zu bytes", self->cap);
    r = transfer_open(self->registry->source.engine, &options, &self->transfer, err);
    if (r == 0)
        transfer_credit(self->transfer, options.len);
    return r;
}

static void resolve_cancel(struct resolve *self)
{
    if (self->transfer)
        transfer_cancel(self->transfer);
}

static void resolve_cancel_request(struct source_request *request)
{
    resolve_cancel(container_of(request, struct resolve, request));
}

static void registry_resolve_cancel(struct source_resolve *req)
{
    resolve_cancel(req->impl);
}

static void registry_resolve(struct source_resolve *req)
{
    struct registry *registry = registry_of(req->source);
    struct resolve *self = calloc(1, sizeof(*self));
    int r;

    if (!self) {
        err_set(&req->err, -ENOMEM, "out of memory for a manifest");
        source_refuse_resolve(req);
        return;
    }
    self->req = req;
    self->registry = registry;
    self->is_first = true;
    r = resolver_init(&self->resolver, registry->platform, &req->err);
    if (r == 0)
        r = bring(self, &req->err);
    if (r < 0) {
        resolver_fini(&self->resolver);
        free(self->text);
        free(self);
        source_refuse_resolve(req);
        return;
    }
    req->impl = self;
    source_begin(req->source, &self->request, resolve_cancel_request);
}

/* -------------------------------------------------------------------- stream */

struct registry_stream {
    struct blob_stream stream;
    struct source_request request;
    struct transfer *transfer;
};

static void on_stream_slab(void *data, struct slab *slab)
{
    struct registry_stream *self = data;

    self->stream.options.on_slab(self->stream.options.data, slab);
}

static void on_stream_end(void *data, int status, const struct clip_error *err)
{
    struct registry_stream *self = data;
    struct blob_stream_options options = self->stream.options;
    struct clip_error copy = *err;

    source_end(&self->request);
    blob_stream_fini(&self->stream);
    free(self);
    options.on_end(options.data, status, &copy);
}

static void registry_stream_cancel(struct blob_stream *stream)
{
    transfer_cancel(container_of(stream, struct registry_stream, stream)->transfer);
}

static void registry_stream_cancel_request(struct source_request *request)
{
    transfer_cancel(container_of(request, struct registry_stream, request)->transfer);
}

static void registry_stream_credit(struct blob_stream *stream, uint64_t len)
{
    transfer_credit(container_of(stream, struct registry_stream, stream)->transfer, len);
}

static int open_stream(struct registry_stream *self, struct source *source, struct clip_error *err)
{
    const struct blob_stream_options *stream = &self->stream.options;
    char path[PATH_LEN];
    const struct transfer_options options = {
        .endpoints = &registry_of(source)->endpoints,
        .policy = &retry_defaults,
        .path = print_path("blobs", &stream->blob->digest, path),
        .len = stream->blob->size,
        .size = stream->blob->size,
        .attempt = stream->attempt,
        .lane = stream->lane,
        .on_slab = on_stream_slab,
        .on_end = on_stream_end,
        .data = self,
    };

    return transfer_open(source->engine, &options, &self->transfer, err);
}

static int registry_stream_open(struct source *source, const struct blob_stream_options *options,
                                struct blob_stream **out, struct clip_error *err)
{
    struct registry_stream *self = calloc(1, sizeof(*self));
    int r;

    if (!self || blob_stream_init(&self->stream, source, options) < 0) {
        free(self);
        return err_set(err, -ENOMEM, "out of memory for a stream");
    }
    r = open_stream(self, source, err);
    if (r < 0) {
        blob_stream_fini(&self->stream);
        free(self);
        return r;
    }
    source_begin(source, &self->request, registry_stream_cancel_request);
    *out = &self->stream;
    return 0;
}

/* --------------------------------------------------------------------- range */

struct registry_range {
    struct source_request request;
    struct blob_range *req;
    struct transfer *transfer;
    struct slab *slab;
    bool no_memory;
};

static void tell_more(struct registry_range *self)
{
    struct blob_range *req = self->req;

    if (!req->on_more || self->slab->len == req->len)
        return;
    req->slab = self->slab;
    req->on_more(req);
    req->slab = NULL;
}

/* The one slab of a short range is handed on as it is; others are gathered. */
static void on_range_slab(void *data, struct slab *slab)
{
    struct registry_range *self = data;
    struct blob_range *req = self->req;

    if (!self->slab && slab->len == req->len) {
        self->slab = slab;
        return;
    }
    if (!self->slab)
        self->slab = slab_new(req->source->engine, req->len);
    if (self->slab) {
        assert(self->slab->len + slab->len <= req->len);
        memcpy(self->slab->bytes + self->slab->len, slab->bytes, slab->len);
        self->slab->len += slab->len;
        tell_more(self);
    } else {
        self->no_memory = true;
        transfer_cancel(self->transfer);
    }
    slab_unlock(slab);
}

static void on_range_end(void *data, int status, const struct clip_error *err)
{
    struct registry_range *self = data;
    struct blob_range *req = self->req;

    if (status == 0)
        req->slab = self->slab;
    else
        slab_unlock(self->slab);
    req->err = *err;
    if (self->no_memory)
        status = err_set(&req->err, -ENOMEM, "out of memory for %" PRIu64 " bytes", req->len);
    req->impl = NULL;
    source_end(&self->request);
    free(self);
    req->done(req, status);
}

static void registry_range_cancel(struct blob_range *req)
{
    transfer_cancel(((struct registry_range *)req->impl)->transfer);
}

static void registry_range_cancel_request(struct source_request *request)
{
    transfer_cancel(container_of(request, struct registry_range, request)->transfer);
}

static int open_range(struct registry_range *self, struct clip_error *err)
{
    const struct blob_range *req = self->req;
    char path[PATH_LEN];
    const struct transfer_options options = {
        .endpoints = &registry_of(req->source)->endpoints,
        .policy = &retry_defaults,
        .path = print_path("blobs", &req->blob->digest, path),
        .off = req->off,
        .len = req->len,
        .size = req->blob->size,
        .attempt = req->attempt,
        .lane = req->lane,
        .on_slab = on_range_slab,
        .on_end = on_range_end,
        .data = self,
    };

    return transfer_open(req->source->engine, &options, &self->transfer, err);
}

static void registry_range_fetch(struct blob_range *req)
{
    struct registry_range *self = calloc(1, sizeof(*self));
    int r = self ? 0 : err_set(&req->err, -ENOMEM, "out of memory for a range");

    if (self) {
        self->req = req;
        r = open_range(self, &req->err);
    }
    if (r < 0) {
        free(self);
        source_refuse_range(req);
        return;
    }
    req->impl = self;
    source_begin(req->source, &self->request, registry_range_cancel_request);
    transfer_credit(self->transfer, req->len);
}

/* ------------------------------------------------------------- open and close */

static void registry_close(struct source *source)
{
    free_endpoints(registry_of(source));
    source_closed(source);
}

static const struct source_ops registry_ops = {
    .resolve = registry_resolve,
    .resolve_cancel = registry_resolve_cancel,
    .stream_open = registry_stream_open,
    .stream_credit = registry_stream_credit,
    .stream_cancel = registry_stream_cancel,
    .range_fetch = registry_range_fetch,
    .range_cancel = registry_range_cancel,
    .close = registry_close,
};

static int init(struct registry *registry, struct clip_engine *engine, const char *image,
                const struct clip_source_options *options, struct clip_error *err)
{
    struct resolver resolver;
    int r;

    r = ref_parse(image, &registry->ref, err);
    if (r < 0)
        return r;
    r = resolver_init(&resolver, options->platform, err); /* is it one? */
    if (r < 0)
        return r;
    if (options->platform && !(registry->platform = strdup(options->platform)))
        return err_set(err, -ENOMEM, "out of memory for a source");
    r = endpoints_init(&registry->endpoints, engine, registry->ref, options, err);
    if (r < 0)
        return r;
    return source_init(&registry->source, engine, &registry_ops, registry->ref->canonical, err);
}

int registry_open(struct clip_engine *engine, const char *image,
                  const struct clip_source_options *options, struct source **out,
                  struct clip_error *err)
{
    struct registry *registry = calloc(1, sizeof(*registry));
    int r;

    if (!registry)
        return err_set(err, -ENOMEM, "out of memory for a source");
    r = init(registry, engine, image, options, err);
    if (r < 0) {
        free_endpoints(registry);
        free(registry);
        return r;
    }
    *out = &registry->source;
    return 0;
}
