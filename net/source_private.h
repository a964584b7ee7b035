/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a source and of what is asked of it, for the modules that are sources: net/local.c
 * and net/registry.c. */
#ifndef CLIP_NET_SOURCE_PRIVATE_H
#define CLIP_NET_SOURCE_PRIVATE_H

#include "net/blob.h"

/* One sort of source. Requests come with their public part set and checked, and end by themselves,
 * never from inside of these calls. */
struct source_ops {
    void (*resolve)(struct source_resolve *req);
    void (*resolve_cancel)(struct source_resolve *req);
    int (*stream_open)(struct source *source, const struct blob_stream_options *options,
                       struct blob_stream **out, struct clip_error *err);
    void (*stream_credit)(struct blob_stream *stream, uint64_t len);
    void (*stream_cancel)(struct blob_stream *stream);
    void (*range_fetch)(struct blob_range *req);
    void (*range_cancel)(struct blob_range *req);
    /* no request is left: free what is the sort's own, then source_closed() */
    void (*close)(struct source *source);
    bool has_one_copy; /* of each blob */
};

struct source {
    struct clip_engine *engine;
    const struct source_ops *ops;
    char *name;
    struct engine_child child;
    struct queue requests;
    struct later later;
    bool closing;
    source_close_cb on_close;
    void *close_data;
};

struct source_request;
typedef void (*source_cancel_fn)(struct source_request *request);

/* Whatever is in flight, embedded in it: close cancels it and waits for source_end(). */
struct source_request {
    struct queue node;
    struct source *source;
    source_cancel_fn cancel;
};

struct blob_stream {
    struct source *source;
    struct blob_stream_options options; /* its blob points to the next */
    struct descriptor blob;
};

/* `name` is copied. */
int source_init(struct source *source, struct clip_engine *engine, const struct source_ops *ops,
                const char *name, struct clip_error *err);
/* To be called once close() is through: frees the source. */
void source_closed(struct source *source);

void source_begin(struct source *source, struct source_request *request, source_cancel_fn cancel);
void source_end(struct source_request *request);

/* Ends a request that cannot even begin with the code and sentence in its err, from the loop. */
void source_refuse_resolve(struct source_resolve *req);
void source_refuse_range(struct blob_range *req);

int blob_stream_init(struct blob_stream *stream, struct source *source,
                     const struct blob_stream_options *options);
void blob_stream_fini(struct blob_stream *stream);

/* The sorts. */
int local_open(struct clip_engine *engine, const char *image,
               const struct clip_source_options *options, struct source **out,
               struct clip_error *err);
int registry_open(struct clip_engine *engine, const char *image,
                  const struct clip_source_options *options, struct source **out,
                  struct clip_error *err);
/* Is `image` written as a local source? */
bool local_is(const char *image);

#endif
